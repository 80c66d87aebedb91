//! Events as clients write them that prefer protobuf: read, and turned into JSON.
//!
//! client-go asks for protobuf where a server has it and takes JSON where it has not; what it
//! sends itself it does not send again as JSON. Of all kinds only `v1` Events come so from
//! the programs of a node. The messages hold the fields in use, named and numbered as in
//! `k8s.io/api/core/v1/generated.proto`.

use jiff::Timestamp;
use prost::Message;
use serde_json::{Map, Value, json};

use crate::error::{ApiError, Result};
use crate::resource::{EVENTS, Resource};

/// The media type of such a body.
pub(super) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// What every such body begins with.
const MAGIC: &[u8] = b"k8s\0";

#[derive(Clone, PartialEq, Message)]
struct Unknown {
    #[prost(message, optional, tag = "1")]
    type_meta: Option<TypeMeta>,
    #[prost(bytes = "vec", tag = "2")]
    raw: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct TypeMeta {
    #[prost(string, tag = "1")]
    api_version: String,
    #[prost(string, tag = "2")]
    kind: String,
}

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
    #[prost(message, optional, tag = "2")]
    involved_object: Option<ObjectReference>,
    #[prost(string, tag = "3")]
    reason: String,
    #[prost(string, tag = "4")]
    message: String,
    #[prost(message, optional, tag = "5")]
    source: Option<EventSource>,
    #[prost(message, optional, tag = "6")]
    first_timestamp: Option<Time>,
    #[prost(message, optional, tag = "7")]
    last_timestamp: Option<Time>,
    #[prost(int32, tag = "8")]
    count: i32,
    #[prost(string, tag = "9")]
    kind: String,
    #[prost(message, optional, tag = "10")]
    event_time: Option<Time>,
    #[prost(string, tag = "12")]
    action: String,
    #[prost(string, tag = "14")]
    reporting_component: String,
    #[prost(string, tag = "15")]
    reporting_instance: String,
}

#[derive(Clone, PartialEq, Message)]
struct ObjectMeta {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    generate_name: String,
    #[prost(string, tag = "3")]
    namespace: String,
    #[prost(map = "string, string", tag = "11")]
    labels: std::collections::HashMap<String, String>,
    #[prost(map = "string, string", tag = "12")]
    annotations: std::collections::HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct ObjectReference {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "2")]
    namespace: String,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    uid: String,
    #[prost(string, tag = "5")]
    api_version: String,
    #[prost(string, tag = "6")]
    resource_version: String,
    #[prost(string, tag = "7")]
    field_path: String,
}

#[derive(Clone, PartialEq, Message)]
struct EventSource {
    #[prost(string, tag = "1")]
    component: String,
    #[prost(string, tag = "2")]
    host: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Time {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// Whether objects of this kind are read so.
pub(super) fn reads(resource: &Resource) -> bool {
    resource.is(&EVENTS) && resource.group.is_empty()
}

/// One event, as the JSON that it would have been.
pub(super) fn event(bytes: &[u8]) -> Result<Value> {
    let unreadable = |why: String| {
        ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type Event): {why}"
        ))
    };
    let rest = bytes
        .strip_prefix(MAGIC)
        .ok_or_else(|| unreadable("it does not begin as Kubernetes' protobuf does".to_owned()))?;
    let envelope = Unknown::decode(rest).map_err(|error| unreadable(error.to_string()))?;
    let event = Event::decode(&envelope.raw[..]).map_err(|error| unreadable(error.to_string()))?;
    let types = envelope.type_meta.unwrap_or_default();
    let metadata = event.metadata.unwrap_or_default();
    let involved = event.involved_object.unwrap_or_default();
    let source = event.source.unwrap_or_default();
    let mut object = compact(json!({
        "apiVersion": types.api_version,
        "kind": types.kind,
        "reason": event.reason,
        "message": event.message,
        "type": event.kind,
        "action": event.action,
        "firstTimestamp": seconds(event.first_timestamp),
        "lastTimestamp": seconds(event.last_timestamp),
        "eventTime": micros(event.event_time),
    }));
    if event.count != 0 {
        object.insert("count".to_owned(), event.count.into());
    }
    let parts = json!({
        "metadata": compact(json!({
            "name": metadata.name,
            "generateName": metadata.generate_name,
            "namespace": metadata.namespace,
            "labels": metadata.labels,
            "annotations": metadata.annotations,
        })),
        "involvedObject": compact(json!({
            "kind": involved.kind,
            "namespace": involved.namespace,
            "name": involved.name,
            "uid": involved.uid,
            "apiVersion": involved.api_version,
            "resourceVersion": involved.resource_version,
            "fieldPath": involved.field_path,
        })),
        "source": compact(json!({"component": source.component, "host": source.host})),
        "reportingComponent": event.reporting_component,
        "reportingInstance": event.reporting_instance,
    });
    if let Value::Object(parts) = parts {
        object.extend(parts);
    }
    Ok(Value::Object(object))
}

/// Without what protobuf does not tell from nothing.
fn compact(value: Value) -> Map<String, Value> {
    let Value::Object(mut map) = value else {
        return Map::new();
    };
    map.retain(|_, value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => true,
    });
    map
}

fn instant(time: Option<Time>) -> Option<Timestamp> {
    // A time that is not set is sent as an empty message.
    let time = time.filter(|time| *time != Time::default())?;
    Timestamp::new(time.seconds, time.nanos).ok()
}

fn seconds(time: Option<Time>) -> Option<String> {
    instant(time).map(|time| format!("{time:.0}"))
}

fn micros(time: Option<Time>) -> Option<String> {
    instant(time).map(|time| format!("{time:.6}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_becomes_json() {
        let event = Event {
            metadata: Some(ObjectMeta {
                name: "web.1".into(),
                namespace: "default".into(),
                ..ObjectMeta::default()
            }),
            involved_object: Some(ObjectReference {
                kind: "Pod".into(),
                name: "web".into(),
                ..ObjectReference::default()
            }),
            reason: "AddedInterface".into(),
            first_timestamp: Some(Time {
                seconds: 1_700_000_000,
                nanos: 5,
            }),
            event_time: Some(Time::default()),
            count: 1,
            kind: "Normal".into(),
            ..Event::default()
        };
        let envelope = Unknown {
            type_meta: Some(TypeMeta {
                api_version: "v1".into(),
                kind: "Event".into(),
            }),
            raw: event.encode_to_vec(),
        };
        let body = [MAGIC, &envelope.encode_to_vec()].concat();
        assert_eq!(
            super::event(&body).unwrap(),
            json!({
                "apiVersion": "v1", "kind": "Event",
                "metadata": {"name": "web.1", "namespace": "default"},
                "involvedObject": {"kind": "Pod", "name": "web"},
                "reason": "AddedInterface", "type": "Normal", "count": 1,
                "firstTimestamp": "2023-11-14T22:13:20Z",
                "source": {}, "reportingComponent": "", "reportingInstance": "",
            })
        );
        for bad in [&b""[..], b"k8s", b"k8s\0\xff", b"{}"] {
            assert_eq!(super::event(bad).unwrap_err().code, 400);
        }
    }
}
