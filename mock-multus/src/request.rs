//! A request as the daemon reads it: the shim's and the delegate API's are of one form.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::go_json::{self, wrong_kind};

/// The longest request that is read, in bytes. (The daemon itself has no bound.)
pub(crate) const MAX_REQUEST: usize = 4 * 1024 * 1024;

/// `api.Request` of the Multus sources.
#[derive(Debug, Default)]
pub(crate) struct Request {
    pub(crate) env: BTreeMap<String, String>,
    config: Vec<u8>,
    /// `None` where the request has none; they count even when empty.
    pub(crate) attributes: Option<Attributes>,
}

/// What a request or an annotation asks of one interface.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Attributes {
    pub(crate) ips: Option<Vec<String>>,
    pub(crate) mac: String,
    pub(crate) cni_args: Option<Map<String, Value>>,
}

/// The environment and configuration of one command, with the daemon's keys over the
/// request's.
#[derive(Clone, Debug)]
pub(crate) struct CommandArgs {
    pub(crate) command: String,
    pub(crate) container_id: String,
    pub(crate) netns: String,
    pub(crate) if_name: String,
    /// `CNI_ARGS` as it came.
    pub(crate) args: String,
    pub(crate) config: Value,
}

impl CommandArgs {
    /// The beginning of every error that comes from a command's own work.
    pub(crate) fn errored(&self, error: &str) -> String {
        format!(
            "ContainerID:{:?} Netns:{:?} IfName:{:?} Args:{:?} Path:\"\" ERRORED: {error}",
            self.container_id, self.netns, self.if_name, self.args
        )
    }
}

impl Request {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, String> {
        let json = go_json::parse(body)?;
        let Value::Object(mut json) = json else {
            return match json {
                Value::Null => Ok(Self::default()),
                other => Err(format!(
                    "json: cannot unmarshal {} into Go value of type api.Request",
                    go_json::kind(&other)
                )),
            };
        };
        let mut request = Self::default();
        match json.remove("env").unwrap_or_default() {
            Value::Null => {}
            Value::Object(env) => {
                for (name, value) in env {
                    let Value::String(value) = value else {
                        return Err(wrong_kind(&value, "Request.env", "string"));
                    };
                    request.env.insert(name, value);
                }
            }
            other => return Err(wrong_kind(&other, "Request.env", "map[string]string")),
        }
        match json.remove("config").unwrap_or_default() {
            Value::Null => {}
            Value::String(text) => {
                request.config = STANDARD.decode(&text).map_err(|_| {
                    let sound = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
                    let at = text.bytes().position(|b| !sound(b)).unwrap_or(text.len());
                    format!("illegal base64 data at input byte {at}")
                })?;
            }
            other => return Err(wrong_kind(&other, "Request.config", "[]uint8")),
        }
        request.attributes = match json.remove("interfaceAttributes").unwrap_or_default() {
            Value::Null => None,
            Value::Object(json) => Some(Attributes::read(
                &json,
                "DelegateInterfaceAttributes.interfaceAttributes",
            )?),
            other => {
                return Err(wrong_kind(
                    &other,
                    "Request.interfaceAttributes",
                    "api.DelegateInterfaceAttributes",
                ));
            }
        };
        Ok(request)
    }

    /// Command, environment and configuration, `overlay` laid over the latter.
    pub(crate) fn command_args(&self, overlay: &Map<String, Value>) -> Result<CommandArgs, String> {
        let env = |name: &str| self.env.get(name).cloned();
        let need = |name: &str| env(name).ok_or(format!("missing {name}"));
        let command = env("CNI_COMMAND").ok_or("unexpected or missing CNI_COMMAND")?;
        if matches!(&command[..], "STATUS" | "GC") {
            return Ok(CommandArgs {
                command,
                container_id: String::new(),
                netns: String::new(),
                if_name: String::new(),
                args: String::new(),
                config: self.config(overlay)?,
            });
        }
        Ok(CommandArgs {
            command,
            container_id: need("CNI_CONTAINERID")?,
            netns: need("CNI_NETNS")?,
            if_name: env("CNI_IFNAME").unwrap_or("eth0".into()),
            args: need("CNI_ARGS")?,
            config: self.config(overlay)?,
        })
    }

    fn config(&self, overlay: &Map<String, Value>) -> Result<Value, String> {
        let failed = |error| format!("failed to unmarshall CNI config: {error}");
        let mut config = match go_json::parse(&self.config).map_err(failed)? {
            Value::Object(config) => config,
            // The daemon falls over a `null` here and closes the connection.
            Value::Null => return Err(failed("it is null".into())),
            other => {
                let kind = go_json::kind(&other);
                return Err(failed(format!(
                    "json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
                )));
            }
        };
        for (key, value) in overlay {
            config.insert(key.clone(), value.clone());
        }
        Ok(Value::Object(config))
    }

    /// The pod that `CNI_ARGS` names; its UID where it is given.
    pub(crate) fn pod(&self) -> Result<PodArgs, String> {
        let args = self.env.get("CNI_ARGS").ok_or_else(|| {
            let env: Vec<String> = self.env.iter().map(|(k, v)| format!("{k}:{v}")).collect();
            format!("missing CNI_ARGS: 'map[{}]'", env.join(" "))
        })?;
        let mut values = BTreeMap::new();
        for arg in args.split(';') {
            let parts: Vec<&str> = arg.split('=').collect();
            let [key, value] = parts[..] else {
                return Err(format!("invalid CNI_ARG '{arg}'"));
            };
            values.insert(key.trim(), value.trim().to_owned());
        }
        let mut need = |name: &str| values.remove(name).ok_or(format!("missing {name}"));
        Ok(PodArgs {
            namespace: need("K8S_POD_NAMESPACE")?,
            name: need("K8S_POD_NAME")?,
            uid: need("K8S_POD_UID").ok(),
            sandbox: self
                .env
                .get("K8S_POD_INFRA_CONTAINER_ID")
                .cloned()
                .unwrap_or_default(),
        })
    }
}

