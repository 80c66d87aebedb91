//! One thing that is wrong with a field, as every face of ndra shows it.

use std::fmt;

use crate::cni::ConfigError;

/// Something to mend in an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field: `spec.devices.config[0].opaque.parameters.ifName`.
    pub path: String,
    /// What is wrong with it; values in it are bounded and escaped.
    pub message: String,
    /// What to do about it.
    pub mend: String,
}

impl Problem {
    pub(super) fn new(
        path: impl Into<String>,
        message: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
            mend: mend.into(),
        }
    }

    /// A fault of a CNI configuration that stands at `path`.
    pub(super) fn of_config(error: &ConfigError, path: &str) -> Self {
        Self::new(
            join(path, &error.field),
            error.fault.to_string(),
            error.fault.mend(),
        )
    }

    /// The same problem, with its path inside another one.
    #[must_use]
    pub fn inside(mut self, path: &str) -> Self {
        self.path = join(path, &self.path);
        self
    }
}

fn join(path: &str, field: &str) -> String {
    match (path, field) {
        ("", field) => field.to_owned(),
        (path, "") => path.to_owned(),
        (path, field) if field.starts_with('[') => format!("{path}{field}"),
        (path, field) => format!("{path}.{field}"),
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "{}; {}", self.message, self.mend)
    }
}

/// How many problems one error line shows.
const MAX_LISTED: usize = 8;

/// Problems in one line, the first ones in full.
pub(super) fn line(problems: &[Problem]) -> String {
    let mut line = String::new();
    for problem in problems.iter().take(MAX_LISTED) {
        match line.chars().last() {
            None => {}
            Some('?') => line.push_str(" Also "),
            Some(_) => line.push_str(". Also "),
        }
        line.push_str(&problem.to_string());
    }
    if problems.len() > MAX_LISTED {
        let more = problems.len() - MAX_LISTED;
        line.push_str(&format!(" (and {more} more problems)"));
    }
    line
}
