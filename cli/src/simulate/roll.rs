//! A rolling update of the driver: the next instance comes while the one before lives.

use ndra_mock_kubelet::{Kubelet, Plugin};

use super::process::{DriverProcess, times};
use super::world::{DRIVER, World};
use crate::failure::Failure;

/// What an instance logs that waits for its turn.
const STANDS_BY: &str = "stands by";

/// The two instances of a rolling update.
pub(super) struct Roll {
    /// Was asked to end.
    before: DriverProcess,
    /// The kubelet calls it.
    next: DriverProcess,
    /// The name of the next.
    instance: String,
}

fn wrong(error: String) -> Failure {
    Failure::run(error, "run again with --keep to keep its log")
}

impl World {
    /// Replaces the driver by an instance of this name, and waits until the one before has
    /// ended.
    pub(crate) async fn roll_driver(&mut self, instance: &str) -> Result<(), Failure> {
        self.begin_roll(instance).await?;
        self.end_roll().await
    }

    /// Starts an instance of this name, waits until it stands by, asks the one that runs to
    /// end as a kubelet does, and waits until the kubelet calls the new one. The one before
    /// may still have calls to finish.
    pub(crate) async fn begin_roll(&mut self, instance: &str) -> Result<(), Failure> {
        let Some(before) = self.driver.take() else {
            return Err(wrong("there is no driver that could be replaced".into()));
        };
        self.options
            .driver
            .retain(|flag| !flag.starts_with("--instance="));
        self.options.driver.push(format!("--instance={instance}"));
        let log = self.work.log();
        let said = times(&log, STANDS_BY);
        let mut next = DriverProcess::start(&self.driver_flags()?, &log)?;
        next.says(&self.board, STANDS_BY, said, self.options.timeout)
            .await
            .map_err(wrong)?;
        before.ask_to_end();
        if let Some(kubelet) = &self.kubelet {
            let ours = |plugin: &Plugin| {
                let name = plugin.endpoint.file_name();
                name.is_some_and(|name| name.to_string_lossy().contains(instance))
            };
            let mut plugins = kubelet.plugins();
            let called = plugins.wait_for(|plugins| plugins.get(DRIVER).is_some_and(ours));
            tokio::select! {
                called = tokio::time::timeout(self.options.timeout, called) => {
                    if !matches!(called, Ok(Ok(_))) {
                        return Err(wrong(format!("the kubelet does not call {instance}")));
                    }
                }
                () = forgotten(kubelet) => return Err(wrong(unknown(instance))),
            }
        }
        self.roll = Some(Roll {
            before,
            next,
            instance: instance.to_owned(),
        });
        Ok(())
    }

    /// Waits until the instance that was asked to end has ended. The kubelet must know one
    /// of the two at every moment.
    pub(crate) async fn end_roll(&mut self) -> Result<(), Failure> {
        let Some(roll) = self.roll.take() else {
            return Err(wrong("no driver is being replaced".into()));
        };
        let known = async {
            match &self.kubelet {
                Some(kubelet) => forgotten(kubelet).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = known => return Err(wrong(unknown(&roll.instance))),
            ended = roll.before.end() => ended.map_err(wrong)?,
        }
        self.last_event().await;
        self.adopt(roll.next);
        Ok(())
    }
}

fn unknown(instance: &str) -> String {
    format!("the kubelet knew no driver when it should have known {instance}")
}

/// Returns when the kubelet knows no driver.
async fn forgotten(kubelet: &Kubelet) {
    let mut plugins = kubelet.plugins();
    let gone = plugins.wait_for(|plugins| !plugins.contains_key(DRIVER));
    if gone.await.is_err() {
        std::future::pending::<()>().await;
    }
}
