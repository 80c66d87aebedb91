//! The same driver, kubelet and scenarios over a real containerd, with runc and with crun:
//! what a mock is worth is what it shares with them. Needs root and the programs that
//! `scripts/real-tools` installs.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "flow/killed.rs"]
mod killed;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use serde_json::Value;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/real-runtime");

/// One runtime at a time: containerd puts pods into one control group of the machine's, which
/// `down` removes.
static TURN: Mutex<()> = Mutex::new(());

/// A runtime of the test's own; it goes when this is dropped.
struct Runtime {
    dir: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

impl Runtime {
    /// `None`, after one line that says why, on a machine that cannot run it.
    fn up(name: &str, options: &[&str]) -> Option<Self> {
        if let Some(lacking) = lacking() {
            let required = std::env::var_os("NDRA_REQUIRE_REAL").is_some_and(|v| v == "1");
            assert!(!required, "NDRA_REQUIRE_REAL is set, and {lacking}");
            let _ = writeln!(std::io::stderr(), "skipped {name}: {lacking}");
            return None;
        }
        let runtime = Self {
            dir: format!("/tmp/ndra-{name}-{}", std::process::id()).into(),
            _turn: TURN.lock().unwrap_or_else(PoisonError::into_inner),
        };
        runtime.script(&[&["up"], options].concat());
        Some(runtime)
    }

    fn script(&self, args: &[&str]) -> String {
        let output = Command::new(SCRIPT)
            .args(args)
            .env("NDRA_RUNTIME_DIR", &self.dir)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{args:?}: {}", shown(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn socket(&self) -> String {
        format!("unix://{}/containerd.sock", self.dir.display())
    }

    fn simulate(&self, args: &[&str]) -> Output {
        simulate(&self.socket(), args)
    }

    /// Nothing of any pod is on its node, as a process there sees it.
    fn is_clean(&self) {
        let node = PathBuf::from(format!("/proc/{}/root", self.pids()[1]));
        let addresses = node.join("var/lib/cni/networks");
        let networks = files(&addresses).into_iter();
        let reserved = networks.flat_map(|network| files(&addresses.join(network)));
        let reserved: Vec<String> = reserved
            .filter(|name| name.parse::<std::net::IpAddr>().is_ok())
            .collect();
        assert_eq!(reserved, [""; 0], "addresses");
        assert_eq!(files(&self.dir.join("cdi")), [""; 0], "CDI specs");
        assert_eq!(files(&node.join("run/netns")), [""; 0], "namespaces");
    }

    /// Everything that holds this runtime, so that it can be found afterwards.
    fn pids(&self) -> Vec<u32> {
        let pid = |name: &str| {
            let text = std::fs::read_to_string(self.dir.join(name)).unwrap();
            text.split(' ').next().unwrap().parse().unwrap()
        };
        vec![pid("runtime.pid"), pid("holder.pid")]
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let down = Command::new(SCRIPT)
            .arg("down")
            .env("NDRA_RUNTIME_DIR", &self.dir)
            .status();
        if !std::thread::panicking() {
            assert!(down.unwrap().success(), "down");
        }
    }
}

fn lacking() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("a real containerd needs root");
    }
    let daemon = std::env::split_paths(&path()).any(|dir| dir.join("multus-daemon").is_file());
    let ptp = tools().join("cni/bin/ptp").exists();
    (!(ptp && daemon && Path::new("/bin/busybox").exists()))
        .then_some("the real programs are not there: scripts/real-tools installs them")
}

fn files(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect()
}

fn tools() -> PathBuf {
    std::env::var_os("NDRA_TOOLS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools"),
        PathBuf::from,
    )
}

/// PATH, the tools' programs first.
fn path() -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::iter::once(tools().join("bin")).chain(std::env::split_paths(&path));
    std::env::join_paths(path).unwrap()
}

