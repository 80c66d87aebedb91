//! The `static` IPAM plugin: the addresses that configuration or arguments name.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::args;
use super::range::cidr;
use super::{Ipam, IpamResult, PluginCall};

/// It remembers nothing.
pub(super) struct Static;

type Address = (IpNet, Option<IpAddr>);

fn load(config: &Value, call: &PluginCall<'_>) -> Result<IpamResult, String> {
    let ipam = &config["ipam"];
    let mut environment = from_environment(call.args)?;
    // What is asked for in the configuration's arguments or at run time replaces its
    // addresses; what the environment asks for comes on top of them.
    let asked = [
        &config["args"]["cni"]["ips"],
        &config["runtimeConfig"]["ips"],
    ]
    .into_iter()
    .filter_map(Value::as_array)
    .rfind(|list| !list.is_empty());
    let ips = match asked {
        Some(asked) => asked
            .iter()
            .map(|item| Ok((net(item, "an entry in the 'ips' field is NOT")?, None)))
            .collect::<Result<_, String>>()?,
        None => {
            let mut own = Vec::new();
            for address in ipam["addresses"].as_array().into_iter().flatten() {
                let gateway = match address["gateway"].as_str() {
                    None | Some("") => None,
                    Some(text) => Some(ip(text).ok_or(format!("invalid IP address: {text}"))?),
                };
                let net = net(&address["address"], "the 'address' field is expected to be")?;
                own.push((net, gateway));
            }
            own.append(&mut environment);
            own
        }
    };
    Ok(IpamResult {
        ips,
        routes: ipam["routes"].clone(),
    })
}

/// `IP` and `GATEWAY` of `CNI_ARGS`, each a list with commas.
fn from_environment(cni_args: &str) -> Result<Vec<Address>, String> {
    let [ips, gateways] = args::load(cni_args, ["IP", "GATEWAY"])?;
    let mut addresses: Vec<Address> = Vec::new();
    for text in ips
        .iter()
        .filter(|t| !t.is_empty())
        .flat_map(|t| t.split(','))
    {
        let text = Value::from(text.trim());
        addresses.push((net(&text, "the 'ip' field is expected to be")?, None));
    }
    for text in gateways
        .iter()
        .filter(|t| !t.is_empty())
        .flat_map(|t| t.split(','))
    {
        let gateway = ip(text.trim()).ok_or(format!("invalid gateway address: {text}"))?;
        for (net, of) in &mut addresses {
            if net.contains(&gateway) {
                *of = Some(gateway);
            }
        }
    }
    Ok(addresses)
}

fn net(text: &Value, complaint: &str) -> Result<IpNet, String> {
    let text = text.as_str().unwrap_or_default();
    cidr(text).map_err(|_| format!("{complaint} in CIDR notation, got: '{text}'"))
}

fn ip(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

impl Ipam for Static {
    fn add(&mut self, config: &Value, call: &PluginCall<'_>) -> Result<IpamResult, String> {
        load(config, call)
    }

    fn check(&mut self, config: &Value, call: &PluginCall<'_>) -> Result<(), String> {
        load(config, call)?;
        if config["prevResult"].is_null() {
            return Err("Required prevResult missing".into());
        }
        Ok(())
    }

    fn del(&mut self, _: &Value, _: &PluginCall<'_>) -> Result<(), String> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn add(config: Value, args: &str) -> Result<Vec<String>, String> {
        let call = PluginCall {
            command: "ADD",
            container_id: "a",
            netns: "",
            if_name: "net1",
            args,
        };
        let result = Static.add(&config, &call)?;
        let shown = |(ip, gateway): &Address| match gateway {
            Some(gateway) => format!("{ip} via {gateway}"),
            None => ip.to_string(),
        };
        Ok(result.ips.iter().map(shown).collect())
    }

    fn own() -> Value {
        json!({"addresses": [{"address": "10.1.1.11/24", "gateway": "10.1.1.1"}, {"address": "fd00::11/64"}]})
    }

    #[test]
    fn addresses_come_from_four_places() {
        let from_own = add(json!({"ipam": own()}), "").unwrap();
        assert_eq!(from_own, ["10.1.1.11/24 via 10.1.1.1", "fd00::11/64"]);
        let args = "IgnoreUnknown=1;IP=10.2.2.2/24, 10.3.3.3/24;GATEWAY=10.3.3.1";
        let from_env = add(json!({"ipam": {}}), args).unwrap();
        assert_eq!(from_env, ["10.2.2.2/24", "10.3.3.3/24 via 10.3.3.1"]);
        let with_args = json!({"ipam": own(), "args": {"cni": {"ips": ["10.4.4.4/24"]}}});
        assert_eq!(add(with_args.clone(), args).unwrap(), ["10.4.4.4/24"]);
        let mut at_run_time = with_args;
        at_run_time["runtimeConfig"] = json!({"ips": ["10.5.5.5/24"]});
        assert_eq!(add(at_run_time, args).unwrap(), ["10.5.5.5/24"]);
    }

    #[test]
    fn bad_addresses_are_refused() {
        let refused = |config: Value, args: &str| add(config, args).unwrap_err();
        insta::assert_snapshot!(refused(json!({"ipam": {"addresses": [{"address": "10.1.1.1"}]}}), ""), @"the 'address' field is expected to be in CIDR notation, got: '10.1.1.1'");
        insta::assert_snapshot!(refused(json!({"ipam": own()}), "IP=10.1.1.1"), @"the 'ip' field is expected to be in CIDR notation, got: '10.1.1.1'");
        insta::assert_snapshot!(refused(json!({"ipam": own()}), "IP=10.1.1.1/24;GATEWAY=x"), @"invalid gateway address: x");
        insta::assert_snapshot!(refused(json!({"ipam": own(), "runtimeConfig": {"ips": ["10.1.1.1"]}}), ""), @"an entry in the 'ips' field is NOT in CIDR notation, got: '10.1.1.1'");
    }
}
