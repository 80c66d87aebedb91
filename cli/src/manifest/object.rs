//! One object of a manifest: its shape checked, so that the rest can rely on it.

use std::fmt;

use serde_json::Value;

use super::Kind;
use crate::problem::{Place, Problem};

/// The longest name that Kubernetes takes (a DNS subdomain).
const MAX_NAME: usize = 253;

/// An object with a known kind, a valid name and, where its kind has one, a namespace.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) place: Place,
    pub(crate) kind: &'static Kind,
    /// `default` where the manifest names none; `None` for kinds without namespaces.
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
    /// The whole object, namespace filled in.
    pub(crate) value: Value,
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind.kind, self.name),
            None => write!(f, "{} {}", self.kind.kind, self.name),
        }
    }
}

impl Object {
    /// Checks the shape of `value`.
    pub(crate) fn new(place: Place, mut value: Value) -> Result<Self, Problem> {
        if !value.is_object() {
            return Err(Problem::new(
                place,
                format!("is {}, not an object", what(&value)),
                "a manifest is YAML or JSON with apiVersion, kind and metadata.name",
            ));
        }
        let kind = known_kind(&place, &value)?;
        if !value.get("metadata").is_some_and(Value::is_object) {
            return Err(Problem::new(
                place,
                "is missing or no object",
                "write `metadata: {name: …}`",
            )
            .object(kind.kind)
            .field("metadata"));
        }
        let name = text(&place, &value, kind.kind, "name")?.ok_or_else(|| {
            Problem::new(
                place.clone(),
                "is missing",
                "give the object a name (generateName is not supported here)",
            )
            .object(kind.kind)
            .field("metadata.name")
        })?;
        check_name(&place, kind.kind, "metadata.name", &name)?;
        let namespace = text(&place, &value, kind.kind, "namespace")?;
        let namespace = match (kind.namespaced, namespace) {
            (true, namespace) => {
                let namespace = namespace.unwrap_or_else(|| "default".into());
                check_name(&place, kind.kind, "metadata.namespace", &namespace)?;
                value["metadata"]["namespace"] = Value::String(namespace.clone());
                Some(namespace)
            }
            (false, Some(_)) => {
                return Err(Problem::new(
                    place,
                    format!("is set, but a {} has no namespace", kind.kind),
                    "remove it",
                )
                .object(format!("{} {name}", kind.kind))
                .field("metadata.namespace"));
            }
            (false, None) => None,
        };
        Ok(Self {
            place,
            kind,
            namespace,
            name,
            value,
        })
    }

    /// The same object under another name.
    #[cfg(feature = "simulate")]
    pub(crate) fn renamed(&self, name: String) -> Self {
        let mut copy = self.clone();
        copy.value["metadata"]["name"] = Value::String(name.clone());
        copy.name = name;
        copy
    }

    /// `namespace/name`, or the name alone.
    pub(crate) fn key(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{namespace}/{}", self.name),
            None => self.name.clone(),
        }
    }

    /// An error in this object.
    pub(crate) fn problem(
        &self,
        field: impl Into<String>,
        message: impl Into<String>,
        mend: impl Into<String>,
    ) -> Problem {
        Problem::new(self.place.clone(), message, mend)
            .object(self.to_string())
            .field(field)
    }
}

fn known_kind(place: &Place, value: &Value) -> Result<&'static Kind, Problem> {
    let field = |name: &str| match value.get(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.as_str()),
        Some(other) if !other.is_string() => Err(Problem::new(
            place.clone(),
            format!("is {}, not a string", what(other)),
            format!("write `{name}:` as in `kubectl explain pod`"),
        )
        .field(name)),
        _ => Err(Problem::new(
            place.clone(),
            "is missing",
            "every Kubernetes object has apiVersion and kind",
        )
        .field(name)),
    };
    let name = field("kind")?;
    let api_version = field("apiVersion")?;
    let kind = Kind::by_name(name).ok_or_else(|| {
        Problem::new(
            place.clone(),
            format!("`{}` is no kind that ndra knows", short(name)),
            format!("it knows {}; put other workloads into Pods", Kind::names()),
        )
        .field("kind")
    })?;
    if let Some(kind) = Kind::by_version(name, api_version) {
        return Ok(kind);
    }
    if api_version != kind.api_version() {
        return Err(Problem::new(
            place.clone(),
            format!("`{}` is not served for {name}", short(api_version)),
            format!("write `apiVersion: {}`", kind.api_version()),
        )
        .object(name)
        .field("apiVersion"));
    }
    Ok(kind)
}

/// A string under `metadata`; absent is fine, anything else is not.
fn text(place: &Place, value: &Value, kind: &str, name: &str) -> Result<Option<String>, Problem> {
    match &value["metadata"][name] {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        other => Err(Problem::new(
            place.clone(),
            format!("is {}, not a string", what(other)),
            "put the value into quotes",
        )
        .object(kind)
        .field(format!("metadata.{name}"))),
    }
}

fn check_name(place: &Place, kind: &str, field: &str, name: &str) -> Result<(), Problem> {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    if name.len() <= MAX_NAME
        && edge(name.chars().next())
        && edge(name.chars().last())
        && name.chars().all(inner)
    {
        return Ok(());
    }
    Err(Problem::new(
        place.clone(),
        format!("`{}` is no valid name", short(name)),
        format!("use at most {MAX_NAME} lower case letters, digits, `-` and `.`, a letter or digit first and last"),
    )
    .object(kind)
    .field(field))
}

/// What a value is, for a message.
pub(crate) fn what(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// At most 64 characters of a name that is repeated in a message, without control characters.
fn short(text: &str) -> String {
    let mut short: String = text
        .chars()
        .take(64)
        .map(|c| if c.is_control() { '?' } else { c })
        .collect();
    if text.chars().count() > 64 {
        short.push('…');
    }
    short
}
