//! The single fields of opaque parameters: what a kernel, a plugin or CNI_ARGS can take.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::problem::Problem;
use crate::shown::{as_string, kind, quoted};

/// IFNAMSIZ without the final zero byte.
const MAX_IF_NAME: usize = 15;
/// `status.devices[].networkData.ips` holds no more (KEP-4817).
const MAX_IPS: usize = 16;
const MAX_ARGS: usize = 16;
const MAX_ARG_KEY: usize = 63;
const MAX_ARG_VALUE: usize = 256;

/// The name of an interface to be made.
pub(super) fn if_name(value: &Value, path: &str, problems: &mut Vec<Problem>) -> Option<String> {
    const MEND: &str = "choose a name such as net1, or leave ifName out for the next free netN";
    let name = string(value, path, problems)?;
    let shown = quoted(name);
    let message = if name.is_empty() {
        "the interface name is empty".to_owned()
    } else if name == "lo" {
        "lo is the loopback interface, which every pod has".to_owned()
    } else if name == "eth0" {
        "eth0 is the pod's own primary interface".to_owned()
    } else if name == "." || name == ".." {
        format!("the interface name {shown} is a directory to the kernel")
    } else if name == "all" || name == "default" {
        format!("the kernel keeps the interface name {shown} for itself")
    } else if name.contains('/') {
        format!("the interface name {shown} contains a `/`")
    } else if name.contains(':') {
        format!("the interface name {shown} contains a `:`")
    } else if name.contains('%') {
        format!("the interface name {shown} contains a `%`")
    } else if name.chars().any(char::is_whitespace) {
        format!("the interface name {shown} contains white space")
    } else if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        format!("the interface name {shown} is not printable ASCII")
    } else if name.len() > MAX_IF_NAME {
        format!(
            "the interface name {shown} has {} bytes, the kernel takes at most {MAX_IF_NAME}",
            name.len()
        )
    } else {
        return Some(name.to_owned());
    };
    problems.push(Problem::new(path, message, MEND));
    None
}

/// Addresses with their prefix lengths.
pub(super) fn ips(value: &Value, path: &str, problems: &mut Vec<Problem>) -> Option<Vec<IpNet>> {
    let Value::Array(list) = value else {
        problems.push(Problem::new(
            path,
            format!("must be a list, not {}", kind(value)),
            "write for example [10.0.0.5/24]",
        ));
        return None;
    };
    if list.len() > MAX_IPS {
        problems.push(Problem::new(
            path,
            format!("{} addresses are too many", list.len()),
            format!("list at most {MAX_IPS}"),
        ));
        return None;
    }
    let before = problems.len();
    let mut seen = BTreeSet::new();
    let mut nets = Vec::with_capacity(list.len());
    for (index, value) in list.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let Some(text) = string(value, &path, problems) else {
            continue;
        };
        match ip(text) {
            Ok(net) if !seen.insert(net.addr()) => problems.push(Problem::new(
                path,
                format!("the address {} is listed twice", net.addr()),
                "list it once",
            )),
            Ok(net) => nets.push(net),
            Err((message, mend)) => problems.push(Problem::new(path, message, mend)),
        }
    }
    (problems.len() == before).then_some(nets)
}

fn ip(text: &str) -> Result<IpNet, (String, String)> {
    let shown = quoted(text);
    if let Ok(addr) = text.parse::<IpAddr>() {
        let prefix = if addr.is_ipv4() { 24 } else { 64 };
        return Err((
            format!("{shown} has no prefix length"),
            format!("write for example {addr}/{prefix}"),
        ));
    }
    let net: IpNet = text.parse().map_err(|_| {
        (
            format!("{shown} is not an address in CIDR form"),
            "write for example 10.0.0.5/24 or fd00::5/64".to_owned(),
        )
    })?;
    let addr = net.addr();
    let host = || "write the address of a host in it".to_owned();
    if addr.is_unspecified() {
        return Err((format!("{shown} is the unspecified address"), host()));
    }
    if addr.is_multicast() {
        return Err((
            format!("{shown} is a multicast address"),
            "write a unicast address".into(),
        ));
    }
    if net.prefix_len() == 0 {
        return Err((
            format!("the prefix of {shown} covers every address"),
            "write the prefix length of the network that the address belongs to".into(),
        ));
    }
    match net {
        IpNet::V4(v4) if v4.addr().is_broadcast() => {
            Err((format!("{shown} is the broadcast address"), host()))
        }
        // With 31 and 32 bits there is no network's address (RFC 3021). IPv6 has none that
        // the kernel would refuse.
        IpNet::V4(v4) if v4.prefix_len() <= 30 && v4.addr() == v4.network() => Err((
            format!("{shown} is the address of a network, not of a host"),
            host(),
        )),
        IpNet::V6(v6) if v6.addr().to_ipv4_mapped().is_some() => Err((
            format!("{shown} is an IPv4 address written as IPv6"),
            "write it as IPv4".into(),
        )),
        net => Ok(net),
    }
}

