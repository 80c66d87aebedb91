use serde_json::json;

use super::*;
use crate::resource::{CLAIMS, NODES, PODS, SLICES};

fn writer() -> Writer {
    Writer::internal("test")
}

fn node(name: &str) -> Value {
    json!({"metadata": {"name": name}})
}

fn version(object: &Value) -> u64 {
    object::text(object, &["metadata", "resourceVersion"])
        .parse()
        .unwrap()
}

#[test]
fn versions_grow_by_one_over_all_kinds() {
    let store = Store::new(100);
    let before = store.revision();
    let first = store.create(&NODES, None, node("a"), &writer()).unwrap();
    let claim = json!({"metadata": {"name": "c"}, "spec": {}});
    let second = store
        .create(&CLAIMS, Some("default"), claim, &writer())
        .unwrap();
    assert_eq!(
        (version(&first), version(&second)),
        (before + 1, before + 2)
    );
    let changes = store.since(before).unwrap();
    assert_eq!(
        changes
            .iter()
            .map(|change| change.revision)
            .collect::<Vec<_>>(),
        [before + 1, before + 2]
    );
    let last = store
        .delete(&NODES, None, "a", &DeleteOptions::default())
        .unwrap();
    assert_eq!(version(last.object()), before + 3);
}

#[test]
fn an_update_that_changes_nothing_is_none() {
    let store = Store::new(100);
    let first = store.create(&NODES, None, node("a"), &writer()).unwrap();
    let second = store
        .update(&NODES, None, "a", &writer(), |old| Ok(old.clone()))
        .unwrap();
    assert_eq!(version(&first), version(&second));
}

#[test]
fn the_history_is_bounded() {
    let store = Store::new(3);
    let start = store.revision();
    for n in 0..5 {
        store
            .create(&NODES, None, node(&format!("n{n}")), &writer())
            .unwrap();
    }
    assert_eq!(store.since(start + 2).unwrap().len(), 3);
    assert_eq!(store.since(start + 5).unwrap().len(), 0);
    let error = store.since(start + 1).unwrap_err();
    assert_eq!((error.code, error.reason), (410, "Expired"));
    assert_eq!(store.since(start + 6).unwrap_err().code, 504);
}

#[test]
fn generations_count_changes_of_the_spec() {
    let store = Store::new(100);
    let slice = json!({"metadata": {"name": "s"}, "spec": {
        "driver": "d.example", "nodeName": "a", "pool": {"name": "a", "generation": 1, "resourceSliceCount": 1},
    }});
    store.create(&SLICES, None, slice, &writer()).unwrap();
    let change = |field: &'static str, value: Value| {
        store
            .update(&SLICES, None, "s", &writer(), move |old| {
                let mut new = old.clone();
                new[field] = value;
                Ok(new)
            })
            .unwrap()
    };
    let labelled = change("metadata", json!({"name": "s", "labels": {"a": "b"}}));
    assert_eq!(labelled["metadata"]["generation"], 1);
    let mut spec = labelled["spec"].clone();
    spec["pool"]["generation"] = 2.into();
    assert_eq!(change("spec", spec)["metadata"]["generation"], 2);
}

