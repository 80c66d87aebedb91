//! DRA plugins: found by their registration sockets, registered, watched, and lost.

mod connection;
mod handshake;
mod health;
mod registry;
mod semver;
mod slices;
mod store;

pub use health::{DeviceHealth, Health, HealthMap};
pub(crate) use registry::{register_all, watch_directory};
pub(crate) use store::{Instance, Plugins};
pub use store::{Plugin, PluginStatus};
