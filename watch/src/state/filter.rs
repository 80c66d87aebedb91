//! The filter language: `pod:web step:cni-add >10ms -error`, parsed and applied.

use ndra_core::event::Step;

use super::flow::Flow;

/// What a flow must be to be shown. All terms must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    terms: Vec<(bool, Term)>,
    step: Option<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Term {
    Pod(String),
    Namespace(String),
    Claim(String),
    Node(String),
    Step(Step),
    Error(Option<String>),
    Longer(i64),
    Shorter(i64),
    Text(String),
}

/// Why a filter cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// A key without a value.
    #[error("`{key}:` needs a value, such as {key}:{example}")]
    NoValue {
        /// The key.
        key: &'static str,
        /// A value that would do.
        example: &'static str,
    },
    /// No such step.
    #[error("`{word}` is no step: give 1 to 12 or a name such as cni-add")]
    Step {
        /// What was given.
        word: String,
    },
    /// Not a duration.
    #[error("`{word}` is no duration: give a number and a unit, such as >10ms or <2s")]
    Duration {
        /// What was given.
        word: String,
    },
    /// A key that does not exist.
    #[error("`{key}:` is no key: there are pod, ns, claim, node, step and error")]
    Key {
        /// What was given.
        key: String,
    },
    /// A minus alone.
    #[error("`-` needs something to leave out, such as -error")]
    Nothing,
}

impl Filter {
    /// Reads a filter. Words are separated by spaces; upper and lower case are the same.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let mut filter = Self::default();
        for word in text.split_whitespace() {
            let word = word.to_lowercase();
            let (wanted, rest) = match word.strip_prefix(['-', '!']) {
                Some("") => return Err(FilterError::Nothing),
                Some(rest) => (false, rest),
                None => (true, &*word),
            };
            let term = term(rest)?;
            if let (true, Term::Step(step)) = (wanted, &term) {
                filter.step = Some(*step);
            }
            filter.terms.push((wanted, term));
        }
        Ok(filter)
    }

    /// Does it let everything through?
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Must error texts be looked at?
    pub(crate) fn reads_errors(&self) -> bool {
        self.terms
            .iter()
            .any(|(_, term)| matches!(term, Term::Error(Some(_)) | Term::Text(_)))
    }

    /// Is this flow shown? `errors` holds the texts of its failures, lower case, when
    /// [`Filter::reads_errors`].
    pub(crate) fn shows(&self, flow: &Flow, node: &str, now: i64, errors: &str) -> bool {
        self.terms
            .iter()
            .all(|(wanted, term)| *wanted == self.holds(term, flow, node, now, errors))
    }

    fn holds(&self, term: &Term, flow: &Flow, node: &str, now: i64, errors: &str) -> bool {
        match term {
            Term::Pod(word) => flow.pods.iter().any(|pod| has(pod, word)),
            Term::Namespace(word) => has(flow.pod_namespace(), word) || has(&flow.namespace, word),
            Term::Claim(word) => has(&flow.claim, word) || has(&flow.uid, word),
            Term::Node(word) => has(node, word),
            // With a duration beside it, it says whose duration is meant.
            Term::Step(step) if self.measures() => flow.state.cell(*step).runs > 0,
            Term::Step(step) => flow.state.current() == Some(*step),
            Term::Error(None) => flow.state.ever_failed(),
            Term::Error(Some(word)) => errors.contains(word.as_str()),
            Term::Longer(than) => self.measure(flow, now) > *than,
            Term::Shorter(than) => self.measure(flow, now) < *than,
            Term::Text(word) => {
                flow.pods.iter().any(|pod| has(pod, word))
                    || has(&flow.claim, word)
                    || has(&flow.namespace, word)
                    || has(&flow.uid, word)
                    || has(node, word)
                    || flow
                        .interfaces()
                        .any(|a| has(&a.interface, word) || has(&a.ips, word))
                    || errors.contains(word.as_str())
            }
        }
    }

    fn measures(&self) -> bool {
        self.terms
            .iter()
            .any(|(_, term)| matches!(term, Term::Longer(_) | Term::Shorter(_)))
    }

    fn measure(&self, flow: &Flow, now: i64) -> i64 {
        match self.step {
            Some(step) => {
                let us = flow.state.cell(step).took_us;
                i64::try_from(us).unwrap_or(i64::MAX).saturating_mul(1000)
            }
            None => flow.state.total(now),
        }
    }
}

