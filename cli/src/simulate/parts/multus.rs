//! Multus as a part of a run, which can go away and come back.

use std::path::Path;

use ndra_core::cni::Command;
use ndra_mock_multus::{Config, Multus};

use super::super::lane::MultusKind;
use super::super::workdir::WorkDir;
use super::{Network, part};
use crate::failure::Failure;

/// Multus, running or not.
pub(crate) enum NodeMultus {
    /// The mock, in this process.
    Played {
        config: Box<Config>,
        running: Option<Multus>,
    },
}

impl NodeMultus {
    /// Starts or finds it.
    pub(crate) async fn start(
        kind: MultusKind,
        work: &WorkDir,
        client: &kube::Client,
        network: &Network,
    ) -> Result<Self, Failure> {
        let mut multus = match kind {
            MultusKind::Played => Self::Played {
                config: Box::new(Config {
                    state: network.state(),
                    backend: network.backend(),
                    ..Config::new(work.socket("multus"), client.clone())
                }),
                running: None,
            },
        };
        multus.come().await?;
        Ok(multus)
    }

    /// Where it serves, when it does.
    pub(crate) fn socket(&self) -> &Path {
        match self {
            Self::Played { config, .. } => &config.socket,
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
        }
    }

    /// It comes back, over what it did before.
    pub(crate) async fn come(&mut self) -> Result<(), Failure> {
        match self {
            Self::Played { config, running } => {
                let config = config.as_ref().clone();
                *running = Some(Multus::start(config).await.map_err(part("Multus"))?);
            }
        }
        Ok(())
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
        }
    }
}
