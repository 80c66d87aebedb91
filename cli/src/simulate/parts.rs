//! The parts of a run's node that come in more than one kind, each behind one face: the
//! world starts them, strikes them and looks at them without knowing the kind.

mod calls;
mod found;
mod interfaces;
mod leftovers;
mod multus;
mod multus_daemon;
mod network;
mod plugin_faults;
mod runtime;

pub(crate) use found::Endpoint;
pub(crate) use multus::{Cluster, NodeMultus};
pub(crate) use network::{Network, PodLink};
pub(crate) use runtime::{NodeRuntime, Setting};

use crate::failure::Failure;

/// Says which part did not start.
pub(super) fn part<E: std::fmt::Display>(name: &str) -> impl Fn(E) -> Failure {
    move |error| Failure::run(format!("the {name} did not start: {error}"), "")
}
