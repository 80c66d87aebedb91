use serde_json::json;

use super::*;
use crate::resource::{CLAIMS, NODES, PODS};

fn objects() -> Vec<Value> {
    let role = |kind: &str, name: &str, namespace: &str, rules: Value| json!({"kind": kind, "metadata": {"name": name, "namespace": namespace}, "rules": rules});
    let binding = |kind: &str, namespace: &str, role: Value, subject: Value| {
        json!({"kind": kind, "metadata": {"name": "b", "namespace": namespace},
            "roleRef": role, "subjects": [subject]})
    };
    vec![
        role(
            "ClusterRole",
            "driver",
            "",
            json!([
                {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
                {"apiGroups": ["resource.k8s.io"], "resources": ["resourceclaims/driver"],
                    "resourceNames": ["a.example"], "verbs": ["associated-node:patch"]},
                {"apiGroups": [""], "resources": ["*/status"], "verbs": ["*"]},
            ]),
        ),
        role(
            "Role",
            "own",
            "x",
            json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["delete"]}]),
        ),
        binding(
            "ClusterRoleBinding",
            "",
            json!({"kind": "ClusterRole", "name": "driver"}),
            json!({"kind": "ServiceAccount", "name": "d", "namespace": "sys"}),
        ),
        binding(
            "RoleBinding",
            "x",
            json!({"kind": "Role", "name": "own"}),
            json!({"kind": "Group", "name": "system:serviceaccounts"}),
        ),
        json!({"kind": "Deployment", "metadata": {"name": "passed over"}}),
    ]
}

fn user() -> User {
    User::service_account("sys", "d", Some("n1"))
}

fn ask<'a>(
    verb: &'a str,
    resource: &'a Resource,
    subresource: &'a str,
    namespace: &'a str,
) -> Ask<'a> {
    Ask {
        verb,
        group: resource.group,
        resource: resource.plural,
        subresource,
        namespace,
        name: "o",
    }
}

