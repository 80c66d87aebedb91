//! How a command ends when it does not end well: what is said, and with which exit code.

use std::io::Write;
use std::process::ExitCode;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};

use crate::problem::{Problem, Problems};
use crate::report::Look;

/// Why a command ended.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Wrong usage or bad input: exit 2, and nothing was started or written.
    Input(Vec<Problem>),
    /// It ran, and failed: exit 1.
    Run(Box<Trouble>),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Input(problems) => {
                for (index, problem) in problems.iter().enumerate() {
                    let between = if index == 0 { "" } else { "; " };
                    write!(f, "{between}{problem}")?;
                }
                Ok(())
            }
            Self::Run(trouble) => trouble.fmt(f),
        }
    }
}

/// Something that failed while a command ran, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Trouble {
    message: String,
    mend: String,
}

impl Trouble {
    pub(crate) fn new(message: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            mend: mend.into(),
        }
    }
}

impl Diagnostic for Trouble {
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        (!self.mend.is_empty()).then(|| Box::new(&self.mend) as Box<dyn std::fmt::Display>)
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::Input(problems.0)
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Input(vec![problem])
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        Self::Run(Box::new(trouble))
    }
}

impl Failure {
    /// Something that failed while the command ran.
    pub(crate) fn run(message: impl Into<String>, mend: impl Into<String>) -> Self {
        Trouble::new(message, mend).into()
    }

    /// Says it on standard error.
    pub(crate) fn tell(&self) -> ExitCode {
        match self {
            Self::Input(problems) => {
                for problem in problems {
                    tell(problem);
                }
                ExitCode::from(2)
            }
            Self::Run(trouble) => {
                tell(trouble.as_ref());
                ExitCode::FAILURE
            }
        }
    }
}

/// Shows one problem on standard error, in colour where that is a terminal.
pub(crate) fn tell(problem: &dyn Diagnostic) {
    let theme = match Look::of_locale() {
        Look::UNICODE => GraphicalTheme::unicode(),
        _ => GraphicalTheme {
            styles: miette::ThemeStyles::ansi(),
            ..GraphicalTheme::ascii()
        },
    };
    let mut text = String::new();
    let shown = GraphicalReportHandler::new_themed(theme)
        .with_width(80)
        .render_report(&mut text, problem);
    if shown.is_err() {
        text = format!("{problem}\n");
    }
    // With standard error closed nobody is left to tell; the exit code still says it.
    let _ = anstream::stderr().write_all(text.as_bytes());
}
