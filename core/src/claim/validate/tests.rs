use std::fmt::Write as _;

use serde_json::Value;

use super::*;

const DRIVER: &str = "dra.networking";

fn read<T: serde::de::DeserializeOwned>(yaml: &str) -> T {
    let value: Value = serde_saphyr::from_str(yaml).expect("YAML");
    serde_json::from_value(value).expect("object")
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().fold(String::new(), |mut lines, problem| {
        writeln!(lines, "{problem}").expect("write");
        lines
    })
}

#[test]
fn every_mistake_of_a_claim_at_once() {
    let claim = read(include_str!("../../../../fixtures/claims/mistakes.yaml"));
    let problems = validate_claim(&claim, DRIVER, &Policy::default());
    insta::assert_snapshot!(lines(&problems), @r#"
    spec.devices.config[1].requests[2]: the claim has no request "d"; name one of spec.devices.requests, or leave `requests` out for all of them
    spec.devices.config[2].opaque.parameters: the field "ifname" is unknown; did you mean ifName?
    spec.devices.config[2].opaque.parameters.ips[0]: "10.0.0.0/24" is the address of a network, not of a host; write the address of a host in it
    spec.devices.config[2].opaque.parameters.ips[1]: "10.0.0.5" has no prefix length; write for example 10.0.0.5/24
    spec.devices.config[2].opaque.parameters.config.cniVersion: CNI version "2.0.0" is not supported; use one of 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0
    spec.devices.config[2].opaque.parameters.config.name: "office/floor-1" is not a network name; use at most 128 letters, digits, `.`, `_` or `-`, beginning with a letter or digit
    spec.devices.config[2].opaque.parameters.config.plugins[0].type: "../macvlan" contains a `/`; write the plugin's name alone; it is looked up in the node's CNI directory
    spec.devices.config[2].opaque.parameters.config.plugins[1]: the plugin's configuration has no `type`; name the plugin, for example `type: macvlan`
    spec.devices.config[2].opaque.parameters.config.plugins[2].ipam: the IPAM configuration has no `type`; name the plugin, for example `type: host-local`, or leave `ipam` out for a link without address
    spec.devices.config[0].opaque.parameters.ifName: request a has 2 devices, which cannot all be named both0; make one request for each with an ifName of its own, or leave ifName out
    spec.devices.config[1].opaque.parameters.ifName: the requests b and c both ask for the interface name twin0; give each its own ifName (with `requests` of the configuration), or leave ifName out
    "#);
}

#[test]
fn claims_that_the_driver_would_take() {
    for yaml in [
        include_str!("../../../../fixtures/claims/allocated.yaml"),
        include_str!("../../../../fixtures/claims/class-and-claim.yaml"),
    ] {
        let problems = validate_claim(&read(yaml), DRIVER, &Policy::default());
        assert_eq!(lines(&problems), "");
    }
}

#[test]
fn templates() {
    let template = read(include_str!("../../../../fixtures/claims/template.yaml"));
    let problems = validate_template(&template, DRIVER, &Policy::default());
    insta::assert_snapshot!(lines(&problems), @r#"spec.spec.devices.config[0].opaque.parameters.mac: "01:00:5e:00:00:01" is a multicast MAC address; make its first octet even, for example 02"#);
}

#[test]
fn classes() {
    let class = read(include_str!("../../../../fixtures/claims/class.yaml"));
    let problems = validate_class(&class, DRIVER, &Policy::default());
    insta::assert_snapshot!(lines(&problems), @r#"spec.config[0].opaque.parameters.config.ipam.type: "dhcp/daemon" contains a `/`; write the plugin's name alone; it is looked up in the node's CNI directory"#);
    assert_eq!(
        validate_class(&class, "other.example.com", &Policy::default()),
        []
    );
}

#[test]
fn a_config_in_a_claim_where_only_classes_may_have_one() {
    let policy = Policy {
        config_from: ConfigFrom::ClassOnly,
        ..Policy::default()
    };
    let claim = read(include_str!("../../../../fixtures/claims/allocated.yaml"));
    insta::assert_snapshot!(lines(&validate_claim(&claim, DRIVER, &policy)), @"spec.devices.config[0].opaque.parameters.config: the driver takes a network configuration from a DeviceClass only; remove it and name a DeviceClass that has one, or ask the administrator");
}

/// A configuration for all requests means those of its driver, which only the allocation
/// tells apart.
#[test]
fn requests_of_other_drivers_are_not_held_against_a_name() {
    let claim = read(
        "
        metadata: {name: a, namespace: b}
        spec:
          devices:
            requests:
              - {name: gpu, exactly: {deviceClassName: gpu, count: 4}}
              - {name: net, exactly: {deviceClassName: macvlan, count: 1}}
            config:
              - opaque:
                  driver: dra.networking
                  parameters: {apiVersion: dra.networking/v1alpha1, kind: CNIConfig, ifName: net1}
        ",
    );
    assert_eq!(validate_claim(&claim, DRIVER, &Policy::default()), []);
}
