//! The DaemonSet against the program that it runs: every flag, path and socket in it exists.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::helm::{CHART, object, template};
use crate::render::matrix;

/// The DaemonSet's pod, for each combination of values.
fn pods() -> Option<Vec<(&'static str, Value)>> {
    matrix()
        .map(|(name, values)| {
            let manifest = template(values)?.unwrap();
            let pod = object(&manifest, "DaemonSet")["spec"]["template"]["spec"].take();
            Some((name, pod))
        })
        .collect()
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|text| text.as_str().unwrap())
        .collect()
}

fn help(command: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_ndra"))
        .args([command, "--help"])
        .output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

/// The value of a flag, with `=` as the chart writes it.
fn value<'a>(arguments: &[&'a str], flag: &str) -> Option<&'a str> {
    arguments
        .iter()
        .find_map(|argument| argument.strip_prefix(flag)?.strip_prefix('='))
}

/// Where a path in a container is on the host.
fn on_host(pod: &Value, container: &Value, path: &str) -> Option<String> {
    let mounts = container["volumeMounts"].as_array().unwrap();
    let (mount, rest) = mounts
        .iter()
        .filter_map(|mount| {
            let rest = Path::new(path).strip_prefix(mount["mountPath"].as_str().unwrap());
            Some((mount, rest.ok()?))
        })
        .min_by_key(|(_, rest)| rest.as_os_str().len())?;
    let volume = pod["volumes"].as_array().unwrap().iter();
    let volume = volume
        .into_iter()
        .find(|volume| volume["name"] == mount["name"])
        .unwrap();
    let host = Path::new(volume["hostPath"]["path"].as_str().unwrap());
    // `join` would put a slash behind the path of a mount itself.
    let whole = host
        .components()
        .chain(rest.components())
        .collect::<std::path::PathBuf>();
    Some(whole.display().to_string())
}

#[test]
fn every_flag_is_one_that_the_program_has() {
    let Some(pods) = pods() else { return };
    for (name, pod) in pods {
        for container in [&pod["initContainers"][0], &pod["containers"][0]] {
            let arguments = texts(&container["args"]);
            let help = help(arguments[0]);
            let flags: BTreeSet<&str> = help
                .lines()
                .filter_map(|line| line.trim_start().split([' ', '=']).next())
                .filter(|word| word.starts_with("--"))
                .collect();
            for argument in &arguments[1..] {
                let flag = argument.split('=').next().unwrap();
                assert!(
                    flags.contains(flag),
                    "{name}: {} has no {flag}",
                    arguments[0]
                );
            }
        }
    }
}

/// The program itself takes them: it gets as far as looking for the API server.
#[test]
fn the_driver_takes_the_arguments() {
    let Some(pods) = pods() else { return };
    for (name, pod) in pods {
        let container = &pod["containers"][0];
        let mut driver = Command::new(env!("CARGO_BIN_EXE_ndra"));
        driver.env_clear().args(texts(&container["args"]));
        for variable in container["env"].as_array().unwrap() {
            let value = match variable["valueFrom"]["fieldRef"]["fieldPath"]
                .as_str()
                .unwrap()
            {
                "spec.nodeName" => "node-1",
                "status.podIP" => "fd00::1",
                "metadata.uid" => "4b1d9a5e-2c64-4f7e-9d1a-0b8c3f6e7a21",
                other => panic!("{name}: a variable from {other}"),
            };
            driver.env(variable["name"].as_str().unwrap(), value);
        }
        let output = driver.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("no Kubernetes API server"), "{name}: {said}");
        assert_eq!(output.status.code(), Some(2), "{name}: {said}");
    }
}

