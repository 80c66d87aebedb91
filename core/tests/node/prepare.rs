//! What prepare and unprepare answer, write and undo.

use std::fs;

use ndra_core::attachment::record::load;
use ndra_core::event::Step;
use serde_json::{Value, json};

use crate::world::{World, claim, claim_name};

#[tokio::test]
async fn prepare_can_be_repeated_and_unprepare_undoes_it() {
    let world = World::new().await;
    world.api.put_claim(claim("c1", None, &["p1"]));
    world.prepare("c1").await;
    world.prepare("c1").await;
    let spec = fs::read_to_string(world.cdi.path(&"c1".parse().unwrap())).unwrap();
    assert!(spec.contains("--claim-uid=c1"));
    let record = world.record();
    assert_eq!(record.claims["c1"].attachments[0].if_name(), "net1");
    world.unprepare("c1").await.unwrap();
    world.unprepare("c1").await.unwrap();
    assert!(world.record().is_empty());
    assert_eq!(fs::read_dir(world.path("cdi")).unwrap().count(), 0);
    assert_eq!(world.count(Step::CdiRemove), (1, 0));
    assert_eq!(world.count(Step::Unprepare), (2, 0));
}

#[tokio::test]
async fn claims_already_prepared_need_no_api_server() {
    let world = World::new().await;
    world.api.put_claim(claim("c1", Some("lan0"), &["p1"]));
    world.prepare("c1").await;
    world.api.go_down();
    world.prepare("c1").await;
    world.sandboxes.run("s1", "p1");
    world.attach("c1", "s1").await.unwrap();
    world.unprepare("c1").await.unwrap();
    assert_eq!(world.calls(), ["ADD s1 lan0", "DEL s1 lan0"]);
}

