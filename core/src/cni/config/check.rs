//! From what a claim says to a [`ConfigList`], or everything that is wrong with it.

use serde_json::{Map, Value};

use super::keys::{self, join};
use super::{ConfigError, ConfigFault, ConfigList, DEFAULT_VERSION, Policy, VERSIONS};
use crate::shown::{as_string, kind, quoted};

/// How deep objects and lists may be nested, the outermost included.
pub const MAX_DEPTH: usize = 32;

const MAX_PLUGINS: usize = 16;
const MAX_TYPE: usize = 63;
/// libcni makes a file name of network, container id and interface name: 255 bytes in all.
const MAX_NAME: usize = 128;

/// Keys that only the caller of a plugin writes (CNI specification, section 3).
const RESERVED: [&str; 4] = [
    "prevResult",
    "runtimeConfig",
    "cni.dev/attachments",
    "cni.dev/valid-attachments",
];

impl ConfigList {
    /// Checks a list or a single plugin's configuration.
    ///
    /// A missing `cniVersion` becomes [`DEFAULT_VERSION`]. A missing `name` is derived from
    /// the IPAM settings, so that claims that draw from the same ranges share one record of
    /// used addresses.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the fields; never empty.
    pub fn check(value: &Value, policy: &Policy) -> Result<Self, Vec<ConfigError>> {
        let mut errors = Errors::default();
        let list = read(value, policy, &mut errors);
        match list {
            Some(list) if errors.0.is_empty() => Ok(list),
            _ => Err(errors.0),
        }
    }
}

/// Whether objects and lists are nested at most `max` deep; safe on any depth.
pub fn depth_within(value: &Value, max: usize) -> bool {
    let mut pending = vec![(value, 1)];
    while let Some((value, depth)) = pending.pop() {
        let inner: &mut dyn Iterator<Item = &Value> = match value {
            Value::Object(map) => &mut map.values(),
            Value::Array(list) => &mut list.iter(),
            _ => continue,
        };
        if depth > max {
            return false;
        }
        pending.extend(inner.map(|value| (value, depth + 1)));
    }
    true
}

#[derive(Default)]
struct Errors(Vec<ConfigError>);

impl Errors {
    fn push(&mut self, field: impl Into<String>, fault: ConfigFault) {
        self.0.push(ConfigError {
            field: field.into(),
            fault,
        });
    }
}

fn read(value: &Value, policy: &Policy, errors: &mut Errors) -> Option<ConfigList> {
    let Value::Object(object) = value else {
        errors.push("", ConfigFault::NotAnObject { found: kind(value) });
        return None;
    };
    if !depth_within(value, MAX_DEPTH) {
        errors.push("", ConfigFault::TooDeep { max: MAX_DEPTH });
        return None;
    }
    keys::check(value, "", &mut errors.0);
    if !policy.allowed_types.is_empty() {
        keys::node_paths(value, "", &mut errors.0);
    }

    let mut rest = object.clone();
    let version = version(rest.shift_remove("cniVersion"), errors);
    let name = name(rest.shift_remove("name"), errors);
    if rest.contains_key("cniVersions") {
        errors.push("cniVersions", ConfigFault::Versions);
    }

    let plugins = match (rest.shift_remove("plugins"), rest.contains_key("type")) {
        // Multus runs a configuration with a `type` as one plugin, whatever the list says.
        (Some(_), true) => {
            errors.push("", ConfigFault::BothListAndPlugin);
            return None;
        }
        (Some(plugins), false) => {
            reserved(&rest, "", errors);
            list(plugins, policy, errors)?
        }
        (None, true) => {
            let plugin = std::mem::take(&mut rest);
            self::plugin(&plugin, "", policy, errors);
            vec![plugin]
        }
        (None, false) => {
            errors.push("", ConfigFault::NeitherListNorPlugin);
            return None;
        }
    };
    let name = name?.unwrap_or_else(|| default_name(&plugins));
    Some(ConfigList {
        cni_version: version?,
        name,
        plugins,
        rest,
    })
}

fn list(plugins: Value, policy: &Policy, errors: &mut Errors) -> Option<Vec<Map<String, Value>>> {
    let plugins = match plugins {
        Value::Array(plugins) => plugins,
        other => {
            errors.push(
                "plugins",
                ConfigFault::PluginsNotAList {
                    found: kind(&other),
                },
            );
            return None;
        }
    };
    if plugins.is_empty() {
        errors.push("plugins", ConfigFault::NoPlugins);
    }
    if plugins.len() > MAX_PLUGINS {
        errors.push(
            "plugins",
            ConfigFault::TooManyPlugins {
                count: plugins.len(),
                max: MAX_PLUGINS,
            },
        );
        return None;
    }
    let mut checked = Vec::with_capacity(plugins.len());
    for (index, value) in plugins.into_iter().enumerate() {
        let field = format!("plugins[{index}]");
        match value {
            Value::Object(mut plugin) => {
                self::plugin(&plugin, &field, policy, errors);
                // The list's own count; libcni writes them into every plugin.
                plugin.shift_remove("cniVersion");
                plugin.shift_remove("name");
                checked.push(plugin);
            }
            other => errors.push(
                field,
                ConfigFault::PluginNotAnObject {
                    found: kind(&other),
                },
            ),
        }
    }
    Some(checked)
}

