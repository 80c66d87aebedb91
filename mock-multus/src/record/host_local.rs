//! host-local: addresses from ranges, remembered for the node until DEL.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::args;
use super::range::{Range, RangeSet, cidr};
use super::{Ipam, IpamResult, PluginCall};
use crate::go_json::wrong_kind;

/// Where host-local keeps a network's addresses when the configuration does not say.
const DEFAULT_DATA_DIR: &str = "/var/lib/cni/networks";

/// Every network's addresses on the node, by data directory and network name.
#[derive(Debug, Default)]
pub(super) struct Stores(BTreeMap<(String, String), Store>);

/// One network's addresses.
#[derive(Debug, Default)]
struct Store {
    /// Who has an address: container id and interface name.
    reserved: BTreeMap<IpAddr, (String, String)>,
    /// By range set.
    last_reserved: BTreeMap<usize, IpAddr>,
}

impl Stores {
    /// Network, address, container id and interface name of all that is reserved.
    pub(super) fn reserved(&self) -> impl Iterator<Item = (&str, IpAddr, &str, &str)> {
        self.0.iter().flat_map(|((_, network), store)| {
            store
                .reserved
                .iter()
                .map(move |(ip, (id, if_name))| (&network[..], *ip, &id[..], &if_name[..]))
        })
    }
}

impl Store {
    fn reserve(&mut self, call: &PluginCall<'_>, ip: IpAddr, set: usize) -> bool {
        if self.reserved.contains_key(&ip) {
            return false;
        }
        let owner = (call.container_id.to_owned(), call.if_name.to_owned());
        self.reserved.insert(ip, owner);
        self.last_reserved.insert(set, ip);
        true
    }

    fn release(&mut self, call: &PluginCall<'_>) {
        self.reserved.retain(|_, owner| !is_of(owner, call));
    }
}

fn is_of((id, if_name): &(String, String), call: &PluginCall<'_>) -> bool {
    id == call.container_id && if_name == call.if_name
}

/// The configuration, read and checked.
struct Config {
    store: (String, String),
    sets: Vec<RangeSet>,
    requested: Vec<IpAddr>,
    routes: Value,
}

impl Config {
    fn read(config: &Value, call: &PluginCall<'_>) -> Result<Self, String> {
        let ipam = &config["ipam"];
        let requested = requested(config, call.args)?;

        // Ranges asked for at run time come first, then the old form, then `ranges`.
        let mut sets = Vec::new();
        let lists = [&config["runtimeConfig"]["ipRanges"], &ipam["ranges"]];
        for (list, field) in lists.into_iter().zip(["ipRanges", "ranges"]) {
            if field == "ranges" {
                sets.extend(
                    Range::read(ipam)?
                        .filter(|range| range.subnet.is_some())
                        .map(|range| vec![range]),
                );
            }
            for set in elements(list, field)? {
                let mut ranges = Vec::new();
                for range in elements(set, field)? {
                    ranges.push(Range::read(range)?.unwrap_or_default());
                }
                sets.push(ranges);
            }
        }
        if sets.is_empty() {
            return Err("no IP ranges specified".into());
        }
        let mut checked: Vec<RangeSet> = Vec::new();
        for (index, set) in sets.into_iter().enumerate() {
            let set =
                RangeSet::check(set).map_err(|e| format!("invalid range set {index}: {e}"))?;
            checked.push(set);
        }
        for (index, one) in checked.iter().enumerate() {
            if let Some(other) = checked[index + 1..].iter().position(|s| one.overlaps(s)) {
                let other = index + 1 + other;
                return Err(format!("range set {index} overlaps with {other}"));
            }
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let data_dir = match text(&ipam["dataDir"]) {
            empty if empty.is_empty() => DEFAULT_DATA_DIR.to_owned(),
            given => given,
        };
        Ok(Self {
            store: (data_dir, text(&config["name"])),
            sets: checked,
            requested,
            routes: ipam["routes"].clone(),
        })
    }
}

/// Addresses asked for in `CNI_ARGS`, in `args.cni.ips` and in `runtimeConfig.ips`, each once.
fn requested(config: &Value, env_args: &str) -> Result<Vec<IpAddr>, String> {
    let mut requested = Vec::new();
    let [ip] = args::load(env_args, ["IP"])?;
    if let Some(text) = ip.filter(|text| !text.is_empty()) {
        let ip = plain_or_cidr(&text).ok_or_else(|| {
            format!("ARGS: error parsing value of pair \"IP={text}\": invalid IP address {text}")
        })?;
        requested.push(ip);
    }
    for list in [
        &config["args"]["cni"]["ips"],
        &config["runtimeConfig"]["ips"],
    ] {
        for item in elements(list, "ips")? {
            let text = item
                .as_str()
                .ok_or_else(|| wrong_kind(item, "ips", "ip.IP"))?;
            let ip = plain_or_cidr(text).ok_or_else(|| format!("invalid IP address {text}"))?;
            if !requested.contains(&ip) {
                requested.push(ip);
            }
        }
    }
    Ok(requested)
}

fn plain_or_cidr(text: &str) -> Option<IpAddr> {
    let ip = match cidr(text) {
        Ok(net) => net.addr(),
        Err(_) => text.parse().ok()?,
    };
    Some(ip.to_canonical())
}

fn elements<'a>(list: &'a Value, field: &str) -> Result<&'a [Value], String> {
    match list {
        Value::Null => Ok(&[]),
        Value::Array(items) => Ok(items),
        other => Err(wrong_kind(other, field, "[]interface {}")),
    }
}

