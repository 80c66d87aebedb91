//! Does the namespace of the driver's pods admit them, by its Pod Security labels?

use ::kube::{Api, Error};
use k8s_openapi::api::core::v1::Namespace;
use ndra_core::kube;

use super::Node;
use crate::doctor::finding::{Finding, fail, ok, warn};

const NAME: &str = "pod-security";

/// The label by which the API server refuses pods; others only warn and record.
const ENFORCE: &str = "pod-security.kubernetes.io/enforce";

/// Where the chart is usually installed.
const USUAL: &str = "kube-system";

pub(super) async fn check(node: Node) -> Vec<Finding> {
    let connected = kube::connect(node.config.kubeconfig.as_deref(), "ndra-doctor").await;
    let Ok(client) = connected else {
        // Said once, by the check of the API server.
        return Vec::new();
    };
    let in_pod = node.config.kubeconfig.is_none();
    let namespace = match (&node.namespace, in_pod) {
        (Some(namespace), _) => namespace.clone(),
        (None, true) => client.default_namespace().to_owned(),
        (None, false) => USUAL.to_owned(),
    };
    let namespaces: Api<Namespace> = Api::all(client);
    let labels = match namespaces.get(&namespace).await {
        Ok(found) => Labels::Read(found.metadata.labels.unwrap_or_default().remove(ENFORCE)),
        Err(Error::Api(status)) if status.code == 403 => Labels::Hidden { in_pod },
        Err(Error::Api(status)) if status.code == 404 => Labels::Nowhere,
        Err(_) => return Vec::new(),
    };
    vec![judge(&namespace, &labels)]
}

/// What is known of a namespace.
enum Labels {
    /// The level that it enforces.
    Read(Option<String>),
    /// The account may not look.
    Hidden {
        /// This is a pod of that namespace.
        in_pod: bool,
    },
    /// There is no such namespace.
    Nowhere,
}

fn judge(namespace: &str, labels: &Labels) -> Finding {
    match labels {
        Labels::Read(None) => ok(
            NAME,
            format!("namespace {namespace} names no level; the cluster's own default counts"),
        ),
        Labels::Read(Some(level)) if level == "privileged" => ok(
            NAME,
            format!("namespace {namespace} admits privileged pods"),
        ),
        Labels::Read(Some(level)) => fail(
            NAME,
            format!(
                "namespace {namespace} enforces the level {level:?}, and the driver's pods need \
                 privileged: new ones are refused"
            ),
            format!("`kubectl label --overwrite namespace {namespace} {ENFORCE}=privileged`"),
        ),
        Labels::Hidden { in_pod: true } => ok(
            NAME,
            format!(
                "namespace {namespace} has admitted this pod; its labels are not for it to read"
            ),
        ),
        Labels::Hidden { in_pod: false } => warn(
            NAME,
            format!("the account may not read namespace {namespace}"),
            format!(
                "see that `kubectl get namespace {namespace} --show-labels` has no {ENFORCE}, or \
                 privileged"
            ),
        ),
        Labels::Nowhere => warn(
            NAME,
            format!("there is no namespace {namespace}"),
            "name that of the driver's pods: --namespace NAMESPACE",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_judged_by_what_the_driver_needs() {
        let level = |level: &str| Labels::Read(Some(level.into()));
        let all = [
            Labels::Read(None),
            level("privileged"),
            level("baseline"),
            level("restricted"),
            level("no\nsuch"),
            Labels::Hidden { in_pod: true },
            Labels::Hidden { in_pod: false },
            Labels::Nowhere,
        ];
        let line = |labels: &Labels| {
            let found = judge("dra", labels);
            format!("{:?}: {} > {}", found.level, found.says, found.mend)
        };
        insta::assert_snapshot!(all.iter().map(line).collect::<Vec<_>>().join("\n"), @r#"
        Ok: namespace dra names no level; the cluster's own default counts > 
        Ok: namespace dra admits privileged pods > 
        Fail: namespace dra enforces the level "baseline", and the driver's pods need privileged: new ones are refused > `kubectl label --overwrite namespace dra pod-security.kubernetes.io/enforce=privileged`
        Fail: namespace dra enforces the level "restricted", and the driver's pods need privileged: new ones are refused > `kubectl label --overwrite namespace dra pod-security.kubernetes.io/enforce=privileged`
        Fail: namespace dra enforces the level "no\nsuch", and the driver's pods need privileged: new ones are refused > `kubectl label --overwrite namespace dra pod-security.kubernetes.io/enforce=privileged`
        Ok: namespace dra has admitted this pod; its labels are not for it to read > 
        Warn: the account may not read namespace dra > see that `kubectl get namespace dra --show-labels` has no pod-security.kubernetes.io/enforce, or privileged
        Warn: there is no namespace dra > name that of the driver's pods: --namespace NAMESPACE
        "#);
    }
}
