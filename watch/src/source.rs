//! Where events come from: each kind of source becomes one stream of [`Update`]s.
//!
//! A [`Source`] says where, a [`Feed`] reads it. It connects, connects again when it is
//! lost, goes on after the last event that it saw, and bounds whatever comes: lines,
//! chunks, and what waits for the reader. A line is parsed once, on its way in, beside the
//! reader; what counts here is only its place: `seq`, `time`, `instance` and `node`.

mod address;
mod chunk;
mod feed;
mod file;
mod intake;
mod kind;
mod kubectl;
mod lane;
mod line;
mod local;
mod merge;
mod name;
mod pipe;
mod programs;
mod remote;
mod set;
mod update;

pub use address::{DEFAULT_SOCKET, Source, SourceError};
pub use chunk::{Chunk, Line};
pub use feed::{Feed, Options, Pace};
pub use line::MAX_LINE;
pub use name::Name;
pub use programs::Programs;
pub use remote::HEARTBEAT;
pub use update::{Position, PositionError, SourceId, Update};

pub use crate::recording::LineKind;