/// What the container calls a path is what the host calls it, since kubelet and runtime are
/// told these paths; only Multus's socket, which the driver alone uses, is below /host.
#[test]
fn every_path_is_the_hosts() {
    let Some(pods) = pods() else { return };
    let mut seen = BTreeSet::new();
    for (name, pod) in pods {
        let driver = &pod["containers"][0];
        // `ndra watch` looks for a container of this name.
        assert_eq!(driver["name"], "ndra");
        let arguments = texts(&driver["args"]);
        for argument in &arguments {
            let Some((flag, path)) = argument.split_once("=/") else {
                continue;
            };
            let path = format!("/{path}");
            let host = match flag {
                // The runtime's to find, not the driver's; see below.
                "--hook-path" => continue,
                "--multus-socket" => path.strip_prefix("/host").unwrap(),
                _ => &path,
            };
            let found = on_host(&pod, driver, &path);
            assert_eq!(found.as_deref(), Some(host), "{name}: {argument}");
            seen.insert(flag.to_owned());
        }
        let init = &pod["initContainers"][0];
        let installed = texts(&init["args"]);
        let to = value(&installed, "--to").unwrap();
        assert_eq!(on_host(&pod, init, to).as_deref(), Some(to), "{name}");
        let hook = format!("{to}/ndra-hook");
        assert_eq!(
            value(&arguments, "--hook-path"),
            Some(hook.as_str()),
            "{name}"
        );
        let (setting, cri) = value(&installed, "--needs")
            .unwrap()
            .split_once('=')
            .unwrap();
        assert_eq!(setting, "hostPaths.criSocket");
        assert_eq!(Some(cri), value(&arguments, "--cri-socket"), "{name}");
        assert_eq!(on_host(&pod, init, cri).as_deref(), Some(cri), "{name}");
    }
    assert_eq!(
        seen.iter().map(String::as_str).collect::<Vec<_>>(),
        [
            "--callback-socket",
            "--cdi-dir",
            "--cni-cache-dir",
            "--cni-path",
            "--cri-socket",
            "--events-socket",
            "--multus-socket",
            "--plugin-dir",
            "--registry-dir",
            "--state-dir"
        ]
    );
}

/// The kubelet says the volume's name when a path is not there.
#[test]
fn a_volume_is_named_after_the_value_to_set() {
    let Some(pods) = pods() else { return };
    let text = std::fs::read_to_string(format!("{CHART}/values.yaml")).unwrap();
    let values: Value = serde_saphyr::from_str(&text).unwrap();
    let kebab = |name: &String| {
        name.chars()
            .fold(String::from("host-paths-"), |text, letter| match letter {
                letter if letter.is_ascii_uppercase() => {
                    text + "-" + &letter.to_lowercase().to_string()
                }
                letter => text + &letter.to_string(),
            })
    };
    let named: BTreeSet<String> = values["hostPaths"]
        .as_object()
        .unwrap()
        .keys()
        .map(kebab)
        .collect();
    for (name, pod) in pods {
        let volumes = pod["volumes"].as_array().unwrap().iter();
        let volumes: BTreeSet<String> = volumes
            .map(|volume| volume["name"].as_str().unwrap().to_owned())
            .collect();
        let mut expected = named.clone();
        if name == "exec" {
            expected.remove("host-paths-multus-socket");
        }
        assert_eq!(volumes, expected, "{name}");
    }
}

#[test]
fn the_probes_ask_where_the_driver_answers() {
    let Some(pods) = pods() else { return };
    for (name, pod) in pods {
        let driver = &pod["containers"][0];
        let arguments = texts(&driver["args"]);
        let port: u16 = value(&arguments, "--health-port").unwrap().parse().unwrap();
        for (probe, service) in [
            ("startupProbe", ndra_core::health::LIVENESS),
            ("livenessProbe", ndra_core::health::LIVENESS),
            ("readinessProbe", ndra_core::health::READINESS),
        ] {
            let grpc = &driver[probe]["grpc"];
            assert_eq!(grpc["port"], port, "{name}");
            assert_eq!(grpc["service"], service, "{name}");
        }
    }
}

/// A successor waits for the record as long as its predecessor may take to end.
#[test]
fn the_pod_is_not_killed_before_the_driver_has_stopped() {
    let Some(pods) = pods() else { return };
    for (name, pod) in pods {
        let stop = texts(&pod["containers"][0]["args"]);
        let stop = value(&stop, "--stop-timeout")
            .unwrap()
            .strip_suffix('s')
            .unwrap();
        let stop: u64 = stop.parse().unwrap();
        assert!(
            pod["terminationGracePeriodSeconds"].as_u64().unwrap() > stop,
            "{name}"
        );
    }
}
