//! Server-side apply: an author says what it wants of an object, and owns just that.

use serde_json::Value;

use super::differ::{changes, fields_of};
use super::fields::FieldSet;
use super::managed::{self, Author};
use super::overlay;
use crate::error::{ApiError, Result};
use crate::object;
use crate::resource::Resource;

/// The object that results when `author` applies `config` on `live`, owners included.
/// What the author applied before and leaves out now goes, unless somebody else owns it.
/// Taking a field from another owner needs `force`.
pub(crate) fn apply(
    resource: &Resource,
    live: &Value,
    config: &Value,
    author: &Author<'_>,
    force: bool,
) -> Result<Value> {
    if !object::at(config, &["metadata", "managedFields"]).is_null() {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    let config = overlay::only(config, author.subresource == "status", resource.status);
    let wanted = fields_of(resource, &config);
    let mut merged = live.clone();
    overlay::lay_over(resource, &mut Vec::new(), &mut merged, &config);

    let mut entries = managed::read(live);
    let (taken, _) = changes(resource, Some(live), &merged);
    let mut conflicts = Vec::new();
    for entry in entries.iter_mut().filter(|entry| !entry.is_by(author)) {
        let lost = entry.fields.intersect(&taken);
        if lost.is_empty() {
            continue;
        }
        let shown = entry.shown();
        conflicts.extend(lost.shown().into_iter().map(|path| (shown.clone(), path)));
        entry.fields = entry.fields.minus(&lost);
    }
    if !force && !conflicts.is_empty() {
        return Err(ApiError::apply_conflict(&conflicts));
    }

    let mut kept = wanted.clone();
    let mut before = FieldSet::default();
    for entry in &entries {
        if entry.is_by(author) {
            before.union(&entry.fields);
        } else {
            kept.union(&entry.fields);
        }
    }
    overlay::remove(
        resource,
        &mut Vec::new(),
        &mut merged,
        &before.minus(&wanted),
        &kept,
    );

    let (_, removed) = changes(resource, Some(live), &merged);
    for entry in &mut entries {
        entry.fields = entry.fields.minus(&removed);
    }
    let unchanged = removed.is_empty() && taken.is_empty() && before == wanted;
    if !unchanged {
        managed::own(&mut entries, author).fields = wanted;
    }
    managed::write(&mut merged, &entries);
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patch::{Operation, record_update};
    use crate::resource::CLAIMS;
    use serde_json::json;

    fn author<'a>(manager: &'a str, operation: Operation) -> Author<'a> {
        Author {
            manager,
            operation,
            subresource: "status",
            api_version: "resource.k8s.io/v1",
        }
    }

    fn device(name: &str, interface: &str) -> Value {
        json!({"driver": "d", "pool": "p", "device": name, "networkData": {"interfaceName": interface}})
    }

    fn report(devices: &[Value]) -> Value {
        json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim", "status": {"devices": devices}})
    }

    fn applied(live: &Value, manager: &str, devices: &[Value]) -> Result<Value> {
        apply(
            &CLAIMS,
            live,
            &report(devices),
            &author(manager, Operation::Apply),
            false,
        )
    }

    fn names(object: &Value) -> Vec<&str> {
        object::list(object, &["status", "devices"])
            .iter()
            .map(|device| object::text(device, &["device"]))
            .collect()
    }

    #[test]
    fn a_dropped_entry_goes_and_those_of_others_stay() {
        let first = applied(
            &json!({}),
            "one",
            &[device("a", "net1"), device("b", "net2")],
        )
        .unwrap();
        let second = applied(&first, "two", &[device("c", "net3")]).unwrap();
        assert_eq!(names(&second), ["a", "b", "c"]);
        let third = applied(&second, "one", &[device("b", "net2")]).unwrap();
        assert_eq!(names(&third), ["b", "c"]);
        let fourth = applied(&third, "one", &[]).unwrap();
        assert_eq!(names(&fourth), ["c"]);
    }

    #[test]
    fn a_dropped_field_goes() {
        let mut full = device("a", "net1");
        full["networkData"]["hardwareAddress"] = "02:00:00:00:00:01".into();
        let first = applied(&json!({}), "one", &[full]).unwrap();
        let second = applied(&first, "one", &[device("a", "net1")]).unwrap();
        assert_eq!(second["status"]["devices"], json!([device("a", "net1")]));
    }

    #[test]
    fn the_same_again_changes_nothing() {
        let mut first = applied(&json!({}), "one", &[device("a", "net1")]).unwrap();
        first["metadata"]["managedFields"][0]["time"] = "2026-01-02T03:04:05Z".into();
        let second = applied(&first, "one", &[device("a", "net1")]).unwrap();
        assert_eq!(first, second);
    }

    #[test]
    fn a_field_of_another_needs_force() {
        let first = applied(&json!({}), "one", &[device("a", "net1")]).unwrap();
        let error = applied(&first, "two", &[device("a", "net2")]).unwrap_err();
        insta::assert_snapshot!(error, @r#"Apply failed with 1 conflict: conflict with "one" with subresource "status" using resource.k8s.io/v1: .status.devices[device="a",driver="d",pool="p"].networkData.interfaceName"#);
        let forced = apply(
            &CLAIMS,
            &first,
            &report(&[device("a", "net2")]),
            &author("two", Operation::Apply),
            true,
        )
        .unwrap();
        assert_eq!(
            forced["status"]["devices"][0]["networkData"]["interfaceName"],
            "net2"
        );
        // The first one lost the interface name, so it can leave the entry without harm.
        let left = applied(&forced, "one", &[]).unwrap();
        assert_eq!(
            left["status"]["devices"][0]["networkData"]["interfaceName"],
            "net2"
        );
    }

    #[test]
    fn equal_values_are_shared() {
        let first = applied(&json!({}), "one", &[device("a", "net1")]).unwrap();
        let second = applied(&first, "two", &[device("a", "net1")]).unwrap();
        let third = applied(&second, "one", &[]).unwrap();
        assert_eq!(names(&third), ["a"]);
    }

    #[test]
    fn updates_take_fields_over() {
        let first = applied(&json!({}), "one", &[device("a", "net1")]).unwrap();
        let mut second = first.clone();
        second["status"]["devices"][0]["networkData"]["interfaceName"] = "net9".into();
        record_update(
            &CLAIMS,
            Some(&first),
            &mut second,
            &author("edit", Operation::Update),
        );
        let error = applied(&second, "one", &[device("a", "net1")]).unwrap_err();
        insta::assert_snapshot!(error, @r#"Apply failed with 1 conflict: conflict with "edit" with subresource "status" using resource.k8s.io/v1: .status.devices[device="a",driver="d",pool="p"].networkData.interfaceName"#);
    }

    #[test]
    fn the_other_part_is_left_alone() {
        let mut config = report(&[device("a", "net1")]);
        config["metadata"] = json!({"labels": {"x": "y"}});
        config["spec"] = json!({"devices": {}});
        let merged = apply(
            &CLAIMS,
            &json!({}),
            &config,
            &author("one", Operation::Apply),
            false,
        )
        .unwrap();
        assert!(merged.get("spec").is_none());
        assert!(merged["metadata"].get("labels").is_none());
    }
}
