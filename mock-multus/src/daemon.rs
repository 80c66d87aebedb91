//! The daemon behind the HTTP layer: a request's body in, an answer or a refusal out.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use ndra_core::cni::{CniResult, version};
use serde_json::{Map, Value, json};
use tokio_util::task::TaskTracker;

use crate::api::Kubernetes;
use crate::call::{Calls, Outcome};
use crate::delegate::Delegate;
use crate::fault::Faults;
use crate::plugins::Plugins;
use crate::request::{CommandArgs, PodArgs, Request};

pub(crate) struct Daemon {
    pub(crate) kubernetes: Kubernetes,
    pub(crate) plugins: Plugins,
    /// The daemon's configuration, laid over every request's.
    pub(crate) overlay: Map<String, Value>,
    pub(crate) faults: Faults,
    pub(crate) calls: Calls,
    /// The networks of pods that came through the shim, by sandbox, for their DEL.
    pub(crate) pods: Mutex<BTreeMap<String, Vec<Delegate>>>,
    /// What goes on after an answer.
    pub(crate) afterwards: TaskTracker,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// `/cni`: the shim, for a pod's sandbox.
    Shim,
    /// `/delegate`: somebody, for one more network.
    Delegate,
}

impl Endpoint {
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Shim => "/cni",
            Self::Delegate => "/delegate",
        }
    }
}

impl Daemon {
    /// The body of the answer, or the text of the refusal.
    pub(crate) async fn handle(
        self: &std::sync::Arc<Self>,
        endpoint: Endpoint,
        body: &[u8],
    ) -> Result<String, String> {
        let request = Request::parse(body)?;
        let args = request
            .command_args(&self.overlay)
            .map_err(|e| format!("could not extract the CNI command args: {e}"))?;
        let number = self.calls.begin(endpoint.path(), &args);
        let answer = self.answer(endpoint, &request, &args).await;
        let outcome = match &answer {
            Ok(result) => Outcome::Done(result.clone()),
            Err(text) => Outcome::Refused(text.clone()),
        };
        self.calls.end(number, outcome);
        Ok(match answer? {
            Value::Null => String::new(),
            result => json!({ "Result": result }).to_string(),
        })
    }

    async fn answer(
        self: &std::sync::Arc<Self>,
        endpoint: Endpoint,
        request: &Request,
        args: &CommandArgs,
    ) -> Result<Value, String> {
        let of_plugin = matches!(&args.command[..], "STATUS" | "GC");
        if endpoint == Endpoint::Shim && of_plugin {
            return Ok(Value::Null);
        }
        let pod = async { self.kubernetes.complete(request.pod()?).await };
        let pod = pod
            .await
            .map_err(|e| format!("could not extract the kubernetes runtime args: {e}"))?;
        let result = match endpoint {
            Endpoint::Shim => self.shim(args, &pod).await,
            Endpoint::Delegate => self.delegate(request, args, &pod).await,
        };
        let result = result.map_err(|error| args.errored(&error))?;
        Ok(result.map_or(Value::Null, |result| {
            serde_json::to_value(result).unwrap_or_default()
        }))
    }

    async fn delegate(
        self: &std::sync::Arc<Self>,
        request: &Request,
        args: &CommandArgs,
        pod: &PodArgs,
    ) -> Result<Option<CniResult>, String> {
        match &args.command[..] {
            "ADD" => self.delegate_add(request, args, pod).await.map(Some),
            "DEL" => self.delegate_del(args, pod).await.map(|()| None),
            "CHECK" => self.delegate_check(args, pod).await.map(|()| None),
            // Networks older than 1.1.0 have no STATUS, and the daemon's version is.
            "STATUS" => Delegate::load(&args.config, Default::default()).map(|_| None),
            other => Err(format!("unknown cmd type: {other}")),
        }
    }

    async fn delegate_add(
        self: &std::sync::Arc<Self>,
        request: &Request,
        args: &CommandArgs,
        pod: &PodArgs,
    ) -> Result<CniResult, String> {
        need_pod(pod)?;
        let object = self.kubernetes.pod(pod).await.map_err(|e| e.into_text())?;
        let attributes = request.attributes.clone().unwrap_or_default();
        let delegate = Delegate::load(&args.config, attributes)?;
        let added = delegate.add(self, args, pod, &args.if_name).await;
        let result = added.map_err(|error| configuring(pod, &error))?;
        self.announce(object, &args.if_name, &delegate, &result);
        Ok(result)
    }

    async fn delegate_del(&self, args: &CommandArgs, pod: &PodArgs) -> Result<(), String> {
        need_pod(pod)?;
        // As for ADD: without the pod there is no DEL.
        self.kubernetes.pod(pod).await.map_err(|e| e.into_text())?;
        let delegate = Delegate::load(&args.config, Default::default())?;
        delegate.del(self, args, pod, &args.if_name).await
    }

    /// The daemon takes every configuration here for one plugin's, and knows no name for it.
    async fn delegate_check(&self, args: &CommandArgs, pod: &PodArgs) -> Result<(), String> {
        let failed = |error: &str| {
            Err(format!(
                "DelegateCheck: error invoking DelegateCheck - \"\": {error}"
            ))
        };
        let text = |key: &str| args.config[key].as_str().unwrap_or_default();
        if text("type").is_empty() {
            return failed(
                "error in converting the raw bytes to conf: error parsing configuration: missing 'type'",
            );
        }
        let version = text("cniVersion");
        if version::at_least(version, "0.4.0") != Some(true) {
            return failed(&format!(
                "error in getting result from CheckNetwork: configuration version {version:?} does not support the CHECK command"
            ));
        }
        let delegate = Delegate::load(&args.config, Default::default())?.nameless();
        delegate.check(self, args, pod, &args.if_name).await
    }

    /// The Event on the pod, written after the answer.
    pub(crate) fn announce(
        self: &std::sync::Arc<Self>,
        pod: k8s_openapi::api::core::v1::Pod,
        if_name: &str,
        delegate: &Delegate,
        result: &CniResult,
    ) {
        if result.interfaces.is_empty() && result.ips.is_empty() {
            return;
        }
        let ips: Vec<String> = result.ips.iter().map(|ip| ip.address.to_string()).collect();
        let mut message = format!("Add {if_name} [{}]", ips.join(" "));
        if !delegate.name.is_empty() {
            message.push_str(&format!(" from {}", delegate.name));
        }
        let daemon = self.clone();
        self.afterwards
            .spawn(async move { daemon.kubernetes.added(&pod, message).await });
    }

    pub(crate) fn remember(&self, sandbox: &str, delegates: Vec<Delegate>) {
        let mut pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        pods.insert(sandbox.to_owned(), delegates);
    }

    pub(crate) fn recall(&self, sandbox: &str) -> Option<Vec<Delegate>> {
        let pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        pods.get(sandbox).cloned()
    }

    pub(crate) fn forget(&self, sandbox: &str) {
        let mut pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        pods.remove(sandbox);
    }
}

pub(crate) fn need_pod(pod: &PodArgs) -> Result<(), String> {
    if pod.namespace.is_empty() || pod.name.is_empty() {
        return Err(format!(
            "required CNI variable missing. pod name: {}; pod namespace: {}",
            pod.name, pod.namespace
        ));
    }
    Ok(())
}

pub(crate) fn configuring(pod: &PodArgs, error: &str) -> String {
    format!(
        "error configuring pod [{}/{}] networking: {error}",
        pod.namespace, pod.name
    )
}
