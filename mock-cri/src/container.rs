//! Containers: create beside remove, start beside stop.

use std::sync::Arc;

use ndra_core::event;
use ndra_core::wire::cri;
use tokio_util::sync::CancellationToken;

use crate::Flavor;
use crate::annotations::{self, CrioContainer};
use crate::bundle::Bundle;
use crate::fault::Point;
use crate::lifecycle::Oci;
use crate::names;
use crate::runtime::{Inner, now, rfc3339};
use crate::spec::{self, ForContainer};
use crate::state::{Busy, Container, Exit, Phase, Store};
use crate::words::{Call, Fault, Held, Missing};

/// A CRI annotation on a container: it exits with this code, 0 to 255, once started.
pub const EXIT_CODE_ANNOTATION: &str = "ndra.dev/exit-code";

/// Exit code of a process that was killed.
pub(crate) const KILLED: i32 = 137;

/// Exit code of a process that SIGTERM ended.
const TERMINATED: i32 = 143;

/// Exit code that containerd reports for a container that could not be started.
const START_ERROR: i32 = 128;

/// What CreateContainer works out under the lock, before anything slow happens.
struct Plan {
    container: Container,
    spec: oci_spec::runtime::Spec,
    subject: event::Subject,
}

impl Inner {
    /// CreateContainer. Gives the id.
    pub(crate) async fn create_container(
        self: &Arc<Self>,
        request: cri::CreateContainerRequest,
    ) -> Result<String, Fault> {
        let config = request.config.as_ref();
        let has_devices = config.is_some_and(|config| !config.cdi_devices.is_empty());
        if has_devices && self.faults.strikes(Point::CreateContainer) {
            return Err(Fault::Injected {
                call: "CreateContainer",
            });
        }
        let plan = match self.plan_container(request)? {
            Planned::New(plan) => plan,
            Planned::Retried(id) => return Ok(id),
        };
        let id = plan.container.id.clone();
        let made = Box::pin(self.make_container(plan)).await;
        if made.is_err() {
            let mut store = self.store();
            store.container_names.retain(|_, holder| *holder != id);
        }
        made.map(|()| id)
    }

    /// Injects the devices; under CRI-O creates the OCI container, too.
    async fn make_container(self: &Arc<Self>, plan: Box<Plan>) -> Result<(), Fault> {
        let Plan {
            mut container,
            mut spec,
            subject,
        } = *plan;
        let devices = container.config.cdi_devices.iter().map(|d| d.name.as_str());
        container.devices = self
            .cdi
            .inject(&mut spec, devices, &container.config.annotations)
            .await
            .map_err(|reason| Fault::Cdi { reason })?;
        container.spec = Arc::new(spec);
        let oci = Oci {
            id: container.id.clone(),
            spec: container.spec.clone(),
            subject,
        };
        if self.flavor == Flavor::Crio {
            // CRI-O goes on when its caller gives up, and hands the container to the retry.
            container.bundle = Some(self.oci_create(&oci, &self.stop).await?);
        }
        let (sandbox, bundle) = (container.sandbox.clone(), container.bundle.clone());
        {
            let mut store = self.store();
            if store.ready(&sandbox) {
                store.containers.insert(oci.id, container);
                return Ok(());
            }
        }
        // The sandbox went while the devices were injected and the hooks ran.
        if let Some(bundle) = bundle {
            self.oci_delete(&oci, &bundle).await;
        }
        Err(Fault::SandboxNotReady { sandbox })
    }

    /// Checks the request in the flavour's own order, reserves the name and makes the spec.
    fn plan_container(&self, request: cri::CreateContainerRequest) -> Result<Planned, Fault> {
        let missing = Fault::Missing;
        let config = request.config;
        let pod_config = request.sandbox_config;
        if self.flavor == Flavor::Crio {
            let config = config.as_ref().ok_or(missing(Missing::ContainerConfig))?;
            config
                .image
                .as_ref()
                .ok_or(missing(Missing::ContainerImage))?;
            let pod = pod_config
                .as_ref()
                .ok_or(missing(Missing::ContainerSandboxConfig))?;
            pod.metadata
                .as_ref()
                .ok_or(missing(Missing::ContainerSandboxMetadata))?;
        }
        let mut store = self.store();
        let sandbox = store.sandbox(Call::CreateContainer, &request.pod_sandbox_id)?;
        if !sandbox.ready {
            return Err(Fault::SandboxNotReady {
                sandbox: sandbox.id.clone(),
            });
        }
        let config = config.ok_or(missing(Missing::ContainerConfig))?;
        let metadata = config
            .metadata
            .clone()
            .ok_or(missing(Missing::ContainerMetadata))?;
        if self.flavor == Flavor::Crio && metadata.name.is_empty() {
            return Err(missing(Missing::ContainerMetadataName));
        }
        let pod_config = pod_config.ok_or(missing(Missing::ContainerSandboxConfig))?;
        let pod = pod_config
            .metadata
            .clone()
            .ok_or(missing(Missing::ContainerSandboxMetadata))?;
        let name = names::container_name(self.flavor, &metadata, &pod);
        if let Some(holder) = store.container_names.get(&name) {
            let holder = holder.clone();
            let created = store.containers.contains_key(&holder);
            return match self.flavor {
                // CRI-O takes it for a retry of the request that made the container.
                Flavor::Crio if created => Ok(Planned::Retried(holder)),
                _ => Err(Fault::ContainerName { name, holder }),
            };
        }
        let image = config
            .image
            .as_ref()
            .map(|i| i.image.clone())
            .unwrap_or_default();
        if image.is_empty() {
            return Err(Fault::Image { image });
        }
        let exits = exit_code(&config)?;
        let id = names::new_id();
        let made = self.container_spec(&id, &name, &config, &metadata, &pod_config, &pod, sandbox);
        let spec = made.map_err(|error| Fault::Mock {
            what: format!("cannot make the OCI spec of container {id}: {error}"),
        })?;
        let subject = event::Subject::default()
            .pod(&sandbox.pod.namespace, &sandbox.pod.name)
            .sandbox(&sandbox.id)
            .container(&metadata.name);
        let container = Container {
            id: id.clone(),
            sandbox: sandbox.id.clone(),
            image_ref: names::image_digest(&image),
            log_path: log_path(&pod_config, &config),
            config,
            metadata,
            spec: Arc::default(),
            devices: Vec::new(),
            exits,
            created_at: now(),
            phase: Phase::Created,
            busy: None,
            bundle: None,
            ending: Arc::default(),
        };
        store.container_names.insert(name, id);
        Ok(Planned::New(Box::new(Plan {
            container,
            spec,
            subject,
        })))
    }