fn plugin(plugin: &Map<String, Value>, field: &str, policy: &Policy, errors: &mut Errors) {
    match plugin.get("type") {
        None | Some(Value::Null) => errors.push(field, ConfigFault::NoType),
        Some(value) => plugin_type(
            value,
            &join(field, "type"),
            ConfigFault::NoType,
            policy,
            errors,
        ),
    }
    reserved(plugin, field, errors);
    if let Some(capabilities) = plugin.get("capabilities")
        && !capabilities
            .as_object()
            .is_some_and(|map| map.values().all(Value::is_boolean))
    {
        errors.push(join(field, "capabilities"), ConfigFault::BadCapabilities);
    }
    let field = join(field, "ipam");
    match plugin.get("ipam") {
        None | Some(Value::Null) => {}
        Some(Value::Object(ipam)) => match ipam.get("type") {
            // `ipam: {}` is the usual way to say "none".
            None | Some(Value::Null) if ipam.is_empty() => {}
            None | Some(Value::Null) => errors.push(field, ConfigFault::NoIpamType),
            Some(value) => {
                let field = join(&field, "type");
                plugin_type(value, &field, ConfigFault::NoIpamType, policy, errors);
            }
        },
        Some(other) => errors.push(field, ConfigFault::IpamNotAnObject { found: kind(other) }),
    }
}

/// Whether a text can be a plugin's type: the name of a program, and no path.
pub fn is_plugin_type(name: &str) -> bool {
    name.len() <= MAX_TYPE && plain_name(name)
}

/// A type names a program that runs as root: a plain name, and an allowed one.
fn plugin_type(
    value: &Value,
    field: &str,
    empty: ConfigFault,
    policy: &Policy,
    errors: &mut Errors,
) {
    let Value::String(name) = value else {
        errors.push(field, not_a_string(value));
        return;
    };
    let shown = quoted(name);
    if name.is_empty() {
        errors.push(field, empty);
    } else if name.contains('/') {
        errors.push(field, ConfigFault::TypeWithSlash { shown });
    } else if !is_plugin_type(name) {
        errors.push(field, ConfigFault::BadType { shown });
    } else if !policy.allows(name) {
        let allowed = policy.allowed_types.iter().cloned().collect();
        errors.push(field, ConfigFault::TypeNotAllowed { shown, allowed });
    }
}

fn reserved(map: &Map<String, Value>, field: &str, errors: &mut Errors) {
    for key in RESERVED {
        if map.contains_key(key) {
            errors.push(join(field, key), ConfigFault::Reserved);
        }
    }
}

fn version(value: Option<Value>, errors: &mut Errors) -> Option<String> {
    match value {
        None | Some(Value::Null) => return Some(DEFAULT_VERSION.into()),
        Some(Value::String(version)) if VERSIONS.contains(&version.as_str()) => {
            return Some(version);
        }
        Some(Value::String(version)) => errors.push(
            "cniVersion",
            ConfigFault::Version {
                shown: quoted(&version),
            },
        ),
        Some(other) => errors.push("cniVersion", not_a_string(&other)),
    }
    None
}

fn not_a_string(value: &Value) -> ConfigFault {
    ConfigFault::NotAString {
        found: kind(value),
        mend: as_string(value),
    }
}

/// Outer `None`: wrong. Inner `None`: not given.
#[allow(clippy::option_option)]
fn name(value: Option<Value>, errors: &mut Errors) -> Option<Option<String>> {
    match value {
        None | Some(Value::Null) => return Some(None),
        Some(Value::String(name)) if name.len() <= MAX_NAME && plain_name(&name) => {
            return Some(Some(name));
        }
        Some(Value::String(name)) => errors.push(
            "name",
            ConfigFault::BadName {
                shown: quoted(&name),
            },
        ),
        Some(other) => errors.push("name", not_a_string(&other)),
    }
    None
}

/// What Multus demands of a network's name; it keeps `.` and `..` out, too.
fn plain_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// The IPAM plugin of a plugin's configuration.
pub(super) fn ipam_type(plugin: &Map<String, Value>) -> Option<&str> {
    plugin.get("ipam")?.get("type")?.as_str()
}

/// `ndra`, or `ndra-` and a fingerprint of the IPAM settings, which stays the same across
/// releases: host-local keeps its addresses under the network's name.
pub(super) fn default_name(plugins: &[Map<String, Value>]) -> String {
    let mut text = String::new();
    for ipam in plugins
        .iter()
        .filter(|plugin| ipam_type(plugin).is_some())
        .filter_map(|plugin| plugin.get("ipam"))
    {
        canonical(ipam, &mut text);
    }
    if text.is_empty() {
        return "ndra".into();
    }
    // FNV-1a, 64 bits.
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("ndra-{hash:016x}")
}

/// JSON with sorted keys: two ways to write one object are one network.
fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<_> = map.iter().collect();
            keys.sort_by_key(|(key, _)| *key);
            text.push('{');
            for (key, inner) in keys {
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push(':');
                canonical(inner, text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(list) => {
            text.push('[');
            for inner in list {
                canonical(inner, text);
                text.push(',');
            }
            text.push(']');
        }
        other => text.push_str(&other.to_string()),
    }
}

#[cfg(test)]
mod tests;
