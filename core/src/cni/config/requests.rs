//! Lets the addresses that a claim asks for reach the plugin that reads them.
//!
//! Both ways to run plugins, libcni's own and Multus' (`interfaceAttributes`), put a value
//! into `runtimeConfig` of each plugin that declares the capability of its name. Who reads
//! what (containernetworking/plugins 1.9):
//!
//! - `ips`: the IPAM plugins static (in place of its own `addresses`) and host-local (which
//!   demands that a range has them). They get the calling plugin's whole configuration, so
//!   the capability stands beside `ipam`, not in it. Multus says the same once more as
//!   `IP=a,b` in CNI_ARGS, where host-local can read one address and fails on two.
//! - `mac`: macvlan, bridge, tap, and tuning, which changes an existing interface.

use serde_json::{Map, Value};

use super::check::ipam_type;
use super::{ConfigError, ConfigFault, ConfigList};

impl ConfigList {
    /// Declares the capabilities that `ips` addresses and a MAC address need.
    ///
    /// # Errors
    /// No plugin of the list takes them: silently losing an address is no answer.
    pub fn taking(mut self, ips: usize, mac: bool) -> Result<Self, ConfigError> {
        if ips > 0 {
            self.take_ips(ips).map_err(|fault| ConfigError {
                field: String::new(),
                fault,
            })?;
        }
        if mac {
            self.take_mac().map_err(|fault| ConfigError {
                field: String::new(),
                fault,
            })?;
        }
        Ok(self)
    }

    fn take_ips(&mut self, count: usize) -> Result<(), ConfigFault> {
        if count > 1
            && self
                .plugins
                .iter()
                .any(|plugin| ipam_type(plugin) == Some("host-local"))
        {
            return Err(ConfigFault::OneAddress { count });
        }
        if self.plugins.iter().any(|plugin| declares(plugin, "ips")) {
            return Ok(());
        }
        let Some(plugin) = self
            .plugins
            .iter_mut()
            .find(|plugin| ipam_type(plugin).is_some())
        else {
            return Err(ConfigFault::IpsWithoutIpam);
        };
        match ipam_type(plugin) {
            Some("static" | "host-local") => {
                declare(plugin, "ips");
                Ok(())
            }
            other => Err(ConfigFault::IpsNotTaken {
                ipam: other.unwrap_or_default().to_owned(),
            }),
        }
    }

    fn take_mac(&mut self) -> Result<(), ConfigFault> {
        if self.plugins.iter().any(|plugin| declares(plugin, "mac")) {
            return Ok(());
        }
        let reads = |plugin: &&mut Map<String, Value>| {
            let plugin_type = plugin.get("type").and_then(Value::as_str);
            matches!(plugin_type, Some("macvlan" | "bridge" | "tap" | "tuning"))
        };
        let plugin = self.plugins.iter_mut().find(reads);
        declare(plugin.ok_or(ConfigFault::MacNotTaken)?, "mac");
        Ok(())
    }
}

fn declares(plugin: &Map<String, Value>, capability: &str) -> bool {
    let declared = plugin
        .get("capabilities")
        .and_then(|map| map.get(capability));
    declared == Some(&Value::Bool(true))
}

fn declare(plugin: &mut Map<String, Value>, capability: &str) {
    let entry = plugin
        .entry("capabilities")
        .or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(capabilities) = entry {
        capabilities.insert(capability.into(), Value::Bool(true));
    }
}
