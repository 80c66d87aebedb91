//! Multus killed while a plugin is at work for it, in the whole flow: who runs the pods is
//! the caller's.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// When the plugin, which goes on without Multus, makes its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plugin {
    /// As soon as Multus is dead.
    Goes,
    /// After what it might have made was cleared away, and before it is made anew.
    Dawdles,
}

const SCENARIO: &str = "\
name: multus-killed
title: Multus is killed while a plugin is at work for it
manifests: [../manifests/net1.yaml, ../manifests/web.yaml]
actions:
- apply: [web]
- wait: {pod: web, step: cni-add, cameTo: fail}
- start-multus: {}
- wait: {pod: web, ready: true}
- check:
    interfaces: [{pod: web, name: net1}]
    claims: [{claim: net1, ready: \"True\", devices: 1}]
- delete-pod: web
- wait: {pod: web, gone: true}
expect:
  orphans: 0
  steps:
    prepare: {end: 1}
    unprepare: {end: 1}
  errors:
  - {step: cni-add, contains: [Multus closed the connection before it answered ADD of net1 for pod default/web, the driver undoes what was begun]}
  events:
  - {pod: web, reason: InterfaceAttachFailed, contains: [Multus closed the connection before it answered]}
";

/// Adds to `simulate` what this takes, kills its Multus in the first ADD, and returns what it
/// printed. It must end well.
pub(crate) fn multus(simulate: &mut Command, plugins: &Path, plugin: Plugin) -> String {
    let dir = tempfile::Builder::new()
        .prefix("nk")
        .tempdir_in("/tmp")
        .unwrap();
    let dir = dir.path();
    let file = dir.join("multus-killed.yaml");
    std::fs::write(&file, SCENARIO).unwrap();
    let slow = slow(dir, plugins, plugin);
    let path = std::env::join_paths([&slow, plugins]).unwrap();
    let mut child = simulate
        .args(["-o", "json", "--scenario"])
        .arg(&file)
        .env("CNI_PATH", path)
        .env("TMPDIR", dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let soon = Instant::now() + Duration::from_secs(120);
    while !dir.join("begun").exists() && child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < soon, "no plugin was run");
        std::thread::sleep(Duration::from_millis(10));
    }
    if let Some(daemon) = daemon(child.id()) {
        kill_process(daemon, Signal::KILL).unwrap();
    }
    if plugin == Plugin::Goes {
        std::fs::write(dir.join("go"), "").unwrap();
    }
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&output.stdout);
    assert!(
        output.status.success(),
        "{plugin:?}: {said}{}",
        text(&output.stderr)
    );
    assert!(dir.join("done").exists(), "the plugin outlived Multus");
    let left: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("ndra."))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(running(dir).is_empty(), "{:?}", running(dir));
    said
}

/// The real Multus that this process started.
pub(crate) fn daemon(parent: u32) -> Option<Pid> {
    let threads = std::fs::read_dir(format!("/proc/{parent}/task")).ok()?;
    let children = threads.flatten().filter_map(|thread| {
        let children = std::fs::read_to_string(thread.path().join("children"));
        children.ok()
    });
    let children: Vec<String> = children.collect();
    let mut children = children.iter().flat_map(|line| line.split_whitespace());
    let found = children.find(|pid| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
        name.is_ok_and(|name| name.trim() == "multus-daemon")
    });
    found.and_then(|pid| Pid::from_raw(pid.parse().ok()?))
}

/// Processes that were started with a path below `dir`.
pub(crate) fn running(dir: &Path) -> Vec<String> {
    let dir = format!("{}/", dir.display());
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| {
        let line = std::fs::read(process.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    lines.filter(|line| line.contains(&dir)).collect()
}

/// A program before the real plugin that waits in its first ADD until it may go on.
fn slow(dir: &Path, plugins: &Path, plugin: Plugin) -> PathBuf {
    let slow = dir.join("slow");
    std::fs::create_dir(&slow).unwrap();
    let real = plugins.join("macvlan");
    let (dir, real) = (dir.display(), real.display());
    let after = match plugin {
        Plugin::Goes => String::new(),
        Plugin::Dawdles => format!(
            "if [ \"$CNI_COMMAND\" = DEL ] && [ ! -e {dir}/go ]; then\n\
             touch {dir}/go\n\
             while [ ! -e {dir}/done ]; do sleep 0.02; done\n\
             fi\n"
        ),
    };
    let script = format!(
        "#!/bin/sh\n\
         if [ \"$CNI_COMMAND\" = ADD ] && [ ! -e {dir}/begun ]; then\n\
         touch {dir}/begun\n\
         while [ ! -e {dir}/go ]; do sleep 0.02; done\n\
         \"{real}\"; code=$?\n\
         touch {dir}/done\n\
         exit $code\n\
         fi\n\
         \"{real}\"; code=$?\n\
         {after}exit $code\n"
    );
    let source = slow.join("source");
    std::fs::write(&source, script).unwrap();
    // By another process: a program that this one wrote may still be open in a child that
    // another test has just begun to start.
    let mut install = Command::new("install");
    install
        .args(["-m", "755"])
        .args([&source, &slow.join("macvlan")]);
    assert!(install.status().unwrap().success());
    slow
}
