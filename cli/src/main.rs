//! The program `ndra`: the driver, the simulation of a node around it, and their tools.

mod args;
mod completions;
mod doctor;
mod driver;
mod duration;
mod events;
mod failure;
mod install_hook;
mod manifest;
#[cfg(feature = "simulate")]
mod mock;
mod operate;
mod problem;
mod report;
#[cfg(feature = "simulate")]
mod scenario;
mod settings;
mod signals;
#[cfg(feature = "simulate")]
mod simulate;
mod validate;
mod watch;
mod witness;

use std::future::Future;
use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};
use failure::Failure;

fn main() -> ExitCode {
    // This program as a child of itself, for what must happen in a process of its own.
    #[cfg(feature = "simulate")]
    if let Some(code) = ndra_netns::helper() {
        return code;
    }
    // Two providers may be linked; without a choice the first TLS connection panics.
    ndra_core::kube::install_crypto();
    let ended = match Args::parse().command {
        #[cfg(feature = "simulate")]
        Command::Simulate(args) => {
            simulate::enter(&args).and_then(|ground| on_runtime(simulate::run(*args, ground)))
        }
        Command::Validate(args) => validate::run(&args),
        Command::Driver(args) => on_runtime(driver::run(*args)),
        Command::Doctor(args) => doctor::run(&args),
        Command::Detach(args) => on_runtime(operate::detach(args)),
        Command::Cleanup(args) => on_runtime(operate::cleanup(args)),
        Command::Events(args) => on_runtime(events::run(*args)),
        Command::Watch(args) => on_runtime(watch::run(*args)),
        // It brings a runtime of its own, made for one short call.
        Command::Hook { args } => Ok(ndra_hook::main(args)),
        Command::InstallHook(args) => install_hook::run(&args),
        // As the hook.
        Command::Witness(args) => Ok(witness::run(args)),
        #[cfg(feature = "simulate")]
        Command::Mock(command) => on_runtime(mock::run(command)),
        Command::Completions { shell } => Ok(completions::run(shell)),
    };
    ended.unwrap_or_else(|failure| failure.tell())
}

fn on_runtime(
    command: impl Future<Output = Result<ExitCode, Failure>>,
) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::run(format!("cannot start threads: {error}"), ""))?;
    runtime.block_on(command)
}
