//! The server-side apply of one claim's `status.devices` (KEP-4817), within the API's limits.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::DeviceState;
use crate::claim::DeviceKey;
use crate::event::ClaimRef;
use crate::kube::failure::clipped;

/// The longest `data` of a device, in bytes of JSON.
pub(super) const MAX_DATA: usize = 10 * 1024;

/// The longest message of a condition, in bytes.
const MAX_MESSAGE: usize = 32 * 1024;

/// The longest reason of a condition, in bytes.
const MAX_REASON: usize = 1024;

/// The most addresses of one device.
const MAX_IPS: usize = 16;

/// What one device's status is to say, and since when it is ready or not.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Device {
    pub(super) state: DeviceState,
    pub(super) since: Timestamp,
}

/// The whole desired status of one claim, as far as it is ours. The UID makes the API
/// server refuse it when another claim has taken the name.
pub(super) fn body(claim: &ClaimRef, driver: &str, devices: &BTreeMap<DeviceKey, Device>) -> Value {
    let devices: Vec<Value> = devices
        .iter()
        .map(|(key, device)| entry(driver, key, device))
        .collect();
    json!({
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": { "name": claim.name, "namespace": claim.namespace, "uid": claim.uid },
        "status": { "devices": devices },
    })
}

fn entry(driver: &str, key: &DeviceKey, device: &Device) -> Value {
    let mut entry = Map::new();
    entry.insert("driver".into(), driver.into());
    entry.insert("pool".into(), key.pool.clone().into());
    entry.insert("device".into(), key.device.clone().into());
    if let Some(share) = &key.share_id {
        entry.insert("shareID".into(), share.clone().into());
    }
    let since = device.since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let condition = |status: &str, reason: &str, message: String| {
        json!([{
            "type": "Ready",
            "status": status,
            "reason": reason,
            "message": message,
            "lastTransitionTime": since,
        }])
    };
    match &device.state {
        DeviceState::Ready {
            interface,
            mac,
            ips,
            cni_result,
        } => {
            let message = format!("{interface} is in the pod");
            entry.insert("conditions".into(), condition("True", "Attached", message));
            entry.insert("data".into(), data(cni_result));
            let mut network = Map::new();
            network.insert("interfaceName".into(), interface.clone().into());
            if let Some(mac) = mac {
                network.insert("hardwareAddress".into(), mac.clone().into());
            }
            network.insert("ips".into(), addresses(ips).into());
            entry.insert("networkData".into(), network.into());
        }
        DeviceState::Failed { reason, message } => {
            let message = clipped(message.clone(), MAX_MESSAGE);
            entry.insert(
                "conditions".into(),
                condition("False", checked_reason(reason), message),
            );
        }
    }
    entry.into()
}

/// A condition's reason must be one word; another one would make the API server refuse
/// the whole status.
fn checked_reason(reason: &str) -> &str {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ',' | ':');
    if reason.len() <= MAX_REASON
        && reason.starts_with(|c: char| c.is_ascii_alphabetic())
        && reason.chars().all(inner)
        && reason.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
    {
        reason
    } else {
        "Failed"
    }
}

/// Unique, in the canonical form, at most as many as the API takes.
fn addresses(ips: &[IpNet]) -> Vec<String> {
    let mut list: Vec<String> = Vec::new();
    for ip in ips {
        let text = canonical(*ip).to_string();
        if !list.contains(&text) && list.len() < MAX_IPS {
            list.push(text);
        }
    }
    list
}

/// The API refuses an IPv4 address in the form of an IPv6 one.
fn canonical(ip: IpNet) -> IpNet {
    match (ip.addr(), ip.prefix_len().checked_sub(96)) {
        (IpAddr::V6(v6), Some(prefix)) => v6
            .to_ipv4_mapped()
            .and_then(|v4| IpNet::new(v4.into(), prefix).ok())
            .unwrap_or(ip),
        _ => ip,
    }
}

/// The CNI result if it fits; else what a reader needs most of it, marked `truncated`.
fn data(result: &Value) -> Value {
    if result.is_object() && encoded_len(result) <= MAX_DATA {
        return result.clone();
    }
    let mut short = Map::new();
    short.insert("truncated".into(), true.into());
    if let Some(version) = result.get("cniVersion").filter(|v| encoded_len(v) <= 64) {
        short.insert("cniVersion".into(), version.clone());
    }
    for (key, fields) in [
        ("interfaces", &["name", "mac", "sandbox"][..]),
        ("ips", &["interface", "address", "gateway"]),
        ("routes", &["dst", "gw"]),
    ] {
        let Some(Value::Array(list)) = result.get(key) else {
            continue;
        };
        let mut kept: Vec<Value> = Vec::new();
        for item in list {
            let item: Map<String, Value> = fields
                .iter()
                .filter_map(|field| Some(((*field).to_owned(), item.get(*field)?.clone())))
                .collect();
            kept.push(item.into());
            short.insert(key.into(), kept.clone().into());
            if encoded_len(&Value::Object(short.clone())) > MAX_DATA {
                kept.pop();
                short.insert(key.into(), kept.into());
                break;
            }
        }
    }
    short.into()
}

