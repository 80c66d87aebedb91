//! The whole flow through the real Multus: `ndra simulate --multus`. Every scenario of it is in
//! `matrix.rs` and `real_cri`; here is what befalls it.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "flow/killed.rs"]
mod killed;
mod real;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use real::{ended, has, path, said, shown};

fn ndra(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ndra"));
    command.args(args).env("LC_ALL", "C.UTF-8");
    command.env("PATH", path()).stdin(Stdio::null());
    command
}

/// `ndra simulate` with the real Multus.
fn simulate(plugins: &Path) -> Command {
    let mut command = ndra(&["simulate", "--timeout", "60s", "--netns", "real"]);
    command.args(["--multus", "multus-daemon"]);
    command.env("CNI_PATH", plugins);
    command
}

/// The directory with the real plugins; `None`, after one line that says why, on a machine
/// that cannot run this.
fn plugins() -> Option<PathBuf> {
    let plugins = real::plugins(&["macvlan", "host-local"])?;
    if !has("multus-daemon") {
        real::skip("no multus-daemon: install it with scripts/real-tools multus");
        return None;
    }
    Some(plugins)
}

fn short() -> tempfile::TempDir {
    let mut dir = tempfile::Builder::new();
    dir.prefix("nd").tempdir_in("/tmp").unwrap()
}

#[test]
fn two_pods_reach_each_other() {
    let Some(plugins) = plugins() else {
        return;
    };
    let dir = short();
    let mut command = simulate(&plugins);
    let output = command.args(["--pods", "2"]).env("TMPDIR", dir.path());
    let output = output.output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    let page = shown(&output);
    for line in [
        "real Multus (CNI plugins)",
        "10.10.1.2/24",
        "10.10.1.3/24",
        "as read inside the pods' network namespaces",
        "default/web-1 → default/web-2 10.10.1.",
        ": answered in",
        "✓ 0 addresses",
        "✓ 0 CNI results",
        "✓ 0 sockets",
    ] {
        assert!(page.contains(line), "{line}: {page}");
    }
    let left = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(left, 0, "a file is left");
    assert!(killed::running(dir.path()).is_empty());
}

/// The daemon keeps a pod's namespace open after it looked into it; the far end on the node
/// must go all the same.
#[test]
fn the_far_end_on_the_node_goes_with_the_pod() {
    let Some(plugins) = plugins() else {
        return;
    };
    let dir = short();
    for plugin in ["type: ptp", "type: bridge, bridge: br0"] {
        let file = dir.path().join("pod.yaml");
        let pod = "\
apiVersion: resource.k8s.io/v1
kind: ResourceClaim
metadata: {name: net}
spec:
  devices:
    requests: [{name: net, exactly: {deviceClassName: dra.networking}}]
    config:
    - opaque:
        driver: dra.networking
        parameters:
          apiVersion: dra.networking/v1alpha1
          kind: CNIConfig
          ifName: net1
          config: {cniVersion: 1.0.0, name: net, PLUGIN, ipam: {type: host-local, ranges: [[{subnet: 10.30.1.0/24}]]}}
---
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  resourceClaims: [{name: net, resourceClaimName: net}]
  containers: [{name: app, image: busybox, resources: {claims: [{name: net}]}}]
";
        std::fs::write(&file, pod.replace("PLUGIN", plugin)).unwrap();
        let output = simulate(&plugins).arg(&file).output().unwrap();
        let page = shown(&output);
        assert!(output.status.success(), "{plugin}: {page}");
        assert!(page.contains("10.30.1.2/24"), "{page}");
        assert!(page.contains("✓ 0 interfaces"), "{page}");
    }
}

/// Nor does the interface of a pod that is gone live on in a namespace that the daemon holds,
/// where it would answer for an address that is free again.
#[test]
fn no_interface_outlives_its_release() {
    let Some(plugins) = plugins() else {
        return;
    };
    // The daemon may have collected garbage just before.
    let mut held = (0..10).map(|_| held_after_release(&plugins));
    let held = held.find(|held| !held.is_empty());
    for links in held.expect("the daemon holds a namespace") {
        assert!(links.contains("lo:") && !links.contains("net1:"), "{links}");
    }
}

