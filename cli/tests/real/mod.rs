//! Where the real CNI plugins are that tests run, if they can.

use std::path::PathBuf;
use std::process::Command;

fn probe() -> Result<(), String> {
    let mut probe = Command::new(env!("CARGO_BIN_EXE_ndra"));
    let probe = probe.args(["namespace-helper", "probe"]).output().unwrap();
    match probe.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&probe.stderr).trim().to_owned()),
    }
}

/// The directory with the real plugins; says once why there is none.
pub(crate) fn plugins(wanted: &[&str]) -> Option<PathBuf> {
    let named = std::env::var_os("CNI_PATH").unwrap_or_default();
    let tools = std::env::var_os("NDRA_TOOLS").map(PathBuf::from);
    let tools =
        tools.unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools").into());
    let found = std::env::split_paths(&named)
        .chain([
            tools.join("cni/bin"),
            "/opt/cni/bin".into(),
            "/usr/lib/cni".into(),
        ])
        .find(|dir| wanted.iter().all(|plugin| dir.join(plugin).is_file()));
    let why = match (probe(), &found) {
        (Ok(()), Some(_)) => return found,
        (Err(why), _) => why,
        (Ok(()), None) => format!(
            "CNI plugins {}: install them with scripts/real-tools cni",
            wanted.join(", ")
        ),
    };
    assert!(std::env::var_os("NDRA_REQUIRE_REAL").is_none(), "{why}");
    eprintln!("skipped: {why}");
    None
}
