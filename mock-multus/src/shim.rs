//! `/cni`: what the runtime's Multus shim asks for a pod's sandbox: its own network, and
//! those that the pod's annotation names.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use ndra_core::cni::CniResult;
use serde_json::{Value, json};

use crate::annotation::{self, NETWORKS};
use crate::api::NoPod;
use crate::daemon::{Daemon, configuring, need_pod};
use crate::delegate::Delegate;
use crate::go_json;
use crate::request::{Attributes, CommandArgs, PodArgs};

/// Where the daemon looks for the cluster's network by name.
const MULTUS_NAMESPACE: &str = "kube-system";
/// The longest configuration file that is read, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

impl Daemon {
    pub(crate) async fn shim(
        self: &Arc<Self>,
        args: &CommandArgs,
        pod: &PodArgs,
    ) -> Result<Option<CniResult>, String> {
        need_pod(pod)?;
        match &args.command[..] {
            "ADD" => {
                let added = self.shim_add(args, pod).await;
                added.map(Some).map_err(|error| configuring(pod, &error))
            }
            "DEL" => self.shim_del(args, pod).await.map(|()| None),
            "CHECK" => {
                for (index, delegate) in inline(&args.config)?.iter().enumerate() {
                    let if_name = if_name(delegate, args, index);
                    delegate.check(self, args, pod, &if_name).await?;
                }
                Ok(None)
            }
            other => Err(format!("unknown cmd type: {other}")),
        }
    }

    async fn shim_add(
        self: &Arc<Self>,
        args: &CommandArgs,
        pod: &PodArgs,
    ) -> Result<CniResult, String> {
        let loaded = inline(&args.config);
        let mut delegates = loaded.map_err(|e| format!("Multus: error loading netconf: {e}"))?;
        let object = match self.kubernetes.pod(pod).await {
            Ok(object) => object,
            // The pod went while its sandbox was made: the daemon lets that pass.
            Err(NoPod::NotFound) => return Ok(nothing(args)),
            Err(failed) => return Err(failed.into_text()),
        };
        let say = |error: String| format!("Multus: [{}]: {error}", pod.prefix());
        self.add_cluster_network(&args.config, &mut delegates)
            .await
            .map_err(|e| say(format!("failed to get clusterNetwork/defaultNetworks: {e}")))?;
        self.add_pod_networks(&object, &mut delegates)
            .await
            .map_err(|e| {
                say(format!(
                    "error loading k8s delegates k8s args: TryLoadPodDelegates: error in getting k8s network for pod: {e}"
                ))
            })?;
        self.remember(&args.container_id, delegates.clone());

        let mut first = None;
        let mut networks = Vec::new();
        for (index, delegate) in delegates.iter().enumerate() {
            let if_name = if_name(delegate, args, index);
            let result = match delegate.add(self, args, pod, &if_name).await {
                Ok(result) => result,
                Err(error) => {
                    // What was made goes again, and what was half made with it.
                    let _ = self.delete(&delegates[..=index], args, pod).await;
                    let network = &delegate.network;
                    return Err(format!(
                        "[{}:{network}]: error adding container to network {network:?}: {error}",
                        pod.prefix()
                    ));
                }
            };
            self.announce(object.clone(), &if_name, delegate, &result);
            let default = delegate.master;
            networks.push(annotation::status(
                &delegate.name,
                &if_name,
                default,
                &result,
            ));
            if default || first.is_none() {
                first = Some(result);
            }
        }
        self.kubernetes
            .set_network_status(pod, &Value::Array(networks))
            .await
            .map_err(|e| say(format!("error setting the networks status: {e}")))?;
        Ok(first.unwrap_or_default())
    }

    async fn shim_del(self: &Arc<Self>, args: &CommandArgs, pod: &PodArgs) -> Result<(), String> {
        let mut delegates = inline(&args.config)?;
        let known = match self.recall(&args.container_id) {
            Some(known) => known,
            None => {
                // Nothing is remembered: what the pod asks for now is the best guess.
                let Ok(object) = self.kubernetes.pod(pod).await else {
                    return Ok(());
                };
                let found = self.add_cluster_network(&args.config, &mut delegates).await;
                let _ = self.add_pod_networks(&object, &mut delegates).await;
                if let Err(error) = found {
                    return Err(format!(
                        "Multus: [{}]: failed to get clusterNetwork/defaultNetworks: {error}",
                        pod.prefix()
                    ));
                }
                delegates
            }
        };
        let deleted = self.delete(&known, args, pod).await;
        self.forget(&args.container_id);
        deleted
    }