impl Ipam for Stores {
    fn add(&mut self, config: &Value, call: &PluginCall<'_>) -> Result<IpamResult, String> {
        let config = Config::read(config, call)?;
        let store = self.0.entry(config.store).or_default();
        let mut wanted = config.requested;
        let mut ips = Vec::new();
        for (index, set) in config.sets.iter().enumerate() {
            let asked = wanted.iter().position(|ip| set.range_for(*ip).is_some());
            let asked = asked.map(|at| wanted.remove(at));
            match allocate(store, set, index, asked, call) {
                Ok(ip) => ips.push(ip),
                Err(error) => {
                    if !ips.is_empty() {
                        store.release(call);
                    }
                    return Err(format!("failed to allocate for range {index}: {error}"));
                }
            }
        }
        if !wanted.is_empty() {
            store.release(call);
            let rest: Vec<String> = wanted.iter().map(IpAddr::to_string).collect();
            return Err(format!(
                "failed to allocate all requested IPs: {}",
                rest.join(" ")
            ));
        }
        Ok(IpamResult {
            ips,
            routes: config.routes,
        })
    }

    fn check(&mut self, config: &Value, call: &PluginCall<'_>) -> Result<(), String> {
        let config = Config::read(config, call)?;
        let store = self.0.entry(config.store).or_default();
        if store.reserved.values().any(|owner| is_of(owner, call)) {
            return Ok(());
        }
        Err(format!(
            "host-local: Failed to find address added by container {}",
            call.container_id
        ))
    }

    fn del(&mut self, config: &Value, call: &PluginCall<'_>) -> Result<(), String> {
        let config = Config::read(config, call)?;
        if let Some(store) = self.0.get_mut(&config.store) {
            store.release(call);
        }
        Ok(())
    }
}

