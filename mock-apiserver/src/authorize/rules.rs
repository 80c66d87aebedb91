//! Roles and their bindings, read and matched as RBAC does.

use serde_json::Value;

use super::{Ask, Grant, User};
use crate::object::{list, name, namespace, text};

/// One rule of a role, as one binding gives it to somebody.
#[derive(Debug)]
pub(super) struct Rule {
    role: String,
    verbs: Vec<String>,
    groups: Vec<String>,
    resources: Vec<String>,
    names: Vec<String>,
    /// `None` holds everywhere; a RoleBinding's holds in its namespace.
    scope: Option<String>,
    subjects: Vec<Subject>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Subject {
    User(String),
    Group(String),
}

/// The rules that bindings among `objects` give out.
pub(super) fn read(objects: &[Value]) -> Result<Vec<Rule>, String> {
    let mut rules = Vec::new();
    for binding in objects {
        let scope = match text(binding, &["kind"]) {
            "ClusterRoleBinding" => None,
            "RoleBinding" => Some(namespace(binding).to_owned()),
            _ => continue,
        };
        let (kind, wanted) = (
            text(binding, &["roleRef", "kind"]),
            text(binding, &["roleRef", "name"]),
        );
        let role = objects.iter().find(|object| {
            text(object, &["kind"]) == kind
                && name(object) == wanted
                && (kind == "ClusterRole" || Some(namespace(object)) == scope.as_deref())
        });
        let role = role.ok_or_else(|| {
            format!(
                "{} {} names the {kind} {wanted}, which is not there",
                text(binding, &["kind"]),
                name(binding)
            )
        })?;
        let label = match kind {
            "ClusterRole" => format!("ClusterRole/{wanted}"),
            _ => format!("Role/{}/{wanted}", namespace(role)),
        };
        let subjects: Vec<Subject> = list(binding, &["subjects"]).iter().map(subject).collect();
        for rule in list(role, &["rules"]) {
            let texts = |key: &str| {
                let values = list(rule, &[key]).iter();
                values
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect()
            };
            rules.push(Rule {
                role: label.clone(),
                verbs: texts("verbs"),
                groups: texts("apiGroups"),
                resources: texts("resources"),
                names: texts("resourceNames"),
                scope: scope.clone(),
                subjects: subjects.clone(),
            });
        }
    }
    Ok(rules)
}

fn subject(subject: &Value) -> Subject {
    let name = text(subject, &["name"]);
    match text(subject, &["kind"]) {
        "ServiceAccount" => {
            let namespace = text(subject, &["namespace"]);
            Subject::User(format!("system:serviceaccount:{namespace}:{name}"))
        }
        "Group" => Subject::Group(name.to_owned()),
        _ => Subject::User(name.to_owned()),
    }
}

impl Rule {
    /// The permission by which this rule lets `user` do what is asked.
    pub(super) fn allows(&self, user: &User, ask: &Ask<'_>) -> Option<Grant> {
        let bound = self.subjects.iter().any(|subject| match subject {
            Subject::User(name) => *name == user.name,
            Subject::Group(group) => user.groups.contains(group),
        });
        let scope = self.scope.as_deref();
        if !bound || scope.is_some_and(|scope| scope != ask.namespace) {
            return None;
        }
        // A request for a collection has no name that a rule could list.
        if !self.names.is_empty() && !self.names.iter().any(|name| name == ask.name) {
            return None;
        }
        let find = |values: &[String], fits: &dyn Fn(&str) -> bool| {
            values.iter().find(|value| fits(value)).cloned()
        };
        let whole = ask.whole_resource();
        let any = format!("*/{}", ask.subresource);
        Some(Grant {
            role: self.role.clone(),
            verb: find(&self.verbs, &|verb| verb == "*" || verb == ask.verb)?,
            group: find(&self.groups, &|group| group == "*" || group == ask.group)?,
            resource: find(&self.resources, &|resource| {
                resource == "*"
                    || resource == whole
                    || !ask.subresource.is_empty() && resource == any
            })?,
            names: self.names.clone(),
        })
    }

    /// Each permission of this rule.
    pub(super) fn grants(&self) -> impl Iterator<Item = Grant> + '_ {
        self.groups.iter().flat_map(move |group| {
            self.resources.iter().flat_map(move |resource| {
                self.verbs.iter().map(move |verb| Grant {
                    role: self.role.clone(),
                    verb: verb.clone(),
                    group: group.clone(),
                    resource: resource.clone(),
                    names: self.names.clone(),
                })
            })
        })
    }
}
