//! The Multus thick daemon's API, with CNI answers behind it that need no kernel.

mod go_json;
mod record;

pub use record::{
    Allocation, Interface, PluginCall, PluginFailure, Record, RecordConfig, RecordFailure, State,
};
