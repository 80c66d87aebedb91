//! The one fact of each step that a reader of the timeline wants.

use ndra_core::event::{Event, Step, Subject};
use serde_json::{Map, Value};

/// The length of a UID as text.
const UID: usize = 36;

/// A few words about the end of a step, whose detail holds that of its begin; empty when
/// there is nothing to say.
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
        Step::Hook => detail.get("exit_code").map(|code| format!("exit {code}")),
        Step::SandboxLookup => text(detail, "netns").map(file_name),
        Step::CniAdd | Step::CniDel => interface(detail),
        Step::Status => condition(detail),
    };
    shortened(&found.unwrap_or_else(|| claim(&event.subject)))
}

/// The claim's name, or the beginning of its UID.
fn claim(subject: &Subject) -> String {
    match &subject.claim {
        Some(claim) if claim.name.is_empty() => format!("claim {}", claim.uid),
        Some(claim) => format!("claim {}", claim.name),
        None => String::new(),
    }
}

fn text<'a>(detail: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    detail.get(key).and_then(Value::as_str)
}

fn prepared_device(detail: &Map<String, Value>) -> Option<&str> {
    detail
        .get("devices")?
        .get(0)?
        .get("cdiDeviceIds")?
        .get(0)?
        .as_str()
}

/// The last part of a path. A CDI spec's name begins with its vendor, which is known.
fn file_name(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.strip_suffix(".json") {
        Some(stem) if stem.len() > UID && stem.is_char_boundary(stem.len() - UID) => {
            name[stem.len() - UID..].to_owned()
        }
        _ => name.to_owned(),
    }
}

/// `dra.networking/claim=1f2e3d4c-…`: the vendor is known.
fn device(name: &str) -> String {
    name.rsplit('/').next().unwrap_or(name).to_owned()
}

/// UIDs are cut to their first part, which tells them apart well enough for the eye.
fn shortened(text: &str) -> String {
    let is_uid = |text: &str| {
        text.len() == UID
            && text.char_indices().all(|(at, c)| match at {
                8 | 13 | 18 | 23 => c == '-',
                _ => c.is_ascii_hexdigit(),
            })
    };
    let mut short = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        match rest.get(..UID) {
            Some(head) if is_uid(head) => {
                short.push_str(&head[..8]);
                short.push('…');
                rest = &rest[UID..];
            }
            _ => {
                short.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    short
}

fn interface(detail: &Map<String, Value>) -> Option<String> {
    let name = text(detail, "ifName")?;
    let addresses = detail.get("ips").and_then(Value::as_array);
    let addresses: Vec<&str> = addresses
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    Some(
        format!("{name} {}", addresses.join(" "))
            .trim_end()
            .to_owned(),
    )
}

/// The `Ready` condition in the patch that was sent.
fn condition(detail: &Map<String, Value>) -> Option<String> {
    let devices = detail
        .get("patch")?
        .pointer("/status/devices")?
        .as_array()?;
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