    #[allow(clippy::too_many_arguments)]
    fn container_spec(
        &self,
        id: &str,
        name: &str,
        config: &cri::ContainerConfig,
        metadata: &cri::ContainerMetadata,
        pod_config: &cri::PodSandboxConfig,
        pod: &cri::PodSandboxMetadata,
        sandbox: &crate::state::Sandbox,
    ) -> serde_json::Result<oci_spec::runtime::Spec> {
        let given = config.image.clone().unwrap_or_default();
        let directory = self.layout.sandbox(&sandbox.id);
        let rootfs = self.layout.bundle(id).join("rootfs");
        let annotations = match self.flavor {
            Flavor::Containerd => {
                let image = if given.user_specified_image.is_empty() {
                    &given.image
                } else {
                    &given.user_specified_image
                };
                annotations::containerd_container(&sandbox.id, pod, &metadata.name, image)
            }
            Flavor::Crio => annotations::crio_container(&CrioContainer {
                id,
                name,
                config,
                image: &given.image,
                image_ref: names::image_digest(&given.image).trim_start_matches("sha256:"),
                log_path: &log_path(pod_config, config),
                rootfs: &rootfs,
                created: &rfc3339(now()),
                sandbox: &sandbox.id,
                sandbox_name: &sandbox.name,
                sandbox_annotations: &sandbox.config.annotations,
                address: Some(sandbox.ip()).filter(|ip| !ip.is_empty()),
                directory: &directory,
            }),
        };
        spec::container(ForContainer {
            flavor: self.flavor,
            id,
            config,
            pod: pod_config,
            annotations,
            sandbox_pid: self.pid,
            netns: sandbox.netns(),
            directory: &directory,
            rootfs: &rootfs,
        })
    }

    /// RemoveContainer: kills it when it runs. What is unknown is no error.
    pub(crate) async fn remove_container(self: &Arc<Self>, id: &str) -> Result<(), Fault> {
        let Some(id) = self.container_to_undo(id)? else {
            return Ok(());
        };
        self.end_container(&id, KILLED).await;
        let (oci, bundle) = {
            let mut store = self.store();
            let subject = subject_of(&store, &id);
            let Ok(container) = store.container_mut(&id) else {
                return Ok(());
            };
            if container.busy.is_some() || container.running() {
                return Err(Fault::NotRemovable {
                    container: id,
                    state: container.held(),
                });
            }
            container.busy = Some(Busy::Removing);
            (oci_of(container, subject), container.bundle.clone())
        };
        if let (Flavor::Crio, Some(bundle)) = (self.flavor, &bundle) {
            self.oci_delete(&oci, bundle).await;
        }
        self.store().forget_container(&id);
        Ok(())
    }

    /// StartContainer. `gone` is cancelled when the caller gives up.
    pub(crate) async fn start_container(
        self: &Arc<Self>,
        id: &str,
        gone: &CancellationToken,
    ) -> Result<(), Fault> {
        let oci = {
            let mut store = self.store();
            let id = store.container(Call::Container, id)?.id.clone();
            let subject = subject_of(&store, &id);
            let container = store.container_mut(&id)?;
            if container.held() != Held::Created {
                return Err(Fault::NotStartable {
                    container: id,
                    state: container.held(),
                });
            }
            container.busy = Some(Busy::Starting);
            oci_of(container, subject)
        };
        let created = match self.flavor {
            Flavor::Containerd => self.start_task(&oci, gone).await.map(Some),
            Flavor::Crio => Ok(None),
        };
        let mut store = self.store();
        let container = store.container_mut(&oci.id)?;
        container.busy = None;
        match created {
            Ok(bundle) => {
                if bundle.is_some() {
                    container.bundle = bundle;
                }
                container.phase = Phase::Running { started_at: now() };
                if let Some(code) = container.exits {
                    let (runtime, id) = (self.clone(), oci.id);
                    self.tasks
                        .spawn(async move { runtime.end_container(&id, code).await });
                }
                Ok(())
            }
            Err(fault) => {
                container.phase = Phase::Exited(Exit {
                    started_at: 0,
                    finished_at: now(),
                    code: START_ERROR,
                    reason: "StartError",
                    message: fault.text(self.flavor),
                });
                Err(fault)
            }
        }
    }