fn term(word: &str) -> Result<Term, FilterError> {
    if let Some(rest) = word.strip_prefix('>') {
        return Ok(Term::Longer(duration(word, rest)?));
    }
    if let Some(rest) = word.strip_prefix('<') {
        return Ok(Term::Shorter(duration(word, rest)?));
    }
    if word == "error" || word == "failed" {
        return Ok(Term::Error(None));
    }
    let Some((key, value)) = word.split_once(':') else {
        return Ok(Term::Text(word.into()));
    };
    let given = |key, example| match value {
        "" => Err(FilterError::NoValue { key, example }),
        value => Ok(value.to_owned()),
    };
    Ok(match key {
        "pod" => Term::Pod(given("pod", "web")?),
        "ns" | "namespace" => Term::Namespace(given("ns", "default")?),
        "claim" => Term::Claim(given("claim", "net")?),
        "node" => Term::Node(given("node", "worker")?),
        "error" => Term::Error(Some(given("error", "address")?)),
        "step" => Term::Step(step(&given("step", "cni-add")?)?),
        // Addresses and MACs have colons of their own.
        _ if key.is_empty() || key.chars().all(|c| c.is_ascii_hexdigit()) => {
            Term::Text(word.into())
        }
        key => {
            return Err(FilterError::Key {
                key: key.chars().take(32).collect(),
            });
        }
    })
}

fn step(word: &str) -> Result<Step, FilterError> {
    let by_number = word
        .parse::<usize>()
        .ok()
        .and_then(|n| Step::ALL.get(n.checked_sub(1)?).copied());
    by_number
        .or_else(|| word.parse().ok())
        .ok_or_else(|| FilterError::Step {
            word: word.chars().take(32).collect(),
        })
}

/// Nanoseconds of `10ms`, `1.5s`, `2m`.
fn duration(word: &str, text: &str) -> Result<i64, FilterError> {
    let bad = || FilterError::Duration {
        word: word.chars().take(32).collect(),
    };
    let unit = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(unit.ok_or_else(bad)?);
    let number: f64 = number.parse().map_err(|_| bad())?;
    let scale = match unit {
        "us" | "µs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 60e9,
        "h" => 3600e9,
        _ => return Err(bad()),
    };
    #[allow(clippy::cast_possible_truncation)]
    Ok((number * scale) as i64)
}

/// Without regard to the case of ASCII letters; `word` is lower case.
fn has(text: &str, word: &str) -> bool {
    let (text, word) = (text.as_bytes(), word.as_bytes());
    word.is_empty()
        || text
            .windows(word.len())
            .any(|part| part.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_filters_say_how_it_should_be() {
        let words = |text: &str| Filter::parse(text).unwrap_err().to_string();
        insta::assert_snapshot!(words("pod:"), @"`pod:` needs a value, such as pod:web");
        insta::assert_snapshot!(words("a step:dance"), @"`dance` is no step: give 1 to 12 or a name such as cni-add");
        insta::assert_snapshot!(words("step:13"), @"`13` is no step: give 1 to 12 or a name such as cni-add");
        insta::assert_snapshot!(words(">10"), @"`>10` is no duration: give a number and a unit, such as >10ms or <2s");
        insta::assert_snapshot!(words("<fast"), @"`<fast` is no duration: give a number and a unit, such as >10ms or <2s");
        insta::assert_snapshot!(words("color:red"), @"`color:` is no key: there are pod, ns, claim, node, step and error");
        insta::assert_snapshot!(words("-"), @"`-` needs something to leave out, such as -error");
    }

    #[test]
    fn terms_are_read() {
        let terms = |text: &str| Filter::parse(text).unwrap().terms;
        assert_eq!(
            terms("step:8 -ERROR >1.5s"),
            [
                (true, Term::Step(Step::CniAdd)),
                (false, Term::Error(None)),
                (true, Term::Longer(1_500_000_000)),
            ]
        );
        assert_eq!(
            terms("fd00::1"),
            [(true, Term::Text("fd00::1".into()))],
            "an address is free text"
        );
        assert!(Filter::parse("  ").unwrap().is_empty());
    }
}
