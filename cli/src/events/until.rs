//! What `--until` waits for: conditions on single events.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::str::FromStr;

use ndra_core::event::{ClaimRef, Event, Phase, Step};
use ndra_core::shown;

/// Claims whose pod and name are remembered.
const CLAIMS: usize = 16_384;

/// One condition: events that it is about, and how many of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Until {
    text: String,
    step: Option<Step>,
    phase: Option<Phase>,
    pod: Option<String>,
    claim: Option<String>,
    node: Option<String>,
    count: u64,
    failure: bool,
}

impl Until {
    /// Is it a failure when this is met?
    pub(crate) fn is_failure(&self) -> bool {
        self.failure
    }

    /// Takes an event into account; returns whether the condition is met now.
    pub(crate) fn met(&mut self, event: &Event, node: Option<&str>, claims: &Claims) -> bool {
        if self.is_about(event, node, claims) {
            self.count = self.count.saturating_sub(1);
        }
        self.count == 0
    }

    fn is_about(&self, event: &Event, node: Option<&str>, claims: &Claims) -> bool {
        let pod_is = |wanted: &str| {
            claims.pod(event).is_some_and(|pod| {
                pod == wanted || pod.split_once('/').is_some_and(|(_, name)| name == wanted)
            })
        };
        let claim_is = |wanted: &str| {
            claims.claim(event).is_some_and(|claim| {
                let ClaimRef {
                    namespace,
                    name,
                    uid,
                } = claim;
                wanted == uid
                    || wanted == name
                    || wanted.split_once('/') == Some((namespace.as_str(), name.as_str()))
            })
        };
        self.step.is_none_or(|step| event.step == step)
            && self.phase.is_none_or(|phase| event.phase == phase)
            && self
                .node
                .as_deref()
                .is_none_or(|wanted| node == Some(wanted))
            && self.pod.as_deref().is_none_or(pod_is)
            && self.claim.as_deref().is_none_or(claim_is)
    }
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown::plain(&self.text))
    }
}

impl FromStr for Until {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut until = Self {
            text: text.to_owned(),
            step: None,
            phase: None,
            pod: None,
            claim: None,
            node: None,
            count: 1,
            failure: false,
        };
        let mut keys = Vec::new();
        for term in text.split(',') {
            let (key, value) = match term.trim().split_once('=') {
                Some((key, value)) => (key.trim(), value.trim()),
                None => (term.trim(), ""),
            };
            // A flow is done when a certain step has ended.
            let slot = if key == "flow" { "step" } else { key };
            if keys.contains(&slot) {
                return Err(format!(
                    "{slot} is said twice, with `step`, `flow` or itself"
                ));
            }
            keys.push(slot);
            match (key, value) {
                ("", _) => return Err("a condition is empty".into()),
                ("fail", "") => {
                    until.failure = true;
                    until.phase = Some(Phase::Fail);
                }
                ("flow", "done") => until.step = Some(Step::Unprepare),
                ("flow", "attached") => until.step = Some(Step::CniAdd),
                ("flow", _) => return Err("a flow can be `done` or `attached`".into()),
                ("step", word) => until.step = Some(word.parse().map_err(words)?),
                ("phase", word) => until.phase = Some(word.parse().map_err(words)?),
                ("pod" | "claim" | "node", "") => {
                    return Err(format!("{key}= needs a name"));
                }
                ("pod", name) => until.pod = Some(name.to_owned()),
                ("claim", name) => until.claim = Some(name.to_owned()),
                ("node", name) => until.node = Some(name.to_owned()),
                ("count", number) => {
                    until.count = number
                        .parse()
                        .ok()
                        .filter(|count| *count > 0)
                        .ok_or("count= needs a whole number, 1 or more")?;
                }
                _ => {
                    return Err(format!(
                        "{} is none of flow=, step=, phase=, fail, pod=, claim=, node=, count=",
                        shown::quoted(term.trim())
                    ));
                }
            }
        }
        if keys.contains(&"fail") && keys.contains(&"phase") {
            return Err("fail is a phase: say one of the two".into());
        }
        if keys == ["count"] {
            return Err("count= needs something to count, such as flow=done".into());
        }
        if until.step.is_some() {
            until.phase = until.phase.or(Some(Phase::End));
        }
        Ok(until)
    }
}

fn words(error: ndra_core::event::UnknownWord) -> String {
    error.to_string()
}

/// Which pod and which name belong to a claim's UID: events of the hook's side know the
/// UID alone, those of the end no pod. The newest claims are remembered.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    known: BTreeMap<String, Known>,
    order: VecDeque<String>,
}

#[derive(Debug, Default)]
struct Known {
    claim: Option<ClaimRef>,
    pod: Option<String>,
}

impl Claims {
    /// Learns from an event.
    pub(crate) fn learn(&mut self, event: &Event) {
        let Some(claim) = &event.subject.claim else {
            return;
        };
        if !self.known.contains_key(&claim.uid) {
            if self.order.len() >= CLAIMS
                && let Some(oldest) = self.order.pop_front()
            {
                self.known.remove(&oldest);
            }
            self.order.push_back(claim.uid.clone());
        }
        let known = self.known.entry(claim.uid.clone()).or_default();
        if known.claim.is_none() && !claim.name.is_empty() {
            known.claim = Some(claim.clone());
        }
        if known.pod.is_none() {
            known.pod = event.subject.pod.clone();
        }
    }