/// The links in each namespace that the daemon holds when it has released the only pod's.
fn held_after_release(plugins: &Path) -> Vec<String> {
    let dir = short();
    let actions = "{apply: [web]}, {wait: {pod: web, ready: true}}, {delete-pod: web}, \
                   {wait: {pod: web, gone: true}}";
    let (mut child, daemon) = endless(plugins, dir.path(), actions, "cdi-remove");
    let process = PathBuf::from(format!("/proc/{}", daemon.as_raw_nonzero()));
    let open = std::fs::read_dir(process.join("fd")).unwrap().flatten();
    let links = open.filter_map(|file| {
        // As it shows a namespace whose file is gone, and one whose file is there.
        let to = std::fs::read_link(file.path()).ok()?;
        (to == Path::new("/") || to.to_string_lossy().contains("/netns/")).then_some(())?;
        let mut inside = Command::new("nsenter");
        inside.arg(format!("--net={}", file.path().display()));
        if !rustix::process::geteuid().is_root() {
            inside.arg(format!("--user={}", process.join("ns/user").display()));
            inside.arg("--preserve-credentials");
        }
        let inside = inside.args(["cat", "/proc/self/net/dev"]).output().unwrap();
        Some(shown(&inside))
    });
    let links = links.collect();
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    drop(child.stdout.take());
    child.wait().unwrap();
    links
}

#[test]
fn killed_while_a_plugin_is_at_work() {
    let Some(plugins) = plugins() else {
        return;
    };
    killed::multus(&mut simulate(&plugins), &plugins, killed::Plugin::Goes);
}

/// The plugin makes its interface when the driver has cleared it away already: that is no
/// stranger's interface.
#[test]
fn killed_while_a_plugin_is_at_work_that_dawdles() {
    let Some(plugins) = plugins() else {
        return;
    };
    let said = killed::multus(&mut simulate(&plugins), &plugins, killed::Plugin::Dawdles);
    let taken = |line: &&str| line.contains("\"cni-add\"") && line.contains("validateIfName");
    assert!(said.lines().any(|line| taken(&line)), "{said}");
}

/// Runs a scenario that does this and then waits for what never comes; its process and that of
/// Multus, once the step has ended.
fn endless(plugins: &Path, dir: &Path, actions: &str, step: &str) -> (Child, Pid) {
    let file = dir.join("wait.yaml");
    let scenario = format!(
        "name: wait\ntitle: Waits for what never comes\n\
         manifests: [../manifests/net1.yaml, ../manifests/web.yaml]\n\
         actions: [{actions}, {{wait: {{orphans: 1}}}}]\n"
    );
    std::fs::write(&file, scenario).unwrap();
    let mut child = simulate(plugins)
        .args(["-o", "json", "--scenario"])
        .arg(&file)
        .env("TMPDIR", dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let step = format!("\"{step}\"");
    let ended = |line: &str| line.contains(&step) && line.contains("\"end\"");
    assert!(lines.map(Result::unwrap).any(|line| ended(&line)));
    let daemon = killed::daemon(child.id()).unwrap();
    (child, daemon)
}

/// However the run ends, its Multus ends with it.
#[test]
fn multus_does_not_outlive_a_run_that_is_cut_short() {
    let Some(plugins) = plugins() else {
        return;
    };
    for signal in [Signal::TERM, Signal::KILL] {
        let dir = short();
        let (mut child, daemon) = endless(&plugins, dir.path(), "{apply: [web]}", "cni-add");
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        // The last thing that it says must not block it.
        drop(child.stdout.take());
        assert!(!child.wait().unwrap().success());
        assert!(ended(daemon), "{signal:?}: Multus is still there");
        let left = std::fs::read_dir(dir.path()).unwrap().flatten();
        let left = left.filter(|entry| entry.file_name() != "wait.yaml");
        // Nobody can clean up after SIGKILL.
        assert_eq!(left.count(), usize::from(signal == Signal::KILL));
    }
}

#[test]
fn a_program_that_is_no_daemon_is_told() {
    let Some(plugins) = plugins() else {
        return;
    };
    let mut command = ndra(&["simulate", "--multus", "false"]);
    let output = command.env("CNI_PATH", &plugins).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", shown(&output));
    let said = said(&output);
    let expected = "the real Multus did not start: multus-daemon ended by itself (exit status: 1)";
    assert!(said.contains(expected), "{said}");
}
