//! Choosing devices for claims: what the scheduler's DRA plug-in does, for the features
//! this project needs. What it can't honour it refuses.

mod capacity;
pub(crate) mod cel;
mod cost;
mod inventory;
mod nodes;
mod quantity;
mod request;
mod result;
mod search;
mod version;

pub(crate) use inventory::Inventory;
pub(crate) use nodes::{selector_matches, terms_match};
pub(crate) use quantity::Quantity;
pub(crate) use search::{allocate, classes, fits};
pub(crate) use version::Version;

/// Why claims can't be allocated on a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The devices in sight do not do; others, or fewer users of these, might.
    #[error("cannot allocate all claims")]
    NoDevices,
    /// Waiting will not help until somebody changes something.
    #[error("{0}")]
    Because(String),
}
