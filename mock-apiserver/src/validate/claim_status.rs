//! The rules of a ResourceClaim's status: who reserves it, what is allocated, and
//! what drivers report about the allocated devices.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;

use super::claim::{RequestNames, configuration, raw_extension, request_references};
use super::{Errors, FieldError, conditions, immutable, names, quoted, set};
use crate::object::{at, is_deleting, list, text};

/// Limits of resource.k8s.io/v1.
const RESERVED_FOR: usize = 256;
const RESULTS: usize = 32;
const CONFIGS: usize = 64;
const DEVICE_CONDITIONS: usize = 8;
const DATA_BYTES: usize = 10 * 1024;
const IPS: usize = 16;
const INTERFACE_NAME_BYTES: usize = 256;
const HARDWARE_ADDRESS_BYTES: usize = 128;

/// Checks who may use a claim, at most `limit`: only that differs between versions of the API.
fn reserved_for(errors: &mut Errors, reserved: &[Value]) {
    set(
        errors,
        "status.reservedFor",
        reserved,
        Some(RESERVED_FOR),
        |consumer| quoted(consumer, "uid"),
        |errors, path, consumer| {
            for field in ["resource", "name", "uid"] {
                if text(consumer, &[field]).is_empty() {
                    errors.push(FieldError::required(&format!("{path}.{field}"), ""));
                }
            }
        },
    );
}

/// Checks the new status of a claim against the old one.
pub(super) fn updated(errors: &mut Errors, old: &Value, new: &Value) {
    let known = RequestNames::of(at(new, &["spec", "devices"]));
    let status = at(new, &["status"]);
    let reserved = list(status, &["reservedFor"]);
    reserved_for(errors, reserved);

    let allocation = at(status, &["allocation"]);
    let allocated: BTreeSet<String> = list(allocation, &["devices", "results"])
        .iter()
        .map(device_id)
        .collect();
    set(
        errors,
        "status.devices",
        list(status, &["devices"]),
        None,
        |device| Some(device_id(device)),
        |errors, path, value| device(errors, path, value, &allocated),
    );

    if !reserved.is_empty() {
        if allocation.is_null() {
            let words = "may not be specified when `allocated` is not set";
            errors.push(FieldError::forbidden("status.reservedFor", words));
        } else if is_deleting(new) {
            let before = list(old, &["status", "reservedFor"]);
            if reserved.iter().any(|consumer| !before.contains(consumer)) {
                let words = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
                errors.push(FieldError::forbidden("status.reservedFor", words));
            }
        }
    }

    let old_allocation = at(old, &["status", "allocation"]);
    if !allocation.is_null() {
        if old_allocation.is_null() {
            allocation_result(errors, allocation, &known);
        } else {
            immutable(errors, "status.allocation", old_allocation, allocation);
        }
    }
}

/// What names an allocated device: driver, pool, device, and the share of it if there is one.
fn device_id(device: &Value) -> String {
    let id = format!(
        "{}/{}/{}",
        text(device, &["driver"]),
        text(device, &["pool"]),
        text(device, &["device"])
    );
    match text(device, &["shareID"]) {
        "" => id,
        share => format!("{id}/{share}"),
    }
}

fn allocation_result(errors: &mut Errors, allocation: &Value, known: &RequestNames<'_>) {
    set(
        errors,
        "status.allocation.devices.results",
        list(allocation, &["devices", "results"]),
        Some(RESULTS),
        |_| None::<String>,
        |errors, path, result| {
            known.check(
                errors,
                &format!("{path}.request"),
                text(result, &["request"]),
            );
            names::driver(errors, &format!("{path}.driver"), text(result, &["driver"]));
            names::pool(errors, &format!("{path}.pool"), text(result, &["pool"]));
            names::label(errors, &format!("{path}.device"), text(result, &["device"]));
            share_id(errors, path, result);
        },
    );
    set(
        errors,
        "status.allocation.devices.config",
        list(allocation, &["devices", "config"]),
        Some(CONFIGS),
        |_| None::<String>,
        |errors, path, config| {
            let source = text(config, &["source"]);
            let source_path = format!("{path}.source");
            if source.is_empty() {
                errors.push(FieldError::required(&source_path, ""));
            } else if !["FromClass", "FromClaim"].contains(&source) {
                let supported = ["FromClaim", "FromClass"];
                errors.push(FieldError::not_supported(
                    &source_path,
                    &source.into(),
                    &supported,
                ));
            }
            request_references(errors, path, config, known);
            configuration(errors, path, config);
        },
    );
}

