//! The rules of a DeviceClass.

use serde_json::Value;

use super::claim::{configuration, selectors};
use super::{Errors, set};
use crate::object::list;

/// Limit of resource.k8s.io/v1.
const CONFIGS: usize = 32;

pub(super) fn spec(errors: &mut Errors, spec: &Value) {
    selectors(errors, "spec.selectors", list(spec, &["selectors"]));
    set(
        errors,
        "spec.config",
        list(spec, &["config"]),
        Some(CONFIGS),
        |_| None::<String>,
        configuration,
    );
}
