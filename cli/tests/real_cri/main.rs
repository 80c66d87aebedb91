//! The same driver, kubelet and scenarios over real runtimes, containerd
//! with runc and with crun, and CRI-O: what a mock is worth is what it shares with them. Needs root and the programs that
//! `scripts/real-tools` installs.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../flow/killed.rs"]
mod killed;
#[path = "../real/mod.rs"]
mod real;

mod faults;
mod runtime;
mod scenarios;

use std::process::{Command, Stdio};

use serde_json::Value;

use real::{said, shown, tools};
use runtime::{Runtime, simulation};

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
