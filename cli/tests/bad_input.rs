//! What the user gets for wrong usage and bad input: one clear text, exit code 2, and
//! nothing started or written.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs ndra in `dir`, so that messages hold no path of this machine.
fn ndra(dir: &Path, args: &[&str], stdin: &str) -> Said {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ndra"))
        .args(args)
        .current_dir(dir)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that refuses its arguments does not read.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    Said {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The words for bad input; nothing must have happened.
fn refused(args: &[&str], stdin: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("directory")).unwrap();
    std::fs::write(dir.path().join("binary"), b"\x7fELF\x02\x01\x01\0\0").unwrap();
    let before = std::fs::read_dir(dir.path()).unwrap().count();
    let said = ndra(dir.path(), args, stdin);
    assert_eq!(said.code, Some(2), "{}{}", said.stdout, said.stderr);
    assert_eq!(said.stdout, "", "something was started");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), before);
    said.stderr
}

const CLAIM: &str = "
apiVersion: resource.k8s.io/v1
kind: ResourceClaim
metadata: {name: net}
spec:
  devices:
    requests: [{name: net, exactly: {deviceClassName: dra.networking}}]
    config:
    - opaque:
        driver: dra.networking
        parameters: PARAMETERS
";

const POD: &str = "
---
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  resourceClaims: [{name: net, resourceClaimName: net}]
  containers:
  - {name: app, image: busybox, resources: {claims: [{name: net}]}}
";

/// A pod whose claim has these parameters.
fn with(parameters: &str) -> String {
    CLAIM.replace("PARAMETERS", parameters) + POD
}

