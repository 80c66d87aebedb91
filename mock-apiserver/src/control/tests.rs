use serde_json::json;

use super::*;
use crate::store::Writer;

fn writer() -> Writer {
    Writer::internal("test")
}

fn pod(store: &Store, name: &str, claim: &str) -> Arc<Value> {
    let pod = json!({"metadata": {"name": name}, "spec": {
        "nodeName": "node-a",
        "containers": [{"name": "c", "image": "i"}],
        "resourceClaims": [{"name": "net", "resourceClaimName": claim}],
    }});
    store
        .create(&PODS, Some("default"), pod, &writer())
        .unwrap()
}

/// An allocated claim with these users, by name and UID.
fn claim(store: &Store, name: &str, owner: Option<&Value>, users: &[(&str, &str)]) -> Key {
    let mut claim = json!({
        "metadata": {"name": name, "finalizers": [claims::FINALIZER]},
        "spec": {"devices": {"requests": [{"name": "net", "exactly": {"deviceClassName": "c"}}]}},
    });
    if let Some(owner) = owner {
        claim["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "v1", "kind": "Pod", "name": object::name(owner), "uid": object::uid(owner),
            "controller": true,
        }]);
    }
    store
        .create(&CLAIMS, Some("default"), claim, &writer())
        .unwrap();
    let users: Vec<Value> = users
        .iter()
        .map(|(name, uid)| json!({"resource": "pods", "name": name, "uid": uid}))
        .collect();
    store
        .update(
            &CLAIMS,
            Some("default"),
            name,
            &Writer::internal_status("test"),
            |old| {
                let mut new = old.clone();
                new["status"] = json!({
                    "allocation": {"devices": {"results": [
                        {"request": "net", "driver": "d.example", "pool": "p", "device": "x"},
                    ]}},
                    "devices": [{"driver": "d.example", "pool": "p", "device": "x"}],
                    "reservedFor": users,
                });
                Ok(new)
            },
        )
        .unwrap();
    ("default".to_owned(), name.to_owned())
}

fn get(store: &Store, key: &Key) -> Arc<Value> {
    store.get(&CLAIMS, Some(&key.0), &key.1).unwrap()
}

#[test]
fn a_reservation_is_for_a_uid_not_for_a_name() {
    let store = Store::new(100);
    let new = pod(&store, "web", "c");
    let key = claim(
        &store,
        "c",
        None,
        &[("web", "the-old-one"), ("web", object::uid(&new))],
    );
    claims::sync(&store, &key);
    let left = get(&store, &key);
    let expected = json!([{"resource": "pods", "name": "web", "uid": object::uid(&new)}]);
    assert_eq!(left["status"]["reservedFor"], expected);
    assert!(left["status"]["allocation"].is_object());
}

#[test]
fn the_last_user_takes_all_status_along() {
    let store = Store::new(100);
    let key = claim(&store, "c", None, &[("web", "gone")]);
    claims::sync(&store, &key);
    let left = get(&store, &key);
    assert_eq!(left["status"], json!({}));
    assert!(left["metadata"].get("finalizers").is_none());
}

#[test]
fn an_allocated_claim_that_nobody_reserved_yet_is_kept() {
    let store = Store::new(100);
    let key = claim(&store, "c", None, &[]);
    claims::sync(&store, &key);
    assert!(get(&store, &key)["status"]["allocation"].is_object());
    assert!(get(&store, &key)["metadata"]["finalizers"].is_array());
}

#[test]
fn a_pod_on_its_node_is_given_what_is_allocated() {
    let store = Store::new(100);
    let web = pod(&store, "web", "c");
    let key = claim(&store, "c", None, &[]);
    templates::sync(&store, &("default".to_owned(), "web".to_owned()));
    let users = get(&store, &key)["status"]["reservedFor"].clone();
    assert_eq!(
        users,
        json!([{"resource": "pods", "name": "web", "uid": object::uid(&web)}])
    );
}

#[test]
fn garbage_goes_when_its_last_owner_has_gone() {
    let store = Store::new(100);
    let web = pod(&store, "web", "none");
    let key = claim(&store, "c", Some(&web), &[]);
    garbage::collect(&store, object::uid(&web));
    assert!(!object::is_deleting(&get(&store, &key)), "the owner lives");
    let force = crate::store::DeleteOptions {
        grace: Some(0),
        ..Default::default()
    };
    store.delete(&PODS, Some("default"), "web", &force).unwrap();
    assert_eq!(garbage::missing_owners(&store), [object::uid(&web)]);
    garbage::collect(&store, object::uid(&web));
    assert!(object::is_deleting(&get(&store, &key)));
    claims::sync(&store, &key);
    assert_eq!(
        store.get(&CLAIMS, Some("default"), "c").unwrap_err().code,
        404
    );
}

#[test]
fn heartbeats_of_nodes_are_no_reason_to_schedule() {
    let change = |old: Value, new: Value| Change {
        revision: 1,
        table: NODES.table,
        happened: Happened::Modified,
        object: Arc::new(new),
        previous: Some(Arc::new(old)),
    };
    assert!(!node_counts(&change(
        json!({"status": {"a": 1}}),
        json!({"status": {"a": 2}})
    )));
    assert!(node_counts(&change(
        json!({"spec": {"unschedulable": true}}),
        json!({"spec": {}})
    )));
}
