//! One network of one pod, as the daemon reads it and hands it to the plugins.

use ndra_core::cni::{CniResult, Command, ConfigList, Invocation};
use serde_json::{Map, Value, json};

use crate::daemon::Daemon;
use crate::go_json::{kind, wrong_kind};
use crate::plugins::{Form, on_purpose};
use crate::record::parse_mac;
use crate::request::{Attributes, CommandArgs, PodArgs};

/// A network of a pod (`types.DelegateNetConf`).
#[derive(Clone, Debug)]
pub(crate) struct Delegate {
    /// The network's name, or that of its object in the API.
    pub(crate) name: String,
    /// The plugin's type; empty for a list.
    kind: String,
    /// The network's own name.
    pub(crate) network: String,
    form: Form,
    /// What libcni makes of it, or what it says.
    list: Result<ConfigList, String>,
    attributes: Attributes,
    /// The interface asked for.
    pub(crate) if_name: String,
    /// The pod's own network: what is asked of interfaces is not for it.
    pub(crate) master: bool,
}

impl Delegate {
    /// Reads a configuration, `attributes` laid into it.
    pub(crate) fn load(config: &Value, attributes: Attributes) -> Result<Self, String> {
        let text = |key: &str| match &config[key] {
            Value::Null => Ok(String::new()),
            Value::String(text) => Ok(text.clone()),
            other => Err(format!(
                "LoadDelegateNetConf: error unmarshalling delegate config: {}",
                wrong_kind(other, &format!("PluginConf.{key}"), "string")
            )),
        };
        let (plugin, network, version) = (text("type")?, text("name")?, text("cniVersion")?);
        let form = match &plugin[..] {
            "" => Form::List,
            _ => Form::Single,
        };
        if form == Form::List {
            check_list(config).map_err(|e| format!("LoadDelegateNetConf: failed with: {e}"))?;
        }
        let mut config = config.clone();
        if let Some(args) = &attributes.cni_args {
            match config["plugins"].as_array_mut() {
                Some(plugins) if form == Form::List => {
                    for plugin in plugins {
                        inject_cni_args(plugin, args);
                    }
                }
                _ => inject_cni_args(&mut config, args),
            }
        }
        Ok(Self {
            name: network.clone(),
            kind: plugin,
            network: network.clone(),
            form,
            list: to_list(&config, form, network, version),
            attributes,
            if_name: String::new(),
            master: false,
        })
    }

    /// For errors that name no plugin.
    pub(crate) fn nameless(mut self) -> Self {
        self.kind.clear();
        self
    }

    fn invocation(&self, args: &CommandArgs, pod: &PodArgs, if_name: &str) -> Invocation {
        let mut capability_args = Map::new();
        if !self.master {
            match &self.attributes.ips {
                Some(ips) if !ips.is_empty() => {
                    capability_args.insert("ips".into(), json!(ips));
                }
                _ => {}
            }
            if !self.attributes.mac.is_empty() {
                capability_args.insert("mac".into(), json!(self.attributes.mac));
            }
        }
        let uid = pod.uid.as_deref().unwrap_or_default();
        let pairs = [
            ("IgnoreUnknown", "true"),
            ("K8S_POD_NAMESPACE", &pod.namespace),
            ("K8S_POD_NAME", &pod.name),
            ("K8S_POD_INFRA_CONTAINER_ID", &pod.sandbox),
            ("K8S_POD_UID", uid),
        ];
        Invocation {
            container_id: args.container_id.clone(),
            netns: (!args.netns.is_empty()).then(|| args.netns.clone().into()),
            if_name: if_name.to_owned(),
            args: pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            capability_args,
        }
    }

    /// `multus.DelegateAdd`: the daemon's own checks, then the plugins.
    pub(crate) async fn add(
        &self,
        daemon: &Daemon,
        args: &CommandArgs,
        pod: &PodArgs,
        if_name: &str,
    ) -> Result<CniResult, String> {
        let no_name = |error: String| {
            format!(
                "DelegateAdd: cannot set {:?} interface name to {if_name:?}: {error}",
                self.kind
            )
        };
        match daemon.plugins.has_interface(&args.netns, if_name) {
            Ok(false) => {}
            Ok(true) => {
                let text = format!("validateIfName: interface name {if_name} already exists");
                return Err(no_name(text));
            }
            Err(error) => {
                let netns = &args.netns;
                let text = format!("validateIfName: no net namespace {netns} found: {error}");
                return Err(no_name(text));
            }
        }
        let mut invocation = self.invocation(args, pod, if_name);
        let mac = &self.attributes.mac;
        if !mac.is_empty() {
            if parse_mac(mac).is_none() {
                return Err(format!("DelegateAdd: failed to parse mac address {mac:?}"));
            }
            invocation.args.push(("MAC".into(), mac.clone()));
        }
        if let Some(ips) = &self.attributes.ips {
            if let Some(bad) = ips.iter().find(|ip| !is_ip(ip)) {
                return Err(format!("DelegateAdd: failed to parse IP address {bad:?}"));
            }
            invocation.args.push(("IP".into(), ips.join(",")));
        }
        let list = self.list("conflistAdd")?;
        if let Some(text) = daemon.faults.before(Command::Add).await {
            return Err(on_purpose(list, self.form, Command::Add, &text));
        }
        daemon.plugins.add(list, self.form, &invocation).await
    }

