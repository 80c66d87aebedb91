//! What a person sees: recordings in, frames out.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod attempts;
mod bed;
mod broken;
mod hands;
mod legible;
mod looks;
mod times;
