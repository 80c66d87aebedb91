//! When ADD and DEL run, and what they leave in the record.

use std::fs;
use std::time::Duration;

use ndra_core::attachment::State;
use ndra_core::event::Step;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::world::{World, claim};

async fn prepared() -> World {
    let world = World::new().await;
    world.api.put_claim(claim("c1", Some("net1"), &["p1"]));
    world.sandboxes.run("s1", "p1");
    world.prepare("c1").await;
    world
}

#[tokio::test]
async fn one_add_however_often_and_however_many_hooks_ask() {
    let world = prepared().await;
    let (a, b, c) = tokio::join!(
        world.attach("c1", "s1"),
        world.attach("c1", "s1"),
        world.attach("c1", "s1")
    );
    assert_eq!((a, b, c), (Ok(()), Ok(()), Ok(())));
    world.attach("c1", "s1").await.unwrap();
    assert_eq!(world.calls(), ["ADD s1 net1"]);
    assert_eq!(world.count(Step::CniAdd), (1, 0));
    world.settle().await;
    let status = world.api.written("/status");
    let device = &status.last().unwrap()["status"]["devices"][0];
    assert_eq!(device["device"], "slot-c1");
    assert_eq!(device["networkData"]["interfaceName"], "net1");
    assert_eq!(device["networkData"]["ips"], json!(["10.0.0.5/24"]));
    assert_eq!(device["conditions"][0]["status"], "True");
}

#[tokio::test]
async fn a_new_sandbox_of_the_pod_means_del_then_add() {
    let world = prepared().await;
    world.attach("c1", "s1").await.unwrap();
    world.sandboxes.stop("s1", "p1");
    world.sandboxes.run("s2", "p1");
    world.attach("c1", "s2").await.unwrap();
    assert_eq!(world.calls(), ["ADD s1 net1", "DEL s1 net1", "ADD s2 net1"]);
    world.unprepare("c1").await.unwrap();
    assert_eq!(world.calls()[3..], ["DEL s2 net1"]);
    assert!(world.record().is_empty());
}

#[tokio::test]
async fn a_failed_add_is_followed_by_del_and_told() {
    let world = prepared().await;
    fs::write(world.path("fail-ADD"), "1").unwrap();
    let error = world.attach("c1", "s1").await.unwrap_err();
    insta::assert_snapshot!(error, @"claim default/claim-c1: net1 could not be attached to pod default/pod-p1: CNI plugin `macvlan`, ADD of net1 on network `lan`: the plugin is unwell");
    assert_eq!(world.calls(), ["ADD s1 net1", "DEL s1 net1"]);
    assert_eq!(
        world.record().claims["c1"].attachments[0].state,
        State::Planned
    );
    world.attach("c1", "s1").await.unwrap();
    assert_eq!(world.calls()[2..], ["ADD s1 net1"]);
    world.settle().await;
    let ready: Vec<Value> = world
        .api
        .written("/status")
        .iter()
        .map(|body| body["status"]["devices"][0]["conditions"][0]["status"].clone())
        .collect();
    assert_eq!(ready.last(), Some(&json!("True")));
    let events = world.api.written("/events");
    let reasons: Vec<_> = events
        .iter()
        .map(|e| e["reason"].as_str().unwrap())
        .collect();
    assert_eq!(reasons, ["InterfaceAttachFailed", "InterfaceAttached"]);
}

#[tokio::test]
async fn what_a_failed_del_may_have_left_is_cleared_before_the_next_add() {
    let world = prepared().await;
    fs::write(world.path("fail-ADD"), "1").unwrap();
    fs::write(world.path("fail-DEL"), "1").unwrap();
    world.attach("c1", "s1").await.unwrap_err();
    assert!(matches!(
        world.record().claims["c1"].attachments[0].state,
        State::Attaching { .. }
    ));
    world.attach("c1", "s1").await.unwrap();
    assert_eq!(
        world.calls(),
        ["ADD s1 net1", "DEL s1 net1", "DEL s1 net1", "ADD s1 net1"]
    );
}

#[tokio::test]
async fn the_second_pod_of_a_shared_claim_is_refused_while_the_first_lives() {
    let world = World::new().await;
    world
        .api
        .put_claim(claim("c1", Some("net1"), &["p1", "p2"]));
    world.sandboxes.run("s1", "p1");
    world.sandboxes.run("s2", "p2");
    world.prepare("c1").await;
    world.attach("c1", "s1").await.unwrap();
    let error = world.attach("c1", "s2").await.unwrap_err();
    insta::assert_snapshot!(error, @"claim default/claim-c1 is in use by pod default/pod-p1; an interface belongs to one pod: give pod default/pod-p2 a claim of its own, for instance by a ResourceClaimTemplate");
    world.sandboxes.stop("s1", "p1");
    world.attach("c1", "s2").await.unwrap();
    assert_eq!(world.calls(), ["ADD s1 net1", "DEL s1 net1", "ADD s2 net1"]);
}

