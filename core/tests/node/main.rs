//! The driver's node side against stand-ins: a CRI runtime, a CNI plugin and an API server
//! of a few lines each. What is proven is the state machine: when ADD and DEL run.
#![allow(clippy::unwrap_used, unreachable_pub)] // Helpers of tests are tests, too.

mod api;
mod attach;
mod classic;
mod lost;
mod metadata;
mod pin;
mod prepare;
mod record;
mod world;