    /// `multus.DelegateCheck`.
    pub(crate) async fn check(
        &self,
        daemon: &Daemon,
        args: &CommandArgs,
        pod: &PodArgs,
        if_name: &str,
    ) -> Result<(), String> {
        let checked = async {
            let list = self.list("conflistCheck")?;
            let invocation = self.invocation(args, pod, if_name);
            let checked = match daemon.faults.before(Command::Check).await {
                Some(text) => Err(text),
                None => daemon.plugins.check(list, self.form, &invocation).await,
            };
            checked.map_err(|error| match self.form {
                Form::List => {
                    format!("conflistCheck: error in getting result from CheckNetworkList: {error}")
                }
                Form::Single => format!("error in getting result from CheckNetwork: {error}"),
            })
        };
        checked.await.map_err(|error: String| match self.form {
            Form::List => format!(
                "DelegateCheck: error invoking ConflistCheck - {:?}: {error}",
                self.network
            ),
            Form::Single => format!(
                "DelegateCheck: error invoking DelegateCheck - {:?}: {error}",
                self.kind
            ),
        })
    }

    /// `multus.DelegateDel`.
    pub(crate) async fn del(
        &self,
        daemon: &Daemon,
        args: &CommandArgs,
        pod: &PodArgs,
        if_name: &str,
    ) -> Result<(), String> {
        let deleted = async {
            let list = self.list("conflistDel")?;
            let invocation = self.invocation(args, pod, if_name);
            let deleted = match daemon.faults.before(Command::Del).await {
                Some(text) => Err(on_purpose(list, self.form, Command::Del, &text)),
                None => daemon.plugins.del(list, self.form, &invocation).await,
            };
            deleted.map_err(|error| match self.form {
                Form::List => {
                    format!("conflistDel: error in getting result from DelNetworkList: {error}")
                }
                Form::Single => format!("error in getting result from DelNetwork: {error}"),
            })
        };
        deleted.await.map_err(|error: String| match self.form {
            Form::List => format!(
                "DelegateDel: error invoking ConflistDel - {:?}: {error}",
                self.network
            ),
            Form::Single => format!(
                "DelegateDel: error invoking DelegateDel - {:?}: {error}",
                self.kind
            ),
        })
    }

    fn list(&self, place: &str) -> Result<&ConfigList, String> {
        self.list.as_ref().map_err(|error| {
            format!("{place}: error converting the raw bytes into a conflist: {error}")
        })
    }
}

/// What the daemon asks of a list before libcni sees it.
fn check_list(config: &Value) -> Result<(), String> {
    let plugins = match &config["plugins"] {
        Value::Null => {
            return Err(
                "LoadDelegateNetConfList: delegate must have the 'type' or 'plugin' field".into(),
            );
        }
        Value::Array(plugins) => plugins,
        other => {
            return Err(format!(
                "LoadDelegateNetConfList: error unmarshalling delegate conflist: {}",
                wrong_kind(other, "NetConfList.plugins", "[]*types.PluginConf")
            ));
        }
    };
    let bad = |plugin: &&Value| !plugin.is_object() && !plugin.is_null();
    if let Some(bad) = plugins.iter().find(bad) {
        return Err(format!(
            "LoadDelegateNetConfList: error unmarshalling delegate conflist: {}",
            wrong_kind(bad, "NetConfList.plugins", "types.PluginConf")
        ));
    }
    match plugins.first().map(|plugin| plugin["type"].as_str()) {
        // The daemon falls over an empty list and closes the connection.
        None => Err("LoadDelegateNetConfList: the list of plugins is empty".into()),
        Some(None | Some("")) => {
            Err("LoadDelegateNetConfList: a plugin delegate must have the 'type' field".into())
        }
        Some(Some(_)) => Ok(()),
    }
}

/// libcni's reading of a list, or one plugin's configuration as a list.
fn to_list(
    config: &Value,
    form: Form,
    name: String,
    cni_version: String,
) -> Result<ConfigList, String> {
    if form == Form::Single {
        let plugin = config.as_object().cloned().unwrap_or_default();
        return Ok(ConfigList {
            cni_version,
            name,
            plugins: vec![plugin],
            rest: Map::new(),
        });
    }
    if config.get("name").is_none() {
        return Err("error parsing configuration list: no name".into());
    }
    let mut plugins = Vec::new();
    for (index, plugin) in config["plugins"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let Value::Object(plugin) = plugin else {
            return Err(format!(
                "failed to parse plugin config {index}: error parsing configuration: json: cannot unmarshal {} into Go value of type types.PluginConf",
                kind(plugin)
            ));
        };
        if plugin
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default()
            == ""
        {
            return Err(format!(
                "failed to parse plugin config {index}: error parsing configuration: missing 'type'"
            ));
        }
        plugins.push(plugin.clone());
    }
    let mut rest = config.as_object().cloned().unwrap_or_default();
    for known in ["cniVersion", "name", "plugins"] {
        rest.shift_remove(known);
    }
    Ok(ConfigList {
        cni_version,
        name,
        plugins,
        rest,
    })
}

/// Lays `args` into `args.cni` of a plugin's configuration.
fn inject_cni_args(plugin: &mut Value, args: &Map<String, Value>) {
    let Some(plugin) = plugin.as_object_mut() else {
        return;
    };
    let outer = plugin.entry("args").or_insert_with(|| json!({}));
    if let Some(outer) = outer.as_object_mut() {
        let cni = outer.entry("cni").or_insert_with(|| json!({}));
        if let Some(cni) = cni.as_object_mut() {
            cni.extend(args.clone());
        }
    }
}

fn is_ip(text: &str) -> bool {
    match text.contains('/') {
        true => text.parse::<ipnet::IpNet>().is_ok(),
        false => text.parse::<std::net::IpAddr>().is_ok(),
    }
}
