//! CNI: configurations, results and errors, and plugins run as libcni runs them.

mod cache;
mod config;
mod error;
mod exec;
mod invocation;
mod result;
pub mod version;

pub use config::{
    ConfigError, ConfigFault, ConfigFrom, ConfigList, DEFAULT_TYPES, DEFAULT_VERSION, MAX_DEPTH,
    Policy, VERSIONS, depth_within, is_plugin_type,
};
pub use error::{Call, CniError, Command, ExecError};
pub use exec::{Executor, plugin_config};
pub use invocation::{Invocation, MAX_IF_NAME, is_if_name, is_name};
pub use result::{CniDns, CniInterface, CniIp, CniResult, CniRoute, Latest, ResultError};
