//! The Kubernetes API as the driver uses it: claims read, status and events written, slices published.
//!
//! Every call is bounded in time. Only [`claims::ClaimReader`] is waited for by the kubelet; status,
//! events and slices are written by tasks of their own, so that a slow API server never
//! holds an attach up.

mod backoff;
pub mod claims;
mod classic;
pub mod client;
pub mod events;
mod failure;
mod names;
pub mod slices;
pub mod status;

#[cfg(test)]
mod fake;

/// What a failed call says, without the layers that it came through.
pub fn words(error: ::kube::Error) -> String {
    failure::Failure::from(error).to_string()
}

pub use ::kube::Client;
pub use client::{ConnectError, connect, install_crypto};
pub use events::{EventPoster, PodRef};
pub use slices::{Publisher, PublisherConfig};
pub use status::{DeviceState, StatusConfig, StatusWriter};
