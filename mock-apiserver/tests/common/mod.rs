//! What the tests share: a server, a client, and waiting for a state of an object.
// Not every test file uses all of it, and a helper that can't go on fails its test.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, pin_mut};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, PostParams};
use kube::runtime::watcher;
use kube::{Client, Config as ClientConfig};
use ndra_mock_apiserver::{ApiServer, Config};
use serde_json::{Value, json};

/// Nothing here takes this long, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn server() -> ApiServer {
    ApiServer::start(Config::default()).await.unwrap()
}

pub(crate) async fn plain_server() -> ApiServer {
    ApiServer::start(Config {
        controllers: false,
        ..Config::default()
    })
    .await
    .unwrap()
}

pub(crate) fn client(server: &ApiServer) -> Client {
    ndra_core::kube::install_crypto();
    let config = ClientConfig::new(server.url().parse().unwrap());
    Client::try_from(config).unwrap()
}

pub(crate) fn resource(kind: &str) -> ApiResource {
    let (group, plural) = match kind {
        "ResourceClaim" => ("resource.k8s.io", "resourceclaims"),
        "ResourceClaimTemplate" => ("resource.k8s.io", "resourceclaimtemplates"),
        "ResourceSlice" => ("resource.k8s.io", "resourceslices"),
        "DeviceClass" => ("resource.k8s.io", "deviceclasses"),
        "NetworkAttachmentDefinition" => ("k8s.cni.cncf.io", "network-attachment-definitions"),
        "Deployment" => ("apps", "deployments"),
        "ReplicaSet" => ("apps", "replicasets"),
        "Pod" => ("", "pods"),
        "Node" => ("", "nodes"),
        "Event" => ("", "events"),
        other => panic!("no such kind in these tests: {other}"),
    };
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", kind), plural)
}

pub(crate) fn api(client: &Client, kind: &str) -> Api<DynamicObject> {
    let resource = resource(kind);
    match kind {
        "Node" | "ResourceSlice" | "DeviceClass" => Api::all_with(client.clone(), &resource),
        _ => Api::namespaced_with(client.clone(), "default", &resource),
    }
}

/// Creates an object over HTTP.
pub(crate) async fn create(client: &Client, object: Value) -> Value {
    let kind = object["kind"].as_str().unwrap().to_owned();
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    let created = api(client, &kind)
        .create(&PostParams::default(), &object)
        .await
        .unwrap();
    serde_json::to_value(created).unwrap()
}

/// The object once `ready` says so, seen by a watch; `None` stands for an object that is gone.
pub(crate) async fn until(
    client: &Client,
    kind: &str,
    name: &str,
    mut ready: impl FnMut(Option<&Value>) -> bool,
) -> Option<Value> {
    let config = watcher::Config::default()
        .fields(&format!("metadata.name={name}"))
        .streaming_lists();
    let events = watcher(api(client, kind), config);
    pin_mut!(events);
    let mut last = None;
    let found = tokio::time::timeout(PATIENCE, async {
        let mut there = false;
        while let Some(event) = events.try_next().await.unwrap() {
            match event {
                watcher::Event::Init => there = false,
                watcher::Event::Apply(object) | watcher::Event::InitApply(object) => {
                    there = true;
                    last = Some(serde_json::to_value(object).unwrap());
                    if ready(last.as_ref()) {
                        return last.clone();
                    }
                }
                watcher::Event::Delete(_) => {
                    if ready(None) {
                        return None;
                    }
                }
                watcher::Event::InitDone => {
                    if !there && ready(None) {
                        return None;
                    }
                }
            }
        }
        panic!("the watch of {kind} {name} ended");
    })
    .await;
    found.unwrap_or_else(|_| panic!("{kind} {name} never got there; it was last {last:#?}"))
}

/// As [`until`], for an object that must be there.
pub(crate) async fn until_is(
    client: &Client,
    kind: &str,
    name: &str,
    mut ready: impl FnMut(&Value) -> bool,
) -> Value {
    until(client, kind, name, |object| object.is_some_and(&mut ready))
        .await
        .unwrap()
}

pub(crate) async fn until_gone(client: &Client, kind: &str, name: &str) {
    assert!(
        until(client, kind, name, |object| object.is_none())
            .await
            .is_none()
    );
}

/// The next items of a stream, but not more patience than for one.
pub(crate) async fn next<S: StreamExt + Unpin>(stream: &mut S) -> S::Item {
    tokio::time::timeout(PATIENCE, stream.next())
        .await
        .expect("in time")
        .expect("more to come")
}

pub(crate) fn node(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}})
}

pub(crate) fn class(name: &str) -> Value {
    json!({
        "apiVersion": "resource.k8s.io/v1",
        "kind": "DeviceClass",
        "metadata": {"name": name},
        "spec": {"selectors": [{"cel": {"expression": "device.driver == 'dra.networking'"}}]},
    })
}

pub(crate) fn slice(node: &str, devices: usize) -> Value {
    let devices: Vec<Value> = (0..devices)
        .map(|n| json!({"name": format!("slot-{n}"), "attributes": {"index": {"int": n}, "kind": {"string": "slot"}}}))
        .collect();
    json!({
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceSlice",
        "metadata": {"name": format!("{node}-dra.networking")},
        "spec": {
            "driver": "dra.networking",
            "nodeName": node,
            "pool": {"name": node, "generation": 1, "resourceSliceCount": 1},
            "devices": devices,
        },
    })
}

pub(crate) fn claim_spec() -> Value {
    json!({"devices": {
        "requests": [{"name": "net", "exactly": {"deviceClassName": "dra.networking"}}],
        "config": [{"requests": ["net"], "opaque": {
            "driver": "dra.networking",
            "parameters": {"apiVersion": "dra.networking/v1alpha1", "kind": "CNIConfig", "ifName": "net1"},
        }}],
    }})
}

pub(crate) fn claim(name: &str) -> Value {
    json!({
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {"name": name, "namespace": "default"},
        "spec": claim_spec(),
    })
}

pub(crate) fn template(name: &str) -> Value {
    json!({
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaimTemplate",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"metadata": {"labels": {"made": "yes"}, "annotations": {"note": "n"}}, "spec": claim_spec()},
    })
}

/// A pod whose `spec.resourceClaims` are given.
pub(crate) fn pod(name: &str, claims: Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "containers": [{"name": "app", "image": "app:1"}],
            "resourceClaims": claims,
        },
    })
}

pub(crate) fn pod_with_claim(name: &str, claim: &str) -> Value {
    pod(name, json!([{"name": "net", "resourceClaimName": claim}]))
}

pub(crate) fn pod_with_template(name: &str, template: &str) -> Value {
    pod(
        name,
        json!([{"name": "net", "resourceClaimTemplateName": template}]),
    )
}

/// A node, a class and a slice of so many devices.
pub(crate) async fn world(client: &Client, devices: usize) {
    create(client, node("node-a")).await;
    create(client, class("dra.networking")).await;
    create(client, slice("node-a", devices)).await;
}

pub(crate) fn is_bound(pod: &Value) -> bool {
    pod["spec"]["nodeName"].is_string()
        && conditions(pod)
            .iter()
            .any(|condition| condition["type"] == "PodScheduled" && condition["status"] == "True")
}

pub(crate) fn conditions(object: &Value) -> Vec<Value> {
    object["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default()
}
