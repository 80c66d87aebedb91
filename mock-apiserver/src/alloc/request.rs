//! What a claim asks for, checked and with its selectors compiled.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::Refusal;
use super::cel::Selector;
use super::inventory::Device;
use crate::object::{at, list, name, namespace, text};

/// The DeviceClasses by name.
pub(crate) type Classes = BTreeMap<String, Arc<Value>>;

/// One request: its alternatives in the order of preference.
pub(super) struct Request {
    pub(super) alternatives: Vec<Alternative>,
}

/// What is asked for by `exactly`, or by one entry of `firstAvailable`.
pub(super) struct Alternative {
    /// `main`, or `main/sub`.
    pub(super) name: String,
    pub(super) amount: Amount,
    pub(super) admin: bool,
    pub(super) class: Arc<Value>,
    /// How much of which capacity.
    pub(super) capacity: Map<String, Value>,
    selectors: Vec<(String, Arc<Selector>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Amount {
    Exactly(usize),
    /// All devices that match, at least one.
    All,
}

/// All devices of the named requests have one value of an attribute.
pub(super) struct MatchAttribute {
    requests: Vec<String>,
    pub(super) attribute: String,
}

impl MatchAttribute {
    pub(super) fn concerns(&self, request: &str) -> bool {
        let main = request.split('/').next().unwrap_or_default();
        self.requests.is_empty()
            || self
                .requests
                .iter()
                .any(|name| name == request || name == main)
    }

    /// The value the constraint compares, if the device has the attribute.
    pub(super) fn value<'a>(&self, device: &'a Device) -> Option<&'a Value> {
        let attributes = at(device.value(), &["attributes"]);
        attributes.get(&self.attribute).or_else(|| {
            let (domain, id) = self.attribute.split_once('/')?;
            if domain == device.id.driver {
                attributes.get(id)
            } else {
                None
            }
        })
    }
}

/// A claim's requests and constraints.
pub(super) struct Wanted {
    pub(super) requests: Vec<Request>,
    pub(super) constraints: Vec<MatchAttribute>,
}

fn refuse(claim: &Value, what: &str) -> Refusal {
    Refusal::Because(format!("claim {}/{}{what}", namespace(claim), name(claim)))
}

impl Wanted {
    pub(super) fn of(claim: &Value, classes: &Classes) -> Result<Wanted, Refusal> {
        let devices = at(claim, &["spec", "devices"]);
        let requests = list(devices, &["requests"]).iter().map(|request| {
            let main = text(request, &["name"]);
            let exactly = at(request, &["exactly"]);
            let alternatives = if exactly.is_null() {
                list(request, &["firstAvailable"])
                    .iter()
                    .map(|sub| {
                        alternative(
                            claim,
                            &format!("{main}/{}", text(sub, &["name"])),
                            sub,
                            classes,
                        )
                    })
                    .collect::<Result<_, _>>()?
            } else {
                vec![alternative(claim, main, exactly, classes)?]
            };
            Ok(Request { alternatives })
        });
        let constraints = list(devices, &["constraints"]).iter().enumerate().map(|(index, constraint)| {
            let attribute = text(constraint, &["matchAttribute"]);
            if attribute.is_empty() {
                let what = match constraint.as_object().and_then(|map| map.keys().find(|key| *key != "requests")) {
                    Some(kind) => format!(", constraint #{index}: {kind} is not supported here; use matchAttribute"),
                    None => format!(", constraint #{index}: empty constraint (unsupported constraint type?)"),
                };
                return Err(refuse(claim, &what));
            }
            let requests = list(constraint, &["requests"]).iter();
            Ok(MatchAttribute {
                requests: requests.filter_map(Value::as_str).map(str::to_owned).collect(),
                attribute: attribute.to_owned(),
            })
        });
        Ok(Wanted {
            requests: requests.collect::<Result<_, _>>()?,
            constraints: constraints.collect::<Result<_, _>>()?,
        })
    }
}

fn alternative(
    claim: &Value,
    request: &str,
    asked: &Value,
    classes: &Classes,
) -> Result<Alternative, Refusal> {
    let refuse = |what: String| refuse(claim, &format!(", request {request}: {what}"));
    if let Some(key) = asked
        .as_object()
        .into_iter()
        .flatten()
        .find_map(|(key, value)| {
            let known = [
                "name",
                "deviceClassName",
                "selectors",
                "allocationMode",
                "count",
                "adminAccess",
                "capacity",
            ];
            let empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
            (!known.contains(&key.as_str()) && !empty).then_some(key)
        })
    {
        return Err(refuse(format!("{key} is not supported here; leave it out")));
    }
    let class_name = text(asked, &["deviceClassName"]);
    let Some(class) = classes.get(class_name) else {
        let why = format!(
            "could not retrieve device class {class_name}: deviceclass.resource.k8s.io \"{class_name}\" not found"
        );
        return Err(refuse(why));
    };
    let amount = match text(asked, &["allocationMode"]) {
        "All" => Amount::All,
        "ExactCount" => {
            let count = at(asked, &["count"]).as_u64().unwrap_or(0);
            match usize::try_from(count) {
                Ok(count) if count <= super::search::RESULTS => Amount::Exactly(count),
                _ => {
                    let why = format!(
                        "number of requested devices {count} exceeds the claim limit of {}",
                        super::search::RESULTS
                    );
                    return Err(refuse(why));
                }
            }
        }
        other => return Err(refuse(format!("unsupported count mode {other}"))),
    };
    let mut selectors = Vec::new();
    let of_class = format!("class {class_name}");
    let of_claim = format!("claim {}/{}", namespace(claim), name(claim));
    let class_selectors = list(class, &["spec", "selectors"]);
    for (owner, items) in [
        (of_class, class_selectors),
        (of_claim, list(asked, &["selectors"])),
    ] {
        for (index, selector) in items.iter().enumerate() {
            let owner = format!("{owner}: selector #{index}");
            let compiled =
                Selector::compile(text(selector, &["cel", "expression"])).map_err(|error| {
                    Refusal::Because(format!("{owner}: CEL compile error: {error}"))
                })?;
            selectors.push((owner, compiled));
        }
    }
    Ok(Alternative {
        name: request.to_owned(),
        amount,
        admin: at(asked, &["adminAccess"]) == true,
        class: Arc::clone(class),
        capacity: at(asked, &["capacity", "requests"])
            .as_object()
            .cloned()
            .unwrap_or_default(),
        selectors,
    })
}

impl Alternative {
    /// Whether the class and the request select the device.
    pub(super) fn selects(&self, device: &Device) -> Result<bool, Refusal> {
        if !is_plain(device.value()) {
            return Ok(false);
        }
        for (owner, selector) in &self.selectors {
            let matches = selector
                .matches(&device.id.driver, device.value())
                .map_err(|error| {
                    Refusal::Because(format!(
                        "{owner} on device {}: CEL runtime error: {error}",
                        device.id
                    ))
                })?;
            if !matches {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Whether a device is without the features that only newer allocators honour.
fn is_plain(device: &Value) -> bool {
    let tainted = list(device, &["taints"])
        .iter()
        .any(|taint| text(taint, &["effect"]) != "None");
    !tainted
        && list(device, &["consumesCounters"]).is_empty()
        && list(device, &["bindingConditions"]).is_empty()
}