fn share_id(errors: &mut Errors, path: &str, value: &Value) {
    let Some(share) = at(value, &["shareID"]).as_str() else {
        return;
    };
    let normal = share.len() == 36
        && uuid::Uuid::try_parse(share).is_ok_and(|uuid| uuid.hyphenated().to_string() == share);
    if !normal {
        let words = "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase \
hexadecimal characters";
        errors.push(FieldError::invalid(
            &format!("{path}.shareID"),
            &share.into(),
            words,
        ));
    }
}

fn device(errors: &mut Errors, path: &str, device: &Value, allocated: &BTreeSet<String>) {
    names::driver(errors, &format!("{path}.driver"), text(device, &["driver"]));
    names::pool(errors, &format!("{path}.pool"), text(device, &["pool"]));
    names::label(errors, &format!("{path}.device"), text(device, &["device"]));
    share_id(errors, path, device);
    let id = device_id(device);
    if !allocated.contains(&id) {
        errors.push(FieldError::invalid_shown(
            path,
            &id,
            "must be an allocated device in the claim",
        ));
    }
    let path_of_conditions = format!("{path}.conditions");
    let found = list(device, &["conditions"]);
    if found.len() > DEVICE_CONDITIONS {
        errors.push(FieldError::too_many(
            &path_of_conditions,
            found.len(),
            DEVICE_CONDITIONS,
        ));
    }
    conditions::list(errors, &path_of_conditions, found);
    if let Some(data) = device.get("data")
        && !data.is_null()
    {
        raw_extension(errors, &format!("{path}.data"), data, DATA_BYTES);
    }
    network_data(
        errors,
        &format!("{path}.networkData"),
        at(device, &["networkData"]),
    );
}

fn network_data(errors: &mut Errors, path: &str, data: &Value) {
    if text(data, &["interfaceName"]).len() > INTERFACE_NAME_BYTES {
        errors.push(FieldError::too_long(
            &format!("{path}.interfaceName"),
            INTERFACE_NAME_BYTES,
        ));
    }
    if text(data, &["hardwareAddress"]).len() > HARDWARE_ADDRESS_BYTES {
        errors.push(FieldError::too_long(
            &format!("{path}.hardwareAddress"),
            HARDWARE_ADDRESS_BYTES,
        ));
    }
    set(
        errors,
        &format!("{path}.ips"),
        list(data, &["ips"]),
        Some(IPS),
        |ip| Some(format!("{:?}", ip.as_str().unwrap_or_default())),
        interface_address,
    );
}

/// An address with its prefix length, in the one form that is canonical.
fn interface_address(errors: &mut Errors, path: &str, value: &Value) {
    let Some(canonical) = canonical_address(value.as_str().unwrap_or_default()) else {
        let words = "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)";
        errors.push(FieldError::invalid(path, value, words));
        return;
    };
    if value != canonical.as_str() {
        errors.push(FieldError::invalid(
            path,
            value,
            format!("must be in canonical form ({canonical:?})"),
        ));
    }
}

fn canonical_address(text: &str) -> Option<String> {
    let (address, bits) = text.split_once('/')?;
    if bits.is_empty() || bits.len() > 3 || !bits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut bits: u8 = bits.parse().ok()?;
    // Leading zeros are read as decimal here and then refused as not canonical.
    let plain: Vec<&str> = address.split('.').map(trim_zeros).collect();
    let address: IpAddr = address.parse().or_else(|_| plain.join(".").parse()).ok()?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    if bits > width {
        return None;
    }
    let plain = address.to_canonical();
    if plain.is_ipv4() && width == 128 {
        bits = bits.checked_sub(96)?;
    }
    Some(format!("{plain}/{bits}"))
}

