//! Kubernetes 1.29: claims that the driver's own controller allocates, from a client's view.
// A test that can't go on fails; that is what these are for.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::time::Duration;

use futures::StreamExt;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, WatchEvent};
use kube::core::GroupVersionKind;
use ndra_mock_apiserver::{ApiServer, Config, ResourceApi};
use serde_json::{Value, json};

async fn server() -> ApiServer {
    ApiServer::start(Config {
        resource_api: ResourceApi::V1alpha2,
        ..Config::default()
    })
    .await
    .unwrap()
}

fn class(parameters: Value) -> Value {
    json!({
        "apiVersion": "resource.k8s.io/v1alpha2", "kind": "ResourceClass",
        "metadata": {"name": "net"}, "driverName": "d.example", "parametersRef": parameters,
    })
}

fn claim_spec(parameters: Value) -> Value {
    json!({"resourceClassName": "net", "parametersRef": parameters})
}

fn claim(parameters: Value) -> Value {
    json!({
        "apiVersion": "resource.k8s.io/v1alpha2", "kind": "ResourceClaim",
        "metadata": {"name": "c"}, "spec": claim_spec(parameters),
    })
}

fn config(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "dra.networking/v1alpha1", "kind": "CNIConfig",
        "metadata": {"name": name, "namespace": namespace}, "ifName": name,
    })
}

fn reference(name: &str) -> Value {
    json!({"apiGroup": "dra.networking", "kind": "CNIConfig", "name": name})
}

fn pod(name: &str, source: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "containers": [{"name": "app", "image": "app:1"}],
            "resourceClaims": [{"name": "net", "source": source}],
        },
    })
}

fn create(server: &ApiServer, objects: impl IntoIterator<Item = Value>) {
    for object in objects {
        server.create(object).unwrap();
    }
}

