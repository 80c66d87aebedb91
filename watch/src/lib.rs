//! The flow, live, in the terminal: events in, a model of flows, frames out.
//!
//! One room for each part of the work. [`recording`] turns lines into batches of events,
//! [`state`] turns batches and keys into a [`Model`], [`view`] draws a model, [`input`]
//! turns keys and mouse into [`Action`]s, and [`frame`] writes one drawn frame as text or
//! as a picture. None of them knows a terminal or a clock; [`term`] knows both.

pub mod frame;
pub mod input;
pub mod recording;
pub mod sample;
pub mod source;
pub mod state;
#[cfg(unix)]
pub mod term;
mod text;
pub mod view;

pub use state::{Action, Effect, Model, Settings};
