//! `ndra doctor`: what this node lacks for the flow, each as one line with its mend.

mod check;
mod finding;
mod show;

use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;

use crate::duration;
use crate::failure::Failure;
use crate::problem::{Place, Problem};
use crate::settings::DriverOptions;
use finding::Level;

/// Say what this node lacks for the flow.
///
/// Each thing that the flow needs is one line: ok, warn or fail, what was found, and what to
/// do. Run it on a node, or in the driver's container:
/// `kubectl exec -n kube-system ds/network-dra -- ndra doctor`. It changes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 nothing fails (there may be warnings), \
                        1 something fails, 2 wrong usage.")]
pub(crate) struct Args {
    /// How to show the findings.
    #[arg(short, long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    output: Format,
    /// How long each check may take.
    #[arg(long, default_value = "5s", value_name = "DURATION", value_parser = duration::parse)]
    timeout: Duration,
    /// The namespace of the driver's pods; without it, that of this pod, or kube-system.
    #[arg(long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    #[command(flatten)]
    driver: DriverOptions,
}

/// How to show findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

/// Examines the node.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let config = args.driver.config();
    config.check().map_err(|error| {
        Problem::new(
            Place::file("ndra doctor"),
            error.to_string(),
            "`ndra driver --help` lists every option of the driver",
        )
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::run(format!("cannot start threads: {error}"), ""))?;
    let findings = runtime.block_on(check::all(config, args.timeout, args.namespace.clone()));
    // A file system that answers nobody holds its thread for ever; nobody waits for it.
    runtime.shutdown_background();
    match args.output {
        Format::Text => show::text(&findings),
        Format::Json => show::json(&findings),
    }
    let failed = findings.iter().any(|found| found.level == Level::Fail);
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
