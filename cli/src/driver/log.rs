//! What the driver logs, and how: on standard error, for people or for programs.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

use crate::problem::{Place, Problem};

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Logs from now on.
pub(super) fn init(log: &str, format: LogFormat) -> Result<(), Problem> {
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter(log)?)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    Ok(())
}

/// The client's own word of a failed request names neither the request nor the claim; the
/// driver says both.
fn filter(log: &str) -> Result<EnvFilter, Problem> {
    EnvFilter::try_new(format!("kube_client::client::builder=off,{log}")).map_err(|error| {
        Problem::new(
            Place::file("--log"),
            format!("is no filter: {error}"),
            "write error, warn, info, debug or trace, or MODULE=LEVEL with `,` between",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_request_is_told_once_whatever_is_logged() {
        for log in ["info", "ndra_core=debug", "debug"] {
            let filter = filter(log).unwrap().to_string();
            assert!(
                filter.contains("kube_client::client::builder=off"),
                "{filter}"
            );
            assert!(filter.contains(log), "{filter}");
        }
        assert!(filter("ndra_core=loud").is_err());
    }
}
