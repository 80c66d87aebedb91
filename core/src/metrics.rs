//! What Prometheus scrapes at `/metrics`: steps, what is held, and how the driver stands.
//!
//! Labels have few values, whatever pods and claims there are: steps, words for failures,
//! kinds of devices.

mod serve;

use std::sync::Arc;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tokio::sync::watch;

use crate::attachment::State;
use crate::attachment::record::Store;
use crate::devices::{Known, Usage};
use crate::event::{Closed, Observer, Step};
use crate::kube::slices::Published;

pub use serve::{CONTENT_TYPE, serve};

/// Upper bounds in seconds: from a file's write to the longest time a kubelet waits.
const BUCKETS: [f64; 12] = [
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 20.0, 60.0,
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepLabel {
    step: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    step: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeviceLabels {
    r#type: &'static str,
    link: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
}

/// Counts from the driver's first step on. Clones share everything.
#[derive(Clone)]
pub struct Steps(Arc<Counts>);

struct Counts {
    durations: Family<StepLabel, Histogram, fn() -> Histogram>,
    failures: Family<FailureLabels, Counter>,
}

impl Steps {
    /// Counters at zero, one for every step that the driver takes.
    #[expect(
        clippy::new_without_default,
        reason = "the counters are shared from then on"
    )]
    pub fn new() -> Self {
        let durations: Family<StepLabel, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(BUCKETS));
        // The kubelet's and the runtime's steps are not told to the driver.
        let own = |step: &&Step| !matches!(step, Step::CreateContainer | Step::Hook);
        for step in Step::ALL.iter().filter(own) {
            drop(durations.get_or_create(&StepLabel {
                step: step.as_str(),
            }));
        }
        Self(Arc::new(Counts {
            durations,
            failures: Family::default(),
        }))
    }

    /// Counts what a recorder tells of.
    pub fn observer(&self) -> Observer {
        let counts = self.0.clone();
        Box::new(move |closed: Closed| {
            let step = closed.step.as_str();
            let duration = counts.durations.get_or_create(&StepLabel { step });
            duration.observe(closed.duration.as_secs_f64());
            if let Some(reason) = closed.failed {
                counts
                    .failures
                    .get_or_create(&FailureLabels { step, reason })
                    .inc();
            }
        })
    }
}

/// Where a scrape looks.
#[derive(Clone)]
pub struct Sources {
    /// What was counted.
    pub steps: Steps,
    /// What is prepared and attached.
    pub store: Store,
    /// What the kubelet said last.
    pub registered: watch::Receiver<Option<Result<(), String>>>,
    /// How far the publishing has come; `None` where nothing is published.
    pub published: Option<watch::Receiver<Published>>,
    /// The node's interfaces, where they are the devices.
    pub devices: Known,
}

