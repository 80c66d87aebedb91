//! Kubernetes objects from the user's files: read with strict limits and checked for shape.

pub(crate) mod kind;
mod object;
mod read;
mod yaml;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

pub(crate) use kind::Kind;
pub(crate) use object::Object;
pub(crate) use read::read;
pub(crate) use yaml::documents;
#[cfg(feature = "simulate")]
pub(crate) use yaml::typed;

use crate::problem::{Place, Problem, Problems};

/// The objects of all `files`, in order; `-` is standard input.
///
/// # Errors
/// Every problem of every file.
pub(crate) fn load(files: &[PathBuf]) -> Result<Vec<Object>, Problems> {
    let mut objects = Vec::new();
    let mut problems = Vec::new();
    for file in files {
        let name = read::name(file);
        match read(file) {
            Ok(text) => parse_into(&name, &text, &mut objects, &mut problems),
            Err(problem) => problems.push(problem),
        }
    }
    finish(objects, problems)
}

/// The objects in `text`; `name` stands for the file in messages.
///
/// # Errors
/// Every problem in it.
#[cfg(feature = "simulate")]
pub(crate) fn parse(name: &str, text: &str) -> Result<Vec<Object>, Problems> {
    let mut objects = Vec::new();
    let mut problems = Vec::new();
    parse_into(name, text, &mut objects, &mut problems);
    finish(objects, problems)
}

/// The objects of values that stand inside another file, as a scenario's do.
///
/// # Errors
/// Every problem in them.
#[cfg(feature = "simulate")]
pub(crate) fn from_values(file: &str, values: Vec<Value>) -> Result<Vec<Object>, Problems> {
    let mut objects = Vec::new();
    let mut problems = Vec::new();
    for value in values {
        expand(Place::file(file), value, &mut objects, &mut problems);
    }
    finish(objects, problems)
}

fn parse_into(name: &str, text: &str, objects: &mut Vec<Object>, problems: &mut Vec<Problem>) {
    match documents(name, text) {
        Ok(documents) => {
            if documents.is_empty() {
                problems.push(Problem::new(
                    Place::file(name),
                    "holds no object",
                    "a manifest is YAML or JSON with apiVersion, kind and metadata.name",
                ));
            }
            for document in documents {
                expand(document.place, document.value, objects, problems);
            }
        }
        Err(problem) => problems.push(problem),
    }
}

/// Takes `kind: List` apart; anything else is one object.
fn expand(place: Place, value: Value, objects: &mut Vec<Object>, problems: &mut Vec<Problem>) {
    let is_list = value.get("apiVersion").and_then(Value::as_str) == Some("v1")
        && value.get("kind").and_then(Value::as_str) == Some("List");
    if !is_list {
        match Object::new(place, value) {
            Ok(object) => objects.push(object),
            Err(problem) => problems.push(problem),
        }
        return;
    }
    let Some(Value::Array(items)) = value.get("items") else {
        problems.push(
            Problem::new(place, "is not a list", "put the objects under `items:`")
                .object("List")
                .field("items"),
        );
        return;
    };
    for (index, item) in items.iter().enumerate() {
        // Lists do not nest in Kubernetes; here neither, so depth stays bounded.
        match Object::new(place.clone(), item.clone()) {
            Ok(object) => objects.push(object),
            Err(mut problem) => {
                let field = problem.field.take();
                problem.field = Some(match field {
                    Some(field) => format!("items[{index}].{field}"),
                    None => format!("items[{index}]"),
                });
                problems.push(problem);
            }
        }
    }
}

fn finish(objects: Vec<Object>, mut problems: Vec<Problem>) -> Result<Vec<Object>, Problems> {
    let mut seen: BTreeMap<String, Place> = BTreeMap::new();
    for object in &objects {
        let key = object.to_string();
        if let Some(first) = seen.get(&key) {
            problems.push(
                Problem::new(
                    object.place.clone(),
                    format!("stands in {first} already"),
                    "remove or rename one of the two",
                )
                .object(&key),
            );
        } else {
            seen.insert(key, object.place.clone());
        }
    }
    if problems.is_empty() {
        Ok(objects)
    } else {
        Err(Problems(problems))
    }
}

#[cfg(test)]
mod tests;
