//! The pod annotation that asks for further networks, in both of its forms.

use serde_json::{Map, Value, json};

use crate::go_json;
use crate::record::parse_mac;
use crate::request::Attributes;

/// The annotation's key.
pub(crate) const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";

/// One network that a pod asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Selection {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Empty for the next `netN`.
    pub(crate) if_name: String,
    pub(crate) attributes: Attributes,
}

/// Reads a list in JSON, or names with commas: `[namespace/]name[@interface]`.
pub(crate) fn parse(text: &str, default_namespace: &str) -> Result<Vec<Selection>, String> {
    let mut selections = if text.contains(['[', '{', '"']) {
        parse_json(text)?
    } else {
        text.split(',')
            .map(|item| parse_name(item.trim()))
            .collect::<Result<_, _>>()
            .map_err(|e| format!("parsePodNetworkAnnotation: {e}"))?
    };
    for selection in &mut selections {
        if selection.namespace.is_empty() {
            selection.namespace = default_namespace.to_owned();
        }
        let mac = &selection.attributes.mac;
        if !mac.is_empty() && parse_mac(mac).is_none() {
            return Err(format!(
                "parsePodNetworkAnnotation: failed to mac: address {mac}: invalid MAC address"
            ));
        }
    }
    Ok(selections)
}

fn parse_json(text: &str) -> Result<Vec<Selection>, String> {
    let failed = |error: String| {
        format!(
            "parsePodNetworkAnnotation: failed to parse pod Network Attachment Selection Annotation JSON format: {error}"
        )
    };
    let Value::Array(items) = go_json::parse(text.as_bytes()).map_err(failed)? else {
        return Err(failed(
            "json: cannot unmarshal object into Go value of type []*types.NetworkSelectionElement"
                .into(),
        ));
    };
    let read = |item: Value| {
        let Value::Object(item) = item else {
            let kind = go_json::kind(&item);
            return Err(format!(
                "json: cannot unmarshal {kind} into Go value of type types.NetworkSelectionElement"
            ));
        };
        let text = |key: &str| field(&item, key);
        Ok(Selection {
            namespace: text("namespace")?,
            name: text("name")?,
            if_name: match text("interface")? {
                empty if empty.is_empty() => text("interfaceRequest")?,
                name => name,
            },
            attributes: Attributes::read(&item, "NetworkSelectionElement")?,
        })
    };
    items
        .into_iter()
        .map(|item| read(item).map_err(failed))
        .collect()
}

fn field(item: &Map<String, Value>, key: &str) -> Result<String, String> {
    match item.get(key) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => {
            let field = format!("NetworkSelectionElement.{key}");
            Err(go_json::wrong_kind(other, &field, "string"))
        }
    }
}

fn parse_name(item: &str) -> Result<Selection, String> {
    let invalid = |at| {
        Err(format!(
            "parsePodNetworkObjectName: Invalid network object (failed at '{at}')"
        ))
    };
    let slashes: Vec<&str> = item.split('/').collect();
    let (namespace, rest) = match slashes[..] {
        [rest] => ("", rest),
        [namespace, rest] => (namespace.trim(), rest),
        _ => return invalid('/'),
    };
    let ats: Vec<&str> = rest.split('@').collect();
    let (name, if_name) = match ats[..] {
        [name] => (name.trim(), ""),
        [name, if_name] => (name.trim(), if_name.trim()),
        _ => return invalid('@'),
    };
    for part in [namespace, name] {
        if !part.is_empty() && !is_label(part) {
            return Err(format!(
                "parsePodNetworkObjectName: Failed to parse: one or more items did not match comma-delimited format (must consist of lower case alphanumeric characters). Must start and end with an alphanumeric character), mismatch @ '{part}'"
            ));
        }
    }
    let too_long = if_name.len() > ndra_core::cni::MAX_IF_NAME;
    if too_long || if_name.contains(|c: char| c == '/' || c.is_whitespace()) {
        return Err(format!(
            "parsePodNetworkObjectName: Failed to parse interface name: must be less than 15 chars and not contain '/' or spaces. interface name '{if_name}'"
        ));
    }
    Ok(Selection {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        if_name: if_name.to_owned(),
        attributes: Attributes::default(),
    })
}

