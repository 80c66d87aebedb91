//! The runtime from outside: over its socket, with hooks that are shell scripts.

// The helpers of tests may panic, as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cdi;
mod events;
mod hooks;
mod hostile;
mod life;
mod node;
mod recorded;
