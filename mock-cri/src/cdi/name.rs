//! Which names CDI allows: for vendors, classes, devices, and annotations that ask for them.

/// Is this `vendor/class=name`, each part well formed?
pub(super) fn is_qualified(text: &str) -> bool {
    let parts = text
        .split_once('=')
        .and_then(|(kind, name)| Some((kind.split_once('/')?, name)));
    parts.is_some_and(|((vendor, class), name)| {
        vendor_or_class(vendor).is_ok() && vendor_or_class(class).is_ok() && device(name).is_ok()
    })
}

/// Letters, digits, `-`, `_` and `.`; the first is a letter, the last is none of the signs.
pub(super) fn vendor_or_class(text: &str) -> Result<(), String> {
    plain(text, u8::is_ascii_alphabetic, b"-_.")
}

/// As [`vendor_or_class`], but `:` may stand in it, and a digit first.
pub(super) fn device(text: &str) -> Result<(), String> {
    plain(text, u8::is_ascii_alphanumeric, b"-_.:")
}

fn plain(text: &str, first: fn(&u8) -> bool, signs: &[u8]) -> Result<(), String> {
    let bytes = text.as_bytes();
    let (Some(begin), Some(end)) = (bytes.first(), bytes.last()) else {
        return Err("the name is empty".into());
    };
    if !first(begin) || !end.is_ascii_alphanumeric() {
        return Err("the name begins or ends with a sign that may not stand there".into());
    }
    let bad = text.chars().find(|c| match u8::try_from(*c) {
        Ok(byte) => !byte.is_ascii_alphanumeric() && !signs.contains(&byte),
        Err(_) => true,
    });
    match bad {
        Some(c) => Err(format!("{c:?} may not stand in a name")),
        None => Ok(()),
    }
}

/// Is this a key of an annotation, as the Kubernetes API has them?
pub(super) fn is_annotation(key: &str) -> bool {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let label = |text: &str, most: usize, signs: &[u8]| {
        text.len() <= most && plain(text, u8::is_ascii_alphanumeric, signs).is_ok()
    };
    let prefix_ok = prefix.is_none_or(|prefix| {
        prefix.len() <= 253 && prefix.split('.').all(|part| label(part, 63, b"-"))
    });
    prefix_ok && label(name, 63, b"-_.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a/b=c", "ndra.test/claim=1", "a/b.c=x:y_z-0", "A-1/b=C"] {
            assert!(is_qualified(good), "{good}");
        }
        for bad in [
            "",
            "a",
            "a/b",
            "a=b",
            "/b=c",
            "a/=c",
            "a/b=",
            "1/b=c",
            "a/b=c=d",
            "a/b/c=d",
            "a./b=c",
            "a/b=c d",
            "a/b=ä",
            "a/b=c\0",
            "../../etc=passwd",
        ] {
            assert!(!is_qualified(bad), "{bad}");
        }
        assert!(is_annotation("a.b-c/d_e.f") && is_annotation("x"));
        let long = "x".repeat(64);
        for bad in ["", "/x", "a/", "a b", "a/b/c", "-a", "a_b/c", &long] {
            assert!(!is_annotation(bad), "{bad}");
        }
    }
}
