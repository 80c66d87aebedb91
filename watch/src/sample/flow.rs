//! The life of one made-up claim, event by event.

use jiff::{SignedDuration, Timestamp};
use ndra_core::event::{Event, Phase, SCHEMA, Step, Subject};
use serde_json::{Value, json};

use super::payload;

/// How far a flow goes, and what goes wrong on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// This step has begun, and nothing more.
    In(Step),
    /// Prepared, and nothing more.
    Prepared,
    /// The pod runs with its interface.
    Ready,
    /// Unprepared after a while.
    Ended,
    /// As [`Life::Ready`], as a node's driver alone sees it: without steps 4 and 5.
    OnNode,
    /// The IPAM plugin has no address left; two tries fail.
    RangeUsedUp,
    /// The first ADD fails, the second goes well.
    Mended,
    /// The container comes again in its sandbox.
    Restarted,
    /// The sandbox is made anew: DEL, then ADD.
    Recreated,
}

/// Whom a flow is about.
#[derive(Debug)]
pub(super) struct Who {
    n: usize,
    pub(super) namespace: String,
    pub(super) claim: String,
    pub(super) pod: String,
    pub(super) uid: String,
    pub(super) sandbox: String,
}

impl Who {
    fn new(n: usize) -> Self {
        let kind = ["web", "db", "cache", "router", "ingest"][n % 5];
        Self {
            n,
            namespace: ["default", "shop", "lab"][n / 5 % 3].into(),
            claim: format!("{kind}-{n}-net"),
            pod: format!("{kind}-{n}"),
            uid: format!("{n:08x}-5f0e-4c1b-9a3d-7e42c0ffee00"),
            sandbox: format!("{:064x}", n as u128 * 0x9e37_79b9_7f4a_7c15),
        }
    }

    pub(super) fn container_id(&self) -> String {
        format!("{:064x}", self.n as u128 * 0xc2b2_ae3d_27d4_eb4f + 1)
    }

    pub(super) fn pod_uid(&self) -> String {
        format!("{:08x}-0000-4000-8000-000000000000", self.n)
    }

    pub(super) fn ip(&self) -> String {
        format!("10.10.{}.{}", self.n / 250, self.n % 250 + 2)
    }

    pub(super) fn mac(&self) -> String {
        format!(
            "02:42:0a:0a:{:02x}:{:02x}",
            self.n / 256 % 256,
            self.n % 256
        )
    }
}

struct Writer<'a> {
    out: &'a mut Vec<Event>,
    who: Who,
    origin: Timestamp,
    us: u64,
    stop: Option<Step>,
    stopped: bool,
    seen: fn(Step) -> bool,
    open: Vec<(Step, u64)>,
}

/// Writes the flow of claim `n`.
pub(super) fn write(out: &mut Vec<Event>, origin: Timestamp, n: usize, at_ms: u64, life: Life) {
    let mut w = Writer {
        out,
        who: Who::new(n),
        origin,
        us: at_ms * 1000,
        stop: match life {
            Life::In(step) => Some(step),
            _ => None,
        },
        stopped: false,
        seen: if life == Life::OnNode {
            |step| !matches!(step, Step::CreateContainer | Step::Hook)
        } else {
            |_| true
        },
        open: Vec::new(),
    };
    w.prepare();
    if life == Life::Prepared {
        return;
    }
    w.wait(31_000);
    match life {
        Life::RangeUsedUp => {
            w.failed_start();
            w.wait(10_000_000);
            w.failed_start();
        }
        Life::Mended => {
            w.failed_start();
            w.wait(10_000_000);
            w.start(true);
        }
        Life::Restarted => {
            w.start(true);
            w.wait(20_000_000);
            w.start(false);
        }
        Life::Recreated => {
            w.start(true);
            w.wait(15_000_000);
            w.who.sandbox = format!("{:064x}", n + 77);
            w.recreate();
        }
        _ => w.start(true),
    }
    if matches!(
        life,
        Life::Ended | Life::In(Step::Unprepare | Step::CniDel | Step::CdiRemove)
    ) {
        w.wait(8_000_000 + n as u64 % 7 * 1_000_000);
        w.unprepare();
    }
}

