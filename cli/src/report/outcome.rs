//! What a run came to.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ndra_core::event::{SCHEMA, Step};
use serde::Serialize;

use super::StepStats;

/// An interface that a pod had.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Attached {
    /// `namespace/name`.
    pub(crate) pod: String,
    pub(crate) interface: String,
    pub(crate) mac: String,
    /// CIDR form.
    pub(crate) addresses: Vec<String>,
}

/// One pod that asked another over the network that both are on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// `namespace/name`.
    pub(crate) from: String,
    pub(crate) to: String,
    /// Where the other was asked.
    pub(crate) address: IpAddr,
    /// When it answered, in microseconds; or why it did not.
    pub(crate) took_us: Result<u64, String>,
}

/// One proof that nothing of a kind was left behind, or the list of what was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    /// What was looked for.
    pub(crate) what: &'static str,
    /// What was found, each with its path or name.
    pub(crate) left: Vec<String>,
}

/// The end of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// Pods that were run.
    pub(crate) pods: usize,
    /// Interfaces that they had.
    pub(crate) attached: Vec<Attached>,
    /// The same as pods' network namespaces had it, where those are real.
    pub(crate) inside: Vec<Attached>,
    /// Whether real containers said so.
    pub(crate) by_containers: bool,
    /// Pods that asked each other.
    pub(crate) answers: Vec<Answer>,
    /// What was looked for at the end.
    pub(crate) checks: Vec<Check>,
    /// What else went wrong.
    pub(crate) failures: Vec<String>,
    /// From begin to end, in microseconds.
    pub(crate) wall_us: u64,
    pub(crate) steps: BTreeMap<Step, StepStats>,
}

impl Outcome {
    /// Takes what the steps told of interfaces. What the namespaces had must be the same.
    pub(crate) fn take_attached(&mut self, told: Vec<Attached>) {
        self.attached = told;
        for seen in &self.inside {
            let mut seen = seen.clone();
            seen.addresses.sort_unstable();
            let same = self.attached.iter().any(|told| {
                let mut told = told.clone();
                told.addresses.sort_unstable();
                told == seen
            });
            if !same {
                self.failures.push(format!(
                    "the network namespace of pod {} has {} with {} {}: no step told of that",
                    seen.pod,
                    seen.interface,
                    seen.mac,
                    seen.addresses.join(" ")
                ));
            }
        }
        for answer in &self.answers {
            if let Err(why) = &answer.took_us {
                self.failures.push(format!(
                    "pod {} did not answer pod {} at {}: {why}",
                    answer.to, answer.from, answer.address
                ));
            }
        }
    }

    /// As expected, and nothing left.
    pub(crate) fn ok(&self) -> bool {
        self.failures.is_empty() && self.checks.iter().all(|check| check.left.is_empty())
    }

    /// All that was left behind.
    pub(crate) fn leaks(&self) -> Vec<String> {
        self.checks
            .iter()
            .flat_map(|check| {
                check
                    .left
                    .iter()
                    .map(|left| format!("{}: {left}", check.what))
            })
            .collect()
    }

    /// The last JSON line, without its line feed.
    pub(crate) fn line(&self) -> String {
        #[derive(Serialize)]
        struct Line<'a> {
            summary: Summary<'a>,
        }
        #[derive(Serialize)]
        struct Summary<'a> {
            schema: u32,
            ok: bool,
            pods: usize,
            attachments: usize,
            leaks: Vec<String>,
            #[serde(skip_serializing_if = "<[String]>::is_empty")]
            failures: &'a [String],
            #[serde(skip_serializing_if = "is_zero")]
            read_back: usize,
            #[serde(skip_serializing_if = "is_zero")]
            answers: usize,
            wall_us: u64,
            steps: &'a BTreeMap<Step, StepStats>,
        }
        let line = Line {
            summary: Summary {
                schema: SCHEMA,
                ok: self.ok(),
                pods: self.pods,
                attachments: self.attached.len(),
                leaks: self.leaks(),
                failures: &self.failures,
                read_back: self.inside.len(),
                answers: self.answers.iter().filter(|a| a.took_us.is_ok()).count(),
                wall_us: self.wall_us,
                steps: &self.steps,
            },
        };
        // Strings and numbers under string keys: there is nothing JSON could not say.
        serde_json::to_string(&line).unwrap_or_default()
    }
}

/// Nothing real was there to count.
fn is_zero(count: &usize) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_has_the_documented_keys() {
        let mut outcome = Outcome {
            pods: 1,
            attached: vec![Attached {
                pod: "default/web".into(),
                interface: "net1".into(),
                mac: "02:00:00:00:00:01".into(),
                addresses: vec!["10.10.1.2/24".into()],
            }],
            checks: vec![Check {
                what: "CDI files",
                left: vec![],
            }],
            wall_us: 12,
            ..Outcome::default()
        };
        outcome.steps.insert(
            Step::CniAdd,
            StepStats {
                count: 1,
                p50_us: 2,
                p99_us: 2,
                max_us: 2,
            },
        );
        insta::assert_snapshot!(outcome.line(), @r#"{"summary":{"schema":1,"ok":true,"pods":1,"attachments":1,"leaks":[],"wall_us":12,"steps":{"cni-add":{"count":1,"p50_us":2,"p99_us":2,"max_us":2}}}}"#);
        outcome.checks[0].left.push("/run/cdi/x.json".into());
        outcome.failures.push("pod default/web never ran".into());
        insta::assert_snapshot!(outcome.line(), @r#"{"summary":{"schema":1,"ok":false,"pods":1,"attachments":1,"leaks":["CDI files: /run/cdi/x.json"],"failures":["pod default/web never ran"],"wall_us":12,"steps":{"cni-add":{"count":1,"p50_us":2,"p99_us":2,"max_us":2}}}}"#);
    }
}
