//! Every file in `examples/` that a person may apply: valid without a warning, run through
//! its whole life, its interfaces and addresses as its text says.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod real;

use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;

fn examples() -> Vec<PathBuf> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        // What configures kind is for kind.
        .filter(|path| {
            path.extension().is_some_and(|e| e == "yaml") && !path.ends_with("kind.yaml")
        })
        .collect();
    files.sort();
    files
}

fn ndra(args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_ndra"))
        .args(args)
        .output()
        .unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[test]
fn each_begins_with_a_paragraph_that_explains_it() {
    for file in examples() {
        let text = std::fs::read_to_string(&file).unwrap();
        let lines = text
            .lines()
            .take_while(|line| line.starts_with('#'))
            .count();
        assert!(lines >= 2, "{}", file.display());
    }
}

#[test]
fn each_is_valid_without_a_warning() {
    for file in examples() {
        let (code, out, err) = ndra(&["validate", file.to_str().unwrap()]);
        assert_eq!(
            (code, err.as_str()),
            (Some(0), ""),
            "{}: {out}",
            file.display()
        );
    }
}

#[test]
fn each_runs_to_its_end() {
    let mut page = String::new();
    // The played plugins move no card: see below.
    for file in examples()
        .iter()
        .filter(|f| !f.ends_with("host-device.yaml"))
    {
        let name = file.to_str().unwrap();
        let args = ["simulate", "--timeout", "60s", "--netns", "virtual", name];
        let (code, out, err) = ndra(&args);
        assert_eq!(
            (code, err.as_str()),
            (Some(0), ""),
            "{}: {out}",
            file.display()
        );
        writeln!(page, "{}", file.file_name().unwrap().to_str().unwrap()).unwrap();
        // pod, interface, MAC, addresses
        let mut attached: Vec<String> = out
            .lines()
            .filter(|line| line.starts_with("default/"))
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .filter(|columns| columns.len() >= 4)
            .map(|columns| format!("  {} {}", columns[1], columns[3..].join(" ")))
            .collect();
        attached.sort();
        writeln!(page, "{}", attached.join("\n")).unwrap();
    }
    insta::assert_snapshot!(page, @r"
    deployment.yaml
      net1 10.10.1.2/24
      net1 10.10.1.3/24
      net1 10.10.1.4/24
    find-interface.yaml
      net1 10.10.1.2/24
    pod-with-template.yaml
      net1 10.10.1.2/24
    pod.yaml
      net1 10.10.1.2/24
    shared-by-containers.yaml
      net1 10.10.1.2/24
    static-address.yaml
      net1 10.10.1.53/24
    two-networks.yaml
      net1 10.10.1.2/24
      net2 10.10.2.2/24
    ");
}

/// Of another Kubernetes: neither the one nor the other takes it for its own.
#[test]
fn the_pod_of_kubernetes_1_29_runs_to_its_end() {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../examples/kubernetes-1.29/pod.yaml"
    );
    assert_eq!(
        ndra(&["validate", file]),
        (
            Some(0),
            "✓ CNIConfig default/net1\n✓ ResourceClaim default/net1\n✓ Pod default/web\n".into(),
            String::new()
        )
    );
    let args = [
        "simulate",
        "--netns",
        "virtual",
        "--kubelet-api",
        "v1alpha3",
        file,
    ];
    let (code, out, err) = ndra(&args);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    let attached = out.lines().find(|line| line.starts_with("default/web"));
    let columns: Vec<&str> = attached.unwrap().split_whitespace().collect();
    assert_eq!((columns[1], columns[3]), ("net1", "10.10.1.2/24"), "{out}");
}

/// The real plugin moves a link of the kernel's, and brings it back.
#[test]
fn a_whole_card_goes_into_the_pod_and_comes_back() {
    let Some(plugins) = real::plugins(&["host-device", "static"]) else {
        return;
    };
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/host-device.yaml");
    let output = Command::new(env!("CARGO_BIN_EXE_ndra"))
        .args(["simulate", "--timeout", "60s", "--cni", "exec"])
        .args(["--interface", "eth1", file])
        .env("LC_ALL", "C.UTF-8")
        .env("CNI_PATH", plugins)
        .output()
        .unwrap();
    let page = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap()
        ),
        (Some(0), String::new()),
        "{page}"
    );
    let attached = page.lines().find(|line| line.starts_with("default/router"));
    let columns: Vec<&str> = attached.unwrap().split_whitespace().collect();
    assert_eq!((columns[1], columns[3]), ("net1", "10.10.3.7/24"), "{page}");
    // A card that did not come back would be missing on the node.
    assert!(page.contains("✓ 0 interfaces"), "{page}");
}
