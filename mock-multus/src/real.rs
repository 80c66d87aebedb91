//! The real daemon as a child process, so that the mock can be held against it.
//!
//! The caller gives the command that leads to `multus-daemon`, because the daemon wants its
//! service account at a fixed path, which takes a mount namespace; everything else it needs
//! is written below one directory.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use ndra_core::multus::Multus as Client;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value, json};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::server::stock_daemon_config;

/// Where a pod, and so the daemon, finds its service account.
pub const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// How long it may take until it answers. It waits for its informers first.
const START: Duration = Duration::from_secs(60);
/// How long it may take to end after SIGTERM.
const STOP: Duration = Duration::from_secs(10);
/// Lines of its log that are shown when it ends by itself.
const TAIL: usize = 5;

/// How the real daemon is to run.
#[derive(Clone, Debug)]
pub struct RealConfig {
    /// Its own directory: configuration, socket, primary network. The path is short,
    /// because the socket's must be.
    pub dir: PathBuf,
    /// What it says is added to this file.
    pub log: PathBuf,
    /// Directories with plugins, searched in order.
    pub cni_path: Vec<PathBuf>,
    /// It keeps libcni's results below it.
    pub cache_dir: PathBuf,
    /// The API server, which serves TLS.
    pub api_server: SocketAddr,
    /// It watches this node's pods.
    pub node: String,
}

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
pub enum RealError {
    /// Its directory cannot be laid.
    #[error("cannot write {} for multus-daemon: {source}", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It cannot be started.
    #[error("cannot start multus-daemon: {0}; is it installed, and for this machine?")]
    Start(io::Error),
    /// It ended before it answered.
    #[error("multus-daemon ended by itself ({status}); it said last:\n{said}")]
    Ended {
        /// How.
        status: ExitStatus,
        /// The end of its log.
        said: String,
    },
    /// It does not answer.
    #[error("multus-daemon does not answer on {}; it said last:\n{said}", socket.display())]
    Silent {
        /// Where it was asked.
        socket: PathBuf,
        /// The end of its log.
        said: String,
    },
}

impl RealConfig {
    /// Where it listens. It removes everything else in that directory when it starts.
    pub fn socket(&self) -> PathBuf {
        self.run().join("multus.sock")
    }

    fn run(&self) -> PathBuf {
        self.dir.join("run")
    }

    fn networks(&self) -> PathBuf {
        self.dir.join("net.d")
    }

    /// Its configuration: the stock manifest's, with paths of its own and no chroot.
    pub fn daemon_config(&self) -> Map<String, Value> {
        let mut config = stock_daemon_config();
        config.shift_remove("chrootDir");
        let own = [
            ("cniConfigDir", self.networks()),
            ("multusAutoconfigDir", self.networks()),
            ("socketDir", self.run()),
            ("cniDir", self.cache_dir.clone()),
            // Always searched, before CNI_PATH; by default it is the node's /opt/cni/bin.
            ("binDir", self.cni_path.first().cloned().unwrap_or_default()),
        ];
        for (key, path) in own {
            config.insert(key.into(), path.display().to_string().into());
        }
        config
    }

    /// Lays the directory: the daemon does not start without the configuration of a network
    /// for the pods' own interface, which nobody here asks it for.
    fn write(&self) -> Result<PathBuf, RealError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| RealError::Write { path, source }
        };
        let mut private = DirBuilder::new();
        private.recursive(true).mode(0o700);
        for directory in [self.networks(), self.cache_dir.clone()] {
            private.create(&directory).map_err(at(&directory))?;
        }
        let primary = self.networks().join("10-primary.conf");
        let none = json!({"cniVersion": "0.3.1", "name": "primary", "type": "loopback"});
        fs::write(&primary, none.to_string()).map_err(at(&primary))?;
        let config = self.dir.join("daemon-config.json");
        let text = Value::Object(self.daemon_config()).to_string();
        fs::write(&config, text).map_err(at(&config))?;
        Ok(config)
    }

    fn said(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let mut lines: Vec<&str> = log.lines().rev().take(TAIL).collect();
        lines.reverse();
        lines.join("\n")
    }
}

/// A running daemon. It is killed when this is dropped.
#[derive(Debug)]
pub struct RealMultus {
    child: Child,
    config: RealConfig,
}

impl RealMultus {
    /// Starts `command`, which is or becomes `multus-daemon`, and returns when it answers.
    /// It sees its service account at [`SERVICE_ACCOUNT`]; that is the caller's to arrange.
    ///
    /// # Errors
    /// If it cannot be started, or ends, or does not answer in time.
    pub async fn start(
        command: std::process::Command,
        config: RealConfig,
    ) -> Result<Self, RealError> {
        let file = config.write()?;
        let log = File::options().create(true).append(true).open(&config.log);
        let log = log.map_err(|source| RealError::Write {
            path: config.log.clone(),
            source,
        })?;
        let errors = log.try_clone().map_err(RealError::Start)?;
        // The first is its `binDir`.
        let path = std::env::join_paths(config.cni_path.iter().skip(1))
            .map_err(|error| RealError::Start(io::Error::other(error)))?;
        let mut command = Command::from(command);
        command.arg("-config").arg(file).env_clear();
        // Plugins look for programs of their own.
        command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        let child = command
            .env("CNI_PATH", path)
            .env(
                "KUBERNETES_SERVICE_HOST",
                config.api_server.ip().to_string(),
            )
            .env(
                "KUBERNETES_SERVICE_PORT",
                config.api_server.port().to_string(),
            )
            .env("MULTUS_NODE_NAME", &config.node)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .map_err(RealError::Start)?;
        let mut daemon = Self { child, config };
        daemon.answers().await?;
        Ok(daemon)
    }

    async fn answers(&mut self) -> Result<(), RealError> {
        let client = Client::new(self.config.socket());
        let deadline = Instant::now() + START;
        let answers = async {
            while client.healthz(deadline).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            ended = self.child.wait() => Err(match ended {
                Ok(status) => RealError::Ended { status, said: self.config.said() },
                Err(error) => RealError::Start(error),
            }),
            answers = tokio::time::timeout_at(deadline, answers) => {
                answers.map_err(|_| RealError::Silent {
                    socket: self.config.socket(),
                    said: self.config.said(),
                })
            }
        }
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.config.socket()
    }

    /// Its process.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Asks it to end, and waits for that.
    pub async fn stop(mut self) {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok());
        // It may have ended by itself.
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        if tokio::time::timeout(STOP, self.child.wait()).await.is_err() {
            self.kill().await;
        }
    }

    /// Ends it without a warning. Its socket stays, and nobody listens.
    pub async fn kill(mut self) {
        // An error means that it has ended.
        let _ = self.child.kill().await;
    }
}
