//! Step `hook` of a flow, as the runtime records it.

use ndra_core::event::{Event, Phase, Recorder, Step};
use ndra_mock_cri::Flavor;
use serde_json::json;

use crate::node::{Node, gated, node};

fn recorded(recorder: &Recorder) -> Vec<Event> {
    let mut reader = recorder.subscribe(0);
    std::iter::from_fn(|| reader.ready().map(|(event, _)| (*event).clone())).collect()
}

async fn run(node: &mut Node, script: &str, args: &[&str]) -> (String, bool) {
    let mut hook = node.sh(script);
    hook["args"]
        .as_array_mut()
        .unwrap()
        .extend(args.iter().map(|a| json!(a)));
    node.device(&[hook]);
    let (sandbox, started) = node.demo().await;
    (sandbox, started.is_ok())
}

#[tokio::test]
async fn a_hook_of_a_claim_is_a_step() {
    for flavor in [Flavor::Containerd, Flavor::Crio] {
        let mut node = node(flavor).await;
        let (sandbox, ok) = run(&mut node, "exit 0", &["--claim-uid=uid-1"]).await;
        assert!(ok);
        let events = recorded(&node.recorder);
        let phases: Vec<_> = events.iter().map(|e| (e.step, e.phase)).collect();
        assert_eq!(
            phases,
            [(Step::Hook, Phase::Begin), (Step::Hook, Phase::End)]
        );
        for event in &events {
            assert_eq!(event.subject.claim.as_ref().unwrap().uid, "uid-1");
            assert_eq!(event.subject.pod.as_deref(), Some("default/demo"));
            assert_eq!(event.subject.sandbox.as_ref(), Some(&sandbox));
            assert_eq!(event.subject.container.as_deref(), Some("c1"));
        }
        assert!(events[0].detail["oci_state"]["annotations"].is_object());
        assert_eq!(events[1].detail["exit_code"], 0);
    }
}

#[tokio::test]
async fn a_failure_carries_the_hooks_message() {
    let script = "echo 'ndra: no driver' >&2; exit 1";
    let mut containerd = node(Flavor::Containerd).await;
    assert!(
        !run(&mut containerd, script, &["--claim-uid", "uid-1"])
            .await
            .1
    );
    let fail = recorded(&containerd.recorder).pop().unwrap();
    assert_eq!(
        (fail.phase, fail.error.as_deref()),
        (Phase::Fail, Some("ndra: no driver"))
    );
    assert_eq!(fail.detail["exit_code"], 1);
    assert_eq!(fail.detail["stderr"], "ndra: no driver\n");

    let mut crio = node(Flavor::Crio).await;
    assert!(!run(&mut crio, script, &["--claim-uid", "uid-1"]).await.1);
    let fail = recorded(&crio.recorder).pop().unwrap();
    assert_eq!(
        fail.error.as_deref(),
        Some("error executing hook `/bin/sh` (exit code: 1)")
    );
    assert!(!fail.detail.contains_key("stderr"));
}

#[tokio::test]
async fn other_hooks_are_not_recorded() {
    let mut node = node(Flavor::Containerd).await;
    assert!(
        run(&mut node, "exit 0", &["--claim-uid=../x", "--other"])
            .await
            .1
    );
    assert!(recorded(&node.recorder).is_empty());
}

#[tokio::test]
async fn the_gate_holds_the_hook_back() {
    let (mut node, mut keeper) = gated(Flavor::Containerd).await;
    let ran = node.path("ran");
    let script = r#"echo > "$0/ran""#;
    let hook_began = async {
        let arrival = keeper.next().await.unwrap();
        assert_eq!(arrival.step, Step::Hook);
        assert_eq!(arrival.subject.claim.as_ref().unwrap().uid, "uid-1");
        assert!(!ran.exists());
    };
    let ((_, ok), ()) = tokio::join!(run(&mut node, script, &["--claim-uid=uid-1"]), hook_began);
    assert!(ok && ran.exists());
}

#[tokio::test]
async fn stop_does_not_wait_for_the_gate() {
    let (mut node, mut keeper) = gated(Flavor::Containerd).await;
    let arrival = tokio::select! {
        _ = run(&mut node, "exit 0", &["--claim-uid=uid-1"]) => panic!("the gate is closed"),
        arrival = keeper.next() => arrival,
    };
    node.runtime.stop().await;
    drop(arrival);
}
