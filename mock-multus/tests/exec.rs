//! The daemon with real programs behind it.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use common::{Node, pod, soon};
use ndra_core::cni::ConfigList;
use ndra_core::multus::InterfaceAttributes;
use ndra_mock_multus::{Backend, ExecConfig};
use serde_json::{Value, json};

/// Answers ADD with an interface, logs what it read, fails where its file says so.
const PLUGIN: &str = r#"#!/bin/sh
here=$(dirname "$0")
cat > "$here/../$CNI_COMMAND-$(basename "$0")"
if [ -e "$here/../fail" ]; then echo '{"code": 11, "msg": "not now"}'; exit 1; fi
[ "$CNI_COMMAND" = ADD ] && echo "{\"cniVersion\":\"0.3.1\",\"interfaces\":[{\"name\":\"$CNI_IFNAME\",\"sandbox\":\"$CNI_NETNS\"}],\"ips\":[{\"version\":\"4\",\"address\":\"10.1.1.2/24\",\"interface\":0}]}"
true
"#;

async fn node() -> Node {
    Node::with(|config, dir| {
        let bin = dir.join("bin");
        fs::create_dir(&bin).unwrap();
        for name in ["one", "two"] {
            let path = bin.join(name);
            fs::write(&path, PLUGIN).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        config.backend = Backend::Exec(ExecConfig {
            cni_path: vec![bin],
            cache_dir: dir.join("cache"),
        });
    })
    .await
}

fn network() -> ConfigList {
    serde_json::from_value(json!({
        "cniVersion": "1.0.0", "name": "m",
        "plugins": [{"type": "one"}, {"type": "two", "capabilities": {"mac": true}}]
    }))
    .unwrap()
}

#[tokio::test]
async fn programs_are_run_as_a_chain() {
    let node = node().await;
    let (network, invocation, pod) = (network(), node.invocation("net1"), pod());
    let attributes = InterfaceAttributes {
        mac: Some("02:00:00:00:00:01".into()),
        ..Default::default()
    };
    let added = node
        .client
        .delegate_add(&network, &invocation, &pod, &attributes, soon())
        .await
        .unwrap();
    assert_eq!(added.addresses("net1")[0].to_string(), "10.1.1.2/24");
    let read = |name: &str| -> Value {
        serde_json::from_slice(&fs::read(node.dir.path().join(name)).unwrap()).unwrap()
    };
    let second = read("ADD-two");
    assert_eq!(second["cniVersion"], "0.3.1", "the daemon's version");
    assert_eq!(second["prevResult"]["ips"][0]["version"], "4");
    assert_eq!(second["runtimeConfig"], json!({"mac": "02:00:00:00:00:01"}));
    assert_eq!(
        second.get("chrootDir"),
        None,
        "a list keeps the daemon's keys to itself"
    );
    let cache = node.dir.path().join("cache/results/m-sandbox1-net1");
    assert!(cache.exists());

    let again = node
        .client
        .delegate_add(&network, &invocation, &pod, &attributes, soon())
        .await;
    let text = again.unwrap_err().to_string();
    assert!(
        text.ends_with("interface name net1 already exists"),
        "{text}"
    );

    fs::write(node.dir.path().join("fail"), "").unwrap();
    let deleted = node
        .client
        .delegate_del(&network, &invocation, &pod, soon());
    insta::assert_snapshot!(deleted.await.unwrap_err(), @r#"Multus refused DEL of net1 for pod default/web on network `m`: DelegateDel: error invoking ConflistDel - "m": conflistDel: error in getting result from DelNetworkList: plugin type="two" failed (delete): not now"#);
    fs::remove_file(node.dir.path().join("fail")).unwrap();
    let deleted = node
        .client
        .delegate_del(&network, &invocation, &pod, soon());
    deleted.await.unwrap();
    assert_eq!(read("DEL-one").get("prevResult"), None, "older than 0.4.0");
    assert!(!cache.exists());
}

#[tokio::test]
async fn a_missing_program_is_named() {
    let node = node().await;
    let mut network = network();
    network.plugins[1].insert("type".into(), "three".into());
    let (pod, plain) = (pod(), InterfaceAttributes::default());
    let invocation = node.invocation("net1");
    let added = node
        .client
        .delegate_add(&network, &invocation, &pod, &plain, soon())
        .await;
    insta::assert_snapshot!(node.stable(added.unwrap_err()), @r#"Multus refused ADD of net1 for pod default/web on network `m`: error configuring pod [default/web] networking: plugin type="three" failed (add): failed to find plugin "three" in path [/node/bin]"#);
}
