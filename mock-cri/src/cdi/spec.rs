//! One CDI spec file: read strictly and judged as Go's CDI package judges it.
//!
//! Source: the CDI specification 1.1.0, and what containerd's copy of the Go package refuses.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use super::edits::Edits;
use super::name;

/// The versions of the specification, and what needs each of them.
const VERSIONS: [&str; 10] = [
    "0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0",
];

/// What all annotations of one object may hold, keys included, in bytes.
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// A file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct File {
    cdi_version: String,
    kind: String,
    annotations: Option<BTreeMap<String, String>>,
    devices: Option<Vec<FileDevice>>,
    container_edits: Option<Edits>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct FileDevice {
    name: String,
    annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    container_edits: Edits,
}

/// A device that can be injected.
#[derive(Clone, Debug)]
pub(super) struct Device {
    /// `vendor/class=name`.
    pub(super) name: String,
    /// What the spec gives to a container once, however many of its devices it gets.
    pub(super) shared: Arc<Edits>,
    /// What the device gives.
    pub(super) edits: Arc<Edits>,
}

/// Reads a spec, JSON or YAML. The error says what is wrong with it.
pub(super) fn read(text: &str) -> Result<Vec<Device>, String> {
    let file: File = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    judge_version(&file)?;
    let (vendor, class) = file
        .kind
        .split_once('/')
        .filter(|(vendor, class)| !vendor.is_empty() && !class.contains('/'))
        .ok_or_else(|| format!("kind {:?} is not vendor/class", file.kind))?;
    name::vendor_or_class(vendor).map_err(|why| format!("invalid vendor {vendor:?}: {why}"))?;
    name::vendor_or_class(class).map_err(|why| format!("invalid class {class:?}: {why}"))?;
    judge_annotations(file.annotations.as_ref())?;
    let shared = file.container_edits.unwrap_or_default();
    shared.judge()?;
    let shared = Arc::new(shared);
    let mut devices: Vec<Device> = Vec::new();
    for device in file.devices.unwrap_or_default() {
        let short = &device.name;
        let judged = name::device(short)
            .and_then(|()| judge_annotations(device.annotations.as_ref()))
            .and_then(|()| match device.container_edits.is_empty() {
                true => Err("it changes nothing".into()),
                false => device.container_edits.judge(),
            });
        judged.map_err(|why| format!("invalid device {short:?}: {why}"))?;
        let name = format!("{}={short}", file.kind);
        if devices.iter().any(|known| known.name == name) {
            return Err(format!("device {short:?} is defined twice"));
        }
        devices.push(Device {
            name,
            shared: shared.clone(),
            edits: Arc::new(device.container_edits),
        });
    }
    if devices.is_empty() {
        return Err("no devices".into());
    }
    Ok(devices)
}

fn judge_version(file: &File) -> Result<(), String> {
    let given = &file.cdi_version;
    let place = |version: &str| VERSIONS.iter().position(|known| *known == version);
    let declared = place(given).ok_or_else(|| format!("unknown cdiVersion {given:?}"))?;
    let devices = file.devices.as_deref().unwrap_or_default();
    let all = || {
        let of_devices = devices.iter().map(|device| &device.container_edits);
        file.container_edits.iter().chain(of_devices)
    };
    let annotated = |annotations: &Option<BTreeMap<String, String>>| {
        annotations.as_ref().is_some_and(|map| !map.is_empty())
    };
    let dotted = file
        .kind
        .split_once('/')
        .is_some_and(|(_, class)| class.contains('.'));
    let needs = [
        ("1.1.0", all().any(Edits::needs_1_1_0)),
        ("0.7.0", all().any(Edits::needs_0_7_0)),
        (
            "0.6.0",
            dotted
                || annotated(&file.annotations)
                || devices.iter().any(|device| annotated(&device.annotations)),
        ),
        (
            "0.5.0",
            devices
                .iter()
                .any(|d| !d.name.starts_with(|c: char| c.is_ascii_alphabetic()))
                || all().any(Edits::needs_0_5_0),
        ),
        ("0.4.0", all().any(Edits::needs_0_4_0)),
    ];
    match needs.iter().find(|(_, needed)| *needed) {
        Some((least, _)) if place(least) > Some(declared) => {
            Err(format!("cdiVersion must be at least {least}, not {given}"))
        }
        _ => Ok(()),
    }
}

