//! The kubelet against a driver, a runtime and an API server that the tests command.
// One program: what a test module offers the others is `pub`, and helpers fail like tests.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

mod api;
mod bed;
mod claims;
mod classic;
mod cri;
mod driver;
mod ends;
mod node;
mod pods;
mod registration;
mod restart;
mod steps;
