//! The real kubectl against the server.
// A test that can't go on fails; that is what these are for.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::path::Path;
use std::process::{Command, Output};

use common::*;
use ndra_mock_apiserver::ApiServer;
use serde_json::{Value, json};

/// kubectl, or nothing if it is not installed and need not be.
fn kubectl() -> Option<&'static str> {
    let there = Command::new("kubectl")
        .args(["version", "--client"])
        .output()
        .is_ok_and(|output| output.status.success());
    if there {
        return Some("kubectl");
    }
    let required = std::env::var("NDRA_REQUIRE_REAL").is_ok_and(|value| value == "1");
    assert!(
        !required,
        "kubectl is not installed, and NDRA_REQUIRE_REAL=1 asks for it"
    );
    // Past the test's capture: a skipped test is seen.
    let _ = std::io::Write::write_all(
        &mut std::io::stderr(),
        b"SKIPPED: kubectl is not installed; this test needs it\n",
    );
    None
}

struct Kubectl<'a> {
    server: &'a ApiServer,
    home: tempfile::TempDir,
}

impl Kubectl<'_> {
    async fn run(&self, args: &[&str]) -> Output {
        let mut command = tokio::process::Command::new("kubectl");
        command
            .args(args)
            .args(["--server", &self.server.url()])
            // Nothing of the user's own configuration, and nothing written outside of here.
            .env("HOME", self.home.path())
            .env_remove("KUBECONFIG")
            .env("KUBECACHEDIR", self.home.path().join("cache"))
            .current_dir(self.home.path());
        command.output().await.unwrap()
    }

    async fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args).await;
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(output.status.success(), "kubectl {args:?}: {out}{err}");
        out.into_owned()
    }

    fn file(&self, name: &str, objects: &[Value]) -> String {
        let path = self.home.path().join(name);
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        std::fs::write(&path, list.to_string()).unwrap();
        path.display().to_string()
    }
}

fn home() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("nd")
        .tempdir_in(Path::new("/tmp"))
        .unwrap()
}