    /// The pod of an event, `namespace/name`.
    pub(crate) fn pod<'a>(&'a self, event: &'a Event) -> Option<&'a str> {
        let subject = &event.subject;
        let known = || self.known.get(&subject.claim.as_ref()?.uid)?.pod.as_deref();
        subject.pod.as_deref().or_else(known)
    }

    /// The claim of an event, with its name where that is known.
    pub(crate) fn claim<'a>(&'a self, event: &'a Event) -> Option<&'a ClaimRef> {
        let claim = event.subject.claim.as_ref()?;
        if !claim.name.is_empty() {
            return Some(claim);
        }
        let known = self
            .known
            .get(&claim.uid)
            .and_then(|known| known.claim.as_ref());
        Some(known.unwrap_or(claim))
    }
}

#[cfg(test)]
mod tests {
    use ndra_core::event::{Recorder, Subject};

    use super::*;

    fn events(steps: &[(Step, Subject, Option<&str>)]) -> Vec<Event> {
        let recorder = Recorder::new(64);
        for (step, subject, error) in steps {
            let span = recorder.begin(*step, subject.clone());
            match error {
                Some(error) => span.fail(error),
                None => span.end(),
            }
        }
        let mut reader = recorder.subscribe(0);
        std::iter::from_fn(|| reader.ready().map(|(event, _)| (*event).clone())).collect()
    }

    /// The number of the event that meets the condition.
    fn met(until: &str, events: &[Event]) -> Option<u64> {
        let mut until: Until = until.parse().unwrap();
        let mut claims = Claims::default();
        let found = events.iter().find(|event| {
            claims.learn(event);
            until.met(event, Some("n1"), &claims)
        });
        found.map(|event| event.seq)
    }

    #[test]
    fn conditions_are_met_by_the_events_they_are_about() {
        let web = Subject::claim("default", "web-net", "u1").pod("default", "web");
        let uid = |uid: &str| Subject::claim("", "", uid);
        let other = Subject::claim("default", "db-net", "u2").pod("prod", "db");
        let events = events(&[
            (Step::Prepare, web, None),                      // 1 2
            (Step::Prepare, other, None),                    // 3 4
            (Step::CniAdd, uid("u2"), Some("no addresses")), // 5 6
            (Step::CniAdd, uid("u1"), None),                 // 7 8
            (Step::Unprepare, uid("u1"), None),              // 9 10
            (Step::Unprepare, uid("u2"), None),              // 11 12
        ]);
        for (until, seq) in [
            ("step=prepare", Some(2)),
            ("step=prepare,phase=begin", Some(1)),
            ("step=prepare, count=2", Some(4)),
            ("fail", Some(6)),
            ("phase=fail", Some(6)),
            ("fail,pod=web", None),
            ("fail,pod=db", Some(6)),
            ("step=cni-add,fail", Some(6)),
            ("flow=attached", Some(8)),
            ("flow=attached,pod=db", None),
            ("flow=done", Some(10)),
            ("flow=done,pod=prod/db", Some(12)),
            ("flow=done,claim=db-net", Some(12)),
            ("flow=done,claim=default/web-net", Some(10)),
            ("flow=done,claim=u2", Some(12)),
            ("flow=done,count=3", None),
            ("node=n1", Some(1)),
            ("flow=done,node=n2", None),
            ("pod=db", Some(3)),
        ] {
            assert_eq!(met(until, &events), seq, "{until}");
        }
        let is_failure = |text: &str| text.parse::<Until>().unwrap().is_failure();
        assert!(is_failure("step=hook,fail") && !is_failure("phase=fail"));
    }

    #[test]
    fn what_is_no_condition_is_refused_in_these_words() {
        let errors: Vec<String> = [
            "",
            "flow=over",
            "step=warp",
            "phase=up",
            "pod=",
            "count=0",
            "count=2",
            "fail=now",
            "flow=done,step=hook",
            "fail,phase=end",
            "done",
            "step=hook,,fail",
            "\u{1b}[2J=1",
        ]
        .iter()
        .map(|text| text.parse::<Until>().unwrap_err())
        .collect();
        insta::assert_snapshot!(errors.join("\n"), @r#"
        a condition is empty
        a flow can be `done` or `attached`
        `warp` is none of prepare, cdi-write, prepared, create-container, hook, callback, sandbox-lookup, cni-add, status, unprepare, cni-del, cdi-remove
        `up` is none of begin, end, fail
        pod= needs a name
        count= needs a whole number, 1 or more
        count= needs something to count, such as flow=done
        "fail=now" is none of flow=, step=, phase=, fail, pod=, claim=, node=, count=
        step is said twice, with `step`, `flow` or itself
        fail is a phase: say one of the two
        "done" is none of flow=, step=, phase=, fail, pod=, claim=, node=, count=
        a condition is empty
        "\u{1b}[2J=1" is none of flow=, step=, phase=, fail, pod=, claim=, node=, count=
        "#);
    }

    #[test]
    fn only_so_many_claims_are_remembered() {
        let mut claims = Claims::default();
        let mut event = events(&[(Step::Hook, Subject::default(), None)]).remove(0);
        for number in 0..CLAIMS + 10 {
            let uid = format!("u{number}");
            event.subject = Subject::claim("ns", &uid, &uid).pod("ns", "p");
            claims.learn(&event);
        }
        assert_eq!((claims.known.len(), claims.order.len()), (CLAIMS, CLAIMS));
        event.subject = Subject::claim("", "", "u0");
        assert_eq!(claims.pod(&event), None);
        event.subject = Subject::claim("", "", "u20");
        assert_eq!(claims.pod(&event), Some("ns/p"));
    }
}