fn is_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(inner) && text.ends_with(inner) && text.chars().all(|c| inner(c) || c == '-')
}

/// One entry of the annotation that reports networks.
pub(crate) fn status(
    name: &str,
    if_name: &str,
    default: bool,
    result: &ndra_core::cni::CniResult,
) -> Value {
    let mac = result.container_interface(if_name).map(|i| i.mac.clone());
    let ips: Vec<String> = result
        .addresses(if_name)
        .iter()
        .map(|ip| ip.addr().to_string())
        .collect();
    let mut status = json!({ "name": name, "interface": if_name, "dns": result.dns });
    if !ips.is_empty() {
        status["ips"] = ips.into();
    }
    if let Some(mac) = mac.filter(|mac| !mac.is_empty()) {
        status["mac"] = mac.into();
    }
    if default {
        status["default"] = true.into();
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        parse(text, "default")
            .unwrap()
            .iter()
            .map(|s| format!("{}/{}@{}", s.namespace, s.name, s.if_name))
            .collect()
    }

    #[test]
    fn both_forms_are_read() {
        assert_eq!(names("a, other/b@data0"), ["default/a@", "other/b@data0"]);
        let json = r#"[{"name":"a","ips":["10.1.1.5/24"]},{"name":"b","namespace":"other","interface":"data0","mac":"02:00:00:00:00:01"}]"#;
        assert_eq!(names(json), ["default/a@", "other/b@data0"]);
        let read = parse(json, "default").unwrap();
        assert_eq!(read[0].attributes.ips, Some(vec!["10.1.1.5/24".into()]));
        assert_eq!(read[1].attributes.mac, "02:00:00:00:00:01");
    }

    #[test]
    fn bad_annotations_are_refused() {
        let refused = |text: &str| parse(text, "default").unwrap_err();
        insta::assert_snapshot!(refused("a/b/c"), @"parsePodNetworkAnnotation: parsePodNetworkObjectName: Invalid network object (failed at '/')");
        insta::assert_snapshot!(refused("a@b@c"), @"parsePodNetworkAnnotation: parsePodNetworkObjectName: Invalid network object (failed at '@')");
        insta::assert_snapshot!(refused("A"), @"parsePodNetworkAnnotation: parsePodNetworkObjectName: Failed to parse: one or more items did not match comma-delimited format (must consist of lower case alphanumeric characters). Must start and end with an alphanumeric character), mismatch @ 'A'");
        insta::assert_snapshot!(refused("a@sixteen-bytes-ab"), @"parsePodNetworkAnnotation: parsePodNetworkObjectName: Failed to parse interface name: must be less than 15 chars and not contain '/' or spaces. interface name 'sixteen-bytes-ab'");
        insta::assert_snapshot!(refused("[{]"), @"parsePodNetworkAnnotation: failed to parse pod Network Attachment Selection Annotation JSON format: invalid character ']' looking for beginning of object key string");
        insta::assert_snapshot!(refused(r#"{"name":"a"}"#), @"parsePodNetworkAnnotation: failed to parse pod Network Attachment Selection Annotation JSON format: json: cannot unmarshal object into Go value of type []*types.NetworkSelectionElement");
        insta::assert_snapshot!(refused(r#"[{"name":1}]"#), @"parsePodNetworkAnnotation: failed to parse pod Network Attachment Selection Annotation JSON format: json: cannot unmarshal number into Go struct field NetworkSelectionElement.name of type string");
        insta::assert_snapshot!(refused(r#"[{"name":"a","mac":"x"}]"#), @"parsePodNetworkAnnotation: failed to mac: address x: invalid MAC address");
    }
}
