//! The real Multus daemon as a part of a run: as on a node it is a pod's process, with mounts,
//! a service account and a configuration of its own, against the mock API server.

use std::path::{Path, PathBuf};

use ndra_core::cni::Command;
use ndra_mock_apiserver::ApiServer;
use ndra_mock_multus::{RealConfig, RealMultus, SERVICE_ACCOUNT};
use ndra_netns::Mount;

use super::plugin_faults::PluginFaults;
use super::{Network, part};
use crate::failure::Failure;
use crate::problem::{Place, Problem};
use crate::simulate::home::NAMESPACES;
use crate::simulate::workdir::WorkDir;
use crate::simulate::world::NODE;

/// What on a node only pods see otherwise.
const RUN: &str = "/run";

/// The daemon, running or not.
pub(crate) struct Daemon {
    program: PathBuf,
    config: RealConfig,
    socket: PathBuf,
    mounts: Vec<Mount>,
    faults: PluginFaults,
    running: Option<RealMultus>,
}

impl Daemon {
    /// Lays what it needs; nothing is started.
    ///
    /// # Errors
    /// If it cannot be laid, or would not be seen by the daemon.
    pub(crate) fn new(
        program: &Path,
        work: &WorkDir,
        api: &ApiServer,
        network: &Network,
    ) -> Result<Self, Failure> {
        let dir = work.at("multus");
        if work.path().starts_with(RUN) {
            let what = "the directory of the run is in /run, of which the daemon has its own";
            let mend = "set TMPDIR to another one, or unset it";
            let place = Place::file(format!("--multus {}", program.display()));
            return Err(Problem::new(place, what, mend).into());
        }
        let fail = |error: std::io::Error| {
            Failure::run(format!("cannot lay Multus's directory: {error}"), "")
        };
        let account = dir.join("account");
        let credentials = api.credentials().ok_or_else(|| {
            Failure::run("the mock API server has no token for the real Multus", "")
        })?;
        credentials
            .write_service_account(&account, "kube-system")
            .map_err(fail)?;
        let faults = PluginFaults::new(work, network.plugin_path()).map_err(fail)?;
        let mut cni_path = vec![faults.programs().to_owned()];
        cni_path.extend(network.plugin_path().iter().cloned());
        let config = RealConfig {
            log: work.at("logs/multus.log"),
            cni_path,
            cache_dir: network.cache().to_owned(),
            api_server: api.address(),
            node: NODE.into(),
            dir: dir.clone(),
        };
        Ok(Self {
            program: program.to_owned(),
            socket: config.socket(),
            config,
            mounts: mounts(&dir.join("netns"), account),
            faults,
            running: None,
        })
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Starts it, again if it has been killed; returns when it answers.
    pub(crate) async fn start(&mut self) -> Result<(), Failure> {
        if let Some(before) = self.running.take() {
            before.kill().await;
        }
        let command = ndra_netns::in_mounts(&self.mounts, &self.program);
        let command = command.map_err(part("real Multus"))?;
        let running = RealMultus::start(command, self.config.clone()).await;
        self.running = Some(running.map_err(part("real Multus"))?);
        Ok(())
    }

    /// Ends it, and waits for that.
    pub(crate) async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
        // One that was killed leaves it.
        let _ = std::fs::remove_file(&self.socket);
    }

    /// The next `times` plugins that it runs for a command fail with these words.
    pub(crate) fn fail_next(
        &self,
        times: usize,
        command: Command,
        error: &str,
    ) -> Result<(), String> {
        let ordered = self.faults.fail_next(times, command, error);
        ordered.map_err(|error| format!("no plugin can be made to fail: {error}"))
    }

    /// Whether plugins that it runs wait before they do anything.
    pub(crate) fn hold(&self, hold: bool) -> Result<(), String> {
        let held = self.faults.hold(hold);
        held.map_err(|error| format!("plugins cannot be held: {error}"))
    }
}

/// A service account where a pod has it, and the namespaces of a real runtime where they are.
/// `beside` is any place for those while the directory above them is hidden.
fn mounts(beside: &Path, account: PathBuf) -> Vec<Mount> {
    let namespaces = Path::new(NAMESPACES).canonicalize().ok();
    let mut mounts = Vec::new();
    if let Some(from) = &namespaces {
        mounts.push(Mount::Bind {
            from: from.clone(),
            at: beside.to_owned(),
        });
    }
    // The host's has no service account, and nobody may make one there.
    mounts.push(Mount::Empty(RUN.into()));
    if let Some(at) = namespaces {
        mounts.push(Mount::Bind {
            from: beside.to_owned(),
            at,
        });
    }
    mounts.push(Mount::Bind {
        from: account,
        at: SERVICE_ACCOUNT.into(),
    });
    mounts
}
