//! The program `ndra-hook` from outside: what the runtime gives it, what the driver
//! answers, and what comes out.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod callback;
mod driver;
mod input;
mod program;
