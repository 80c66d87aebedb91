//! What kube-rs asks for: typed and dynamic objects, server-side apply.
// A test that can't go on fails; that is what these are for.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::*;
use k8s_openapi::api::core::v1::{Event, Namespace, Node, Pod};
use k8s_openapi::api::events::v1::Event as NewEvent;
use k8s_openapi::api::resource::v1::{DeviceClass, ResourceClaim, ResourceSlice};
use kube::api::{
    Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, Preconditions,
};
use ndra_mock_apiserver::ApiServer;
use serde_json::{Value, json};

fn status_of(error: kube::Error) -> (u16, String, String) {
    match error {
        kube::Error::Api(status) => (status.code, status.reason.clone(), status.message.clone()),
        other => panic!("not an API error: {other}"),
    }
}

async fn allocated(client: &kube::Client, server: &ApiServer, devices: usize) {
    let mut object = claim("c");
    let results: Vec<Value> = (0..devices)
        .map(|n| {
            json!({"request": "net", "driver": "dra.networking", "pool": "node-a", "device": format!("slot-{n}")})
        })
        .collect();
    object["status"] = json!({"allocation": {"devices": {"results": results}}});
    server.create(object).unwrap();
    api(client, "ResourceClaim").get("c").await.unwrap();
}

fn device(name: &str) -> Value {
    json!({"driver": "dra.networking", "pool": "node-a", "device": name, "networkData": {"interfaceName": "net1"}})
}

fn report(devices: &[Value]) -> Patch<Value> {
    Patch::Apply(json!({
        "apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim", "metadata": {"name": "c"},
        "status": {"devices": devices},
    }))
}

#[tokio::test]
async fn typed_objects_come_and_go() {
    let server = plain_server().await;
    let client = client(&server);
    let claims: Api<ResourceClaim> = Api::default_namespaced(client.clone());
    let wanted: ResourceClaim = serde_json::from_value(claim("c")).unwrap();
    let created = claims
        .create(&PostParams::default(), &wanted)
        .await
        .unwrap();
    assert_eq!(created.metadata.generation, Some(1));
    assert!(created.metadata.uid.is_some() && created.metadata.resource_version.is_some());
    let exactly = created.spec.devices.unwrap().requests.as_ref().unwrap()[0]
        .exactly
        .clone()
        .unwrap();
    assert_eq!(exactly.count, Some(1));
    assert_eq!(exactly.allocation_mode.as_deref(), Some("ExactCount"));

    let listed = claims.list(&ListParams::default()).await.unwrap();
    assert_eq!(listed.items.len(), 1);
    assert!(listed.metadata.resource_version.is_some());

    let (code, reason, message) = status_of(
        claims
            .create(&PostParams::default(), &wanted)
            .await
            .unwrap_err(),
    );
    assert_eq!((code, reason.as_str()), (409, "AlreadyExists"));
    assert_eq!(
        message,
        "resourceclaims.resource.k8s.io \"c\" already exists"
    );

    claims.delete("c", &DeleteParams::default()).await.unwrap();
    let (code, reason, message) = status_of(claims.get("c").await.unwrap_err());
    assert_eq!((code, reason.as_str()), (404, "NotFound"));
    assert_eq!(message, "resourceclaims.resource.k8s.io \"c\" not found");
    assert!(claims.get_opt("c").await.unwrap().is_none());
    server.stop().await;
}

#[tokio::test]
async fn unknown_fields_are_kept() {
    let server = plain_server().await;
    let client = client(&server);
    let mut object = claim("c");
    object["spec"]["devices"]["future"] = json!({"a": [1]});
    create(&client, object).await;
    let got = api(&client, "ResourceClaim").get("c").await.unwrap();
    assert_eq!(got.data["spec"]["devices"]["future"], json!({"a": [1]}));
    server.stop().await;
}

