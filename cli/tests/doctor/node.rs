//! A node of mocks and a driver, in one directory, and what the doctor says of it.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use ndra_core::driver::{Cni, Config, Driver};
use ndra_core::event::Recorder;
use ndra_core::gate::Gate;
use ndra_core::kube;
use ndra_mock_apiserver::{ApiServer, Rbac};
use ndra_mock_cri::{Namespaces, Runtime};
use ndra_mock_kubelet::{Kubelet, Timing};
use ndra_mock_multus::Multus;
use serde_json::json;

/// Checks of the machine that the tests run on.
pub(crate) const OF_MACHINE: [&str; 4] = ["netns", "capabilities", "hook-mount", "selinux"];

/// Longer than anything here takes, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Node {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) config: Config,
    pub(crate) api: Option<ApiServer>,
    pub(crate) runtime: Option<Runtime>,
    pub(crate) multus: Option<Multus>,
    pub(crate) driver: Option<Driver>,
    kubelet: Option<Kubelet>,
}

/// What a command said.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn of(args: &[&str]) -> Self {
        Self::by(Command::new(env!("CARGO_BIN_EXE_ndra")).args(args))
    }

    pub(crate) fn by(command: &mut Command) -> Self {
        let output = command
            .env("LC_ALL", "C.UTF-8")
            .env_remove("NODE_NAME")
            .env_remove("CNI_PATH")
            .env_remove("KUBECONFIG")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Lines about the node alone; the last counts what the machine has, too.
    pub(crate) fn without_machine(&self) -> String {
        let of_node = |line: &&str| {
            let check = line.split_whitespace().nth(1).unwrap_or_default();
            !line.is_empty() && !OF_MACHINE.contains(&check) && !line.ends_with(" to mend")
        };
        let lines: Vec<&str> = self.out.lines().filter(of_node).collect();
        lines.join("\n")
    }

    fn at(&self, level: &str) -> Vec<String> {
        let checks = self.out.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.next()? == level).then(|| words.next().unwrap().to_owned())
        });
        checks.collect()
    }

    pub(crate) fn failed(&self) -> Vec<String> {
        self.at("fail")
    }

    pub(crate) fn warned(&self) -> Vec<String> {
        self.at("warn")
    }

    /// The line of a check.
    pub(crate) fn line(&self, check: &str) -> &str {
        let of = |line: &&str| line.split_whitespace().nth(1) == Some(check);
        self.out
            .lines()
            .find(of)
            .unwrap_or_else(|| panic!("no {check}: {}", self.out))
    }
}

impl Node {
    pub(crate) async fn new(flavor: &str) -> Self {
        Self::with(flavor, None).await
    }

