//! `ndra install-hook` replaces a hook while it runs, and says what a host lacks.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A host with a place for the hook, and an image with a hook of this version.
struct Host {
    dir: TempDir,
}

impl Host {
    fn new() -> Self {
        let host = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        host.ship("1");
        host
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn hook(&self) -> PathBuf {
        self.at("opt/ndra-hook")
    }

    /// A program that knows its version; with `wait` it runs until its stdin closes.
    fn ship(&self, version: &str) {
        program(
            &self.at("image-hook"),
            &format!(
                "#!/bin/sh\nif [ \"$1\" = wait ]; then echo here; read line; fi\necho ndra-hook {version}\n"
            ),
        );
    }

    /// Exit code, and what was said, without this host's paths.
    fn install(&self, more: &[&str]) -> (Option<i32>, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_ndra"))
            .arg("install-hook")
            .arg(format!("--to={}", self.at("opt").display()))
            .arg(format!("--from={}", self.at("image-hook").display()))
            .args(more)
            .env("LC_ALL", "C.UTF-8")
            .env("NO_COLOR", "1")
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        // Messages are folded where the terminal ends.
        let said = String::from_utf8(said).unwrap();
        let said = said
            .replace("-\n  │ ", "-")
            .replace("\n  │ ", " ")
            .replace("\n        ", " ");
        let host = self.dir.path().to_str().unwrap();
        (output.status.code(), said.replace(host, "HOST"))
    }

    fn left(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.at("opt"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_hook_is_installed_for_everybody_and_stays_when_it_is_the_same() {
    let host = Host::new();
    assert_eq!(
        host.install(&[]),
        (
            Some(0),
            "HOST/opt/ndra-hook installed: ndra-hook 1\n".into()
        )
    );
    let meta = fs::metadata(host.hook()).unwrap();
    assert_eq!(meta.permissions().mode() & 0o7777, 0o755);
    assert_eq!(
        host.install(&[]),
        (
            Some(0),
            "HOST/opt/ndra-hook is the same already: ndra-hook 1\n".into()
        )
    );
    assert_eq!(fs::metadata(host.hook()).unwrap().ino(), meta.ino());
    host.ship("2");
    assert_eq!(
        host.install(&[]),
        (
            Some(0),
            "HOST/opt/ndra-hook installed: ndra-hook 2\n".into()
        )
    );
    assert_eq!(host.left(), ["ndra-hook"]);
}

/// The kernel refuses to write to a running program, and a script that runs would go on
/// with other text. The old one keeps its inode and comes to its end.
#[test]
fn a_hook_that_runs_is_not_touched() {
    let host = Host::new();
    host.install(&[]);
    let before = fs::metadata(host.hook()).unwrap().ino();
    let mut running = Command::new(host.hook())
        .arg("wait")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(running.stdout.take().unwrap()).lines();
    assert_eq!(said.next().unwrap().unwrap(), "here");
    host.ship("2");
    assert_eq!(host.install(&[]).0, Some(0));
    assert_ne!(fs::metadata(host.hook()).unwrap().ino(), before);
    drop(running.stdin.take());
    assert_eq!(said.next().unwrap().unwrap(), "ndra-hook 1");
    assert!(running.wait().unwrap().success());
}

/// The same with a program of the kernel's own kind, which it guards with ETXTBSY.
#[test]
fn a_binary_that_runs_is_replaced() {
    let host = Host::new();
    fs::create_dir(host.at("opt")).unwrap();
    // By another process: a file that this one wrote may still be open in a child that
    // another test has just begun to start.
    let copied = Command::new("cp")
        .arg("/bin/sleep")
        .arg(host.hook())
        .status();
    assert!(copied.unwrap().success());
    let mut running = Command::new(host.hook()).arg("60").spawn().unwrap();
    let done = host.install(&[]);
    running.kill().unwrap();
    running.wait().unwrap();
    assert_eq!(done.0, Some(0), "{}", done.1);
}

#[test]
fn what_a_crash_left_behind_is_in_nobodys_way() {
    let host = Host::new();
    fs::create_dir(host.at("opt")).unwrap();
    fs::write(host.at("opt/.ndra-hook.new"), "half").unwrap();
    assert_eq!(host.install(&[]).0, Some(0));
    assert_eq!(host.left(), ["ndra-hook"]);
    // A link is replaced, not followed.
    fs::remove_file(host.hook()).unwrap();
    fs::write(host.at("precious"), "keep").unwrap();
    std::os::unix::fs::symlink(host.at("precious"), host.hook()).unwrap();
    assert_eq!(host.install(&[]).0, Some(0));
    assert_eq!(fs::read(host.at("precious")).unwrap(), b"keep");
    assert!(fs::symlink_metadata(host.hook()).unwrap().is_file());
}

#[test]
fn what_stands_in_the_way_is_named_with_the_mend() {
    let host = Host::new();
    fs::write(host.at("file"), "").unwrap();
    let needs = |path: &str| format!("--needs=hostPaths.criSocket={}", host.at(path).display());
    insta::assert_snapshot!(host.install(&[&needs("gone.sock")]).1, @"
    × the host's HOST/gone.sock is not there: No such file or directory
    help: set hostPaths.criSocket to where this host has it
    ");
    insta::assert_snapshot!(host.install(&[&needs("file")]).1, @"
    × the host's HOST/file is neither a socket nor a directory
    help: set hostPaths.criSocket to where this host has it
    ");
    assert!(!host.at("opt").exists(), "installed all the same");
    let socket = std::os::unix::net::UnixListener::bind(host.at("s")).unwrap();
    assert_eq!(host.install(&[&needs("s")]).0, Some(0));
    drop(socket);

    fs::remove_dir_all(host.at("opt")).unwrap();
    fs::write(host.at("opt"), "").unwrap();
    insta::assert_snapshot!(host.install(&[]).1, @"
    × cannot install the hook in HOST/opt: File exists
    help: choose a directory of the host that can be written and that programs run from: the chart's hostPaths.hook, --to here
    ");
    fs::remove_file(host.at("opt")).unwrap();
    fs::create_dir_all(host.hook()).unwrap();
    insta::assert_snapshot!(host.install(&[]).1, @"
    × cannot install the hook in HOST/opt: HOST/opt/ndra-hook is a directory
    help: choose a directory of the host that can be written and that programs run from: the chart's hostPaths.hook, --to here
    ");
    fs::remove_dir_all(host.at("opt")).unwrap();

    program(&host.at("image-hook"), "\x7fELF of another machine");
    insta::assert_snapshot!(host.install(&[]).1, @"
    × HOST/opt/ndra-hook does not run on this host: Exec format error
    help: install the ndra-hook of this image, which is built for this machine
    ");
    program(&host.at("image-hook"), "#!/bin/sh\nexit 3\n");
    insta::assert_snapshot!(host.install(&[]).1, @"
    × HOST/opt/ndra-hook does not run on this host: exit status: 3
    help: install the ndra-hook of this image, which is built for this machine
    ");
    fs::write(host.at("image-hook"), "").unwrap();
    insta::assert_snapshot!(host.install(&[]).1, @"
    × --from: HOST/image-hook: is empty
    help: name the program ndra-hook; scripts/build-hook builds it
    ");
    fs::remove_file(host.at("image-hook")).unwrap();
    insta::assert_snapshot!(host.install(&[]).1, @"
    × --from: HOST/image-hook: No such file or directory
    help: name the program ndra-hook; scripts/build-hook builds it
    ");
}

/// Mounts that forbid it, in a mount namespace of this test's own.
#[test]
fn a_host_that_forbids_it_is_named() {
    for (options, needle) in [
        ("noexec", "mounted noexec, or does SELinux forbid it"),
        ("ro", "Read-only file system"),
    ] {
        let host = Host::new();
        let script = format!(
            "mount -t tmpfs -o {options} tmpfs {opt} && exec {ndra} install-hook --to={opt} --from={hook}",
            opt = host.at("opt").display(),
            ndra = env!("CARGO_BIN_EXE_ndra"),
            hook = host.at("image-hook").display(),
        );
        fs::create_dir(host.at("opt")).unwrap();
        let output = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
            .env("NO_COLOR", "1")
            .output();
        let said = match output {
            Ok(output) => String::from_utf8_lossy(&output.stderr)
                .replace("\n  │ ", " ")
                .replace("\n        ", " "),
            Err(error) => error.to_string(),
        };
        if !said.contains("install") && !said.contains("does not run") {
            let required = std::env::var("NDRA_REQUIRE_REAL").is_ok_and(|value| value == "1");
            assert!(
                !required,
                "no mount namespace, and NDRA_REQUIRE_REAL=1 asks for it: {said}"
            );
            let line =
                format!("SKIPPED: no mount namespace of its own; this test needs one: {said}\n");
            // Past the test's capture: a skipped test is seen.
            let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
            return;
        }
        assert!(said.contains(needle), "{said}");
        assert!(said.contains("hostPaths.hook"), "{said}");
    }
}
