//! Real CNI plugins under `ndra simulate --cni exec`: each attaches, and leaves nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod real;

use std::path::Path;
use std::process::Command;

use real::plugins;

const HOST_LOCAL: &str = "{type: host-local, ranges: [[{subnet: 10.30.1.0/24}]]}";
const STATIC: &str = "{type: static, addresses: [{address: 10.31.0.5/24}]}";

fn manifest(config: &str) -> String {
    format!(
        r"apiVersion: resource.k8s.io/v1
kind: ResourceClaim
metadata: {{name: net}}
spec:
  devices:
    requests:
    - {{name: net, exactly: {{deviceClassName: dra.networking}}}}
    config:
    - opaque:
        driver: dra.networking
        parameters:
          apiVersion: dra.networking/v1alpha1
          kind: CNIConfig
          ifName: net1
          config: {config}
---
apiVersion: v1
kind: Pod
metadata: {{name: web}}
spec:
  resourceClaims:
  - {{name: net, resourceClaimName: net}}
  containers:
  - name: app
    image: busybox
    resources: {{claims: [{{name: net}}]}}
"
    )
}

/// Runs one pod; its page, and whether it went well.
fn run(plugins: &Path, config: &str) -> (bool, String) {
    run_on(plugins, &manifest(config), &[])
}

fn run_on(plugins: &Path, manifest: &str, options: &[&str]) -> (bool, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pod.yaml");
    std::fs::write(&file, manifest).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_ndra"))
        .args(["simulate", "--cni", "exec", "--timeout", "60s"])
        .args(options)
        .arg(file)
        .env("LC_ALL", "C.UTF-8")
        .env("CNI_PATH", plugins)
        .output()
        .unwrap();
    let page = String::from_utf8(output.stdout).unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{page}");
    // However it went.
    for clean in [
        "nothing left behind",
        "✓ 0 interfaces",
        "✓ 0 addresses",
        "✓ 0 network namespaces",
        "✓ 0 driver records",
    ] {
        assert!(page.contains(clean), "{page}");
    }
    (output.status.success(), page)
}

fn attaches(wanted: &[&str], config: &str, address: &str) {
    let Some(plugins) = plugins(wanted) else {
        return;
    };
    has(run(&plugins, config), address);
}

fn has((ok, page): (bool, String), address: &str) {
    assert!(ok, "{page}");
    let inside = format!("  {address}\nas read inside the pods' network namespaces");
    assert!(page.contains(&inside), "{page}");
}

#[test]
fn macvlan_with_static() {
    let config =
        format!("{{cniVersion: 1.0.0, name: net, type: macvlan, master: eth0, ipam: {STATIC}}}");
    attaches(&["macvlan", "static"], &config, "10.31.0.5/24");
}

#[test]
fn macvlan_and_tuning() {
    let config = format!(
        "{{cniVersion: 1.0.0, name: net, plugins: [
            {{type: macvlan, master: eth0, ipam: {HOST_LOCAL}}},
            {{type: tuning, mtu: 1400, sysctl: {{net.ipv4.conf.IFNAME.arp_filter: \"1\"}}}}]}}"
    );
    attaches(
        &["macvlan", "tuning", "host-local"],
        &config,
        "10.30.1.2/24",
    );
}

#[test]
fn bridge() {
    let config = format!(
        "{{cniVersion: 1.0.0, name: net, type: bridge, bridge: br1, isGateway: true, ipam: {HOST_LOCAL}}}"
    );
    attaches(&["bridge", "host-local"], &config, "10.30.1.2/24");
}

/// It runs iptables when it detaches.
#[test]
fn bridge_and_portmap() {
    let config = format!(
        "{{cniVersion: 1.0.0, name: net, plugins: [
            {{type: bridge, bridge: br1, isGateway: true, ipam: {HOST_LOCAL}}},
            {{type: portmap, snat: true, capabilities: {{portMappings: true}}}}]}}"
    );
    attaches(
        &["bridge", "portmap", "host-local"],
        &config,
        "10.30.1.2/24",
    );
}

#[test]
fn ptp() {
    let config = format!("{{cniVersion: 1.0.0, name: net, type: ptp, ipam: {HOST_LOCAL}}}");
    attaches(&["ptp", "host-local"], &config, "10.30.1.2/24");
}

/// The node's own link goes into the pod, and comes back under its name.
#[test]
fn host_device() {
    let Some(plugins) = plugins(&["host-device", "static"]) else {
        return;
    };
    let config = format!(
        "{{cniVersion: 1.0.0, name: net, type: host-device, device: eth1, ipam: {STATIC}}}"
    );
    let manifest =
        manifest(&config).replace("deviceClassName: dra.networking", "deviceClassName: nic");
    let class = r#"apiVersion: resource.k8s.io/v1
kind: DeviceClass
metadata: {name: nic}
spec: {selectors: [{cel: {expression: 'device.attributes["dra.networking"].name == "eth1"'}}]}
---
"#;
    has(
        run_on(
            &plugins,
            &format!("{class}{manifest}"),
            &["--interface", "eth1"],
        ),
        "10.31.0.5/24",
    );
}

#[test]
fn vlan() {
    let wanted = ["vlan", "host-local"];
    let Some(plugins) = plugins(&wanted) else {
        return;
    };
    let config = format!(
        "{{cniVersion: 1.0.0, name: net, type: vlan, master: eth0, vlanId: 5, ipam: {HOST_LOCAL}}}"
    );
    let (ok, page) = run(&plugins, &config);
    if ok {
        assert!(page.contains("  10.30.1.2/24\n"), "{page}");
        return;
    }
    // Kernels are built without 802.1Q. Then the plugin's words must reach the user.
    let refused = "failed to create vlan: operation not supported";
    assert!(page.replace("\n     │", "").contains(refused), "{page}");
    // No program that could be installed would help: this is no reason to fail.
    real::skip_unless(
        "NDRA_REQUIRE_VLAN",
        "this kernel has no 802.1Q; its refusal was told, and nothing stayed",
    );
}
