//! What tests of real parts share: where the real programs are, and the one line that says why
//! a test cannot run here.

#![allow(dead_code, reason = "no test needs all of it")]

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use rustix::process::Pid;

/// Says that a test is skipped; fails it where `variable` is 1.
pub(crate) fn skip_unless(variable: &str, why: &str) {
    let required = std::env::var_os(variable).is_some_and(|value| value == "1");
    assert!(!required, "{variable}=1 asks for it, but: {why}");
    let current = std::thread::current();
    let name = current.name().unwrap_or_default();
    // Past the test's capture, which hides what a test says that passes.
    let _ = writeln!(std::io::stderr(), "SKIPPED {name}: {}", why.trim());
}

/// Says that a test of real parts is skipped; fails it where they are asked for.
pub(crate) fn skip(why: &str) {
    skip_unless("NDRA_REQUIRE_REAL", why);
}

/// Why there are no namespaces here.
pub(crate) fn probe() -> Result<(), String> {
    let mut probe = Command::new(env!("CARGO_BIN_EXE_ndra"));
    let probe = probe.args(["namespace-helper", "probe"]).output().unwrap();
    match probe.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&probe.stderr).trim().to_owned()),
    }
}

/// What `scripts/real-tools` installs.
pub(crate) fn tools() -> PathBuf {
    let tools = std::env::var_os("NDRA_TOOLS").map(PathBuf::from);
    tools.unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools").into())
}

/// PATH, the tools' programs first.
pub(crate) fn path() -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::iter::once(tools().join("bin")).chain(std::env::split_paths(&path));
    std::env::join_paths(path).unwrap()
}

/// Whether such a program is there.
pub(crate) fn has(program: &str) -> bool {
    std::env::split_paths(&path()).any(|dir| dir.join(program).is_file())
}

/// The directory with these real plugins; an error says what is missing.
pub(crate) fn found(wanted: &[&str]) -> Result<PathBuf, String> {
    probe()?;
    let named = std::env::var_os("CNI_PATH").unwrap_or_default();
    std::env::split_paths(&named)
        .chain([
            tools().join("cni/bin"),
            "/opt/cni/bin".into(),
            "/usr/lib/cni".into(),
        ])
        .find(|dir| wanted.iter().all(|plugin| dir.join(plugin).is_file()))
        .ok_or_else(|| {
            format!(
                "no CNI plugins {}: install them with scripts/real-tools cni, or set CNI_PATH",
                wanted.join(", ")
            )
        })
}

/// The same; `None`, after one line that says why, where there is none.
pub(crate) fn plugins(wanted: &[&str]) -> Option<PathBuf> {
    found(wanted).map_err(|why| skip(&why)).ok()
}

/// All that it printed.
pub(crate) fn shown(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// The same on one line: a terminal's width is no matter of these tests.
pub(crate) fn said(output: &Output) -> String {
    let text = shown(output);
    let words = text.split_whitespace().filter(|word| *word != "│");
    words.collect::<Vec<_>>().join(" ")
}

/// Waits until a process has ended: one that is killed takes its namespaces down first, and
/// may wait for its parent then.
pub(crate) fn ended(pid: Pid) -> bool {
    let stat = format!("/proc/{}/stat", pid.as_raw_nonzero());
    let soon = Instant::now() + Duration::from_secs(60);
    loop {
        let state = std::fs::read_to_string(&stat).unwrap_or_default();
        if state.is_empty() || state.contains(") Z ") {
            return true;
        }
        if Instant::now() > soon {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
