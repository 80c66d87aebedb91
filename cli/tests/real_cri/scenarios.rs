//! Every scenario over real runtimes, as `fixtures/matrix.yaml` says.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::real::shown;
use crate::runtime::Runtime;

#[derive(Deserialize)]
struct Matrix {
    lanes: BTreeMap<String, Lane>,
    scenarios: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Lane {
    /// Options of `scripts/real-runtime up`; none where the runtime is a mock.
    #[serde(default)]
    runtime: Vec<String>,
    /// Options of `ndra simulate`.
    #[serde(default)]
    simulate: Vec<String>,
}

/// All scenarios that `fixtures/matrix.yaml` has for the lanes on this runtime, which each must
/// leave as it found it.
fn every_scenario(options: &[&str], up: impl FnOnce() -> Option<Runtime>) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/matrix.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let matrix: Matrix = serde_saphyr::from_str(&text).unwrap();
    let lanes = matrix.lanes.iter();
    let lanes: Vec<(&String, &Lane)> = lanes.filter(|(_, lane)| lane.runtime == options).collect();
    assert!(!lanes.is_empty());
    let Some(runtime) = up() else {
        return;
    };
    let mut failed = Vec::new();
    for (name, lane) in lanes {
        let cells = matrix.scenarios.iter();
        let scenarios: Vec<&String> = cells
            .filter(|(_, cells)| cells[name] == "runs")
            .map(|(scenario, _)| scenario)
            .collect();
        assert!(scenarios.len() >= 5, "{name}");
        let began = std::time::Instant::now();
        for scenario in &scenarios {
            let options = lane.simulate.iter().map(String::as_str);
            let args: Vec<&str> = ["--scenario", scenario]
                .into_iter()
                .chain(options)
                .collect();
            let output = runtime.simulate(&args);
            if !output.status.success() {
                failed.push(format!("{name}, {scenario}: {}", shown(&output)));
            }
            runtime.is_clean();
        }
        println!(
            "{name}: {} scenarios in {:?}",
            scenarios.len(),
            began.elapsed()
        );
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn every_scenario_runs_in_containerd_with_runc() {
    let options = ["--oci", "runc"];
    every_scenario(&options, || Runtime::up("runc", &options));
}

#[test]
fn every_scenario_runs_in_containerd_with_crun() {
    let options = ["--oci", "crun"];
    every_scenario(&options, || Runtime::up("crun", &options));
}

#[test]
fn every_scenario_runs_in_crio() {
    every_scenario(&["--runtime", "crio"], || Runtime::crio("crio"));
}