#[tokio::test]
async fn a_stale_writer_is_told() {
    let server = plain_server().await;
    let client = client(&server);
    let nodes: Api<Node> = Api::all(client.clone());
    create(&client, node("node-a")).await;
    let mut mine = nodes.get("node-a").await.unwrap();
    let mut theirs = mine.clone();
    theirs
        .metadata
        .labels
        .get_or_insert_default()
        .insert("a".into(), "b".into());
    nodes
        .replace("node-a", &PostParams::default(), &theirs)
        .await
        .unwrap();
    mine.metadata
        .labels
        .get_or_insert_default()
        .insert("c".into(), "d".into());
    let error = nodes
        .replace("node-a", &PostParams::default(), &mine)
        .await
        .unwrap_err();
    let (code, reason, message) = status_of(error);
    assert_eq!((code, reason.as_str()), (409, "Conflict"));
    insta::assert_snapshot!(message, @r#"Operation cannot be fulfilled on nodes "node-a": the object has been modified; please apply your changes to the latest version and try again"#);
    server.stop().await;
}

#[tokio::test]
async fn status_and_spec_are_apart() {
    let server = plain_server().await;
    let client = client(&server);
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    create(&client, pod("web", json!([]))).await;
    let both = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"nodeName": "x"}, "status": {"phase": "Running"}});
    let changed = pods
        .patch_status("web", &PatchParams::default(), &Patch::Merge(&both))
        .await
        .unwrap();
    assert_eq!(changed.status.unwrap().phase.as_deref(), Some("Running"));
    assert_eq!(changed.spec.unwrap().node_name, None);
    let other = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"nodeName": "x"}, "status": {"phase": "Failed"}});
    let changed = pods
        .patch("web", &PatchParams::default(), &Patch::Strategic(&other))
        .await
        .unwrap();
    assert_eq!(changed.metadata.labels.unwrap()["a"], "b");
    assert_eq!(changed.status.unwrap().phase.as_deref(), Some("Running"));
    assert_eq!(changed.spec.unwrap().node_name.as_deref(), Some("x"));
    assert_eq!(changed.metadata.generation, Some(2));
    server.stop().await;
}

