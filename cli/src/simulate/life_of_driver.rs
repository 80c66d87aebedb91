//! The driver of a run: how its process is started, followed and ended.

use super::lane::MultusKind;
use super::process::DriverProcess;
use super::world::{DRIVER, NODE, Stop, World};
use crate::failure::Failure;

impl World {
    /// Starts a driver's process and follows its events.
    pub(crate) fn start_driver(&mut self) -> Result<(), Failure> {
        let process = DriverProcess::start(&self.driver_flags()?, &self.work.log())?;
        self.adopt(process);
        Ok(())
    }

    /// Follows the events of a driver's process: it is the node's from now on.
    pub(super) fn adopt(&mut self, process: DriverProcess) {
        self.lives += 1;
        self.driver = Some(process);
        self.tail = Some(self.inlet.follow(self.lives, self.work.socket("events")));
    }

    /// Ends the driver's process, if it runs, and waits until its last event is here.
    pub(crate) async fn stop_driver(&mut self, how: Stop) -> Result<(), String> {
        let Some(driver) = self.driver.take() else {
            return Ok(());
        };
        let ended = match how {
            Stop::Term => driver.terminate().await,
            Stop::Kill => driver.kill().await,
        };
        self.last_event().await;
        ended
    }

    /// Waits for the last event of a driver that has ended.
    pub(super) async fn last_event(&mut self) {
        if let Some(tail) = self.tail.take() {
            // It ends with the connection.
            let _ = tokio::time::timeout(self.options.timeout, tail).await;
        }
    }

    pub(super) fn driver_flags(&self) -> Result<Vec<String>, Failure> {
        let exe = std::env::current_exe()
            .map_err(|error| Failure::run(format!("cannot find this program: {error}"), ""))?;
        let work = &self.work;
        let mut flags: Vec<String> = [
            ("node-name", NODE.into()),
            ("driver-name", DRIVER.into()),
            ("kubeconfig", work.kubeconfig()),
            ("registry-dir", work.at("reg")),
            ("plugin-dir", work.at("plugin")),
            ("state-dir", work.at("state")),
            ("cdi-dir", self.runtime.cdi_dir(work)),
            ("hook-path", exe),
            ("callback-socket", work.socket("hook")),
            ("events-socket", work.socket("events")),
            ("cri-socket", self.runtime.socket().to_owned()),
            ("multus-socket", self.multus.socket().to_owned()),
            ("cni-path", self.plugins.path()),
            ("cni-cache-dir", work.at("cni/cache")),
        ]
        .into_iter()
        .map(|(flag, value): (&str, std::path::PathBuf)| format!("--{flag}={}", value.display()))
        .collect();
        let hook = self.runtime.hook_arguments(work);
        flags.extend(hook.iter().map(|arg| format!("--hook-arg={arg}")));
        let given = |name: &str| self.options.driver.iter().any(|own| own.starts_with(name));
        match self.options.slots {
            Some(slots) => flags.push(format!("--slots={slots}")),
            None if given("--slots") => {}
            None => {
                if !given("--max-attachments") {
                    flags.push(format!("--max-attachments={}", self.options.attachments));
                }
                flags.extend(self.network.interface_flags());
            }
        }
        // A node's own times are made for minutes; here a wait is a fault that a person
        // looks at.
        if self.is_classic() && !given("--kubelet-api") {
            flags.push("--kubelet-api=v1alpha3".into());
        }
        let times = [
            "--hook-timeout=8s",
            "--hook-kill-after=9s",
            "--cni-timeout=7s",
            match (&self.options.lane.multus, self.network.real()) {
                // It looks for a pod that is gone for 2.5 s before it refuses.
                (MultusKind::Real(_), _) => "--release-timeout=8s",
                (MultusKind::Played, true) => "--release-timeout=3s",
                (MultusKind::Played, false) => "--release-timeout=400ms",
            },
            "--orphan-retry=200ms",
            "--stop-timeout=5s",
            // Whoever runs a simulation writes its claims.
            "--allow-cni-type=*",
        ];
        for time in times {
            let name = time.split('=').next().unwrap_or(time);
            if !self.options.driver.iter().any(|own| own.starts_with(name)) {
                flags.push(time.into());
            }
        }
        flags.extend(self.options.driver.iter().cloned());
        Ok(flags)
    }
}
