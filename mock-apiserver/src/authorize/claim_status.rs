//! What a change of a claim's status needs besides `resourceclaims/status`, from Kubernetes
//! 1.36 on: `resourceclaims/binding` for the allocation, and `resourceclaims/driver`, with a
//! verb that knows nodes, for each driver whose devices it changes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Ask, Rbac, User, refusal};
use crate::error::{ApiError, Result};
use crate::object::{at, list, name, namespace, text};
use crate::resource::{CLAIMS, Resource};
use crate::validate::FieldError;

/// On whose behalf something is written.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) rbac: Rbac,
    pub(crate) user: User,
    pub(crate) verb: &'static str,
}

impl Caller {
    /// Refuses, as an invalid object, a status that the caller may not write.
    pub(crate) fn may_change(&self, resource: &Resource, old: &Value, new: &Value) -> Result<()> {
        if !resource.is(&CLAIMS) || resource.version != CLAIMS.version {
            return Ok(());
        }
        let mut errors = Vec::new();
        let differs = |key| at(old, &["status", key]) != at(new, &["status", key]);
        if differs("allocation") || differs("reservedFor") {
            let ask = self.ask(self.verb, "binding", "", "");
            if !self.rbac.allows(&self.user, &ask) {
                let words = format!(
                    "changing status.allocation or status.reservedFor requires resource=\"resourceclaims/binding\", verb=\"{}\" permission",
                    self.verb
                );
                errors.push(self.refused("status", &words, &ask));
            }
        }
        let verbs = self.verbs(new);
        for driver in changed(old, new) {
            let asks: Vec<Ask<'_>> = verbs
                .iter()
                .map(|verb| self.ask(verb, "driver", namespace(new), driver))
                .collect();
            if asks.iter().any(|ask| self.rbac.allows(&self.user, ask)) {
                continue;
            }
            let words = format!(
                "changing status.devices requires resource=\"resourceclaims/driver\", verb=\"[{}]\" permission",
                verbs.join(" ")
            );
            errors.extend(
                asks.first()
                    .map(|ask| self.refused("status.devices", &words, ask)),
            );
        }
        if errors.is_empty() {
            return Ok(());
        }
        Err(ApiError::invalid(resource, name(new), &errors))
    }

    /// The verbs of which one must be allowed. A service account on the node that the claim
    /// is allocated to needs less.
    fn verbs(&self, claim: &Value) -> Vec<String> {
        let here = self.user.name.starts_with("system:serviceaccount:")
            && self
                .user
                .node
                .as_deref()
                .is_some_and(|node| allocated_to(claim) == Some(node));
        let prefixes: &[&str] = if here {
            &["associated-node:", "arbitrary-node:"]
        } else {
            &["arbitrary-node:"]
        };
        prefixes
            .iter()
            .map(|prefix| format!("{prefix}{}", self.verb))
            .collect()
    }

    fn ask<'a>(
        &self,
        verb: &'a str,
        subresource: &'a str,
        namespace: &'a str,
        name: &'a str,
    ) -> Ask<'a> {
        Ask {
            verb,
            group: CLAIMS.group,
            resource: CLAIMS.plural,
            subresource,
            namespace,
            name,
        }
    }

    fn refused(&self, path: &str, words: &str, ask: &Ask<'_>) -> FieldError {
        let why = refusal(&self.user, ask);
        self.rbac.refused(&why);
        let forbidden = ApiError::forbidden(&CLAIMS, ask.name, &why);
        FieldError::forbidden(path, format!("{words}: {forbidden}"))
    }
}

/// The one node that an allocation can only be used on.
fn allocated_to(claim: &Value) -> Option<&str> {
    let terms = list(
        claim,
        &["status", "allocation", "nodeSelector", "nodeSelectorTerms"],
    );
    let [term] = terms else { return None };
    let ([], [field]) = (
        list(term, &["matchExpressions"]),
        list(term, &["matchFields"]),
    ) else {
        return None;
    };
    match (
        text(field, &["key"]),
        text(field, &["operator"]),
        list(field, &["values"]),
    ) {
        ("metadata.name", "In", [node]) => node.as_str(),
        _ => None,
    }
}

/// The drivers whose entries were added, changed or taken away.
fn changed<'a>(old: &'a Value, new: &'a Value) -> BTreeSet<&'a str> {
    let mut before = by_device(old);
    let mut drivers = BTreeSet::new();
    for (key, device) in by_device(new) {
        if before.remove(&key) != Some(device) {
            drivers.insert(key[0]);
        }
    }
    drivers.extend(before.keys().map(|key| key[0]));
    drivers
}

fn by_device(claim: &Value) -> BTreeMap<[&str; 4], &Value> {
    let devices = list(claim, &["status", "devices"]).iter();
    devices
        .map(|device| {
            let key = ["driver", "pool", "device", "shareID"].map(|key| text(device, &[key]));
            (key, device)
        })
        .collect()
}