fn simulation(socket: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ndra"));
    command
        .args(["simulate", "--cri", socket, "--timeout", "60s"])
        .env("LC_ALL", "C.UTF-8")
        .env("PATH", path())
        .env("CNI_PATH", tools().join("cni/bin"))
        .stdin(Stdio::null());
    command
}

fn simulate(socket: &str, args: &[&str]) -> Output {
    simulation(socket).args(args).output().unwrap()
}

fn shown(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// The same on one line: a terminal's width is no matter of these tests.
fn said(output: &Output) -> String {
    let text = shown(output);
    let words = text.split_whitespace().filter(|word| *word != "│");
    words.collect::<Vec<_>>().join(" ")
}

#[derive(Deserialize)]
struct Matrix {
    lanes: BTreeMap<String, Lane>,
    scenarios: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Lane {
    /// Options of `scripts/real-runtime up`; none where the runtime is a mock.
    #[serde(default)]
    runtime: Vec<String>,
    /// Options of `ndra simulate`.
    #[serde(default)]
    simulate: Vec<String>,
}

/// All scenarios that `fixtures/matrix.yaml` has for the lanes with this OCI runtime, on one
/// containerd that each must leave as it found it.
fn every_scenario(oci: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/matrix.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let matrix: Matrix = serde_saphyr::from_str(&text).unwrap();
    let lanes = matrix.lanes.iter();
    let lanes: Vec<(&String, &Lane)> = lanes
        .filter(|(_, lane)| lane.runtime == ["--oci", oci])
        .collect();
    assert!(!lanes.is_empty());
    let Some(runtime) = Runtime::up(oci, &["--oci", oci]) else {
        return;
    };
    let mut failed = Vec::new();
    for (name, lane) in lanes {
        let cells = matrix.scenarios.iter();
        let scenarios: Vec<&String> = cells
            .filter(|(_, cells)| cells[name] == "runs")
            .map(|(scenario, _)| scenario)
            .collect();
        assert!(scenarios.len() >= 5, "{name}");
        let began = std::time::Instant::now();
        for scenario in &scenarios {
            let options = lane.simulate.iter().map(String::as_str);
            let args: Vec<&str> = ["--scenario", scenario]
                .into_iter()
                .chain(options)
                .collect();
            let output = runtime.simulate(&args);
            if !output.status.success() {
                failed.push(format!("{name}, {scenario}: {}", shown(&output)));
            }
        }
        println!(
            "{name}: {} scenarios in {:?}",
            scenarios.len(),
            began.elapsed()
        );
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn every_scenario_runs_in_containerd_with_runc() {
    every_scenario("runc");
}

#[test]
fn every_scenario_runs_in_containerd_with_crun() {
    every_scenario("crun");
}

/// What a user reads of a hook that fails: runc hands its words on, crun loses them, and the
/// driver says them either way.
#[test]
fn the_words_of_a_failing_hook_reach_the_pod() {
    for (oci, words) in [
        (
            "runc",
            "error running createRuntime hook #0: exit status 1, stdout: , stderr: ndra-hook",
        ),
        ("crun", "error executing hook `"),
    ] {
        let Some(runtime) = Runtime::up(&format!("words-{oci}"), &["--oci", oci]) else {
            return;
        };
        let output = runtime.simulate(&["--scenario", "multus-error", "-o", "json"]);
        assert!(output.status.success(), "{}", shown(&output));
        let events: Vec<Value> = String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let error = |step: &str| {
            let failed = |event: &&Value| event["step"] == step && event["phase"] == "fail";
            let event = events.iter().find(failed).unwrap();
            event["error"].as_str().unwrap().to_owned()
        };
        let said = error("create-container");
        assert!(said.contains(words), "{oci}: {said}");
        assert_eq!(said.contains("IPAM answered too late"), oci == "runc");
        // The hook's own process tells the simulation under both.
        assert!(error("hook").contains("IPAM answered too late"));
    }
}

#[test]
fn a_runtime_without_cdi_is_refused_before_anything_starts() {
    let Some(runtime) = Runtime::up("nocdi", &["--cdi", "off"]) else {
        return;
    };
    let output = runtime.simulate(&[]);
    assert_eq!(output.status.code(), Some(2), "{}", shown(&output));
    let said = said(&output);
    assert!(said.contains("has CDI switched off"), "{said}");
    assert!(said.contains("enable_cdi = true"), "{said}");
}

/// The doctor on a node whose containerd gives containers CDI devices, and on one where that is
/// switched off.
#[test]
fn the_doctor_tells_what_a_real_runtime_does_with_cdi() {
    for (cdi, level, words) in [
        ("on", "ok", "containerd"),
        ("off", "fail", "has CDI switched off"),
    ] {
        let Some(runtime) = Runtime::up(&format!("doctor-{cdi}"), &["--cdi", cdi]) else {
            return;
        };
        let output = Command::new(env!("CARGO_BIN_EXE_ndra"))
            .args(["doctor", "--", "--cri-socket", &runtime.socket()])
            .arg(format!("--cdi-dir={}/cdi", runtime.dir.display()))
            .args(["--kubeconfig", "/none"])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let shown = shown(&output);
        let line = |check: &str| {
            let of = |line: &&str| line.split_whitespace().nth(1) == Some(check);
            shown.lines().find(of).unwrap_or_default()
        };
        assert!(line("runtime").contains("containerd 2."), "{shown}");
        assert!(line("cdi").starts_with(level), "{shown}");
        assert!(line("cdi").contains(words), "{shown}");
    }
}

/// Needs nothing real: a socket where somebody else listens, and one where nobody does.
#[test]
fn a_socket_that_is_no_runtime_is_refused() {
    let dir = tempfile::Builder::new()
        .prefix("nd")
        .tempdir_in("/tmp")
        .unwrap();
    let path = dir.path().join("s.sock");
    let socket = path.to_str().unwrap();
    let output = simulate(socket, &[]);
    assert_eq!(output.status.code(), Some(2), "{}", shown(&output));
    assert!(
        said(&output).contains("No such file or directory"),
        "{}",
        shown(&output)
    );

    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // Whoever answers before it has heard may be gone before the other has spoken.
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let output = simulate(socket, &[]);
    assert_eq!(output.status.code(), Some(2), "{}", shown(&output));
    assert!(
        said(&output).contains("does not speak CRI"),
        "{}",
        shown(&output)
    );
}

/// containerd dies between steps 5 and 8, the driver being away, and comes back: the pod is
/// told, starts later, and nothing is left.
#[test]
fn containerd_is_killed_while_the_hook_waits() {
    let Some(runtime) = Runtime::up("killed", &[]) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("killed.yaml");
    let scenario = "\
name: killed
title: containerd is killed while the hook waits for a driver that is away
driver: [--hook-timeout=6s, --hook-kill-after=8s, --cni-timeout=5s]
manifests: [../manifests/net1.yaml, ../manifests/web.yaml]
actions:
- before: {step: hook, do: [stop-driver: kill]}
- apply: [web]
- wait: {pod: web, step: hook, cameTo: fail}
- start-driver: {}
- wait: {pod: web, ready: true}
- check:
    interfaces: [{pod: web, name: net1}]
expect:
  steps:
    prepare: {end: 1}
    cni-add: {end: 1}
    cni-del: {end: 1}
";
    std::fs::write(&file, scenario).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_ndra"))
        .args(["simulate", "--cri", &runtime.socket(), "--timeout", "60s"])
        .args(["-o", "json", "--scenario", file.to_str().unwrap()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut killed = false;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let event: Value = serde_json::from_str(&line).unwrap();
        if !killed && event["step"] == "hook" && event["phase"] == "begin" {
            let pid = i32::try_from(runtime.pids()[0]).unwrap();
            let pid = Pid::from_raw(pid).unwrap();
            kill_process(pid, Signal::KILL).unwrap();
            runtime.script(&["up"]);
            killed = true;
        }
        said += &(line + "\n");
    }
    assert!(child.wait().unwrap().success(), "{said}");
    assert!(killed, "{said}");
    let failed = |line: &&str| line.contains("create-container") && line.contains(r#""fail""#);
    let failed = said
        .lines()
        .find(failed)
        .unwrap_or_else(|| panic!("{said}"));
    assert!(failed.contains("error"), "{failed}");
}

/// Two pods' containers have what the real Multus gave them, and it may be killed meanwhile.
#[test]
fn pods_in_containerd_have_what_the_real_multus_gave_them() {
    let Some(runtime) = Runtime::up("multus", &[]) else {
        return;
    };
    let output = runtime.simulate(&["--multus", "multus-daemon", "--pods", "2"]);
    assert!(output.status.success(), "{}", shown(&output));
    let text = said(&output);
    for words in [
        "containerd 2.",
        "real Multus (CNI plugins)",
        "net1",
        "10.10.1.2/24",
        "10.10.1.3/24",
        "as `ip addr show` prints it inside the containers",
        "default/web-1 → default/web-2 10.10.1.",
        ": answered in",
        "✓ 0 CNI results",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    runtime.is_clean();
    for plugin in [killed::Plugin::Goes, killed::Plugin::Dawdles] {
        let mut command = simulation(&runtime.socket());
        command.args(["--multus", "multus-daemon"]);
        killed::multus(&mut command, &tools().join("cni/bin"), plugin);
        runtime.is_clean();
    }
    // Plugins could not see namespaces that the runtime makes.
    let holder = runtime.pids()[1].to_string();
    let private = [
        "--target",
        &holder,
        "--mount",
        "mount",
        "--make-rprivate",
        "/",
    ];
    assert!(
        Command::new("nsenter")
            .args(private)
            .status()
            .unwrap()
            .success()
    );
    for options in [["--cni", "exec"], ["--multus", "multus-daemon"]] {
        let output = runtime.simulate(&options);
        assert_eq!(output.status.code(), Some(2), "{}", shown(&output));
        assert!(
            said(&output).contains("are private: pods' network namespaces could not be"),
            "{}",
            shown(&output)
        );
        assert!(said(&output).contains("mount --make-rshared /"));
    }
}

/// Whenever a run is interrupted, the runtime's node is as it was.
#[test]
fn an_interrupted_run_leaves_nothing_on_the_node() {
    let Some(runtime) = Runtime::up("cut", &[]) else {
        return;
    };
    for (signal, step, phase) in [
        (Signal::INT, "prepare", "end"),
        (Signal::TERM, "create-container", "begin"),
        (Signal::INT, "hook", "begin"),
        (Signal::TERM, "callback", "begin"),
        (Signal::TERM, "cni-add", "begin"),
        (Signal::INT, "cni-add", "end"),
        (Signal::TERM, "unprepare", "begin"),
    ] {
        let mut child = simulation(&runtime.socket())
            .args(["--multus", "multus-daemon", "-o", "json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
        let came = lines.any(|line| {
            let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
            event["step"] == step && event["phase"] == phase
        });
        assert!(came, "{step} {phase}");
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", shown(&output));
        assert!(said(&output).contains("interrupted"), "{}", shown(&output));
        runtime.is_clean();
    }
}

/// `down` takes everything with it, also with a pod in it.
#[test]
fn nothing_is_left_of_a_runtime() {
    let Some(runtime) = Runtime::up("down", &[]) else {
        return;
    };
    let (dir, pids) = (runtime.dir.clone(), runtime.pids());
    runtime.script(&["up"]);
    assert_eq!(runtime.pids(), pids, "up again starts nothing anew");
    let mounts = || std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts().contains(dir.to_str().unwrap()));
    drop(runtime);
    assert!(!dir.exists());
    for pid in pids {
        let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let gone = || state().is_empty() || state().contains(") Z ");
        // A process that is killed takes its namespaces down first.
        for _ in 0..200 {
            if gone() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(gone(), "{}", state());
    }
}