fn allocate(
    store: &mut Store,
    set: &RangeSet,
    index: usize,
    asked: Option<IpAddr>,
    call: &PluginCall<'_>,
) -> Result<(IpNet, Option<IpAddr>), String> {
    if let Some(ip) = asked {
        let range = set
            .range_for(ip)
            .ok_or_else(|| format!("{ip} not in range set {set}"))?;
        if ip == range.gateway {
            return Err(format!("requested ip {ip} is subnet's gateway"));
        }
        if !store.reserve(call, ip, index) {
            return Err(format!(
                "requested IP address {ip} is not available in range set {set}"
            ));
        }
        return Ok((with_prefix(ip, range), Some(range.gateway)));
    }
    let owned = store
        .reserved
        .iter()
        .filter(|(_, owner)| is_of(owner, call));
    for (ip, _) in owned {
        if set.range_for(*ip).is_some() {
            return Err(format!(
                "{ip} has been allocated to {}, duplicate allocation is not allowed",
                call.container_id
            ));
        }
    }
    let last = store.last_reserved.get(&index).copied();
    for (ip, range) in set.walk(last) {
        if store.reserve(call, ip, index) {
            return Ok((with_prefix(ip, range), Some(range.gateway)));
        }
    }
    Err(format!("no IP addresses available in range set: {set}"))
}

