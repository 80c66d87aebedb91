//! What can go wrong between the runtime and the driver, in the words that a user
//! reads in the pod's events.

use std::io;

use crate::args::UsageError;
use crate::options::{OptionError, SocketPath, Timeout};

/// Why the container must not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HookError {
    /// The command line is wrong.
    #[error("{0}")]
    Usage(String),
    /// The OCI state cannot be had from stdin, or is none.
    #[error(transparent)]
    State(#[from] StateError),
    /// Nothing answered on the socket until the deadline.
    #[error(
        "the driver did not answer on {socket} within {timeout} ({reason}); \
         is the ndra driver running on this node?"
    )]
    DriverAway {
        /// Where the driver was looked for.
        socket: SocketPath,
        /// How long.
        timeout: Timeout,
        /// How the last try failed.
        reason: String,
    },
    /// Something listens on the socket, but says nothing.
    #[error(
        "the driver on {socket} took the connection but did not answer within {timeout}; \
         see what it waits for in the driver's log on this node"
    )]
    DriverSilent {
        /// Where the driver was asked.
        socket: SocketPath,
        /// How long.
        timeout: Timeout,
    },
    /// The socket cannot be reached, and waiting would not change that.
    #[error(
        "the driver's socket {socket} cannot be reached ({reason}); \
         check the path and its owner on this node"
    )]
    Unreachable {
        /// Where the driver was looked for.
        socket: SocketPath,
        /// The system's reason.
        reason: String,
    },
    /// The driver refused; these are its own words.
    #[error("{0}")]
    Driver(String),
    /// The driver refused and said nothing more than a gRPC code.
    #[error(
        "the driver on {socket} answered {code} without a reason; \
         check that driver and hook (version {version}) belong together",
        version = env!("CARGO_PKG_VERSION")
    )]
    DriverCode {
        /// Where the driver was asked.
        socket: SocketPath,
        /// The name of the gRPC code.
        code: String,
    },
    /// The system refused what every program needs.
    #[error(
        "the hook cannot wait for the driver ({0}); has this node run out of file descriptors or memory?"
    )]
    Resources(#[source] io::Error),
}

impl From<UsageError> for HookError {
    fn from(error: UsageError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<OptionError> for HookError {
    fn from(error: OptionError) -> Self {
        Self::Usage(error.to_string())
    }
}

/// What is wrong with the OCI state on stdin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Nothing but white space.
    #[error(
        "the OCI state on stdin is empty; an OCI runtime runs this program and writes the state there"
    )]
    Empty,
    /// More than the hook reads.
    #[error(
        "the OCI state on stdin is larger than 1 MiB; look for very large annotations on the pod"
    )]
    TooLarge,
    /// JSON so far, but it ends too early.
    #[error(
        "the OCI state on stdin breaks off after {bytes} bytes; see the container runtime's log"
    )]
    Truncated {
        /// How many bytes came.
        bytes: usize,
    },
    /// Not JSON.
    #[error(
        "the OCI state on stdin is not JSON ({reason}); an OCI runtime runs this program and writes the state there"
    )]
    NotJson {
        /// What the parser stumbled over, and where.
        reason: String,
    },
    /// JSON, but a list, a number, a string …
    #[error(
        "the OCI state on stdin is not a JSON object; an OCI runtime runs this program and writes the state there"
    )]
    NotObject,
    /// The field that every OCI state has is not there, or not a text.
    #[error(
        "the OCI state on stdin has no container id (field `id`); see the container runtime's log"
    )]
    NoId,
    /// Stdin was still open at the deadline.
    #[error(
        "the OCI state on stdin did not end within {timeout}; see in the container runtime's log why it keeps the hook's stdin open"
    )]
    NotClosed {
        /// How long the hook waited for the end.
        timeout: Timeout,
    },
    /// The system's error.
    #[error("the OCI state cannot be read from stdin ({0}); see the container runtime's log")]
    Read(#[source] io::Error),
}
