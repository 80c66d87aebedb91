//! The chart's role against every scenario: the API server's mock authorizes as Kubernetes
//! 1.36 does, so a missing verb fails a run, and a verb that no run needs is found.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use serde_json::Value;

use crate::helm::template;

/// How many scenarios run at the same time.
const TOGETHER: usize = 2;

fn ndra(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_ndra"))
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

/// Runs a scenario with the role in `file`; returns what was not needed.
fn unused(scenario: &str, file: &Path) -> Result<BTreeSet<String>, String> {
    let report = file.with_file_name(format!("{scenario}.json"));
    let arguments = [
        "simulate",
        "--timeout=60s",
        "--scenario",
        scenario,
        "--rbac",
        file.to_str().unwrap(),
        "--rbac-report",
        report.to_str().unwrap(),
    ];
    // Whether it went as the scenario says has a test of its own.
    let (_, said) = ndra(&arguments);
    if said.contains("lacks a permission") {
        return Err(format!("{scenario}: {said}"));
    }
    let report = std::fs::read(report).map_err(|error| format!("{scenario}: {error}: {said}"))?;
    let report: Value = serde_json::from_slice(&report).unwrap();
    Ok(serde_json::from_value(report["unused"].clone()).unwrap())
}

#[test]
fn the_role_is_what_the_scenarios_need_and_no_more() {
    let Some(manifest) = template(&[]) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rendered.yaml");
    std::fs::write(&file, manifest.unwrap()).unwrap();
    let (_, listed) = ndra(&["simulate", "--list-scenarios"]);
    let names: Vec<&str> = listed
        .lines()
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    let (next, outcomes) = (Mutex::new(names.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..TOGETHER {
            scope.spawn(|| {
                loop {
                    let name = next.lock().unwrap().next();
                    let Some(name) = name else { return };
                    let outcome = unused(name, &file);
                    outcomes.lock().unwrap().push(outcome);
                }
            });
        }
    });
    let outcomes: Result<Vec<_>, _> = outcomes.into_inner().unwrap().into_iter().collect();
    let outcomes = outcomes.unwrap_or_else(|refused| panic!("{refused}"));
    assert_eq!(outcomes.len(), names.len());
    let never = outcomes
        .into_iter()
        .reduce(|one, other| &one & &other)
        .unwrap();
    assert_eq!(
        never,
        BTreeSet::new(),
        "no scenario needs these permissions"
    );
}

/// A role without one of the verbs, and one with a verb too many.
#[test]
fn too_little_and_too_much_are_found() {
    let Some(manifest) = template(&[]) else {
        return;
    };
    let manifest = manifest.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rendered.yaml");
    let mut page = String::new();
    for (whole, part) in [
        (
            "verbs: [\"associated-node:patch\"]",
            "verbs: [\"associated-node:update\"]",
        ),
        (
            "resources: [nodes]\n  verbs: [get]",
            "resources: [nodes]\n  verbs: [list]",
        ),
        (
            "verbs: [list, watch, create, update, delete]",
            "verbs: [list, create, update, delete]",
        ),
    ] {
        assert!(manifest.contains(whole), "{whole}");
        std::fs::write(&file, manifest.replace(whole, part)).unwrap();
        let arguments = ["simulate", "-o", "json", "--scenario", "one-claim"];
        let (ok, said) = ndra(&[&arguments[..], &["--rbac", file.to_str().unwrap()]].concat());
        assert!(!ok, "{said}");
        let summary: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
        let failures: Vec<String> =
            serde_json::from_value(summary["summary"]["failures"].clone()).unwrap();
        page.push_str(&format!("{part}\n"));
        let lacks = failures
            .iter()
            .filter(|why| why.contains("lacks a permission"));
        page.extend(lacks.map(|why| format!("  {why}\n")));
    }
    insta::assert_snapshot!(page);

    let more = manifest.replace(
        "verbs: [create, patch]",
        "verbs: [create, patch, deletecollection]",
    );
    std::fs::write(&file, more).unwrap();
    let never = unused("one-claim", &file).unwrap();
    assert!(
        never.contains("ClusterRole/network-dra: deletecollection events"),
        "{never:?}"
    );
}

#[test]
fn a_file_without_a_role_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("none.yaml");
    std::fs::write(&file, "kind: DaemonSet\n").unwrap();
    let (ok, said) = ndra(&["simulate", "--rbac", file.to_str().unwrap()]);
    assert!(!ok);
    assert!(
        said.contains("binds roles to 0 service accounts, not to one"),
        "{said}"
    );
}