fn with_prefix(ip: IpAddr, range: &Range) -> IpNet {
    IpNet::new(ip, range.subnet.prefix_len()).unwrap_or(range.subnet)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call(id: &str) -> PluginCall<'_> {
        PluginCall {
            command: "ADD",
            container_id: id,
            netns: "",
            if_name: "net1",
            args: "",
        }
    }

    fn config(ipam: Value) -> Value {
        json!({"name": "m", "ipam": ipam})
    }

    fn add(stores: &mut Stores, config: &Value, id: &str) -> Result<Vec<String>, String> {
        let result = stores.add(config, &call(id))?;
        Ok(result.ips.iter().map(|(ip, _)| ip.to_string()).collect())
    }

    #[test]
    fn addresses_go_round_and_come_back() {
        let mut stores = Stores::default();
        let config = config(json!({"subnet": "10.1.1.0/29"}));
        for (id, ip) in [("a", "10.1.1.2/29"), ("b", "10.1.1.3/29")] {
            assert_eq!(add(&mut stores, &config, id).unwrap(), [ip]);
        }
        stores.del(&config, &call("a")).unwrap();
        stores.del(&config, &call("a")).unwrap();
        for (id, ip) in [
            ("c", "10.1.1.4/29"),
            ("d", "10.1.1.5/29"),
            ("e", "10.1.1.6/29"),
            ("f", "10.1.1.2/29"),
        ] {
            assert_eq!(
                add(&mut stores, &config, id).unwrap(),
                [ip],
                "after the last one"
            );
        }
        insta::assert_snapshot!(add(&mut stores, &config, "g").unwrap_err(), @"failed to allocate for range 0: no IP addresses available in range set: 10.1.1.1-10.1.1.6");
        insta::assert_snapshot!(add(&mut stores, &config, "b").unwrap_err(), @"failed to allocate for range 0: 10.1.1.3 has been allocated to b, duplicate allocation is not allowed");
        assert!(stores.check(&config, &call("b")).is_ok());
        insta::assert_snapshot!(stores.check(&config, &call("z")).unwrap_err(), @"host-local: Failed to find address added by container z");
    }

    #[test]
    fn every_set_gives_one_address() {
        let mut stores = Stores::default();
        let config = config(json!({
            "ranges": [[{"subnet": "10.1.1.0/24", "gateway": "10.1.1.254"}], [{"subnet": "fd00::/64"}]],
            "routes": [{"dst": "0.0.0.0/0"}]
        }));
        let result = stores.add(&config, &call("a")).unwrap();
        assert_eq!(
            result.ips,
            [
                (
                    "10.1.1.1/24".parse().unwrap(),
                    Some("10.1.1.254".parse().unwrap())
                ),
                (
                    "fd00::2/64".parse().unwrap(),
                    Some("fd00::1".parse().unwrap())
                ),
            ]
        );
        assert_eq!(result.routes, json!([{"dst": "0.0.0.0/0"}]));
        assert_eq!(stores.reserved().count(), 2);
        stores.del(&config, &call("a")).unwrap();
        assert_eq!(stores.reserved().count(), 0);
    }

    #[test]
    fn a_later_set_that_is_empty_frees_the_earlier_address() {
        let mut stores = Stores::default();
        let config = config(json!({
            "ranges": [[{"subnet": "10.1.1.0/24"}], [{"subnet": "10.2.2.0/30"}]]
        }));
        add(&mut stores, &config, "a").unwrap();
        insta::assert_snapshot!(add(&mut stores, &config, "b").unwrap_err(), @"failed to allocate for range 1: no IP addresses available in range set: 10.2.2.1-10.2.2.2");
        assert_eq!(stores.reserved().count(), 2, "those of a");
    }

    #[test]
    fn requested_addresses_are_given_or_refused() {
        let mut stores = Stores::default();
        let mut config = config(json!({"subnet": "10.1.1.0/24"}));
        let mut ask = |args: &str, from_args: Value, runtime: Value, id: &str| {
            config["args"] = json!({"cni": {"ips": from_args}});
            config["runtimeConfig"] = json!({"ips": runtime});
            let call = PluginCall { args, ..call(id) };
            let result = stores.add(&config, &call)?;
            Ok::<_, String>(result.ips[0].0.to_string())
        };
        let none = Value::Null;
        // The same address on two ways is one request.
        let both = ask(
            "IgnoreUnknown=1;IP=10.1.1.40",
            none.clone(),
            json!(["10.1.1.40/24"]),
            "a",
        );
        assert_eq!(both.unwrap(), "10.1.1.40/24");
        assert_eq!(
            ask("", json!(["10.1.1.41"]), none.clone(), "b").unwrap(),
            "10.1.1.41/24"
        );
        assert_eq!(
            ask("", none.clone(), none.clone(), "c").unwrap(),
            "10.1.1.42/24"
        );
        insta::assert_snapshot!(ask("IP=10.1.1.40", none.clone(), none.clone(), "d").unwrap_err(), @"failed to allocate for range 0: requested IP address 10.1.1.40 is not available in range set 10.1.1.1-10.1.1.254");
        insta::assert_snapshot!(ask("IP=10.1.1.1", none.clone(), none.clone(), "d").unwrap_err(), @"failed to allocate for range 0: requested ip 10.1.1.1 is subnet's gateway");
        insta::assert_snapshot!(ask("IP=10.9.9.9", none.clone(), none.clone(), "d").unwrap_err(), @"failed to allocate all requested IPs: 10.9.9.9");
        insta::assert_snapshot!(ask("IP=10.1.1.7,10.1.1.8", none.clone(), none.clone(), "d").unwrap_err(), @r#"ARGS: error parsing value of pair "IP=10.1.1.7,10.1.1.8": invalid IP address 10.1.1.7,10.1.1.8"#);
        insta::assert_snapshot!(ask("", none.clone(), json!(["x"]), "d").unwrap_err(), @"invalid IP address x");
        assert_eq!(stores.reserved().count(), 3);
    }

    #[test]
    fn bad_configurations_are_refused() {
        let refused = |ipam: Value| add(&mut Stores::default(), &config(ipam), "a").unwrap_err();
        insta::assert_snapshot!(refused(json!({})), @"no IP ranges specified");
        insta::assert_snapshot!(refused(json!({"ranges": [[]]})), @"invalid range set 0: empty range set");
        insta::assert_snapshot!(refused(json!({"ranges": [[{"subnet": "10.1.1.0/24"}], [{"subnet": "10.1.1.0/25"}]]})), @"range set 0 overlaps with 1");
        insta::assert_snapshot!(refused(json!({"subnet": "10.1.1.0"})), @"invalid CIDR address: 10.1.1.0");
        insta::assert_snapshot!(refused(json!({"ranges": "10.1.1.0/24"})), @"json: cannot unmarshal string into Go struct field ranges of type []interface {}");
    }
}
