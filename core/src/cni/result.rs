//! CNI results: read from any spoken version into one form, and written back as wanted.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::version;

/// The outcome of an ADD, normalized to version 1.1.0.
///
/// Fields that ndra does not know are kept and written out again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CniResult {
    /// Always 1.1.0, whichever version was read.
    #[serde(rename = "cniVersion", default)]
    pub cni_version: Latest,
    /// Interfaces made, on the host and in the container.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub interfaces: Vec<CniInterface>,
    /// Addresses assigned.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub ips: Vec<CniIp>,
    /// Routes added.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub routes: Vec<CniRoute>,
    /// Name servers that the network offers.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "CniDns::is_empty"
    )]
    pub dns: CniDns,
    /// Keys that ndra does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// The version of every [`CniResult`], [`version::LATEST`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latest;

impl Serialize for Latest {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(version::LATEST)
    }
}

impl<'de> Deserialize<'de> for Latest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(from).map(|_| Self)
    }
}

/// One interface of a result.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CniInterface {
    /// Its name.
    pub name: String,
    /// Its hardware address.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub mac: String,
    /// The network namespace's path; empty for an interface on the host.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub sandbox: String,
    /// Keys that ndra does not know (`mtu`, `socketPath`, `pciID` of 1.1.0).
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// One address of a result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CniIp {
    /// The address with its prefix length.
    pub address: IpNet,
    /// The gateway of its subnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Index into [`CniResult::interfaces`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<usize>,
    /// Keys that ndra does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// One route of a result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CniRoute {
    /// The destination.
    pub dst: IpNet,
    /// The next hop; the gateway of the address when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gw: Option<IpAddr>,
    /// Keys that ndra does not know (`mtu`, `priority`, `table` … of 1.1.0).
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// Name resolution as a result offers it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CniDns {
    /// Servers in order of preference.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub domain: String,
    /// Search domains.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Resolver options.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

impl CniDns {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Why a result is refused.
#[derive(Debug, thiserror::Error)]
pub enum ResultError {
    /// It has another form than the specification's.
    #[error("the CNI result is not of the specification's form: {0}")]
    Form(#[from] serde_json::Error),
    /// A version whose format is not spoken.
    #[error(
        "the CNI result has cniVersion `{}`, spoken are {}",
        .0.chars().take(32).collect::<String>(), version::SUPPORTED.join(", ")
    )]
    Version(String),
}

