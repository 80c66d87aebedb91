//! Names of Kubernetes objects, checked, so that none can be taken for an option or a path.

use std::fmt;

/// A DNS label or subdomain as Kubernetes uses them for names (RFC 1123).
///
/// It begins and ends with a letter or digit, so a program that is given one as an
/// argument cannot take it for an option.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// A label: at most 63 lower-case letters, digits and `-`.
    pub fn label(text: &str) -> Option<Self> {
        is_label(text).then(|| Self(text.to_owned()))
    }

    /// A subdomain: labels with dots between them, at most 253 characters.
    pub fn subdomain(text: &str) -> Option<Self> {
        (text.len() <= 253 && text.split('.').all(is_label)).then(|| Self(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

fn is_label(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes
            .iter()
            .all(|byte| alphanumeric(*byte) || *byte == b'-')
        && alphanumeric(bytes[0])
        && alphanumeric(bytes[bytes.len() - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_api_pass() {
        for good in ["a", "kind-worker2", "0", &"a".repeat(63)] {
            assert!(Name::label(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "-a",
            "a-",
            "A",
            "a_b",
            "a.b",
            "a b",
            "a/b",
            "..",
            "$(id)",
            "ä",
            "a\n",
            "a=b",
            &"a".repeat(64),
        ] {
            assert!(Name::label(bad).is_none(), "{bad:?}");
        }
        assert!(Name::subdomain("node-1.example.org").is_some());
        for bad in [
            ".",
            "a..b",
            ".a",
            "a.",
            "a.-b",
            "--help",
            &["a"; 128].join("."),
        ] {
            assert!(Name::subdomain(bad).is_none(), "{bad:?}");
        }
    }
}
