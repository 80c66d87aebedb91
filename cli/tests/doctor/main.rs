//! `ndra doctor` on a node of mocks: all is well, then one thing after the other is broken,
//! and exactly that is said.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod broken;
mod mounts;
mod node;

use node::{Node, Said, stable};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lacks_nothing_is_ok_in_both_runtimes() {
    for flavor in ["containerd", "crio"] {
        let node = Node::new(flavor).await;
        let said = node.doctor(&[]).await;
        stable(&node).bind(|| insta::assert_snapshot!(flavor, said.without_machine()));
        // What the machine itself lacks is no matter of this test.
        assert!(
            said.failed()
                .iter()
                .all(|check| node::OF_MACHINE.contains(&check.as_str()))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn findings_come_as_json() {
    let node = Node::new("containerd").await;
    let said = node.doctor(&["-o", "json"]).await;
    let document: Value = serde_json::from_str(&said.out).unwrap();
    let findings = document["findings"].as_array().unwrap();
    let ok = findings.iter().all(|found| found["level"] != "fail");
    assert_eq!(document["ok"], ok);
    assert_eq!(said.code, Some(i32::from(!ok)));
    let runtime = findings.iter().find(|found| found["check"] == "runtime");
    let runtime = runtime.unwrap();
    assert_eq!(runtime["level"], "ok");
    assert!(runtime.get("mend").is_none());
}

#[test]
fn an_empty_machine_is_told_everything_and_nothing_hangs() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let said = Said::of(&[
        "doctor",
        "--",
        &format!("--cri-socket={}", at("cri.sock")),
        &format!("--registry-dir={}", at("registry")),
        &format!("--plugin-dir={}", at("plugin")),
        &format!("--state-dir={}", at("state")),
        &format!("--cdi-dir={}", at("cdi")),
        &format!("--hook-path={}", at("hook")),
        &format!("--events-socket={}", at("events.sock")),
        &format!("--callback-socket={}", at("hook.sock")),
        &format!("--multus-socket={}", at("multus.sock")),
        &format!("--cni-path={}", at("bin")),
        &format!("--kubeconfig={}", at("kubeconfig")),
    ]);
    assert_eq!(said.code, Some(1));
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(&regex(dir.path().to_str().unwrap()), "NODE");
    settings.bind(|| insta::assert_snapshot!("empty", said.without_machine()));
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for (args, words) in [
        (&["doctor", "--no-such"][..], "unexpected argument"),
        (&["doctor", "--", "--no-such"], "unexpected argument"),
        (
            &["doctor", "--", "--state-dir=state"],
            "not an absolute path",
        ),
    ] {
        let said = Said::of(args);
        assert_eq!(said.code, Some(2), "{args:?}");
        assert!(said.err.contains(words), "{}", said.err);
    }
}

/// A path, for a filter.
fn regex(path: &str) -> String {
    path.replace('.', r"\.")
}
