//! How a run is shown: a timeline for people, JSON lines for programs. It knows nothing of
//! how the run came about.

mod fact;
mod lines;
mod outcome;
mod page;
mod stats;
mod style;
mod timeline;

pub(crate) use fact::fact;
pub(crate) use lines::{Recording, line};
pub(crate) use outcome::{Answer, Attached, Check, Outcome};
pub(crate) use page::Page;
pub(crate) use stats::{StepStats, step_stats};
pub(crate) use style::{BAD, BOLD, DIM, GOOD, Look, WARN, paint};
pub(crate) use timeline::Timeline;
