//! Every recording of the real plugins, played against the ones here.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/cni")
}

struct Case {
    meta: Value,
    config: String,
    stdout: Option<Value>,
}

impl Case {
    fn load(name: &str) -> Self {
        let read = |end: &str| std::fs::read_to_string(fixtures().join(format!("{name}.{end}")));
        let json = |text: String| serde_json::from_str(&text).unwrap();
        Self {
            meta: json(read("meta.json").unwrap()),
            config: read("config.json").unwrap(),
            stdout: read("stdout.json").ok().map(json),
        }
    }
}

/// The recorded node: two namespaces, `nrec` and `nrec2`, and a link `vmaster`.
struct Node {
    dir: TempDir,
    record: Record,
}

impl Node {
    fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("nd")
            .tempdir_in("/tmp")
            .unwrap();
        for netns in ["nrec", "nrec2"] {
            std::fs::write(dir.path().join(netns), "").unwrap();
        }
        let links = vec!["vmaster".into()];
        let record = Record::new(RecordConfig { links }, State::default());
        Self { dir, record }
    }

    /// Plays a case; answers come back with the recorded paths.
    fn play(&self, case: &Case) -> Result<Option<Value>, Value> {
        let here = self.dir.path().to_str().unwrap();
        let text = |key: &str| case.meta[key].as_str().unwrap().to_owned();
        let netns = text("netns").replace("/var/run/netns", here);
        let if_name = text("ifname");
        let call = PluginCall {
            command: &text("command"),
            container_id: "rec",
            netns: &netns,
            if_name: &if_name,
            args: "",
        };
        let config = case.config.replace("/var/run/netns", here);
        let back = |value: Value| -> Value {
            serde_json::from_str(&value.to_string().replace(here, "/var/run/netns")).unwrap()
        };
        self.record
            .run(&text("plugin"), &call, config.as_bytes())
            .map(|printed| printed.map(back))
            .map_err(|error| back(serde_json::to_value(error).unwrap()))
    }
}

/// What had happened in the namespace before, as the recordings' README tells.
fn before(name: &str) -> &'static [&'static str] {
    match name {
        "macvlan-add-after-failed-add" => &["macvlan-add-no-ipam-plugin"],
        "macvlan-add-ifname-exists"
        | "macvlan-add-ipam-exhausted"
        | "macvlan-check"
        | "macvlan-del" => &["macvlan-add"],
        "macvlan-del-twice" => &["macvlan-add", "macvlan-del"],
        _ => &[],
    }
}

/// Hardware addresses are random: only their form is compared.
fn without_macs(mut value: Value, seen: &mut Vec<String>) -> Value {
    for interface in value["interfaces"].as_array_mut().into_iter().flatten() {
        let mac = std::mem::replace(&mut interface["mac"], "MAC".into());
        seen.push(mac.as_str().unwrap().to_owned());
    }
    value
}

#[test]
fn every_recording_is_answered_alike() {
    let names: BTreeSet<String> = std::fs::read_dir(fixtures())
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(".meta.json").map(str::to_owned)
        })
        .collect();
    assert!(names.len() >= 19, "recordings are missing: {names:?}");
    for name in names {
        let node = Node::new();
        for earlier in before(&name) {
            let _ = node.play(&Case::load(earlier));
        }
        let mut case = Case::load(&name);
        if name == "macvlan-check" {
            // The address of this run's interface, not of the recorded one.
            let mut config: Value = serde_json::from_str(&case.config).unwrap();
            let mac = node.record.state().interfaces()[0].mac.clone();
            config["prevResult"]["interfaces"][0]["mac"] = mac.into();
            case.config = config.to_string();
        }
        let answer = node.play(&case);
        let exit = if answer.is_ok() { 0 } else { 1 };
        assert_eq!(case.meta["exit"], exit, "{name}: {answer:?}");
        let printed = match answer {
            Ok(printed) => printed,
            Err(error) => Some(error),
        };
        let mut macs = Vec::new();
        let printed = printed.map(|v| without_macs(v, &mut macs));
        let recorded = case.stdout.map(|v| without_macs(v, &mut Vec::new()));
        assert_eq!(printed, recorded, "{name}");
        for mac in macs {
            let bytes = macvlan::parse_mac(&mac).unwrap();
            assert_eq!(
                bytes[0] & 3,
                2,
                "{name}: {mac} is not a local unicast address"
            );
        }
    }
}

#[test]
fn a_failed_add_leaves_debris_that_del_clears() {
    let node = Node::new();
    node.play(&Case::load("macvlan-add-no-ipam-plugin"))
        .unwrap_err();
    let left = node.record.state().interfaces();
    assert_eq!(left.len(), 1);
    assert_eq!((&left[0].if_name[..], left[0].up), ("net1", false));
    let mut del = Case::load("macvlan-add-static");
    del.meta["command"] = json!("DEL");
    assert_eq!(node.play(&del), Ok(None));
    assert!(node.record.state().interfaces().is_empty());
    node.play(&Case::load("macvlan-add-static")).unwrap();
}

#[test]
fn a_namespace_takes_its_interfaces_along_but_not_its_addresses() {
    let node = Node::new();
    node.play(&Case::load("macvlan-add")).unwrap();
    let state = node.record.state();
    assert_eq!(state.interfaces()[0].ips[0].to_string(), "10.10.1.2/30");
    std::fs::remove_file(node.dir.path().join("nrec")).unwrap();
    assert!(state.interfaces().is_empty());
    std::fs::write(node.dir.path().join("nrec"), "").unwrap();
    assert!(
        state.interfaces().is_empty(),
        "another namespace of that name"
    );
    assert_eq!(state.allocations()[0].ip.to_string(), "10.10.1.2");
    assert_eq!(node.play(&Case::load("macvlan-del")), Ok(None));
    assert!(state.allocations().is_empty());
}
