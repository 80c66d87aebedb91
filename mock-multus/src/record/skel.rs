//! What every plugin does before its own work: environment, input and version are checked.

use ndra_core::cni::{CniError, is_name};
use serde_json::{Value, json};

use super::{Ipam, PluginCall, Record, fixed, internal, macvlan};
use crate::go_json;

/// As the plugins print it for VERSION.
const VERSIONS: [&str; 7] = [
    "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0",
];

const INCOMPATIBLE: u32 = 1;
const UNKNOWN_CONTAINER: u32 = 3;
const ENVIRONMENT: u32 = 4;
const DECODING: u32 = 6;
const CONFIGURATION: u32 = 7;

pub(super) fn run(
    record: &Record,
    plugin: &str,
    call: &PluginCall<'_>,
    stdin: &[u8],
) -> Result<Option<Value>, CniError> {
    check_environment(call)?;
    if call.command == "VERSION" {
        return Ok(Some(
            json!({"cniVersion": "1.1.0", "supportedVersions": VERSIONS}),
        ));
    }
    let config = go_json::parse(stdin).map_err(|e| {
        error(
            DECODING,
            format!("error unmarshall network config: {e}"),
            "",
        )
    })?;
    check_name(&config)?;
    let version = macvlan::config_version(&config);
    let least = match call.command {
        "CHECK" => "0.4.0",
        "STATUS" | "GC" => "1.1.0",
        _ => VERSIONS[0],
    };
    let age = |wanted| VERSIONS.iter().position(|v| *v == wanted);
    match (age(version), age(least)) {
        (None, _) => {
            let list: Vec<String> = VERSIONS.iter().map(|v| format!("{v:?}")).collect();
            let details = format!(
                "config is {version:?}, plugin supports [{}]",
                list.join(" ")
            );
            return Err(error(INCOMPATIBLE, "incompatible CNI versions", &details));
        }
        (Some(own), Some(least)) if own < least => {
            let text = format!("config version does not allow {}", call.command);
            return Err(error(INCOMPATIBLE, text, ""));
        }
        _ => {}
    }
    match (plugin, call.command) {
        ("macvlan", _) => macvlan::run(record, call, &config),
        (_, "STATUS") => Ok(None),
        ("static", _) => run_ipam(&mut fixed::Static, call, &config),
        _ => run_ipam(&mut record.state.node().stores, call, &config),
    }
}

/// An IPAM plugin run by itself, as libcni would in a chain.
fn run_ipam(
    ipam: &mut dyn Ipam,
    call: &PluginCall<'_>,
    config: &Value,
) -> Result<Option<Value>, CniError> {
    if !config["ipam"].is_object() {
        return Err(internal("IPAM config missing 'ipam' key"));
    }
    match call.command {
        "ADD" => {
            let result = ipam.add(config, call).map_err(internal)?;
            let result = macvlan::ipam_result(result).map_err(internal)?;
            macvlan::in_config_version(&result, config).map(Some)
        }
        "CHECK" => ipam.check(config, call).map_err(internal).map(|()| None),
        _ => ipam.del(config, call).map_err(internal).map(|()| None),
    }
}

fn check_environment(call: &PluginCall<'_>) -> Result<(), CniError> {
    let attached = matches!(call.command, "ADD" | "CHECK" | "DEL");
    let mut missing = Vec::new();
    let mut require = |name, value: &str, needed: bool| {
        if needed && value.is_empty() {
            missing.push(name);
        }
    };
    require("CNI_COMMAND", call.command, true);
    if attached && !call.container_id.is_empty() && !is_name(call.container_id) {
        let text = "invalid characters in containerID";
        return Err(error(ENVIRONMENT, text, call.container_id));
    }
    require("CNI_CONTAINERID", call.container_id, attached);
    require("CNI_NETNS", call.netns, attached && call.command != "DEL");
    if attached && !call.if_name.is_empty() {
        check_if_name(call.if_name)?;
    }
    require("CNI_IFNAME", call.if_name, attached);
    if !missing.is_empty() {
        let text = format!("required env variables [{}] missing", missing.join(","));
        return Err(error(ENVIRONMENT, text, ""));
    }
    if !attached && !matches!(call.command, "GC" | "STATUS" | "VERSION") {
        let text = format!("unknown CNI_COMMAND: {}", call.command);
        return Err(error(ENVIRONMENT, text, ""));
    }
    Ok(())
}

/// The rules of libcni, which plugins check again.
pub(super) fn check_container_id(id: &str) -> Result<(), CniError> {
    if id.is_empty() {
        return Err(error(UNKNOWN_CONTAINER, "missing containerID", ""));
    }
    if !is_name(id) {
        let text = "invalid characters in containerID";
        return Err(error(ENVIRONMENT, text, id));
    }
    Ok(())
}

pub(super) fn check_network_name(name: &str) -> Result<(), CniError> {
    if name.is_empty() {
        return Err(error(CONFIGURATION, "missing network name:", ""));
    }
    if !is_name(name) {
        let text = "invalid characters found in network name";
        return Err(error(CONFIGURATION, text, name));
    }
    Ok(())
}

pub(super) fn check_if_name(name: &str) -> Result<(), CniError> {
    let refuse = |text, details| Err(error(ENVIRONMENT, text, details));
    if name.is_empty() {
        return refuse("interface name is empty", "");
    }
    if name.len() > ndra_core::cni::MAX_IF_NAME {
        return refuse(
            "interface name is too long",
            "interface name should be less than 16 characters",
        );
    }
    if matches!(name, "." | "..") {
        return refuse("interface name is . or ..", "");
    }
    if name.contains(|c: char| matches!(c, '/' | ':') || c.is_whitespace()) {
        return refuse(
            "interface name contains / or : or whitespace characters",
            "",
        );
    }
    Ok(())
}

fn check_name(config: &Value) -> Result<(), CniError> {
    match &config["name"] {
        Value::Null => Err(error(CONFIGURATION, "missing network name", "")),
        Value::String(name) if name.is_empty() => {
            Err(error(CONFIGURATION, "missing network name", ""))
        }
        Value::String(name) => check_network_name(name),
        other => {
            let text = go_json::wrong_kind(other, ".name", "string");
            let text = format!("error unmarshall network config: {text}");
            Err(error(DECODING, text, ""))
        }
    }
}

fn error(code: u32, msg: impl Into<String>, details: &str) -> CniError {
    CniError {
        code,
        msg: msg.into(),
        details: details.to_owned(),
    }
}