#[tokio::test]
async fn one_bad_claim_does_not_spoil_the_call() {
    let world = World::new().await;
    world.api.put_claim(claim("c1", None, &["p1"]));
    let hostile = "../../etc/passwd";
    let names = ["c1", "gone", hostile, "c1"].map(claim_name);
    let done = world.node.prepare(names.into()).await;
    assert_eq!(done.len(), 3);
    assert!(done["c1"].is_ok());
    insta::assert_snapshot!(done["gone"].as_ref().unwrap_err(), @"ResourceClaim default/claim-gone not found; it was deleted, or the kubelet asks for a claim of the past");
    insta::assert_snapshot!(done[hostile].as_ref().unwrap_err(), @r#""../../etc/passwd" is not the UID of a claim: at most 63 letters, digits, `.`, `_` or `-`, beginning with a letter or digit; take it from `metadata.uid` of the ResourceClaim"#);
    let undone = world.node.unprepare(vec![claim_name(hostile)]).await;
    assert!(undone[hostile].is_err());
    assert_eq!(fs::read_dir(world.path("cdi")).unwrap().count(), 1);
}

#[tokio::test]
async fn claims_of_one_pod_get_names_of_their_own() {
    let world = World::new().await;
    for (uid, name) in [("c1", None), ("c2", Some("net1")), ("c3", None)] {
        world.api.put_claim(claim(uid, name, &["p1"]));
    }
    // Another pod's names do not count.
    world.api.put_claim(claim("other", None, &["p2"]));
    world.prepare("other").await;
    let names = ["c1", "c2", "c3"].map(claim_name);
    for (_, answer) in world.node.prepare(names.into()).await {
        answer.unwrap();
    }
    let record = world.record();
    let name = |uid: &str| record.claims[uid].attachments[0].if_name().to_owned();
    assert_eq!(
        [name("c1"), name("c2"), name("c3"), name("other")],
        ["net2", "net1", "net3", "net1"]
    );
}

#[tokio::test]
async fn one_name_for_two_claims_of_a_pod_is_refused() {
    let world = World::new().await;
    for uid in ["c1", "c2", "c3"] {
        world.api.put_claim(claim(uid, Some("net1"), &["p1"]));
    }
    let done = world
        .node
        .prepare(["c1", "c2"].map(claim_name).into())
        .await;
    insta::assert_snapshot!(done["c1"].as_ref().unwrap_err(), @"ResourceClaim default/claim-c1: ifName: net1 is asked for by ResourceClaim default/claim-c2 of the same pod, too; give one of them another ifName, or leave it out");
    insta::assert_snapshot!(done["c2"].as_ref().unwrap_err(), @"ResourceClaim default/claim-c2: ifName: net1 is asked for by ResourceClaim default/claim-c1 of the same pod, too; give one of them another ifName, or leave it out");
    assert!(world.record().is_empty());
    world.prepare("c1").await;
    let done = world.node.prepare(vec![claim_name("c3")]).await;
    insta::assert_snapshot!(done["c3"].as_ref().unwrap_err(), @"ResourceClaim default/claim-c3: ifName: net1 is already held by ResourceClaim default/claim-c1 of the same pod; ask for another ifName, or leave it out");
    assert_eq!(world.record().claims.len(), 1);
}

#[tokio::test]
async fn a_new_allocation_replaces_the_old_one() {
    let world = World::new().await;
    world.api.put_claim(claim("c1", Some("net1"), &["p1"]));
    world.prepare("c1").await;
    world.sandboxes.run("s1", "p1");
    world.attach("c1", "s1").await.unwrap();
    let mut again = claim("c1", Some("net1"), &["p2"]);
    again["status"]["allocation"]["devices"]["results"][0]["device"] = "slot-7".into();
    world.api.put_claim(again);
    world.prepare("c1").await;
    assert_eq!(world.calls(), ["ADD s1 net1", "DEL s1 net1"]);
    let record = world.record();
    assert_eq!(
        record.claims["c1"].attachments[0].plan.device.device,
        "slot-7"
    );
    // The status speaks of allocated devices alone, or the API server refuses all of it.
    world.sandboxes.stop("s1", "p1");
    world.sandboxes.run("s2", "p2");
    world.attach("c1", "s2").await.unwrap();
    world.settle().await;
    let status = world.api.written("/status");
    let devices = status.last().unwrap()["status"]["devices"].clone();
    assert_eq!(devices.as_array().unwrap().len(), 1);
    assert_eq!(devices[0]["device"], "slot-7");
}

#[tokio::test]
async fn other_settings_do_not_touch_what_is_attached() {
    let world = World::new().await;
    world.api.put_claim(claim("c1", Some("net1"), &["p1"]));
    world.prepare("c1").await;
    world.sandboxes.run("s1", "p1");
    world.attach("c1", "s1").await.unwrap();
    // The same devices, read differently: a driver with other defaults.
    world.api.put_claim(claim("c1", Some("lan7"), &["p1"]));
    world.prepare("c1").await;
    assert_eq!(world.calls(), ["ADD s1 net1"]);
    assert_eq!(world.record().claims["c1"].attachments[0].if_name(), "net1");
}

#[tokio::test]
async fn an_unprepare_has_the_last_word_over_a_slow_prepare() {
    let world = World::new().await;
    world.api.put_claim(claim("c1", None, &["p1"]));
    let reading = world.api.hold();
    let node = world.node.clone();
    let slow = tokio::spawn(async move { node.prepare(vec![claim_name("c1")]).await });
    reading.reached().await;
    let node = world.node.clone();
    let undo = tokio::spawn(async move { node.unprepare(vec![claim_name("c1")]).await });
    // As far as it can get.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    reading.release();
    slow.await.unwrap();
    undo.await.unwrap()["c1"].clone().unwrap();
    assert!(world.record().is_empty());
    assert_eq!(fs::read_dir(world.path("cdi")).unwrap().count(), 0);
}

#[tokio::test]
async fn unprepare_is_done_only_when_the_disk_says_so() {
    let world = World::new().await;
    world.api.put_claim(claim("c1", None, &["p1"]));
    world.prepare("c1").await;
    // No file can be renamed onto a directory that is not empty.
    let file = world.path("state/record.json");
    fs::remove_file(&file).unwrap();
    fs::create_dir_all(file.join("in-the-way")).unwrap();
    for _ in 0..2 {
        let error = world.unprepare("c1").await.unwrap_err();
        assert!(error.contains("cannot write the record"), "{error}");
    }
    fs::remove_dir_all(&file).unwrap();
    world.unprepare("c1").await.unwrap();
    let state = load(&world.path("state"), "dra.networking").unwrap();
    assert!(state.is_empty());
}

#[tokio::test]
async fn a_claim_that_no_container_lists_is_told_on_the_pod() {
    let world = World::new().await;
    let pod = |uid: &str, resources: Value| {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "namespace": "default", "name": format!("pod-{uid}"), "uid": uid },
            "spec": {
                "resourceClaims": [{ "name": "lan", "resourceClaimName": format!("claim-{uid}") }],
                "containers": [{ "name": "app", "image": "x", "resources": resources }],
            },
        })
    };
    for uid in ["c1", "c2"] {
        world.api.put_claim(claim(uid, None, &[uid]));
    }
    world.api.put_pod(pod("c1", json!({})));
    world
        .api
        .put_pod(pod("c2", json!({ "claims": [{ "name": "lan" }] })));
    world.prepare("c1").await;
    world.prepare("c2").await;
    world.settle().await;
    let events = world.api.written("/events");
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["involvedObject"]["name"], "pod-c1");
    insta::assert_snapshot!(events[0]["message"].as_str().unwrap(), @"claim claim-c1 is listed for the pod, but no container lists it under resources.claims: no hook will run and no interface will be attached");
}
