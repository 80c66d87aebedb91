//! Mounts as they really are, in a mount namespace of the test's own.

use std::io::Write;
use std::process::Command;

use crate::node::Said;

/// Runs `ndra doctor` after `prepare`, a shell script, in a mount namespace of its own; `$1` is
/// a directory. `None`, after one line that says why, where that cannot be.
fn doctor(name: &str, prepare: &str, options: &str) -> Option<Said> {
    if !rustix::process::geteuid().is_root() {
        let required = std::env::var_os("NDRA_REQUIRE_REAL").is_some_and(|v| v == "1");
        assert!(!required, "NDRA_REQUIRE_REAL is set, and mounts need root");
        let _ = writeln!(std::io::stderr(), "skipped {name}: mounts need root");
        return None;
    }
    let dir = tempfile::Builder::new()
        .prefix("nd")
        .tempdir_in("/tmp")
        .unwrap();
    let script = format!(
        "set -e; cd \"$1\"; printf '#!/bin/sh\\necho ndra-hook 0.1.0\\n' > hook; chmod 755 hook\n\
         {prepare}\nexec \"$2\" doctor -- --kubeconfig=/none {options}"
    );
    let mut command = Command::new("unshare");
    command
        .args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            &script,
            "sh",
        ])
        .arg(dir.path())
        .arg(env!("CARGO_BIN_EXE_ndra"));
    Some(Said::by(&mut command))
}

#[test]
fn a_hook_on_a_mount_without_exec_is_told() {
    let good = "mkdir o; mount -t tmpfs t o; cp -p hook o/";
    let bad = "mkdir o; mount -t tmpfs -o noexec t o; cp -p hook o/";
    let options = "--hook-path=\"$1\"/o/hook";
    let Some(said) = doctor("noexec", good, options) else {
        return;
    };
    assert!(said.line("hook-mount").starts_with("ok"), "{}", said.out);
    assert!(said.line("hook").starts_with("ok"), "{}", said.out);
    let said = doctor("noexec", bad, options).unwrap();
    let line = said.line("hook-mount");
    assert!(line.starts_with("fail"), "{line}");
    assert!(line.contains("is mounted noexec"), "{line}");
    assert!(said.line("hook").contains("does not run"), "{}", said.out);
}

#[test]
fn the_propagation_of_run_netns_is_told() {
    let mount = "mount -t tmpfs t /run; mkdir /run/netns; mount -t tmpfs t /run/netns";
    for (how, level) in [("rshared", "ok"), ("rslave", "warn"), ("private", "fail")] {
        // A slave is made of what was shared.
        let prepare = format!(
            "{mount}; mount --make-rshared /run/netns; {}",
            match how {
                "rslave" => "mount --bind /run/netns /run/netns; mount --make-rslave /run/netns",
                "private" => "mount --make-private /run/netns",
                _ => "true",
            }
        );
        let Some(said) = doctor("propagation", &prepare, "") else {
            return;
        };
        let line = said.line("netns");
        assert!(line.starts_with(level), "{how}: {line}");
    }
}

#[test]
fn a_mount_of_multus_directory_that_is_no_more_is_told() {
    let mount = "mkdir real seen; mount --bind real seen";
    let options = "--multus-socket=\"$1\"/seen/multus.sock";
    let Some(said) = doctor("stale", mount, options) else {
        return;
    };
    assert!(!said.line("multus").contains("stale"), "{}", said.out);
    let said = doctor(
        "stale",
        &format!("{mount}; rmdir real; mkdir real"),
        options,
    )
    .unwrap();
    let line = said.line("multus");
    assert!(line.starts_with("fail"), "{line}");
    assert!(line.contains("has gone stale"), "{line}");
}
