//! Keys and mouse, turned into actions; and keys written down, for scripts.

mod keys;
mod mouse;
mod spec;

pub use keys::key;
pub use mouse::mouse;
pub use spec::{KeysError, parse_keys};
