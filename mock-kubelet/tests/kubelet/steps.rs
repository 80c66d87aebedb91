//! The steps that the kubelet records, and the gates before them.

use ndra_core::event::{Phase, Step};
use ndra_core::gate::Gate;
use serde_json::json;

use crate::bed::{Bed, pod};

#[tokio::test]
async fn each_claim_of_a_container_is_a_step_that_a_gate_can_hold() {
    let mut bed = Bed::new();
    let (gate, mut keeper) = Gate::pair();
    bed.gate = gate;
    bed.claim("one", &["p"]);
    bed.claim("two", &["p"]);
    let (kubelet, driver, _guards) = bed.both().await;
    let mut pod = pod("p", &["one", "two"]);
    pod["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "name": "plain" }));
    bed.api.apply("pods", pod);
    let mut passed = Vec::new();
    let mut pass = async |count: usize| {
        for _ in 0..count {
            let arrival = keeper.next().await.unwrap();
            let claim = arrival.subject.claim.clone().unwrap().name;
            passed.push(format!("{} {claim} {}", arrival.step, driver.calls().len()));
        }
    };
    pass(6).await;
    bed.cri.until_running("plain", 0).await;
    bed.api.delete_pod("p");
    pass(2).await;
    bed.api
        .until("the pod to go", |store| store.pod("p").is_none())
        .await;
    insta::assert_snapshot!(passed.join("\n"), @"
    prepare one 0
    prepare two 0
    prepared one 1
    prepared two 1
    create-container one 1
    create-container two 1
    unprepare one 1
    unprepare two 1
    ");
    let mut reader = bed.recorder.subscribe(0);
    let mut steps = Vec::new();
    while let Some((event, _)) = reader.ready() {
        assert_eq!(event.step, Step::CreateContainer);
        let subject = serde_json::to_string(&event.subject).unwrap();
        let detail = serde_json::to_string(&event.detail).unwrap();
        steps.push(format!("{} {subject} {detail}", event.phase));
    }
    insta::assert_snapshot!(steps.join("\n"), @r#"
    begin {"claim":{"namespace":"ns","name":"one","uid":"uid-one"},"pod":"ns/p","sandbox":"s1","container":"main"} {}
    begin {"claim":{"namespace":"ns","name":"two","uid":"uid-two"},"pod":"ns/p","sandbox":"s1","container":"main"} {}
    end {"claim":{"namespace":"ns","name":"one","uid":"uid-one"},"pod":"ns/p","sandbox":"s1","container":"main"} {"CDI_devices":["dra.networking/claim=uid-one"],"attempt":0,"container_id":"c2"}
    end {"claim":{"namespace":"ns","name":"two","uid":"uid-two"},"pod":"ns/p","sandbox":"s1","container":"main"} {"CDI_devices":["dra.networking/claim=uid-two"],"attempt":0,"container_id":"c2"}
    "#);
    kubelet.stop().await;
}

#[tokio::test]
async fn a_failed_start_is_a_failed_step() {
    let bed = Bed::new();
    bed.claim("one", &["p"]);
    let (kubelet, _driver, _guards) = bed.both().await;
    bed.cri
        .0
        .send_modify(|state| state.fail_start = vec!["no".into()]);
    bed.pod("p", &["one"]);
    bed.api.until_event("p", "Started").await;
    kubelet.stop().await;
    let mut reader = bed.recorder.subscribe(0);
    let mut phases = Vec::new();
    while let Some((event, _)) = reader.ready() {
        phases.push((event.phase, event.error.clone()));
    }
    let begin = (Phase::Begin, None);
    let fail = (Phase::Fail, Some("no".to_owned()));
    assert_eq!(phases, [begin.clone(), fail, begin, (Phase::End, None)]);
}
