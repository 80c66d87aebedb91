//! The opaque parameters of a claim or a DeviceClass: `kind: CNIConfig`.

use std::collections::BTreeMap;
use std::io;

use ipnet::IpNet;
use serde_json::{Map, Value};

use super::fields;
use super::problem::{Problem, line};
use crate::cni::{ConfigList, MAX_DEPTH, Policy, depth_within};
use crate::shown::{kind, quoted};

/// The version that parameters have.
pub const API_VERSION: &str = "dra.networking/v1alpha1";
/// The kind that parameters have.
pub const KIND: &str = "CNIConfig";
/// The most bytes of JSON that parameters may have, as in Kubernetes (`OpaqueParameters`).
pub const MAX_PARAMETERS: usize = 10 * 1024;

const FIELDS: [&str; 7] = [
    "apiVersion",
    "kind",
    "ifName",
    "config",
    "ips",
    "mac",
    "cniArgs",
];

/// Parameters that have been checked. What is not given stays `None`, so that a claim's can
/// be laid over a class's key by key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameters {
    /// The interface name.
    pub if_name: Option<String>,
    /// The network.
    pub config: Option<ConfigList>,
    /// Addresses.
    pub ips: Option<Vec<IpNet>>,
    /// The MAC address, lower case with colons.
    pub mac: Option<String>,
    /// CNI arguments.
    pub cni_args: Option<BTreeMap<String, String>>,
}

/// Parameters are refused; with everything that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", line(.problems))]
pub struct ParametersError {
    /// Never empty. Paths begin at the parameters: `config.plugins[0].type`.
    pub problems: Vec<Problem>,
}

/// Checks one opaque configuration.
///
/// # Errors
/// All problems at once, except that parameters of an unknown kind, or that are too large
/// or too deep, are not read any further.
pub fn parameters(value: &Value, policy: &Policy) -> Result<Parameters, ParametersError> {
    let mut problems = Vec::new();
    let parameters = read(value, policy, &mut problems);
    if problems.is_empty() {
        Ok(parameters)
    } else {
        Err(ParametersError { problems })
    }
}

fn read(value: &Value, policy: &Policy, problems: &mut Vec<Problem>) -> Parameters {
    let mut parameters = Parameters::default();
    if let Some(problem) = bounds(value) {
        problems.push(problem);
        return parameters;
    }
    let Value::Object(map) = value else {
        problems.push(Problem::new(
            "",
            format!("the parameters are not an object but {}", kind(value)),
            format!("write {{apiVersion: {API_VERSION}, kind: {KIND}, …}}"),
        ));
        return parameters;
    };
    let known_kind = is(map, "apiVersion", API_VERSION, problems) & is(map, "kind", KIND, problems);
    if !known_kind {
        return parameters;
    }
    for key in map.keys().filter(|key| !FIELDS.contains(&key.as_str())) {
        problems.push(unknown(key));
    }
    // A null is refused like any other wrong value: in YAML it is what is left of a value that
    // slipped out of its indentation, and to ignore it would attach another network.
    if let Some(value) = map.get("ifName") {
        parameters.if_name = fields::if_name(value, "ifName", problems);
    }
    if let Some(value) = map.get("ips") {
        parameters.ips = fields::ips(value, "ips", problems);
    }
    if let Some(value) = map.get("mac") {
        parameters.mac = fields::mac(value, "mac", problems);
    }
    if let Some(value) = map.get("cniArgs") {
        parameters.cni_args = fields::cni_args(value, "cniArgs", problems);
    }
    if let Some(value) = map.get("config") {
        match ConfigList::check(value, policy) {
            Ok(list) => {
                let ips = parameters.ips.as_ref().map_or(0, Vec::len);
                if let Err(error) = list.clone().taking(ips, parameters.mac.is_some()) {
                    problems.push(Problem::of_config(&error, "config"));
                }
                parameters.config = Some(list);
            }
            Err(errors) => {
                problems.extend(
                    errors
                        .iter()
                        .map(|error| Problem::of_config(error, "config")),
                );
            }
        }
    }
    parameters
}

fn bounds(value: &Value) -> Option<Problem> {
    // The parameters' own object and `config` stand around the CNI configuration.
    let max_depth = MAX_DEPTH + 2;
    if !depth_within(value, max_depth) {
        return Some(Problem::new(
            "",
            format!("objects and lists are nested more than {max_depth} deep"),
            "flatten the parameters",
        ));
    }
    if !fits(value, MAX_PARAMETERS) {
        return Some(Problem::new(
            "",
            format!("the parameters are larger than {MAX_PARAMETERS} bytes of JSON"),
            "shorten them, or move what several claims share into a DeviceClass",
        ));
    }
    None
}

/// Whether the JSON has at most `max` bytes; never holds more than it counts.
fn fits(value: &Value, max: usize) -> bool {
    struct Room(usize);
    impl io::Write for Room {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let left = self.0.checked_sub(bytes.len());
            self.0 = left.ok_or(io::ErrorKind::FileTooLarge)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    serde_json::to_writer(Room(max), value).is_ok()
}

fn is(map: &Map<String, Value>, key: &str, expected: &str, problems: &mut Vec<Problem>) -> bool {
    let message = match map.get(key) {
        None | Some(Value::Null) => "is missing".to_owned(),
        Some(Value::String(text)) if text == expected => return true,
        Some(Value::String(text)) => format!("{} is unknown", quoted(text)),
        Some(other) => format!("must be a string, not {}", kind(other)),
    };
    problems.push(Problem::new(
        key,
        message,
        format!("write `{key}: {expected}`"),
    ));
    false
}

fn unknown(key: &str) -> Problem {
    let mend = match nearest(key) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("remove it; the fields are {}", FIELDS.join(", ")),
    };
    Problem::new("", format!("the field {} is unknown", quoted(key)), mend)
}

/// The field that was probably meant.
fn nearest(key: &str) -> Option<&'static str> {
    if key.len() > 32 {
        return None;
    }
    let key = key.to_lowercase();
    FIELDS
        .into_iter()
        .map(|field| (distance(&key, &field.to_lowercase()), field))
        .filter(|(distance, field)| {
            *distance <= field.len() / 3 || key.starts_with(&field.to_lowercase())
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, field)| field)
}

/// How many characters must be inserted, removed or replaced.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests;
