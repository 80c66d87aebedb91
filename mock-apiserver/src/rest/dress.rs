//! The form in which a kind shows its objects. The two Event kinds share one store and
//! differ in the names of some fields.

use std::borrow::Cow;

use serde_json::Value;

use crate::object;
use crate::resource::{EVENTS, EVENTS_V1, Resource};

/// Field names of `events.k8s.io/v1` and of `v1`, which is the stored form.
const RENAMED: [(&str, &str); 7] = [
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

fn is_dressed(resource: &Resource) -> bool {
    resource.group == EVENTS_V1.group && resource.kind == EVENTS_V1.kind
}

/// From the form a client sent to the form that is stored.
pub(super) fn stored(resource: &Resource, mut object: Value) -> Value {
    if is_dressed(resource) {
        rename(&mut object, &EVENTS, |(new, old)| (new, old));
    }
    object
}

/// From the form that is stored to the form a client asked for.
pub(super) fn shown<'a>(resource: &Resource, object: &'a Value) -> Cow<'a, Value> {
    if !is_dressed(resource) {
        return Cow::Borrowed(object);
    }
    let mut object = object.clone();
    rename(&mut object, resource, |(new, old)| (old, new));
    Cow::Owned(object)
}

fn rename(
    object: &mut Value,
    kind: &Resource,
    way: impl Fn((&'static str, &'static str)) -> (&'static str, &'static str),
) {
    let map = object::as_map(object);
    map.insert("apiVersion".to_owned(), kind.api_version().into());
    for pair in RENAMED {
        let (from, to) = way(pair);
        if let Some(value) = map.shift_remove(from) {
            map.insert(to.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn there_and_back() {
        let newer = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "note": "n", "regarding": {"name": "p"}});
        let older = json!({"apiVersion": "v1", "kind": "Event", "message": "n", "involvedObject": {"name": "p"}});
        let kept = stored(&EVENTS_V1, newer.clone());
        assert_eq!(kept, older);
        assert_eq!(*shown(&EVENTS_V1, &kept), newer);
        assert_eq!(*shown(&EVENTS, &kept), older);
    }
}
