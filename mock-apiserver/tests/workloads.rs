//! Deployments and their pods, from a client's point of view.
// A test that can't go on fails; that is what these are for.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::*;
use kube::Client;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

fn web(replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "web", "namespace": "default" },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "containers": [{ "name": "web", "image": "busybox:1" }] },
            },
        },
    })
}

async fn all(client: &Client, kind: &str) -> Vec<Value> {
    let list = api(client, kind)
        .list(&ListParams::default())
        .await
        .unwrap();
    list.items
        .into_iter()
        .map(|object| serde_json::to_value(object).unwrap())
        .collect()
}

async fn delete(client: &Client, kind: &str, name: &str) {
    let params = DeleteParams::default();
    api(client, kind).delete(name, &params).await.unwrap();
}

async fn make_ready(client: &Client) {
    for pod in all(client, "Pod").await {
        let ready = json!({ "status": {
            "phase": "Running",
            "conditions": [{ "type": "Ready", "status": "True" }],
        } });
        let name = pod["metadata"]["name"].as_str().unwrap();
        // A pod that is replaced meanwhile need not get ready.
        let _ = api(client, "Pod")
            .patch_status(name, &PatchParams::default(), &Patch::Merge(ready))
            .await;
    }
}

async fn change(client: &Client, patch: Value) {
    api(client, "Deployment")
        .patch("web", &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap();
}

/// Waits until the deployment's status has these counts.
async fn until_counts(client: &Client, counts: Value) {
    until_is(client, "Deployment", "web", |web| {
        let status = &web["status"];
        let fields = counts.as_object().unwrap();
        status["observedGeneration"] == web["metadata"]["generation"]
            && fields.iter().all(|(field, count)| status[field] == *count)
    })
    .await;
}

#[tokio::test]
async fn a_deployment_keeps_as_many_pods_as_it_wants() {
    let server = server().await;
    let client = client(&server);
    create(&client, web(3)).await;
    until_counts(&client, json!({ "replicas": 3, "readyReplicas": 0 })).await;
    make_ready(&client).await;
    until_counts(&client, json!({ "readyReplicas": 3, "updatedReplicas": 3 })).await;

    // One that is lost is made anew.
    let lost = all(&client, "Pod").await.remove(0);
    let name = lost["metadata"]["name"].as_str().unwrap();
    delete(&client, "Pod", name).await;
    until_counts(&client, json!({ "replicas": 3, "readyReplicas": 2 })).await;
    assert!(
        all(&client, "Pod")
            .await
            .iter()
            .all(|pod| pod["metadata"]["uid"] != lost["metadata"]["uid"])
    );

    // The one that is not ready goes first.
    change(&client, json!({ "spec": { "replicas": 2 } })).await;
    until_counts(&client, json!({ "replicas": 2, "readyReplicas": 2 })).await;

    delete(&client, "Deployment", "web").await;
    let set = all(&client, "ReplicaSet").await;
    for set in set {
        let name = set["metadata"]["name"].as_str().unwrap();
        until(&client, "ReplicaSet", name, |set| set.is_none()).await;
    }
    for pod in all(&client, "Pod").await {
        let name = pod["metadata"]["name"].as_str().unwrap();
        until(&client, "Pod", name, |pod| pod.is_none()).await;
    }
}

#[tokio::test]
async fn a_new_template_takes_over_step_by_step() {
    let server = server().await;
    let client = client(&server);
    create(&client, web(2)).await;
    until_counts(&client, json!({ "replicas": 2 })).await;
    make_ready(&client).await;
    until_counts(&client, json!({ "readyReplicas": 2 })).await;
    let template = json!({ "metadata": { "annotations": { "version": "2" } } });
    change(&client, json!({ "spec": { "template": template } })).await;
    // A quarter of two pods: one more may be there, none may be missing.
    until_counts(
        &client,
        json!({ "replicas": 3, "readyReplicas": 2, "updatedReplicas": 1 }),
    )
    .await;
    make_ready(&client).await;
    until_counts(&client, json!({ "updatedReplicas": 2, "readyReplicas": 2 })).await;
    make_ready(&client).await;
    until_counts(
        &client,
        json!({ "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2 }),
    )
    .await;
    let left = all(&client, "Pod").await;
    let new = |pod: &&Value| pod["metadata"]["annotations"]["version"] == "2";
    assert_eq!(left.iter().filter(new).count(), left.len());
}

#[tokio::test]
async fn recreate_waits_for_the_end_of_the_old_pods() {
    let server = server().await;
    let client = client(&server);
    let mut web = web(1);
    web["spec"]["strategy"] = json!({ "type": "Recreate" });
    create(&client, web).await;
    until_counts(&client, json!({ "replicas": 1 })).await;
    let template = json!({ "metadata": { "annotations": { "version": "2" } } });
    change(&client, json!({ "spec": { "template": template } })).await;
    until_counts(&client, json!({ "replicas": 1, "updatedReplicas": 1 })).await;
    let pods = all(&client, "Pod").await;
    assert_eq!(pods.len(), 1);
    assert_eq!(pods[0]["metadata"]["annotations"]["version"], "2");
}
