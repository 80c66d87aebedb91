//! Every value is in the chart's README, with its default, and in the schema.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::helm::CHART;

fn read(name: &str) -> String {
    std::fs::read_to_string(format!("{CHART}/{name}")).unwrap()
}

/// Values that are one thing to the reader, whatever is in them.
const WHOLE: [&str; 4] = [
    "resources",
    "nodeSelector",
    "updateStrategy",
    "deviceClass.parameters",
];

/// The values with their paths.
fn leaves(path: &str, value: &Value, into: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(map) if !map.is_empty() && !WHOLE.contains(&path) => {
            for (key, value) in map {
                let below = match path {
                    "" => key.clone(),
                    path => format!("{path}.{key}"),
                };
                leaves(&below, value, into);
            }
        }
        value => drop(into.insert(path.to_owned(), sorted(value))),
    }
}

/// Keys in one order, to be compared as text.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let map: BTreeMap<_, _> = map
                .iter()
                .map(|(key, value)| (key, sorted(value)))
                .collect();
            map.into_iter()
                .map(|(key, value)| (key.clone(), value))
                .collect::<serde_json::Map<_, _>>()
                .into()
        }
        Value::Array(list) => list.iter().map(sorted).collect::<Vec<_>>().into(),
        other => other.clone(),
    }
}

fn values() -> BTreeMap<String, Value> {
    let mut values = BTreeMap::new();
    leaves(
        "",
        &serde_saphyr::from_str(&read("values.yaml")).unwrap(),
        &mut values,
    );
    values
}

#[test]
fn the_readme_has_every_value_with_its_default() {
    let readme = read("README.md");
    let rows: BTreeMap<&str, &str> = readme
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split(" | ");
            Some((
                cells.next()?.strip_suffix('`')?,
                cells.next()?.trim_matches('`'),
            ))
        })
        .collect();
    let values: BTreeMap<String, String> = values()
        .into_iter()
        .map(|(path, value)| (path, value.to_string()))
        .collect();
    let rows: BTreeMap<String, String> = rows
        .into_iter()
        .map(|(path, default)| (path.to_owned(), default.to_owned()))
        .collect();
    assert_eq!(rows, values);
}

#[test]
fn the_schema_has_every_value_and_no_other() {
    let schema: Value = serde_json::from_str(&read("values.schema.json")).unwrap();
    let mut known = BTreeSet::new();
    properties("", &schema, &mut known);
    // Helm sets it.
    known.remove("global");
    let values: BTreeSet<String> = values().into_keys().collect();
    assert_eq!(known, values);
}

fn properties(path: &str, schema: &Value, into: &mut BTreeSet<String>) {
    match schema["properties"].as_object() {
        Some(map) if !WHOLE.contains(&path) => {
            assert_eq!(
                schema["additionalProperties"], false,
                "{path} takes anything"
            );
            for (key, schema) in map {
                let below = match path {
                    "" => key.clone(),
                    path => format!("{path}.{key}"),
                };
                properties(&below, schema, into);
            }
        }
        _ => drop(into.insert(path.to_owned())),
    }
}
