//! The ndra driver and the wire types that everything around it speaks.
//!
//! Each module is one room of `docs/architecture.md`; [`driver`] wires them.

pub mod attachment;
pub mod callback;
pub mod cdi;
pub mod claim;
pub mod cni;
pub mod cri;
pub mod devices;
pub mod dra;
pub mod driver;
pub mod event;
pub mod gate;
pub mod health;
pub mod kube;
pub mod metadata;
pub mod metrics;
pub mod mounts;
pub mod multus;
pub mod shown;
pub mod socket;
pub mod tasks;
pub mod wire;
