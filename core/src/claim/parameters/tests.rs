use serde_json::json;

use super::*;

/// Parameters with these fields beside `apiVersion` and `kind`.
fn with(fields: Value) -> Value {
    let mut parameters = json!({ "apiVersion": API_VERSION, "kind": KIND });
    if let (Some(map), Value::Object(fields)) = (parameters.as_object_mut(), fields) {
        map.extend(fields);
    }
    parameters
}

fn ok(fields: Value) -> Parameters {
    parameters(&with(fields), &Policy::default()).expect("accepted")
}

fn refused(value: &Value) -> String {
    parameters(value, &Policy::default())
        .expect_err("refused")
        .to_string()
}

fn why(fields: Value) -> String {
    refused(&with(fields))
}

#[test]
fn everything_given_is_read() {
    let parameters = ok(json!({
        "ifName": "net1",
        "ips": ["10.0.0.5/24", "FD00::5/64"],
        "mac": "02-AB-CD-00-00-01",
        "cniArgs": { "tenant": "blue" },
        "config": { "type": "macvlan", "ipam": { "type": "static" } },
    }));
    assert_eq!(parameters.if_name.as_deref(), Some("net1"));
    let ips = parameters.ips.expect("ips");
    assert_eq!(
        ips.iter().map(IpNet::to_string).collect::<Vec<_>>(),
        ["10.0.0.5/24", "fd00::5/64"]
    );
    assert_eq!(parameters.mac.as_deref(), Some("02:ab:cd:00:00:01"));
    assert_eq!(parameters.cni_args.expect("args")["tenant"], "blue");
    assert_eq!(parameters.config.expect("config").plugins.len(), 1);
}

#[test]
fn nothing_given_stays_nothing() {
    assert_eq!(ok(json!({})), Parameters::default());
    assert_eq!(ok(json!({ "ips": [] })).ips, Some(Vec::new()));
}

