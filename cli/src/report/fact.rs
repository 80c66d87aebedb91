//! The one fact of each step that a reader of the timeline wants.

use ndra_core::event::{Event, Step, Subject};
use serde_json::{Map, Value};

/// A few words about the end of a step; empty when there is nothing to say.
pub(crate) fn fact(event: &Event) -> String {
    let detail = &event.detail;
    let found = match event.step {
        Step::Prepare | Step::Unprepare => None,
        Step::CdiWrite | Step::CdiRemove => text(detail, "path").map(file_name),
        Step::Prepared => first(detail, "cdi_devices").or_else(|| text(detail, "device")).map(device),
        Step::CreateContainer => event.subject.container.clone().map(|c| format!("container {c}")),
        Step::Hook => detail.get("exit").or_else(|| detail.get("exit_code")).map(|code| format!("exit {code}")),
        Step::Callback => None,
        Step::SandboxLookup => text(detail, "netns").map(file_name),
        Step::CniAdd => interface(detail),
        Step::Status => condition(detail),
        Step::CniDel => text(detail, "interface").map(str::to_owned),
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

fn first<'a>(detail: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    detail.get(key)?.get(0)?.as_str()
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
        Some((head, _)) if uid.len() == 36 => format!("{head}…"),
        _ => uid.to_owned(),
    }
}

fn interface(detail: &Map<String, Value>) -> Option<String> {
    let name = text(detail, "interface")?;
    let addresses: Vec<&str> = detail
        .get("ips")
        .or_else(|| detail.get("addresses"))
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    Some(format!("{name} {}", addresses.join(" ")).trim_end().to_owned())
}

fn condition(detail: &Map<String, Value>) -> Option<String> {
    match detail.get("ready")? {
        Value::Bool(true) => Some("Ready=True".into()),
        Value::Bool(false) => Some("Ready=False".into()),
        Value::String(status) => Some(format!("Ready={status}")),
        _ => None,
    }
}
