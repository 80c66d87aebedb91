//! Multus as a part of a run, which can go away and come back.

use std::path::Path;

use ndra_core::cni::Command;
use ndra_mock_apiserver::ApiServer;
use ndra_mock_multus::{Config, Multus};

use super::super::lane::{Lane, MultusKind};
use super::super::workdir::WorkDir;
use super::multus_daemon::Daemon;
use super::{Network, part};
use crate::failure::Failure;

/// The cluster as Multus sees it.
#[derive(Clone, Copy)]
pub(crate) struct Cluster<'a> {
    /// Whom the real one asks.
    pub(crate) api: &'a ApiServer,
    /// How the mock asks it.
    pub(crate) client: &'a kube::Client,
}

/// Multus, running or not.
pub(crate) enum NodeMultus {
    /// The mock, in this process.
    Played {
        config: Box<Config>,
        running: Option<Multus>,
    },
    /// The real daemon, in a process of its own.
    Real(Box<Daemon>),
}

impl NodeMultus {
    /// Starts it.
    pub(crate) async fn start(
        lane: &Lane,
        work: &WorkDir,
        cluster: Cluster<'_>,
        network: &Network,
    ) -> Result<Self, Failure> {
        let mut multus = match &lane.multus {
            MultusKind::Played => Self::Played {
                config: Box::new(Config {
                    state: network.state(),
                    backend: network.backend(),
                    ..Config::new(work.socket("multus"), cluster.client.clone())
                }),
                running: None,
            },
            MultusKind::Real(program) => {
                let daemon = Daemon::new(program, work, cluster.api, network)?;
                Self::Real(Box::new(daemon))
            }
        };
        multus.come().await?;
        Ok(multus)
    }

    /// Where it serves, when it does.
    pub(crate) fn socket(&self) -> &Path {
        match self {
            Self::Played { config, .. } => &config.socket,
            Self::Real(daemon) => daemon.socket(),
        }
    }

    /// It goes away.
    pub(crate) async fn go(&mut self) {
        match self {
            Self::Played { running, .. } => {
                if let Some(multus) = running.take() {
                    multus.stop().await;
                }
            }
            Self::Real(daemon) => daemon.stop().await,
        }
    }

    /// It comes back, over what it did before.
    pub(crate) async fn come(&mut self) -> Result<(), Failure> {
        match self {
            Self::Played { config, running } => {
                let config = config.as_ref().clone();
                *running = Some(Multus::start(config).await.map_err(part("mock Multus"))?);
                Ok(())
            }
            Self::Real(daemon) => daemon.start().await,
        }
    }

    /// Whether plugins that it runs wait before they do anything. Says why they will not.
    pub(crate) fn hold(&self, hold: bool) -> Result<(), String> {
        match self {
            Self::Played {
                running: Some(multus),
                ..
            } => {
                multus.faults().hang(hold);
                Ok(())
            }
            Self::Played { running: None, .. } => Err("Multus does not run".into()),
            Self::Real(daemon) => daemon.hold(hold),
        }
    }

    /// The next `times` calls of a command fail with these words. Says why they will not.
    pub(crate) fn fail_next(
        &self,
        times: usize,
        command: Command,
        error: &str,
    ) -> Result<(), String> {
        match self {
            Self::Played {
                running: Some(multus),
                ..
            } => {
                multus.faults().fail_next(times, command, error);
                Ok(())
            }
            Self::Played { running: None, .. } => Err("Multus does not run".into()),
            Self::Real(daemon) => daemon.fail_next(times, command, error),
        }
    }
}
