//! Writing down what was chosen, as `status.allocation` of a claim.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::capacity;
use super::request::Wanted;
use super::search::Chosen;
use crate::object::{at, list, name, text};

/// The allocation of one claim.
pub(super) fn allocation(
    claim: &Value,
    wanted: &Wanted,
    chosen: &[Chosen<'_>],
    node: &str,
) -> Value {
    let results: Vec<Value> = chosen
        .iter()
        .map(|chosen| {
            let asked = &wanted.requests[chosen.request].alternatives[chosen.alternative];
            let mut result = json!({
                "request": asked.name,
                "driver": chosen.device.id.driver,
                "pool": chosen.device.id.pool,
                "device": chosen.device.id.device,
            });
            if let Some(taken) = &chosen.share {
                result["shareID"] = Uuid::new_v4().to_string().into();
                if !taken.is_empty() {
                    result["consumedCapacity"] = capacity::shown(taken);
                }
            }
            if asked.admin {
                result["adminAccess"] = true.into();
            }
            result
        })
        .collect();
    let mut devices = Map::new();
    devices.insert("results".to_owned(), results.into());
    let config = config(claim, wanted, chosen);
    if !config.is_empty() {
        devices.insert("config".to_owned(), config.into());
    }
    let mut allocation = json!({"devices": devices});
    if let Some(selector) = node_selector(chosen, node) {
        allocation["nodeSelector"] = selector;
    }
    allocation
}

/// The configuration of the classes, each once, and after it that of the claim.
fn config(claim: &Value, wanted: &Wanted, chosen: &[Chosen<'_>]) -> Vec<Value> {
    let mut from_classes: Vec<(&str, Vec<&str>, &Value)> = Vec::new();
    let mut selected: Vec<&str> = Vec::new();
    for (index, request) in wanted.requests.iter().enumerate() {
        let Some(choice) = chosen.iter().find(|choice| choice.request == index) else {
            continue;
        };
        let asked = &request.alternatives[choice.alternative];
        selected.push(&asked.name);
        match from_classes
            .iter_mut()
            .find(|(class, ..)| *class == name(&asked.class))
        {
            Some((_, requests, _)) => requests.push(&asked.name),
            None => from_classes.push((name(&asked.class), vec![&asked.name], &asked.class)),
        }
    }
    let mut config = Vec::new();
    for (_, requests, class) in &from_classes {
        for entry in list(class, &["spec", "config"]) {
            config.push(json!({"source": "FromClass", "requests": requests, "opaque": at(entry, &["opaque"])}));
        }
    }
    for entry in list(claim, &["spec", "devices", "config"]) {
        let requests = list(entry, &["requests"]);
        let concerns = |name: &str| {
            let main = name.split('/').next().unwrap_or_default();
            requests
                .iter()
                .any(|request| request == name || request == main)
        };
        if requests.is_empty() {
            config.push(json!({"source": "FromClaim", "opaque": at(entry, &["opaque"])}));
        } else if selected.iter().any(|name| concerns(name)) {
            config.push(json!({"source": "FromClaim", "requests": requests, "opaque": at(entry, &["opaque"])}));
        }
    }
    config
}

/// Where all the chosen devices can be used; `None` for everywhere.
fn node_selector(chosen: &[Chosen<'_>], node: &str) -> Option<Value> {
    let mut combined: Option<Value> = None;
    for selector in chosen
        .iter()
        .filter_map(|choice| choice.device.node_selector(node))
    {
        let Some(before) = &mut combined else {
            combined = Some(selector);
            continue;
        };
        if *before == selector {
            continue;
        }
        for key in ["matchExpressions", "matchFields"] {
            let more: Vec<Value> = list(&selector, &["nodeSelectorTerms"])
                .iter()
                .flat_map(|term| list(term, &[key]))
                .cloned()
                .collect();
            let term = before
                .get_mut("nodeSelectorTerms")
                .and_then(|terms| terms.get_mut(0));
            if let Some(Value::Object(term)) = term
                && !more.is_empty()
            {
                let rules = term.entry(key).or_insert_with(|| json!([]));
                if let Value::Array(rules) = rules {
                    rules.extend(
                        more.into_iter()
                            .filter(|rule| !text(rule, &["key"]).is_empty()),
                    );
                }
            }
        }
    }
    combined
}