#[test]
fn rules_match_as_rbac_does() {
    let rbac = Rbac::new(&objects()).unwrap();
    let may = |verb, resource, subresource, namespace| {
        let ask = ask(verb, resource, subresource, namespace);
        rbac.check(&user(), resource, &ask)
            .map_err(|error| error.to_string())
    };
    assert_eq!(may("get", &PODS, "", "anywhere"), Ok(()));
    assert_eq!(may("patch", &NODES, "status", ""), Ok(()));
    assert_eq!(may("delete", &CLAIMS, "", "x"), Ok(()));
    // Another verb, a subresource of what is granted, the main part of a granted
    // subresource, another namespace, another group.
    insta::assert_snapshot!(may("watch", &PODS, "", "default").unwrap_err(), @r#"pods "o" is forbidden: User "system:serviceaccount:sys:d" cannot watch resource "pods" in API group "" in the namespace "default""#);
    insta::assert_snapshot!(may("create", &PODS, "binding", "default").unwrap_err(), @r#"pods "o" is forbidden: User "system:serviceaccount:sys:d" cannot create resource "pods/binding" in API group "" in the namespace "default""#);
    insta::assert_snapshot!(may("patch", &NODES, "", "").unwrap_err(), @r#"nodes "o" is forbidden: User "system:serviceaccount:sys:d" cannot patch resource "nodes" in API group "" at the cluster scope"#);
    assert!(may("delete", &CLAIMS, "", "y").is_err());
    assert!(may("get", &CLAIMS, "status", "y").is_err());
    let stranger = User::service_account("sys", "other", None);
    assert!(
        rbac.check(&stranger, &PODS, &ask("get", &PODS, "", "x"))
            .is_err()
    );

    let report = rbac.report();
    let shown = |grants: &BTreeSet<Grant>| grants.iter().map(Grant::to_string).collect::<Vec<_>>();
    insta::assert_debug_snapshot!(shown(&report.used), @r#"
    [
        "ClusterRole/driver: * */status",
        "ClusterRole/driver: get pods",
        "Role/x/own: delete * (*)",
    ]
    "#);
    insta::assert_debug_snapshot!(shown(&report.unused), @r#"
    [
        "ClusterRole/driver: associated-node:patch resourceclaims/driver (resource.k8s.io) named a.example",
        "ClusterRole/driver: list pods",
    ]
    "#);
    assert_eq!(report.refused.len(), 6);
}

#[test]
fn a_binding_to_nothing_is_an_error() {
    let mut objects = objects();
    objects.remove(0);
    insta::assert_snapshot!(Rbac::new(&objects).unwrap_err(), @"ClusterRoleBinding b names the ClusterRole driver, which is not there");
}

fn claim(node: &str, devices: Value) -> Value {
    json!({"metadata": {"name": "c", "namespace": "ns"}, "status": {
        "allocation": {"nodeSelector": {"nodeSelectorTerms": [{"matchFields": [
            {"key": "metadata.name", "operator": "In", "values": [node]}]}]}},
        "devices": devices,
    }})
}

fn change(user: User, old: &Value, new: &Value) -> std::result::Result<(), String> {
    let caller = Caller {
        rbac: Rbac::new(&objects()).unwrap(),
        user,
        verb: "patch",
    };
    caller
        .may_change(&CLAIMS, old, new)
        .map_err(|error| format!("{} {error}", error.code))
}

#[test]
fn a_driver_changes_its_own_devices_on_its_own_node_alone() {
    let device = |driver: &str, data: u32| json!({"driver": driver, "pool": "p", "device": "d", "data": data});
    let none = claim("n1", json!([]));
    let mine = claim("n1", json!([device("a.example", 1)]));
    assert_eq!(change(user(), &none, &mine), Ok(()));
    assert_eq!(change(user(), &mine, &none), Ok(()), "removed");
    insta::assert_snapshot!(change(user(), &none, &claim("n1", json!([device("b.example", 1)]))).unwrap_err(), @r#"422 ResourceClaim.resource.k8s.io "c" is invalid: status.devices: Forbidden: changing status.devices requires resource="resourceclaims/driver", verb="[associated-node:patch arbitrary-node:patch]" permission: resourceclaims.resource.k8s.io "b.example" is forbidden: User "system:serviceaccount:sys:d" cannot associated-node:patch resource "resourceclaims/driver" in API group "resource.k8s.io" in the namespace "ns""#);
    // Another's entry may be there; it must not change.
    let both = |b| {
        claim(
            "n1",
            json!([device("a.example", 1), device("b.example", b)]),
        )
    };
    assert_eq!(
        change(
            user(),
            &claim("n1", json!([device("b.example", 1)])),
            &both(1)
        ),
        Ok(())
    );
    assert!(change(user(), &both(1), &both(2)).is_err());

    let (elsewhere, after) = (
        claim("n2", json!([])),
        claim("n2", json!([device("a.example", 1)])),
    );
    insta::assert_snapshot!(change(user(), &elsewhere, &after).unwrap_err(), @r#"422 ResourceClaim.resource.k8s.io "c" is invalid: status.devices: Forbidden: changing status.devices requires resource="resourceclaims/driver", verb="[arbitrary-node:patch]" permission: resourceclaims.resource.k8s.io "a.example" is forbidden: User "system:serviceaccount:sys:d" cannot arbitrary-node:patch resource "resourceclaims/driver" in API group "resource.k8s.io" in the namespace "ns""#);
    let unbound = User::service_account("sys", "d", None);
    assert!(
        change(unbound, &none, &mine).is_err(),
        "a token without a node"
    );
}

#[test]
fn the_allocation_is_not_a_drivers_to_change() {
    let (before, mut after) = (claim("n1", json!([])), claim("n1", json!([])));
    after["status"]["reservedFor"] = json!([{"resource": "pods", "name": "p", "uid": "u"}]);
    insta::assert_snapshot!(change(user(), &before, &after).unwrap_err(), @r#"422 ResourceClaim.resource.k8s.io "c" is invalid: status: Forbidden: changing status.allocation or status.reservedFor requires resource="resourceclaims/binding", verb="patch" permission: resourceclaims.resource.k8s.io is forbidden: User "system:serviceaccount:sys:d" cannot patch resource "resourceclaims/binding" in API group "resource.k8s.io" at the cluster scope"#);
}
