//! Lines of a recording or a stream, turned into batches of events; bad lines are counted.

mod batch;
mod line;
mod lines;
mod loader;
mod stamp;

pub use batch::{Batch, Entry, Oddities, Oddity, Slice, Summary};
pub use lines::{Lines, MAX_LINE};
pub use loader::{Loaded, Loader};
pub use stamp::nanoseconds;
