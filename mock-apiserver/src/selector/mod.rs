//! Which objects a list, a watch or a deletion of a collection means.

mod field;
mod label;

use serde_json::Value;

pub(crate) use field::FieldSelector;
pub(crate) use label::LabelSelector;

use crate::error::Result;
use crate::object;
use crate::resource::Resource;

/// What a request narrows a collection by: namespace, labels and fields.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(crate) namespace: Option<String>,
    pub(crate) labels: LabelSelector,
    pub(crate) fields: FieldSelector,
}

impl Filter {
    /// Builds the filter from the texts of `labelSelector` and `fieldSelector`.
    pub(crate) fn parse(
        resource: &Resource,
        namespace: Option<&str>,
        labels: &str,
        fields: &str,
    ) -> Result<Filter> {
        Ok(Filter {
            namespace: namespace.map(str::to_owned),
            labels: LabelSelector::parse(labels)?,
            fields: FieldSelector::parse(resource, fields)?,
        })
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.namespace
            .as_deref()
            .is_none_or(|wanted| wanted == object::namespace(object))
            && self
                .labels
                .matches(object::at(object, &["metadata", "labels"]))
            && self.fields.matches(object)
    }
}
