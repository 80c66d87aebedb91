//! Label selectors, equality-based and set-based.

use serde_json::Value;

use crate::error::{ApiError, Result};

/// A parsed `labelSelector`: all requirements must hold. The default selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LabelSelector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
    Greater(i64),
    Less(i64),
}

impl LabelSelector {
    pub(crate) fn parse(text: &str) -> Result<LabelSelector> {
        let requirements: Result<Vec<_>> = split(text)
            .into_iter()
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(|part| {
                requirement(part).ok_or_else(|| {
                    ApiError::bad_request(format!(
                        "unable to parse requirement: {part:?} is not a label requirement"
                    ))
                })
            })
            .collect();
        Ok(LabelSelector(requirements?))
    }

    /// From an object's `LabelSelector`; `None` when it has no requirement or a wrong one.
    pub(crate) fn of(selector: &Value) -> Option<LabelSelector> {
        let mut requirements = Vec::new();
        let labels = selector.get("matchLabels").and_then(Value::as_object);
        for (key, value) in labels.into_iter().flatten() {
            requirements.push(Requirement {
                key: key.clone(),
                test: Test::In(vec![value.as_str()?.to_owned()]),
            });
        }
        let expressions = selector.get("matchExpressions").and_then(Value::as_array);
        for expression in expressions.into_iter().flatten() {
            let values = || -> Option<Vec<String>> {
                let values = expression.get("values")?.as_array()?.iter();
                values
                    .map(|value| Some(value.as_str()?.to_owned()))
                    .collect()
            };
            requirements.push(Requirement {
                key: expression.get("key")?.as_str()?.to_owned(),
                test: match expression.get("operator")?.as_str()? {
                    "In" => Test::In(values()?),
                    "NotIn" => Test::NotIn(values()?),
                    "Exists" => Test::Exists,
                    "DoesNotExist" => Test::Absent,
                    _ => return None,
                },
            });
        }
        (!requirements.is_empty()).then_some(LabelSelector(requirements))
    }

    pub(crate) fn matches(&self, labels: &Value) -> bool {
        self.0.iter().all(|requirement| {
            let value = labels.get(&requirement.key).and_then(Value::as_str);
            match &requirement.test {
                Test::In(wanted) => value.is_some_and(|value| wanted.iter().any(|w| w == value)),
                Test::NotIn(unwanted) => {
                    value.is_none_or(|value| unwanted.iter().all(|w| w != value))
                }
                Test::Exists => value.is_some(),
                Test::Absent => value.is_none(),
                Test::Greater(bound) => number(value).is_some_and(|value| value > *bound),
                Test::Less(bound) => number(value).is_some_and(|value| value < *bound),
            }
        })
    }
}

fn number(value: Option<&str>) -> Option<i64> {
    value.and_then(|value| value.parse().ok())
}

/// Splits at the commas outside of parentheses.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0usize, 0usize);
    for (index, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn requirement(part: &str) -> Option<Requirement> {
    let make = |key: &str, test| {
        is_key(key).then(|| Requirement {
            key: key.to_owned(),
            test,
        })
    };
    if let Some((left, values)) = part.split_once('(') {
        let values: Vec<String> = values
            .strip_suffix(')')?
            .split(',')
            .map(|value| value.trim().to_owned())
            .collect();
        let mut words = left.split_whitespace();
        let (key, operator) = (words.next()?, words.next()?);
        let test = match operator {
            "in" => Test::In(values),
            "notin" => Test::NotIn(values),
            _ => return None,
        };
        return if words.next().is_none() {
            make(key, test)
        } else {
            None
        };
    }
    // The longest operators first: `!=` and `==` contain `=`.
    for (operator, negated) in [("!=", true), ("==", false), ("=", false)] {
        if let Some((key, value)) = part.split_once(operator) {
            let values = vec![value.trim().to_owned()];
            let test = if negated {
                Test::NotIn(values)
            } else {
                Test::In(values)
            };
            return make(key.trim(), test);
        }
    }
    if let Some((key, bound)) = part.split_once('>') {
        return make(key.trim(), Test::Greater(bound.trim().parse().ok()?));
    }
    if let Some((key, bound)) = part.split_once('<') {
        return make(key.trim(), Test::Less(bound.trim().parse().ok()?));
    }
    match part.strip_prefix('!') {
        Some(key) => make(key.trim(), Test::Absent),
        None => make(part, Test::Exists),
    }
}

fn is_key(key: &str) -> bool {
    !key.is_empty()
        && key.len() <= 317
        && key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn selects(selector: &str) -> bool {
        let labels = json!({"app": "web", "tier": "front", "size": "7"});
        LabelSelector::parse(selector).unwrap().matches(&labels)
    }

    #[test]
    fn equality() {
        assert!(selects(""));
        assert!(selects("app=web"));
        assert!(selects("app==web,tier = front"));
        assert!(!selects("app=web,tier=back"));
        assert!(selects("app!=db"));
        assert!(
            selects("other!=db"),
            "an absent label is different from any value"
        );
    }

    #[test]
    fn sets() {
        assert!(selects("app in (web, db)"));
        assert!(!selects("app notin (web,db)"));
        assert!(selects("other notin (x)"));
        assert!(selects("app"));
        assert!(!selects("!app"));
        assert!(selects("!other,size>6,size<8"));
        assert!(!selects("size>7"));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            "a b",
            "app in web",
            "app in (web",
            "=x",
            "a in b in (c)",
            "size>x",
        ] {
            assert!(LabelSelector::parse(bad).is_err(), "{bad}");
        }
        let error = LabelSelector::parse("a b").unwrap_err();
        insta::assert_snapshot!(error, @r#"unable to parse requirement: "a b" is not a label requirement"#);
    }
}
