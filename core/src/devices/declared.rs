//! A list of interfaces in a file, for nodes without a kernel's: simulations and tests.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::Interface;

/// The longest file that is read, in bytes.
const MAX_SIZE: u64 = 1024 * 1024;

/// Why the list cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot use the list of interfaces {}: {reason}", path.display())]
pub struct DeclaredError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub reason: String,
}

/// Reads a JSON array of interfaces.
pub(super) fn read(path: &Path) -> Result<Vec<Interface>, DeclaredError> {
    let fail = |reason: String| DeclaredError {
        path: path.to_owned(),
        reason,
    };
    let io = |error: std::io::Error| fail(crate::socket::io_text(&error));
    let mut text = Vec::new();
    let file = File::open(path).map_err(io)?;
    file.take(MAX_SIZE + 1).read_to_end(&mut text).map_err(io)?;
    if text.len() as u64 > MAX_SIZE {
        return Err(fail(format!("it is longer than {MAX_SIZE} bytes")));
    }
    let found: Vec<Interface> =
        serde_json::from_slice(&text).map_err(|error| fail(error.to_string()))?;
    let mut names = BTreeSet::new();
    for interface in &found {
        if !crate::cni::is_if_name(&interface.name) {
            let name = crate::shown::quoted(&interface.name);
            return Err(fail(format!("{name} is no interface name")));
        }
        if !names.insert(&interface.name) {
            return Err(fail(format!("{} is there twice", interface.name)));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list");
        std::fs::write(&path, text).unwrap();
        match read(&path) {
            Ok(found) => format!("{} interfaces", found.len()),
            Err(error) => error.reason,
        }
    }

    #[test]
    fn a_list_is_checked() {
        assert_eq!(
            words(r#"[{"name": "eth0", "defaultRoute": true}]"#),
            "1 interfaces"
        );
        insta::assert_snapshot!(words(r#"[{"name": "a b"}]"#), @r#""a b" is no interface name"#);
        insta::assert_snapshot!(words(r#"[{"name": "a"}, {"name": "a"}]"#), @"a is there twice");
        insta::assert_snapshot!(words(r#"[{"name": "a", "colour": 1}]"#), @"unknown field `colour`, expected one of `name`, `kind`, `driver`, `mac`, `mtu`, `state`, `speed`, `pciBusId`, `pcieRoot`, `numaNode`, `defaultRoute`, `portOf`, `vlan`, `bridge` at line 1 column 23");
    }
}
