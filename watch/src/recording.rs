//! Lines of a recording or a stream, turned into batches of events; bad lines are counted.

mod batch;
mod line;
mod lines;
mod stamp;

pub use batch::{Batch, Entry, Oddities, Oddity, Slice, Summary};
pub(crate) use line::Line;
pub use line::LineKind;
pub use lines::{Lines, MAX_LINE};
pub use stamp::nanoseconds;
