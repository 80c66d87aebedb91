//! libcni's part: plugins of a list in order and back, results chained and remembered.

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
pub(crate) fn describe(plugin: &Map<String, Value>) -> String {
    let text = |key: &str| plugin.get(key).and_then(Value::as_str).unwrap_or_default();
    match text("name") {
        "" => format!("type={:?}", text("type")),
        name => format!("type={:?} name={name:?}", text("type")),
    }
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
        plugin: describe(plugin),
        error,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::record::{RecordConfig, State};

    fn network(change: Value) -> ConfigList {
        let mut network = json!({
            "cniVersion": "1.0.0", "name": "m",
            "plugins": [{"type": "macvlan", "ipam": {"type": "host-local", "subnet": "10.1.1.0/24"}}]
        });
        for (key, value) in change.as_object().unwrap() {
            network[key] = value.clone();
        }
        serde_json::from_value(network).unwrap()
    }

    fn invocation(dir: &tempfile::TempDir) -> Invocation {
        Invocation {
            container_id: "c".into(),
            netns: Some(dir.path().into()),
            if_name: "net1".into(),
            ..Invocation::default()
        }
    }

    #[test]
    fn attach_check_and_detach_without_a_daemon() {
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let record = Record::new(RecordConfig::default(), State::default());
        let (network, invocation) = (network(json!({})), invocation(&dir));
        let result = record.add(&network, &invocation).unwrap();
        assert_eq!(result.addresses("net1")[0].to_string(), "10.1.1.2/24");
        record.check(&network, &invocation).unwrap();
        record.del(&network, &invocation).unwrap();
        record.del(&network, &invocation).unwrap();
        assert!(record.state().interfaces().is_empty());
        let gone = record.check(&network, &invocation).unwrap_err();
        insta::assert_snapshot!(gone, @"host-local: Failed to find address added by container c");
    }

    #[test]
    fn versions_before_interfaces_lose_them() {
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let record = Record::default();
        let invocation = invocation(&dir);
        let old = network(json!({"cniVersion": ""}));
        let result = record.add(&old, &invocation).unwrap();
        assert!(result.interfaces.is_empty());
        assert_eq!(result.addresses("net1")[0].to_string(), "10.1.1.2/24");
        insta::assert_snapshot!(record.check(&old, &invocation).unwrap_err(), @r#"configuration version "" does not support the CHECK command"#);
        record.del(&old, &invocation).unwrap();
        let unknown = network(json!({"cniVersion": "2.0.0"}));
        insta::assert_snapshot!(record.add(&unknown, &invocation).unwrap_err(), @r#"plugin type="macvlan" failed (add): incompatible CNI versions; config is "2.0.0", plugin supports ["0.1.0" "0.2.0" "0.3.0" "0.3.1" "0.4.0" "1.0.0" "1.1.0"]"#);
    }

    #[test]
    fn a_later_plugin_that_fails_is_named() {
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let record = Record::default();
        let invocation = invocation(&dir);
        let network =
            network(json!({"plugins": [{"type": "macvlan"}, {"type": "tuning", "name": "t"}]}));
        insta::assert_snapshot!(record.add(&network, &invocation).unwrap_err(), @r#"plugin type="tuning" name="t" failed (add): failed to find plugin "tuning" in path [/opt/cni/bin]"#);
        assert_eq!(record.state().interfaces().len(), 1, "until DEL");
        insta::assert_snapshot!(record.del(&network, &invocation).unwrap_err(), @r#"plugin type="tuning" name="t" failed (delete): failed to find plugin "tuning" in path [/opt/cni/bin]"#);
    }
}
