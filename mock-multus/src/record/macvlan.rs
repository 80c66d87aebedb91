//! macvlan: an interface with its own hardware address on one of the node's links.

use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;

use ipnet::IpNet;
use ndra_core::cni::{CniError, CniInterface, CniIp, CniResult};
use serde_json::{Map, Value};

use super::link::{Master, Wanted};
use super::state::{Netns, Node};
use super::{Ipam, IpamResult, PluginCall, Record, args, fixed, internal, not_found};
use crate::go_json::wrong_kind;

pub(super) fn run(
    record: &Record,
    call: &PluginCall<'_>,
    config: &Value,
) -> Result<Option<Value>, CniError> {
    match call.command {
        "ADD" => {
            let result = add(record, call, config).map_err(internal)?;
            in_config_version(&result, config).map(Some)
        }
        "CHECK" => check(record, call, config).map_err(internal).map(|()| None),
        "DEL" => del(record, call, config).map_err(internal).map(|()| None),
        _ => {
            ipam_type(config).map_err(internal)?;
            Ok(None)
        }
    }
}

/// The part of the configuration that an ADD or CHECK reads first.
struct Config {
    master: Master,
    mode: String,
    mac: Option<String>,
    mtu: Option<u32>,
}

impl Config {
    fn read(record: &Record, call: &PluginCall<'_>, config: &Value) -> Result<Self, String> {
        let text = |key: &str| match &config[key] {
            Value::Null => Ok(String::new()),
            Value::String(text) => Ok(text.clone()),
            other => Err(format!(
                "failed to load netconf: {}",
                wrong_kind(other, &format!("NetConf.{key}"), "string")
            )),
        };
        let (master, mode, mac) = (text("master")?, text("mode")?, text("mac")?);
        let mtu = match &config["mtu"] {
            Value::Null => 0,
            number => number.as_i64().ok_or_else(|| {
                let text = wrong_kind(number, "NetConf.mtu", "int");
                format!("failed to load netconf: {text}")
            })?,
        };
        let master = record.master(&master)?;
        let mtu = match u32::try_from(mtu) {
            Ok(mtu) if mtu <= master.mtu => (mtu > 0).then_some(mtu),
            _ => {
                let most = master.mtu;
                return Err(format!(
                    "invalid MTU {mtu}, must be [0, master MTU({most})]"
                ));
            }
        };
        let [from_env] = args::load(call.args, ["MAC"])?;
        let at_run_time = config["runtimeConfig"]["mac"].as_str().map(str::to_owned);
        let mac = [at_run_time, from_env, Some(mac)]
            .into_iter()
            .flatten()
            .find(|mac| !mac.is_empty());
        Ok(Self {
            master,
            mode,
            mac,
            mtu,
        })
    }

    fn check_mode(&self) -> Result<&str, String> {
        match &self.mode[..] {
            "" | "bridge" => Ok("bridge"),
            mode @ ("private" | "vepa" | "passthru") => Ok(mode),
            other => Err(format!("unknown macvlan mode: {other:?}")),
        }
    }
}

