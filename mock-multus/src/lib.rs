//! The Multus thick daemon's API, with CNI answers behind it that may do without a kernel.
//!
//! [`Multus`] is the daemon: `/delegate`, `/cni`, `/healthz` and `/readyz` on a unix socket,
//! with the daemon's own checks, pod look-ups, overlay and error texts (Multus 4.3). Behind
//! it run played plugins, without a kernel ([`Backend::Record`]) or with its links
//! ([`Backend::Kernel`]), or real ones ([`Backend::Exec`]). The played ones are there without
//! the daemon, too: [`Record`]. [`RealMultus`] starts the real daemon, where there is one.

mod annotation;
mod api;
mod call;
mod daemon;
mod delegate;
mod fault;
mod go_json;
mod plugins;
mod real;
mod record;
mod request;
mod server;
mod shim;

pub use call::{Call, Outcome};
pub use fault::Faults;
pub use real::{RealConfig, RealError, RealMultus, SERVICE_ACCOUNT};
pub use record::{
    Allocation, Interface, PluginCall, PluginFailure, Record, RecordConfig, RecordFailure, State,
};
pub use server::{Backend, Config, ExecConfig, Multus, StartError, stock_daemon_config};