#[tokio::test]
async fn a_pod_without_reservation_gets_nothing() {
    let world = prepared().await;
    world.sandboxes.run("s2", "p2");
    let error = world.attach("c1", "s2").await.unwrap_err();
    insta::assert_snapshot!(error, @"claim default/claim-c1 is not reserved for pod default/pod-p2 (UID p2): the pod's container asks for a device of somebody else's claim");
    // It came to the claim after prepare: the API knows, the record did not.
    world
        .api
        .put_claim(claim("c1", Some("net1"), &["p1", "p2"]));
    world.attach("c1", "s2").await.unwrap();
    assert_eq!(world.calls(), ["ADD s2 net1"]);
}

#[tokio::test]
async fn no_namespace_no_interface() {
    let world = prepared().await;
    world.sandboxes.run_on_host_network("s1", "p1");
    insta::assert_snapshot!(world.attach("c1", "s1").await.unwrap_err(), @"pod default/pod-p1 runs in the host's network and has no network namespace of its own: remove `hostNetwork: true` or the claim from the pod");
    insta::assert_snapshot!(world.attach("c1", "s9").await.unwrap_err(), @"the runtime knows no sandbox s9: it was removed while the container started; the kubelet makes a new one");
    world.sandboxes.stop("s1", "p1");
    insta::assert_snapshot!(world.attach("c1", "s1").await.unwrap_err(), @"sandbox s1 of pod default/pod-p1 is not ready: its pod is being stopped or restarted");
    insta::assert_snapshot!(world.attach("c9", "s1").await.unwrap_err(), @"the claim is not prepared on this node: its CDI device outlived it; delete the pod so that the kubelet prepares the claim again");
    assert!(world.calls().is_empty());
}

#[tokio::test]
async fn unprepare_does_not_hang_on_a_plugin_that_refuses() {
    let world = prepared().await;
    world.attach("c1", "s1").await.unwrap();
    fs::write(world.path("fail-DEL"), "3").unwrap();
    world.unprepare("c1").await.unwrap();
    let record = world.record();
    assert!(record.claims.is_empty());
    assert_eq!(record.orphans.len(), 1);
    assert!(!world.cdi.path(&"c1".parse().unwrap()).exists());
    assert_eq!(world.calls().len(), 3, "ADD and two attempts of DEL");
    // The third attempt fails as well, the fourth succeeds.
    let orphan = record.orphans[0].clone();
    world.manager.release_orphan(&orphan).await;
    assert_eq!(world.record().orphans.len(), 1);
    world.manager.release_orphan(&orphan).await;
    assert!(world.record().is_empty());
}

#[tokio::test]
async fn a_plugin_that_is_not_there_leaves_nothing_to_release() {
    let world = prepared().await;
    fs::remove_file(world.path("bin/macvlan")).unwrap();
    let error = world.attach("c1", "s1").await.unwrap_err();
    assert!(error.contains("not found in"), "{error}");
    assert_eq!(world.count(Step::CniDel), (0, 0));
    world.unprepare("c1").await.unwrap();
    assert!(world.record().is_empty());
}

#[tokio::test]
async fn a_claim_that_came_to_the_pod_later_takes_no_name_that_is_in_use() {
    let world = World::new().await;
    // Both were named net1 when their pods were different.
    world.api.put_claim(claim("shared", None, &["p1"]));
    world.prepare("shared").await;
    world.api.put_claim(claim("own", None, &["p2"]));
    world.prepare("own").await;
    world.api.put_claim(claim("asked", Some("net1"), &["p3"]));
    world.prepare("asked").await;
    world.sandboxes.run("s2", "p2");
    world.attach("own", "s2").await.unwrap();
    for uid in ["shared", "asked"] {
        let name = (uid == "asked").then_some("net1");
        world.api.put_claim(claim(uid, name, &["p2"]));
    }
    world.attach("shared", "s2").await.unwrap();
    let error = world.attach("asked", "s2").await.unwrap_err();
    insta::assert_snapshot!(error, @"claim default/claim-asked: pod default/pod-p2 already has an interface net1, of claim default/claim-own: ask for another ifName, or leave it out");
    assert_eq!(world.calls(), ["ADD s2 net1", "ADD s2 net2"]);
}

#[tokio::test]
async fn an_attach_answers_before_its_caller_leaves() {
    let world = prepared().await;
    fs::write(world.path("hold"), "").unwrap();
    let deadline = Instant::now() + Duration::from_millis(500);
    let uid = "c1".parse().unwrap();
    let (first, second) = tokio::join!(
        world.manager.attach(&uid, "s1", deadline),
        world.manager.attach(&uid, "s1", deadline),
    );
    fs::remove_file(world.path("hold")).unwrap();
    let errors = [first, second].map(|outcome| outcome.unwrap_err().to_string());
    assert!(
        errors.iter().any(|e| e.contains("no answer after")),
        "{errors:?}"
    );
    // The killed plugin may have made something: DEL comes before the next ADD.
    world.attach("c1", "s1").await.unwrap();
    assert_eq!(world.calls().last().unwrap(), "ADD s1 net1");
    assert!(world.count(Step::CniDel).0 + world.count(Step::CniDel).1 >= 1);
}
