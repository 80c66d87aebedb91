//! CNI specification versions: which are spoken, and how they compare.

/// Versions that configurations and results may have, oldest first.
///
/// 0.1.0 and 0.2.0 have another result format (no interfaces) and are not spoken.
pub const SUPPORTED: [&str; 5] = super::VERSIONS;

/// The version that results are normalized to.
pub const LATEST: &str = "1.1.0";

/// Whether `version` is one of [`SUPPORTED`].
pub fn is_supported(version: &str) -> bool {
    SUPPORTED.contains(&version)
}

/// Whether `version` is `least` or newer; `None` where one of the two is not spoken.
pub fn at_least(version: &str, least: &str) -> Option<bool> {
    let place = |wanted: &str| SUPPORTED.iter().position(|v| *v == wanted);
    Some(place(version)? >= place(least)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_age() {
        assert_eq!(at_least("0.3.1", "0.4.0"), Some(false));
        assert_eq!(at_least("0.4.0", "0.4.0"), Some(true));
        assert_eq!(at_least("1.1.0", "0.4.0"), Some(true));
        assert_eq!(at_least("9.9.9", "0.4.0"), None);
        assert!(is_supported(LATEST) && !is_supported("0.2.0"));
    }
}
