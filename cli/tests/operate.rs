//! `ndra detach` and `ndra cleanup`, on a record that a driver left and through one that runs.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;
use std::process::{Command, Stdio};

use ndra_core::attachment::record::{Store, boot_id, load};
use ndra_core::driver::{Cni, Config, Driver};
use serde_json::{Value, json};

const DRIVER: &str = "dra.networking";

/// A node on which a driver left two claims, of which one has an interface, and an orphan.
struct Node {
    dir: tempfile::TempDir,
}

fn attachment(if_name: &str, state: Value) -> Value {
    let mut attachment = json!({
        "device": {"pool": "node-1", "device": format!("slot-{if_name}")},
        "request": "net",
        "if_name": if_name,
        "network": {"cniVersion": "1.0.0", "name": "lan", "plugins": [{"type": "macvlan"}]},
    });
    let place = json!({
        "sandbox": format!("sandbox-{if_name}"),
        "pod": {"namespace": "default", "name": "web", "uid": "pod-1"},
        "netns": "/run/netns/gone",
        "if_name": if_name,
    });
    if state == "orphan" {
        return json!({"id": "o1", "claim": claim("old"), "plan": attachment, "place": place});
    }
    let mut whole = json!({"plan": attachment.take(), "state": state});
    if whole["state"] != "planned" {
        whole["place"] = place;
    }
    whole
}

fn claim(name: &str) -> Value {
    json!({"namespace": "default", "name": name, "uid": format!("uid-{name}")})
}

impl Node {
    fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("nd")
            .tempdir_in("/tmp")
            .unwrap();
        let node = Self { dir };
        let prepared = |name: &str, attachments: Value| json!({"claim": claim(name), "reserved_for": [], "attachments": attachments});
        let record = json!({
            "version": 1, "driver": DRIVER, "bootId": boot_id(),
            "claims": {
                "uid-net1": prepared("net1", json!([attachment("net1", json!("attaching"))])),
                "uid-idle": prepared("idle", json!([attachment("net7", json!("planned"))])),
            },
            "orphans": [attachment("net9", json!("orphan"))],
        });
        for name in ["state", "cdi", "bin"] {
            std::fs::create_dir(node.at(name)).unwrap();
        }
        std::fs::write(node.at("state/record.json"), record.to_string()).unwrap();
        for uid in ["uid-net1", "uid-idle", "uid-stale"] {
            std::fs::write(node.at(&format!("cdi/{DRIVER}-claim_{uid}.json")), "{}").unwrap();
        }
        std::fs::write(
            node.at(&format!("cdi/{DRIVER}-metadata_uid-stale_net.json")),
            "{}",
        )
        .unwrap();
        std::fs::write(node.at("cdi/other.json"), "{}").unwrap();
        std::fs::create_dir_all(node.at("plugin/dra-device-metadata/uid-stale/net")).unwrap();
        std::fs::create_dir_all(node.at("cache/results")).unwrap();
        std::fs::write(node.at("cache/results/lan-sandbox-net9-net9"), "{}").unwrap();
        std::fs::write(node.at("cache/results/other"), "{}").unwrap();
        node.plugin("exit 0");
        node
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Written by another process, so that none is busy when it is run.
    fn plugin(&self, does: &str) {
        let text = format!(
            "#!/bin/sh\ncat > /dev/null\necho \"$CNI_COMMAND $CNI_IFNAME\" >> {}\n{does}\n",
            self.at("calls").display()
        );
        let status = Command::new("/bin/sh")
            .args([
                "-c",
                "printf '%s' \"$1\" > \"$0.new\" && chmod 755 \"$0.new\" && mv \"$0.new\" \"$0\"",
            ])
            .arg(self.at("bin/macvlan"))
            .arg(text)
            .status();
        assert!(status.unwrap().success());
    }

    fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.at("calls")).unwrap_or_default();
        let _ = std::fs::remove_file(self.at("calls"));
        let mut calls: Vec<String> = text.lines().map(str::to_owned).collect();
        calls.sort();
        calls
    }

    fn config(&self) -> Config {
        let mut config = Config::new("node-1");
        config.kubeconfig = Some(self.at("kubeconfig"));
        config.registry_dir = self.at("registry");
        config.plugin_dir = self.at("plugin");
        config.state_dir = self.at("state");
        config.cdi_dir = self.at("cdi");
        config.callback_socket = self.at("hook.sock");
        config.events_socket = self.at("events.sock");
        config.cri_socket = self.at("cri.sock");
        config.cni = Cni::Exec;
        config.cni_path = vec![self.at("bin")];
        config.cni_cache_dir = self.at("cache");
        config
    }

    /// Exit code, and what was said without this node's directory.
    fn ndra(&self, args: &[&str]) -> (Option<i32>, String) {
        let option = |name: &str, place: &str| format!("--{name}={}", self.at(place).display());
        let output = Command::new(env!("CARGO_BIN_EXE_ndra"))
            .args(args)
            .args(["--", "--node-name=node-1", "--cni=exec"])
            .args([
                option("state-dir", "state"),
                option("plugin-dir", "plugin"),
                option("cdi-dir", "cdi"),
                option("events-socket", "events.sock"),
                option("cni-path", "bin"),
                option("cni-cache-dir", "cache"),
            ])
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        let said = said.replace("\n  │ ", " ");
        let dir = self.dir.path().to_str().unwrap();
        (output.status.code(), said.replace(dir, "NODE"))
    }

    fn files(&self, dir: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.at(dir)).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn record(&self) -> ndra_core::attachment::record::Record {
        load(&self.at("state"), DRIVER).unwrap()
    }
}

