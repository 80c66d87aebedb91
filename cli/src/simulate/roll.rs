//! A rolling update of the driver: the next instance comes while the one before lives.

use ndra_mock_kubelet::Plugin;

use super::process::{DriverProcess, times};
use super::world::{DRIVER, World};
use crate::failure::Failure;

/// What an instance logs that waits for its turn.
const STANDS_BY: &str = "stands by";

impl World {
    /// Starts an instance named `instance`, waits until it stands by, and ends the one that
    /// runs as a kubelet does. The kubelet must know one of them at every moment.
    pub(crate) async fn roll_driver(&mut self, instance: &str) -> Result<(), Failure> {
        let wrong = |error: String| Failure::run(error, "run again with --keep to keep its log");
        self.options
            .driver
            .retain(|flag| !flag.starts_with("--instance="));
        self.options.driver.push(format!("--instance={instance}"));
        let log = self.work.log();
        let before = times(&log, STANDS_BY);
        let mut next = DriverProcess::start(&self.driver_flags()?, &log)?;
        next.says(&self.board, STANDS_BY, before, self.options.timeout)
            .await
            .map_err(wrong)?;
        let known = self.kubelet.as_ref().map(|kubelet| kubelet.plugins());
        let unknown = async {
            let Some(mut plugins) = known else {
                return std::future::pending().await;
            };
            let gone = plugins.wait_for(|plugins| !plugins.contains_key(DRIVER));
            if gone.await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let ours = |plugin: &Plugin| {
            plugin
                .endpoint
                .file_name()
                .is_some_and(|name| name.to_string_lossy().contains(instance))
        };
        tokio::select! {
            () = unknown => {
                return Err(wrong(format!("the kubelet knew no driver before it knew {instance}")));
            }
            ended = self.stop_driver(super::world::Stop::Term) => ended.map_err(wrong)?,
        }
        let taken = self.kubelet.as_ref().map(|kubelet| kubelet.plugins());
        if let Some(plugins) = taken
            && !plugins.borrow().get(DRIVER).is_some_and(ours)
        {
            return Err(wrong(format!("the kubelet does not call {instance}")));
        }
        self.adopt(next);
        Ok(())
    }
}
