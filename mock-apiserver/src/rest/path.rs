//! What a request's path names.

use crate::resource::{self, Resource};

/// The meaning of a path.
#[derive(Debug)]
pub(super) enum Target<'a> {
    Objects(Objects<'a>),
    /// Not about objects: discovery, health, version, or nothing at all.
    Other(&'a str),
}

/// Objects of one kind, or one of them.
#[derive(Debug)]
pub(super) struct Objects<'a> {
    pub(super) resource: &'static Resource,
    pub(super) namespace: Option<&'a str>,
    pub(super) name: Option<&'a str>,
    /// `status`, `binding`, or empty.
    pub(super) subresource: &'a str,
}

/// Reads a path. Names in Kubernetes need no percent-encoding, so none is undone: an encoded
/// name is simply not found.
pub(super) fn parse(path: &str) -> Target<'_> {
    objects(path).map_or(Target::Other(path), Target::Objects)
}

fn objects(path: &str) -> Option<Objects<'_>> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group, version, rest) = match parts.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return None,
    };
    let find = |plural| resource::by_path(group, version, plural);
    let namespaced = |plural, namespace, name, subresource| {
        let resource = find(plural).filter(|resource| resource.namespaced)?;
        Some(Objects {
            resource,
            namespace: Some(namespace),
            name,
            subresource,
        })
    };
    let target = match rest {
        ["namespaces", namespace, plural] if find(plural).is_some() => {
            namespaced(plural, *namespace, None, "")?
        }
        ["namespaces", namespace, plural, name] => namespaced(plural, *namespace, Some(*name), "")?,
        ["namespaces", namespace, plural, name, subresource] => {
            namespaced(plural, *namespace, Some(*name), *subresource)?
        }
        [plural] => Objects {
            resource: find(plural)?,
            namespace: None,
            name: None,
            subresource: "",
        },
        [plural, name, rest @ ..] => {
            let resource = find(plural).filter(|resource| !resource.namespaced)?;
            let subresource = match rest {
                [] => "",
                [one] => one,
                _ => return None,
            };
            Objects {
                resource,
                namespace: None,
                name: Some(name),
                subresource,
            }
        }
        [] => return None,
    };
    let known = match target.subresource {
        "" => true,
        "status" => target.resource.status,
        "binding" => target.resource.kind == "Pod",
        _ => false,
    };
    known.then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(path: &str) -> String {
        match parse(path) {
            Target::Other(_) => "other".to_owned(),
            Target::Objects(target) => format!(
                "{} {:?} {:?} {:?}",
                target.resource.qualified(),
                target.namespace,
                target.name,
                target.subresource
            ),
        }
    }

    #[test]
    fn paths() {
        let shown = [
            "/api/v1/pods",
            "/api/v1/namespaces",
            "/api/v1/namespaces/default",
            "/api/v1/namespaces/default/status",
            "/api/v1/namespaces/default/pods",
            "/api/v1/namespaces/default/pods/web/binding",
            "/apis/resource.k8s.io/v1/namespaces/a/resourceclaims/c/status",
            "/apis/resource.k8s.io/v1/resourceslices/s",
            "/apis/k8s.cni.cncf.io/v1/namespaces/a/network-attachment-definitions/n",
            "/apis/events.k8s.io/v1/events",
            "/apis/resource.k8s.io/v1/namespaces/a/resourceslices",
            "/apis/resource.k8s.io/v1beta1/resourceslices",
            "/apis/resource.k8s.io/v1/resourceslices/s/status",
            "/api/v1/namespaces/default/pods/web/exec",
            "/api/v1",
            "/apis",
            "/healthz",
            "/",
        ]
        .map(|path| format!("{path}: {}", shown(path)))
        .join("\n");
        insta::assert_snapshot!(shown, @r#"
        /api/v1/pods: pods None None ""
        /api/v1/namespaces: namespaces None None ""
        /api/v1/namespaces/default: namespaces None Some("default") ""
        /api/v1/namespaces/default/status: namespaces None Some("default") "status"
        /api/v1/namespaces/default/pods: pods Some("default") None ""
        /api/v1/namespaces/default/pods/web/binding: pods Some("default") Some("web") "binding"
        /apis/resource.k8s.io/v1/namespaces/a/resourceclaims/c/status: resourceclaims.resource.k8s.io Some("a") Some("c") "status"
        /apis/resource.k8s.io/v1/resourceslices/s: resourceslices.resource.k8s.io None Some("s") ""
        /apis/k8s.cni.cncf.io/v1/namespaces/a/network-attachment-definitions/n: network-attachment-definitions.k8s.cni.cncf.io Some("a") Some("n") ""
        /apis/events.k8s.io/v1/events: events.events.k8s.io None None ""
        /apis/resource.k8s.io/v1/namespaces/a/resourceslices: other
        /apis/resource.k8s.io/v1beta1/resourceslices: other
        /apis/resource.k8s.io/v1/resourceslices/s/status: other
        /api/v1/namespaces/default/pods/web/exec: other
        /api/v1: other
        /apis: other
        /healthz: other
        /: other
        "#);
    }
}