#[test]
fn kinds_that_are_not_ours() {
    insta::assert_snapshot!(refused(&json!(null)), @"the parameters are not an object but null; write {apiVersion: dra.networking/v1alpha1, kind: CNIConfig, …}");
    insta::assert_snapshot!(refused(&json!({})), @"apiVersion: is missing; write `apiVersion: dra.networking/v1alpha1`. Also kind: is missing; write `kind: CNIConfig`");
    insta::assert_snapshot!(refused(&json!({"apiVersion": "v2", "kind": KIND, "x": 1})), @r#"apiVersion: "v2" is unknown; write `apiVersion: dra.networking/v1alpha1`"#);
    insta::assert_snapshot!(refused(&json!({"apiVersion": API_VERSION, "kind": "Pod"})), @r#"kind: "Pod" is unknown; write `kind: CNIConfig`"#);
    insta::assert_snapshot!(refused(&json!({"apiVersion": 1, "kind": KIND})), @"apiVersion: must be a string, not a number; write `apiVersion: dra.networking/v1alpha1`");
}

#[test]
fn unknown_fields() {
    insta::assert_snapshot!(why(json!({"ifname": "net1"})), @r#"the field "ifname" is unknown; did you mean ifName?"#);
    insta::assert_snapshot!(why(json!({"ip": ["10.0.0.5/24"]})), @r#"the field "ip" is unknown; did you mean ips?"#);
    insta::assert_snapshot!(why(json!({"macAddress": "02:00:00:00:00:01"})), @r#"the field "macAddress" is unknown; did you mean mac?"#);
    insta::assert_snapshot!(why(json!({"cniargs": {}, "konfig": {}})), @r#"the field "cniargs" is unknown; did you mean cniArgs? Also the field "konfig" is unknown; did you mean config?"#);
    insta::assert_snapshot!(why(json!({"\u{1b}[2J": 1})), @r#"the field "\u{1b}[2J" is unknown; remove it; the fields are apiVersion, kind, ifName, config, ips, mac, cniArgs"#);
}

#[test]
fn interface_names() {
    for name in ["n", "net1", "eth0.100", "a-b_c", "123456789012345", "-x"] {
        assert_eq!(ok(json!({ "ifName": name })).if_name.as_deref(), Some(name));
    }
    insta::assert_snapshot!(why(json!({"ifName": ""})), @"ifName: the interface name is empty; choose a name such as net1, or leave ifName out for the next free netN");
    insta::assert_snapshot!(why(json!({"ifName": "1234567890123456"})), @r#"ifName: the interface name "1234567890123456" has 16 bytes, the kernel takes at most 15; choose a name such as net1, or leave ifName out for the next free netN"#);
    insta::assert_snapshot!(why(json!({"ifName": "a/b"})), @r#"ifName: the interface name "a/b" contains a `/`; choose a name such as net1, or leave ifName out for the next free netN"#);
    insta::assert_snapshot!(why(json!({"ifName": "a b"})), @r#"ifName: the interface name "a b" contains white space; choose a name such as net1, or leave ifName out for the next free netN"#);
    insta::assert_snapshot!(why(json!({"ifName": "a\tb"})), @r#"ifName: the interface name "a\tb" contains white space; choose a name such as net1, or leave ifName out for the next free netN"#);
    insta::assert_snapshot!(why(json!({"ifName": "a:b"})), @r#"ifName: the interface name "a:b" contains a `:`; choose a name such as net1, or leave ifName out for the next free netN"#);
    insta::assert_snapshot!(why(json!({"ifName": "net%d"})), @r#"ifName: the interface name "net%d" contains a `%`; choose a name such as net1, or leave ifName out for the next free netN"#);
    insta::assert_snapshot!(why(json!({"ifName": "lo"})), @"ifName: lo is the loopback interface, which every pod has; choose a name such as net1, or leave ifName out for the next free netN");
    insta::assert_snapshot!(why(json!({"ifName": "eth0"})), @"ifName: eth0 is the pod's own primary interface; choose a name such as net1, or leave ifName out for the next free netN");
    insta::assert_snapshot!(why(json!({"ifName": "."})), @r#"ifName: the interface name "." is a directory to the kernel; choose a name such as net1, or leave ifName out for the next free netN"#);
    insta::assert_snapshot!(why(json!({"ifName": ".."})), @r#"ifName: the interface name ".." is a directory to the kernel; choose a name such as net1, or leave ifName out for the next free netN"#);
    insta::assert_snapshot!(why(json!({"ifName": "default"})), @r#"ifName: the kernel keeps the interface name "default" for itself; choose a name such as net1, or leave ifName out for the next free netN"#);
    insta::assert_snapshot!(why(json!({"ifName": "nét"})), @r#"ifName: the interface name "nét" is not printable ASCII; choose a name such as net1, or leave ifName out for the next free netN"#);
    insta::assert_snapshot!(why(json!({"ifName": "net\u{0}"})), @r#"ifName: the interface name "net\0" is not printable ASCII; choose a name such as net1, or leave ifName out for the next free netN"#);
    insta::assert_snapshot!(why(json!({"ifName": 7})), @"ifName: must be a string, not a number; put the value in quotes");
}

#[test]
fn addresses() {
    for ip in [
        "10.0.0.0/31",
        "10.0.0.0/32",
        "10.1.1.0/8",
        "fd00::/64",
        "fe80::1/64",
    ] {
        assert!(ok(json!({ "ips": [ip] })).ips.is_some(), "{ip}");
    }
    insta::assert_snapshot!(why(json!({"ips": "10.0.0.5/24"})), @"ips: must be a list, not a string; write for example [10.0.0.5/24]");
    insta::assert_snapshot!(why(json!({"ips": [10]})), @"ips[0]: must be a string, not a number; put the value in quotes");
    insta::assert_snapshot!(why(json!({"ips": ["10.0.0.5"]})), @r#"ips[0]: "10.0.0.5" has no prefix length; write for example 10.0.0.5/24"#);
    insta::assert_snapshot!(why(json!({"ips": ["fd00::5"]})), @r#"ips[0]: "fd00::5" has no prefix length; write for example fd00::5/64"#);
    insta::assert_snapshot!(why(json!({"ips": ["10.0.0.5/33"]})), @r#"ips[0]: "10.0.0.5/33" is not an address in CIDR form; write for example 10.0.0.5/24 or fd00::5/64"#);
    insta::assert_snapshot!(why(json!({"ips": ["ten/24"]})), @r#"ips[0]: "ten/24" is not an address in CIDR form; write for example 10.0.0.5/24 or fd00::5/64"#);
    insta::assert_snapshot!(why(json!({"ips": ["0.0.0.0/8"]})), @r#"ips[0]: "0.0.0.0/8" is the unspecified address; write the address of a host in it"#);
    insta::assert_snapshot!(why(json!({"ips": ["::/64"]})), @r#"ips[0]: "::/64" is the unspecified address; write the address of a host in it"#);
    insta::assert_snapshot!(why(json!({"ips": ["224.0.0.5/24"]})), @r#"ips[0]: "224.0.0.5/24" is a multicast address; write a unicast address"#);
    insta::assert_snapshot!(why(json!({"ips": ["ff02::1/64"]})), @r#"ips[0]: "ff02::1/64" is a multicast address; write a unicast address"#);
    insta::assert_snapshot!(why(json!({"ips": ["10.0.0.5/0"]})), @r#"ips[0]: the prefix of "10.0.0.5/0" covers every address; write the prefix length of the network that the address belongs to"#);
    insta::assert_snapshot!(why(json!({"ips": ["255.255.255.255/32"]})), @r#"ips[0]: "255.255.255.255/32" is the broadcast address; write the address of a host in it"#);
    insta::assert_snapshot!(why(json!({"ips": ["10.0.0.0/24"]})), @r#"ips[0]: "10.0.0.0/24" is the address of a network, not of a host; write the address of a host in it"#);
    insta::assert_snapshot!(why(json!({"ips": ["::ffff:10.0.0.5/120"]})), @r#"ips[0]: "::ffff:10.0.0.5/120" is an IPv4 address written as IPv6; write it as IPv4"#);
    insta::assert_snapshot!(why(json!({"ips": ["fd00::5/64", "FD00:0::5/48"]})), @"ips[1]: the address fd00::5 is listed twice; list it once");
    let many: Vec<_> = (1..=17).map(|n| format!("10.0.0.{n}/24")).collect();
    insta::assert_snapshot!(why(json!({ "ips": many })), @"ips: 17 addresses are too many; list at most 16");
}

/// What YAML makes of a value that slipped out of its indentation.
#[test]
fn nulls() {
    insta::assert_snapshot!(why(json!({"ifName": null, "ips": null, "mac": null, "cniArgs": null, "config": null})), @"ifName: must be a string, not null; write a value, or remove the field. Also ips: must be a list, not null; write for example [10.0.0.5/24]. Also mac: must be a string, not null; write a value, or remove the field. Also cniArgs: must be an object, not null; write for example {KEY: value}. Also config: the CNI configuration is not an object but null; write a configuration list {cniVersion, name, plugins} or one plugin's {type, …}");
}

#[test]
fn mac_addresses() {
    insta::assert_snapshot!(why(json!({"mac": ""})), @r#"mac: "" is not a MAC address of six octets; write for example 02:00:00:00:00:01"#);
    insta::assert_snapshot!(why(json!({"mac": "02:00:00:00:00"})), @r#"mac: "02:00:00:00:00" is not a MAC address of six octets; write for example 02:00:00:00:00:01"#);
    insta::assert_snapshot!(why(json!({"mac": "02:00:00:00:00:00:00:01"})), @r#"mac: "02:00:00:00:00:00:00:01" is not a MAC address of six octets; write for example 02:00:00:00:00:01"#);
    insta::assert_snapshot!(why(json!({"mac": "02:00-00:00:00:01"})), @r#"mac: "02:00-00:00:00:01" is not a MAC address of six octets; write for example 02:00:00:00:00:01"#);
    insta::assert_snapshot!(why(json!({"mac": "+2:00:00:00:00:01"})), @r#"mac: "+2:00:00:00:00:01" is not a MAC address of six octets; write for example 02:00:00:00:00:01"#);
    insta::assert_snapshot!(why(json!({"mac": "00:00:00:00:00:00"})), @"mac: the MAC address is zero; write for example 02:00:00:00:00:01, or leave mac out");
    insta::assert_snapshot!(why(json!({"mac": "ff:ff:ff:ff:ff:ff"})), @r#"mac: "ff:ff:ff:ff:ff:ff" is a multicast MAC address; make its first octet even, for example 02"#);
    insta::assert_snapshot!(why(json!({"mac": {}})), @"mac: must be a string, not an object; write one string");
}

#[test]
fn cni_arguments() {
    insta::assert_snapshot!(why(json!({"cniArgs": ["a=b"]})), @"cniArgs: must be an object, not a list; write for example {KEY: value}");
    insta::assert_snapshot!(why(json!({"cniArgs": {"a=b": "c"}})), @r#"cniArgs: "a=b" is not the name of an argument; use at most 63 letters, digits, `.`, `_`, `-` or `/`"#);
    insta::assert_snapshot!(why(json!({"cniArgs": {"": "c"}})), @r#"cniArgs: "" is not the name of an argument; use at most 63 letters, digits, `.`, `_`, `-` or `/`"#);
    insta::assert_snapshot!(why(json!({"cniArgs": {"a": "b;c"}})), @r#"cniArgs.a: the value "b;c" contains `;`, `=` or a control character; remove it: CNI_ARGS has no way to escape it"#);
    insta::assert_snapshot!(why(json!({"cniArgs": {"a": "b=c"}})), @r#"cniArgs.a: the value "b=c" contains `;`, `=` or a control character; remove it: CNI_ARGS has no way to escape it"#);
    insta::assert_snapshot!(why(json!({"cniArgs": {"a": "b\nc"}})), @r#"cniArgs.a: the value "b\nc" contains `;`, `=` or a control character; remove it: CNI_ARGS has no way to escape it"#);
    insta::assert_snapshot!(why(json!({"cniArgs": {"a": 1}})), @"cniArgs.a: must be a string, not a number; put the value in quotes");
    insta::assert_snapshot!(why(json!({"cniArgs": {"a": "x".repeat(257)}})), @"cniArgs.a: the value has 257 bytes; write at most 256 bytes");
    insta::assert_snapshot!(why(json!({"cniArgs": {"K8S_POD_NAME": "other"}})), @r#"cniArgs: the argument "K8S_POD_NAME" is set by the driver; remove it"#);
    insta::assert_snapshot!(why(json!({"cniArgs": {"IgnoreUnknown": "1"}})), @r#"cniArgs: the argument "IgnoreUnknown" is set by the driver; remove it"#);
    insta::assert_snapshot!(why(json!({"cniArgs": {"IP": "10.0.0.1"}})), @r#"cniArgs: the argument "IP" asks for addresses; use the field ips"#);
    insta::assert_snapshot!(why(json!({"cniArgs": {"MAC": "02:00:00:00:00:01"}})), @r#"cniArgs: the argument "MAC" asks for a MAC address; use the field mac"#);
    let many: serde_json::Map<_, _> = (0..17).map(|n| (format!("k{n}"), json!("v"))).collect();
    insta::assert_snapshot!(why(json!({ "cniArgs": many })), @"cniArgs: 17 arguments are too many; write at most 16");
}

#[test]
fn addresses_that_no_plugin_would_take() {
    let config = |plugin: Value| json!({"ips": ["10.0.0.5/24"], "config": plugin});
    ok(config(
        json!({"type": "macvlan", "ipam": {"type": "host-local"}}),
    ));
    ok(config(
        json!({"type": "own", "capabilities": {"ips": true}}),
    ));
    insta::assert_snapshot!(why(config(json!({"type": "macvlan"}))), @"config: no plugin of the network takes `ips`: there is no IPAM; add `ipam: {type: static}` to the plugin that makes the interface");
    insta::assert_snapshot!(why(config(json!({"type": "macvlan", "ipam": {}}))), @"config: no plugin of the network takes `ips`: there is no IPAM; add `ipam: {type: static}` to the plugin that makes the interface");
    insta::assert_snapshot!(why(config(json!({"type": "macvlan", "ipam": {"type": "dhcp"}}))), @"config: the IPAM plugin dhcp is not known to take `ips`; use static or host-local, or add `capabilities: {ips: true}` if the plugin does read them");
    insta::assert_snapshot!(why(json!({
        "ips": ["10.0.0.5/24", "fd00::5/64"],
        "config": {"type": "macvlan", "ipam": {"type": "host-local"}},
    })), @"config: the IPAM plugin host-local takes one address when Multus calls it, not 2; use the IPAM plugin static");
    insta::assert_snapshot!(why(json!({
        "mac": "02:00:00:00:00:01",
        "config": {"type": "ipvlan"},
    })), @"config: no plugin of the network takes a `mac`; use macvlan, bridge or tap, append the plugin tuning, or add `capabilities: {mac: true}` to the plugin that does read it");
}

#[test]
fn paths_are_bounded() {
    let deep = (0..20).fold(
        json!({"Type": 1}),
        |inner, _| json!({"\u{1b}".repeat(200): inner}),
    );
    let line = why(json!({"config": {"type": "macvlan", "x": deep}}));
    assert!(line.len() < 600, "{line}");
}

#[test]
fn all_problems_in_one_line_up_to_eight() {
    insta::assert_snapshot!(why(json!({"ifName": "lo", "mac": "x"})), @r#"ifName: lo is the loopback interface, which every pod has; choose a name such as net1, or leave ifName out for the next free netN. Also mac: "x" is not a MAC address of six octets; write for example 02:00:00:00:00:01"#);
    let many: Vec<_> = (0..12).collect();
    let line = why(json!({ "ips": many }));
    assert!(line.ends_with(" (and 4 more problems)"), "{line}");
    assert_eq!(line.matches("must be a string").count(), 8);
}

#[test]
fn size_is_bounded() {
    let fill = |bytes: usize| with(json!({"config": {"type": "macvlan", "x": "y".repeat(bytes)}}));
    let base = fill(0).to_string().len();
    assert!(parameters(&fill(MAX_PARAMETERS - base), &Policy::default()).is_ok());
    insta::assert_snapshot!(refused(&fill(MAX_PARAMETERS - base + 1)), @"the parameters are larger than 10240 bytes of JSON; shorten them, or move what several claims share into a DeviceClass");
}

#[test]
fn depth_is_bounded() {
    let nest = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    // The parameters' object, `config` and the plugin's `x` stand around it.
    ok(json!({"config": {"type": "macvlan", "x": nest(MAX_DEPTH - 1)}}));
    insta::assert_snapshot!(why(json!({"config": {"type": "macvlan", "x": nest(MAX_DEPTH)}})), @"config: objects and lists are nested more than 32 deep; flatten the configuration");
    insta::assert_snapshot!(why(json!({"config": {"type": "macvlan", "x": nest(120)}})), @"objects and lists are nested more than 34 deep; flatten the parameters");
}

/// Any hostile value in any place is refused with a bounded, printable line, or accepted;
/// nothing panics.
#[test]
fn hostile_values_everywhere() {
    let hostile = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1e308),
        json!(""),
        json!("\u{0}\u{7f}\u{202e}\r\n"),
        json!("💥".repeat(500)),
        json!("a".repeat(9000)),
        json!("../../../etc/passwd"),
        json!([]),
        json!([[], {}, null, "x"]),
        json!({"": ""}),
        json!({"\u{1b}]0;x\u{7}": {"Type": "x", "type": "y"}}),
        (0..100).fold(json!({}), |inner, _| json!({"type": inner, "plugins": [1]})),
    ];
    let places = [
        "/",
        "/apiVersion",
        "/kind",
        "/ifName",
        "/ips",
        "/ips/0",
        "/mac",
        "/cniArgs",
        "/cniArgs/a",
        "/config",
        "/config/cniVersion",
        "/config/name",
        "/config/plugins",
        "/config/plugins/0",
        "/config/plugins/0/type",
        "/config/plugins/0/ipam",
        "/config/plugins/0/ipam/type",
        "/config/plugins/0/capabilities",
        "/config/extra",
    ];
    for place in places {
        for value in &hostile {
            let mut tried = with(json!({
                "ifName": "net1", "ips": ["10.0.0.5/24"], "mac": "02:00:00:00:00:01",
                "cniArgs": {"a": "b"},
                "config": {"cniVersion": "1.0.0", "name": "n", "extra": 1, "plugins": [
                    {"type": "macvlan", "capabilities": {}, "ipam": {"type": "static"}},
                ]},
            }));
            let pointer = if place == "/" { "" } else { place };
            *tried.pointer_mut(pointer).expect(place) = value.clone();
            if let Err(error) = parameters(&tried, &Policy::default()) {
                let line = error.to_string();
                assert!(!error.problems.is_empty());
                assert!(line.len() < 8 * 1024, "{place}: {} bytes", line.len());
                assert!(!line.chars().any(char::is_control), "{place}: {line:?}");
                assert!(!line.contains('\u{202e}'), "{place}: {line:?}");
            }
        }
    }
}
