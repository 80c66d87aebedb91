//! The command line: its commands, and where each is carried out.

use std::ffi::OsString;

use clap::{Parser, Subcommand};

use crate::{doctor, driver, events, install_hook, operate, validate, watch, witness};
#[cfg(feature = "simulate")]
use crate::{mock, simulate};

/// See and test a Kubernetes network driver for Dynamic Resource Allocation.
///
/// Without a cluster, `ndra simulate` runs the whole flow on this machine: a ResourceClaim
/// becomes an interface in a pod, and every step is shown.
#[derive(Debug, Parser)]
#[command(
    name = "ndra",
    version,
    arg_required_else_help = true,
    subcommand_required = true,
    after_help = "Exit codes: 0 as expected, 1 the flow failed or left something behind, \
                  2 wrong usage or bad input."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[cfg(feature = "simulate")]
    Simulate(Box<simulate::Args>),
    Validate(validate::Args),
    Driver(Box<driver::Args>),
    Doctor(doctor::Args),
    Detach(operate::Detach),
    Cleanup(operate::Cleanup),
    Events(Box<events::Args>),
    Watch(Box<watch::Args>),
    /// Be the OCI hook: read a container's OCI state on stdin and ask the driver for its
    /// interfaces.
    ///
    /// The same code as the program `ndra-hook`, which is small and static and made for
    /// real runtimes. `ndra hook --help` lists its options.
    #[command(disable_help_flag = true)]
    Hook {
        /// The hook's own options.
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "OPTIONS"
        )]
        args: Vec<OsString>,
    },
    InstallHook(install_hook::Args),
    /// Be the hook, and tell a simulation of it.
    #[command(hide = true)]
    Witness(witness::Args),
    /// Run one of the mocks as a process of its own, until Ctrl-C or SIGTERM.
    #[cfg(feature = "simulate")]
    #[command(subcommand, arg_required_else_help = true)]
    Mock(mock::Command),
    /// Print the completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}
