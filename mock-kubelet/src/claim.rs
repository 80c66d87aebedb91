//! ResourceClaims on this node: prepared before a sandbox, unprepared after the last pod.

mod cache;
mod call;
mod checkpoint;
mod classic;
mod prepare;
mod resolve;
mod unprepare;

pub(crate) use cache::Claims;
pub use cache::{PreparedClaim, PreparedDevice};
pub use checkpoint::CheckpointError;
pub(crate) use prepare::prepare;
pub(crate) use resolve::{PodId, container_devices};
pub(crate) use unprepare::unprepare;
