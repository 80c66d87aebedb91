//! Refuses keys that Go's JSON reader, which ignores case, takes for other keys.
//!
//! Plugins and libcni are written in Go: for them `Type` is `type`, and the later of the two
//! counts. Without this check a configuration could show one plugin type here and run another.

use std::collections::HashMap;

use serde_json::Value;

use super::{ConfigError, ConfigFault};
use crate::shown::quoted;

/// Keys that decide what runs, under which name, and on which of the node's interfaces. The
/// driver writes some of these itself, so that a second spelling would stand beside its own.
const KNOWN: [&str; 22] = [
    "type",
    "ipam",
    "plugins",
    "name",
    "cniVersion",
    "cniVersions",
    "capabilities",
    "prevResult",
    "runtimeConfig",
    "args",
    "dns",
    "disableCheck",
    "disableGC",
    "loadOnlyInlinedPlugins",
    "master",
    "linkInContainer",
    "mode",
    "bridge",
    "device",
    "hwaddr",
    "kernelpath",
    "pciBusID",
];

/// Keys by which the CNI project's plugins write or read files of the node's as root:
/// the directory where host-local and tuning keep things, host-local's `resolv.conf`, the
/// socket of the dhcp daemon.
const NODE_PATHS: [&str; 3] = ["dataDir", "resolvConf", "daemonSocketPath"];

/// Appends the keys in `value` that name files of the node, however they are spelled.
/// The caller has bounded the depth.
pub(super) fn node_paths(value: &Value, field: &str, errors: &mut Vec<ConfigError>) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                let field = join(field, key);
                let folded = fold(key);
                if NODE_PATHS.iter().any(|known| fold(known) == folded) {
                    errors.push(ConfigError {
                        field: field.clone(),
                        fault: ConfigFault::NodePath,
                    });
                }
                node_paths(inner, &field, errors);
            }
        }
        Value::Array(list) => {
            for (index, inner) in list.iter().enumerate() {
                node_paths(inner, &format!("{field}[{index}]"), errors);
            }
        }
        _ => {}
    }
}

/// The longest path that a message shows in full, in bytes.
const MAX_FIELD: usize = 256;

/// Appends what is wrong with the keys of `value` and of everything in it.
/// The caller has bounded the depth.
pub(super) fn check(value: &Value, field: &str, errors: &mut Vec<ConfigError>) {
    match value {
        Value::Object(map) => {
            let mut seen: HashMap<String, &str> = HashMap::with_capacity(map.len());
            for (key, inner) in map {
                let folded = fold(key);
                let known = KNOWN.iter().find(|known| fold(known) == folded);
                if let Some(known) = known
                    && known != key
                {
                    errors.push(ConfigError {
                        field: field.to_owned(),
                        fault: ConfigFault::Case {
                            shown: quoted(key),
                            known,
                        },
                    });
                } else if let Some(first) = seen.insert(folded, key) {
                    errors.push(ConfigError {
                        field: field.to_owned(),
                        fault: ConfigFault::SameKey {
                            first: quoted(first),
                            second: quoted(key),
                        },
                    });
                }
                check(inner, &join(field, key), errors);
            }
        }
        Value::Array(list) => {
            for (index, inner) in list.iter().enumerate() {
                check(inner, &format!("{field}[{index}]"), errors);
            }
        }
        _ => {}
    }
}

/// A field inside another one. Keys are the author's to choose: long paths are cut.
pub(super) fn join(field: &str, key: &str) -> String {
    let key = crate::shown::plain(key);
    if field.is_empty() && key.len() <= MAX_FIELD {
        key
    } else if field.len() + key.len() < MAX_FIELD {
        format!("{field}.{key}")
    } else if field.ends_with('…') {
        field.to_owned()
    } else {
        format!("{field}.…")
    }
}

/// Equal for keys that Go takes for one: it also folds `ſ` to `s` and the Kelvin sign to `k`,
/// which upper-casing before lower-casing covers.
fn fold(key: &str) -> String {
    key.to_uppercase().to_lowercase()
}
