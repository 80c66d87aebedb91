//! Patterns of interface names, as rules and flags have them.

use std::fmt;
use std::str::FromStr;

/// A name with `*` for any characters and `?` for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

/// Not a pattern of interface names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no pattern of interface names: 1 to 64 characters without `/` or space, with `*` for \
     any characters and `?` for one"
)]
pub struct PatternError(String);

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let wrong = |c: char| c == '/' || c.is_whitespace() || c.is_control();
        if text.is_empty() || text.chars().count() > 64 || text.contains(wrong) {
            return Err(PatternError(text.chars().take(80).collect()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Pattern {
    /// Whether a name fits it.
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name): (Vec<char>, Vec<char>) =
            (self.0.chars().collect(), name.chars().collect());
        // Where to go on when what followed the last star did not fit.
        let mut star: Option<(usize, usize)> = None;
        let (mut p, mut n) = (0, 0);
        while n < name.len() {
            match pattern.get(p) {
                Some('*') => {
                    star = Some((p + 1, n));
                    p += 1;
                }
                Some(c) if *c == '?' || *c == name[n] => {
                    p += 1;
                    n += 1;
                }
                _ => {
                    let Some((after, taken)) = star else {
                        return false;
                    };
                    star = Some((after, taken + 1));
                    (p, n) = (after, taken + 1);
                }
            }
        }
        pattern[p..].iter().all(|c| *c == '*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks() {
        let fits = |pattern: &str, name: &str| pattern.parse::<Pattern>().unwrap().matches(name);
        assert!(fits("eth0", "eth0") && !fits("eth0", "eth01") && !fits("eth0", "eth"));
        assert!(fits("eth*", "eth") && fits("eth*", "eth12") && !fits("eth*", "ens1"));
        assert!(fits("en?f*np1", "en5f0np1") && !fits("en?f*np1", "enf0np1"));
        assert!(fits("*a*ab", "xaaab") && !fits("*a*ab", "xaaa"));
        assert!(fits("*", "x") && fits("?", "é") && !fits("?", "éé"));
        // No exponential time.
        assert!(!fits(&"*a".repeat(32), &"b".repeat(15)));
    }

    #[test]
    fn nonsense_is_refused_in_these_words() {
        insta::assert_snapshot!("a/b".parse::<Pattern>().unwrap_err(), @r#""a/b" is no pattern of interface names: 1 to 64 characters without `/` or space, with `*` for any characters and `?` for one"#);
        assert!("".parse::<Pattern>().is_err() && "a b".parse::<Pattern>().is_err());
    }
}