    /// `rbac`: what the driver's token may do.
    pub(crate) async fn with(flavor: &str, rbac: Option<(Rbac, &str)>) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("nd")
            .tempdir_in("/tmp")
            .unwrap();
        let at = |name: &str| dir.path().join(name);
        kube::install_crypto();
        let api = ApiServer::start(ndra_mock_apiserver::Config {
            rbac: rbac
                .iter()
                .map(|(rbac, _)| rbac.clone())
                .next()
                .unwrap_or_default(),
            ..ndra_mock_apiserver::Config::default()
        })
        .await
        .unwrap();
        api.create(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}}))
            .unwrap();
        std::fs::write(at("admin"), api.kubeconfig()).unwrap();
        let kubeconfig = match &rbac {
            Some((_, token)) => api.kubeconfig_with(token),
            None => api.kubeconfig(),
        };
        std::fs::write(at("kubeconfig"), kubeconfig).unwrap();
        let client = kube::connect(Some(&at("admin")), "test").await.unwrap();

        let mut config = Config::new("node-1");
        config.kubeconfig = Some(at("kubeconfig"));
        config.registry_dir = at("registry");
        config.plugin_dir = at("plugin");
        config.state_dir = at("state");
        config.cdi_dir = at("cdi");
        config.hook_path = at("ndra-hook");
        config.callback_socket = at("hook.sock");
        config.events_socket = at("events.sock");
        config.cri_socket = at("cri.sock");
        config.cni = Cni::Multus {
            socket: at("multus.sock"),
        };
        config.cni_path = vec![at("bin")];
        config.cni_cache_dir = at("cache");

        let runtime = Runtime::start(ndra_mock_cri::Config {
            socket: at("cri.sock"),
            cdi_dirs: vec![at("cdi")],
            state_dir: at("cri"),
            netns_dir: at("netns"),
            namespaces: Namespaces::Files,
            flavor: flavor.parse().unwrap(),
            recorder: Recorder::new(16),
            gate: Gate::default(),
        })
        .await
        .unwrap();
        let multus = ndra_mock_multus::Config::new(at("multus.sock"), client.clone());
        let multus = Multus::start(multus).await.unwrap();
        let kubelet = Kubelet::start(ndra_mock_kubelet::Config {
            node: "node-1".into(),
            client,
            registry: at("registry"),
            cri: at("cri.sock"),
            checkpoint: at("checkpoint"),
            versions: vec![ndra_mock_kubelet::ApiVersion::V1],
            timing: Timing::quick(),
            recorder: Recorder::new(16),
            gate: Gate::default(),
        })
        .await
        .unwrap();
        let driver = Driver::start(config.clone()).await.unwrap();
        let mut registered = driver.registered();
        let known = registered.wait_for(Option::is_some);
        let known = tokio::time::timeout(PATIENCE, known).await.unwrap();
        assert_eq!(*known.unwrap(), Some(Ok(())));

        let node = Self {
            dir,
            config,
            api: Some(api),
            runtime: Some(runtime),
            multus: Some(multus),
            driver: Some(driver),
            kubelet: Some(kubelet),
        };
        std::fs::create_dir(node.at("bin")).unwrap();
        for plugin in ["macvlan", "ipvlan", "host-local", "static"] {
            node.program(&format!("bin/{plugin}"), "exit 0", 0o755);
        }
        node.hook("echo ndra-hook 0.1.0");
        node
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn hook(&self, does: &str) {
        self.program("ndra-hook", does, 0o755);
    }

    /// Written beside and renamed, so that none is busy when it is run.
    pub(crate) fn program(&self, name: &str, does: &str, mode: u32) {
        let script = format!("#!/bin/sh\n{does}\n");
        let status = Command::new("/bin/sh")
            .arg("-c")
            .arg("cat > \"$0\" && chmod 755 \"$0\"")
            .arg(self.at(name))
            .stdin(Stdio::piped())
            .spawn()
            .and_then(|mut child| {
                use std::io::Write;
                child.stdin.take().unwrap().write_all(script.as_bytes())?;
                child.wait()
            });
        assert!(status.unwrap().success());
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(self.at(name), mode).unwrap();
    }

    /// The driver's options, as its command line has them.
    pub(crate) fn options(&self) -> Vec<String> {
        let config = &self.config;
        let mut options = vec![format!("--node-name={}", config.node_name)];
        let kubeconfig = config.kubeconfig.as_ref().unwrap();
        for (name, path) in [
            ("kubeconfig", kubeconfig),
            ("registry-dir", &config.registry_dir),
            ("plugin-dir", &config.plugin_dir),
            ("state-dir", &config.state_dir),
            ("cdi-dir", &config.cdi_dir),
            ("hook-path", &config.hook_path),
            ("callback-socket", &config.callback_socket),
            ("events-socket", &config.events_socket),
            ("cri-socket", &config.cri_socket),
            ("multus-socket", &self.at("multus.sock")),
            ("cni-path", &config.cni_path[0]),
            ("cni-cache-dir", &config.cni_cache_dir),
        ] {
            options.push(format!("--{name}={}", path.display()));
        }
        options
    }

    /// `ndra doctor` about this node.
    pub(crate) async fn doctor(&self, args: &[&str]) -> Said {
        self.doctor_with(args, &[]).await
    }

    /// As [`doctor`](Self::doctor), with more options of the driver.
    pub(crate) async fn doctor_with(&self, args: &[&str], more: &[&str]) -> Said {
        let mut all: Vec<String> = vec!["doctor".into()];
        if !args.iter().any(|arg| arg.starts_with("--timeout")) {
            all.push("--timeout=20s".into());
        }
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        all.push("--".into());
        all.extend(self.options());
        all.extend(more.iter().map(|arg| (*arg).to_owned()));
        // The mocks answer on this runtime's threads.
        let said = tokio::task::spawn_blocking(move || {
            let args: Vec<&str> = all.iter().map(String::as_str).collect();
            Said::of(&args)
        });
        said.await.unwrap()
    }

    pub(crate) async fn stop_driver(&mut self) {
        self.driver.take().unwrap().stop().await;
    }

    pub(crate) async fn stop_kubelet(&mut self) {
        self.kubelet.take().unwrap().stop().await;
    }
}

/// Filters for what differs from run to run.
pub(crate) fn stable(node: &Node) -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(&crate::regex(node.dir.path().to_str().unwrap()), "NODE");
    settings.add_filter(r"user \d+", "user UID");
    settings
}