fn judge_annotations(annotations: Option<&BTreeMap<String, String>>) -> Result<(), String> {
    let annotations = || annotations.into_iter().flatten();
    if let Some((key, _)) = annotations().find(|(key, _)| !name::is_annotation(key)) {
        return Err(format!("invalid annotation {key:?}"));
    }
    let size: usize = annotations()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    if size > MAX_ANNOTATIONS {
        return Err(format!(
            "{size} bytes of annotations; {MAX_ANNOTATIONS} at most"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn spec(change: impl FnOnce(&mut Value)) -> Result<Vec<String>, String> {
        let mut spec = json!({
            "cdiVersion": "0.5.0",
            "kind": "ndra.test/claim",
            "devices": [{ "name": "a", "containerEdits": { "env": ["A=1"] } }],
        });
        change(&mut spec);
        let devices = read(&spec.to_string())?;
        Ok(devices.into_iter().map(|device| device.name).collect())
    }

    #[test]
    fn devices_have_qualified_names() {
        assert_eq!(spec(|_| {}).unwrap(), ["ndra.test/claim=a"]);
        let yaml = "cdiVersion: 0.6.0\nkind: a/b.c\ndevices:\n- name: 1x\n  containerEdits: {additionalGids: null, env: [X=]}\n";
        assert_eq!(read(yaml).unwrap()[0].name, "a/b.c=1x");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let edits =
            |value: Value| move |spec: &mut Value| spec["devices"][0]["containerEdits"] = value;
        let mut said = vec![
            spec(|spec| spec["cdiVersion"] = "2.0.0".into()),
            // A device of a name that begins with a digit came with 0.5.0.
            spec(|spec| {
                spec["cdiVersion"] = "0.4.0".into();
                spec["devices"][0]["name"] = "1".into();
            }),
            spec(|spec| spec["kind"] = "claim".into()),
            spec(|spec| spec["kind"] = "-x/claim".into()),
            spec(|spec| spec["kind"] = "x/claim/y".into()),
            spec(|spec| spec["devices"] = json!([])),
            spec(|spec| spec["devices"][0]["name"] = "a=b".into()),
            spec(|spec| {
                let device = spec["devices"][0].clone();
                spec["devices"] = json!([device, device]);
            }),
            spec(|spec| spec["extra"] = 1.into()),
            spec(|spec| {
                spec["cdiVersion"] = "0.6.0".into();
                spec["annotations"] = json!({ "a b": "" });
            }),
            spec(|spec| spec["annotations"] = json!({ "a": "b" })),
        ];
        for bad in [
            json!({}),
            json!({ "env": ["A"] }),
            json!({ "env": ["=1"] }),
            json!({ "hooks": [{ "hookName": "createRuntimes", "path": "/x" }] }),
            json!({ "hooks": [{ "hookName": "createRuntime", "path": "" }] }),
            json!({ "hooks": [{ "hookName": "createRuntime", "path": "/x", "env": ["x"] }] }),
            json!({ "mounts": [{ "hostPath": "", "containerPath": "/x" }] }),
            json!({ "deviceNodes": [{ "path": "" }] }),
            json!({ "deviceNodes": [{ "path": "/dev/x", "type": "d" }] }),
            json!({ "deviceNodes": [{ "path": "/dev/x", "permissions": "rx" }] }),
            json!({ "deviceNodes": [{ "path": "/dev/x", "major": -1 }] }),
            json!({ "intelRdt": { "closID": "x" } }),
            json!({ "netDevices": [{ "hostInterfaceName": "eth1", "name": "net1" }] }),
        ] {
            said.push(spec(edits(bad)));
        }
        for bad in [
            json!({ "intelRdt": { "closID": ".." } }),
            json!({ "netDevices": [{ "hostInterfaceName": "", "name": "net1" }] }),
            json!({ "netDevices": [
                { "hostInterfaceName": "eth1", "name": "net1" },
                { "hostInterfaceName": "eth2", "name": "net1" },
            ] }),
        ] {
            said.push(spec(|spec| {
                spec["cdiVersion"] = "1.1.0".into();
                edits(bad)(spec);
            }));
        }
        let said: Vec<String> = said.into_iter().map(Result::unwrap_err).collect();
        insta::assert_snapshot!(said.join("\n"));
    }
}
