//! Versions as Kubernetes 1.29 takes them from a plugin: numbers, of which it supports 0 and 1.

/// The highest of the plugin's versions that the kubelet supports (`HighestSupportedVersion` of
/// k8s.io/apimachinery's version package).
///
/// # Errors
/// None is: in the kubelet's words.
pub(super) fn highest(plugin: &str, offered: &[String]) -> Result<[u64; 3], String> {
    let failed = format!("ValidatePlugin for DRA plugin {plugin:?} failed.");
    if offered.is_empty() {
        return Err(format!(
            "{failed} Plugin returned an empty list for supported versions"
        ));
    }
    let numbers = offered.iter().filter_map(|text| parse(text));
    let highest = numbers.filter(|version| version[0] <= 1).max();
    highest.ok_or_else(|| {
        let quoted: Vec<String> = offered.iter().map(|text| format!("{text:?}")).collect();
        format!(
            "{failed} None of the versions specified [{}] are supported. err=could not find a \
             highest supported version from versions ([{}]) reported by this plugin",
            quoted.join(" "),
            offered.join(" ")
        )
    })
}

/// `1`, `1.0`, `v1.0.0`; what stands behind the numbers does not count.
fn parse(text: &str) -> Option<[u64; 3]> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let numbers = &text[..end.unwrap_or(text.len())];
    let mut version = [0; 3];
    let mut parts = numbers.split('.');
    for (index, part) in parts.by_ref().take(3).enumerate() {
        version[index] = part.parse().ok()?;
    }
    (numbers.contains('.') && parts.next().is_none()).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(list: &[&str]) -> Result<[u64; 3], String> {
        let list: Vec<String> = list.iter().map(ToString::to_string).collect();
        highest("d.example", &list)
    }

    #[test]
    fn the_highest_of_version_one_is_taken() {
        assert_eq!(of(&["1.0.0"]), Ok([1, 0, 0]));
        assert_eq!(of(&["0.9.0", "v1.2.0", "1.10.1", "2.0.0"]), Ok([1, 10, 1]));
        insta::assert_snapshot!(of(&[]).unwrap_err(), @r#"ValidatePlugin for DRA plugin "d.example" failed. Plugin returned an empty list for supported versions"#);
        insta::assert_snapshot!(of(&["v1.DRAPlugin", "2.0.0"]).unwrap_err(), @r#"ValidatePlugin for DRA plugin "d.example" failed. None of the versions specified ["v1.DRAPlugin" "2.0.0"] are supported. err=could not find a highest supported version from versions ([v1.DRAPlugin 2.0.0]) reported by this plugin"#);
    }
}
