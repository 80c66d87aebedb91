//! Pod sandboxes: run beside stop and remove.

use std::sync::Arc;

use ndra_core::wire::cri;

use crate::Flavor;
use crate::annotations::{self, CrioSandbox};
use crate::names::{self, Lookup};
use crate::network::Network;
use crate::runtime::{Inner, now, rfc3339};
use crate::spec::{self, ForSandbox, PAUSE_IMAGE, host_network};
use crate::state::Sandbox;
use crate::words::{Call, Fault, Missing};

impl Inner {
    /// RunPodSandbox. Gives the id.
    pub(crate) fn run_sandbox(&self, request: cri::RunPodSandboxRequest) -> Result<String, Fault> {
        let mut config = request
            .config
            .ok_or(Fault::Missing(Missing::SandboxConfig))?;
        let pod = config
            .metadata
            .clone()
            .ok_or(Fault::Missing(Missing::SandboxMetadata))?;
        if self.flavor == Flavor::Crio {
            for (field, value) in [
                ("name", &pod.name),
                ("namespace", &pod.namespace),
                ("uid in metadata", &pod.uid),
            ] {
                if value.is_empty() {
                    return Err(Fault::Missing(Missing::SandboxField(field)));
                }
            }
            config.labels = annotations::sandbox_labels(&config, &pod);
        }
        let id = names::new_id();
        let name = names::sandbox_name(self.flavor, &pod);
        let mut store = self.store();
        if let Some(holder) = store.sandboxes.values().find(|s| s.name == name) {
            return match self.flavor {
                // CRI-O takes it for a retry of the request that made the sandbox.
                Flavor::Crio => Ok(holder.id.clone()),
                Flavor::Containerd => Err(Fault::SandboxName {
                    name,
                    holder: holder.id.clone(),
                }),
            };
        }
        let default = match self.flavor {
            Flavor::Containerd => "runc",
            Flavor::Crio => "crun",
        };
        let handler = request.runtime_handler;
        if !handler.is_empty() && handler != default {
            return Err(Fault::Handler {
                sandbox: id,
                handler,
            });
        }
        let network = if host_network(&config) {
            None
        } else {
            let address = store.pool.take().ok_or_else(|| Fault::NoAddress {
                sandbox: id.clone(),
            })?;
            match Network::open(self.namespaces, self.flavor, &self.netns_dir, address) {
                Ok(network) => Some(network),
                Err(error) => {
                    store.pool.give_back(address);
                    return Err(Fault::Mock {
                        what: format!(
                            "cannot make a network namespace in {}: {error}",
                            self.netns_dir.display()
                        ),
                    });
                }
            }
        };
        let mut sandbox = Sandbox {
            id: id.clone(),
            name,
            config,
            pod,
            handler,
            ready: true,
            created_at: now(),
            network,
            spec: oci_spec::runtime::Spec::default(),
        };
        match self.sandbox_spec(&sandbox) {
            Ok(made) => sandbox.spec = made,
            Err(error) => {
                if let Some(network) = &sandbox.network {
                    store.pool.give_back(network.taken());
                }
                return Err(Fault::Mock {
                    what: format!("cannot make the OCI spec of sandbox {id}: {error}"),
                });
            }
        }
        store.sandboxes.insert(id.clone(), sandbox);
        Ok(id)
    }

    fn sandbox_spec(&self, sandbox: &Sandbox) -> serde_json::Result<oci_spec::runtime::Spec> {
        let Sandbox {
            id, config, pod, ..
        } = sandbox;
        let directory = self.layout.sandbox(id);
        let annotations = match self.flavor {
            Flavor::Containerd => annotations::containerd_sandbox(id, config, pod, PAUSE_IMAGE),
            Flavor::Crio => annotations::crio_sandbox(&CrioSandbox {
                id,
                name: &sandbox.name,
                config,
                pod,
                image: PAUSE_IMAGE,
                address: sandbox.network.as_ref().map(|n| n.taken().to_string()),
                created: &rfc3339(sandbox.created_at),
                directory: &directory,
            }),
        };
        spec::sandbox(ForSandbox {
            flavor: self.flavor,
            id,
            config,
            annotations,
            netns: sandbox.netns(),
            directory: &directory,
        })
    }

    /// StopPodSandbox: containers are killed, then the network namespace goes. What is
    /// unknown or stopped already is no error.
    pub(crate) async fn stop_sandbox(self: &Arc<Self>, id: &str) -> Result<(), Fault> {
        let Some(id) = self.sandbox_to_undo(id)? else {
            return Ok(());
        };
        let containers = self.store().containers_of(&id);
        for container in containers {
            self.end_container(&container, crate::container::KILLED)
                .await;
        }
        let mut store = self.store();
        let Some(sandbox) = store.sandboxes.get_mut(&id) else {
            return Ok(());
        };
        sandbox.ready = false;
        if let Some(network) = &mut sandbox.network {
            network.close().map_err(|error| Fault::Mock {
                what: format!(
                    "failed to remove network namespace for sandbox {id:?}: {}: {error}",
                    network.path().display()
                ),
            })?;
        }
        Ok(())
    }

    /// RemovePodSandbox: stops it, removes its containers, forgets it.
    pub(crate) async fn remove_sandbox(self: &Arc<Self>, id: &str) -> Result<(), Fault> {
        let Some(id) = self.sandbox_to_undo(id)? else {
            return Ok(());
        };
        self.stop_sandbox(&id).await?;
        let containers = self.store().containers_of(&id);
        for container in containers {
            self.remove_container(&container).await?;
        }
        self.store().forget_sandbox(&id);
        Ok(())
    }

    /// The full id; `None` when there is nothing to undo.
    fn sandbox_to_undo(&self, id: &str) -> Result<Option<String>, Fault> {
        match self.store().sandbox(Call::Undo, id) {
            Ok(sandbox) => Ok(Some(sandbox.id.clone())),
            Err(fault) if fault.nothing_there() => Ok(None),
            // CRI-O passes over an ambiguous id, too.
            Err(Fault::Sandbox(_, _, Lookup::Ambiguous)) if self.flavor == Flavor::Crio => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// The sandbox's own process dies: not ready, its containers ended. The network
    /// namespace stays until the sandbox is stopped.
    pub(crate) async fn sandbox_died(self: &Arc<Self>, id: &str) {
        if let Some(sandbox) = self.store().sandboxes.get_mut(id) {
            sandbox.ready = false;
        }
        let containers = self.store().containers_of(id);
        for container in containers {
            self.end_container(&container, crate::container::KILLED)
                .await;
        }
    }
}