/// A unicast MAC address, in lower case with colons.
pub(super) fn mac(value: &Value, path: &str, problems: &mut Vec<Problem>) -> Option<String> {
    let text = string(value, path, problems)?;
    let shown = quoted(text);
    let (message, mend) = match octets(text) {
        None => (
            format!("{shown} is not a MAC address of six octets"),
            "write for example 02:00:00:00:00:01",
        ),
        Some([0, 0, 0, 0, 0, 0]) => (
            "the MAC address is zero".to_owned(),
            "write for example 02:00:00:00:00:01, or leave mac out",
        ),
        Some([first, ..]) if first & 1 == 1 => (
            format!("{shown} is a multicast MAC address"),
            "make its first octet even, for example 02",
        ),
        Some([a, b, c, d, e, f]) => {
            return Some(format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"));
        }
    };
    problems.push(Problem::new(path, message, mend));
    None
}

fn octets(text: &str) -> Option<[u8; 6]> {
    let separator = if text.contains('-') { '-' } else { ':' };
    let mut parts = text.split(separator);
    let mut octets = [0; 6];
    for octet in &mut octets {
        let part = parts.next()?;
        if part.len() != 2 || !part.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        *octet = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(octets)
}

/// Further CNI arguments: a map of strings, fit for `CNI_ARGS`.
pub(super) fn cni_args(
    value: &Value,
    path: &str,
    problems: &mut Vec<Problem>,
) -> Option<BTreeMap<String, String>> {
    let Value::Object(map) = value else {
        problems.push(Problem::new(
            path,
            format!("must be an object, not {}", kind(value)),
            "write for example {KEY: value}",
        ));
        return None;
    };
    if map.len() > MAX_ARGS {
        problems.push(Problem::new(
            path,
            format!("{} arguments are too many", map.len()),
            format!("write at most {MAX_ARGS}"),
        ));
        return None;
    }
    let before = problems.len();
    let mut args = BTreeMap::new();
    for (key, value) in map {
        if let Some((message, mend)) = arg_key(key) {
            problems.push(Problem::new(path, message, mend));
            continue;
        }
        let path = format!("{path}.{key}");
        let Some(value) = string(value, &path, problems) else {
            continue;
        };
        if value.len() > MAX_ARG_VALUE {
            problems.push(Problem::new(
                path,
                format!("the value has {} bytes", value.len()),
                format!("write at most {MAX_ARG_VALUE} bytes"),
            ));
        } else if value.contains([';', '=']) || value.chars().any(char::is_control) {
            problems.push(Problem::new(
                path,
                format!(
                    "the value {} contains `;`, `=` or a control character",
                    quoted(value)
                ),
                "remove it: CNI_ARGS has no way to escape it",
            ));
        } else {
            args.insert(key.clone(), value.to_owned());
        }
    }
    (problems.len() == before).then_some(args)
}

fn arg_key(key: &str) -> Option<(String, String)> {
    let shown = quoted(key);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
    if key.is_empty() || key.len() > MAX_ARG_KEY || !key.bytes().all(plain) {
        return Some((
            format!("{shown} is not the name of an argument"),
            format!("use at most {MAX_ARG_KEY} letters, digits, `.`, `_`, `-` or `/`"),
        ));
    }
    let lower = key.to_ascii_lowercase();
    // With these a claim could pass for another pod.
    if lower.starts_with("k8s_") || lower == "ignoreunknown" {
        return Some((
            format!("the argument {shown} is set by the driver"),
            "remove it".into(),
        ));
    }
    match lower.as_str() {
        "ip" | "ips" => Some((
            format!("the argument {shown} asks for addresses"),
            "use the field ips".into(),
        )),
        "mac" => Some((
            format!("the argument {shown} asks for a MAC address"),
            "use the field mac".into(),
        )),
        _ => None,
    }
}

/// A string, or a problem.
pub(super) fn string<'a>(
    value: &'a Value,
    path: &str,
    problems: &mut Vec<Problem>,
) -> Option<&'a str> {
    let text = value.as_str();
    if text.is_none() {
        problems.push(Problem::new(
            path,
            format!("must be a string, not {}", kind(value)),
            as_string(value),
        ));
    }
    text
}
