//! Decides who may do what, as RBAC and the status checks of Kubernetes 1.36 do, and keeps
//! which permissions were used: a role can then be held against what its program asks for.

mod claim_status;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{HeaderMap, header};
use serde_json::Value;

pub(crate) use claim_status::Caller;
use rules::Rule;

use crate::error::{ApiError, Result};
use crate::resource::Resource;

/// Somebody who is let in by a token, and may do what roles grant. Whoever shows none of
/// these tokens may do everything: the mocks' own parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// `system:serviceaccount:NAMESPACE:NAME` for a service account.
    pub name: String,
    /// Groups, those that everybody is in included.
    pub groups: Vec<String>,
    /// The node of the pod that the token is bound to.
    pub node: Option<String>,
}

impl User {
    /// A pod's service account; `node` is where the pod runs.
    pub fn service_account(namespace: &str, name: &str, node: Option<&str>) -> User {
        User {
            name: format!("system:serviceaccount:{namespace}:{name}"),
            groups: vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".to_owned(),
            ],
            node: node.map(str::to_owned),
        }
    }
}

/// One permission that a role grants: a verb on a resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grant {
    /// `ClusterRole/NAME` or `Role/NAMESPACE/NAME`.
    pub role: String,
    /// As the rule has it, `*` included.
    pub verb: String,
    /// API group; empty for the core group.
    pub group: String,
    /// `resourceclaims`, or `resourceclaims/status`.
    pub resource: String,
    /// The names it is limited to; empty for all.
    pub names: Vec<String>,
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}", self.role, self.verb, self.resource)?;
        if !self.group.is_empty() {
            write!(f, " ({})", self.group)?;
        }
        if !self.names.is_empty() {
            write!(f, " named {}", self.names.join(", "))?;
        }
        Ok(())
    }
}

/// What came of the permissions so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Permissions that allowed something.
    pub used: BTreeSet<Grant>,
    /// Permissions that nobody needed.
    pub unused: BTreeSet<Grant>,
    /// What was refused, in the words of the answer.
    pub refused: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Log {
    used: BTreeSet<Grant>,
    refused: BTreeSet<String>,
}

/// Roles, and users who are held to them. Clones share what they know of the use.
#[derive(Debug, Clone, Default)]
pub struct Rbac {
    rules: Arc<Vec<Rule>>,
    users: BTreeMap<String, User>,
    log: Arc<Mutex<Log>>,
}

/// What a request asks for, in the terms of RBAC.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) verb: &'a str,
    pub(crate) group: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) subresource: &'a str,
    /// Empty for what is cluster-wide.
    pub(crate) namespace: &'a str,
    /// Empty for a collection.
    pub(crate) name: &'a str,
}

impl Ask<'_> {
    fn whole_resource(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.to_owned()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }
}

impl Rbac {
    /// The roles and bindings among these objects; other kinds are passed over. Fails on a
    /// binding to a role that is not among them.
    pub fn new(objects: &[Value]) -> std::result::Result<Rbac, String> {
        Ok(Rbac {
            rules: Arc::new(rules::read(objects)?),
            ..Rbac::default()
        })
    }

    /// Lets `user` in by a bearer token.
    #[must_use]
    pub fn with_user(mut self, token: impl Into<String>, user: User) -> Rbac {
        self.users.insert(token.into(), user);
        self
    }

    /// What came of the permissions so far.
    pub fn report(&self) -> Report {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let granted = self.rules.iter().flat_map(Rule::grants);
        Report {
            unused: granted.filter(|grant| !log.used.contains(grant)).collect(),
            used: log.used.clone(),
            refused: log.refused.clone(),
        }
    }

    /// Who asks, if it is somebody who is held to roles.
    pub(crate) fn user(&self, headers: &HeaderMap) -> Option<&User> {
        let shown = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        self.users.get(shown.strip_prefix("Bearer ")?)
    }

    /// Lets a request through or refuses it with 403.
    pub(crate) fn check(&self, user: &User, resource: &Resource, ask: &Ask<'_>) -> Result<()> {
        if self.allows(user, ask) {
            return Ok(());
        }
        let why = refusal(user, ask);
        self.refused(&why);
        Err(ApiError::forbidden(resource, ask.name, &why))
    }

    /// Whether a request would be let through; being asked uses no permission.
    pub(crate) fn would_allow(&self, user: &User, ask: &Ask<'_>) -> bool {
        self.rules
            .iter()
            .any(|rule| rule.allows(user, ask).is_some())
    }

    fn allows(&self, user: &User, ask: &Ask<'_>) -> bool {
        let Some(grant) = self.rules.iter().find_map(|rule| rule.allows(user, ask)) else {
            return false;
        };
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.used.insert(grant);
        true
    }

    fn refused(&self, why: &str) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.refused.insert(why.to_owned());
    }
}

/// As a real API server says it.
fn refusal(user: &User, ask: &Ask<'_>) -> String {
    let place = match ask.namespace {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace {namespace:?}"),
    };
    format!(
        "User {:?} cannot {} resource {:?} in API group {:?} {place}",
        user.name,
        ask.verb,
        ask.whole_resource(),
        ask.group
    )
}

#[cfg(test)]
mod tests;
