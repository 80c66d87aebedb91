//! The admission policy's expressions, evaluated over requests as the API server would.

use cel::{Context, Program};
use serde_json::{Value, json};

use crate::helm::{object, template};

const DRIVER: &str = "system:serviceaccount:kube-system:network-dra";

fn slice(node: Option<&str>, driver: &str) -> Value {
    match node {
        Some(node) => json!({"spec": {"driver": driver, "nodeName": node}}),
        None => json!({"spec": {"driver": driver, "allNodes": true}}),
    }
}

fn request(operation: &str, user: &str, node: Option<&str>) -> Value {
    let extra = node.map(|node| json!({"authentication.kubernetes.io/node-name": [node]}));
    let mut info = json!({"username": user});
    if let Some(extra) = extra {
        info["extra"] = extra;
    }
    json!({"operation": operation, "userInfo": info})
}

fn evaluate(expression: &str, given: &Value) -> Value {
    let mut context = Context::default();
    for (name, value) in given.as_object().unwrap() {
        context.add_variable(name.as_str(), value.clone()).unwrap();
    }
    let program = Program::compile(expression).unwrap();
    let value = program
        .execute(&context)
        .unwrap_or_else(|error| panic!("{expression}: {error}"));
    value.json().unwrap()
}

/// Whether the policy lets a request through, and why not.
fn decide(policy: &Value, request: Value, old: Value, new: Value) -> Result<(), String> {
    let mut given = json!({"request": request, "oldObject": old, "object": new, "variables": {}});
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    for condition in policy["matchConditions"].as_array().unwrap() {
        if evaluate(&text(&condition["expression"]), &given) == json!(false) {
            return Ok(());
        }
    }
    for variable in policy["variables"].as_array().unwrap() {
        let value = evaluate(&text(&variable["expression"]), &given);
        given["variables"][text(&variable["name"])] = value;
    }
    for validation in policy["validations"].as_array().unwrap() {
        if evaluate(&text(&validation["expression"]), &given) != json!(true) {
            let message = validation["message"].as_str().map(str::to_owned);
            return Err(message.unwrap_or_else(|| {
                text(&evaluate(&text(&validation["messageExpression"]), &given))
            }));
        }
    }
    Ok(())
}

#[test]
fn a_driver_changes_slices_of_its_own_node_alone() {
    let Some(manifest) = template(&[]) else {
        return;
    };
    let policy = object(&manifest.unwrap(), "ValidatingAdmissionPolicy");
    let policy = &policy["spec"];
    let own = || slice(Some("n1"), "dra.networking");
    let other = || slice(Some("n2"), "dra.networking");
    let by = |operation| request(operation, DRIVER, Some("n1"));
    let none = Value::Null;

    assert_eq!(decide(policy, by("CREATE"), none.clone(), own()), Ok(()));
    assert_eq!(decide(policy, by("UPDATE"), own(), own()), Ok(()));
    assert_eq!(decide(policy, by("DELETE"), own(), none.clone()), Ok(()));
    // Others are none of this policy's business.
    let admin = request("DELETE", "admin", None);
    assert_eq!(decide(policy, admin, other(), none.clone()), Ok(()));

    let refusals = [
        decide(policy, by("CREATE"), none.clone(), other()),
        decide(policy, by("DELETE"), other(), none.clone()),
        decide(policy, by("UPDATE"), own(), other()),
        decide(policy, by("UPDATE"), other(), own()),
        decide(
            policy,
            by("CREATE"),
            none.clone(),
            slice(None, "dra.networking"),
        ),
        decide(
            policy,
            by("CREATE"),
            none.clone(),
            slice(Some("n1"), "gpu.example"),
        ),
        decide(policy, request("CREATE", DRIVER, None), none, own()),
    ];
    let refusals: Vec<String> = refusals.into_iter().map(Result::unwrap_err).collect();
    insta::assert_debug_snapshot!(refusals);
}
