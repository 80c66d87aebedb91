//! A run that waits for something leaves the machine alone meanwhile.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// What a process's first thread, which waits, has had of the processors, in clock ticks: 100 a
/// second. The other threads are the node's.
fn used(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/stat")).unwrap();
    let fields = stat.rsplit(") ").next().unwrap().split(' ');
    fields
        .skip(11)
        .take(2)
        .map(|n| n.parse::<u64>().unwrap())
        .sum()
}

/// Waits look at files of the run, which are watched: reading them must not wake the wait.
#[test]
fn a_wait_does_not_wake_itself() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("wait.yaml");
    let scenario = "name: wait\ntitle: Waits for what never comes\n\
                    manifests: [../manifests/net1.yaml, ../manifests/web.yaml]\n\
                    actions: [{apply: [web]}, {wait: {pod: web, ready: true}}, {wait: {orphans: 1}}]\n";
    std::fs::write(&file, scenario).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_ndra"))
        .args(["simulate", "--netns", "virtual", "--timeout", "60s"])
        .args(["-o", "json", "--scenario"])
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let attached = |line: &str| line.contains("\"create-container\"") && line.contains("\"end\"");
    assert!(lines.any(|line| attached(&line.unwrap())));
    std::thread::sleep(Duration::from_secs(1));
    let before = used(child.id());
    std::thread::sleep(Duration::from_secs(2));
    let ticks = used(child.id()) - before;
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    drop(child.stdout.take());
    child.wait().unwrap();
    assert!(ticks < 20, "{ticks} ticks in 2 s");
}