impl Attributes {
    pub(crate) fn read(json: &Map<String, Value>, field: &str) -> Result<Self, String> {
        let ips = match json.get("ips") {
            None | Some(Value::Null) => None,
            Some(Value::Array(items)) => Some(
                items
                    .iter()
                    .map(|item| {
                        let text = item.as_str().map(str::to_owned);
                        text.ok_or_else(|| wrong_kind(item, &format!("{field}.ips"), "string"))
                    })
                    .collect::<Result<_, _>>()?,
            ),
            Some(other) => return Err(wrong_kind(other, &format!("{field}.ips"), "[]string")),
        };
        let mac = match json.get("mac") {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(mac)) => mac.clone(),
            Some(other) => return Err(wrong_kind(other, &format!("{field}.mac"), "string")),
        };
        let cni_args = match json.get("cni-args") {
            None | Some(Value::Null) => None,
            Some(Value::Object(args)) => Some(args.clone()),
            Some(other) => {
                let field = format!("{field}.cni-args");
                return Err(wrong_kind(other, &field, "map[string]interface {}"));
            }
        };
        Ok(Self { ips, mac, cni_args })
    }
}

/// The pod of a request.
#[derive(Clone, Debug)]
pub(crate) struct PodArgs {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: Option<String>,
    pub(crate) sandbox: String,
}

impl PodArgs {
    /// How the daemon begins errors about this pod.
    pub(crate) fn prefix(&self) -> String {
        let uid = self.uid.as_deref().unwrap_or_default();
        format!("{}/{}/{uid}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bad_bodies_are_refused_in_gos_words() {
        let refused = |body: &str| Request::parse(body.as_bytes()).unwrap_err();
        insta::assert_snapshot!(refused("nope"), @"invalid character 'o' in literal null (expecting 'u')");
        insta::assert_snapshot!(refused("{\"env\":"), @"unexpected end of JSON input");
        insta::assert_snapshot!(refused("[]"), @"json: cannot unmarshal array into Go value of type api.Request");
        insta::assert_snapshot!(refused(r#"{"env":{"A":1}}"#), @"json: cannot unmarshal number into Go struct field Request.env of type string");
        insta::assert_snapshot!(refused(r#"{"config":{}}"#), @"json: cannot unmarshal object into Go struct field Request.config of type []uint8");
        insta::assert_snapshot!(refused(r#"{"config":"e30*"}"#), @"illegal base64 data at input byte 3");
        insta::assert_snapshot!(refused(r#"{"interfaceAttributes":{"ips":"10.1.1.1"}}"#), @"json: cannot unmarshal string into Go struct field DelegateInterfaceAttributes.interfaceAttributes.ips of type []string");
    }

    #[test]
    fn the_environment_is_checked() {
        let refused = |env: Value, config: &str| {
            let body = json!({"env": env, "config": STANDARD.encode(config)}).to_string();
            let request = Request::parse(body.as_bytes()).unwrap();
            let args = request.command_args(&Map::new());
            args.map(|_| ()).and(request.pod().map(|_| ())).unwrap_err()
        };
        let env = |change: &[(&str, &str)]| {
            let mut env = json!({
                "CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c", "CNI_NETNS": "/n",
                "CNI_ARGS": "K8S_POD_NAMESPACE=default;K8S_POD_NAME=web"
            });
            for (key, value) in change {
                match *value {
                    "" => drop(env.as_object_mut().unwrap().remove(*key)),
                    value => env[*key] = value.into(),
                }
            }
            env
        };
        insta::assert_snapshot!(refused(env(&[("CNI_COMMAND", "")]), "{}"), @"unexpected or missing CNI_COMMAND");
        insta::assert_snapshot!(refused(env(&[("CNI_CONTAINERID", "")]), "{}"), @"missing CNI_CONTAINERID");
        insta::assert_snapshot!(refused(env(&[("CNI_NETNS", "")]), "{}"), @"missing CNI_NETNS");
        insta::assert_snapshot!(refused(env(&[("CNI_ARGS", "")]), "{}"), @"missing CNI_ARGS");
        insta::assert_snapshot!(refused(env(&[("CNI_ARGS", "K8S_POD_NAME=web")]), "{}"), @"missing K8S_POD_NAMESPACE");
        insta::assert_snapshot!(refused(env(&[("CNI_ARGS", "K8S_POD_NAMESPACE=default")]), "{}"), @"missing K8S_POD_NAME");
        insta::assert_snapshot!(refused(env(&[("CNI_ARGS", "A=b=c")]), "{}"), @"invalid CNI_ARG 'A=b=c'");
        insta::assert_snapshot!(refused(env(&[("CNI_ARGS", "A")]), "{}"), @"invalid CNI_ARG 'A'");
        insta::assert_snapshot!(refused(env(&[]), ""), @"failed to unmarshall CNI config: unexpected end of JSON input");
        insta::assert_snapshot!(refused(env(&[]), "[]"), @"failed to unmarshall CNI config: json: cannot unmarshal array into Go value of type map[string]interface {}");
    }
}
