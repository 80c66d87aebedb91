//! Pods in network namespaces of the kernel's: what a user of `ndra simulate` sees of them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod real;

use std::process::Command;

use serde_json::Value;

/// An ordinary user of every Linux: nobody.
const NOBODY: &str = "65534";

fn ndra(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ndra"));
    command
        .arg("simulate")
        .args(args)
        .args(["--timeout", "60s"])
        .env("LC_ALL", "C.UTF-8");
    command
}

fn text(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.output().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// Whether there are namespaces here; says why not.
fn real() -> bool {
    real::probe().map_err(|why| real::skip(&why)).is_ok()
}

/// The links and mounts that this process sees.
fn host() -> Vec<String> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let links = read("/proc/self/net/dev");
    let mut links: Vec<String> = links
        .lines()
        .filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()))
        .collect();
    links.sort();
    // Others' tests may mount, but not nets below a run's directory.
    let mounts = read("/proc/self/mounts");
    links.extend(
        mounts
            .lines()
            .filter(|l| l.contains("/ndra."))
            .map(str::to_owned),
    );
    links
}

#[test]
fn two_pods_have_addresses_and_answer_each_other() {
    if !real() {
        return;
    }
    let before = host();
    let (code, out, err) = text(&mut ndra(&["--pods", "2", "--netns", "real"]));
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("Multus (kernel links)"), "{out}");
    assert!(
        out.contains("as read inside the pods' network namespaces"),
        "{out}"
    );
    let answered = |line: &&str| {
        line.starts_with("default/web-1 → default/web-2 10.10.1.")
            && line.contains(": answered in ")
    };
    assert_eq!(out.lines().filter(answered).count(), 1, "{out}");
    assert_eq!(host(), before);
}

#[test]
fn where_namespaces_work_they_are_taken() {
    if !real() {
        return;
    }
    let (code, out, err) = text(&mut ndra(&["-o", "json"]));
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    let last: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!(last["summary"]["read_back"], 1, "{last}");
}

#[test]
fn an_ordinary_user_may() {
    if !real() {
        return;
    }
    let root = rustix::process::geteuid().is_root();
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    let mut command = if root {
        // Where that user may read and run it.
        let program = directory.path().join("ndra");
        std::fs::copy(env!("CARGO_BIN_EXE_ndra"), &program).unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(directory.path(), open).unwrap();
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"])
            .arg(program)
            .current_dir("/");
        command
    } else {
        Command::new(env!("CARGO_BIN_EXE_ndra"))
    };
    command.args([
        "simulate",
        "--netns",
        "real",
        "--pods",
        "2",
        "--timeout",
        "60s",
    ]);
    let (code, out, err) = text(&mut command);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(
        out.contains("as read inside the pods' network namespaces"),
        "{out}"
    );
    assert!(out.contains("nothing left behind"), "{out}");
}

#[test]
fn a_plugin_that_is_not_there_is_named() {
    if !real() {
        return;
    }
    let empty = tempfile::tempdir().unwrap();
    let mut run = ndra(&["--cni", "exec"]);
    let (code, out, _) = text(run.env("CNI_PATH", empty.path()));
    assert_eq!(code, Some(1), "{out}");
    assert!(
        out.contains("failed to find plugin \"macvlan\" in path"),
        "{out}"
    );
    for clean in ["✓ 0 interfaces", "✓ 0 addresses", "✓ 0 network namespaces"] {
        assert!(out.contains(clean), "{out}");
    }
    let mut run = ndra(&["--cni", "exec"]);
    let (code, _, err) = text(run.env("CNI_PATH", empty.path().join("none")));
    assert_eq!(code, Some(2));
    assert!(
        err.contains("no directory of CNI plugins is there"),
        "{err}"
    );
}

#[test]
fn a_master_that_is_not_there_is_told() {
    if !real() {
        return;
    }
    let pod = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/pod.yaml"));
    let pod = pod.unwrap().replace("master: eth0", "master: eth7");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pod.yaml");
    std::fs::write(&file, pod).unwrap();
    // A device that is an interface is the master, and no other is taken.
    let (code, out, _) = text(&mut ndra(&["--netns", "real", file.to_str().unwrap()]));
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("master is \"eth7\""), "{out}");
    // A slot says nothing of it: the plugin finds out.
    let scenario = directory.path().join("slot.yaml");
    let slot = "name: slot\ntitle: A slot\ndriver: [--slots=1]\nmanifests: [pod.yaml]\n\
                actions:\n- apply: [web]\n- wait: {pod: web, step: cni-add, cameTo: fail}\n";
    std::fs::write(&scenario, slot).unwrap();
    let scenario = scenario.to_str().unwrap();
    let (_, out, _) = text(&mut ndra(&["--netns", "real", "--scenario", scenario]));
    assert!(out.contains("Link not found"), "{out}");
    for clean in ["✓ 0 interfaces", "✓ 0 addresses", "✓ 0 network namespaces"] {
        assert!(out.contains(clean), "{out}");
    }
}

/// It is somebody's, and would be changed, and removed at the end.
#[test]
fn an_interface_that_is_there_already_is_not_taken() {
    if !real() {
        return;
    }
    let (code, out, err) = text(&mut ndra(&["--netns", "real", "--interface", "eth0p"]));
    assert_eq!(code, Some(1), "{out}");
    insta::assert_snapshot!(err, @"
    × the node has an interface eth0p already, and the run would make one: name
    │ another
    ");
}

#[test]
fn wishes_that_exclude_each_other_are_refused() {
    let (code, _, err) = text(&mut ndra(&["--netns", "virtual", "--cni", "kernel"]));
    assert_eq!(code, Some(2));
    insta::assert_snapshot!(err, @r"
    × --cni: the kernel's links live in real network namespaces
    help: leave --netns virtual out
    ");
    let (code, _, err) = text(&mut ndra(&["--netns", "real", "--cni", "record"]));
    assert_eq!(code, Some(2));
    insta::assert_snapshot!(err, @r"
    × --cni: the kernel's links live in real network namespaces
    help: --cni record records and needs none: leave one of them out
    ");
}
