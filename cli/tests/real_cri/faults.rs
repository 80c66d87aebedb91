//! What is refused before anything starts, and what befalls a run: nothing is left on the node.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::real::{ended, said, shown};
use crate::runtime::{Runtime, simulate, simulation};

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
            .args(["--interface", "eth1"])
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
        let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        assert!(ended(pid), "{pid:?} lives");
    }
}