impl Sources {
    /// All metrics in the OpenMetrics text format.
    pub fn scrape(&self) -> String {
        let mut registry = Registry::with_prefix("ndra");
        registry.register_with_unit(
            "step_duration",
            "How long steps took, those that failed included",
            Unit::Seconds,
            self.steps.0.durations.clone(),
        );
        registry.register(
            "step_failures",
            "Steps that failed, by the reason",
            self.steps.0.failures.clone(),
        );
        let mut gauge = |name: &str, help: &str, value: usize| {
            let gauge: Gauge = Gauge::default();
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
            registry.register(name, help, gauge);
        };
        let (claims, attached, orphans) = self.store.read(|record| {
            let claims = record.claims.values();
            let attachments = claims.flat_map(|claim| &claim.attachments);
            let attached = attachments.filter(|one| matches!(one.state, State::Attached { .. }));
            (record.claims.len(), attached.count(), record.orphans.len())
        });
        gauge("claims", "Claims that are prepared on this node", claims);
        gauge("attachments", "Interfaces that are in pods", attached);
        gauge("orphans", "Attachments that wait to be released", orphans);
        let registered = matches!(&*self.registered.borrow(), Some(Ok(())));
        gauge(
            "registered",
            "1 when the kubelet has registered the driver",
            registered.into(),
        );
        let published = self
            .published
            .as_ref()
            .map(|published| matches!(&*published.borrow(), Published::Done { .. }));
        if let Some(published) = published {
            gauge(
                "published",
                "1 when the ResourceSlices are as they should be",
                published.into(),
            );
        }
        if let Some(devices) = &self.devices {
            let counts = Family::<DeviceLabels, Gauge>::default();
            for device in devices.borrow().iter() {
                let labels = DeviceLabels {
                    r#type: match device.usage {
                        Usage::Shared => "virtual",
                        Usage::Whole => "whole",
                    },
                    link: match (device.away, device.interface.carries()) {
                        (true, _) => "away",
                        (false, true) => "up",
                        (false, false) => "down",
                    },
                };
                counts.get_or_create(&labels).inc();
            }
            registry.register("devices", "Interfaces that are offered", counts);
        }
        let build = Family::<BuildLabels, Gauge>::default();
        let version = env!("CARGO_PKG_VERSION");
        build.get_or_create(&BuildLabels { version }).set(1);
        registry.register("build", "The driver's version", build);
        let mut page = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut page, &registry);
        page
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::event::{Recorder, Subject};

    #[tokio::test]
    async fn a_page_says_what_happened_and_what_is_held() {
        let dir = tempfile::tempdir().unwrap();
        let (_tell, registered) = watch::channel(Some(Ok(())));
        let (_said, published) = watch::channel(Published::Pending);
        let steps = Steps::new();
        let sources = Sources {
            steps: steps.clone(),
            store: Store::open(dir.path(), "dra.networking", "boot").unwrap(),
            registered,
            published: Some(published),
            devices: None,
        };
        let tell = steps.observer();
        tell(Closed {
            step: Step::CniAdd,
            duration: Duration::from_millis(30),
            failed: None,
        });
        let recorder = Recorder::observed(8, steps.observer());
        drop(recorder.begin(Step::Prepare, Subject::default()));
        let mut span = recorder.begin(Step::CniAdd, Subject::default());
        span.reason("TimedOut");
        span.fail("late");
        let page = sources.scrape();
        let shown = |line: &&str| {
            let other = line.contains("_bucket") || line.contains("_sum");
            !other
                && (!line.contains("_count")
                    || line.contains("cni-add")
                    || line.contains("prepare\""))
        };
        let mut shown: Vec<&str> = page.lines().filter(shown).collect();
        // The order of a family's labels is nobody's.
        for family in shown.chunk_by_mut(|a, b| a.starts_with('#') == b.starts_with('#')) {
            if !family[0].starts_with('#') {
                family.sort_unstable();
            }
        }
        insta::assert_snapshot!(shown.join("\n"), @r#"
        # HELP ndra_step_duration_seconds How long steps took, those that failed included.
        # TYPE ndra_step_duration_seconds histogram
        # UNIT ndra_step_duration_seconds seconds
        ndra_step_duration_seconds_count{step="cni-add"} 2
        ndra_step_duration_seconds_count{step="prepare"} 1
        ndra_step_duration_seconds_count{step="unprepare"} 0
        # HELP ndra_step_failures Steps that failed, by the reason.
        # TYPE ndra_step_failures counter
        ndra_step_failures_total{step="cni-add",reason="TimedOut"} 1
        ndra_step_failures_total{step="prepare",reason="Cancelled"} 1
        # HELP ndra_claims Claims that are prepared on this node.
        # TYPE ndra_claims gauge
        ndra_claims 0
        # HELP ndra_attachments Interfaces that are in pods.
        # TYPE ndra_attachments gauge
        ndra_attachments 0
        # HELP ndra_orphans Attachments that wait to be released.
        # TYPE ndra_orphans gauge
        ndra_orphans 0
        # HELP ndra_registered 1 when the kubelet has registered the driver.
        # TYPE ndra_registered gauge
        ndra_registered 1
        # HELP ndra_published 1 when the ResourceSlices are as they should be.
        # TYPE ndra_published gauge
        ndra_published 0
        # HELP ndra_build The driver's version.
        # TYPE ndra_build gauge
        ndra_build{version="0.1.0"} 1
        # EOF
        "#);
        // 30 ms are more than 25 and less than 50.
        assert!(
            page.contains(r#"ndra_step_duration_seconds_bucket{le="0.025",step="cni-add"} 1"#),
            "{page}"
        );
        assert!(
            page.contains(r#"ndra_step_duration_seconds_bucket{le="0.05",step="cni-add"} 2"#),
            "{page}"
        );
    }
}