    /// Deletes all of them, the last first; a failure does not stop the others.
    async fn delete(
        &self,
        delegates: &[Delegate],
        args: &CommandArgs,
        pod: &PodArgs,
    ) -> Result<(), String> {
        let mut errors = Vec::new();
        for (index, delegate) in delegates.iter().enumerate().rev() {
            let if_name = if_name(delegate, args, index);
            if let Err(error) = delegate.del(self, args, pod, &if_name).await {
                errors.push(error);
            }
        }
        match errors[..] {
            [] => Ok(()),
            _ => Err(format!("errors: {}", errors.join(" / "))),
        }
    }

    /// `clusterNetwork`: a file where it has a slash, else a network object.
    async fn add_cluster_network(
        &self,
        config: &Value,
        delegates: &mut Vec<Delegate>,
    ) -> Result<(), String> {
        let Some(name) = config["clusterNetwork"].as_str().filter(|n| !n.is_empty()) else {
            return Ok(());
        };
        let found = if name.contains('/') {
            read_file(name).await
        } else {
            self.kubernetes.network(MULTUS_NAMESPACE, name).await
        };
        let loaded = found.and_then(|config| Delegate::load(&config, Attributes::default()));
        let mut delegate = loaded.map_err(|error| {
            tracing::debug!(name, error, "the cluster's network");
            format!(
                "GetDefaultNetworks: failed to get clusterNetwork {name} in namespace {MULTUS_NAMESPACE}"
            )
        })?;
        delegate.master = true;
        delegates.push(delegate);
        Ok(())
    }

    async fn add_pod_networks(
        &self,
        pod: &Pod,
        delegates: &mut Vec<Delegate>,
    ) -> Result<(), String> {
        let Some(wanted) = pod.annotations().get(NETWORKS).filter(|t| !t.is_empty()) else {
            return Ok(());
        };
        let namespace = pod.namespace().unwrap_or_default();
        for selection in annotation::parse(wanted, &namespace)? {
            let config = self
                .kubernetes
                .network(&selection.namespace, &selection.name);
            let loaded = config
                .await
                .and_then(|config| Delegate::load(&config, selection.attributes));
            let mut delegate = loaded
                .map_err(|e| format!("GetNetworkDelegates: failed getting the delegate: {e}"))?;
            delegate.name = format!("{}/{}", selection.namespace, selection.name);
            delegate.if_name = selection.if_name;
            delegates.push(delegate);
        }
        Ok(())
    }
}

/// `delegates` of the configuration (`types.LoadNetConf`).
fn inline(config: &Value) -> Result<Vec<Delegate>, String> {
    let by_name = config["clusterNetwork"]
        .as_str()
        .is_some_and(|n| !n.is_empty());
    let given = config["delegates"].as_array().map(Vec::as_slice);
    let given = given.unwrap_or_default();
    if by_name {
        return Ok(Vec::new());
    }
    if given.is_empty() {
        return Err("LoadNetConf: at least one delegate/clusterNetwork must be specified".into());
    }
    let mut delegates = Vec::new();
    for (index, config) in given.iter().enumerate() {
        let mut delegate = Delegate::load(config, Attributes::default())
            .map_err(|e| format!("LoadNetConf: failed to load delegate {index} config: {e}"))?;
        delegate.master = index == 0;
        delegates.push(delegate);
    }
    Ok(delegates)
}

fn if_name(delegate: &Delegate, args: &CommandArgs, index: usize) -> String {
    match &delegate.if_name[..] {
        "" if delegate.master => args.if_name.clone(),
        "" => format!("net{index}"),
        asked => asked.to_owned(),
    }
}

/// The answer for a pod that is not there.
fn nothing(args: &CommandArgs) -> CniResult {
    let json = json!({
        "interfaces": [{"name": args.if_name, "sandbox": args.netns}],
        "ips": [{"address": "0.0.0.0/0", "gateway": "0.0.0.0"}]
    });
    CniResult::from_value(json, ndra_core::cni::version::LATEST).unwrap_or_default()
}

async fn read_file(path: &str) -> Result<Value, String> {
    use tokio::io::AsyncReadExt;
    let failed = |error: std::io::Error| format!("error loading CNI config file {path}: {error}");
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let mut text = Vec::new();
    file.take(MAX_FILE)
        .read_to_end(&mut text)
        .await
        .map_err(failed)?;
    go_json::parse(&text)
}
