//! libcni's part: plugins of a list in order and back, results chained and remembered.

use std::fmt;
use std::path::Path;

use ndra_core::cni::{
    CniError, CniResult, Command, ConfigList, Invocation, plugin_config, version,
};
use serde_json::{Map, Value};

use super::state::CacheKey;
use super::{PluginCall, Record, internal, not_found, skel};

/// A plugin of a list that failed, in libcni's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("plugin {plugin} failed ({}): {error}", verb(*command))]
pub struct PluginFailure {
    command: Command,
    /// `type="macvlan"`, and the plugin's own name where it has one.
    plugin: String,
    /// The plugin's error.
    pub error: CniError,
}

/// Why a list was not added, checked or deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordFailure {
    /// One of its plugins failed.
    #[error(transparent)]
    Plugin(PluginFailure),
    /// libcni itself refused.
    #[error("{0}")]
    Libcni(String),
}

fn verb(command: Command) -> &'static str {
    match command {
        Command::Add => "add",
        Command::Check => "check",
        Command::Del => "delete",
    }
}

/// How libcni names a plugin of a list.
pub(crate) fn description(plugin: &Map<String, Value>) -> String {
    struct Shown<'a>(&'a Map<String, Value>);
    impl fmt::Display for Shown<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let text = |key: &str| self.0.get(key).and_then(Value::as_str).unwrap_or_default();
            write!(f, "type={:?}", text("type"))?;
            match text("name") {
                "" => Ok(()),
                name => write!(f, " name={name:?}"),
            }
        }
    }
    Shown(plugin).to_string()
}

impl Record {
    /// Attaches as libcni's AddNetworkList does.
    pub fn add(
        &self,
        network: &ConfigList,
        invocation: &Invocation,
    ) -> Result<CniResult, RecordFailure> {
        let mut result = None;
        for plugin in &network.plugins {
            let fail = |error| failure(Command::Add, plugin, error);
            let kind = self.find(plugin).map_err(fail)?;
            skel::check_container_id(&invocation.container_id).map_err(fail)?;
            skel::check_network_name(&network.name).map_err(fail)?;
            skel::check_if_name(&invocation.if_name).map_err(fail)?;
            let config = plugin_config(network, plugin, invocation, result.as_ref())
                .map_err(|e| fail(internal(e.to_string())))?;
            let printed = self
                .run_in_chain(Command::Add, kind, &config, invocation)
                .map_err(fail)?;
            let read = CniResult::from_value(printed.unwrap_or_default(), &network.cni_version)
                .map_err(|e| fail(internal(e.to_string())))?;
            result = Some(read);
        }
        let result = result.unwrap_or_default();
        let mut node = self.state.node();
        node.results
            .insert(key(network, invocation), result.clone());
        Ok(result)
    }

    /// Verifies as libcni's CheckNetworkList does.
    pub fn check(
        &self,
        network: &ConfigList,
        invocation: &Invocation,
    ) -> Result<(), RecordFailure> {
        if version::at_least(&network.cni_version, "0.4.0") != Some(true) {
            return Err(RecordFailure::Libcni(format!(
                "configuration version {:?} does not support the CHECK command",
                network.cni_version
            )));
        }
        if network.rest.get("disableCheck") == Some(&Value::Bool(true)) {
            return Ok(());
        }
        let result = self.cached(network, invocation);
        for plugin in &network.plugins {
            // libcni says of CHECK only what the plugin said.
            let plain = |error: CniError| RecordFailure::Libcni(error.to_string());
            let kind = self.find(plugin).map_err(plain)?;
            let config = plugin_config(network, plugin, invocation, result.as_ref())
                .map_err(|e| plain(internal(e.to_string())))?;
            self.run_in_chain(Command::Check, kind, &config, invocation)
                .map_err(plain)?;
        }
        Ok(())
    }

    /// Detaches as libcni's DelNetworkList does.
    pub fn del(&self, network: &ConfigList, invocation: &Invocation) -> Result<(), RecordFailure> {
        let result = match version::at_least(&network.cni_version, "0.4.0") {
            Some(true) => self.cached(network, invocation),
            _ => None,
        };
        for plugin in network.plugins.iter().rev() {
            let fail = |error| failure(Command::Del, plugin, error);
            let kind = self.find(plugin).map_err(fail)?;
            let config = plugin_config(network, plugin, invocation, result.as_ref())
                .map_err(|e| fail(internal(e.to_string())))?;
            self.run_in_chain(Command::Del, kind, &config, invocation)
                .map_err(fail)?;
        }
        self.state.node().results.remove(&key(network, invocation));
        Ok(())
    }

    fn cached(&self, network: &ConfigList, invocation: &Invocation) -> Option<CniResult> {
        let node = self.state.node();
        node.results.get(&key(network, invocation)).cloned()
    }

    fn find<'a>(&self, plugin: &'a Map<String, Value>) -> Result<&'a str, CniError> {
        let kind = plugin
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default();
        match kind {
            "" => Err(internal("no plugin name provided")),
            slash if slash.contains('/') => Err(internal(format!("invalid plugin name: {slash}"))),
            "macvlan" | "host-local" | "static" => Ok(kind),
            other => Err(internal(not_found(other))),
        }
    }

    fn run_in_chain(
        &self,
        command: Command,
        plugin: &str,
        config: &Map<String, Value>,
        invocation: &Invocation,
    ) -> Result<Option<Value>, CniError> {
        let netns = invocation.netns.as_deref().unwrap_or(Path::new(""));
        let call = PluginCall {
            command: command.as_str(),
            container_id: &invocation.container_id,
            netns: &netns.to_string_lossy(),
            if_name: &invocation.if_name,
            args: &invocation.cni_args(),
        };
        let stdin = serde_json::to_vec(config).unwrap_or_default();
        self.run(plugin, &call, &stdin)
    }
}

fn key(network: &ConfigList, invocation: &Invocation) -> CacheKey {
    (
        network.name.clone(),
        invocation.container_id.clone(),
        invocation.if_name.clone(),
    )
}

fn failure(command: Command, plugin: &Map<String, Value>, error: CniError) -> RecordFailure {
    RecordFailure::Plugin(PluginFailure {
        command,
        plugin: description(plugin),
        error,
    })
}