#[test]
fn what_the_server_decides_stays() {
    let store = Store::new(100);
    let mut forged = node("a");
    forged["metadata"]["uid"] = "mine".into();
    forged["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z".into();
    let created = store.create(&NODES, None, forged, &writer()).unwrap();
    assert_ne!(created["metadata"]["uid"], "mine");
    assert!(created["metadata"].get("deletionTimestamp").is_none());
    let changed = store
        .update(&NODES, None, "a", &writer(), |_| {
            Ok(json!({"metadata": {"name": "a", "creationTimestamp": "2000-01-01T00:00:00Z"}, "spec": {"x": 1}}))
        })
        .unwrap();
    assert_eq!(
        changed["metadata"]["creationTimestamp"],
        created["metadata"]["creationTimestamp"]
    );
    assert_eq!(changed["metadata"]["uid"], created["metadata"]["uid"]);
    assert_eq!(changed["kind"], "Node");
}

#[test]
fn names_are_generated() {
    let store = Store::new(100);
    let object = json!({"metadata": {"generateName": "n-"}});
    let first = store
        .create(&NODES, None, object.clone(), &writer())
        .unwrap();
    let second = store.create(&NODES, None, object, &writer()).unwrap();
    assert!(object::name(&first).starts_with("n-"));
    assert_ne!(object::name(&first), object::name(&second));
    let long = json!({"metadata": {"generateName": "é".repeat(300)}});
    assert_eq!(
        store
            .create(&NODES, None, long, &writer())
            .unwrap_err()
            .code,
        422
    );
}

#[test]
fn an_unscheduled_or_finished_pod_goes_at_once() {
    let store = Store::new(100);
    let pod =
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let create = || {
        store
            .create(&PODS, Some("default"), pod.clone(), &writer())
            .unwrap()
    };
    let delete = || {
        store
            .delete(&PODS, Some("default"), "p", &DeleteOptions::default())
            .unwrap()
    };
    create();
    assert!(matches!(delete(), Deleted::Gone(_)));
    create();
    let place = |old: &Value| {
        let mut new = old.clone();
        new["spec"]["nodeName"] = "a".into();
        Ok(new)
    };
    store
        .update(&PODS, Some("default"), "p", &writer(), place)
        .unwrap();
    assert!(matches!(delete(), Deleted::Marked(_)));
    // A kubelet ends it with a grace period of zero.
    let force = DeleteOptions {
        grace: Some(0),
        ..DeleteOptions::default()
    };
    assert!(matches!(
        store.delete(&PODS, Some("default"), "p", &force).unwrap(),
        Deleted::Gone(_)
    ));
}

#[test]
fn a_forced_pod_with_a_finalizer_waits_for_it() {
    let store = Store::new(100);
    let pod = json!({"metadata": {"name": "p", "finalizers": ["x.example/y"]},
        "spec": {"nodeName": "a", "containers": [{"name": "c", "image": "i"}]}});
    store
        .create(&PODS, Some("default"), pod, &writer())
        .unwrap();
    let force = DeleteOptions {
        grace: Some(0),
        ..DeleteOptions::default()
    };
    assert!(matches!(
        store.delete(&PODS, Some("default"), "p", &force).unwrap(),
        Deleted::Marked(_)
    ));
    let release = |old: &Value| {
        let mut new = old.clone();
        new["metadata"]["finalizers"] = json!([]);
        Ok(new)
    };
    store
        .update(&PODS, Some("default"), "p", &writer(), release)
        .unwrap();
    assert_eq!(
        store.get(&PODS, Some("default"), "p").unwrap_err().code,
        404
    );
}

#[test]
fn orphans_lose_their_owner() {
    let store = Store::new(100);
    let owner = store.create(&NODES, None, node("a"), &writer()).unwrap();
    let slice = json!({"metadata": {"name": "s", "ownerReferences": [
        {"apiVersion": "v1", "kind": "Node", "name": "a", "uid": object::uid(&owner)},
    ]}, "spec": {"driver": "d", "nodeName": "a", "pool": {"name": "a", "resourceSliceCount": 1}}});
    store.create(&SLICES, None, slice, &writer()).unwrap();
    let orphan = DeleteOptions {
        orphan: true,
        ..DeleteOptions::default()
    };
    store.delete(&NODES, None, "a", &orphan).unwrap();
    let left = store.get(&SLICES, None, "s").unwrap();
    assert!(left["metadata"].get("ownerReferences").is_none());
}

#[test]
fn a_used_namespace_is_kept() {
    let store = Store::new(100);
    store
        .create(
            &CLAIMS,
            Some("default"),
            json!({"metadata": {"name": "c"}, "spec": {}}),
            &writer(),
        )
        .unwrap();
    let error = store
        .delete(&NAMESPACES, None, "default", &DeleteOptions::default())
        .unwrap_err();
    insta::assert_snapshot!(error, @r#"namespaces "default" is forbidden: it still has objects in it; delete those first"#);
    assert!(
        store
            .delete(&NAMESPACES, None, "kube-public", &DeleteOptions::default())
            .is_ok()
    );
}

#[test]
fn objects_do_not_grow_for_ever() {
    let store = Store::new(100);
    store.create(&NODES, None, node("a"), &writer()).unwrap();
    let grow = |size: usize| {
        store.update(&NODES, None, "a", &writer(), |old| {
            let mut new = old.clone();
            new["spec"] = json!({"x": "y".repeat(size)});
            Ok(new)
        })
    };
    assert!(grow(1024 * 1024).is_ok());
    assert_eq!(grow(2 * 1024 * 1024).unwrap_err().code, 413);
}
