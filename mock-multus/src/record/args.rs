//! `CNI_ARGS` as a plugin reads it: a plugin knows some keys and refuses others, unless told.

/// The values of `known` keys, in their order; `None` for a key that is not given.
pub(super) fn load<const N: usize>(
    args: &str,
    known: [&str; N],
) -> Result<[Option<String>; N], String> {
    let mut values = [const { None }; N];
    let mut unknown = Vec::new();
    let mut ignore_unknown = false;
    for pair in args.split(';').filter(|_| !args.is_empty()) {
        let parts: Vec<&str> = pair.split('=').collect();
        let [key, value] = parts[..] else {
            return Err(format!("ARGS: invalid pair {pair:?}"));
        };
        if let Some(index) = known.iter().position(|name| *name == key) {
            values[index] = Some(value.to_owned());
        } else if key == "IgnoreUnknown" {
            ignore_unknown = match value.to_lowercase().as_str() {
                "1" | "true" => true,
                "0" | "false" => false,
                other => {
                    return Err(format!(
                        "ARGS: error parsing value of pair {pair:?}: boolean unmarshal error: invalid input {other}"
                    ));
                }
            };
        } else {
            unknown.push(format!("{pair:?}"));
        }
    }
    if !unknown.is_empty() && !ignore_unknown {
        return Err(format!("ARGS: unknown args [{}]", unknown.join(" ")));
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_known_or_ignored() {
        let args = "IgnoreUnknown=true;K8S_POD_NAME=web;MAC=02:00:00:00:00:01";
        let [mac, ip] = load(args, ["MAC", "IP"]).unwrap();
        assert_eq!((mac.as_deref(), ip), (Some("02:00:00:00:00:01"), None));
        assert_eq!(load("", ["MAC"]), Ok([None]));
    }

    #[test]
    fn bad_arguments_are_refused() {
        let refused = |args: &str| load(args, ["IP"]).unwrap_err();
        insta::assert_snapshot!(refused("K8S_POD_NAME=web;A=b"), @r#"ARGS: unknown args ["K8S_POD_NAME=web" "A=b"]"#);
        insta::assert_snapshot!(refused("IP"), @r#"ARGS: invalid pair "IP""#);
        insta::assert_snapshot!(refused("IgnoreUnknown=yes"), @r#"ARGS: error parsing value of pair "IgnoreUnknown=yes": boolean unmarshal error: invalid input yes"#);
    }
}
