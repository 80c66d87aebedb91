//! `ndra mock`: each mock as a process of its own.

use std::process::ExitCode;

use crate::failure::Failure;

/// Which mock.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// A kubelet.
    Kubelet,
}

/// Runs a mock until SIGTERM or Ctrl-C.
pub(crate) async fn run(command: Command) -> Result<ExitCode, Failure> {
    let _ = command;
    Ok(ExitCode::SUCCESS)
}
