//! What one CNI call is about, and the rules for names that reach a path or an environment.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ExecError;

/// The longest interface name in bytes (`IFNAMSIZ` without the closing NUL).
pub const MAX_IF_NAME: usize = 15;

/// One attachment, as every command about it names it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Invocation {
    /// The sandbox's id (`CNI_CONTAINERID`).
    pub container_id: String,
    /// The network namespace's path (`CNI_NETNS`); `None` when it is gone.
    pub netns: Option<PathBuf>,
    /// The interface in the container (`CNI_IFNAME`).
    pub if_name: String,
    /// Key and value pairs for `CNI_ARGS`, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<(String, String)>,
    /// By capability (`ips`, `mac`, `portMappings` …); a plugin sees in `runtimeConfig` those
    /// that its configuration declares.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub capability_args: Map<String, Value>,
}

impl Invocation {
    /// Checks every name by the rules of the specification (and of libcni).
    pub fn check(&self) -> Result<(), ExecError> {
        let refuse = |what, value: &str, why| {
            Err(ExecError::Invalid {
                what,
                value: value.to_owned(),
                why,
            })
        };
        if !is_name(&self.container_id) {
            return refuse("CNI_CONTAINERID", &self.container_id, NAME_RULE);
        }
        if !is_if_name(&self.if_name) {
            return refuse("CNI_IFNAME", &self.if_name, IF_NAME_RULE);
        }
        for (key, value) in &self.args {
            if key.is_empty() || key.contains(['=', ';', '\0']) {
                return refuse("a key of CNI_ARGS", key, "it is empty or holds `=` or `;`");
            }
            if value.contains(['=', ';', '\0']) {
                return refuse("a value of CNI_ARGS", value, "it holds `=` or `;`");
            }
        }
        Ok(())
    }

    /// The value of `CNI_ARGS`.
    pub fn cni_args(&self) -> String {
        let pairs: Vec<String> = self.args.iter().map(|(k, v)| format!("{k}={v}")).collect();
        pairs.join(";")
    }
}

/// In words, what [`is_name`] asks for.
pub(crate) const NAME_RULE: &str =
    "it must begin with a letter or digit and go on with letters, digits, `_`, `.` or `-`";
const IF_NAME_RULE: &str = "it must have 1 to 15 bytes, without `/`, `:` or white space";

/// Whether `name` may be a network's name or a container id.
pub fn is_name(name: &str) -> bool {
    name.len() <= 255
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

/// Whether the kernel accepts `name` for an interface.
pub fn is_if_name(name: &str) -> bool {
    (1..=MAX_IF_NAME).contains(&name.len())
        && !matches!(name, "." | "..")
        && !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Invocation {
        Invocation {
            container_id: "4f1c".into(),
            netns: Some("/var/run/netns/a".into()),
            if_name: "net1".into(),
            args: vec![("IgnoreUnknown".into(), "true".into())],
            ..Invocation::default()
        }
    }

    #[test]
    fn bad_names_are_refused() {
        assert!(sound().check().is_ok());
        let refused = |change: fn(&mut Invocation)| {
            let mut invocation = sound();
            change(&mut invocation);
            invocation.check().unwrap_err().to_string()
        };
        insta::assert_snapshot!(refused(|i| i.container_id = "../x".into()), @"CNI_CONTAINERID `../x` is refused: it must begin with a letter or digit and go on with letters, digits, `_`, `.` or `-`");
        insta::assert_snapshot!(refused(|i| i.container_id.clear()), @"CNI_CONTAINERID `(nothing)` is refused: it must begin with a letter or digit and go on with letters, digits, `_`, `.` or `-`");
        insta::assert_snapshot!(refused(|i| i.if_name = "a/b".into()), @"CNI_IFNAME `a/b` is refused: it must have 1 to 15 bytes, without `/`, `:` or white space");
        insta::assert_snapshot!(refused(|i| i.if_name = "sixteen-bytes-ab".into()), @"CNI_IFNAME `sixteen-bytes-ab` is refused: it must have 1 to 15 bytes, without `/`, `:` or white space");
        insta::assert_snapshot!(refused(|i| i.args[0].0 = "A=B".into()), @"a key of CNI_ARGS `A=B` is refused: it is empty or holds `=` or `;`");
        insta::assert_snapshot!(refused(|i| i.args[0].1 = "a;K8S_POD_NAME=b".into()), @"a value of CNI_ARGS `a;K8S_POD_NAME=b` is refused: it holds `=` or `;`");
        assert!(!is_if_name("..") && !is_if_name("a b") && is_if_name("fifteen-bytes-a"));
    }
}
