//! Asks the driver, and goes on asking while it is away: a container start must not
//! fail because the driver is being restarted.

use std::io;
use std::time::{Duration, Instant};

use tokio::runtime;
use tokio::time::{sleep, timeout_at};
use tonic::{Code, Request, Status};

use crate::error::HookError;
use crate::options::Options;
use crate::wire::{self, CreateContainerRequest, Lost};

/// Between the first two tries; each further wait is twice as long, up to the next.
/// A try on a missing socket costs microseconds, so a container start need not lie
/// waiting long after the driver is back.
const FIRST_WAIT: Duration = Duration::from_millis(10);
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// A cancellation this short before the deadline is the deadline: the driver's
/// server heeds it too, and its clock may be a tick ahead.
const DEADLINE_SLACK: Duration = Duration::from_millis(20);

/// Makes the call and waits for the answer, until `deadline`.
pub(crate) fn create_container(
    options: &Options,
    state: Vec<u8>,
    deadline: Instant,
) -> Result<(), HookError> {
    let request = CreateContainerRequest {
        claim_uid: options.claim_uid.to_string(),
        oci_state: state.into(),
        hook_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    // Every task of every try lives in this runtime and ends with it.
    let runtime = runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(HookError::Resources)?;
    runtime.block_on(async {
        let mut stage = Stage::Away(String::new());
        let trying = keep_trying(options, &request, deadline, &mut stage);
        match timeout_at(deadline.into(), trying).await {
            Ok(answer) => answer,
            Err(_) => Err(stage.at_deadline(options)),
        }
    })
}

/// How far the call has come, for the message when time runs out.
enum Stage {
    /// Nobody to ask, and why.
    Away(String),
    /// Somebody was asked, and what was known before.
    Asked { since: Instant, before: String },
}

/// A driver that was asked so shortly before the deadline is not silent: what it said,
/// or why it was away, when it was asked before tells more.
const TOO_SHORT: Duration = Duration::from_millis(250);

impl Stage {
    fn at_deadline(self, options: &Options) -> HookError {
        let (socket, timeout) = (options.socket.clone(), options.timeout);
        match self {
            Self::Asked {
                since,
                before: reason,
            } if !reason.is_empty() && since.elapsed() < TOO_SHORT => HookError::DriverAway {
                socket,
                timeout,
                reason,
            },
            Self::Away(reason) => HookError::DriverAway {
                socket,
                timeout,
                reason: if reason.is_empty() {
                    "no time was left to ask".to_owned()
                } else {
                    reason
                },
            },
            Self::Asked { .. } => HookError::DriverSilent { socket, timeout },
        }
    }
}

/// Why one try brought no good answer.
enum Failed {
    /// The driver is away and may come back.
    Away(String),
    /// Another try would end the same way.
    ForGood(HookError),
}

async fn keep_trying(
    options: &Options,
    request: &CreateContainerRequest,
    deadline: Instant,
    stage: &mut Stage,
) -> Result<(), HookError> {
    let mut wait = FIRST_WAIT;
    loop {
        match ask(options, request, deadline, stage).await {
            Ok(()) => return Ok(()),
            Err(Failed::ForGood(error)) => return Err(error),
            Err(Failed::Away(reason)) => *stage = Stage::Away(reason),
        }
        sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// One connection, one call.
async fn ask(
    options: &Options,
    request: &CreateContainerRequest,
    deadline: Instant,
    stage: &mut Stage,
) -> Result<(), Failed> {
    let mut driver = wire::connect(options.socket.as_path())
        .await
        .map_err(|error| not_connected(options, &error))?;
    let before = match std::mem::replace(stage, Stage::Away(String::new())) {
        Stage::Away(reason) | Stage::Asked { before: reason, .. } => reason,
    };
    *stage = Stage::Asked {
        since: Instant::now(),
        before,
    };
    let mut request = Request::new(request.clone());
    // The driver need not work on for somebody who has left.
    request.set_timeout(deadline.saturating_duration_since(Instant::now()));
    match driver.create_container(request).await {
        Ok(_) => Ok(()),
        Err(status) => Err(refused(options, &status, deadline)),
    }
}

fn not_connected(options: &Options, error: &io::Error) -> Failed {
    let reason = match error.kind() {
        io::ErrorKind::NotFound => "no such socket".to_owned(),
        io::ErrorKind::WouldBlock => "too many callers are waiting".to_owned(),
        // The kinds' names are the same on every system, the errors' texts are not.
        kind => kind.to_string(),
    };
    match error.kind() {
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::InvalidInput => Failed::ForGood(HookError::Unreachable {
            socket: options.socket.clone(),
            reason,
        }),
        _ => Failed::Away(reason),
    }
}

fn refused(options: &Options, status: &Status, deadline: Instant) -> Failed {
    if let Some(lost) = Lost::behind(status) {
        return Failed::Away(format!("the call broke off: {lost}"));
    }
    let left = deadline.saturating_duration_since(Instant::now());
    let message = status.message().trim();
    match status.code() {
        Code::Unavailable if message.is_empty() => {
            Failed::Away("it said that it is unavailable".to_owned())
        }
        Code::Unavailable => Failed::Away(format!("it said: {message}")),
        Code::Cancelled if left < DEADLINE_SLACK => Failed::ForGood(HookError::DriverSilent {
            socket: options.socket.clone(),
            timeout: options.timeout,
        }),
        code if message.is_empty() => Failed::ForGood(HookError::DriverCode {
            socket: options.socket.clone(),
            code: format!("{code:?}"),
        }),
        _ => Failed::ForGood(HookError::Driver(message.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the user reads when a status comes this long before the deadline.
    fn said(status: &Status, left: Duration) -> String {
        let options = Options {
            claim_uid: "u1".parse().unwrap(),
            socket: "/run/hook.sock".parse().unwrap(),
            timeout: "25s".parse().unwrap(),
        };
        match refused(&options, status, Instant::now() + left) {
            Failed::ForGood(error) => error.to_string(),
            Failed::Away(reason) => format!("again: {reason}"),
        }
    }

    #[test]
    fn the_driver_s_clock_does_not_change_the_words() {
        let cancelled = Status::cancelled("Timeout expired");
        insta::assert_snapshot!(
            said(&cancelled, Duration::ZERO),
            @"the driver on /run/hook.sock took the connection but did not answer within 25s; see what it waits for in the driver's log on this node"
        );
        assert_eq!(said(&cancelled, Duration::from_secs(9)), "Timeout expired");
        let deadline = Status::deadline_exceeded("CNI ADD took longer than 20s");
        assert_eq!(said(&deadline, Duration::ZERO), deadline.message());
    }

    #[test]
    fn unavailable_needs_no_words() {
        insta::assert_snapshot!(
            said(&Status::unavailable(" "), Duration::ZERO),
            @"again: it said that it is unavailable"
        );
    }
}