impl Writer<'_> {
    fn prepare(&mut self) {
        let request = payload::request(&self.who);
        self.begin(Step::Prepare, request);
        self.wait(900);
        self.begin(Step::CdiWrite, json!({}));
        self.wait(620);
        let spec = payload::cdi(&self.who);
        self.end(Step::CdiWrite, spec);
        self.wait(40);
        self.begin(Step::Prepared, json!({}));
        self.wait(12);
        let devices = payload::devices(&self.who);
        self.end(Step::Prepared, devices);
        self.wait(55);
        let ids = json!({ "cdiDevices": [format!("dra.networking/claim={}", self.who.uid)] });
        self.end(Step::Prepare, ids);
    }

    fn enter(&mut self) {
        self.begin(Step::CreateContainer, json!({ "attempt": 0 }));
        self.wait(3_100);
        let hook = payload::hook(&self.who);
        self.begin(Step::Hook, hook);
        self.wait(1_300);
        self.begin(Step::Callback, json!({}));
        self.wait(80);
        self.begin(Step::SandboxLookup, json!({}));
        self.wait(700);
        let netns = payload::netns(&self.who);
        self.end(Step::SandboxLookup, netns);
        self.wait(90);
    }

    fn leave(&mut self) {
        self.end(Step::Callback, json!({ "hookVersion": "0.1.0" }));
        self.wait(350);
        self.end(Step::Hook, json!({ "exit_code": 0, "stderr": "" }));
        self.wait(4_200);
        let id = json!({ "container_id": self.who.container_id() });
        self.end(Step::CreateContainer, id);
    }

    fn start(&mut self, attach: bool) {
        self.enter();
        if attach {
            self.add();
        }
        self.wait(60);
        self.leave();
        if attach {
            self.status(true, 2_500);
        }
    }

    fn add(&mut self) {
        let add = payload::add(&self.who);
        self.begin(Step::CniAdd, add);
        self.wait(18_000 + self.who.n as u64 % 13 * 900);
        let added = payload::added(&self.who);
        self.end(Step::CniAdd, added);
    }

    fn recreate(&mut self) {
        self.enter();
        self.del();
        self.wait(200);
        self.add();
        self.leave();
        self.status(true, 2_500);
    }

    fn status(&mut self, ready: bool, us: u64) {
        let patch = payload::patch(&self.who, ready);
        self.begin(Step::Status, patch.clone());
        self.wait(us);
        self.end(Step::Status, patch);
    }

    fn del(&mut self) {
        let del = payload::del(&self.who);
        self.begin(Step::CniDel, del);
        self.wait(9_000);
        self.end(Step::CniDel, json!({}));
    }

    fn failed_start(&mut self) {
        let cni = "Multus refused ADD of net1 in pod: failed to allocate for range 0: no IP \
                   addresses available in range set: 10.10.0.1-10.10.255.254";
        let attach = format!(
            "claim {}/{}: net1 could not be attached to pod {}/{}: {cni}",
            self.who.namespace, self.who.claim, self.who.namespace, self.who.pod
        );
        let start = format!(
            "failed to create containerd task: failed to create shim task: OCI runtime create \
             failed: runc create failed: unable to start container process: error during \
             container init: error running createRuntime hook #0: exit status 1, stdout: , \
             stderr: {attach}"
        );
        self.enter();
        let add = payload::add(&self.who);
        self.begin(Step::CniAdd, add);
        self.wait(21_000);
        self.fail(Step::CniAdd, json!({}), cni);
        self.del();
        self.status(false, 1_900);
        self.fail(Step::Callback, json!({ "hookVersion": "0.1.0" }), &attach);
        self.wait(300);
        let said = json!({ "exit_code": 1, "stderr": attach });
        self.fail(Step::Hook, said, &attach);
        self.wait(5_000);
        self.fail(Step::CreateContainer, json!({ "attempt": 0 }), &start);
    }

    fn unprepare(&mut self) {
        let request = payload::request(&self.who);
        self.begin(Step::Unprepare, request);
        self.wait(150);
        self.del();
        self.wait(100);
        self.begin(Step::CdiRemove, json!({}));
        self.wait(90);
        let path = payload::cdi(&self.who)["path"].clone();
        self.end(Step::CdiRemove, json!({ "path": path }));
        self.wait(400);
        self.end(Step::Unprepare, json!({}));
    }

    fn wait(&mut self, us: u64) {
        self.us += us;
    }

    fn begin(&mut self, step: Step, detail: Value) {
        self.open.push((step, self.us));
        self.put(step, Phase::Begin, None, detail, None);
        if self.stop == Some(step) {
            self.stopped = true;
        }
    }

    fn end(&mut self, step: Step, detail: Value) {
        let took = self.close(step);
        self.put(step, Phase::End, Some(took), detail, None);
    }

    fn fail(&mut self, step: Step, detail: Value, error: &str) {
        let took = self.close(step);
        self.put(step, Phase::Fail, Some(took), detail, Some(error.into()));
    }

    fn close(&mut self, step: Step) -> u64 {
        let at = self.open.iter().rposition(|(open, _)| *open == step);
        at.map_or(0, |at| self.us - self.open.remove(at).1)
    }

    fn put(
        &mut self,
        step: Step,
        phase: Phase,
        duration_us: Option<u64>,
        detail: Value,
        error: Option<String>,
    ) {
        if self.stopped || !(self.seen)(step) {
            return;
        }
        let who = &self.who;
        let mut subject = Subject::claim(&who.namespace, &who.claim, &who.uid);
        if step == Step::Hook {
            // The runtime knows of the claim only what the hook's arguments say.
            subject = Subject::claim("", "", &who.uid);
        }
        if (Step::CreateContainer..=Step::CniAdd).contains(&step) || step == Step::CniDel {
            subject = subject.sandbox(&who.sandbox);
            if step != Step::Callback && !(step == Step::SandboxLookup && phase == Phase::Begin) {
                subject = subject.pod(&who.namespace, &who.pod);
            }
        }
        if (Step::CreateContainer..=Step::Callback).contains(&step) {
            subject = subject.container("app");
        }
        let us = i64::try_from(self.us).unwrap_or(i64::MAX);
        let time = self.origin.checked_add(SignedDuration::from_micros(us));
        let (from, to) = step.route();
        self.out.push(Event {
            schema: SCHEMA,
            seq: 0,
            time: time.unwrap_or(self.origin),
            elapsed_us: 0,
            step,
            number: step.number(),
            phase,
            duration_us,
            subject,
            from,
            to,
            detail: payload::map(detail),
            error,
        });
    }
}
