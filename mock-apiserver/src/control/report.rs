//! Events on pods and what makes them, as users of `kubectl describe` know them.

use serde_json::{Value, json};

use crate::object::{self, at};
use crate::resource::{EVENTS, PODS, Resource};
use crate::selector::Filter;
use crate::store::{Store, Writer};

/// Posts events about an object that is no pod.
pub(super) fn about<'a>(
    store: &'a Store,
    object: &'a Value,
    resource: &'static Resource,
) -> About<'a> {
    About {
        store,
        object,
        resource,
    }
}

/// See [`about`].
pub(super) struct About<'a> {
    store: &'a Store,
    object: &'a Value,
    resource: &'static Resource,
}

impl About<'_> {
    pub(super) fn tell(&self, reason: &str, component: &str, message: &str) {
        self.post("Normal", reason, component, message);
    }

    pub(super) fn warn(&self, reason: &str, component: &str, message: &str) {
        self.post("Warning", reason, component, message);
    }

    /// Posts it, or counts it up if it was posted before.
    fn post(&self, kind: &str, reason: &str, component: &str, message: &str) {
        let (store, object) = (self.store, self.object);
        let namespace = object::namespace(object);
        let writer = Writer::internal(component);
        let filter = Filter {
            namespace: Some(namespace.to_owned()),
            ..Filter::default()
        };
        let same = store.list(&EVENTS, &filter).1.into_iter().find(|event| {
            at(event, &["involvedObject", "uid"]) == object::uid(object)
                && at(event, &["reason"]) == reason
                && at(event, &["message"]) == message
        });
        // An event is told once and then forgotten: if it can't be stored, nothing else
        // suffers.
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
                event(object, self.resource, kind, reason, component, message),
                &writer,
            ),
        };
    }
}

/// Posts a Warning about a pod.
pub(super) fn warn(store: &Store, pod: &Value, reason: &str, component: &str, message: &str) {
    about(store, pod, &PODS).warn(reason, component, message);
}

/// Posts a Normal event about a pod.
pub(super) fn tell(store: &Store, pod: &Value, reason: &str, component: &str, message: &str) {
    about(store, pod, &PODS).tell(reason, component, message);
}

fn event(
    object: &Value,
    resource: &Resource,
    kind: &str,
    reason: &str,
    component: &str,
    message: &str,
) -> Value {
    let now = object::now();
    let mut base = object::name(object).to_owned();
    base.truncate(200);
    json!({
        "metadata": {"generateName": format!("{base}.")},
        "involvedObject": {
            "apiVersion": resource.api_version(),
            "kind": resource.kind,
            "name": object::name(object),
            "namespace": object::namespace(object),
            "uid": object::uid(object),
            "resourceVersion": at(object, &["metadata", "resourceVersion"]),
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