#[tokio::test]
async fn kubectl_reads_and_writes() {
    if kubectl().is_none() {
        return;
    }
    let server = server().await;
    let kubectl = Kubectl {
        server: &server,
        home: home(),
    };
    let objects = [
        node("node-a"),
        class("dra.networking"),
        slice("node-a", 2),
        claim("c"),
        template("t"),
    ];
    let file = kubectl.file("world.json", &objects);
    let created = kubectl.ok(&["create", "-f", &file]).await;
    insta::assert_snapshot!(created, @"
    node/node-a created
    deviceclass.resource.k8s.io/dra.networking created
    resourceslice.resource.k8s.io/node-a-dra.networking created
    resourceclaim.resource.k8s.io/c created
    resourceclaimtemplate.resource.k8s.io/t created
    ");

    let mut web = pod_with_claim("web", "c");
    web["metadata"]["labels"] = json!({"app": "web"});
    let file = kubectl.file("pod.json", &[web.clone()]);
    assert_eq!(
        kubectl.ok(&["apply", "-f", &file]).await,
        "pod/web created\n"
    );
    kubectl
        .ok(&[
            "wait",
            "--for=condition=PodScheduled",
            "pod/web",
            "--timeout=20s",
        ])
        .await;
    assert_eq!(
        kubectl.ok(&["apply", "-f", &file]).await,
        "pod/web unchanged\n"
    );
    web["metadata"]["labels"] = json!({"app": "web", "tier": "front"});
    let file = kubectl.file("pod.json", &[web]);
    assert_eq!(
        kubectl.ok(&["apply", "-f", &file]).await,
        "pod/web configured\n"
    );

    assert!(kubectl.ok(&["get", "pods"]).await.contains("web"));
    assert!(
        kubectl
            .ok(&["get", "pods", "-l", "tier in (front)", "-o", "name"])
            .await
            .contains("pod/web")
    );
    assert!(
        kubectl
            .ok(&[
                "get",
                "po",
                "-A",
                "--field-selector",
                "spec.nodeName=node-a"
            ])
            .await
            .contains("web")
    );
    let claims = kubectl.ok(&["get", "resourceclaims", "-o", "yaml"]).await;
    for line in [
        "kind: ResourceClaim",
        "apiVersion: resource.k8s.io/v1",
        "device: slot-0",
        "source: FromClaim",
        "name: web",
    ] {
        assert!(claims.contains(line), "{line} is missing in\n{claims}");
    }
    assert!(
        kubectl
            .ok(&["get", "events", "-o", "yaml"])
            .await
            .contains("Successfully assigned default/web to node-a")
    );
    assert!(
        kubectl
            .ok(&["describe", "pod", "web"])
            .await
            .contains("Successfully assigned default/web to node-a")
    );
    assert!(
        kubectl
            .ok(&["api-resources"])
            .await
            .contains("network-attachment-definitions")
    );

    kubectl.ok(&["label", "pod", "web", "a=b"]).await;
    kubectl.ok(&["annotate", "resourceclaim", "c", "a=b"]).await;
    assert_eq!(
        kubectl
            .ok(&[
                "get",
                "resourceclaim",
                "c",
                "-o",
                "jsonpath={.metadata.annotations.a}"
            ])
            .await,
        "b"
    );
    kubectl
        .ok(&[
            "patch",
            "pod",
            "web",
            "--subresource=status",
            "-p",
            r#"{"status":{"phase":"Running"}}"#,
        ])
        .await;

    let deleted = kubectl
        .ok(&["delete", "pod", "web", "--force", "--grace-period=0"])
        .await;
    assert!(deleted.contains("web\" force deleted"), "{deleted}");
    kubectl.ok(&["delete", "resourceclaim", "c"]).await;
    let gone = kubectl.run(&["get", "resourceclaim", "c"]).await;
    let words = String::from_utf8_lossy(&gone.stderr).into_owned();
    assert_eq!(
        words,
        "Error from server (NotFound): resourceclaims.resource.k8s.io \"c\" not found\n"
    );
    server.stop().await;
}

#[tokio::test]
async fn kubectl_applies_on_the_server_side() {
    if kubectl().is_none() {
        return;
    }
    let server = plain_server().await;
    let kubectl = Kubectl {
        server: &server,
        home: home(),
    };
    let file = kubectl.file("claim.json", &[claim("c")]);
    let apply = ["apply", "--server-side", "-f", &file];
    assert_eq!(
        kubectl.ok(&apply).await,
        "resourceclaim.resource.k8s.io/c serverside-applied\n"
    );
    assert_eq!(
        kubectl.ok(&apply).await,
        "resourceclaim.resource.k8s.io/c serverside-applied\n"
    );
    let mut bad = claim("bad");
    bad["spec"]["devices"]["requests"][0]["name"] = "Net".into();
    let file = kubectl.file("bad.json", &[bad]);
    let refused = kubectl.run(&["create", "-f", &file]).await;
    assert!(!refused.status.success());
    insta::assert_snapshot!(String::from_utf8_lossy(&refused.stderr), @r#"
    The ResourceClaim "bad" is invalid: 
    * spec.devices.requests[0].name: Invalid value: "Net": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
    * spec.devices.config[0].requests[0]: Invalid value: "net": must be the name of a request in the claim or the name of a request and a subrequest separated by '/'
    "#);
    server.stop().await;
}

#[tokio::test]
async fn a_kubeconfig_is_all_kubectl_needs() {
    if kubectl().is_none() {
        return;
    }
    let server = plain_server().await;
    let home = home();
    let config = home.path().join("config");
    std::fs::write(&config, server.kubeconfig()).unwrap();
    let output = tokio::process::Command::new("kubectl")
        .args(["get", "namespaces", "-o", "name"])
        .env("HOME", home.path())
        .env("KUBECONFIG", &config)
        .output()
        .await
        .unwrap();
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        names,
        "namespace/default\nnamespace/kube-node-lease\nnamespace/kube-public\nnamespace/kube-system\n"
    );
    server.stop().await;
}