/// The length of `value` as the API server writes it: its encoder escapes what HTML
/// would misread, six bytes each.
fn encoded_len(value: &Value) -> usize {
    let text = value.to_string();
    let escaped = text
        .chars()
        .filter(|c| matches!(c, '<' | '>' | '&'))
        .count();
    let separators = text
        .chars()
        .filter(|c| matches!(c, '\u{2028}' | '\u{2029}'))
        .count();
    text.len() + escaped * 5 + separators * 3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(state: DeviceState) -> Value {
        let key = DeviceKey {
            pool: "p".into(),
            device: "d".into(),
            share_id: Some("s".into()),
        };
        let since = Timestamp::UNIX_EPOCH;
        entry("drv", &key, &Device { state, since })
    }

    fn ready(ips: &[&str], cni_result: Value) -> Value {
        one(DeviceState::Ready {
            interface: "net1".into(),
            mac: None,
            ips: ips.iter().map(|ip| ip.parse().unwrap()).collect(),
            cni_result,
        })
    }

    #[test]
    fn addresses_are_unique_canonical_and_not_too_many() {
        let entry = ready(
            &[
                "10.0.0.5/24",
                "2001:DB8::0:5/64",
                "10.0.0.5/24",
                "::ffff:10.0.0.6/120",
            ],
            json!({}),
        );
        assert_eq!(
            entry["networkData"],
            json!({ "interfaceName": "net1", "ips": ["10.0.0.5/24", "2001:db8::5/64", "10.0.0.6/24"] })
        );
        assert_eq!(entry["shareID"], "s");
        let many: Vec<String> = (0..20).map(|i| format!("10.0.0.{i}/24")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let ips = ready(&many, json!({}))["networkData"]["ips"].clone();
        assert_eq!(ips.as_array().unwrap().len(), MAX_IPS);
    }

    #[test]
    fn a_long_result_keeps_what_a_reader_needs() {
        let fits = json!({ "cniVersion": "1.1.0", "x": "y".repeat(MAX_DATA - 29) });
        assert_eq!(fits.to_string().len(), MAX_DATA);
        assert_eq!(data(&fits), fits);
        let long = json!({
            "cniVersion": "1.1.0",
            "interfaces": [{ "name": "net1", "mac": "02:00:00:00:00:01", "junk": "y".repeat(MAX_DATA) }],
            "ips": [{ "address": "10.0.0.5/24", "interface": 0 }],
            "dns": { "search": ["z".repeat(100)] },
        });
        assert_eq!(
            data(&long),
            json!({
                "truncated": true,
                "cniVersion": "1.1.0",
                "interfaces": [{ "name": "net1", "mac": "02:00:00:00:00:01" }],
                "ips": [{ "interface": 0, "address": "10.0.0.5/24" }],
            })
        );
    }

    #[test]
    fn data_is_a_short_object_whatever_the_plugin_said() {
        let interface = json!({ "name": "n".repeat(100), "sandbox": "/run/netns/x" });
        let hostile = [
            json!({ "interfaces": vec![interface; 1000], "ips": "none" }),
            json!({ "cniVersion": "v".repeat(20_000), "routes": [1, [], null] }),
            json!({ "x": "<".repeat(MAX_DATA / 6 + 1) }),
            json!([1, 2, 3]),
            json!("text"),
            Value::Null,
        ];
        for result in hostile {
            let data = data(&result);
            assert!(encoded_len(&data) <= MAX_DATA);
            assert_eq!(data["truncated"], true);
        }
    }

    #[test]
    fn a_condition_is_one_that_the_server_takes() {
        let failed = |reason: &str, message: &str| {
            one(DeviceState::Failed {
                reason: reason.into(),
                message: message.into(),
            })["conditions"][0]
                .clone()
        };
        assert_eq!(failed("NoUplink", "m")["reason"], "NoUplink");
        for bad in ["", "no uplink", "1st", "A:", "ä"] {
            assert_eq!(failed(bad, "m")["reason"], "Failed");
        }
        let long = failed("A", &"é".repeat(MAX_MESSAGE));
        assert!(long["message"].as_str().unwrap().len() <= MAX_MESSAGE);
        assert_eq!(long["lastTransitionTime"], "1970-01-01T00:00:00Z");
    }
}
