//! The parameters of a request.

use crate::error::{ApiError, Result};
use crate::validate::FieldError;

/// The decoded query of a URL. Empty parts, as in `?&a=b`, are skipped.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(text: &str) -> Query {
        Query(
            text.split('&')
                .filter(|part| !part.is_empty())
                .map(|part| {
                    let (key, value) = part.split_once('=').unwrap_or((part, ""));
                    (decode(key), decode(value))
                })
                .collect(),
        )
    }

    /// The first value of a parameter; empty if it is not there.
    pub(super) fn text(&self, key: &str) -> &str {
        self.0
            .iter()
            .find(|(other, _)| other == key)
            .map_or("", |(_, value)| value)
    }

    pub(super) fn flag(&self, key: &str) -> bool {
        matches!(self.text(key), "true" | "1" | "True" | "TRUE" | "t" | "T")
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<i64>> {
        match self.text(key) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                ApiError::bad_request(format!(
                    "strconv.ParseInt: parsing {text:?}: invalid syntax in {key}"
                ))
            }),
        }
    }

    /// `resourceVersion`; zero and nothing both mean any version.
    pub(super) fn version(&self) -> Result<u64> {
        match self.text("resourceVersion") {
            "" => Ok(0),
            text => text.parse().map_err(|_| {
                ApiError::bad_request(format!(
                    "resourceVersion: Invalid value: {text:?}: must be a number"
                ))
            }),
        }
    }

    /// Whether everything but storing is to be done.
    pub(super) fn dry_run(&self) -> Result<bool> {
        match self.text("dryRun") {
            "" => Ok(false),
            "All" => Ok(true),
            other => Err(ApiError::invalid_options(
                "Options",
                &FieldError::not_supported("dryRun", &other.into(), &["All"]),
            )),
        }
    }
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while let Some(&byte) = bytes.get(index) {
        let hex = bytes
            .get(index + 1..index + 3)
            .and_then(|pair| std::str::from_utf8(pair).ok());
        match (byte, hex.and_then(|pair| u8::from_str_radix(pair, 16).ok())) {
            (b'%', Some(value)) => {
                decoded.push(value);
                index += 3;
                continue;
            }
            (b'+', _) => decoded.push(b' '),
            _ => decoded.push(byte),
        }
        index += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding() {
        let query = Query::parse(
            "&fieldSelector=spec.nodeName%3Da%2Cspec.driver%3Dd&x=a+b&watch=true&bad=%zz%4",
        );
        assert_eq!(query.text("fieldSelector"), "spec.nodeName=a,spec.driver=d");
        assert_eq!(query.text("x"), "a b");
        assert_eq!(query.text("bad"), "%zz%4");
        assert!(query.flag("watch"));
        assert!(!query.flag("force"));
        assert_eq!(query.number("limit").unwrap(), None);
    }
}
