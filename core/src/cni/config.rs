//! Network configurations as a claim may carry them: checked before anything runs.

mod check;
mod error;
mod keys;
mod requests;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use check::{MAX_DEPTH, depth_within, is_plugin_type};
pub use error::{ConfigError, ConfigFault};

/// The version a configuration has that names none. (CNI itself would say 0.1.0, which
/// has no lists.)
pub const DEFAULT_VERSION: &str = "1.0.0";

/// The specification versions that a configuration may name.
pub const VERSIONS: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// A CNI network configuration list that has been checked.
///
/// A single plugin's configuration becomes a list of one. [`ConfigList::check`] makes it
/// from what a claim says; deserialising does not check and is for the driver's own record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigList {
    /// The specification version that plugins are called with.
    #[serde(rename = "cniVersion")]
    pub cni_version: String,
    /// The network's name: scope of IPAM and cache.
    pub name: String,
    /// Plugin configurations in ADD order, each an object with a `type`.
    pub plugins: Vec<Map<String, Value>>,
    /// Keys of the list that ndra does not interpret.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// The plugin types that a claim may name unless the administrator says otherwise: they make a
/// link of the pod's own and give it an address. None of them runs other programs, opens the
/// node to the pod, or takes a device away from it.
pub const DEFAULT_TYPES: [&str; 4] = ["macvlan", "ipvlan", "host-local", "static"];

/// Which configurations the administrator allows. A DeviceClass is written by an
/// administrator: [`of_class`](Self::of_class) is what holds for it.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Plugin types that a claim's configuration may name, IPAM plugins included, since they
    /// run as root like any other. Empty allows every type. Where types are limited, keys that
    /// name files of the node are refused, too.
    pub allowed_types: BTreeSet<String>,
    /// Where a `config` may come from.
    pub config_from: ConfigFrom,
}

/// Who may write a `config`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConfigFrom {
    /// A DeviceClass or a claim.
    #[default]
    ClassOrClaim,
    /// A DeviceClass alone, which only an administrator writes.
    ClassOnly,
}

impl Policy {
    /// Of what a command line lists: `*` allows every type.
    pub fn types<'a>(listed: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
        let listed: BTreeSet<String> = listed.into_iter().map(str::to_owned).collect();
        if listed.contains("*") {
            return BTreeSet::new();
        }
        listed
    }

    /// The same for what a DeviceClass says: every type, every key.
    #[must_use]
    pub fn of_class(&self) -> Self {
        Self {
            allowed_types: BTreeSet::new(),
            config_from: self.config_from,
        }
    }

    /// Whether a plugin of this type may run.
    pub fn allows(&self, plugin_type: &str) -> bool {
        self.allowed_types.is_empty() || self.allowed_types.contains(plugin_type)
    }
}

impl ConfigList {
    /// The driver's own network: MACVLAN in bridge mode on `uplink`, a link without address.
    pub fn macvlan(uplink: &str) -> Self {
        let mut plugin = Map::new();
        plugin.insert("type".into(), "macvlan".into());
        plugin.insert("master".into(), uplink.into());
        plugin.insert("mode".into(), "bridge".into());
        Self::own(plugin)
    }

    /// The driver's own network of a whole interface: it is moved into the pod.
    pub fn host_device(interface: &str) -> Self {
        let mut plugin = Map::new();
        plugin.insert("type".into(), "host-device".into());
        plugin.insert("device".into(), interface.into());
        Self::own(plugin)
    }

    fn own(plugin: Map<String, Value>) -> Self {
        let plugins = vec![plugin];
        Self {
            cni_version: DEFAULT_VERSION.into(),
            name: check::default_name(&plugins),
            plugins,
            rest: Map::new(),
        }
    }

    /// Gives the first plugin the IPAM plugin `static`, if no plugin of the list has IPAM.
    #[must_use]
    pub fn with_static_ipam(mut self) -> Self {
        if self
            .plugins
            .iter()
            .all(|plugin| check::ipam_type(plugin).is_none())
            && let Some(first) = self.plugins.first_mut()
        {
            first.insert("ipam".into(), serde_json::json!({ "type": "static" }));
        }
        self
    }

    /// The JSON that Multus or libcni takes.
    pub fn to_value(&self) -> Value {
        let mut list = Map::new();
        list.insert("cniVersion".into(), self.cni_version.clone().into());
        list.insert("name".into(), self.name.clone().into());
        list.extend(self.rest.clone());
        list.insert(
            "plugins".into(),
            self.plugins.iter().cloned().map(Value::Object).collect(),
        );
        Value::Object(list)
    }
}
