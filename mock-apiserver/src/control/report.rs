//! Events on pods, as users of `kubectl describe` know them.

use serde_json::{Value, json};

use crate::object::{self, at};
use crate::resource::EVENTS;
use crate::selector::Filter;
use crate::store::{Store, Writer};

/// Posts a Warning, or counts it up if it was posted before.
pub(super) fn warn(store: &Store, pod: &Value, reason: &str, component: &str, message: &str) {
    post(store, pod, "Warning", reason, component, message);
}

/// Posts a Normal event, or counts it up if it was posted before.
pub(super) fn tell(store: &Store, pod: &Value, reason: &str, component: &str, message: &str) {
    post(store, pod, "Normal", reason, component, message);
}

fn post(store: &Store, pod: &Value, kind: &str, reason: &str, component: &str, message: &str) {
    let namespace = object::namespace(pod);
    let writer = Writer::internal(component);
    let filter = Filter {
        namespace: Some(namespace.to_owned()),
        ..Filter::default()
    };
    let same = store.list(&EVENTS, &filter).1.into_iter().find(|event| {
        at(event, &["involvedObject", "uid"]) == object::uid(pod)
            && at(event, &["reason"]) == reason
            && at(event, &["message"]) == message
    });
    // An event is told once and then forgotten: if it can't be stored, nothing else suffers.
    let _ = match same {
        Some(event) => store.update(
            &EVENTS,
            Some(namespace),
            object::name(&event),
            &writer,
            |old| {
                let mut new = old.clone();
                let count = at(old, &["count"]).as_i64().unwrap_or(1) + 1;
                let body = object::as_map(&mut new);
                body.insert("count".to_owned(), count.into());
                body.insert("lastTimestamp".to_owned(), object::now().into());
                Ok(new)
            },
        ),
        None => store.create(
            &EVENTS,
            Some(namespace),
            event(pod, kind, reason, component, message),
            &writer,
        ),
    };
}

fn event(pod: &Value, kind: &str, reason: &str, component: &str, message: &str) -> Value {
    let now = object::now();
    let mut base = object::name(pod).to_owned();
    base.truncate(200);
    json!({
        "metadata": {"generateName": format!("{base}.")},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": object::name(pod),
            "namespace": object::namespace(pod),
            "uid": object::uid(pod),
            "resourceVersion": at(pod, &["metadata", "resourceVersion"]),
        },
        "type": kind,
        "reason": reason,
        "message": message,
        "source": {"component": component},
        "reportingComponent": component,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    })
}
