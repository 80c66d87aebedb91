//! What the kubelet calls: registration and the DRA service.

mod forgotten;
mod listed;
mod node;
mod registration;
mod service;

pub(crate) use forgotten::unprepare_forgotten;
pub use node::{ClaimName, Node, NodeConfig, PreparedDevice};
pub use registration::RegistrationService;
pub use service::{V1, V1beta1};

/// Service names in the order in which the kubelet is to prefer them: it takes the first
/// of this list that it knows.
pub const VERSIONS: [&str; 2] = ["v1.DRAPlugin", "v1beta1.DRAPlugin"];
