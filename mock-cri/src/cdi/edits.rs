//! What a CDI device changes of a container's OCI spec.
//!
//! Source: `containerEdits` of the CDI specification 1.1.0; where it leaves a choice, what the
//! Go package that containerd and CRI-O use does.

use std::collections::BTreeSet;
use std::io;
use std::path::{Component, Path};

use oci_spec::runtime::Spec;
use rustix::fs::{FileType, lstat, major, minor};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The edits of a device, or of all devices of a spec.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Edits {
    env: Option<Vec<String>>,
    device_nodes: Option<Vec<DeviceNode>>,
    net_devices: Option<Vec<NetDevice>>,
    hooks: Option<Vec<Hook>>,
    mounts: Option<Vec<Mount>>,
    intel_rdt: Option<IntelRdt>,
    additional_gids: Option<Vec<u32>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct DeviceNode {
    path: String,
    host_path: Option<String>,
    r#type: Option<String>,
    major: Option<i64>,
    minor: Option<i64>,
    file_mode: Option<u32>,
    permissions: Option<String>,
    uid: Option<u32>,
    gid: Option<u32>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct NetDevice {
    host_interface_name: String,
    name: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Hook {
    hook_name: String,
    path: String,
    args: Option<Vec<String>>,
    env: Option<Vec<String>>,
    timeout: Option<i64>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Mount {
    host_path: String,
    container_path: String,
    r#type: Option<String>,
    options: Option<Vec<String>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct IntelRdt {
    #[serde(rename = "closID")]
    clos_id: Option<String>,
    #[serde(rename = "l3CacheSchema")]
    l3_cache_schema: Option<String>,
    #[serde(rename = "memBwSchema")]
    mem_bw_schema: Option<String>,
    schemata: Option<Vec<String>>,
    #[serde(rename = "enableMonitoring")]
    enable_monitoring: Option<bool>,
    #[serde(rename = "enableCMT")]
    enable_cmt: Option<bool>,
    #[serde(rename = "enableMBM")]
    enable_mbm: Option<bool>,
}

const HOOKS: [&str; 6] = [
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
];

fn all<T>(list: &Option<Vec<T>>) -> &[T] {
    list.as_deref().unwrap_or_default()
}

impl Edits {
    pub(super) fn is_empty(&self) -> bool {
        all(&self.env).is_empty()
            && all(&self.device_nodes).is_empty()
            && all(&self.net_devices).is_empty()
            && all(&self.hooks).is_empty()
            && all(&self.mounts).is_empty()
            && all(&self.additional_gids).is_empty()
            && self.intel_rdt.is_none()
    }

    pub(super) fn needs_1_1_0(&self) -> bool {
        let rdt = |rdt: &IntelRdt| rdt.schemata.is_some() || rdt.enable_monitoring.is_some();
        !all(&self.net_devices).is_empty() || self.intel_rdt.as_ref().is_some_and(rdt)
    }

    pub(super) fn needs_0_7_0(&self) -> bool {
        self.intel_rdt.is_some() || !all(&self.additional_gids).is_empty()
    }

    pub(super) fn needs_0_5_0(&self) -> bool {
        let named = |path: &Option<String>| path.as_ref().is_some_and(|path| !path.is_empty());
        all(&self.device_nodes)
            .iter()
            .any(|node| named(&node.host_path))
    }

    pub(super) fn needs_0_4_0(&self) -> bool {
        let typed = |kind: &Option<String>| kind.as_ref().is_some_and(|kind| !kind.is_empty());
        all(&self.mounts).iter().any(|mount| typed(&mount.r#type))
    }

    /// Says what is wrong with them, if anything is.
    pub(super) fn judge(&self) -> Result<(), String> {
        judge_env(all(&self.env))?;
        all(&self.device_nodes)
            .iter()
            .try_for_each(DeviceNode::judge)?;
        all(&self.hooks).iter().try_for_each(Hook::judge)?;
        for mount in all(&self.mounts) {
            if mount.host_path.is_empty() || mount.container_path.is_empty() {
                return Err("invalid mount: hostPath or containerPath is empty".into());
            }
        }
        if let Some(id) = self
            .intel_rdt
            .as_ref()
            .and_then(|rdt| rdt.clos_id.as_deref())
        {
            let named = id.len() < 4096 && !matches!(id, "." | "..") && !id.contains(['/', '\n']);
            if id != "/" && !named {
                return Err("invalid closID: it is no name of a file".into());
            }
        }
        let (mut hosts, mut names) = (BTreeSet::new(), BTreeSet::new());
        for device in all(&self.net_devices) {
            let (host, name) = (&device.host_interface_name, &device.name);
            if host.is_empty() || name.is_empty() {
                return Err("invalid net device: a name is empty".into());
            }
            if !hosts.insert(host) || !names.insert(name) {
                return Err(format!(
                    "invalid net device {host:?} as {name:?}: one is there twice"
                ));
            }
        }
        Ok(())
    }

    /// Adds what `other` changes to this.
    pub(super) fn append(&mut self, other: &Self) {
        fn join<T: Clone>(one: &mut Option<Vec<T>>, other: &Option<Vec<T>>) {
            one.get_or_insert_default().extend_from_slice(all(other));
        }
        join(&mut self.env, &other.env);
        join(&mut self.device_nodes, &other.device_nodes);
        join(&mut self.net_devices, &other.net_devices);
        join(&mut self.hooks, &other.hooks);
        join(&mut self.mounts, &other.mounts);
        join(&mut self.additional_gids, &other.additional_gids);
        if other.intel_rdt.is_some() {
            self.intel_rdt.clone_from(&other.intel_rdt);
        }
    }

    /// Changes `spec`, or leaves it as it is and says what failed.
    pub(super) fn apply(&self, spec: &mut Spec) -> Result<(), String> {
        // The document has the keys of both specifications; its types are checked at the end.
        let mut document = serde_json::to_value(&*spec).map_err(|error| error.to_string())?;
        self.write(&mut document)?;
        *spec = serde_json::from_value(document).map_err(|error| error.to_string())?;
        Ok(())
    }

    fn write(&self, spec: &mut Value) -> Result<(), String> {
        for variable in all(&self.env) {
            let name = variable.split_once('=').map_or("", |(name, _)| name);
            let same = |known: &Value| {
                let known = known.as_str().and_then(|known| known.split_once('='));
                known.is_some_and(|(known, _)| known == name)
            };
            let list = list(spec, &["process", "env"]);
            match list.iter_mut().find(|known| same(known)) {
                Some(known) => *known = json!(variable),
                None => list.push(json!(variable)),
            }
        }
        for node in all(&self.device_nodes) {
            node.write(spec)?;
        }
        for device in all(&self.net_devices) {
            let all = map(spec, &["linux", "netDevices"]);
            all.insert(
                device.host_interface_name.clone(),
                json!({ "name": device.name }),
            );
        }
        for mount in all(&self.mounts) {
            let list = list(spec, &["mounts"]);
            list.retain(|known| known["destination"] != *mount.container_path);
            list.push(given([
                ("destination", json!(mount.container_path)),
                ("type", json!(mount.r#type)),
                ("source", json!(mount.host_path)),
                ("options", json!(mount.options)),
            ]));
            // What holds others comes before them.
            list.sort_by_cached_key(|mount| depth(mount["destination"].as_str().unwrap_or("")));
        }
        for hook in all(&self.hooks) {
            list(spec, &["hooks", &hook.hook_name]).push(given([
                ("path", json!(hook.path)),
                ("args", json!(hook.args)),
                ("env", json!(hook.env)),
                ("timeout", json!(hook.timeout)),
            ]));
        }
        if let Some(rdt) = &self.intel_rdt {
            map(spec, &["linux"]).insert(
                "intelRdt".into(),
                given([
                    ("closID", json!(rdt.clos_id)),
                    ("l3CacheSchema", json!(rdt.l3_cache_schema)),
                    ("memBwSchema", json!(rdt.mem_bw_schema)),
                    ("schemata", json!(rdt.schemata)),
                    ("enableMonitoring", json!(rdt.enable_monitoring)),
                    ("enableCMT", json!(rdt.enable_cmt)),
                    ("enableMBM", json!(rdt.enable_mbm)),
                ]),
            );
        }
        for gid in all(&self.additional_gids).iter().filter(|gid| **gid > 0) {
            let list = list(spec, &["process", "user", "additionalGids"]);
            if !list.contains(&json!(gid)) {
                list.push(json!(gid));
            }
        }
        Ok(())
    }
}

impl Hook {
    fn judge(&self) -> Result<(), String> {
        let name = &self.hook_name;
        if !HOOKS.contains(&name.as_str()) {
            return Err(format!("invalid hook name {name:?}"));
        }
        if self.path.is_empty() {
            return Err(format!("invalid hook {name:?}: its path is empty"));
        }
        judge_env(all(&self.env)).map_err(|why| format!("invalid hook {name:?}: {why}"))
    }
}

fn judge_env(env: &[String]) -> Result<(), String> {
    let bad = |variable: &&String| variable.find('=').is_none_or(|at| at == 0);
    match env.iter().find(bad) {
        Some(variable) => Err(format!("invalid environment variable {variable:?}")),
        None => Ok(()),
    }
}

/// What is known of a node on the host.
struct Found {
    kind: &'static str,
    major: i64,
    minor: i64,
    mode: u32,
}

impl DeviceNode {
    fn judge(&self) -> Result<(), String> {
        let path = &self.path;
        if path.is_empty() {
            return Err("invalid device node: its path is empty".into());
        }
        let kind = self.r#type.as_deref().unwrap_or_default();
        if !["", "b", "c", "u", "p"].contains(&kind) {
            return Err(format!("device node {path:?}: invalid type {kind:?}"));
        }
        if [self.major, self.minor]
            .iter()
            .flatten()
            .any(|number| *number < 0)
        {
            return Err(format!("device node {path:?}: its numbers are negative"));
        }
        let rights = self.permissions.as_deref().unwrap_or_default();
        if rights != "none" && !rights.chars().all(|c| "rwm".contains(c)) {
            return Err(format!(
                "device node {path:?}: invalid permissions {rights:?}"
            ));
        }
        Ok(())
    }

    fn write(&self, spec: &mut Value) -> Result<(), String> {
        let host = self.host_path.as_deref().filter(|path| !path.is_empty());
        let host = host.unwrap_or(&self.path);
        let given_kind = self.r#type.as_deref().filter(|kind| !kind.is_empty());
        let numbered = self.major.is_some_and(|major| major != 0);
        let whole = given_kind.is_some_and(|kind| numbered || kind == "p");
        let found = match find(host) {
            Ok(found) => Some(found),
            // A vendor may describe a node that is not there.
            Err(_) if whole => None,
            Err(error) => return Err(format!("failed to stat CDI host device {host:?}: {error}")),
        };
        let is = found.as_ref().map_or("", |found| found.kind);
        let kind = given_kind.unwrap_or(is);
        if !whole && kind != is {
            return Err(format!(
                "CDI device ({:?}, {host:?}), host type mismatch ({kind}, {is})",
                self.path
            ));
        }
        let (major, minor) = match &found {
            Some(found) if !whole && !numbered && kind != "p" => (found.major, found.minor),
            _ => (
                self.major.unwrap_or_default(),
                self.minor.unwrap_or_default(),
            ),
        };
        let of_user = |key: &str| {
            let id = spec["process"]["user"][key].as_u64();
            id.filter(|id| *id > 0)
        };
        let uid = self.uid.map(u64::from).or_else(|| of_user("uid"));
        let gid = self.gid.map(u64::from).or_else(|| of_user("gid"));
        let mode = self.file_mode.or(found.map(|found| found.mode));
        let devices = list(spec, &["linux", "devices"]);
        devices.retain(|known| known["path"] != *self.path);
        devices.push(given([
            ("path", json!(self.path)),
            ("type", json!(kind)),
            ("major", json!(major)),
            ("minor", json!(minor)),
            ("fileMode", json!(mode)),
            ("uid", json!(uid)),
            ("gid", json!(gid)),
        ]));
        if matches!(kind, "b" | "c") {
            let access = match self.permissions.as_deref().unwrap_or_default() {
                "" => "rwm",
                "none" => "",
                rights => rights,
            };
            list(spec, &["linux", "resources", "devices"]).push(json!({
                "allow": true, "type": kind, "major": major, "minor": minor, "access": access,
            }));
        }
        Ok(())
    }
}

fn find(path: &str) -> io::Result<Found> {
    let stat = lstat(path)?;
    #[allow(clippy::useless_conversion, reason = "it is narrower on macOS")]
    let mode = u32::from(stat.st_mode);
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::BlockDevice => "b",
        FileType::CharacterDevice => "c",
        FileType::Fifo => "p",
        _ => return Err(io::Error::other("not a device node")),
    };
    Ok(Found {
        kind,
        major: major(stat.st_rdev).into(),
        minor: minor(stat.st_rdev).into(),
        mode: mode & 0o7777,
    })
}

/// How deep a path lies, `.` and `..` worked out.
fn depth(path: &str) -> usize {
    Path::new(path)
        .components()
        .fold(0, |depth: usize, part| match part {
            Component::Normal(_) => depth + 1,
            Component::ParentDir => depth.saturating_sub(1),
            _ => depth,
        })
}

/// An object of the keys that have a value.
fn given<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let some = fields.into_iter().filter(|(_, value)| !value.is_null());
    some.map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The list at a path of keys, made where it is missing.
fn list<'a>(spec: &'a mut Value, path: &[&str]) -> &'a mut Vec<Value> {
    let place = place(spec, path);
    if !place.is_array() {
        *place = json!([]);
    }
    match place {
        Value::Array(list) => list,
        _ => unreachable!("it was made a list"),
    }
}

/// The object at a path of keys, made where it is missing.
fn map<'a>(spec: &'a mut Value, path: &[&str]) -> &'a mut Map<String, Value> {
    let place = place(spec, path);
    if !place.is_object() {
        *place = json!({});
    }
    match place {
        Value::Object(map) => map,
        _ => unreachable!("it was made an object"),
    }
}

fn place<'a>(spec: &'a mut Value, path: &[&str]) -> &'a mut Value {
    path.iter().fold(spec, |place, key| {
        if !place.is_object() {
            *place = json!({});
        }
        &mut place[*key]
    })
}
