//! `ndra completions`: what a shell needs to complete command lines.

use std::io::Write;
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Args;

/// Prints the completions of every command.
pub(crate) fn run(shell: Shell) -> ExitCode {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "ndra", &mut text);
    // A reader that has gone away wants no more.
    let _ = anstream::stdout().write_all(&text);
    ExitCode::SUCCESS
}
