//! The commands on the pages in `docs/` work as they stand there.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;

/// The shell blocks of a page, in order, as one script.
fn script(page: &str) -> String {
    // When it fails half way, nothing goes on.
    let mut script = String::from("set -eu\nparts=\ntrap 'kill $parts 2>/dev/null || :' EXIT\n");
    let mut inside = false;
    for line in page.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            line if inside => {
                script.push_str(line);
                script.push('\n');
            }
            _ => {}
        }
    }
    script
}

/// Says whether kubectl is there; where it must be, its absence is a failure.
fn kubectl() -> bool {
    let found = Command::new("kubectl")
        .args(["version", "--client"])
        .output()
        .is_ok_and(|output| output.status.success());
    let required = std::env::var("NDRA_REQUIRE_REAL").is_ok_and(|value| value == "1");
    assert!(
        found || !required,
        "kubectl is not installed, and NDRA_REQUIRE_REAL=1 asks for it"
    );
    if !found {
        // Past the test's capture: a skipped test is seen.
        let _ = std::io::Write::write_all(
            &mut std::io::stderr(),
            b"SKIPPED: kubectl is not installed; this test needs it\n",
        );
    }
    found
}

#[test]
fn a_driver_author_can_follow_the_page() {
    if !kubectl() {
        return;
    }
    let page = include_str!("../../docs/driver-authors.md");
    let program = Path::new(env!("CARGO_BIN_EXE_ndra"));
    let path = std::env::join_paths(
        std::iter::once(program.parent().unwrap().to_owned())
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    )
    .unwrap();
    let home = tempfile::tempdir().unwrap();
    let output = Command::new("timeout")
        .args(["--kill-after=5", "120", "sh", "-c", &script(page)])
        .env("PATH", path)
        .env("HOME", home.path())
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{out}\n{err}");
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", "MAC");
    settings.bind(|| {
        insta::assert_snapshot!(out, @r#"
    deviceclass.resource.k8s.io/dra.networking created
    resourceclaim.resource.k8s.io/net1 created
    pod/web created
    pod/web condition met
    {"hardwareAddress":"MAC","interfaceName":"net1","ips":["10.10.1.2/24"]}
    pod "web" deleted
    ca.crt
    namespace
    token
    "version":"v1alpha2"
    "#)
    });
}
