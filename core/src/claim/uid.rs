//! A claim's UID that is safe to become part of a file name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::shown::quoted;

/// The longest UID; a UUID has 36 bytes.
const MAX_UID: usize = 63;

/// A claim's UID: a letter or digit, then letters, digits, `.`, `_` or `-`, 63 bytes at most.
///
/// So it is never empty, `.` or `..`, and has no path separator.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClaimUid(String);

/// The text is no claim UID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{shown} is not the UID of a claim: at most 63 letters, digits, `.`, `_` or `-`, beginning with \
     a letter or digit; take it from `metadata.uid` of the ResourceClaim"
)]
pub struct ClaimUidError {
    shown: String,
}

impl ClaimUid {
    /// The UID as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClaimUid {
    type Err = ClaimUidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let safe = text.len() <= MAX_UID
            && text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if safe {
            Ok(Self(text.to_owned()))
        } else {
            Err(ClaimUidError {
                shown: quoted(text),
            })
        }
    }
}

impl TryFrom<String> for ClaimUid {
    type Error = ClaimUidError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ClaimUid> for String {
    fn from(uid: ClaimUid) -> Self {
        uid.0
    }
}

impl AsRef<str> for ClaimUid {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClaimUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_of_claims_are_accepted() {
        for uid in [
            "0b5e0c5e-5f5b-4c8e-9d4e-0d7c9f0a1b2c",
            "a",
            "7",
            "uid-1",
            "a..b",
        ] {
            assert_eq!(
                uid.parse::<ClaimUid>().map(String::from),
                Ok(uid.to_owned())
            );
        }
        assert!("a".repeat(63).parse::<ClaimUid>().is_ok());
    }

    #[test]
    fn whatever_could_leave_a_directory_is_refused() {
        for uid in [
            "", ".", "..", "../x", "a/b", "a\\b", "a\0b", "-a", "_a", ".a", "a b", "ü", "a\n",
        ] {
            assert!(uid.parse::<ClaimUid>().is_err(), "{uid:?}");
        }
        assert!("a".repeat(64).parse::<ClaimUid>().is_err());
        assert!(serde_json::from_str::<ClaimUid>("\"../etc/passwd\"").is_err());
    }

    #[test]
    fn words() {
        let error = "../../etc/passwd".parse::<ClaimUid>().unwrap_err();
        insta::assert_snapshot!(error, @r#""../../etc/passwd" is not the UID of a claim: at most 63 letters, digits, `.`, `_` or `-`, beginning with a letter or digit; take it from `metadata.uid` of the ResourceClaim"#);
    }
}
