//! A fault for each step. What lies in a step's way is put there when its turn comes, and
//! taken away when it has failed, so that the next try succeeds.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ndra_core::attachment::record;
use ndra_core::cni::Command;
use ndra_core::event::{Event, Phase, Step};
use ndra_core::gate::Arrival;
use ndra_mock_cri::Point;
use tokio_util::task::AbortOnDropHandle;

use super::world::{DRIVER, World};

/// The HTTP status by which a client is told that it may not.
const FORBIDDEN: u16 = 403;

/// The longest that something lies in the way of a step that does not come.
const LONGEST: Duration = Duration::from_secs(60);

/// Faults that wait for their step's turn, and what lies in the way of others.
#[derive(Default)]
pub(super) struct Faults {
    armed: Vec<Step>,
    in_the_way: Vec<AbortOnDropHandle<()>>,
}

impl Faults {
    /// Lets `step` fail the next time, whoever's it is, and says how.
    ///
    /// # Errors
    /// Nobody is there who could let it fail.
    pub(super) fn inject(&mut self, step: Step, world: &World) -> Result<String, String> {
        let how = match step {
            Step::Prepare => "the API server will refuse the driver's next look at a claim",
            Step::CdiWrite => "a directory will lie where the next CDI spec goes",
            Step::Prepared => "the driver's next answer will be lost on the way to the kubelet",
            Step::CreateContainer => "the runtime will refuse the next container with a claim",
            Step::Hook => "the next hook will not start",
            Step::Callback => "the next hook will be given an OCI state without annotations",
            Step::SandboxLookup => "the runtime will refuse the next PodSandboxStatus",
            Step::CniAdd => "Multus will refuse the next cni-add",
            Step::Status => "the API server will refuse the next status of a claim",
            Step::Unprepare => "the driver's record will not be writable at the next unprepare",
            Step::CniDel => "Multus will refuse the next cni-del",
            Step::CdiRemove => "a directory will lie where the next CDI spec to remove was",
        };
        let words = "a fault was injected";
        match step {
            Step::CniAdd => world.multus.fail_next(1, Command::Add, words)?,
            Step::CniDel => world.multus.fail_next(1, Command::Del, words)?,
            Step::CreateContainer => world.runtime.fail_next(Point::CreateContainer)?,
            Step::Hook => world.runtime.fail_next(Point::Hook)?,
            Step::Callback => world.runtime.fail_next(Point::OciState)?,
            Step::SandboxLookup => world.runtime.fail_next(Point::SandboxStatus)?,
            Step::Status => {
                let path = "*/resourceclaims/*/status";
                world.api_faults().fail_next(1, "patch", path, FORBIDDEN);
            }
            Step::Prepare | Step::CdiWrite | Step::Prepared | Step::Unprepare | Step::CdiRemove => {
                self.armed.push(step)
            }
        }
        Ok(how.into())
    }

    /// Somebody stands before a step, and goes on when this returns. One fault strikes at a
    /// time.
    pub(super) fn arrived(&mut self, arrival: Arrival, world: &World) {
        self.in_the_way.retain(|lying| !lying.is_finished());
        let Some(claim) = arrival.subject.claim.clone() else {
            return;
        };
        let spec = world
            .work
            .at("cdi")
            .join(format!("{DRIVER}-claim_{}.json", claim.uid));
        match arrival.step {
            Step::Prepare => {
                if self.strikes(Step::Prepare) {
                    let (namespace, name) = (&claim.namespace, &claim.name);
                    let path = format!(
                        "/apis/resource.k8s.io/v1/namespaces/{namespace}/resourceclaims/{name}"
                    );
                    world.api_faults().fail_next(1, "get", &path, FORBIDDEN);
                } else if self.strikes(Step::CdiWrite) {
                    self.lay(&spec, Step::CdiWrite, &claim.uid, world);
                }
            }
            Step::Prepared if self.strikes(Step::Prepared) => {
                arrival.fail("a fault was injected: the connection broke before the answer came");
            }
            Step::Unprepare => {
                if self.strikes(Step::Unprepare) {
                    // Where the next version of the record is written, before it is renamed.
                    let next = format!(".{}.tmp", record::FILE);
                    let next = world.work.at("state").join(next);
                    self.lay(&next, Step::Unprepare, &claim.uid, world);
                } else if self.strikes(Step::CdiRemove) {
                    // It may be gone, and then there is nothing to remove.
                    let _ = std::fs::remove_file(&spec);
                    self.lay(&spec, Step::CdiRemove, &claim.uid, world);
                }
            }
            _ => {}
        }
    }

    /// Is `step` to fail now? Then its turn is over.
    fn strikes(&mut self, step: Step) -> bool {
        let at = self.armed.iter().position(|armed| *armed == step);
        at.map(|at| self.armed.remove(at)).is_some()
    }

    /// Lays a directory there until `step` of the claim has failed.
    fn lay(&mut self, path: &Path, step: Step, uid: &str, world: &World) {
        if let Err(error) = std::fs::create_dir(path) {
            tracing::warn!(path = %path.display(), %error, "nothing lies in the way");
            return;
        }
        let lying = Lying(path.to_owned());
        let board = world.board.clone();
        let before = board.look(|seen| seen.flow.len());
        let uid = uid.to_owned();
        let failed = move |event: &Arc<Event>| {
            let claim = event.subject.claim.as_ref();
            (event.step, event.phase) == (step, Phase::Fail)
                && claim.is_some_and(|claim| claim.uid == uid)
        };
        let wait = async move {
            let flow = |seen: &super::board::Seen| {
                let new = seen.flow.get(before..).unwrap_or_default();
                new.iter().any(&failed).then_some(())
            };
            board.until(LONGEST, flow).await;
            drop(lying);
        };
        self.in_the_way
            .push(AbortOnDropHandle::new(tokio::spawn(wait)));
    }
}

/// A directory that goes when this is dropped.
struct Lying(PathBuf);

impl Drop for Lying {
    fn drop(&mut self) {
        // The work directory goes as a whole at the end.
        let _ = std::fs::remove_dir(&self.0);
    }
}
