//! The lines of a timeline, from events as the parts send them.

use ndra_core::event::{Event, Recorder, Subject};
use serde_json::json;

use super::*;

/// Events of a made-up flow at made-up times: `(step, phase, at, took)` in microseconds.
fn event(step: Step, phase: Phase, at: u64, took: u64) -> Event {
    let recorder = Recorder::new(1);
    let subject = Subject::claim("default", "net1", "5b0c9f2e-0000-4000-8000-000000000001");
    recorder.begin(step, subject).end();
    let (event, _) = recorder.subscribe(0).ready().unwrap();
    let mut event = (*event).clone();
    event.phase = phase;
    event.time = Timestamp::UNIX_EPOCH + std::time::Duration::from_micros(at);
    event.elapsed_us = at;
    event.duration_us = (phase != Phase::Begin).then_some(took);
    event
}

fn draw(look: Look, events: &[Event], named: bool) -> String {
    let mut timeline = Timeline::new(look, Timestamp::UNIX_EPOCH, named);
    let mut text: String = events.iter().map(|event| timeline.push(event)).collect();
    text += &timeline.finish();
    anstream::adapter::strip_str(&text).to_string()
}

#[test]
fn an_outer_step_stands_before_those_inside_it() {
    let mut add = event(Step::CniAdd, Phase::End, 3_000, 1_500);
    add.detail.insert("ifName".into(), json!("net1"));
    add.detail.insert("ips".into(), json!(["10.10.1.2/24"]));
    let mut lookup = event(Step::SandboxLookup, Phase::End, 1_400, 200);
    let netns = "/run/netns/cni-5b0c9f2e-0000-4000-8000-000000000002";
    lookup.detail.insert("netns".into(), json!(netns));
    let events = [
        event(Step::Callback, Phase::Begin, 1_000, 0),
        event(Step::SandboxLookup, Phase::Begin, 1_200, 0),
        lookup,
        event(Step::CniAdd, Phase::Begin, 1_500, 0),
        add,
        event(Step::Callback, Phase::End, 3_100, 2_100),
    ];
    insta::assert_snapshot!(draw(Look::UNICODE, &events, false), @r"
    6  callback         hook → driver        1.0 ms    2.1 ms  claim net1
    7  sandbox-lookup   driver → runtime     1.2 ms    200 µs  cni-5b0c9f2e…
    8  cni-add          driver → multus      1.5 ms    1.5 ms  net1 10.10.1.2/24
    ");
    let ascii = draw(Look::ASCII, &events, false);
    assert!(ascii.is_ascii(), "{ascii}");
}

#[test]
fn an_error_is_told_once_where_it_arose() {
    let fail = |step, at, took, error: &str| {
        let mut event = event(step, Phase::Fail, at, took);
        event.error = Some(error.into());
        event
    };
    let events = [
        event(Step::Hook, Phase::Begin, 1_000, 0),
        event(Step::Callback, Phase::Begin, 2_000, 0),
        fail(
            Step::Callback,
            3_000,
            1_000,
            "no link named eth9 on this node: name one that is there",
        ),
        fail(
            Step::Hook,
            4_000,
            3_000,
            "ndra-hook: no link named eth9 on this node: name one that is there",
        ),
    ];
    insta::assert_snapshot!(draw(Look::UNICODE, &events, false), @r"
    5  hook             runtime → hook       1.0 ms    3.0 ms  failed
       │ ndra-hook: (as step 6 below)
    6  callback         hook → driver        2.0 ms    1.0 ms  failed
       │ no link named eth9 on this node: name one that is there
    ");
}

#[test]
fn a_step_without_an_end_is_shown_and_pods_are_headings() {
    let mut first = event(Step::Hook, Phase::End, 2_000, 1_000);
    first.subject.pod = Some("default/web-1".into());
    let mut second = event(Step::Hook, Phase::Begin, 3_000, 0);
    second.subject.pod = Some("default/web-2".into());
    let events = [event(Step::Prepare, Phase::End, 500, 100), first, second];
    insta::assert_snapshot!(draw(Look::UNICODE, &events, true), @r"
      1  prepare          kubelet → driver     400 µs    100 µs  claim net1
    default/web-1
      5  hook             runtime → hook       1.0 ms    1.0 ms  claim net1
    default/web-2
      5  hook             runtime → hook       3.0 ms         …  did not end
    ");
}
