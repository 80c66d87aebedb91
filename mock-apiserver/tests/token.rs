//! A server that asks for a token, over TLS.
// A test that can't go on fails; that is what these are for.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::*;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ListParams, WatchEvent};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config as ClientConfig};
use ndra_mock_apiserver::{Access, ApiServer, Config, Rbac, User};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn guarded() -> ApiServer {
    ndra_core::kube::install_crypto();
    ApiServer::start(Config {
        access: Access::Token,
        controllers: false,
        ..Config::default()
    })
    .await
    .unwrap()
}

async fn config(server: &ApiServer) -> ClientConfig {
    config_of(&server.kubeconfig()).await
}

async fn config_of(kubeconfig: &str) -> ClientConfig {
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig).unwrap();
    ClientConfig::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap()
}

fn nodes(config: ClientConfig) -> Api<Node> {
    Api::all(Client::try_from(config).unwrap())
}

async fn refused(config: ClientConfig) -> String {
    match nodes(config).list(&ListParams::default()).await {
        Err(kube::Error::Api(status)) => {
            format!("{} {}: {}", status.code, status.reason, status.message)
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn its_kubeconfig_leads_in() {
    let server = guarded().await;
    assert!(server.url().starts_with("https://127.0.0.1:"));
    let nodes = nodes(config(&server).await);
    let mut watch = nodes.watch(&Default::default(), "0").await.unwrap().boxed();
    server
        .create(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}))
        .unwrap();
    match next(&mut watch).await {
        Ok(WatchEvent::Added(node)) => assert_eq!(node.metadata.name.as_deref(), Some("n")),
        other => panic!("{other:?}"),
    }
    assert_eq!(
        nodes
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    server.stop().await;
}

/// A driver that is held to its role beside a Multus that has the server's own token.
#[tokio::test]
async fn who_is_held_to_roles_has_a_token_of_its_own() {
    ndra_core::kube::install_crypto();
    let user = User::service_account("kube-system", "driver", Some("n"));
    let server = ApiServer::start(Config {
        access: Access::Token,
        controllers: false,
        rbac: Rbac::new(&[]).unwrap().with_user("own", user),
        ..Config::default()
    })
    .await
    .unwrap();
    let said = refused(config_of(&server.kubeconfig_with("own")).await).await;
    assert!(
        said.starts_with("403 Forbidden: nodes is forbidden:"),
        "{said}"
    );
    let stranger = config_of(&server.kubeconfig_with("other")).await;
    assert_eq!(refused(stranger).await, "401 Unauthorized: Unauthorized");
    let all = nodes(config(&server).await);
    let all = all.list(&ListParams::default()).await.unwrap();
    assert!(all.items.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn nobody_comes_in_without_the_token() {
    let server = guarded().await;
    let mut without = config(&server).await;
    without.auth_info = Default::default();
    assert_eq!(
        refused(without.clone()).await,
        "401 Unauthorized: Unauthorized"
    );
    let mut wrong = without.clone();
    wrong.auth_info.token = Some("x".repeat(64).into());
    assert_eq!(refused(wrong).await, "401 Unauthorized: Unauthorized");
    let version = Client::try_from(without).unwrap().apiserver_version().await;
    assert!(matches!(version, Err(kube::Error::Api(s)) if s.code == 401));
    assert!(server.requests().is_empty(), "refused before they count");
    server.stop().await;
}

#[tokio::test]
async fn a_client_must_know_the_ca() {
    let (server, other) = (guarded().await, guarded().await);
    let mut stranger = config(&server).await;
    stranger.root_cert = config(&other).await.root_cert;
    let error = nodes(stranger)
        .list(&ListParams::default())
        .await
        .unwrap_err();
    assert!(!matches!(error, kube::Error::Api(_)), "{error:?}");
    other.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn who_does_not_speak_tls_keeps_nobody_waiting() {
    let server = guarded().await;
    let mut mute = TcpStream::connect(server.address()).await.unwrap();
    let mut plain = TcpStream::connect(server.address()).await.unwrap();
    plain
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    // An alert, or nothing but the end.
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    let listed = nodes(config(&server).await)
        .list(&ListParams::default())
        .await;
    assert!(listed.unwrap().items.is_empty());
    server.stop().await;
    let mut answer = Vec::new();
    let _ = mute.read_to_end(&mut answer).await;
    assert!(answer.is_empty());
}
