//! The container runtime of a run.

use std::path::{Path, PathBuf};

use ndra_core::event::Recorder;
use ndra_core::gate::Gate;
use ndra_mock_cri::{Config, Namespaces, Point, Runtime};

use super::super::board::Board;
use super::super::lane::RuntimeKind;
use super::super::workdir::WorkDir;
use super::found::Found;
use super::part;
use crate::failure::Failure;
use crate::simulate::hooks::Hooks;

/// What a runtime needs of the run that it is part of.
pub(crate) struct Setting<'a> {
    pub(crate) work: &'a WorkDir,
    pub(crate) recorder: Recorder,
    pub(crate) gate: Gate,
    /// What pods' network namespaces are.
    pub(crate) namespaces: Namespaces,
    /// Nudged when a real runtime has news.
    pub(crate) board: Board,
}

/// A pod sandbox, as a runtime lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sandbox {
    pub(crate) id: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) ready: bool,
    /// Its network namespace, while it is there; none for a pod in the host's.
    pub(crate) netns: Option<PathBuf>,
}

/// A running container runtime.
pub(crate) enum NodeRuntime {
    /// The mock, in this process.
    Played { runtime: Runtime, socket: PathBuf },
    /// A real one.
    Found(Box<Found>),
}

impl NodeRuntime {
    /// Starts or finds it.
    pub(crate) async fn start(kind: &RuntimeKind, setting: Setting<'_>) -> Result<Self, Failure> {
        match kind {
            RuntimeKind::Found(endpoint) => {
                let found = Found::start(endpoint, setting).await?;
                Ok(Self::Found(Box::new(found)))
            }
            RuntimeKind::Played(flavor) => {
                let Setting {
                    work,
                    recorder,
                    gate,
                    namespaces,
                    board: _,
                } = setting;
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
                .map_err(part("mock container runtime"))?;
                Ok(Self::Played { runtime, socket })
            }
        }
    }

    /// Where it serves CRI.
    pub(crate) fn socket(&self) -> &Path {
        match self {
            Self::Played { socket, .. } => socket,
            Self::Found(found) => found.socket(),
        }
    }

    /// Where it reads CDI specs.
    pub(crate) fn cdi_dir(&self, work: &WorkDir) -> PathBuf {
        match self {
            Self::Played { .. } => work.at("cdi"),
            Self::Found(found) => found.cdi_dir().to_owned(),
        }
    }

    /// What this program is to be given when it is run as the hook.
    pub(crate) fn hook_arguments(&self, work: &WorkDir) -> Vec<String> {
        match self {
            Self::Played { .. } => vec!["hook".into()],
            Self::Found(_) => Hooks::arguments(work),
        }
    }

    /// The run's sandboxes, as they are known now.
    pub(crate) fn sandboxes(&self) -> Vec<Sandbox> {
        match self {
            Self::Played { runtime, .. } => {
                let sandboxes = runtime.sandboxes().into_iter().map(|info| Sandbox {
                    id: info.id,
                    namespace: info.namespace,
                    name: info.name,
                    ready: info.ready,
                    netns: info.netns,
                });
                sandboxes.collect()
            }
            Self::Found(found) => found.sandboxes(),
        }
    }

    /// Lets what is asked of it at `point` fail the next time. Says why it will not.
    pub(crate) fn fail_next(&self, point: Point) -> Result<(), String> {
        match self {
            Self::Played { runtime, .. } => {
                runtime.faults().fail_next(point);
                Ok(())
            }
            Self::Found(_) => Err("a real container runtime does not fail by request".into()),
        }
    }

    /// Network namespaces of the run's sandboxes that are there now.
    pub(crate) fn namespaces(&self, work: &WorkDir) -> Vec<String> {
        match self {
            Self::Played { .. } => work.files("netns"),
            Self::Found(found) => found.namespaces(),
        }
    }

    /// Ends a container's process with this exit code, as if it had crashed. A real process
    /// is killed, and has the exit code of that: 137.
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
            Self::Found(found) => found.kill_container(namespace, pod, container).await,
        }
    }

    /// Ends a sandbox's own process, as after a crash.
    pub(crate) async fn kill_sandbox(&self, namespace: &str, pod: &str) -> Result<(), String> {
        match self {
            Self::Played { runtime, .. } => runtime
                .kill_sandbox(namespace, pod)
                .await
                .map_err(|error| error.to_string()),
            Self::Found(found) => found.kill_sandbox(namespace, pod).await,
        }
    }

    /// Hardware address and addresses of an interface, as a real container of the pod sees
    /// them; `None` where containers are played.
    pub(crate) async fn interface(
        &self,
        namespace: &str,
        pod: &str,
        name: &str,
    ) -> Option<Result<(String, Vec<String>), String>> {
        match self {
            Self::Played { .. } => None,
            Self::Found(found) => Some(found.interface(namespace, pod, name).await),
        }
    }

    /// Ends it, or leaves it as it was found.
    pub(crate) async fn stop(self) {
        match self {
            Self::Played { runtime, .. } => runtime.stop().await,
            Self::Found(found) => found.stop().await,
        }
    }
}
