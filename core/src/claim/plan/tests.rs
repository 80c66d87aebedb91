use k8s_openapi::api::resource::v1::ResourceClaim;
use serde_json::{Value, json};

use super::*;

const ALLOCATED: &str = include_str!("../../../../fixtures/claims/allocated.yaml");
const MIXED: &str = include_str!("../../../../fixtures/claims/class-and-claim.yaml");
const UID: &str = "0b5e0c5e-5f5b-4c8e-9d4e-0d7c9f0a1b2c";

const EXPECTED: Expected<'_> = Expected {
    namespace: "shop",
    name: "storage-net",
    uid: UID,
    driver: "dra.networking",
    node: "node-1",
};

const MIXED_EXPECTED: Expected<'_> = Expected {
    name: "mixed",
    uid: "uid-mixed",
    ..EXPECTED
};

fn value(yaml: &str) -> Value {
    serde_saphyr::from_str(yaml).expect("YAML")
}

/// The fixture with one place changed.
fn claim(yaml: &str, pointer: &str, new: Value) -> ResourceClaim {
    let mut value = value(yaml);
    if pointer.is_empty() {
        assert!(new.is_null());
    } else {
        let (parent, key) = pointer.rsplit_once('/').expect("pointer");
        match value.pointer_mut(parent).expect(parent) {
            Value::Object(map) => {
                map.insert(key.into(), new);
            }
            Value::Array(list) => list[key.parse::<usize>().expect("index")] = new,
            _ => panic!("{parent} has no {key}"),
        }
    }
    serde_json::from_value(value).expect("ResourceClaim")
}

fn planned(claim: &ResourceClaim, expected: &Expected<'_>) -> ClaimPlan {
    plan(claim, expected, &Defaults::default(), &Policy::default()).expect("accepted")
}

fn why(pointer: &str, new: Value) -> String {
    let claim = claim(ALLOCATED, pointer, new);
    let error = plan(&claim, &EXPECTED, &Defaults::default(), &Policy::default());
    error.expect_err("refused").to_string()
}

#[test]
fn an_allocated_claim() {
    let plan = planned(&claim(ALLOCATED, "", Value::Null), &EXPECTED);
    assert_eq!(
        serde_json::to_value(&plan).expect("JSON"),
        json!({
            "claim": {"namespace": "shop", "name": "storage-net", "uid": UID},
            "reserved_for": [{"name": "shop-0", "uid": "6c0e1a52-4d0e-4b4a-8c42-33f4f0cbb1aa"}],
            "attachments": [{
                "device": {"pool": "node-1", "device": "slot-0"},
                "request": "net",
                "if_name": "storage0",
                "network": {
                    "cniVersion": "1.0.0",
                    "name": "storage",
                    "plugins": [{
                        "type": "macvlan", "master": "eth1", "mode": "bridge",
                        "ipam": {"type": "static"},
                        "capabilities": {"ips": true, "mac": true},
                    }],
                },
                "ips": ["10.1.1.11/24"],
                "mac": "02:ab:00:00:00:01",
            }],
        })
    );
}

#[test]
fn the_claim_over_the_class_key_by_key_and_defaults_elsewhere() {
    let plan = planned(&claim(MIXED, "", Value::Null), &MIXED_EXPECTED);
    assert_eq!(
        serde_json::to_value(&plan.attachments).expect("JSON"),
        json!([
            {
                "device": {"pool": "node-1", "device": "slot-4"},
                "request": "net",
                "subrequest": "fast",
                "if_name": "fast0",
                "network": {
                    "cniVersion": "1.0.0",
                    "name": "fast",
                    "plugins": [
                        {
                            "type": "macvlan", "master": "eth2",
                            "ipam": {"type": "host-local", "subnet": "10.9.0.0/16"},
                            "capabilities": {"ips": true},
                        },
                        {"type": "tuning", "mtu": 9000},
                    ],
                },
                "ips": ["10.9.0.7/16"],
                "cni_args": {"tenant": "blue"},
            },
            {
                "device": {"pool": "node-1", "device": "slot-7"},
                "request": "plain",
                "if_name": null,
                "network": {"cniVersion": "1.0.0", "name": "ndra", "plugins": [
                    {"type": "macvlan", "master": "eth0", "mode": "bridge"},
                ]},
            },
            {
                "device": {"pool": "node-1", "device": "slot-5"},
                "request": "plain",
                "if_name": null,
                "network": {"cniVersion": "1.0.0", "name": "ndra", "plugins": [
                    {"type": "macvlan", "master": "eth0", "mode": "bridge"},
                ]},
            },
        ])
    );
    let pods: Vec<_> = plan
        .reserved_for
        .iter()
        .map(|pod| pod.uid.as_str())
        .collect();
    assert_eq!(pods, ["pod-uid-0", "pod-uid-1"]);
}

