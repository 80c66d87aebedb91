//! What the scripts for a cluster would run, command by command, and that the README says
//! the same.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

fn script(name: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let output = Command::new(format!("{root}/scripts/{name}"))
        .args(arguments)
        .current_dir("/")
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUSTFLAGS")
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

fn dry(name: &str, arguments: &[&str]) -> String {
    let arguments = [arguments, &["--dry-run"]].concat();
    let (code, said) = script(name, &arguments);
    assert_eq!(code, Some(0), "{said}");
    said
}

#[test]
fn kind_up_prints_every_command() {
    insta::assert_snapshot!(dry("kind-up", &[]));
    let ready = dry("kind-up", &["--image", "registry.example/ndra:1"]);
    assert!(!ready.contains("scripts/image"), "{ready}");
    assert!(
        ready.contains("--set image.repository=registry.example/ndra --set-string image.tag=1 "),
        "{ready}"
    );
}

#[test]
fn kind_down_prints_its_command() {
    insta::assert_snapshot!(dry("kind-down", &[]), @"+ kind delete cluster --name ndra");
}

#[test]
fn image_prints_every_command() {
    let target = ["--target", "x86_64-unknown-linux-gnu"];
    let with = |more: &[&str]| dry("image", &[&target[..], more].concat());
    insta::assert_snapshot!(with(&["--tool", "docker"]));
    insta::assert_snapshot!(with(&[
        "--tool",
        "buildah",
        "--storage",
        "/tmp/s",
        "--check"
    ]));
}

#[test]
fn wrong_usage_is_named() {
    for (name, arguments) in [
        ("image", &["--tool", "make"][..]),
        ("image", &["--tool", "docker", "--check"]),
        (
            "image",
            &["--target", "aarch64-apple-darwin", "--tool", "docker"],
        ),
        ("kind-up", &["--image"]),
        ("kind-down", &["--force"]),
    ] {
        let (code, said) = script(name, arguments);
        assert_eq!(code, Some(1), "{said}");
        insta::assert_snapshot!(format!(
            "{name} {}: {}",
            arguments.join(" "),
            said.lines().last().unwrap()
        ));
    }
}

/// The manifest is one release's, and so must the image be, which it leaves open.
#[test]
fn multus_is_of_one_release() {
    let text = include_str!("../../examples/multus/kustomization.yaml");
    let kustomization: serde_json::Value = serde_saphyr::from_str(text).unwrap();
    let manifest = kustomization["resources"][0].as_str().unwrap();
    let release = manifest
        .strip_prefix("https://raw.githubusercontent.com/k8snetworkplumbingwg/multus-cni/")
        .unwrap()
        .split('/')
        .next()
        .unwrap();
    let image = kustomization["images"][0]["newTag"].as_str().unwrap();
    assert_eq!(image, format!("{release}-thick"));
    let patch = kustomization["patches"][0]["patch"].as_str().unwrap();
    let patch: serde_json::Value = serde_saphyr::from_str(patch).unwrap();
    let container = &patch["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        (&patch["metadata"]["name"], &container["name"]),
        (&"kube-multus-ds".into(), &"kube-multus".into())
    );
    // What the tests compare with.
    let tools = include_str!("../../scripts/real-tools");
    assert!(tools.contains(release), "{release}");
}

/// The README's demo is what `kind-up` does, without the words that a person who has one
/// cluster leaves out.
#[test]
fn the_readmes_demo_is_what_kind_up_does() {
    let readme = include_str!("../../README.md");
    let demo = readme.split("## On a cluster").nth(1).unwrap();
    let demo = demo
        .split("```sh\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let done = dry("kind-up", &[])
        .replace(" --context kind-ndra", "")
        .replace(" --kube-context kind-ndra", "");
    let mut place = 0;
    for command in demo.replace(" \\\n  ", " ").lines() {
        let command = command.trim();
        let from = done[place..].find(&format!("+ {command}"));
        place +=
            from.unwrap_or_else(|| panic!("kind-up does not do, in this order: {command}\n{done}"));
    }
}

/// `examples/kind.yaml`, of which kind would refuse any other field.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[allow(clippy::struct_field_names, reason = "kind's own words")]
struct Kind {
    kind: String,
    api_version: String,
    name: String,
    nodes: Vec<KindNode>,
    containerd_config_patches: Vec<String>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct KindNode {
    role: String,
    image: String,
}

#[test]
fn kinds_cluster_is_what_the_driver_needs_and_the_scripts_expect() {
    let kind: Kind = serde_saphyr::from_str(include_str!("../../examples/kind.yaml")).unwrap();
    assert_eq!(
        (kind.kind.as_str(), kind.api_version.as_str()),
        ("Cluster", "kind.x-k8s.io/v1alpha4")
    );
    let up = include_str!("../../scripts/kind-up");
    assert!(up.contains(&format!("cluster={}\n", kind.name)));
    // As kind names the containers of a cluster with one node of each role.
    let names: Vec<String> = kind
        .nodes
        .iter()
        .map(|node| format!("{}-{}", kind.name, node.role))
        .collect();
    assert!(
        up.contains(&format!("nodes=({})\n", names.join(" "))),
        "{names:?}"
    );
    for node in &kind.nodes {
        let (tag, digest) = node.image.split_once("@sha256:").unwrap();
        assert!(digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let minor = tag.strip_prefix("kindest/node:v1.").unwrap();
        let minor: u32 = minor.split('.').next().unwrap().parse().unwrap();
        // The first that serves resource.k8s.io/v1 without a gate.
        assert!(minor >= 34, "{}", node.image);
    }
    let values: serde_json::Value =
        serde_saphyr::from_str(include_str!("../../deployments/network-dra/values.yaml")).unwrap();
    let cdi = values["hostPaths"]["cdi"].as_str().unwrap();
    let patch = kind.containerd_config_patches.join("\n");
    assert!(
        patch.contains("enable_cdi = true") && patch.contains(&format!("{cdi:?}")),
        "{patch}"
    );
}

#[test]
fn chart_and_program_have_one_version() {
    let chart: serde_json::Value =
        serde_saphyr::from_str(include_str!("../../deployments/network-dra/Chart.yaml")).unwrap();
    // The image that the demo builds has it as its tag.
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
}
