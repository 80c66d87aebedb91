//! Network namespaces of Linux: one for a whole run, one for every pod, without root.
//!
//! A program that uses them calls [`helper`] first in `main`, and [`isolate`] or [`join`]
//! before it starts a thread. After that everything it starts lives in there too: the
//! host's links and mounts cannot be touched. On other systems every function says that
//! there are none.

mod link;
mod mounts;
mod trouble;

#[cfg(target_os = "linux")]
mod helper;
#[cfg(target_os = "linux")]
mod inside;
#[cfg(target_os = "linux")]
mod isolate;
#[cfg(target_os = "linux")]
mod join;
#[cfg(target_os = "linux")]
mod links;
#[cfg(target_os = "linux")]
mod pod;
#[cfg(target_os = "linux")]
mod table;

#[cfg(not(target_os = "linux"))]
mod elsewhere;

pub use link::{Link, MacVlan};
pub use mounts::Mount;
pub use trouble::Trouble;

#[cfg(target_os = "linux")]
pub use helper::{helper, in_mounts, probe};
#[cfg(target_os = "linux")]
pub use inside::{here, inside, netlink};
#[cfg(target_os = "linux")]
pub use isolate::{GATEWAY, NODE_ADDRESS, UPLINK, UPLINK_PEER, aside, isolate, share, shares};
#[cfg(target_os = "linux")]
pub use join::join;
#[cfg(target_os = "linux")]
pub use links::Links;
#[cfg(target_os = "linux")]
pub use pod::{create, has_interface, remove};

#[cfg(not(target_os = "linux"))]
pub use elsewhere::{
    Links, UPLINK, UPLINK_PEER, aside, create, has_interface, helper, here, in_mounts, inside,
    isolate, join, probe, remove, share, shares,
};
