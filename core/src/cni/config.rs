//! Network configurations as a claim may carry them: checked before anything runs.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A CNI network configuration list that has been checked.
///
/// A single plugin's configuration becomes a list of one.
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

/// Which configurations the administrator allows.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Plugin types a claim may name; empty allows every type.
    pub allowed_types: BTreeSet<String>,
}

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// It is not a JSON object.
    #[error("the CNI configuration is not an object")]
    NotAnObject,
}
