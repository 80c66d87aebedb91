//! What a check found, and what to do about it.

use serde::Serialize;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// As the flow needs it.
    Ok,
    /// Some pods will not get what they ask for, or it cannot be told from here.
    Warn,
    /// No pod gets an interface like this.
    Fail,
}

/// One line of the doctor's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// What was looked at: a word.
    pub(super) check: &'static str,
    /// How it is.
    pub(super) level: Level,
    /// What was found.
    pub(super) says: String,
    /// What to do; empty where all is well.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) mend: String,
}

/// As the flow needs it.
pub(super) fn ok(check: &'static str, says: impl Into<String>) -> Finding {
    Finding {
        check,
        level: Level::Ok,
        says: one_line(says.into()),
        mend: String::new(),
    }
}

/// Works for some, or cannot be told.
pub(super) fn warn(
    check: &'static str,
    says: impl Into<String>,
    mend: impl Into<String>,
) -> Finding {
    Finding {
        level: Level::Warn,
        mend: one_line(mend.into()),
        ..ok(check, says)
    }
}

/// Missing or wrong.
pub(super) fn fail(
    check: &'static str,
    says: impl Into<String>,
    mend: impl Into<String>,
) -> Finding {
    Finding {
        level: Level::Fail,
        mend: one_line(mend.into()),
        ..ok(check, says)
    }
}

/// The most characters of a text; what others answered may be long.
const MAX_TEXT: usize = 600;

/// Without line breaks and what a terminal would take for a command.
fn one_line(text: String) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(plain).take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_whatever_others_answered() {
        let found = fail("x", "a\nb\u{1b}[31m", "c\td");
        assert_eq!(
            (found.says.as_str(), found.mend.as_str()),
            ("a b [31m", "c d")
        );
    }
}