fn add(record: &Record, call: &PluginCall<'_>, config: &Value) -> Result<CniResult, String> {
    let own = Config::read(record, call, config)?;
    // The plugin prints the namespace that it has not got.
    let netns =
        Netns::open(call.netns).map_err(|e| format!("failed to open netns %!q(<nil>): {e}"))?;
    let mode = own.check_mode()?.to_owned();
    let mac = own.mac.as_deref().map(asked_mac).transpose()?;
    let wanted = Wanted {
        netns: &netns,
        name: call.if_name,
        mode: &mode,
        mac,
        mtu: own.mtu,
        container_id: call.container_id,
        network: config["name"].as_str().unwrap_or_default(),
    };
    let mac = record.make_link(&own.master, &wanted)?;
    // From here on a failure leaves the link behind, as the real plugin does.
    let mut result = CniResult::default();
    let answer = match find_ipam(&mut record.state.node(), config)? {
        Some(mut ipam) => Some(ipam.add(config, call)?),
        None => None,
    };
    if let Some(answer) = answer {
        result = ipam_result(answer)?;
        if result.ips.is_empty() {
            return Err("IPAM plugin returned missing IP config".into());
        }
        for ip in &mut result.ips {
            ip.interface = Some(0);
        }
    }
    if let Err(error) = record.set_up(&netns, call.if_name, &result) {
        // The address goes back, whatever that says; the link stays all the same.
        if let Ok(Some(mut ipam)) = find_ipam(&mut record.state.node(), config) {
            let _ = ipam.del(config, call);
        }
        return Err(error);
    }
    result.interfaces = vec![CniInterface {
        name: call.if_name.to_owned(),
        mac,
        sandbox: call.netns.to_owned(),
        rest: Map::new(),
    }];
    if !config["dns"].is_null() {
        result.dns = serde_json::from_value(config["dns"].clone())
            .map_err(|e| format!("failed to load netconf: {e}"))?;
    }
    Ok(result)
}

/// Succeeds as often as it is asked, and when the namespace is gone.
fn del(record: &Record, call: &PluginCall<'_>, config: &Value) -> Result<(), String> {
    if let Some(mut ipam) = find_ipam(&mut record.state.node(), config)? {
        ipam.del(config, call)?;
    }
    match Netns::open(call.netns) {
        Ok(netns) => record.delete_link(&netns, call.if_name),
        Err(_) => Ok(()),
    }
}

fn check(record: &Record, call: &PluginCall<'_>, config: &Value) -> Result<(), String> {
    let own = Config::read(record, call, config)?;
    let netns = Netns::open(call.netns)
        .map_err(|e| format!("failed to open netns {:?}: {e}", call.netns))?;
    if let Some(mut ipam) = find_ipam(&mut record.state.node(), config)? {
        ipam.check(config, call)?;
    }
    if config["prevResult"].is_null() {
        return Err("required prevResult missing".into());
    }
    let version = config_version(config);
    let previous = CniResult::from_value(config["prevResult"].clone(), version)
        .map_err(|e| format!("could not parse prevResult: {e}"))?;
    let mut interfaces = previous.interfaces.iter();
    let inside = interfaces.rfind(|i| i.name == call.if_name && i.sandbox == call.netns);
    let Some(inside) = inside else {
        return Err(format!(
            "sandbox in prevResult  doesn't match configured netns: {}",
            call.netns
        ));
    };
    let Some(link) = record.see(&netns, &inside.name) else {
        return Err(format!(
            "container Interface name in prevResult: {} not found",
            inside.name
        ));
    };
    let mode = own.check_mode()?;
    if link.mode != mode {
        return Err(format!(
            "container macvlan mode {} does not match expected value: {mode}",
            link.mode
        ));
    }
    if !inside.mac.is_empty() && inside.mac != link.mac {
        return Err(format!(
            "interface {} Mac {} doesn't match container Mac: {}",
            inside.name, inside.mac, link.mac
        ));
    }
    match previous
        .ips
        .iter()
        .find(|ip| !link.ips.contains(&ip.address))
    {
        Some(ip) => Err(format!(
            "Failed to match addr {} on interface {}",
            ip.address, call.if_name
        )),
        None => Ok(()),
    }
}

/// The IPAM plugin that the configuration names; `None` for a link without addresses.
fn find_ipam<'a>(node: &'a mut Node, config: &Value) -> Result<Option<Box<dyn Ipam + 'a>>, String> {
    Ok(match ipam_type(config)? {
        None => None,
        Some("static") => Some(Box::new(fixed::Static)),
        Some(_) => Some(Box::new(&mut node.stores)),
    })
}

