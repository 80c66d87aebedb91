//! Every scenario on every lane, as `fixtures/matrix.yaml` says. The played lane is in
//! `scenarios.rs`, a test for each; here is what needs the kernel.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod real;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;

use real::{found, has, path, probe, skip};

/// Lanes that have a test: here, in `scenarios.rs`, or in `real_cri`.
const TESTED: [&str; 11] = [
    "containerd-crun/kernel",
    "containerd-runc/exec",
    "containerd-runc/kernel",
    "containerd-runc/multus",
    "containerd-runc/record",
    "crio-runc/kernel",
    "crio-runc/multus",
    "mock-cri/exec",
    "mock-cri/kernel",
    "mock-cri/multus",
    "mock-cri/record",
];

/// Plugins that the scenarios name.
const PLUGINS: [&str; 3] = ["macvlan", "host-local", "static"];

/// Scenarios that run at the same time.
const TOGETHER: usize = 2;

/// One lane at a time: each keeps the machine busy.
static TURN: Mutex<()> = Mutex::new(());

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Matrix {
    lanes: BTreeMap<String, Lane>,
    /// What cells name by aliases.
    #[serde(rename = "reasons")]
    _reasons: Vec<String>,
    scenarios: BTreeMap<String, BTreeMap<String, String>>,
}

/// The options that choose it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lane {
    #[serde(default)]
    simulate: Vec<String>,
    #[serde(default)]
    runtime: Vec<String>,
}

impl Matrix {
    fn read() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/matrix.yaml");
        serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }
}

fn ndra(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ndra"));
    command.args(args).env("LC_ALL", "C.UTF-8");
    command
}

#[test]
fn every_scenario_has_a_cell_for_every_lane() {
    let matrix = Matrix::read();
    assert!(matrix.lanes.keys().eq(TESTED), "a lane has no test");
    for (name, lane) in &matrix.lanes {
        let real = !name.starts_with("mock-cri/");
        assert_eq!(lane.runtime.is_empty(), !real, "{name}");
    }
    let listed = ndra(&["simulate", "--list-scenarios"]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let mut listed: Vec<&str> = listed.lines().filter_map(|l| l.split(' ').next()).collect();
    listed.sort_unstable();
    assert!(listed.len() > 20);
    assert!(
        matrix.scenarios.keys().eq(listed),
        "a scenario has no row, or a row no scenario"
    );
    for (scenario, cells) in &matrix.scenarios {
        assert!(
            cells.keys().eq(matrix.lanes.keys()),
            "{scenario} has not every cell"
        );
        for (lane, cell) in cells {
            let reason = cell.split(' ').count() > 3;
            assert!(
                cell == "runs" || reason,
                "{scenario} on {lane}: {cell} is no reason"
            );
        }
    }
    let played = |cells: &BTreeMap<String, String>| cells["mock-cri/record"] == "runs";
    assert!(
        matrix.scenarios.values().all(played),
        "scenarios.rs runs all of them"
    );
}

/// Where the plugins are for a lane, where it has real ones; an error says what is missing here.
fn ready(lane: &str) -> Result<Option<PathBuf>, String> {
    probe()?;
    let real = lane.ends_with("/exec") || lane.ends_with("/multus");
    if lane.ends_with("/multus") && !has("multus-daemon") {
        return Err("no multus-daemon: install it with scripts/real-tools multus".into());
    }
    match real {
        true => found(&PLUGINS).map(Some),
        false => Ok(None),
    }
}

/// Runs every scenario that has a cell in the lane.
fn run(lane: &str) {
    let plugins = match ready(lane) {
        Ok(plugins) => plugins,
        Err(why) => return skip(&format!("lane {lane}: {why}")),
    };
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let matrix = Matrix::read();
    let options = &matrix.lanes[lane].simulate;
    let scenarios: Vec<&String> = matrix
        .scenarios
        .iter()
        .filter(|(_, cells)| cells[lane] == "runs")
        .map(|(name, _)| name)
        .collect();
    assert!(!scenarios.is_empty());
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..TOGETHER {
            scope.spawn(|| {
                while let Some(name) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut command = ndra(&["simulate", "--timeout", "60s", "--scenario", name]);
                    command.args(options).env("PATH", path());
                    if let Some(plugins) = &plugins {
                        command.env("CNI_PATH", plugins);
                    }
                    let output = command.output().unwrap();
                    if !output.status.success() {
                        failures.lock().unwrap().push(format!(
                            "{name}:\n{}\n{}",
                            String::from_utf8_lossy(&output.stdout),
                            String::from_utf8_lossy(&output.stderr)
                        ));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "lane {lane}\n{}", failures.join("\n"));
}

#[test]
fn the_kernel_makes_the_links() {
    run("mock-cri/kernel");
}

#[test]
fn real_plugins_run() {
    run("mock-cri/exec");
}

#[test]
fn the_real_multus_runs_real_plugins() {
    run("mock-cri/multus");
}