fn trim_zeros(part: &str) -> &str {
    match part.trim_start_matches('0') {
        "" if !part.is_empty() => "0",
        trimmed => trimmed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claim(devices: Value) -> Value {
        json!({
            "metadata": {"name": "c"},
            "spec": {"devices": {"requests": [{"name": "net"}]}},
            "status": {
                "allocation": {"devices": {"results": [
                    {"request": "net", "driver": "d.example", "pool": "node-a", "device": "slot-0"},
                ]}},
                "devices": devices,
            },
        })
    }

    fn words(devices: Value) -> String {
        let old = claim(json!([]));
        let mut errors = Errors::new();
        updated(&mut errors, &old, &claim(devices));
        errors
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn entry(more: Value) -> Value {
        let mut entry = json!({"driver": "d.example", "pool": "node-a", "device": "slot-0"});
        for (key, value) in more.as_object().unwrap() {
            entry[key] = value.clone();
        }
        entry
    }

    #[test]
    fn a_full_report_passes() {
        let report = entry(json!({
            "data": {"cniVersion": "1.1.0"},
            "networkData": {"interfaceName": "net1", "hardwareAddress": "02:00:00:00:00:01",
                "ips": ["192.0.2.1/24", "2001:db8::1/64"]},
            "conditions": [{"type": "Ready", "status": "True", "reason": "Attached",
                "lastTransitionTime": "2026-01-02T03:04:05Z"}],
        }));
        assert_eq!(words(json!([report])), "");
    }

    #[test]
    fn only_allocated_devices_and_each_once() {
        let other = json!({"driver": "d.example", "pool": "node-a", "device": "slot-1"});
        let list = json!([entry(json!({})), entry(json!({})), other]);
        insta::assert_snapshot!(words(list), @"
        status.devices[2]: Invalid value: d.example/node-a/slot-1: must be an allocated device in the claim
        status.devices[1]: Duplicate value: d.example/node-a/slot-0
        ");
    }

    #[test]
    fn data_is_an_object_of_bounded_size() {
        insta::assert_snapshot!(words(json!([entry(json!({"data": [1]}))])), @r#"status.devices[0].data: Invalid value: "<value omitted>": must be a valid JSON object"#);
        let large = json!({"x": "y".repeat(10 * 1024)});
        insta::assert_snapshot!(words(json!([entry(json!({"data": large}))])), @"status.devices[0].data: Too long: may not be more than 10240 bytes");
    }

    #[test]
    fn network_data_is_bounded_and_canonical() {
        let data = json!({
            "interfaceName": "n".repeat(257),
            "hardwareAddress": "h".repeat(129),
            "ips": ["192.0.2.1", "192.0.2.01/24", "2001:DB8::1/64", "::ffff:192.0.2.9/120", "192.0.2.1/33",
                "192.0.2.7/24", "192.0.2.7/24"],
        });
        insta::assert_snapshot!(words(json!([entry(json!({"networkData": data}))])), @r#"
        status.devices[0].networkData.interfaceName: Too long: may not be more than 256 bytes
        status.devices[0].networkData.hardwareAddress: Too long: may not be more than 128 bytes
        status.devices[0].networkData.ips[0]: Invalid value: "192.0.2.1": must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)
        status.devices[0].networkData.ips[1]: Invalid value: "192.0.2.01/24": must be in canonical form ("192.0.2.1/24")
        status.devices[0].networkData.ips[2]: Invalid value: "2001:DB8::1/64": must be in canonical form ("2001:db8::1/64")
        status.devices[0].networkData.ips[3]: Invalid value: "::ffff:192.0.2.9/120": must be in canonical form ("192.0.2.9/24")
        status.devices[0].networkData.ips[4]: Invalid value: "192.0.2.1/33": must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)
        status.devices[0].networkData.ips[6]: Duplicate value: "192.0.2.7/24"
        "#);
        let many: Vec<String> = (0..17).map(|n| format!("192.0.2.{n}/24")).collect();
        insta::assert_snapshot!(words(json!([entry(json!({"networkData": {"ips": many}}))])), @"status.devices[0].networkData.ips: Too many: 17: must have at most 16 items");
    }

    #[test]
    fn conditions_are_counted() {
        let many: Vec<Value> = (0..9)
            .map(|n| {
                json!({"type": format!("T{n}"), "status": "True", "reason": "R",
                    "lastTransitionTime": "2026-01-02T03:04:05Z"})
            })
            .collect();
        insta::assert_snapshot!(words(json!([entry(json!({"conditions": many}))])), @"status.devices[0].conditions: Too many: 9: must have at most 8 items");
    }

    #[test]
    fn an_allocation_stays_and_reservations_need_one() {
        let old = claim(json!([]));
        let mut new = old.clone();
        new["status"]["allocation"]["devices"]["results"][0]["device"] = "slot-9".into();
        let mut errors = Errors::new();
        updated(&mut errors, &old, &new);
        let mut unallocated = claim(json!([]));
        unallocated["status"] =
            json!({"reservedFor": [{"resource": "pods", "name": "p", "uid": "u"}, {}]});
        updated(&mut errors, &old, &unallocated);
        let words: Vec<_> = errors.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(words.join("\n"), @r#"
        status.allocation: Invalid value: {"devices":{"results":[{"request":"net","driver":"d.example","pool":"node-a","device":"slot-9"}]}}: field is immutable
        status.reservedFor[1].resource: Required value
        status.reservedFor[1].name: Required value
        status.reservedFor[1].uid: Required value
        status.reservedFor: Forbidden: may not be specified when `allocated` is not set
        "#);
    }
}
