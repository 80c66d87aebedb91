//! The Helm chart, rendered by a real Helm: what it makes, what it refuses, and that what it
//! says of the driver is so.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod docs;
mod driver;
mod helm;
mod policy;
mod rbac;
mod render;
