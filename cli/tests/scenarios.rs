//! Every shipped scenario, in every flavour it is meant for, as a test of its own. Each run
//! is a process of its own with a directory of its own, so that all run in parallel. Other
//! lanes than the played one are in `matrix.rs`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

/// Runs a scenario; what it printed is the failure's text.
fn run(name: &str, flavor: &str) {
    let output = Command::new(env!("CARGO_BIN_EXE_ndra"))
        .args(["simulate", "--scenario", name, "--cri-flavor", flavor])
        .args(["--timeout", "60s", "--netns", "virtual"])
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

macro_rules! scenarios {
    ($($name:ident: $($flavor:ident),+;)+) => {
        $(mod $name {
            $(#[test]
            fn $flavor() {
                super::run(&stringify!($name).replace('_', "-"), stringify!($flavor));
            })+
        })+

        /// What has a test here.
        const TESTED: &[&str] = &[$(stringify!($name)),+];
    };
}

scenarios! {
    one_claim: containerd, crio;
    two_claims: containerd, crio;
    two_requests: containerd, crio;
    count_two: containerd, crio;
    shared_by_containers: containerd, crio;
    container_restart: containerd, crio;
    sandbox_recreated: containerd, crio;
    two_pods: containerd, crio;
    shared_by_pods: containerd, crio;
    claim_from_template: containerd, crio;
    class_parameters: containerd, crio;
    no_parameters: containerd, crio;
    static_address: containerd, crio;
    plugin_not_allowed: containerd, crio;
    metadata_files: containerd, crio;
    dual_stack: containerd, crio;
    crio_hook_output: crio;
    kubelet_v1beta1: containerd, crio;
    kubelet_v1alpha3: containerd, crio;
    driver_comes_back: containerd, crio;
    driver_stays_away: containerd, crio;
    driver_restarted: containerd, crio;
    driver_rolled: containerd, crio;
    driver_rolled_busy: containerd, crio;
    driver_killed: containerd, crio;
    kubelet_restarted: containerd, crio;
    slots_changed: containerd, crio;
    uplink_full: containerd, crio;
    whole_nic: containerd, crio;
    select_by_attribute: containerd, crio;
    interface_gone: containerd, crio;
    no_consumable_capacity: containerd, crio;
    link_down: containerd, crio;
    every_step_fails_once: containerd, crio;
    multus_error: containerd, crio;
    multus_gone: containerd, crio;
    pod_force_deleted: containerd, crio;
    pod_replaced: containerd, crio;
    claim_for_pod_only: containerd, crio;
    same_name_one_call: containerd, crio;
    same_name_later_call: containerd, crio;
    host_network: containerd, crio;
}

#[test]
fn every_shipped_scenario_has_a_test() {
    let output = Command::new(env!("CARGO_BIN_EXE_ndra"))
        .args(["simulate", "--list-scenarios"])
        .output()
        .unwrap();
    let listed = String::from_utf8(output.stdout).unwrap();
    let listed: Vec<String> = listed
        .lines()
        .map(|line| line.split("  ").next().unwrap().trim().replace('-', "_"))
        .collect();
    assert_eq!(listed, TESTED);
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/scenarios");
    let mut files: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .map(|name| name.trim_end_matches(".yaml").replace('-', "_"))
        .collect();
    files.sort();
    let mut listed = listed;
    listed.sort();
    assert_eq!(listed, files, "a file in fixtures/scenarios is not shipped");
}
