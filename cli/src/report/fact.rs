//! The one fact of each step that a reader of the timeline wants.

use ndra_core::event::{Event, Step, Subject};
use serde_json::{Map, Value};

/// The length of a UID as text.
const UID: usize = 36;

/// A few words about the end of a step; empty when there is nothing to say.
pub(crate) fn fact(event: &Event) -> String {
    let detail = &event.detail;
    let found = match event.step {
        Step::Prepare | Step::Unprepare | Step::Callback => None,
        Step::CdiWrite | Step::CdiRemove => text(detail, "path").map(file_name),
        Step::Prepared => prepared_device(detail).map(device),
        Step::CreateContainer => event
            .subject
            .container
            .as_ref()
            .map(|name| format!("container {name}")),
        Step::Hook => detail.get("exitCode").map(|code| format!("exit {code}")),
        Step::SandboxLookup => text(detail, "netns").map(file_name),
        Step::CniAdd => interface(detail),
        Step::Status => condition(detail),
        Step::CniDel => text(detail, "ifName").map(str::to_owned),
    };
    found.unwrap_or_else(|| claim(&event.subject))
}

/// The claim's name, or the beginning of its UID.
fn claim(subject: &Subject) -> String {
    match &subject.claim {
        Some(claim) if claim.name.is_empty() => format!("claim {}", short_uid(&claim.uid)),
        Some(claim) => format!("claim {}", claim.name),
        None => String::new(),
    }
}

fn text<'a>(detail: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    detail.get(key).and_then(Value::as_str)
}

fn prepared_device(detail: &Map<String, Value>) -> Option<&str> {
    detail.get("devices")?.get(0)?.get("cdiDeviceIds")?.get(0)?.as_str()
}

fn file_name(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_owned()
}

/// `dra.networking/claim=1f2e3d4c-…`: the vendor is known, the UID is long.
fn device(name: &str) -> String {
    match name.split_once('=') {
        Some((kind, uid)) => {
            let class = kind.rsplit('/').next().unwrap_or(kind);
            format!("{class}={}", short_uid(uid))
        }
        None => name.to_owned(),
    }
}

fn short_uid(uid: &str) -> String {
    match uid.split_once('-') {
        Some((head, _)) if uid.len() == UID => format!("{head}…"),
        _ => uid.to_owned(),
    }
}

fn interface(detail: &Map<String, Value>) -> Option<String> {
    let name = text(detail, "ifName")?;
    let addresses = detail.get("ips")?.as_array()?;
    let addresses: Vec<&str> = addresses.iter().filter_map(Value::as_str).collect();
    Some(format!("{name} {}", addresses.join(" ")).trim_end().to_owned())
}

/// The `Ready` condition in the patch that was sent.
fn condition(detail: &Map<String, Value>) -> Option<String> {
    let devices = detail.get("patch")?.pointer("/status/devices")?.as_array()?;
    let ready = devices
        .iter()
        .flat_map(|device| device.get("conditions").and_then(Value::as_array))
        .flatten()
        .filter(|condition| condition.get("type").and_then(Value::as_str) == Some("Ready"))
        .filter_map(|condition| condition.get("status").and_then(Value::as_str));
    // One device that is not ready is what a reader must see.
    let worst = ready.min_by_key(|status| *status == "True")?;
    Some(format!("Ready={worst}"))
}
