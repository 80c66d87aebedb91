//! A real Helm, where there is one.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

pub(crate) const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deployments/network-dra");

/// `HELM`, the one in PATH, or the one where `go install` puts programs.
fn program() -> Option<PathBuf> {
    let named = std::env::var_os("HELM").map(PathBuf::from);
    let installed = std::env::var_os("HOME").map(|home| PathBuf::from(home).join("go/bin/helm"));
    let found = [named, Some("helm".into()), installed]
        .into_iter()
        .flatten()
        .find(|program| {
            let version = Command::new(program).arg("version").output();
            version.is_ok_and(|output| output.status.success())
        });
    let required = std::env::var("NDRA_REQUIRE_REAL").is_ok_and(|value| value == "1");
    assert!(
        found.is_some() || !required,
        "helm is not installed, and NDRA_REQUIRE_REAL=1 asks for it"
    );
    if found.is_none() {
        // Past the test's capture: a skipped test is seen.
        let _ = std::io::Write::write_all(
            &mut std::io::stderr(),
            b"SKIPPED: helm is not installed; this test needs it\n",
        );
    }
    found
}

fn run(arguments: &[&str]) -> Option<Output> {
    let output = Command::new(program()?).args(arguments).output();
    Some(output.unwrap())
}

/// Checks the chart with these `--set` values.
pub(crate) fn lint(values: &[&str]) -> Option<String> {
    let mut arguments = vec!["lint", CHART, "--strict", "--kube-version=1.36.0"];
    arguments.extend(values.iter().flat_map(|value| ["--set", value]));
    let output = run(&arguments)?;
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{values:?}: {said}");
    Some(said)
}

/// What an installation with these `--set` values makes, or why it is refused.
pub(crate) fn template(values: &[&str]) -> Option<Result<String, String>> {
    template_for("1.36.0", values)
}

pub(crate) fn template_for(version: &str, values: &[&str]) -> Option<Result<String, String>> {
    let version = format!("--kube-version={version}");
    let mut arguments = vec!["template", "network-dra", CHART, "--namespace=kube-system"];
    arguments.push(&version);
    arguments.extend(values.iter().flat_map(|value| ["--set", value]));
    let output = run(&arguments)?;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Some(if output.status.success() {
        Ok(text(output.stdout))
    } else {
        Err(text(output.stderr))
    })
}

/// The objects of a manifest.
pub(crate) fn objects(manifest: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(manifest).unwrap()
}

/// The one object of a kind.
pub(crate) fn object(manifest: &str, kind: &str) -> Value {
    let mut found = objects(manifest)
        .into_iter()
        .filter(|object| object["kind"] == kind);
    let object = found.next().unwrap();
    assert!(found.next().is_none(), "several of kind {kind}");
    object
}
