//! The forms names may have.

use serde_json::Value;

use super::{Errors, FieldError};

const LABEL_WORDS: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', \
and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', \
regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

const SUBDOMAIN_WORDS: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, \
'-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', \
regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

const QUALIFIED_WORDS: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start \
and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', \
regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

const IDENTIFIER_WORDS: &str = "a valid C identifier must start with alphabetic character or '_', followed by a \
string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', \
regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')";

fn has_label_form(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let outer = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = text.as_bytes();
    bytes.iter().all(|b| inner(*b)) && outer(bytes.first()) && outer(bytes.last())
}

/// An RFC 1123 subdomain of at most 253 bytes.
fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(has_label_form)
}

/// What is wrong with `text` as a DNS label.
pub(super) fn label(errors: &mut Errors, path: &str, text: &str) {
    let shown = Value::from(text);
    if text.len() > 63 {
        errors.push(FieldError::invalid(
            path,
            &shown,
            "must be no more than 63 bytes",
        ));
    }
    if !has_label_form(text) {
        errors.push(FieldError::invalid(path, &shown, LABEL_WORDS));
    }
}

/// What is wrong with `text` as a DNS subdomain.
pub(super) fn subdomain(errors: &mut Errors, path: &str, text: &str) {
    let shown = Value::from(text);
    if text.len() > 253 {
        errors.push(FieldError::invalid(
            path,
            &shown,
            "must be no more than 253 bytes",
        ));
    }
    if !text.split('.').all(has_label_form) {
        errors.push(FieldError::invalid(path, &shown, SUBDOMAIN_WORDS));
    }
}

/// A DRA driver's name: a DNS subdomain of at most 63 bytes; capitals are tolerated.
pub(super) fn driver(errors: &mut Errors, path: &str, text: &str) {
    if text.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    if text.len() > 63 {
        errors.push(FieldError::too_long(path, 63));
    }
    let lower = text.to_lowercase();
    if !lower.split('.').all(has_label_form) {
        errors.push(FieldError::invalid(path, &text.into(), SUBDOMAIN_WORDS));
    }
}

/// A pool's name: DNS subdomains, separated by slashes.
pub(super) fn pool(errors: &mut Errors, path: &str, text: &str) {
    if text.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    if text.len() > 253 {
        errors.push(FieldError::too_long(path, 253));
    }
    for part in text.split('/') {
        subdomain(errors, path, part);
    }
}

/// The name of an attribute or a capacity, perhaps with a domain before it.
pub(super) fn qualified_attribute(errors: &mut Errors, path: &str, text: &str) {
    let parts: Vec<&str> = text.split('/').collect();
    match parts.as_slice() {
        [id] => identifier(errors, path, id),
        [domain, id] => {
            if domain.is_empty() {
                errors.push(FieldError::invalid(
                    path,
                    &"".into(),
                    "the domain must not be empty",
                ));
            } else {
                driver(errors, path, domain);
            }
            if id.is_empty() {
                errors.push(FieldError::invalid(
                    path,
                    &"".into(),
                    "the name must not be empty",
                ));
            } else {
                identifier(errors, path, id);
            }
        }
        _ => errors.push(FieldError::invalid(
            path,
            &text.into(),
            "must not contain more than one slash",
        )),
    }
}

/// As [`qualified_attribute`], and the domain must be there.
pub(super) fn fully_qualified_attribute(errors: &mut Errors, path: &str, text: &str) {
    qualified_attribute(errors, path, text);
    if !text.contains('/') {
        let words = "a fully qualified name must be a domain and a name separated by a slash";
        errors.push(FieldError::invalid(path, &text.into(), words));
    }
}

fn identifier(errors: &mut Errors, path: &str, text: &str) {
    if text.len() > 32 {
        errors.push(FieldError::too_long(path, 32));
    }
    let fits = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && text.bytes().next().is_some_and(|b| !b.is_ascii_digit());
    if !fits {
        errors.push(FieldError::invalid(path, &text.into(), IDENTIFIER_WORDS));
    }
}

fn has_qualified_form(text: &str) -> bool {
    let outer = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes
        .iter()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && outer(bytes.first())
        && outer(bytes.last())
}

/// The key of a label, or the type of a condition.
pub(super) fn qualified_name(errors: &mut Errors, path: &str, text: &str) {
    let shown = Value::from(text);
    let name = match text.split_once('/') {
        Some((prefix, name)) => {
            if prefix.is_empty() {
                errors.push(FieldError::invalid(
                    path,
                    &shown,
                    "prefix part must be non-empty",
                ));
            } else if !is_subdomain(prefix) {
                errors.push(FieldError::invalid(
                    path,
                    &shown,
                    format!("prefix part {SUBDOMAIN_WORDS}"),
                ));
            }
            name
        }
        None => text,
    };
    if name.is_empty() {
        errors.push(FieldError::invalid(
            path,
            &shown,
            "name part must be non-empty",
        ));
    } else if name.len() > 63 {
        errors.push(FieldError::invalid(
            path,
            &shown,
            "name part must be no more than 63 bytes",
        ));
    }
    if !has_qualified_form(name) {
        errors.push(FieldError::invalid(path, &shown, QUALIFIED_WORDS));
    }
}

/// The value of a label.
pub(super) fn label_value(errors: &mut Errors, path: &str, text: &str) {
    if text.len() > 63 {
        errors.push(FieldError::invalid(
            path,
            &text.into(),
            "must be no more than 63 bytes",
        ));
    }
    if !text.is_empty() && !has_qualified_form(text) {
        let words = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', \
regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
        errors.push(FieldError::invalid(path, &text.into(), words));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_subdomains() {
        for good in ["a", "a-b", "0", "slot-12"] {
            assert!(has_label_form(good), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a/b", "é"] {
            assert!(!has_label_form(bad), "{bad}");
        }
        assert!(is_subdomain("dra.networking"));
        assert!(!is_subdomain("dra..networking"));
        assert!(!is_subdomain("../etc"));
    }

    #[test]
    fn words() {
        let mut errors = Errors::new();
        label(&mut errors, "name", "Slot");
        driver(&mut errors, "driver", "");
        pool(&mut errors, "pool", "a//b");
        qualified_attribute(&mut errors, "attributes", "a/b/c");
        fully_qualified_attribute(&mut errors, "matchAttribute", "numa");
        qualified_attribute(&mut errors, "attributes", "x/1a");
        let words: Vec<_> = errors.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(words.join("\n"), @r#"
        name: Invalid value: "Slot": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        driver: Required value
        pool: Invalid value: "": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        attributes: Invalid value: "a/b/c": must not contain more than one slash
        matchAttribute: Invalid value: "numa": a fully qualified name must be a domain and a name separated by a slash
        attributes: Invalid value: "1a": a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')
        "#);
    }
}
