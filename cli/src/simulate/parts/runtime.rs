//! The container runtime of a run.

use std::path::{Path, PathBuf};

use ndra_core::event::Recorder;
use ndra_core::gate::Gate;
use ndra_mock_cri::{Config, Namespaces, Point, Runtime, SandboxInfo};

use super::super::lane::RuntimeKind;
use super::super::workdir::WorkDir;
use super::part;
use crate::failure::Failure;

/// What a runtime needs of the run that it is part of.
pub(crate) struct Setting<'a> {
    pub(crate) work: &'a WorkDir,
    pub(crate) recorder: Recorder,
    pub(crate) gate: Gate,
    /// What pods' network namespaces are.
    pub(crate) namespaces: Namespaces,
}

/// A running container runtime.
pub(crate) enum NodeRuntime {
    /// The mock, in this process.
    Played { runtime: Runtime, socket: PathBuf },
}

impl NodeRuntime {
    /// Starts or finds it.
    pub(crate) async fn start(kind: &RuntimeKind, setting: Setting<'_>) -> Result<Self, Failure> {
        let Setting {
            work,
            recorder,
            gate,
            namespaces,
        } = setting;
        match kind {
            RuntimeKind::Played(flavor) => {
                let socket = work.socket("cri");
                let runtime = Runtime::start(Config {
                    socket: socket.clone(),
                    cdi_dirs: vec![work.at("cdi")],
                    state_dir: work.at("cri"),
                    netns_dir: work.at("netns"),
                    namespaces,
                    flavor: (*flavor).into(),
                    recorder,
                    gate,
                })
                .await
                .map_err(part("container runtime"))?;
                Ok(Self::Played { runtime, socket })
            }
        }
    }

    /// Where it serves CRI.
    pub(crate) fn socket(&self) -> &Path {
        match self {
            Self::Played { socket, .. } => socket,
        }
    }

    /// The run's sandboxes, as they are known now.
    pub(crate) fn sandboxes(&self) -> Vec<SandboxInfo> {
        match self {
            Self::Played { runtime, .. } => runtime.sandboxes(),
        }
    }

    /// Lets what is asked of it at `point` fail the next time. Says why it will not.
    pub(crate) fn fail_next(&self, point: Point) -> Result<(), String> {
        match self {
            Self::Played { runtime, .. } => {
                runtime.faults().fail_next(point);
                Ok(())
            }
        }
    }

    /// Ends a container's process with this exit code, as if it had crashed.
    pub(crate) async fn kill_container(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        code: i32,
    ) -> Result<(), String> {
        match self {
            Self::Played { runtime, .. } => runtime
                .kill_container(namespace, pod, container, code)
                .await
                .map_err(|error| error.to_string()),
        }
    }

    /// Ends a sandbox's own process, as after a crash.
    pub(crate) async fn kill_sandbox(&self, namespace: &str, pod: &str) -> Result<(), String> {
        match self {
            Self::Played { runtime, .. } => runtime
                .kill_sandbox(namespace, pod)
                .await
                .map_err(|error| error.to_string()),
        }
    }

    /// Ends it, or leaves it as it was found.
    pub(crate) async fn stop(self) {
        match self {
            Self::Played { runtime, .. } => runtime.stop().await,
        }
    }
}
