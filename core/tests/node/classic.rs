//! Kubernetes 1.29: the allocation comes with the kubelet's call, and is written nowhere.

use ndra_core::dra::{ClaimName, V1alpha3};
use ndra_core::kube::claims::ClaimApi;
use ndra_core::wire::dra_v1alpha3 as wire;
use ndra_core::wire::dra_v1alpha3::node_server::Node as _;
use serde_json::{Value, json};
use tonic::Request;

use crate::world::{World, claim_name, dir};

async fn world() -> World {
    let world = World::of(dir(), "boot-1", ClaimApi::V1alpha2).await;
    world.api.put_classic_claim(json!({
        "apiVersion": "resource.k8s.io/v1alpha2",
        "kind": "ResourceClaim",
        "metadata": { "namespace": "default", "name": "claim-c1", "uid": "c1" },
        "spec": { "resourceClassName": "dra.networking" },
        "status": { "driverName": "dra.networking",
            "reservedFor": [{ "resource": "pods", "name": "pod-p1", "uid": "p1" }] },
    }));
    world.sandboxes.run("s1", "p1");
    world
}

fn handle(interfaces: Value) -> String {
    json!({
        "apiVersion": "dra.networking/v1alpha1", "kind": "ResourceHandle",
        "interfaces": interfaces,
    })
    .to_string()
}

fn lan(if_name: &str) -> Value {
    json!({ "source": "FromClaim", "parameters": {
        "apiVersion": "dra.networking/v1alpha1", "kind": "CNIConfig", "ifName": if_name,
        "config": { "cniVersion": "1.0.0", "name": "lan", "type": "macvlan" },
    }})
}

async fn prepare(world: &World, handle: String) -> wire::NodePrepareResourceResponse {
    let request = wire::NodePrepareResourcesRequest {
        claims: vec![wire::Claim {
            namespace: "default".into(),
            uid: "c1".into(),
            name: "claim-c1".into(),
            resource_handle: handle,
        }],
    };
    let service = V1alpha3(world.node.clone());
    let answer = service.node_prepare_resources(Request::new(request)).await;
    answer.unwrap().into_inner().claims.remove("c1").unwrap()
}

#[tokio::test]
async fn the_handle_says_which_interfaces_there_are() {
    let world = world().await;
    let answer = prepare(&world, handle(json!([lan("net1"), lan("net2")]))).await;
    assert_eq!(answer.error, "");
    assert_eq!(answer.cdi_devices, ["dra.networking/claim=c1"]);
    world.attach("c1", "s1").await.unwrap();
    assert_eq!(world.calls(), ["ADD s1 net1", "ADD s1 net2"]);
    world.unprepare("c1").await.unwrap();
    assert_eq!(world.calls()[2..], ["DEL s1 net2", "DEL s1 net1"]);
    assert!(world.record().is_empty());
}

#[tokio::test]
async fn a_handle_that_is_no_handle_fails_the_claim_in_these_words() {
    let world = world().await;
    let answer = prepare(&world, String::new()).await;
    assert_eq!(answer.cdi_devices, [] as [String; 0]);
    insta::assert_snapshot!(answer.error, @"ResourceClaim default/claim-c1: the resource handle cannot be read: it is empty; it must be written by the controller of this driver");
}

#[tokio::test]
async fn an_unprepare_needs_no_handle() {
    let world = world().await;
    prepare(&world, handle(json!([lan("net1")]))).await;
    world.attach("c1", "s1").await.unwrap();
    let name = ClaimName {
        handle: Some(String::new()),
        ..claim_name("c1")
    };
    let done = world.node.unprepare(vec![name]).await;
    assert_eq!(done["c1"], Ok(()));
    assert!(world.record().is_empty());
}

#[tokio::test]
async fn a_claim_that_no_container_lists_is_told_of() {
    let world = world().await;
    let pod = |claims: Value| {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "namespace": "default", "name": "pod-p1", "uid": "p1" },
            "spec": {
                "resourceClaims": [{ "name": "net", "source": { "resourceClaimName": "claim-c1" } }],
                "containers": [{ "name": "web", "resources": { "claims": claims } }],
            },
        })
    };
    world.api.put_pod(pod(json!([])));
    prepare(&world, handle(json!([lan("net1")]))).await;
    world.settle().await;
    let events = world.api.written("/events");
    let reasons: Vec<_> = events.iter().map(|event| &event["reason"]).collect();
    assert_eq!(reasons, ["InterfaceNotRequested"]);
    insta::assert_snapshot!(events[0]["message"].as_str().unwrap(), @"claim claim-c1 is listed for the pod, but no container lists it under resources.claims: no hook will run and no interface will be attached");
}