#[test]
fn a_multus_that_cannot_be_run() {
    let refused = |args: &[&str]| refused(&[&["simulate"], args].concat(), "");
    insta::assert_snapshot!(refused(&["--multus", "no-such-daemon"]), @r"
      × --multus no-such-daemon: no such program on PATH
      help: name the thick daemon, multus-daemon of Multus 4.3 or newer, by its
            path; `scripts/real-tools multus` installs it, and `--multus played`
            does without
    ");
    insta::assert_snapshot!(refused(&["--multus", "./binary"]), @r"
      × --multus ./binary: is not a program that can be run
      help: name the thick daemon, multus-daemon of Multus 4.3 or newer, by its
            path; `scripts/real-tools multus` installs it, and `--multus played`
            does without
    ");
    // Anything that can be run.
    insta::assert_snapshot!(refused(&["--multus", "true", "--cni", "kernel"]), @r"
      × --cni: the real Multus runs real CNI plugins
      help: leave --cni out, or --multus
    ");
    insta::assert_snapshot!(refused(&["--multus", "true", "--netns", "virtual"]), @r"
      × --cni: the kernel's links live in real network namespaces
      help: leave --netns virtual out
    ");
}

#[test]
fn files() {
    insta::assert_snapshot!(refused(&["simulate", "gone.yaml"], ""), @r"
    × gone.yaml: cannot be read: No such file or directory
    help: check the path; `-` reads standard input
    ");
    insta::assert_snapshot!(refused(&["simulate", "directory"], ""), @r"
    × directory: is a directory
    help: name the files in it: directory/*.yaml
    ");
    insta::assert_snapshot!(refused(&["simulate", "binary"], ""), @r"
    × binary: is not text: byte 4 does not belong into UTF-8 text
    help: a manifest is YAML or JSON in UTF-8
    ");
    insta::assert_snapshot!(refused(&["simulate", "-"], ""), @r"
    × standard input: holds no object
    help: a manifest is YAML or JSON with apiVersion, kind and metadata.name
    ");
    insta::assert_snapshot!(refused(&["simulate", "-"], "a: [b"), @r"
    × standard input:1: unclosed bracket '['
    help: correct the YAML (or JSON) there
    ");
    insta::assert_snapshot!(refused(&["simulate", "-"], CLAIM), @"
    × standard input:2: ResourceClaim default/net:
    │ spec.devices.config[0].opaque.parameters: the parameters are not an object
    │ but a string
    help: write {apiVersion: dra.networking/v1alpha1, kind: CNIConfig, …}
    × -: holds no Pod: there is nothing to run
    help: add a Pod or a Deployment that uses the claim; `ndra validate` checks
          claims alone
    ");
}

#[test]
fn usage() {
    insta::assert_snapshot!(refused(&["simulate", "--record", "gone/run.jsonl"], ""), @r"
    × gone/run.jsonl: --record: cannot be written: No such file or directory
    help: name a file in a directory that exists and may be written to
    ");
    insta::assert_snapshot!(refused(&["simulate", "--pods", "0"], ""), @r"
    error: invalid value '0' for '--pods <N>': 0 is not in 1..=1000

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(refused(&["simulate", "--timeout", "5"], ""), @r"
    error: invalid value '5' for '--timeout <DURATION>': the unit is missing: write a whole number and ms, s, m or h: 500ms, 25s, 2m

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(refused(&["simulate", "--cri-flavor", "docker"], ""), @r"
    error: invalid value 'docker' for '--cri-flavor <FLAVOR>'
      [possible values: containerd, crio]

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(refused(&["simulate", "--scenario", "nothing"], ""), @r"
    × scenario nothing: is neither shipped with ndra nor a file
    help: `ndra simulate --list-scenarios` lists those that are shipped
    ");
    insta::assert_snapshot!(
        refused(&["simulate", "--scenario", "crio-hook-output", "--cri-flavor", "containerd"], ""), @r"
    × scenario crio-hook-output: is not meant for containerd (runc)
    help: leave --cri-flavor or --cri out
    ");
    insta::assert_snapshot!(
        refused(&["driver", "--node-name", "n", "--hook-timeout", "40s"], ""), @r"
    × ndra driver: the runtime's time-out for the hook (30s) must be longer than
    │ the hook's own (40s), or its error message never gets out
    help: `ndra driver --help` lists every option
    ");
    insta::assert_snapshot!(refused(&["driver", "--node-name", "n", "--log", "a=b=c"], ""), @r#"
    × --log: is no filter: error parsing level filter: expected one of "off",
    │ "error", "warn", "info", "debug", "trace", or a number 0-5
    help: write error, warn, info, debug or trace, or MODULE=LEVEL with `,`
          between
    "#);
}

#[test]
fn parameters() {
    let said = |parameters: &str| refused(&["simulate", "-"], &with(parameters));
    insta::assert_snapshot!(said("{apiVersion: dra.networking/v1alpha1, kind: CNIConfig, ifname: net1}"), @r#"
    × standard input:2 (document 1): ResourceClaim default/net:
    │ spec.devices.config[0].opaque.parameters: the field "ifname" is unknown
    help: did you mean ifName?
    "#);
    insta::assert_snapshot!(said("{apiVersion: dra.networking/v9, kind: CNIConfig}"), @r#"
    × standard input:2 (document 1): ResourceClaim default/net:
    │ spec.devices.config[0].opaque.parameters.apiVersion: "dra.networking/v9"
    │ is unknown
    help: write `apiVersion: dra.networking/v1alpha1`
    "#);
    insta::assert_snapshot!(
        said("{apiVersion: dra.networking/v1alpha1, kind: CNIConfig, ifName: eth0}"), @r"
    × standard input:2 (document 1): ResourceClaim default/net:
    │ spec.devices.config[0].opaque.parameters.ifName: eth0 is the pod's own
    │ primary interface
    help: choose a name such as net1, or leave ifName out for the next free netN
    ");
    insta::assert_snapshot!(
        said("{apiVersion: dra.networking/v1alpha1, kind: CNIConfig, config: {cniVersion: 1.0.0, name: n, type: ../sh}}"), @r#"
    × standard input:2 (document 1): ResourceClaim default/net:
    │ spec.devices.config[0].opaque.parameters.config.name: must be a string,
    │ not a boolean
    help: put the value in quotes
    × standard input:2 (document 1): ResourceClaim default/net:
    │ spec.devices.config[0].opaque.parameters.config.type: "../sh" contains a
    │ `/`
    help: write the plugin's name alone; it is looked up in the node's CNI
          directory
    "#);
}

#[test]
fn references() {
    let said = |text: &str| refused(&["simulate", "-"], text);
    insta::assert_snapshot!(said(POD), @r"
    × standard input:3: Pod default/web:
    │ spec.resourceClaims[0].resourceClaimName: there is no ResourceClaim
    │ default/net in these files
    help: mend the name or the namespace, or add the file that holds it
    ");
    let good = with("{apiVersion: dra.networking/v1alpha1, kind: CNIConfig}");
    insta::assert_snapshot!(said(&good.replace("claims: [{name: net}]", "claims: [{name: nett}]")), @r"
    × standard input:14 (document 2): Pod default/web:
    │ spec.containers[0].resources.claims[0].name: the pod has no claim `nett`
    help: name one of spec.resourceClaims
    ⚠ standard input:14 (document 2): Pod default/web: spec.resourceClaims: no
    │ container lists `net`: no hook will run and the pod gets no interface
    help: add `claims: [{name: net}]` under a container's resources
    ");
    insta::assert_snapshot!(
        said(&good.replace("claims: [{name: net}]", "claims: [{name: net, request: x}]")), @r"
    × standard input:14 (document 2): Pod default/web:
    │ spec.containers[0].resources.claims[0].request: the claim has no request
    │ `x`
    help: name one of the claim's spec.devices.requests, or leave it out for all
    ");
}

#[test]
fn scenarios() {
    let said = |text: &str| {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("s.yaml"), text).unwrap();
        let said = ndra(dir.path(), &["simulate", "--scenario", "s.yaml"], "");
        assert_eq!((said.code, said.stdout.as_str()), (Some(2), ""));
        said.stderr
    };
    insta::assert_snapshot!(said("name: a\ntitle: b\nactions: []\nexpects: {}\n"), @"
    × s.yaml:4: unknown field `expects`, expected one of name, title, flavors,
    │ kubeletApi, driver, interfaces, consumableCapacity, sliceWipeSeconds,
    │ manifests, objects, actions, expect
    help: correct the YAML (or JSON) there
    ");
    insta::assert_snapshot!(said("name: a\ntitle: b\nactions: [explode: {}]\n"), @"
    × s.yaml:3: unknown variant `explode`, expected one of apply, wait, check,
    │ before, kill-container, kill-sandbox, delete-pod, force-delete-pod,
    │ replace-pod, stop-driver, start-driver, roll-driver, begin-roll, end-roll,
    │ restart-kubelet, stop-multus, start-multus, hold-multus, release-multus,
    │ set-interface, fail-multus, fail-step
    help: correct the YAML (or JSON) there
    ");
    insta::assert_snapshot!(said("name: a\ntitle: b\nactions: [{wait: {pod: web, redy: true}}]\n"), @"
    × s.yaml:3: unknown field `redy`, expected one of pod, phase, gone,
    │ scheduled, ready, waiting, restarts, event, step, cameTo, times,
    │ republished, slices, health, resourceHealth, devices, orphans
    help: correct the YAML (or JSON) there
    ");
    insta::assert_snapshot!(said("name: a\ntitle: b\nactions: [{apply: [web]}]\n"), @r"
    × s.yaml: actions: names the pod `web`, which is none of the scenario's
    │ objects
    help: add it under `objects`, or mend the name (NAME or NAMESPACE/NAME)
    ");
    insta::assert_snapshot!(said("name: a\ntitle: b\nmanifests: [x.yaml]\nactions: []\n"), @r"
    × s.yaml: manifests: names x.yaml, which is neither beside it nor shipped
    │ with ndra
    help: mend the path: it begins at the scenario's directory
    ");
}

#[test]
fn validate_shows_every_problem_and_what_is_well() {
    let dir = tempfile::tempdir().unwrap();
    let text = with("{apiVersion: dra.networking/v1alpha1, kind: CNIConfig, ifName: lo, ips: [x]}")
        .replace("resources: {claims: [{name: net}]}", "resources: {}");
    std::fs::write(dir.path().join("a.yaml"), text).unwrap();
    let said = ndra(dir.path(), &["validate", "a.yaml"], "");
    assert_eq!(said.code, Some(2));
    insta::assert_snapshot!(said.stdout, @"✓ Pod default/web");
    insta::assert_snapshot!(said.stderr, @r#"
    × a.yaml:2 (document 1): ResourceClaim default/net:
    │ spec.devices.config[0].opaque.parameters.ifName: lo is the loopback
    │ interface, which every pod has
    help: choose a name such as net1, or leave ifName out for the next free netN
    × a.yaml:2 (document 1): ResourceClaim default/net:
    │ spec.devices.config[0].opaque.parameters.ips[0]: "x" is not an address in
    │ CIDR form
    help: write for example 10.0.0.5/24 or fd00::5/64
    ⚠ a.yaml:14 (document 2): Pod default/web: spec.resourceClaims: no container
    │ lists `net`: no hook will run and the pod gets no interface
    help: add `claims: [{name: net}]` under a container's resources
    "#);
    let said = ndra(dir.path(), &["validate", "-o", "json", "a.yaml"], "");
    assert_eq!((said.code, said.stderr.as_str()), (Some(2), ""));
    insta::assert_snapshot!(said.stdout, @r#"
    {
      "ok": false,
      "objects": [
        "ResourceClaim default/net",
        "Pod default/web"
      ],
      "problems": [
        {
          "severity": "error",
          "file": "a.yaml",
          "line": 2,
          "document": 1,
          "object": "ResourceClaim default/net",
          "field": "spec.devices.config[0].opaque.parameters.ifName",
          "message": "lo is the loopback interface, which every pod has",
          "mend": "choose a name such as net1, or leave ifName out for the next free netN"
        },
        {
          "severity": "error",
          "file": "a.yaml",
          "line": 2,
          "document": 1,
          "object": "ResourceClaim default/net",
          "field": "spec.devices.config[0].opaque.parameters.ips[0]",
          "message": "\"x\" is not an address in CIDR form",
          "mend": "write for example 10.0.0.5/24 or fd00::5/64"
        },
        {
          "severity": "warning",
          "file": "a.yaml",
          "line": 14,
          "document": 2,
          "object": "Pod default/web",
          "field": "spec.resourceClaims",
          "message": "no container lists `net`: no hook will run and the pod gets no interface",
          "mend": "add `claims: [{name: net}]` under a container's resources"
        }
      ]
    }
    "#);
}

#[test]
fn a_network_is_validated_as_multus_would_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let network = |config: &str| {
        let text = format!(
            "apiVersion: k8s.cni.cncf.io/v1\nkind: NetworkAttachmentDefinition\n\
             metadata: {{name: net}}\nspec: {{config: '{config}'}}\n"
        );
        let said = ndra(dir.path(), &["validate", "-"], &text);
        (said.code, said.stdout + &said.stderr)
    };
    let (code, text) = network(r#"{"cniVersion": "1.0.0", "type": "macvlan"}"#);
    assert_eq!(
        (code, text.as_str()),
        (Some(0), "✓ NetworkAttachmentDefinition default/net\n")
    );
    insta::assert_snapshot!(network("{").1, @r"
    × standard input:1: NetworkAttachmentDefinition default/net: spec.config: is
    │ not JSON: EOF while parsing an object at line 1 column 1
    help: correct the JSON text there
    ");
    insta::assert_snapshot!(network(r#"{"cniVersion": "1.0.0", "plugins": []}"#).1, @r"
    × standard input:1: NetworkAttachmentDefinition default/net: spec.config:
    │ plugins: the plugin list is empty
    help: list at least one plugin, for example {type: macvlan}
    ");
}

#[test]
fn objects_of_another_kubernetes() {
    let classic = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../examples/kubernetes-1.29/pod.yaml"
    );
    let classic = std::fs::read_to_string(classic).unwrap();
    insta::assert_snapshot!(refused(&["simulate", "-"], &classic), @r"
    × standard input:7 (document 1): CNIConfig default/net1: apiVersion:
    │ `dra.networking/v1alpha1` goes with another Kubernetes than DRA v1
    help: run it with --kubelet-api v1alpha3
    ");
    let today = with("{apiVersion: dra.networking/v1alpha1, kind: CNIConfig}");
    let args = ["simulate", "--kubelet-api", "v1alpha3", "-"];
    insta::assert_snapshot!(refused(&args, &today), @r"
    × standard input:2 (document 1): ResourceClaim default/net: apiVersion:
    │ `resource.k8s.io/v1` goes with another Kubernetes than DRA v1alpha3
    help: write it as examples/kubernetes-1.29/pod.yaml does, or leave
          --kubelet-api out
    ");
}

#[test]
fn types_that_no_plugin_has() {
    for command in [&["validate", "-"][..], &["driver", "--node-name=n"]] {
        for wrong in ["", "../macvlan", "a b", "-x", "**"] {
            let option = format!("--allow-cni-type={wrong}");
            let said = refused(&[command, &[&option]].concat(), "");
            let words = "write a CNI plugin's name, such as macvlan, or `*` for every type";
            assert!(said.contains(words), "{said}");
        }
    }
}
