//! The four ways of changing a part of an object, and who owns which field.

mod apply;
mod differ;
mod fields;
mod json;
mod managed;
mod merge;
mod overlay;
mod shape;
mod strategic;

use serde_json::Value;

pub(crate) use apply::apply;
pub(crate) use managed::{Author, Operation, record_update};

use crate::error::Result;
use crate::resource::Resource;

/// A patch that is computed on the current object alone. Server-side apply is not one of
/// them, as it also needs to know the owners of fields; see [`apply`].
#[derive(Debug, Clone)]
pub(crate) enum Patch {
    Json(Value),
    Merge(Value),
    Strategic(Value),
}

impl Patch {
    /// The object with the patch applied.
    pub(crate) fn on(&self, resource: &Resource, object: &Value) -> Result<Value> {
        let mut patched = object.clone();
        match self {
            Patch::Json(operations) => json::apply(&mut patched, operations)?,
            Patch::Merge(patch) => merge::apply(&mut patched, patch),
            Patch::Strategic(patch) => strategic::apply(resource, &mut patched, patch)?,
        }
        Ok(patched)
    }
}
