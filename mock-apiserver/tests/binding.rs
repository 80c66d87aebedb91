//! The part of scheduler and controllers, from a client's point of view.
// A test that can't go on fails; that is what these are for.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::*;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

fn force() -> DeleteParams {
    DeleteParams {
        grace_period_seconds: Some(0),
        ..DeleteParams::default()
    }
}

async fn finish(client: &kube::Client, pod: &str) {
    let patch = Patch::Merge(json!({"status": {"phase": "Succeeded"}}));
    api(client, "Pod")
        .patch_status(pod, &PatchParams::default(), &patch)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_claim_is_allocated_reserved_and_released() {
    let server = server().await;
    let client = client(&server);
    world(&client, 2).await;
    create(&client, claim("c")).await;
    let created = create(&client, pod_with_claim("web", "c")).await;
    let pod = until_is(&client, "Pod", "web", is_bound).await;
    assert_eq!(pod["spec"]["nodeName"], "node-a");

    let claim = until_is(&client, "ResourceClaim", "c", |claim| {
        claim["status"]["reservedFor"].is_array()
    })
    .await;
    let status = json!({
        "allocation": {
            "devices": {
                "results": [{"request": "net", "driver": "dra.networking", "pool": "node-a", "device": "slot-0"}],
                "config": [{
                    "source": "FromClaim",
                    "requests": ["net"],
                    "opaque": {
                        "driver": "dra.networking",
                        "parameters": {"apiVersion": "dra.networking/v1alpha1", "kind": "CNIConfig", "ifName": "net1"},
                    },
                }],
            },
            "nodeSelector": {"nodeSelectorTerms": [{"matchFields": [
                {"key": "metadata.name", "operator": "In", "values": ["node-a"]},
            ]}]},
        },
        "reservedFor": [{"resource": "pods", "name": "web", "uid": created["metadata"]["uid"]}],
    });
    assert_eq!(claim["status"], status);
    assert_eq!(
        claim["metadata"]["finalizers"],
        json!(["resource.kubernetes.io/delete-protection"])
    );

    finish(&client, "web").await;
    let released = until_is(&client, "ResourceClaim", "c", |claim| {
        claim["metadata"]["finalizers"].is_null()
    })
    .await;
    assert_eq!(released["metadata"]["uid"], claim["metadata"]["uid"]);
    assert!(released["status"]["allocation"].is_null(), "{released:#}");
    assert!(released["status"]["reservedFor"].is_null(), "{released:#}");
    server.stop().await;
}

#[tokio::test]
async fn order_does_not_matter() {
    let server = server().await;
    let client = client(&server);
    create(&client, pod_with_claim("web", "c")).await;
    let waiting = until_is(&client, "Pod", "web", |pod| !conditions(pod).is_empty()).await;
    assert_eq!(
        conditions(&waiting)[0]["message"],
        "resourceclaim.resource.k8s.io \"c\" not found"
    );
    create(&client, claim("c")).await;
    create(&client, slice("node-a", 1)).await;
    create(&client, class("dra.networking")).await;
    create(&client, node("node-a")).await;
    until_is(&client, "Pod", "web", is_bound).await;
    server.stop().await;
}

#[tokio::test]
async fn a_template_makes_a_claim_that_goes_with_its_pod() {
    let server = server().await;
    let client = client(&server);
    world(&client, 1).await;
    create(&client, template("t")).await;
    create(&client, pod_with_template("web", "t")).await;
    let pod = until_is(&client, "Pod", "web", is_bound).await;
    let statuses = &pod["status"]["resourceClaimStatuses"];
    assert_eq!(statuses[0]["name"], "net");
    let name = statuses[0]["resourceClaimName"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        name.starts_with("web-net-") && name.len() == "web-net-".len() + 5,
        "{name}"
    );

    let claim = until_is(&client, "ResourceClaim", &name, |claim| {
        claim["status"]["reservedFor"].is_array()
    })
    .await;
    let metadata = &claim["metadata"];
    assert_eq!(
        metadata["annotations"],
        json!({"note": "n", "resource.kubernetes.io/pod-claim-name": "net"})
    );
    assert_eq!(metadata["labels"], json!({"made": "yes"}));
    assert_eq!(metadata["generateName"], "web-net-");
    let owner = json!([{
        "apiVersion": "v1", "kind": "Pod", "name": "web", "uid": pod["metadata"]["uid"],
        "controller": true, "blockOwnerDeletion": true,
    }]);
    assert_eq!(metadata["ownerReferences"], owner);

    api(&client, "Pod").delete("web", &force()).await.unwrap();
    until_gone(&client, "ResourceClaim", &name).await;
    server.stop().await;
}

#[tokio::test]
async fn a_finished_pod_gives_its_made_claim_up() {
    let server = server().await;
    let client = client(&server);
    world(&client, 1).await;
    create(&client, template("t")).await;
    create(&client, pod_with_template("web", "t")).await;
    let pod = until_is(&client, "Pod", "web", is_bound).await;
    let name = pod["status"]["resourceClaimStatuses"][0]["resourceClaimName"]
        .as_str()
        .unwrap()
        .to_owned();
    finish(&client, "web").await;
    until_gone(&client, "ResourceClaim", &name).await;
    // The device is free for the next one.
    create(&client, pod_with_template("next", "t")).await;
    until_is(&client, "Pod", "next", is_bound).await;
    server.stop().await;
}

#[tokio::test]
async fn a_template_that_comes_late_is_waited_for() {
    let server = server().await;
    let client = client(&server);
    world(&client, 1).await;
    create(&client, pod_with_template("web", "t")).await;
    let event = until_event(&client, "FailedResourceClaimCreation").await;
    assert_eq!(
        event["message"],
        "PodResourceClaim net: resource claim template \"t\": resourceclaimtemplates.resource.k8s.io \"t\" not found"
    );
    create(&client, template("t")).await;
    until_is(&client, "Pod", "web", is_bound).await;
    server.stop().await;
}

async fn until_event(client: &kube::Client, reason: &str) -> Value {
    use futures::TryStreamExt;
    use kube::runtime::{WatchStreamExt, watcher};
    let config = watcher::Config::default().fields(&format!("reason={reason}"));
    let events = watcher(api(client, "Event"), config).applied_objects();
    futures::pin_mut!(events);
    let found = tokio::time::timeout(std::time::Duration::from_secs(20), events.try_next()).await;
    serde_json::to_value(found.expect("an event in time").unwrap().unwrap()).unwrap()
}

#[tokio::test]
async fn too_few_devices_keep_a_pod_waiting() {
    let server = server().await;
    let client = client(&server);
    world(&client, 1).await;
    create(&client, claim("one")).await;
    create(&client, claim("two")).await;
    create(&client, pod_with_claim("first", "one")).await;
    until_is(&client, "Pod", "first", is_bound).await;
    create(&client, pod_with_claim("second", "two")).await;
    let waiting = until_is(&client, "Pod", "second", |pod| !conditions(pod).is_empty()).await;
    let condition = &conditions(&waiting)[0];
    assert_eq!(condition["type"], "PodScheduled");
    assert_eq!(condition["status"], "False");
    assert_eq!(condition["reason"], "Unschedulable");
    assert_eq!(
        condition["message"],
        "0/1 nodes are available: 1 cannot allocate all claims."
    );
    let event = until_event(&client, "FailedScheduling").await;
    assert_eq!(event["involvedObject"]["name"], "second");
    assert_eq!(event["type"], "Warning");

    api(&client, "Pod").delete("first", &force()).await.unwrap();
    until_is(&client, "Pod", "second", is_bound).await;
    server.stop().await;
}

#[tokio::test]
async fn two_pods_share_a_claim() {
    let server = server().await;
    let client = client(&server);
    world(&client, 1).await;
    create(&client, claim("c")).await;
    create(&client, pod_with_claim("one", "c")).await;
    create(&client, pod_with_claim("two", "c")).await;
    until_is(&client, "Pod", "one", is_bound).await;
    until_is(&client, "Pod", "two", is_bound).await;
    let users = |claim: &Value| {
        claim["status"]["reservedFor"]
            .as_array()
            .map_or(0, Vec::len)
    };
    until_is(&client, "ResourceClaim", "c", |claim| users(claim) == 2).await;
    api(&client, "Pod").delete("one", &force()).await.unwrap();
    let claim = until_is(&client, "ResourceClaim", "c", |claim| users(claim) == 1).await;
    assert_eq!(claim["status"]["reservedFor"][0]["name"], "two");
    assert!(claim["status"]["allocation"].is_object());
    server.stop().await;
}

#[tokio::test]
async fn a_deleted_claim_waits_for_its_user() {
    let server = server().await;
    let client = client(&server);
    world(&client, 1).await;
    create(&client, claim("c")).await;
    create(&client, pod_with_claim("web", "c")).await;
    until_is(&client, "Pod", "web", is_bound).await;
    let claims = api(&client, "ResourceClaim");
    claims.delete("c", &DeleteParams::default()).await.unwrap();
    let marked = claims.get("c").await.unwrap();
    assert!(marked.metadata.deletion_timestamp.is_some());
    api(&client, "Pod").delete("web", &force()).await.unwrap();
    until_gone(&client, "ResourceClaim", "c").await;
    server.stop().await;
}

#[tokio::test]
async fn a_new_pod_of_the_same_name_is_another_user() {
    let server = server().await;
    let client = client(&server);
    world(&client, 1).await;
    create(&client, claim("c")).await;
    create(&client, pod_with_claim("web", "c")).await;
    let first = until_is(&client, "Pod", "web", is_bound).await;
    api(&client, "Pod").delete("web", &force()).await.unwrap();
    create(&client, pod_with_claim("web", "c")).await;
    let second = until_is(&client, "Pod", "web", is_bound).await;
    assert_ne!(first["metadata"]["uid"], second["metadata"]["uid"]);
    let claim = until_is(&client, "ResourceClaim", "c", |claim| {
        let users = claim["status"]["reservedFor"].as_array();
        users.is_some_and(|users| users.len() == 1 && users[0]["uid"] == second["metadata"]["uid"])
    })
    .await;
    assert!(claim["status"]["allocation"].is_object());
    server.stop().await;
}

#[tokio::test]
async fn a_pod_on_a_node_by_its_author_is_left_to_the_kubelet() {
    let server = server().await;
    let client = client(&server);
    world(&client, 1).await;
    create(&client, claim("c")).await;
    let mut placed = pod_with_claim("placed", "c");
    placed["spec"]["nodeName"] = "node-a".into();
    create(&client, placed).await;
    // A pod of the scheduler gets the claim allocated; then the first one is reserved for, too.
    create(&client, pod("other", json!([]))).await;
    until_is(&client, "Pod", "other", is_bound).await;
    let claim = api(&client, "ResourceClaim").get("c").await.unwrap();
    assert!(claim.data.get("status").is_none(), "{:?}", claim.data);
    create(&client, pod_with_claim("scheduled", "c")).await;
    until_is(&client, "ResourceClaim", "c", |claim| {
        claim["status"]["reservedFor"]
            .as_array()
            .is_some_and(|users| users.len() == 2)
    })
    .await;
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_honoured_is_refused() {
    let server = server().await;
    let client = client(&server);
    world(&client, 4).await;
    let mut distinct = claim("distinct");
    distinct["spec"]["devices"]["constraints"] =
        json!([{"distinctAttribute": "dra.networking/index"}]);
    let mut tolerant = claim("tolerant");
    tolerant["spec"]["devices"]["requests"][0]["exactly"]["tolerations"] =
        json!([{"operator": "Exists"}]);
    let mut failing = claim("failing");
    failing["spec"]["devices"]["requests"][0]["exactly"]["selectors"] =
        json!([{"cel": {"expression": "device.attributes['dra.networking'].speed > 1"}}]);
    let mut classless = claim("classless");
    classless["spec"]["devices"]["requests"][0]["exactly"]["deviceClassName"] = "other".into();
    let mut words = Vec::new();
    for object in [distinct, tolerant, failing, classless] {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        create(&client, object).await;
        create(&client, pod_with_claim(&name, &name)).await;
        let stuck = until_is(&client, "Pod", &name, |pod| !conditions(pod).is_empty()).await;
        words.push(
            conditions(&stuck)[0]["message"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    insta::assert_snapshot!(words.join("\n"), @r#"
    0/1 nodes are available: 1 claim default/distinct, constraint #0: distinctAttribute is not supported here; use matchAttribute.
    0/1 nodes are available: 1 claim default/tolerant, request net: tolerations is not supported here; leave it out.
    0/1 nodes are available: 1 claim default/failing: selector #0 on device dra.networking/node-a/slot-0: CEL runtime error: no such key: speed.
    0/1 nodes are available: 1 claim default/classless, request net: could not retrieve device class other: deviceclass.resource.k8s.io "other" not found.
    "#);
    server.stop().await;
}

#[tokio::test]
async fn without_controllers_nothing_happens_by_itself() {
    let server = plain_server().await;
    let client = client(&server);
    world(&client, 1).await;
    create(&client, claim("c")).await;
    create(&client, pod_with_claim("web", "c")).await;
    let pod = api(&client, "Pod").get("web").await.unwrap();
    assert!(pod.data["spec"].get("nodeName").is_none());
    server.stop().await;
}

/// Allocation is meant to take about a millisecond; this only sees that it is not polled.
#[tokio::test]
async fn allocation_follows_the_slice_at_once() {
    let server = server().await;
    let client = client(&server);
    create(&client, node("node-a")).await;
    create(&client, class("dra.networking")).await;
    create(&client, claim("c")).await;
    create(&client, pod_with_claim("web", "c")).await;
    until_is(&client, "Pod", "web", |pod| !conditions(pod).is_empty()).await;
    let start = std::time::Instant::now();
    server.create(slice("node-a", 128)).unwrap();
    until_is(&client, "Pod", "web", is_bound).await;
    let took = start.elapsed();
    println!("from slice to binding, as seen by a client: {took:?}");
    assert!(took.as_secs() < 5, "{took:?}");
    server.stop().await;
}

#[tokio::test]
async fn many_pods_get_their_devices() {
    const PODS: usize = 120;
    let server = server().await;
    let client = client(&server);
    world(&client, 128).await;
    create(&client, template("t")).await;
    let start = std::time::Instant::now();
    let names: Vec<String> = (0..PODS).map(|n| format!("web-{n}")).collect();
    for name in &names {
        server.create(pod_with_template(name, "t")).unwrap();
    }
    for name in &names {
        until_is(&client, "Pod", name, is_bound).await;
    }
    println!("{PODS} pods were bound in {:?}", start.elapsed());
    let mut devices: Vec<String> = server
        .list("resourceclaims", None)
        .iter()
        .map(|claim| {
            let results = &claim["status"]["allocation"]["devices"]["results"];
            results[0]["device"].as_str().unwrap().to_owned()
        })
        .collect();
    devices.sort();
    devices.dedup();
    assert_eq!(devices.len(), PODS, "no device was given twice");
    for name in &names {
        server.delete("pods", "default", name, Some(0)).unwrap();
    }
    for claim in server.list("resourceclaims", None) {
        until_gone(
            &client,
            "ResourceClaim",
            claim["metadata"]["name"].as_str().unwrap(),
        )
        .await;
    }
    println!("and gone again after {:?}", start.elapsed());
    server.stop().await;
}
