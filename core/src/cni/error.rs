//! What goes wrong when a CNI plugin runs, in words that name the plugin and the mend.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ResultError;
use crate::socket::io_text;

/// An error as a plugin prints it on its standard output (CNI specification, "Error").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{msg}{}", if details.is_empty() { String::new() } else { format!("; {details}") })]
pub struct CniError {
    /// Below 100 the specification's, from 100 the plugin's own.
    #[serde(default)]
    pub code: u32,
    /// What happened, short.
    #[serde(default)]
    pub msg: String,
    /// More of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub details: String,
}

/// A CNI command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Command {
    /// Attach.
    Add,
    /// Verify what an ADD made.
    Check,
    /// Detach.
    Del,
}

impl Command {
    /// The word in `CNI_COMMAND`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Check => "CHECK",
            Self::Del => "DEL",
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Which plugin was to do what, for the texts of [`ExecError`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The command.
    pub command: Command,
    /// The plugin's type.
    pub plugin: String,
    /// The network's name.
    pub network: String,
    /// The interface in the container.
    pub if_name: String,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            command,
            plugin,
            network,
            if_name,
        } = self;
        write!(
            f,
            "CNI plugin `{plugin}`, {command} of {if_name} on network `{network}`"
        )
    }
}

/// Why a network was not added, checked or deleted.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// A name or argument that must not become part of a path, an environment or a
    /// plugin's input.
    #[error("{what} `{}` is refused: {why}", shown(value))]
    Invalid {
        /// Which one, with the words of the specification.
        what: &'static str,
        /// Its value.
        value: String,
        /// The rule.
        why: &'static str,
    },
    /// No such program.
    #[error(
        "{call}: not found in {}: install it there, or name its directory in --cni-path",
        paths(path)
    )]
    NotFound {
        /// What was tried.
        call: Box<Call>,
        /// Where it was looked for.
        path: Vec<PathBuf>,
    },
    /// The program could not be started or talked to.
    #[error("{call}: cannot run {}: {}: check that it is an executable of this machine's kind", program.display(), io_text(source))]
    Run {
        /// What was tried.
        call: Box<Call>,
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It did not end in time; its process group was killed.
    #[error(
        "{call}: no answer after {after:.1?}, killed: DEL before the next ADD, for it may have left something behind"
    )]
    TimedOut {
        /// What was tried.
        call: Box<Call>,
        /// How long it ran.
        after: Duration,
    },
    /// It printed more than is read; its process group was killed.
    #[error(
        "{call}: printed more than {limit} bytes, killed: run it by hand to see what it prints"
    )]
    TooMuchOutput {
        /// What was tried.
        call: Box<Call>,
        /// The bound in bytes.
        limit: usize,
    },
    /// It ended well, but printed no result.
    #[error(
        "{call}: its output is unreadable: {source}; it began with {}",
        shown(output)
    )]
    Unreadable {
        /// What was tried.
        call: Box<Call>,
        /// The begin of what it printed.
        output: String,
        /// Why.
        source: ResultError,
    },
    /// It failed without a CNI error on its standard output.
    #[error(
        "{call}: {status}, without a CNI error on its output: {}",
        shown(output)
    )]
    Crashed {
        /// What was tried.
        call: Box<Call>,
        /// `exit status: 1` or `signal: 9`.
        status: String,
        /// The begin of its output, or of its standard error.
        output: String,
    },
    /// It refused.
    #[error("{call}: {error}")]
    Plugin {
        /// What was tried.
        call: Box<Call>,
        /// In its words.
        error: CniError,
    },
    /// The result cache.
    #[error("the CNI cache {}: {}: check that the directory is writable", path.display(), io_text(source))]
    Cache {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The configuration's version has no such command.
    #[error(
        "network `{network}` has cniVersion {version}, which has no {command}: it needs {least}"
    )]
    NoSuchCommand {
        /// The network.
        network: String,
        /// Its version.
        version: String,
        /// The command.
        command: Command,
        /// The first version that has it.
        least: &'static str,
    },
}

impl ExecError {
    /// The plugin's own error, where it came that far.
    pub fn plugin_error(&self) -> Option<&CniError> {
        match self {
            Self::Plugin { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// One line, at most 200 characters.
fn shown(text: &str) -> String {
    let mut line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(200)
        .collect();
    if line.trim().is_empty() {
        line = "(nothing)".into();
    }
    line.trim().to_owned()
}

fn paths(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
    format!("[{}]", names.join(" "))
}
