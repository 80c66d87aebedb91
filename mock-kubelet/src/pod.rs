//! Pods of this node: seen over the API, kept by one worker each.

mod backoff;
mod container;
mod dispatch;
mod events;
mod phase;
mod plan;
mod relist;
mod resources;
mod sandbox;
mod status;
mod teardown;
mod worker;
mod writer;

pub(crate) use dispatch::run;
pub(crate) use events::Events;
