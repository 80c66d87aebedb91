//! How a run is shown: a timeline for people, JSON lines for programs. It knows nothing of
//! how the run came about.
//!
//! Without the feature `simulate` there are no runs; what the other commands print is made
//! of the same styles and facts.

mod fact;
#[cfg(feature = "simulate")]
mod lines;
#[cfg(feature = "simulate")]
mod outcome;
#[cfg(feature = "simulate")]
mod page;
#[cfg(feature = "simulate")]
mod stats;
mod style;
#[cfg(feature = "simulate")]
mod timeline;

pub(crate) use fact::fact;
#[cfg(feature = "simulate")]
pub(crate) use lines::{Recording, line};
#[cfg(feature = "simulate")]
pub(crate) use outcome::{Answer, Attached, Check, Outcome};
#[cfg(feature = "simulate")]
pub(crate) use page::Page;
#[cfg(feature = "simulate")]
pub(crate) use stats::{StepStats, step_stats};
pub(crate) use style::{BAD, BOLD, DIM, GOOD, Look, WARN, paint};
#[cfg(feature = "simulate")]
pub(crate) use timeline::Timeline;
