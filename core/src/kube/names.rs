//! Names that come from outside and become part of a URL's path.

/// The longest name, in bytes.
pub(super) const MAX_NAME: usize = 253;

/// Whether `name` is a DNS subdomain, as the names of claims, pods and namespaces are:
/// nothing that could lead to another path of the API.
pub(super) fn is_dns_subdomain(name: &str) -> bool {
    let ends = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    name.len() <= MAX_NAME
        && name.split('.').all(|label| {
            let label = label.as_bytes();
            ends(label.first())
                && ends(label.last())
                && label
                    .iter()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_a_dns_subdomain_passes() {
        for good in ["a", "claim-0", "my.claim", "0", &"a".repeat(253)] {
            assert!(is_dns_subdomain(good), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "../pods",
            "a..b",
            "-a",
            "a-",
            "A",
            "a b",
            "ä",
            "a%2fb",
            "a?b",
            &"a".repeat(254),
        ] {
            assert!(!is_dns_subdomain(bad), "{bad}");
        }
    }
}