#[test]
fn a_configuration_may_name_the_subrequest_or_the_request() {
    let requests = "/status/allocation/devices/config/2/requests";
    let named = |names: Value| {
        let plan = planned(&claim(MIXED, requests, names), &MIXED_EXPECTED);
        plan.attachments[0].if_name.clone()
    };
    let fast0 = Some("fast0".to_owned());
    assert_eq!(named(json!(["net/fast"])), fast0);
    assert_eq!(named(json!(["net"])), fast0);
    assert_eq!(named(json!(["net/slow"])), None);
    assert_eq!(named(json!(["netx", "fast"])), None);
}

#[test]
fn addresses_without_a_network_make_the_default_static() {
    let parameters = "/status/allocation/devices/config/0/opaque/parameters/config";
    let mut without = claim(
        ALLOCATED,
        parameters,
        json!({"type": "macvlan", "ipam": {"type": "static"}}),
    );
    if let Some(opaque) = without
        .status
        .as_mut()
        .and_then(|status| status.allocation.as_mut())
        .and_then(|allocation| allocation.devices.as_mut())
        .and_then(|devices| devices.config.as_mut())
        .and_then(|config| config[0].opaque.as_mut())
    {
        opaque
            .parameters
            .0
            .as_object_mut()
            .expect("object")
            .remove("config");
    }
    let defaults = Defaults {
        devices: None,
        uplink: "bond0".into(),
    };
    let plan = plan(&without, &EXPECTED, &defaults, &Policy::default()).expect("accepted");
    assert_eq!(
        Value::from_iter(
            plan.attachments[0]
                .network
                .plugins
                .iter()
                .cloned()
                .map(Value::Object)
        ),
        json!([{
            "type": "macvlan", "master": "bond0", "mode": "bridge",
            "ipam": {"type": "static"}, "capabilities": {"ips": true, "mac": true},
        }])
    );
}

