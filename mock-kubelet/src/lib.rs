//! A kubelet without a node: plugin registration, DRA and CRI exactly as a driver and a
//! runtime meet them, driven by the API server's Pods.
//!
//! | room | what it does |
//! |---|---|
//! | `plugin` | finds registration sockets, shakes hands, watches connections, wipes ResourceSlices |
//! | `claim` | prepares and unprepares claims, keeps the checkpoint |
//! | `pod` | one worker a pod: sandbox, containers, status, teardown |
//! | `cri` | the runtime's calls |
//! | `register` | makes the Node |
//!
//! Behaviour and messages follow Kubernetes 1.36 (`pkg/kubelet/pluginmanager`,
//! `pkg/kubelet/cm/dra`, `pkg/kubelet/kuberuntime`).

mod claim;
mod config;
mod cri;
mod grpc;
mod kubelet;
mod node;
mod plugin;
mod pod;
mod register;

pub use claim::{CheckpointError, PreparedClaim, PreparedDevice};
pub use config::{ApiVersion, Config, Timing};
pub use cri::EXIT_CODE_ANNOTATION;
pub use kubelet::{Kubelet, StartError};
pub use plugin::{DeviceHealth, Health, HealthMap, Plugin, PluginStatus};
