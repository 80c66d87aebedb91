//! What is wrong with something the user gave: where it stands, what it is, how to mend it.

use std::fmt;
use std::ops::{Deref, DerefMut};

use serde::Serialize;

/// How much a problem matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Nothing is run with it.
    Error,
    /// It runs, but hardly as the user expects.
    Warning,
}

/// Where a problem stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Place {
    /// The file as the user named it.
    pub(crate) file: String,
    /// The line, counted from 1, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<u64>,
    /// The document of the file, counted from 1, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) document: Option<usize>,
}

impl Place {
    /// A whole file.
    pub(crate) fn file(name: impl Into<String>) -> Self {
        Self {
            file: name.into(),
            line: None,
            document: None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(document) = self.document {
            write!(f, " (document {document})")?;
        }
        Ok(())
    }
}

/// One problem with the user's input. Boxed, because it travels as the error of functions
/// that mostly succeed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(transparent)]
#[error("{}", self.text())]
pub(crate) struct Problem(Box<Parts>);

/// What a problem consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Parts {
    pub(crate) severity: Severity,
    #[serde(flatten)]
    pub(crate) place: Place,
    /// `Kind namespace/name`, where the problem lies in one object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) object: Option<String>,
    /// The field's path in the object or file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) field: Option<String>,
    /// What is wrong.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) mend: String,
}

impl Deref for Problem {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl DerefMut for Problem {
    fn deref_mut(&mut self) -> &mut Parts {
        &mut self.0
    }
}

impl Problem {
    /// An error at `place`.
    pub(crate) fn new(place: Place, message: impl Into<String>, mend: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            severity: Severity::Error,
            place,
            object: None,
            field: None,
            message: message.into(),
            mend: mend.into(),
        }))
    }

    /// Lies in this object.
    pub(crate) fn object(mut self, object: impl Into<String>) -> Self {
        self.object = Some(object.into());
        self
    }

    /// Lies in this field.
    pub(crate) fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Is no more than a warning.
    pub(crate) fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    pub(crate) fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    fn text(&self) -> String {
        let mut text = self.place.to_string();
        if let Some(object) = &self.object {
            text.push_str(": ");
            text.push_str(object);
        }
        if let Some(field) = &self.field {
            text.push_str(": ");
            text.push_str(field);
        }
        format!("{text}: {}", self.message)
    }
}

impl miette::Diagnostic for Problem {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        (!self.mend.is_empty()).then(|| Box::new(&self.mend) as Box<dyn fmt::Display>)
    }
}

/// Everything that is wrong with the user's input; at least one problem.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}
