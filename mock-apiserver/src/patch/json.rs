//! JSON patch (RFC 6902).

use serde_json::Value;

use crate::error::{ApiError, Result};
use crate::object;

/// The most operations a patch may have.
const OPERATIONS: usize = 10_000;

/// The most bytes that all copies of a patch may make.
const COPIED_BYTES: usize = 3 * 1024 * 1024;

/// The deepest a patch may reach or nest, as code that walks objects recurses.
const DEPTH: usize = 100;

/// Carries out the operations in order.
pub(super) fn apply(target: &mut Value, operations: &Value) -> Result<()> {
    let Some(operations) = operations.as_array() else {
        return Err(ApiError::bad_request(
            "error decoding patch: a JSON patch is a list of operations",
        ));
    };
    if operations.len() > OPERATIONS {
        return Err(ApiError::too_large_body(OPERATIONS));
    }
    let mut copied = 0;
    for (index, operation) in operations.iter().enumerate() {
        one(target, operation, &mut copied).map_err(|why| {
            ApiError::bad_request(format!(
                "the server rejected our request: operation {index}: {why}"
            ))
        })?;
    }
    Ok(())
}

fn one(target: &mut Value, operation: &Value, copied: &mut usize) -> Result<(), String> {
    let path = pointer(operation, "path")?;
    let value = || {
        operation
            .get("value")
            .cloned()
            .ok_or_else(|| "value is missing".to_owned())
    };
    match object::text(operation, &["op"]) {
        "add" => add(target, &path, value()?),
        "remove" => remove(target, &path).map(drop),
        "replace" => {
            let value = value()?;
            check_depth(&path, &value)?;
            *find(target, &path)? = value;
            Ok(())
        }
        "test" => {
            let wanted = value()?;
            if *find(target, &path)? == wanted {
                Ok(())
            } else {
                Err(format!("testing value /{} failed", path.join("/")))
            }
        }
        "move" => {
            let value = remove(target, &pointer(operation, "from")?)?;
            add(target, &path, value)
        }
        "copy" => {
            let value = find(target, &pointer(operation, "from")?)?;
            *copied += value.to_string().len();
            if *copied > COPIED_BYTES {
                return Err(format!("the patch copies more than {COPIED_BYTES} bytes"));
            }
            let value = value.clone();
            add(target, &path, value)
        }
        other => Err(format!("unexpected kind: {other:?}")),
    }
}

fn pointer(operation: &Value, key: &str) -> Result<Vec<String>, String> {
    let text = operation
        .get(key)
        .and_then(Value::as_str)
        .ok_or_else(|| format!("{key} is missing"))?;
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let rest = text
        .strip_prefix('/')
        .ok_or_else(|| format!("{key} {text:?} does not begin with a slash"))?;
    Ok(rest
        .split('/')
        .map(|part| part.replace("~1", "/").replace("~0", "~"))
        .collect())
}

fn find<'a>(target: &'a mut Value, path: &[String]) -> Result<&'a mut Value, String> {
    let mut value = target;
    for part in path {
        let next = match value {
            Value::Object(map) => map.get_mut(part),
            Value::Array(list) => position(part, list.len()).and_then(|index| list.get_mut(index)),
            _ => None,
        };
        value = next.ok_or_else(|| format!("nonexistent path: /{}", path.join("/")))?;
    }
    Ok(value)
}

fn position(part: &str, len: usize) -> Option<usize> {
    let plain = part == "0" || (!part.starts_with('0') && part.bytes().all(|b| b.is_ascii_digit()));
    part.parse().ok().filter(|index| plain && *index <= len)
}

fn check_depth(path: &[String], value: &Value) -> Result<(), String> {
    if path.len() + object::depth(value) > DEPTH {
        return Err(format!("it reaches deeper than {DEPTH} levels"));
    }
    Ok(())
}

fn add(target: &mut Value, path: &[String], value: Value) -> Result<(), String> {
    check_depth(path, &value)?;
    let Some((last, parents)) = path.split_last() else {
        *target = value;
        return Ok(());
    };
    match find(target, parents)? {
        Value::Object(map) => {
            map.insert(last.clone(), value);
            Ok(())
        }
        Value::Array(list) if last == "-" => {
            list.push(value);
            Ok(())
        }
        Value::Array(list) => {
            let index =
                position(last, list.len()).ok_or_else(|| format!("invalid index: {last}"))?;
            list.insert(index, value);
            Ok(())
        }
        _ => Err(format!("nonexistent path: /{}", path.join("/"))),
    }
}

fn remove(target: &mut Value, path: &[String]) -> Result<Value, String> {
    let missing = || format!("nonexistent path: /{}", path.join("/"));
    let (last, parents) = path.split_last().ok_or_else(missing)?;
    match find(target, parents)? {
        Value::Object(map) => map.shift_remove(last).ok_or_else(missing),
        Value::Array(list) => {
            let index = position(last, list.len())
                .filter(|index| *index < list.len())
                .ok_or_else(missing)?;
            Ok(list.remove(index))
        }
        _ => Err(missing()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_operation() {
        let mut target = json!({"a": [1, 2], "b": {"c/d": 1}});
        let operations = json!([
            {"op": "test", "path": "/a/0", "value": 1},
            {"op": "add", "path": "/a/1", "value": 9},
            {"op": "add", "path": "/a/-", "value": 3},
            {"op": "replace", "path": "/b/c~1d", "value": 2},
            {"op": "copy", "from": "/b", "path": "/e"},
            {"op": "move", "from": "/a/0", "path": "/f"},
            {"op": "remove", "path": "/b"},
        ]);
        apply(&mut target, &operations).unwrap();
        assert_eq!(target, json!({"a": [9, 2, 3], "e": {"c/d": 2}, "f": 1}));
    }

    #[test]
    fn growth_is_bounded() {
        let doubling: Vec<Value> = (0..100)
            .map(|n| json!({"op": "copy", "from": "", "path": format!("/a{n}")}))
            .collect();
        let error = apply(&mut json!({"a": "x"}), &doubling.into()).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("the patch copies more than 3145728 bytes"),
            "{error}"
        );
        let deepening: Vec<Value> = (1..200)
            .map(|n| json!({"op": "add", "path": "/a".repeat(n), "value": {}}))
            .collect();
        let error = apply(&mut json!({}), &deepening.into()).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("it reaches deeper than 100 levels"),
            "{error}"
        );
    }

    #[test]
    fn words() {
        let words = [
            json!({}),
            json!([{"op": "remove", "path": "/x"}]),
            json!([{"op": "test", "path": "/a", "value": 2}]),
            json!([{"op": "add", "path": "/a/b", "value": 2}]),
            json!([{"op": "frob", "path": "/a"}]),
            json!([{"op": "add", "path": "a", "value": 1}]),
            json!([{"op": "add", "path": "/a"}]),
        ]
        .map(|operations| {
            apply(&mut json!({"a": 1}), &operations)
                .unwrap_err()
                .to_string()
        })
        .join("\n");
        insta::assert_snapshot!(words, @r#"
        error decoding patch: a JSON patch is a list of operations
        the server rejected our request: operation 0: nonexistent path: /x
        the server rejected our request: operation 0: testing value /a failed
        the server rejected our request: operation 0: nonexistent path: /a/b
        the server rejected our request: operation 0: unexpected kind: "frob"
        the server rejected our request: operation 0: path "a" does not begin with a slash
        the server rejected our request: operation 0: value is missing
        "#);
    }
}
