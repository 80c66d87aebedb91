//! CNI: configurations, results and errors, and plugins run as libcni runs them.

mod config;

pub use config::{ConfigError, ConfigList, Policy};
