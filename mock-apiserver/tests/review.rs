//! Whoever asks what it may do is answered by its roles.
// A test that can't go on fails; that is what these are for.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::*;
use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
use kube::api::{Api, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config as ClientConfig};
use ndra_mock_apiserver::{ApiServer, Config, Rbac, User};
use serde_json::json;

async fn may(client: &Client, attributes: serde_json::Value) -> bool {
    let review = json!({ "spec": { "resourceAttributes": attributes } });
    let review: SelfSubjectAccessReview = serde_json::from_value(review).unwrap();
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answer = reviews.create(&PostParams::default(), &review).await;
    answer.unwrap().status.unwrap().allowed
}

#[tokio::test]
async fn a_review_says_what_a_role_allows_and_uses_nothing() {
    ndra_core::kube::install_crypto();
    let role = [
        json!({"kind": "ClusterRole", "metadata": {"name": "r"}, "rules": [
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}),
        json!({"kind": "ClusterRoleBinding", "metadata": {"name": "r"},
            "roleRef": {"kind": "ClusterRole", "name": "r"},
            "subjects": [{"kind": "ServiceAccount", "namespace": "sys", "name": "d"}]}),
    ];
    let user = User::service_account("sys", "d", None);
    let rbac = Rbac::new(&role).unwrap().with_user("t", user);
    let server = ApiServer::start(Config {
        rbac: rbac.clone(),
        ..Config::default()
    })
    .await
    .unwrap();
    let kubeconfig = Kubeconfig::from_yaml(&server.kubeconfig_with("t")).unwrap();
    let options = KubeConfigOptions::default();
    let config = ClientConfig::from_custom_kubeconfig(kubeconfig, &options);
    let held = Client::try_from(config.await.unwrap()).unwrap();
    let pods = |verb: &str| json!({ "verb": verb, "resource": "pods" });
    assert!(may(&held, pods("get")).await);
    assert!(!may(&held, pods("delete")).await);
    assert!(
        may(&client(&server), pods("delete")).await,
        "held to no role"
    );
    let report = rbac.report();
    assert!(report.used.is_empty() && report.refused.is_empty());
}
