//! The thick Multus daemon's delegate API, from the caller's side.
//!
//! `POST /delegate` on the daemon's unix socket adds or deletes one network of a running
//! pod (`pkg/server/api` in the Multus sources). The network always travels as a
//! configuration list: the daemon lays keys of its own configuration over the request's,
//! and of a list only `cniVersion` and `name` reach the plugin, while a single plugin's
//! configuration would get all of them.

mod error;
mod http;

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::cni::{CniResult, Command, ConfigList, Invocation, version};

pub use error::{Attempt, MultusError};

/// The pod that an attachment is for, as Multus looks it up in the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID. With `None` the daemon takes whichever pod has the name now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

/// What is asked of the interface on top of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InterfaceAttributes {
    /// Addresses, with or without prefix length.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<String>,
    /// The hardware address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Goes into `args.cni` of every plugin.
    #[serde(default, rename = "cni-args", skip_serializing_if = "Map::is_empty")]
    pub cni_args: Map<String, Value>,
}

impl InterfaceAttributes {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The daemon at one socket. Holds no connection: the daemon keeps none alive.
#[derive(Clone, Debug)]
pub struct Multus {
    socket: PathBuf,
}

impl Multus {
    /// The daemon that listens at `socket`, usually `/run/multus/multus.sock`.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
        }
    }

    /// Where the daemon listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Attaches. The `args` and `capability_args` of `invocation` are not sent: the daemon
    /// makes its own of `pod` and `attributes`. After a failure the caller owes a
    /// [`delegate_del`](Self::delegate_del).
    pub async fn delegate_add(
        &self,
        network: &ConfigList,
        invocation: &Invocation,
        pod: &Pod,
        attributes: &InterfaceAttributes,
        deadline: Instant,
    ) -> Result<CniResult, MultusError> {
        let mut body = request(Command::Add, network, invocation, pod)?;
        if !attributes.is_empty() {
            body["interfaceAttributes"] = serde_json::to_value(attributes).unwrap_or(Value::Null);
        }
        let attempt = Attempt::new(Command::Add, network, invocation, pod);
        let answer = self.delegate(attempt.clone(), body, deadline).await?;
        read_result(&answer).map_err(|reason| MultusError::Unreadable {
            attempt: Box::new(attempt),
            reason,
        })
    }

    /// Detaches. See [`MultusError::pod_is_gone`] for when the daemon cannot.
    pub async fn delegate_del(
        &self,
        network: &ConfigList,
        invocation: &Invocation,
        pod: &Pod,
        deadline: Instant,
    ) -> Result<(), MultusError> {
        let body = request(Command::Del, network, invocation, pod)?;
        let attempt = Attempt::new(Command::Del, network, invocation, pod);
        self.delegate(attempt, body, deadline).await?;
        Ok(())
    }

    /// Whether the daemon answers at all.
    pub async fn healthz(&self, deadline: Instant) -> Result<(), MultusError> {
        self.probe("/healthz", deadline).await
    }

    /// Whether the daemon takes requests, and is not about to stop.
    pub async fn readyz(&self, deadline: Instant) -> Result<(), MultusError> {
        self.probe("/readyz", deadline).await
    }

    async fn delegate(
        &self,
        attempt: Attempt,
        body: Value,
        deadline: Instant,
    ) -> Result<Bytes, MultusError> {
        let body = Bytes::from(body.to_string());
        self.exchange(Method::POST, "/delegate", body, attempt, deadline)
            .await
    }

    async fn probe(&self, path: &'static str, deadline: Instant) -> Result<(), MultusError> {
        let attempt = Attempt::Probe(path);
        self.exchange(Method::GET, path, Bytes::new(), attempt, deadline)
            .await?;
        Ok(())
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        attempt: Attempt,
        deadline: Instant,
    ) -> Result<Bytes, MultusError> {
        let exchange = http::exchange(&self.socket, method, path, body);
        let answer = match tokio::time::timeout_at(deadline, exchange).await {
            Ok(answer) => answer,
            Err(_) => {
                return Err(MultusError::TimedOut {
                    attempt: Box::new(attempt),
                    socket: self.socket.clone(),
                });
            }
        };
        let attempt = Box::new(attempt);
        match answer {
            Ok((StatusCode::OK, body)) => Ok(body),
            Ok((status, body)) => Err(MultusError::Refused {
                attempt,
                status: status.as_u16(),
                text: String::from_utf8_lossy(&body).into_owned(),
            }),
            Err(http::Failure::Unreachable(error)) => Err(MultusError::Unreachable(error)),
            Err(http::Failure::Closed) => Err(MultusError::Closed { attempt }),
            Err(http::Failure::Broken(reason)) => Err(MultusError::Unreadable { attempt, reason }),
        }
    }
}

/// The request without interface attributes (`api.Request`).
fn request(
    command: Command,
    network: &ConfigList,
    invocation: &Invocation,
    pod: &Pod,
) -> Result<Value, MultusError> {
    invocation.check()?;
    let mut args = vec![
        ("K8S_POD_NAMESPACE".to_owned(), pod.namespace.clone()),
        ("K8S_POD_NAME".to_owned(), pod.name.clone()),
    ];
    args.extend(
        pod.uid
            .iter()
            .map(|uid| ("K8S_POD_UID".to_owned(), uid.clone())),
    );
    let args = Invocation {
        args,
        ..invocation.clone()
    };
    args.check()?;
    let config = serde_json::to_vec(network).unwrap_or_default();
    let netns = invocation.netns.as_deref().unwrap_or(Path::new(""));
    Ok(json!({
        "env": {
            "CNI_COMMAND": command.as_str(),
            "CNI_CONTAINERID": invocation.container_id,
            "CNI_NETNS": netns.to_string_lossy(),
            "CNI_IFNAME": invocation.if_name,
            "CNI_ARGS": args.cni_args(),
            "K8S_POD_INFRA_CONTAINER_ID": invocation.container_id,
        },
        "config": STANDARD.encode(config),
    }))
}

/// `{"Result": …}`, the result of version 1.1.0 or one that says which.
fn read_result(answer: &[u8]) -> Result<CniResult, String> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(rename = "Result")]
        result: Value,
    }
    let answer: Answer = serde_json::from_slice(answer).map_err(|e| e.to_string())?;
    CniResult::from_value(answer.result, version::LATEST).map_err(|e| e.to_string())
}
