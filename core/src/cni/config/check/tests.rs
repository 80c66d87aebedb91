use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::cni::ConfigFrom;

fn ok(value: Value) -> ConfigList {
    ConfigList::check(&value, &Policy::default()).expect("accepted")
}

fn why(value: Value) -> String {
    refused(&value, &Policy::default())
}

fn refused(value: &Value, policy: &Policy) -> String {
    let errors = ConfigList::check(value, policy).expect_err("refused");
    let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

fn only(types: &[&str]) -> Policy {
    Policy {
        allowed_types: types.iter().map(ToString::to_string).collect(),
        config_from: ConfigFrom::ClassOrClaim,
    }
}

#[test]
fn one_plugin_becomes_a_list_of_one() {
    let list = ok(json!({"cniVersion": "0.3.1", "name": "n", "type": "macvlan", "master": "eth1"}));
    assert_eq!(
        list.to_value(),
        json!({"cniVersion": "0.3.1", "name": "n", "plugins": [{"type": "macvlan", "master": "eth1"}]})
    );
}

#[test]
fn a_list_keeps_its_own_keys_and_names_all_plugins() {
    let list = ok(json!({
        "cniVersion": "1.1.0", "name": "n", "disableCheck": true,
        "plugins": [{"type": "macvlan", "name": "other", "cniVersion": "9"}, {"type": "tuning"}],
    }));
    assert_eq!(
        list.to_value(),
        json!({
            "cniVersion": "1.1.0", "name": "n", "disableCheck": true,
            "plugins": [{"type": "macvlan"}, {"type": "tuning"}],
        })
    );
}

#[test]
fn a_checked_list_passes_again() {
    let list = ok(json!({"type": "macvlan", "ipam": {"type": "static"}}));
    assert_eq!(ok(list.to_value()), list);
}

#[test]
fn a_missing_name_follows_from_the_ranges() {
    let name = |value| ok(value).name;
    let ranged =
        json!({"type": "macvlan", "ipam": {"type": "host-local", "subnet": "10.1.1.0/24"}});
    let same = json!({"plugins": [
        {"mtu": 9000, "type": "ipvlan", "ipam": {"subnet": "10.1.1.0/24", "type": "host-local"}},
    ]});
    let other = json!({"type": "macvlan", "ipam": {"type": "host-local", "subnet": "10.1.2.0/24"}});
    assert_eq!(name(ranged.clone()), name(same));
    assert_ne!(name(ranged.clone()), name(other));
    assert_eq!(name(json!({"type": "macvlan"})), "ndra");
    // The name is on the nodes' disks: it must never change.
    insta::assert_snapshot!(name(ranged), @"ndra-ba71ea5e5f6be8a8");
}

#[test]
fn a_missing_version_is_one_that_has_lists() {
    assert_eq!(ok(json!({"type": "macvlan"})).cni_version, "1.0.0");
}

#[test]
fn shapes() {
    insta::assert_snapshot!(why(json!("macvlan")), @"the CNI configuration is not an object but a string; write a configuration list {cniVersion, name, plugins} or one plugin's {type, …}");
    insta::assert_snapshot!(why(json!([])), @"the CNI configuration is not an object but a list; write a configuration list {cniVersion, name, plugins} or one plugin's {type, …}");
    insta::assert_snapshot!(why(json!({})), @"the CNI configuration has neither `plugins` nor a `type`; add `type: macvlan`, or a list of such objects as `plugins`");
    insta::assert_snapshot!(why(json!({"plugins": {}})), @"plugins: `plugins` is not a list but an object; list at least one plugin, for example {type: macvlan}");
    insta::assert_snapshot!(why(json!({"plugins": []})), @"plugins: the plugin list is empty; list at least one plugin, for example {type: macvlan}");
    insta::assert_snapshot!(why(json!({"plugins": [1]})), @"plugins[0]: the plugin's configuration is not an object but a number; write {type: …} with the plugin's settings");
    insta::assert_snapshot!(why(json!({"plugins": vec![json!({"type": "x"}); 17]})), @"plugins: 17 plugins are too many; list at most 16");
    insta::assert_snapshot!(why(json!({"type": "a", "plugins": [{"type": "b"}]})), @"the CNI configuration has both `plugins` and a `type`; move `type` and its settings into an entry of `plugins`");
}

#[test]
fn types() {
    insta::assert_snapshot!(why(json!({"plugins": [{"mode": "bridge"}]})), @"plugins[0]: the plugin's configuration has no `type`; name the plugin, for example `type: macvlan`");
    insta::assert_snapshot!(why(json!({"type": ""})), @"type: the plugin's configuration has no `type`; name the plugin, for example `type: macvlan`");
    insta::assert_snapshot!(why(json!({"type": 1})), @"type: must be a string, not a number; put the value in quotes");
    insta::assert_snapshot!(why(json!({"type": "/bin/sh"})), @r#"type: "/bin/sh" contains a `/`; write the plugin's name alone; it is looked up in the node's CNI directory"#);
    insta::assert_snapshot!(why(json!({"type": ".."})), @r#"type: ".." is not the name of a plugin; use at most 63 letters, digits, `.`, `_` or `-`, beginning with a letter or digit"#);
    insta::assert_snapshot!(why(json!({"type": "-rf"})), @r#"type: "-rf" is not the name of a plugin; use at most 63 letters, digits, `.`, `_` or `-`, beginning with a letter or digit"#);
    insta::assert_snapshot!(why(json!({"type": "x".repeat(64)})), @r#"type: "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" is not the name of a plugin; use at most 63 letters, digits, `.`, `_` or `-`, beginning with a letter or digit"#);
    insta::assert_snapshot!(why(json!({"type": "macvlan", "ipam": {"type": "../static"}})), @r#"ipam.type: "../static" contains a `/`; write the plugin's name alone; it is looked up in the node's CNI directory"#);
    insta::assert_snapshot!(why(json!({"type": "macvlan", "ipam": {"subnet": "10.0.0.0/8"}})), @"ipam: the IPAM configuration has no `type`; name the plugin, for example `type: host-local`, or leave `ipam` out for a link without address");
    insta::assert_snapshot!(why(json!({"type": "macvlan", "ipam": "static"})), @"ipam: the IPAM configuration is not an object but a string; write {type: …} with the IPAM plugin's settings");
}

#[test]
fn what_the_administrator_allows() {
    let policy = only(&["macvlan", "static"]);
    let fine = json!({"type": "macvlan", "ipam": {"type": "static"}});
    assert!(ConfigList::check(&fine, &policy).is_ok());
    insta::assert_snapshot!(refused(&json!({"type": "bridge"}), &policy), @r#"type: plugin type "bridge" is not allowed on this node; use one of macvlan, static, or ask the administrator for a DeviceClass that has it, or to start the driver with --allow-cni-type for it"#);
    let ipam = json!({"plugins": [{"type": "macvlan", "ipam": {"type": "host-local"}}]});
    insta::assert_snapshot!(refused(&ipam, &policy), @r#"plugins[0].ipam.type: plugin type "host-local" is not allowed on this node; use one of macvlan, static, or ask the administrator for a DeviceClass that has it, or to start the driver with --allow-cni-type for it"#);
    assert!(only(&[]).allows("anything"));
    assert!(ConfigList::check(&ipam, &policy.of_class()).is_ok());
    assert!(Policy::types(["macvlan", "*"]).is_empty());
    assert_eq!(Policy::default().allowed_types, BTreeSet::new());
}

/// host-local writes where `dataDir` says, as root, and hands on what `resolvConf` holds.
#[test]
fn files_of_the_node_are_not_a_claims_to_name() {
    let policy = only(&crate::cni::DEFAULT_TYPES);
    for key in ["dataDir", "DATADIR", "re\u{17f}olvConf", "daemonSocketPath"] {
        let value =
            json!({"plugins": [{"type": "macvlan", "ipam": {"type": "host-local", key: "/etc"}}]});
        let said = refused(&value, &policy);
        assert!(
            said.contains("names a file or directory of the node"),
            "{key}: {said}"
        );
        assert!(
            ConfigList::check(&value, &policy.of_class()).is_ok(),
            "{key}"
        );
    }
    let value = json!({"type": "macvlan", "ipam": {"type": "host-local", "dataDir": "/etc"}});
    insta::assert_snapshot!(refused(&value, &policy), @"ipam.dataDir: names a file or directory of the node, which a claim may not; leave it out, or ask the administrator for a DeviceClass that has it");
}

/// Go would run `bridge` in each of them.
#[test]
fn keys_that_go_takes_for_others() {
    let policy = only(&["macvlan"]);
    insta::assert_snapshot!(refused(&json!({"type": "macvlan", "Type": "bridge"}), &policy), @r#"the key "Type" would be read as `type`, because plugins ignore case; write `type`"#);
    insta::assert_snapshot!(refused(&json!({"type": "macvlan", "IPAM": {"type": "bridge"}}), &policy), @r#"the key "IPAM" would be read as `ipam`, because plugins ignore case; write `ipam`"#);
    insta::assert_snapshot!(why(json!({"type": "macvlan", "ipam": {"type": "static", "TYPE": "bridge"}})), @r#"ipam: the key "TYPE" would be read as `type`, because plugins ignore case; write `type`"#);
    // U+017F, the long s, is an s to Go.
    insta::assert_snapshot!(why(json!({"type": "macvlan", "plugin\u{17f}": [{"type": "bridge"}]})), @r#"the key "pluginſ" would be read as `plugins`, because plugins ignore case; write `plugins`"#);
    insta::assert_snapshot!(why(json!({"type": "macvlan", "mtu": 1400, "MTU": 1500})), @r#"the keys "mtu" and "MTU" differ by case alone, which plugins ignore; keep one of them"#);
    // The driver adds `master` where there is none: this one would come after it, and count.
    insta::assert_snapshot!(why(json!({"type": "macvlan", "ma\u{17f}ter": "eth1"})), @r#"the key "maſter" would be read as `master`, because plugins ignore case; write `master`"#);
    insta::assert_snapshot!(why(json!({"type": "macvlan", "Mode": "passthru"})), @r#"the key "Mode" would be read as `mode`, because plugins ignore case; write `mode`"#);
    insta::assert_snapshot!(why(json!({"type": "vlan", "lin\u{212a}InContainer": true})), @r#"the key "linKInContainer" would be read as `linkInContainer`, because plugins ignore case; write `linkInContainer`"#);
}

#[test]
fn versions() {
    for version in VERSIONS {
        assert_eq!(
            ok(json!({"cniVersion": version, "type": "macvlan"})).cni_version,
            version
        );
    }
    insta::assert_snapshot!(why(json!({"cniVersion": "0.2.0", "type": "macvlan"})), @r#"cniVersion: CNI version "0.2.0" is not supported; use one of 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0"#);
    insta::assert_snapshot!(why(json!({"cniVersion": "", "type": "macvlan"})), @r#"cniVersion: CNI version "" is not supported; use one of 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0"#);
    insta::assert_snapshot!(why(json!({"cniVersion": 1.0, "type": "macvlan"})), @"cniVersion: must be a string, not a number; put the value in quotes");
    insta::assert_snapshot!(why(json!({"cniVersions": ["9.9.9"], "plugins": [{"type": "x"}]})), @"cniVersions: a list of versions is not supported; name one version as `cniVersion`");
}

#[test]
fn names() {
    insta::assert_snapshot!(why(json!({"name": "../x", "type": "macvlan"})), @r#"name: "../x" is not a network name; use at most 128 letters, digits, `.`, `_` or `-`, beginning with a letter or digit"#);
    insta::assert_snapshot!(why(json!({"name": "", "type": "macvlan"})), @r#"name: "" is not a network name; use at most 128 letters, digits, `.`, `_` or `-`, beginning with a letter or digit"#);
    insta::assert_snapshot!(why(json!({"name": "x".repeat(129), "type": "macvlan"})), @r#"name: "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…" (129 bytes) is not a network name; use at most 128 letters, digits, `.`, `_` or `-`, beginning with a letter or digit"#);
    insta::assert_snapshot!(why(json!({"name": ["x"], "type": "macvlan"})), @"name: must be a string, not a list; write one string");
}

#[test]
fn what_the_caller_supplies() {
    insta::assert_snapshot!(why(json!({"type": "macvlan", "prevResult": {}})), @"prevResult: is set by the caller of the plugins, never by a configuration; remove it");
    insta::assert_snapshot!(why(json!({"plugins": [{"type": "x", "runtimeConfig": {"ips": []}}]})), @"plugins[0].runtimeConfig: is set by the caller of the plugins, never by a configuration; remove it");
    insta::assert_snapshot!(why(json!({"prevResult": {}, "plugins": [{"type": "x"}]})), @"prevResult: is set by the caller of the plugins, never by a configuration; remove it");
}

#[test]
fn capabilities() {
    insta::assert_snapshot!(why(json!({"type": "macvlan", "capabilities": ["ips"]})), @"capabilities: must be an object of booleans; write for example {ips: true}");
    insta::assert_snapshot!(why(json!({"type": "macvlan", "capabilities": {"ips": "yes"}})), @"capabilities: must be an object of booleans; write for example {ips: true}");
}

#[test]
fn depth() {
    let nest = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    assert!(depth_within(&json!(1), 0));
    assert!(depth_within(&nest(3), 3));
    assert!(!depth_within(&nest(4), 3));
    ok(json!({"type": "x", "y": nest(MAX_DEPTH - 1)}));
    insta::assert_snapshot!(why(json!({"type": "x", "y": nest(MAX_DEPTH)})), @"objects and lists are nested more than 32 deep; flatten the configuration");
}

#[test]
fn capabilities_are_declared_where_they_are_read() {
    let list = json!({"plugins": [
        {"type": "ipvlan", "ipam": {"type": "static"}, "capabilities": {"dns": true}},
        {"type": "tuning"},
    ]});
    let taking = ok(list).taking(2, true).expect("taken");
    assert_eq!(
        Value::from_iter(taking.plugins.into_iter().map(Value::Object)),
        json!([
            {"type": "ipvlan", "ipam": {"type": "static"}, "capabilities": {"dns": true, "ips": true}},
            {"type": "tuning", "capabilities": {"mac": true}},
        ])
    );
    // What is declared already is the author's choice.
    let own = ok(json!({"type": "own", "capabilities": {"ips": true, "mac": true}}));
    assert_eq!(own.clone().taking(1, true), Ok(own));
    let plain = ok(json!({"type": "macvlan"}));
    assert_eq!(plain.clone().taking(0, false), Ok(plain));
}