/// The first object of a kind that will do.
async fn until(server: &ApiServer, plural: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let wait = async {
        loop {
            let found = server.list(plural, Some("default"));
            if wanted(&found) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(20), wait).await;
    found.unwrap_or_else(|_| panic!("{plural}: {:#?}", server.list(plural, Some("default"))))
}

fn bound(pods: &[Value]) -> bool {
    pods.iter().all(|pod| pod["spec"]["nodeName"] == "node-a")
}

/// What the driver will get.
fn handle(claim: &Value) -> Value {
    let handle = &claim["status"]["allocation"]["resourceHandles"][0];
    assert_eq!(handle["driverName"], "d.example");
    serde_json::from_str(handle["data"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn a_claim_gets_a_handle_and_loses_it_after_its_last_user() {
    let server = server().await;
    let objects = [
        common::node("node-a"),
        class(Value::Null),
        config("default", "net1"),
        claim(reference("net1")),
    ];
    create(&server, objects);
    let source = json!({"resourceClaimName": "c"});
    create(&server, [pod("one", source.clone()), pod("two", source)]);
    until(&server, "pods", bound).await;
    let claim = server.get("resourceclaims", "default", "c").unwrap();
    assert_eq!(
        handle(&claim),
        json!({
            "apiVersion": "dra.networking/v1alpha1", "kind": "ResourceHandle",
            "interfaces": [{"source": "FromClaim", "parameters": {
                "apiVersion": "dra.networking/v1alpha1", "kind": "CNIConfig", "ifName": "net1",
            }}],
        })
    );
    assert_eq!(claim["apiVersion"], "resource.k8s.io/v1alpha2");
    assert_eq!(claim["spec"]["allocationMode"], "WaitForFirstConsumer");
    assert_eq!(claim["status"]["driverName"], "d.example");
    assert_eq!(claim["status"]["reservedFor"].as_array().unwrap().len(), 2);
    let kept = json!(["d.example/deletion-protection"]);
    assert_eq!(claim["metadata"]["finalizers"], kept);
    // Neither goes before the pods.
    server
        .delete("resourceclaims", "default", "c", None)
        .unwrap();
    server.delete("pods", "default", "one", Some(0)).unwrap();
    until(&server, "resourceclaims", |claims| {
        claims[0]["status"]["reservedFor"].as_array().unwrap().len() == 1
    })
    .await;
    server.delete("pods", "default", "two", Some(0)).unwrap();
    until(&server, "resourceclaims", <[Value]>::is_empty).await;
    server.stop().await;
}

#[tokio::test]
async fn a_claim_that_stays_is_deallocated_in_two_steps() {
    let server = server().await;
    create(
        &server,
        [
            common::node("node-a"),
            class(Value::Null),
            claim(Value::Null),
        ],
    );
    create(&server, [pod("one", json!({"resourceClaimName": "c"}))]);
    until(&server, "pods", bound).await;
    server.delete("pods", "default", "one", Some(0)).unwrap();
    // All that has happened since the server's first revision.
    let params = kube::api::WatchParams::default();
    let seen = claims(&server).watch(&params, "1").await.unwrap();
    let mut seen = seen.boxed();
    let mut steps = Vec::new();
    let gone = async {
        while let Some(event) = seen.next().await {
            let (WatchEvent::Added(object) | WatchEvent::Modified(object)) = event.unwrap() else {
                continue;
            };
            let status = &object.data["status"];
            let step = (
                !status["allocation"].is_null(),
                status["deallocationRequested"] == true,
                object.metadata.finalizers.is_some(),
            );
            if steps.last() != Some(&step) {
                steps.push(step);
            }
            if steps.len() > 2 && step == (false, false, false) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone)
        .await
        .unwrap();
    // Whether it is allocated, is to be deallocated, and is held by its controller.
    let all = [
        (false, false, false),
        (false, false, true),
        (true, false, true),
        (true, true, true),
        (false, false, true),
        (false, false, false),
    ];
    assert_eq!(steps, all);
    let claim = server.get("resourceclaims", "default", "c").unwrap();
    assert_eq!(claim["status"], json!({}));
    server.stop().await;
}

fn claims(server: &ApiServer) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("resource.k8s.io", "v1alpha2", "ResourceClaim");
    Api::all_with(common::client(server), &ApiResource::from_gvk(&kind))
}

#[tokio::test]
async fn a_template_makes_claims_and_a_class_has_parameters() {
    let server = server().await;
    let mut of_class = reference("shared");
    of_class["namespace"] = "kube-system".into();
    let template = json!({
        "apiVersion": "resource.k8s.io/v1alpha2", "kind": "ResourceClaimTemplate",
        "metadata": {"name": "t"}, "spec": {"spec": claim_spec(Value::Null)},
    });
    let objects = [
        common::node("node-a"),
        config("kube-system", "shared"),
        class(of_class),
        template,
        pod("web", json!({"resourceClaimTemplateName": "t"})),
    ];
    create(&server, objects);
    until(&server, "pods", bound).await;
    let made = until(&server, "resourceclaims", |claims| claims.len() == 1).await;
    assert_eq!(made[0]["apiVersion"], "resource.k8s.io/v1alpha2");
    let interface = &handle(&made[0])["interfaces"][0];
    assert_eq!(interface["source"], "FromClass");
    assert_eq!(interface["parameters"]["ifName"], "shared");
    // The claim goes with its pod.
    server.delete("pods", "default", "web", Some(0)).unwrap();
    until(&server, "resourceclaims", <[Value]>::is_empty).await;
    server.stop().await;
}

#[tokio::test]
async fn a_pod_waits_for_what_its_claim_lacks() {
    let server = server().await;
    let objects = [
        common::node("node-a"),
        claim(reference("net1")),
        pod("web", json!({"resourceClaimName": "c"})),
    ];
    create(&server, objects);
    let says = |words: &'static str| {
        move |pods: &[Value]| pods[0]["status"]["conditions"][0]["message"] == words
    };
    let words = "resource class net does not exist";
    until(&server, "pods", says(words)).await;
    create(&server, [class(Value::Null)]);
    let words = r#"cniconfigs.dra.networking "net1" not found"#;
    until(&server, "pods", says(words)).await;
    create(&server, [config("default", "net1")]);
    until(&server, "pods", bound).await;
    server.stop().await;
}

#[tokio::test]
async fn each_server_has_one_of_the_versions() {
    let versions = |client: Client| async move {
        let groups = client.list_api_groups().await.unwrap().groups;
        let group = groups.into_iter().find(|one| one.name == "resource.k8s.io");
        let versions = group.unwrap().versions.into_iter();
        let minor = client.apiserver_version().await.unwrap().minor;
        let kinds = client
            .list_api_group_resources("resource.k8s.io/v1alpha2")
            .await;
        let kinds = kinds.map(|list| list.resources.into_iter().map(|one| one.name).collect());
        (
            minor,
            versions.map(|one| one.version).collect::<Vec<_>>(),
            kinds.unwrap_or_else(|_| Vec::new()),
        )
    };
    let (then, now) = (server().await, common::server().await);
    let kinds = [
        "resourceclaims",
        "resourceclaims/status",
        "resourceclaimtemplates",
        "resourceclasses",
    ];
    assert_eq!(
        json!(versions(common::client(&then)).await),
        json!(["29", ["v1alpha2"], kinds])
    );
    assert_eq!(
        json!(versions(common::client(&now)).await),
        json!(["34", ["v1"], []])
    );
    assert!(claims(&now).list(&Default::default()).await.is_err());
    assert!(claims(&then).list(&Default::default()).await.is_ok());
    let current = Api::<k8s_openapi::api::resource::v1::ResourceClaim>::all(common::client(&then));
    assert!(current.list(&Default::default()).await.is_err());
    // Each knows only its own form of a pod's entry.
    let refused = |server: &ApiServer, entry: Value| {
        let mut pod = pod("web", Value::Null);
        pod["spec"]["resourceClaims"] = json!([entry]);
        server.create(pod).unwrap_err().message
    };
    let direct = json!({"name": "net", "resourceClaimName": "c"});
    let by_source = json!({"name": "net", "source": {"resourceClaimName": "c"}});
    insta::assert_snapshot!(refused(&then, direct), @r#"Pod "web" is invalid: spec.resourceClaims[0].source: Invalid value: {}: must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"#);
    insta::assert_snapshot!(refused(&now, by_source), @r#"Pod "web" is invalid: spec.resourceClaims[0]: Required value: must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"#);
    let neither = json!({"name": "net", "source": {}});
    insta::assert_snapshot!(refused(&then, neither), @r#"Pod "web" is invalid: spec.resourceClaims[0].source: Invalid value: {}: must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"#);
    then.stop().await;
    now.stop().await;
}