fn ipam_type(config: &Value) -> Result<Option<&str>, String> {
    match &config["ipam"]["type"] {
        Value::Null => Ok(None),
        Value::String(kind) => match &kind[..] {
            "" => Ok(None),
            "host-local" | "static" => Ok(Some(kind)),
            other => Err(not_found(other)),
        },
        other => Err(format!(
            "failed to load netconf: {}",
            wrong_kind(other, "NetConf.ipam.type", "string")
        )),
    }
}

impl<I: Ipam> Ipam for &mut I {
    fn add(&mut self, config: &Value, call: &PluginCall<'_>) -> Result<IpamResult, String> {
        (**self).add(config, call)
    }

    fn check(&mut self, config: &Value, call: &PluginCall<'_>) -> Result<(), String> {
        (**self).check(config, call)
    }

    fn del(&mut self, config: &Value, call: &PluginCall<'_>) -> Result<(), String> {
        (**self).del(config, call)
    }
}

pub(super) fn ipam_result(ipam: IpamResult) -> Result<CniResult, String> {
    let ip = |(address, gateway): (IpNet, Option<IpAddr>)| CniIp {
        address,
        gateway,
        interface: None,
        rest: Map::new(),
    };
    let routes = match ipam.routes {
        Value::Null => Vec::new(),
        routes => serde_json::from_value(routes).map_err(|e| e.to_string())?,
    };
    Ok(CniResult {
        ips: ipam.ips.into_iter().map(ip).collect(),
        routes,
        ..CniResult::default()
    })
}

/// The version that a plugin answers in.
pub(super) fn config_version(config: &Value) -> &str {
    match config["cniVersion"].as_str() {
        None | Some("") => "0.1.0",
        Some(version) => version,
    }
}

/// Results of 0.1.0 and 0.2.0 have no interfaces. They lose them here, too, but come in
/// the form of 0.3.0, since nobody here reads the old one.
pub(super) fn in_config_version(result: &CniResult, config: &Value) -> Result<Value, CniError> {
    let version = config_version(config);
    let converted = match version {
        "0.1.0" | "0.2.0" => {
            let mut old = result.clone();
            old.interfaces.clear();
            for ip in &mut old.ips {
                ip.interface = None;
            }
            old.to_version("0.3.0")
        }
        version => result.to_version(version),
    };
    let mut printed = converted.map_err(|e| internal(e.to_string()))?;
    if version.starts_with("0.") && printed["dns"].is_null() {
        // Results of that age always have it.
        printed["dns"] = Value::Object(Map::new());
    }
    Ok(printed)
}

/// A locally administered unicast address, another one every time.
pub(super) fn any_mac() -> [u8; 6] {
    let random = std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish();
    let mut bytes: [u8; 6] = [0; 6];
    bytes.copy_from_slice(&random.to_le_bytes()[..6]);
    bytes[0] = bytes[0] & 0xfe | 0x02;
    bytes
}

/// Reads an address in one of the three notations. What no interface can have is refused
/// where the interface is made.
fn asked_mac(text: &str) -> Result<[u8; 6], String> {
    parse_mac(text).ok_or_else(|| {
        format!("invalid args {text} for MAC addr: address {text}: invalid MAC address")
    })
}

/// `02:00:…`, `02-00-…` or `0200.0000.0001`.
pub(crate) fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let groups: Vec<&str> = text.split([':', '-', '.']).collect();
    let size = match groups.len() {
        6 => 2,
        3 => 4,
        _ => return None,
    };
    let separator = text.chars().find(|c| !c.is_ascii_hexdigit())?;
    let one_kind = text.matches(separator).count() == groups.len() - 1;
    let right_kind = (separator == '.') == (size == 4);
    let digits: String = groups.concat();
    let sound = groups.iter().all(|group| group.len() == size)
        && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    if !one_kind || !right_kind || !sound {
        return None;
    }
    let mut bytes = [0; 6];
    for (byte, at) in bytes.iter_mut().zip((0..12).step_by(2)) {
        *byte = u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}
