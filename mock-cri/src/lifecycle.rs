//! How the OCI runtime makes and unmakes a container: the bundle, and the hooks around it.

use std::collections::BTreeMap;
use std::sync::Arc;

use ndra_core::event;
use oci_spec::runtime::{Hooks, Spec};
use tokio_util::sync::CancellationToken;

use crate::Flavor;
use crate::bundle::Bundle;
use crate::oci_state::{self, Moment};
use crate::runtime::Inner;
use crate::stage::{Run, Stage};
use crate::words::Fault;

/// A container as the OCI runtime sees it.
#[derive(Clone)]
pub(crate) struct Oci {
    pub(crate) id: String,
    pub(crate) spec: Arc<Spec>,
    /// Pod, sandbox and container for events.
    pub(crate) subject: event::Subject,
}

impl Inner {
    /// `runc create` or `crun create`: writes the bundle and runs the hooks of creation. A
    /// failed hook leaves nothing; runc runs the poststop hooks then, crun does not.
    pub(crate) async fn oci_create(
        &self,
        oci: &Oci,
        halt: &CancellationToken,
    ) -> Result<Arc<Bundle>, Fault> {
        let bundle = Bundle::write(&self.layout, &oci.id, &oci.spec)
            .map(Arc::new)
            .map_err(|error| Fault::Mock {
                what: format!(
                    "cannot write the bundle of container {} to {}: {error}",
                    oci.id,
                    self.layout.bundle(&oci.id).display()
                ),
            })?;
        let Some(hooks) = oci.spec.hooks() else {
            return Ok(bundle);
        };
        let state = self.oci_state(Moment::Creating, oci, &bundle)?;
        let run = self.run(hooks, &state, &bundle, oci, halt);
        let inside = Run {
            cwd: bundle.rootfs(),
            ..self.run(hooks, &state, &bundle, oci, halt)
        };
        let created = async {
            run.stage(Stage::Prestart).await?;
            run.stage(Stage::CreateRuntime).await?;
            inside.stage(Stage::CreateContainer).await
        };
        if let Err(failed) = created.await {
            if self.flavor == Flavor::Containerd {
                self.oci_delete(oci, &bundle).await;
            }
            return Err(Fault::Create {
                reason: failed.to_string(),
            });
        }
        Ok(bundle)
    }

    /// `runc delete` or `crun delete`: runs the poststop hooks. The bundle goes with its
    /// last owner.
    pub(crate) async fn oci_delete(&self, oci: &Oci, bundle: &Bundle) {
        let Some(hooks) = oci.spec.hooks() else {
            return;
        };
        match self.oci_state(Moment::Stopped, oci, bundle) {
            Ok(state) => {
                self.run(hooks, &state, bundle, oci, &self.stop)
                    .stage_tolerant(Stage::Poststop)
                    .await;
            }
            Err(fault) => tracing::warn!("{}", fault.text(self.flavor)),
        }
    }

    fn oci_state(&self, moment: Moment, oci: &Oci, bundle: &Bundle) -> Result<Vec<u8>, Fault> {
        let annotations: BTreeMap<_, _> = oci
            .spec
            .annotations()
            .iter()
            .flatten()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let subject = oci_state::Subject {
            id: &oci.id,
            bundle: bundle.path(),
            rootfs: bundle.rootfs(),
            annotations: &annotations,
            pid: self.pid,
        };
        oci_state::json(self.flavor, moment, subject).map_err(|error| Fault::Mock {
            what: format!(
                "cannot write the OCI state of container {}: {error}",
                oci.id
            ),
        })
    }

    fn run<'a>(
        &'a self,
        hooks: &'a Hooks,
        state: &'a [u8],
        bundle: &'a Bundle,
        oci: &'a Oci,
        halt: &'a CancellationToken,
    ) -> Run<'a> {
        Run {
            flavor: self.flavor,
            hooks,
            state,
            cwd: bundle.path(),
            halt,
            subject: &oci.subject,
            recorder: &self.recorder,
            gate: &self.gate,
            faults: &self.faults,
        }
    }
}