/// Go writes `null` for empty lists.
fn or_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl CniResult {
    /// Reads a plugin's or Multus's JSON. A result that names no version has that of the
    /// configuration, `config_version`.
    pub fn from_slice(json: &[u8], config_version: &str) -> Result<Self, ResultError> {
        Self::from_value(serde_json::from_slice(json)?, config_version)
    }

    /// As [`CniResult::from_slice`], from JSON already read.
    pub fn from_value(json: Value, config_version: &str) -> Result<Self, ResultError> {
        // A plugin that has nothing to say may print `null`.
        let json = match json {
            Value::Null => Value::Object(Map::new()),
            other => other,
        };
        let read = match json.get("cniVersion").and_then(Value::as_str) {
            Some(own) if !own.is_empty() => own.to_owned(),
            _ => config_version.to_owned(),
        };
        if !version::is_supported(&read) {
            return Err(ResultError::Version(read));
        }
        let mut result: Self = serde_json::from_value(json)?;
        for ip in &mut result.ips {
            // Told by the address itself since 1.0.0.
            ip.rest.shift_remove("version");
        }
        Ok(result)
    }

    /// The JSON form of `wanted`, one of [`version::SUPPORTED`].
    pub fn to_version(&self, wanted: &str) -> Result<Value, ResultError> {
        if !version::is_supported(wanted) {
            return Err(ResultError::Version(wanted.to_owned()));
        }
        let mut json = serde_json::to_value(self)?;
        json["cniVersion"] = wanted.into();
        if version::at_least(wanted, "1.0.0") == Some(false) {
            let ips = json.get_mut("ips").and_then(Value::as_array_mut);
            for (json, ip) in ips.into_iter().flatten().zip(&self.ips) {
                json["version"] = match ip.address {
                    IpNet::V4(_) => "4".into(),
                    IpNet::V6(_) => "6".into(),
                };
            }
        }
        Ok(json)
    }

    /// The interface in the container: the one with a sandbox that is called `if_name`,
    /// or the first with a sandbox.
    pub fn container_interface(&self, if_name: &str) -> Option<&CniInterface> {
        let mut inside = self.interfaces.iter().filter(|i| !i.sandbox.is_empty());
        let first = inside.clone().next();
        inside.find(|i| i.name == if_name).or(first)
    }

    /// Addresses of the interface `if_name` in the container. Where the result does not
    /// say whose an address is, it counts.
    pub fn addresses(&self, if_name: &str) -> Vec<IpNet> {
        self.ips_of(if_name).map(|ip| ip.address).collect()
    }

    /// The gateway of the first address of `if_name` that has one.
    pub fn gateway(&self, if_name: &str) -> Option<IpAddr> {
        self.ips_of(if_name).find_map(|ip| ip.gateway)
    }

    fn ips_of<'a>(&'a self, if_name: &'a str) -> impl Iterator<Item = &'a CniIp> {
        self.ips.iter().filter(move |ip| {
            match ip.interface.and_then(|index| self.interfaces.get(index)) {
                Some(owner) => !owner.sandbox.is_empty() && owner.name == if_name,
                None => true,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn old() -> Value {
        json!({
            "cniVersion": "0.3.1",
            "interfaces": [
                {"name": "veth1", "mac": "02:00:00:00:00:01"},
                {"name": "net1", "mac": "02:00:00:00:00:02", "sandbox": "/run/netns/a", "mtu": 1400}
            ],
            "ips": [
                {"version": "4", "interface": 1, "address": "10.1.1.2/24", "gateway": "10.1.1.1"},
                {"version": "6", "interface": 1, "address": "fd00::2/64"},
                {"version": "4", "interface": 0, "address": "10.9.9.9/32"}
            ],
            "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.1.1", "priority": 7}],
            "dns": {"nameservers": ["10.1.1.1"]},
            "vendor": {"kept": true}
        })
    }

    #[test]
    fn old_versions_are_normalized_and_written_back() {
        let result = CniResult::from_value(old(), "0.3.1").unwrap();
        let new = result.to_version("1.1.0").unwrap();
        assert_eq!(new["cniVersion"], "1.1.0");
        assert_eq!(new["ips"][0].get("version"), None);
        assert_eq!(new["vendor"], json!({"kept": true}));
        assert_eq!(new["interfaces"][1]["mtu"], 1400);
        assert_eq!(result.to_version("0.3.1").unwrap(), old());
        assert_eq!(
            CniResult::from_value(new, "1.1.0").unwrap(),
            result,
            "reading what was written"
        );
    }

    #[test]
    fn the_container_side_is_found() {
        let result = CniResult::from_value(old(), "0.3.1").unwrap();
        let inside = result.container_interface("net1").unwrap();
        assert_eq!(
            (inside.mac.as_str(), inside.name.as_str()),
            ("02:00:00:00:00:02", "net1")
        );
        assert_eq!(inside.sandbox, "/run/netns/a");
        let ips: Vec<String> = result
            .addresses("net1")
            .iter()
            .map(IpNet::to_string)
            .collect();
        assert_eq!(ips, ["10.1.1.2/24", "fd00::2/64"]);
        assert_eq!(result.gateway("net1").unwrap().to_string(), "10.1.1.1");
        assert_eq!(result.routes[0].dst.to_string(), "0.0.0.0/0");
        assert_eq!(result.dns.nameservers, ["10.1.1.1"]);
    }

    #[test]
    fn a_result_without_version_has_the_configurations() {
        let result = CniResult::from_slice(b"{}", "0.4.0").unwrap();
        assert_eq!(result, CniResult::default());
        let result = CniResult::from_slice(b"null", "1.0.0").unwrap();
        assert_eq!(result.container_interface("net1"), None);
        let nulls = br#"{"cniVersion":"1.0.0","interfaces":null,"ips":null,"routes":null,"dns":{"search":null}}"#;
        assert_eq!(
            CniResult::from_slice(nulls, "1.0.0").unwrap(),
            CniResult::default()
        );
    }

    #[test]
    fn bad_results_are_refused() {
        let refused = |text: &str| {
            CniResult::from_slice(text.as_bytes(), "1.0.0")
                .unwrap_err()
                .to_string()
        };
        insta::assert_snapshot!(refused(r#"{"cniVersion":"0.2.0"}"#), @"the CNI result has cniVersion `0.2.0`, spoken are 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0");
        insta::assert_snapshot!(refused(r#"{"ips":[{"address":"10.1.1.300/24"}]}"#), @"the CNI result is not of the specification's form: invalid IP address syntax");
        insta::assert_snapshot!(refused("[]"), @"the CNI result is not of the specification's form: invalid type: sequence, expected struct CniResult");
        insta::assert_snapshot!(refused("nope"), @"the CNI result is not of the specification's form: expected ident at line 1 column 2");
    }
}
