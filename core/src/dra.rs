//! What the kubelet calls: registration and the DRA service.

mod classic;
mod forgotten;
mod health;
mod listed;
mod node;
mod registration;
mod service;

pub use classic::V1alpha3;
pub(crate) use forgotten::unprepare_forgotten;
pub use health::ResourceHealth;
pub use node::{ClaimName, Node, NodeConfig, PreparedDevice};
pub use registration::RegistrationService;
pub use service::{V1, V1beta1};

/// What is announced where DRA is of version v1alpha3: not a service's name, but a
/// version of the plugin (Kubernetes 1.29 and 1.30).
pub const CLASSIC_VERSIONS: [&str; 1] = ["1.0.0"];

/// Service names in the order in which the kubelet is to prefer them: it takes the first
/// of this list that it knows.
pub const VERSIONS: [&str; 2] = ["v1.DRAPlugin", "v1beta1.DRAPlugin"];

/// What the plugin announces: the DRA services, then those of its devices' health. Kubelets
/// pass over names that they do not know.
pub const ANNOUNCED: [&str; 4] = [
    VERSIONS[0],
    VERSIONS[1],
    "v1.DRAResourceHealth",
    "v1alpha1.DRAResourceHealth",
];