#[test]
fn claims_that_are_not_the_one_asked_for() {
    insta::assert_snapshot!(why("/metadata/uid", json!("other-uid")), @r#"ResourceClaim shop/storage-net: metadata.uid: is "other-uid", but the kubelet asks for 0b5e0c5e-5f5b-4c8e-9d4e-0d7c9f0a1b2c: the claim was deleted and made anew under the same name; delete the pod, so that a new one uses the new claim"#);
    insta::assert_snapshot!(why("/metadata/uid", Value::Null), @r#"ResourceClaim shop/storage-net: metadata.uid: is "", but the kubelet asks for 0b5e0c5e-5f5b-4c8e-9d4e-0d7c9f0a1b2c: the claim was deleted and made anew under the same name; delete the pod, so that a new one uses the new claim"#);
    let claim = claim(ALLOCATED, "", Value::Null);
    for (uid, node) in [("../../etc", "node-1"), ("", "node-1"), (UID, "node-2")] {
        let expected = Expected {
            uid,
            node,
            ..EXPECTED
        };
        let error = plan(&claim, &expected, &Defaults::default(), &Policy::default());
        assert!(error.is_err(), "{uid:?} {node:?}");
    }
    let expected = Expected {
        uid: "../../etc",
        ..EXPECTED
    };
    let error = plan(&claim, &expected, &Defaults::default(), &Policy::default());
    insta::assert_snapshot!(error.expect_err("refused"), @r#"ResourceClaim shop/storage-net: metadata.uid: "../../etc" is not the UID of a claim: at most 63 letters, digits, `.`, `_` or `-`, beginning with a letter or digit; take it from `metadata.uid` of the ResourceClaim"#);
}

#[test]
fn allocations_that_are_not_ours() {
    let result = "/status/allocation/devices/results/0";
    insta::assert_snapshot!(why("/status", Value::Null), @"ResourceClaim shop/storage-net: status.allocation: the claim is not allocated; wait until the scheduler has placed a pod that uses it, or see `kubectl describe pod` for why it could not");
    insta::assert_snapshot!(why("/status/allocation", Value::Null), @"ResourceClaim shop/storage-net: status.allocation: the claim is not allocated; wait until the scheduler has placed a pod that uses it, or see `kubectl describe pod` for why it could not");
    insta::assert_snapshot!(why("/status/allocation/devices/results", json!([])), @"ResourceClaim shop/storage-net: status.allocation: the claim is not allocated; wait until the scheduler has placed a pod that uses it, or see `kubectl describe pod` for why it could not");
    insta::assert_snapshot!(why(&format!("{result}/driver"), json!("gpu.example.com")), @"ResourceClaim shop/storage-net: status.allocation.devices.results: allocated to another driver: gpu.example.com, not dra.networking; let the request name a DeviceClass whose devices dra.networking publishes");
    insta::assert_snapshot!(why(&format!("{result}/pool"), json!("node-2")), @"ResourceClaim shop/storage-net: status.allocation.devices.results[0].pool: request net is allocated on another node: pool node-2, this is node node-1; delete the pod, so that it is scheduled again with its claim");
    insta::assert_snapshot!(why(&format!("{result}/device"), json!("../x")), @r#"ResourceClaim shop/storage-net: status.allocation.devices.results[0].device: "../x" is not what a scheduler writes; let the claim be allocated again"#);
    insta::assert_snapshot!(why(&format!("{result}/request"), json!("")), @r#"ResourceClaim shop/storage-net: status.allocation.devices.results[0].request: "" is not what a scheduler writes; let the claim be allocated again"#);
    insta::assert_snapshot!(why(&format!("{result}/shareID"), json!("a b")), @r#"ResourceClaim shop/storage-net: status.allocation.devices.results[0].shareID: "a b" is not what a scheduler writes; let the claim be allocated again"#);
    insta::assert_snapshot!(why(&format!("{result}/adminAccess"), json!(true)), @"ResourceClaim shop/storage-net: status.allocation.devices.results[0].adminAccess: request net has admin access, which gives no device of one's own; remove adminAccess from the request");
    let twice =
        json!({"request": "net", "driver": "dra.networking", "pool": "node-1", "device": "slot-0"});
    insta::assert_snapshot!(why("/status/allocation/devices/results", json!([twice, twice])), @"ResourceClaim shop/storage-net: status.allocation.devices.results[1]: device node-1/slot-0 is allocated twice; let the claim be allocated again");
}

#[test]
fn node_selectors() {
    let selector = "/status/allocation/nodeSelector";
    let term = |kind: &str, key: &str, operator: &str, values: &[&str]| json!({"nodeSelectorTerms": [{kind: [{"key": key, "operator": operator, "values": values}]}]});
    let label = "kubernetes.io/hostname";
    for fits in [
        Value::Null,
        term("matchExpressions", label, "In", &["node-0", "node-1"]),
        term("matchExpressions", label, "NotIn", &["node-2"]),
        term("matchExpressions", "zone", "In", &["east"]),
        json!({"nodeSelectorTerms": [
            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-2"]}]},
            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]},
        ]}),
    ] {
        planned(&claim(ALLOCATED, selector, fits), &EXPECTED);
    }
    insta::assert_snapshot!(why(selector, term("matchFields", "metadata.name", "In", &["node-2"])), @"ResourceClaim shop/storage-net: status.allocation.nodeSelector: allocated for node node-2, this is node node-1; delete the pod, so that it is scheduled again with its claim");
    insta::assert_snapshot!(why(selector, term("matchExpressions", label, "NotIn", &["node-1"])), @"ResourceClaim shop/storage-net: status.allocation.nodeSelector: allocated for any node but node-1, this is node node-1; delete the pod, so that it is scheduled again with its claim");
    insta::assert_snapshot!(why(selector, json!({"nodeSelectorTerms": [{}]})), @"ResourceClaim shop/storage-net: status.allocation.nodeSelector: allocated for no node, this is node node-1; delete the pod, so that it is scheduled again with its claim");
}

#[test]
fn parameters_are_refused_where_their_owner_edits_them() {
    // In the allocation alone: somebody edited the spec's copy since, or it is the class's.
    let parameters = "/status/allocation/devices/config/0/opaque/parameters";
    insta::assert_snapshot!(why(&format!("{parameters}/ifName"), json!("lo")), @"ResourceClaim shop/storage-net: status.allocation.devices.config[0].opaque.parameters.ifName: lo is the loopback interface, which every pod has; choose a name such as net1, or leave ifName out for the next free netN");
    let mut both = value(ALLOCATED);
    for config in [
        "/spec/devices/config/0",
        "/status/allocation/devices/config/0",
    ] {
        let name = format!("{config}/opaque/parameters/ifName");
        *both.pointer_mut(&name).expect("ifName") = json!("eth0");
    }
    let both: ResourceClaim = serde_json::from_value(both).expect("claim");
    let error = plan(&both, &EXPECTED, &Defaults::default(), &Policy::default());
    insta::assert_snapshot!(error.expect_err("refused"), @"ResourceClaim shop/storage-net: spec.devices.config[0].opaque.parameters.ifName: eth0 is the pod's own primary interface; choose a name such as net1, or leave ifName out for the next free netN");
}

#[test]
fn an_address_over_a_class_without_ipam_is_refused() {
    let plugins = "/status/allocation/devices/config/2/opaque/parameters/config/plugins";
    let parameters = "/status/allocation/devices/config/2/opaque/parameters";
    let mut mixed = value(MIXED);
    *mixed.pointer_mut(plugins).expect("plugins") = json!([{"type": "macvlan"}]);
    mixed
        .pointer_mut(parameters)
        .and_then(Value::as_object_mut)
        .expect("object")
        .remove("ips");
    let mixed: ResourceClaim = serde_json::from_value(mixed).expect("claim");
    let error = plan(
        &mixed,
        &MIXED_EXPECTED,
        &Defaults::default(),
        &Policy::default(),
    );
    insta::assert_snapshot!(error.expect_err("refused"), @"ResourceClaim shop/mixed: spec.devices.config[1].opaque.parameters.ips: no plugin of the network takes `ips`: there is no IPAM; add `ipam: {type: static}` to the plugin that makes the interface");
}

/// The plugins of a class are the administrator's choice, those of a claim its author's.
#[test]
fn types_are_limited_in_claims_alone() {
    let policy = Policy {
        allowed_types: Policy::types(["static"]),
        ..Policy::default()
    };
    let mixed = claim(MIXED, "", Value::Null);
    assert!(plan(&mixed, &MIXED_EXPECTED, &Defaults::default(), &policy).is_ok());
    let by_claim = claim(ALLOCATED, "", Value::Null);
    let error = plan(&by_claim, &EXPECTED, &Defaults::default(), &policy).expect_err("refused");
    let said = error.to_string();
    assert!(
        said.contains(r#"plugin type "macvlan" is not allowed"#),
        "{said}"
    );
}

#[test]
fn a_config_from_a_class_only() {
    let policy = Policy {
        config_from: ConfigFrom::ClassOnly,
        ..Policy::default()
    };
    let error = plan(
        &claim(ALLOCATED, "", Value::Null),
        &EXPECTED,
        &Defaults::default(),
        &policy,
    );
    insta::assert_snapshot!(error.expect_err("refused"), @"ResourceClaim shop/storage-net: spec.devices.config[0].opaque.parameters.config: the driver takes a network configuration from a DeviceClass only; remove it and name a DeviceClass that has one, or ask the administrator");
    // The claim's address over the class's network is still the claim's to choose.
    let mixed = claim(MIXED, "", Value::Null);
    let plan = plan(&mixed, &MIXED_EXPECTED, &Defaults::default(), &policy).expect("accepted");
    assert_eq!(plan.attachments[0].ips.len(), 1);
    // A source that nobody knows is no class.
    let source = "/status/allocation/devices/config/2/source";
    let odd = claim(MIXED, source, json!("FromNowhere"));
    assert!(super::plan(&odd, &MIXED_EXPECTED, &Defaults::default(), &policy).is_err());
}

#[test]
fn one_name_for_several_devices() {
    let requests = "/status/allocation/devices/config/2/requests";
    let refused = |names: Value| {
        let claim = claim(MIXED, requests, names);
        let error = plan(
            &claim,
            &MIXED_EXPECTED,
            &Defaults::default(),
            &Policy::default(),
        );
        error.expect_err("refused").to_string()
    };
    insta::assert_snapshot!(refused(json!(["plain"])), @"ResourceClaim shop/mixed: DeviceClass macvlan, status.allocation.devices.config[2].opaque.parameters.ifName: request plain has 2 devices, which cannot all be named fast0; make one request for each with an ifName of its own, or leave ifName out");
    insta::assert_snapshot!(refused(json!([])), @"ResourceClaim shop/mixed: DeviceClass, status.allocation.devices.config[2].opaque.parameters.ifName: the requests net and plain both ask for the interface name fast0; give each its own ifName (with `requests` of the configuration), or leave ifName out");
}

/// Whatever an API server might send in place of any part of a claim: no panic.
#[test]
fn hostile_values_everywhere() {
    fn pointers(value: &Value, at: String, all: &mut Vec<String>) {
        all.push(at.clone());
        match value {
            Value::Object(map) => map.iter().for_each(|(key, inner)| {
                pointers(inner, format!("{at}/{}", key.replace('/', "~1")), all);
            }),
            Value::Array(list) => list.iter().enumerate().for_each(|(index, inner)| {
                pointers(inner, format!("{at}/{index}"), all);
            }),
            _ => {}
        }
    }
    let hostile = [
        json!(null),
        json!(""),
        json!("\u{0}\u{1b}[0m\u{202e}"),
        json!("ü/".repeat(4000)),
        json!("/"),
        json!([]),
        json!({}),
    ];
    for (yaml, expected) in [(ALLOCATED, &EXPECTED), (MIXED, &MIXED_EXPECTED)] {
        let base = value(yaml);
        let mut all = Vec::new();
        pointers(&base, String::new(), &mut all);
        assert!(all.len() > 60);
        let mut refused = 0;
        for pointer in all {
            for bad in &hostile {
                let mut tried = base.clone();
                *tried.pointer_mut(&pointer).expect("pointer") = bad.clone();
                let Ok(claim) = serde_json::from_value::<ResourceClaim>(tried) else {
                    continue;
                };
                if let Err(error) = plan(&claim, expected, &Defaults::default(), &Policy::default())
                {
                    let line = error.to_string();
                    assert!(line.starts_with("ResourceClaim shop/"), "{line}");
                    assert!(line.len() < 8 * 1024, "{pointer}: {} bytes", line.len());
                    assert!(!line.chars().any(char::is_control), "{pointer}: {line:?}");
                    refused += 1;
                }
            }
        }
        assert!(refused > 40, "{refused}");
    }
}
