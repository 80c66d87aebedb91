//! A mock Kubernetes API server: the few kinds of objects the flow needs, and the part of
//! scheduler and controllers that binds claims to devices.
//!
//! It speaks HTTP, or HTTPS to whoever shows its token ([`Access`]), keeps all objects in memory, and answers what a real API server
//! answers, words included, as far as kube-rs and kubectl use it. An [`ApiServer`] is started,
//! talked to at its [`url`](ApiServer::url), and stopped:
//!
//! ```
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! use ndra_mock_apiserver::{ApiServer, Config};
//!
//! let server = ApiServer::start(Config::default()).await?;
//! println!("kubectl get pods --server {}", server.url());
//! server.stop().await;
//! # Ok::<(), ndra_mock_apiserver::StartError>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod access;
mod alloc;
mod authorize;
mod control;
mod defaults;
mod error;
mod faults;
mod gates;
mod listen;
mod object;
mod patch;
mod requests;
mod resource;
mod resource_api;
mod rest;
mod selector;
mod server;
mod store;
mod tls;
mod validate;

pub use access::{Access, Credentials};
pub use authorize::{Grant, Rbac, Report, User};
pub use faults::Faults;
pub use gates::Gates;
pub use requests::RequestRecord;
pub use resource_api::ResourceApi;
pub use server::{ApiServer, Config, ObjectError, StartError};