    /// containerd makes the OCI container when the task is made, which is now.
    async fn start_task(
        self: &Arc<Self>,
        oci: &Oci,
        gone: &CancellationToken,
    ) -> Result<Arc<Bundle>, Fault> {
        let sandbox = oci.subject.sandbox.clone().unwrap_or_default();
        let not_ready = || Fault::SandboxNotReady {
            sandbox: sandbox.clone(),
        };
        if !self.store().ready(&sandbox) {
            return Err(not_ready());
        }
        let bundle = tokio::select! {
            made = self.oci_create(oci, &self.stop) => made?,
            () = gone.cancelled() => {
                return Err(Fault::Create { reason: "context canceled".into() });
            }
        };
        // The sandbox may have gone while the hooks ran.
        if !self.store().ready(&sandbox) {
            self.oci_delete(oci, &bundle).await;
            return Err(not_ready());
        }
        Ok(bundle)
    }

    /// StopContainer: with a grace period the process heeds SIGTERM at once, without one it
    /// is killed. What does not run is no error.
    pub(crate) async fn stop_container(
        self: &Arc<Self>,
        id: &str,
        grace: i64,
    ) -> Result<(), Fault> {
        if let Some(id) = self.container_to_undo(id)? {
            let code = if grace > 0 { TERMINATED } else { KILLED };
            self.end_container(&id, code).await;
        }
        Ok(())
    }

    /// The container's process ends with `code`, if it runs. containerd deletes the OCI
    /// container then, which runs the poststop hooks; CRI-O does so when it is removed.
    /// Returns when that is done, whoever does it.
    pub(crate) async fn end_container(self: &Arc<Self>, id: &str, code: i32) {
        let Some(ending) = self.store().containers.get(id).map(|c| c.ending.clone()) else {
            return;
        };
        let _ending = ending.lock().await;
        let (oci, bundle, started_at) = {
            let store = self.store();
            let Some(container) = store.containers.get(id) else {
                return;
            };
            let Phase::Running { started_at } = container.phase else {
                return;
            };
            let subject = subject_of(&store, id);
            (
                oci_of(container, subject),
                container.bundle.clone(),
                started_at,
            )
        };
        if let (Flavor::Containerd, Some(bundle)) = (self.flavor, &bundle) {
            self.oci_delete(&oci, bundle).await;
        }
        if let Ok(container) = self.store().container_mut(id) {
            if self.flavor == Flavor::Containerd {
                container.bundle = None;
            }
            container.phase = Phase::Exited(Exit {
                started_at,
                finished_at: now(),
                code,
                reason: if code == 0 { "Completed" } else { "Error" },
                message: String::new(),
            });
        }
    }

    /// The full id; `None` when there is nothing to undo.
    fn container_to_undo(&self, id: &str) -> Result<Option<String>, Fault> {
        match self.store().container(Call::Undo, id) {
            Ok(container) => Ok(Some(container.id.clone())),
            Err(fault) if fault.nothing_there() => Ok(None),
            Err(fault) => Err(fault),
        }
    }
}

enum Planned {
    New(Box<Plan>),
    /// The request was answered before with this id.
    Retried(String),
}

fn oci_of(container: &Container, subject: event::Subject) -> Oci {
    Oci {
        id: container.id.clone(),
        spec: container.spec.clone(),
        subject,
    }
}

fn subject_of(store: &Store, container: &str) -> event::Subject {
    let Some(container) = store.containers.get(container) else {
        return event::Subject::default();
    };
    let subject = event::Subject::default()
        .sandbox(&container.sandbox)
        .container(&container.metadata.name);
    match store.sandboxes.get(&container.sandbox) {
        Some(sandbox) => subject.pod(&sandbox.pod.namespace, &sandbox.pod.name),
        None => subject,
    }
}

fn log_path(pod: &cri::PodSandboxConfig, config: &cri::ContainerConfig) -> String {
    if pod.log_directory.is_empty() || config.log_path.is_empty() {
        return String::new();
    }
    format!("{}/{}", pod.log_directory, config.log_path)
}

fn exit_code(config: &cri::ContainerConfig) -> Result<Option<i32>, Fault> {
    let Some(value) = config.annotations.get(EXIT_CODE_ANNOTATION) else {
        return Ok(None);
    };
    match value.parse::<u8>() {
        Ok(code) => Ok(Some(code.into())),
        Err(_) => Err(Fault::ExitCode {
            value: value.clone(),
        }),
    }
}
