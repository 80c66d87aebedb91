//! YAML and JSON with strict budgets, so that a hostile file costs neither memory nor stack.

#[cfg(feature = "simulate")]
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{Error, Options, Spanned};

use crate::problem::{Place, Problem};

/// Documents in one file.
const MAX_DOCUMENTS: usize = 1000;
/// Levels of nesting. Kubernetes objects need some 15.
const MAX_DEPTH: usize = 64;
/// Values in one file.
const MAX_NODES: usize = 200_000;
/// Values that aliases may add.
const MAX_REPLAYED: usize = 10_000;

/// One document of a file.
pub(crate) struct Document {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// The documents in `text`, those that are empty left out.
pub(crate) fn documents(name: &str, text: &str) -> Result<Vec<Document>, Problem> {
    let values: Vec<Spanned<Value>> = serde_saphyr::from_multiple_with_options(text, options())
        .map_err(|error| problem(name, &error))?;
    let several = values.len() > 1;
    Ok(values
        .into_iter()
        .enumerate()
        .map(|(index, spanned)| Document {
            place: Place {
                file: name.to_owned(),
                line: Some(spanned.referenced.line()),
                document: several.then_some(index + 1),
            },
            value: spanned.value,
        })
        .collect())
}

/// The one document of `text` as a `T`, unknown keys and wrong types refused where `T` does.
#[cfg(feature = "simulate")]
pub(crate) fn typed<T: DeserializeOwned>(name: &str, text: &str) -> Result<T, Problem> {
    serde_saphyr::from_str_with_options(text, options()).map_err(|error| problem(name, &error))
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: MAX_DOCUMENTS,
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_REPLAYED,
        },
        with_snippet: false,
    }
}

fn problem(name: &str, error: &Error) -> Problem {
    let error = error.without_snippet();
    let mut place = Place::file(name);
    place.line = error
        .location()
        .map(|location| location.line())
        .filter(|line| *line > 0);
    let (message, mend) = match error {
        Error::Budget { breach, .. } => match breach {
            BudgetBreach::Depth { .. } => too_deep(),
            BudgetBreach::Documents { .. } => (
                format!("holds more than {MAX_DOCUMENTS} documents"),
                "split the file".into(),
            ),
            BudgetBreach::Aliases { .. } | BudgetBreach::AliasAnchorRatio { .. } => alias_bomb(),
            _ => (
                format!("holds more than {MAX_NODES} values"),
                "split the file".into(),
            ),
        },
        Error::AliasReplayCounterOverflow { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => alias_bomb(),
        other => in_words(&other.to_string()),
    };
    Problem::new(place, message, mend)
}

fn too_deep() -> (String, String) {
    (
        format!("is nested more than {MAX_DEPTH} levels deep"),
        "Kubernetes objects are not that deep: check the file".into(),
    )
}

fn alias_bomb() -> (String, String) {
    (
        format!("its aliases stand for more than {MAX_REPLAYED} values"),
        "write the values out instead of repeating them by alias".into(),
    )
}

/// The parser's words without the position, which [`Place`] gives, and without advice to
/// its callers.
fn in_words(text: &str) -> (String, String) {
    let first = text.lines().next().unwrap_or_default();
    if first.contains("alias replay limit") || first.contains("alias expansion limit") {
        return alias_bomb();
    }
    if first.contains("recursion limit") {
        return too_deep();
    }
    let end = [" at line ", ", set DuplicateKeyPolicy"]
        .iter()
        .filter_map(|tail| first.find(tail))
        .min()
        .unwrap_or(first.len());
    let message: String = first[..end]
        .trim_start_matches("error: ")
        .trim_end_matches([',', ':'])
        .chars()
        .take(400)
        .collect();
    (message, "correct the YAML (or JSON) there".into())
}