#[tokio::test]
async fn device_status_is_applied_by_its_drivers() {
    let server = plain_server().await;
    let client = client(&server);
    allocated(&client, &server, 2).await;
    let claims = api(&client, "ResourceClaim");
    let one = PatchParams::apply("one").force();
    let two = PatchParams::apply("two").force();
    claims
        .patch_status("c", &one, &report(&[device("slot-0")]))
        .await
        .unwrap();
    let both = claims
        .patch_status("c", &two, &report(&[device("slot-1")]))
        .await
        .unwrap();
    assert_eq!(both.data["status"]["devices"].as_array().unwrap().len(), 2);
    assert!(both.data["status"]["allocation"].is_object());
    let version = both.metadata.resource_version.clone();
    let same = claims
        .patch_status("c", &two, &report(&[device("slot-1")]))
        .await
        .unwrap();
    assert_eq!(
        same.metadata.resource_version, version,
        "an apply that changes nothing is no change"
    );
    let left = claims.patch_status("c", &one, &report(&[])).await.unwrap();
    assert_eq!(left.data["status"]["devices"], json!([device("slot-1")]));

    let error = claims
        .patch_status("c", &one, &report(&[device("slot-7")]))
        .await
        .unwrap_err();
    let (code, reason, message) = status_of(error);
    assert_eq!((code, reason.as_str()), (422, "Invalid"));
    insta::assert_snapshot!(message, @r#"ResourceClaim.resource.k8s.io "c" is invalid: status.devices[1]: Invalid value: dra.networking/node-a/slot-7: must be an allocated device in the claim"#);

    let mut taken = device("slot-1");
    taken["networkData"]["interfaceName"] = "net9".into();
    let error = claims
        .patch_status("c", &PatchParams::apply("one"), &report(&[taken]))
        .await
        .unwrap_err();
    let (code, reason, message) = status_of(error);
    assert_eq!((code, reason.as_str()), (409, "Conflict"));
    insta::assert_snapshot!(message, @r#"Apply failed with 1 conflict: conflict with "two" with subresource "status" using resource.k8s.io/v1: .status.devices[device="slot-1",driver="dra.networking",pool="node-a"].networkData.interfaceName"#);
    server.stop().await;
}

#[tokio::test]
async fn apply_creates_what_is_not_there() {
    let server = plain_server().await;
    let client = client(&server);
    let classes: Api<DeviceClass> = Api::all(client.clone());
    let params = PatchParams::apply("test").force();
    let created = classes
        .patch(
            "dra.networking",
            &params,
            &Patch::Apply(class("dra.networking")),
        )
        .await
        .unwrap();
    assert_eq!(
        created.metadata.managed_fields.unwrap()[0]
            .manager
            .as_deref(),
        Some("test")
    );
    let error = api(&client, "ResourceClaim")
        .patch_status("c", &params, &report(&[]))
        .await
        .unwrap_err();
    assert_eq!(status_of(error).0, 404);
    server.stop().await;
}

#[tokio::test]
async fn slices_are_deleted_by_node_and_driver() {
    let server = plain_server().await;
    let client = client(&server);
    let slices: Api<ResourceSlice> = Api::all(client.clone());
    create(&client, slice("node-a", 1)).await;
    create(&client, slice("node-b", 1)).await;
    let params = ListParams::default().fields("spec.nodeName=node-a,spec.driver=dra.networking");
    slices
        .delete_collection(&DeleteParams::default(), &params)
        .await
        .unwrap();
    let left = slices.list(&ListParams::default()).await.unwrap();
    assert_eq!(left.items.len(), 1);
    assert_eq!(left.items[0].spec.node_name.as_deref(), Some("node-b"));
    server.stop().await;
}

#[tokio::test]
async fn pods_go_gracefully() {
    let server = plain_server().await;
    let client = client(&server);
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let mut object = pod("web", json!([]));
    object["spec"]["nodeName"] = "node-a".into();
    let created = create(&client, object.clone()).await;
    let uid = created["metadata"]["uid"].as_str().unwrap().to_owned();

    let marked = pods
        .delete("web", &DeleteParams::default())
        .await
        .unwrap()
        .left()
        .unwrap();
    assert_eq!(marked.metadata.deletion_grace_period_seconds, Some(30));
    assert!(marked.metadata.deletion_timestamp.is_some());
    let version = marked.metadata.resource_version;
    let again = pods
        .delete("web", &DeleteParams::default().grace_period(60))
        .await
        .unwrap()
        .left()
        .unwrap();
    assert_eq!(
        again.metadata.resource_version, version,
        "the grace period is never lengthened"
    );
    let shorter = pods
        .delete("web", &DeleteParams::default().grace_period(5))
        .await
        .unwrap()
        .left()
        .unwrap();
    assert_eq!(shorter.metadata.deletion_grace_period_seconds, Some(5));

    let other = DeleteParams::default()
        .grace_period(0)
        .preconditions(Preconditions {
            uid: Some("other".into()),
            resource_version: None,
        });
    let (code, _, message) = status_of(pods.delete("web", &other).await.unwrap_err());
    assert_eq!(code, 409);
    insta::assert_snapshot!(message.replace(&uid, "UID"), @r#"Operation cannot be fulfilled on pods "web": the UID in the precondition (other) does not match the UID in record (UID). The object might have been deleted and then recreated"#);
    let right = DeleteParams::default()
        .grace_period(0)
        .preconditions(Preconditions {
            uid: Some(uid),
            resource_version: None,
        });
    pods.delete("web", &right).await.unwrap();
    assert!(pods.get_opt("web").await.unwrap().is_none());
    server.stop().await;
}

#[tokio::test]
async fn finalizers_hold_an_object() {
    let server = plain_server().await;
    let client = client(&server);
    let claims = api(&client, "ResourceClaim");
    let mut object = claim("c");
    object["metadata"]["finalizers"] = json!(["example.com/hold"]);
    create(&client, object).await;
    claims.delete("c", &DeleteParams::default()).await.unwrap();
    let held = claims.get("c").await.unwrap();
    assert!(held.metadata.deletion_timestamp.is_some());
    let more =
        Patch::Merge(json!({"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}}));
    let (code, _, message) = status_of(
        claims
            .patch("c", &PatchParams::default(), &more)
            .await
            .unwrap_err(),
    );
    assert_eq!(code, 422);
    insta::assert_snapshot!(message, @r#"ResourceClaim.resource.k8s.io "c" is invalid: metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{"example.com/more"}"#);
    let none = Patch::Json::<()>(
        serde_json::from_value(json!([{"op": "remove", "path": "/metadata/finalizers"}])).unwrap(),
    );
    claims
        .patch("c", &PatchParams::default(), &none)
        .await
        .unwrap();
    assert!(claims.get_opt("c").await.unwrap().is_none());
    server.stop().await;
}

#[tokio::test]
async fn both_kinds_of_events_are_one() {
    let server = plain_server().await;
    let client = client(&server);
    let new: Api<NewEvent> = Api::default_namespaced(client.clone());
    let old: Api<Event> = Api::default_namespaced(client.clone());
    let event: NewEvent = serde_json::from_value(json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"},
        "eventTime": "2026-01-02T03:04:05.678901Z", "type": "Warning", "reason": "AttachFailed",
        "action": "Attach", "note": "no such interface", "reportingController": "dra.networking",
        "reportingInstance": "node-a", "regarding": {"kind": "Pod", "name": "web", "namespace": "default"},
    }))
    .unwrap();
    new.create(&PostParams::default(), &event).await.unwrap();
    let params = ListParams::default().fields("involvedObject.name=web,type=Warning");
    let found = old.list(&params).await.unwrap();
    assert_eq!(found.items[0].message.as_deref(), Some("no such interface"));
    assert_eq!(
        new.get("e").await.unwrap().note.as_deref(),
        Some("no such interface")
    );
    let patch = Patch::Merge(
        json!({"series": {"count": 2, "lastObservedTime": "2026-01-02T03:04:06.000000Z"}}),
    );
    let patched = new
        .patch("e", &PatchParams::default(), &patch)
        .await
        .unwrap();
    assert_eq!(patched.series.unwrap().count, 2);
    server.stop().await;
}

#[tokio::test]
async fn objects_live_in_namespaces_that_exist() {
    let server = plain_server().await;
    let client = client(&server);
    let mut object = claim("c");
    object["metadata"]["namespace"] = "team".into();
    let resource = resource("ResourceClaim");
    let claims: Api<DynamicObject> = Api::namespaced_with(client.clone(), "team", &resource);
    let claim: DynamicObject = serde_json::from_value(object).unwrap();
    let error = claims
        .create(&PostParams::default(), &claim)
        .await
        .unwrap_err();
    assert_eq!(
        status_of(error),
        (
            404,
            "NotFound".into(),
            "namespaces \"team\" not found".into()
        )
    );
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let team: Namespace = serde_json::from_value(json!({"metadata": {"name": "team"}})).unwrap();
    namespaces
        .create(&PostParams::default(), &team)
        .await
        .unwrap();
    claims.create(&PostParams::default(), &claim).await.unwrap();
    let everywhere: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    assert_eq!(
        everywhere
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    assert!(
        api(&client, "ResourceClaim")
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    server.stop().await;
}

#[tokio::test]
async fn custom_resources_are_served() {
    let server = plain_server().await;
    let client = client(&server);
    let networks = api(&client, "NetworkAttachmentDefinition");
    let object = json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": "net", "namespace": "default"}, "spec": {"config": "{}"},
    });
    create(&client, object).await;
    let listed = networks.list(&ListParams::default()).await.unwrap();
    assert_eq!(
        listed.items[0].types.as_ref().unwrap().kind,
        "NetworkAttachmentDefinition"
    );
    let patch = Patch::Strategic(json!({"spec": {"config": "{}"}}));
    let (code, reason, _) = status_of(
        networks
            .patch("net", &PatchParams::default(), &patch)
            .await
            .unwrap_err(),
    );
    assert_eq!((code, reason.as_str()), (415, "UnsupportedMediaType"));
    server.stop().await;
}

#[tokio::test]
async fn lists_come_in_pages() {
    let server = plain_server().await;
    let client = client(&server);
    for n in 0..5 {
        create(&client, node(&format!("n{n}"))).await;
    }
    let nodes: Api<Node> = Api::all(client.clone());
    let mut names = Vec::new();
    let mut params = ListParams::default().limit(2);
    loop {
        let page = nodes.list(&params).await.unwrap();
        assert!(page.items.len() <= 2);
        names.extend(page.items.into_iter().filter_map(|node| node.metadata.name));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => break,
        }
    }
    assert_eq!(names, ["n0", "n1", "n2", "n3", "n4"]);
    server.stop().await;
}

#[tokio::test]
async fn dry_runs_store_nothing() {
    let server = plain_server().await;
    let client = client(&server);
    let nodes: Api<Node> = Api::all(client.clone());
    let wanted: Node = serde_json::from_value(node("n")).unwrap();
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    assert!(
        nodes
            .create(&params, &wanted)
            .await
            .unwrap()
            .metadata
            .uid
            .is_some()
    );
    assert!(nodes.get_opt("n").await.unwrap().is_none());
    server.stop().await;
}