#[test]
fn one_attachment_is_released_and_forgotten_and_its_claim_stays() {
    let node = Node::new();
    let before = std::fs::read(node.at("state/record.json")).unwrap();
    let (code, dry) = node.ndra(&["detach", "--claim", "net1", "--dry-run"]);
    assert_eq!(code, Some(0), "{dry}");
    assert_eq!(node.calls(), [""; 0]);
    assert_eq!(std::fs::read(node.at("state/record.json")).unwrap(), before);
    let (code, done) = node.ndra(&["detach", "--pod", "default/web", "--interface", "net1"]);
    assert_eq!(code, Some(0), "{done}");
    assert_eq!(node.calls(), ["DEL net1"]);
    let record = node.record();
    assert_eq!(record.claims.len(), 2);
    assert!(record.claims["uid-net1"].places().next().is_none());
    assert_eq!(record.orphans.len(), 1);
    let (code, again) = node.ndra(&["detach", "--claim", "net1"]);
    assert_eq!((code, node.calls().len()), (Some(0), 0));
    insta::assert_snapshot!([dry, done, again].join("\n"), @r"
    would      net1 of pod default/web (claim default/net1, uid-net1)

    done       net1 of pod default/web (claim default/net1, uid-net1)

    nothing to do
    ");
}

#[test]
fn what_cannot_be_released_stays_unless_it_is_forced() {
    let node = Node::new();
    node.plugin("echo '{\"code\": 999, \"msg\": \"no such network\"}'; exit 1");
    let (code, failed) = node.ndra(&["detach", "--uid", "uid-net1"]);
    assert_eq!(code, Some(1), "{failed}");
    assert!(node.record().claims["uid-net1"].places().next().is_some());
    let (code, forced) = node.ndra(&["cleanup", "--force"]);
    assert_eq!(code, Some(0), "{forced}");
    assert!(node.record().orphans.is_empty());
    // What is forgotten is in no cache either; what others have is.
    assert_eq!(node.files("cache/results"), ["other"]);
    insta::assert_snapshot!([failed, forced].join("\n"), @r"
    failed     net1 of pod default/web (claim default/net1, uid-net1) → CNI plugin `macvlan`, DEL of net1 on network `lan`: no such network

    forgotten  net9 of pod default/web (claim default/old, uid-old) → CNI plugin `macvlan`, DEL of net9 on network `lan`: no such network
    done       NODE/cdi/dra.networking-claim_uid-stale.json
    done       NODE/cdi/dra.networking-metadata_uid-stale_net.json
    done       NODE/plugin/dra-device-metadata/uid-stale
    ");
}

#[test]
fn leftovers_are_cleared_and_what_is_in_use_is_not() {
    let node = Node::new();
    let (code, dry) = node.ndra(&["cleanup", "--dry-run"]);
    assert_eq!(code, Some(0), "{dry}");
    assert_eq!(node.files("cdi").len(), 5);
    let (code, done) = node.ndra(&["cleanup"]);
    assert_eq!(code, Some(0), "{done}");
    assert_eq!(done.replace("done ", "would"), dry);
    assert_eq!(node.calls(), ["DEL net9"]);
    assert_eq!(
        node.files("cdi"),
        [
            "dra.networking-claim_uid-idle.json",
            "dra.networking-claim_uid-net1.json",
            "other.json"
        ]
    );
    assert_eq!(node.files("plugin/dra-device-metadata"), [""; 0]);
    assert_eq!(node.ndra(&["cleanup"]), (Some(0), "nothing to do\n".into()));
    let (code, all) = node.ndra(&["cleanup", "--all"]);
    assert_eq!(code, Some(0), "{all}");
    assert_eq!(node.calls(), ["DEL net1"]);
    assert!(node.record().is_empty());
    assert_eq!(node.files("cdi"), ["other.json"]);
    insta::assert_snapshot!([done, all].join("\n"), @r"
    done       net9 of pod default/web (claim default/old, uid-old)
    done       NODE/cdi/dra.networking-claim_uid-stale.json
    done       NODE/cdi/dra.networking-metadata_uid-stale_net.json
    done       NODE/plugin/dra-device-metadata/uid-stale

    done       net1 of pod default/web (claim default/net1, uid-net1)
    done       prepared claim default/idle (uid-idle)
    done       prepared claim default/net1 (uid-net1)
    done       NODE/cdi/dra.networking-claim_uid-idle.json
    done       NODE/cdi/dra.networking-claim_uid-net1.json
    ");
}

#[tokio::test]
async fn a_driver_that_holds_the_record_and_does_not_answer_is_not_disturbed() {
    let node = Node::new();
    let _held = Store::open(&node.at("state"), DRIVER, &boot_id()).unwrap();
    let (code, said) = node.ndra(&["cleanup"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("does not answer at"), "{said}");
    assert_eq!(node.files("cdi").len(), 5);
    assert_eq!(node.calls(), [""; 0]);
}

/// Of an API server the driver needs no answer here.
#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_runs_does_it_itself() {
    let node = Node::new();
    std::fs::write(
        node.at("kubeconfig"),
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         contexts: [{name: c, context: {cluster: c, user: u}}]\n\
         clusters: [{name: c, cluster: {server: 'http://127.0.0.1:9'}}]\n\
         users: [{name: u, user: {}}]\n",
    )
    .unwrap();
    ndra_core::kube::install_crypto();
    let driver = Driver::start(node.config()).await.unwrap();
    let node = std::sync::Arc::new(node);
    let run = |args: &'static [&'static str]| {
        let node = node.clone();
        tokio::task::spawn_blocking(move || node.ndra(args))
    };
    let (code, said) = run(&["detach", "--claim", "net1"]).await.unwrap();
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.starts_with("done       net1 of pod default/web"),
        "{said}"
    );
    assert!(node.calls().contains(&"DEL net1".to_owned()));
    let (code, said) = run(&["cleanup", "--all"]).await.unwrap();
    assert_eq!(code, Some(1));
    assert!(
        said.contains("is not cleared while the driver runs"),
        "{said}"
    );
    let (code, said) = run(&["cleanup"]).await.unwrap();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(node.record().claims.len(), 2, "{said}");
    driver.stop().await;
}

#[test]
fn wrong_usage_is_told() {
    let node = Node::new();
    for args in [
        &["detach"][..],
        &["detach", "--interface", "net1"],
        &["detach", "--pod", "a/b/c"],
    ] {
        let (code, said) = node.ndra(args);
        assert_eq!(code, Some(2), "{said}");
    }
}
