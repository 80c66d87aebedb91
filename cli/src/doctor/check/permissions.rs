//! May the driver's account ask the API server for what the flow needs?

use ::kube::api::{Api, PostParams};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use ndra_core::driver::KubeletApi;
use ndra_core::kube::{self, Client};

use super::Node;
use crate::doctor::finding::{Finding, fail, ok, warn};

/// One thing that the driver does, in the words of RBAC, and what fails without.
#[derive(Clone, Copy)]
struct Need {
    verb: &'static str,
    group: &'static str,
    resource: &'static str,
    subresource: &'static str,
    /// Nothing works without it.
    vital: bool,
    without: &'static str,
}

const RESOURCE: &str = "resource.k8s.io";

const fn need(
    verb: &'static str,
    group: &'static str,
    resource: &'static str,
    subresource: &'static str,
    vital: bool,
    without: &'static str,
) -> Need {
    Need {
        verb,
        group,
        resource,
        subresource,
        vital,
        without,
    }
}

/// What every version needs.
const ALWAYS: [Need; 4] = [
    need(
        "get",
        RESOURCE,
        "resourceclaims",
        "",
        true,
        "no claim can be prepared",
    ),
    need(
        "get",
        "",
        "pods",
        "",
        false,
        "no warning of a claim that no container lists",
    ),
    need(
        "create",
        "",
        "events",
        "",
        false,
        "failures are in the driver's log alone",
    ),
    need(
        "patch",
        "",
        "events",
        "",
        false,
        "failures are in the driver's log alone",
    ),
];

/// What devices need, which the API has since [`KubeletApi::Current`].
const DEVICES: [Need; 8] = [
    need(
        "list",
        RESOURCE,
        "resourceslices",
        "",
        true,
        "no device is published",
    ),
    need(
        "watch",
        RESOURCE,
        "resourceslices",
        "",
        true,
        "no device is published",
    ),
    need(
        "create",
        RESOURCE,
        "resourceslices",
        "",
        true,
        "no device is published",
    ),
    need(
        "update",
        RESOURCE,
        "resourceslices",
        "",
        true,
        "devices stay as they are",
    ),
    need(
        "delete",
        RESOURCE,
        "resourceslices",
        "",
        true,
        "devices stay as they are",
    ),
    need("get", "", "nodes", "", true, "no device is published"),
    need(
        "patch",
        RESOURCE,
        "resourceclaims",
        "status",
        false,
        "claims stay without status",
    ),
    need(
        "associated-node:patch",
        RESOURCE,
        "resourceclaims",
        "driver",
        false,
        "from Kubernetes 1.36 on claims stay without status",
    ),
];

pub(super) async fn check(node: Node) -> Vec<Finding> {
    let config = &node.config;
    let mut needs = ALWAYS.to_vec();
    if config.kubelet_api == KubeletApi::Current {
        needs.extend(DEVICES);
    }
    let connected = kube::connect(config.kubeconfig.as_deref(), "ndra-doctor").await;
    let Ok(client) = connected else {
        // Said once, by the check of the API server.
        return Vec::new();
    };
    let driver = config.driver_name.as_str();
    let asked = needs.iter().map(|need| review(&client, need, driver));
    let answers: Result<Vec<bool>, String> =
        futures::future::join_all(asked).await.into_iter().collect();
    match answers {
        Ok(allowed) => judge(&needs, &allowed),
        Err(why) => vec![warn(
            "permissions",
            format!("cannot be asked for: {why}"),
            "let the account create selfsubjectaccessreviews, as system:basic-user does",
        )],
    }
}

async fn review(client: &Client, need: &Need, driver: &str) -> Result<bool, String> {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                verb: some(need.verb),
                group: some(need.group),
                resource: some(need.resource),
                subresource: some(need.subresource),
                // Such permissions are given for a driver's own devices.
                name: (need.subresource == "driver").then(|| driver.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answer = reviews
        .create(&PostParams::default(), &review)
        .await
        .map_err(kube::words)?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

fn judge(needs: &[Need], allowed: &[bool]) -> Vec<Finding> {
    let lacking: Vec<Finding> = needs
        .iter()
        .zip(allowed)
        .filter(|(_, allowed)| !**allowed)
        .map(|(need, _)| {
            let slash = if need.subresource.is_empty() { "" } else { "/" };
            let what = format!("{}{slash}{}", need.resource, need.subresource);
            let of = match need.group {
                "" => String::new(),
                group => format!(" ({group})"),
            };
            let says = format!("may not {} {what}{of}: {}", need.verb, need.without);
            let mend = "add the verb to the driver's ClusterRole (the chart's rbac.create=true)";
            if need.vital {
                fail("permissions", says, mend)
            } else {
                warn("permissions", says, mend)
            }
        })
        .collect();
    if lacking.is_empty() {
        return vec![ok("permissions", "the account may do what the driver does")];
    }
    lacking
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_permission_that_is_lacking_is_one_line() {
        let needs = [ALWAYS[0], ALWAYS[1], DEVICES[6]];
        let line = |found: &Finding| format!("{:?}: {}", found.level, found.says);
        let words = |allowed: [bool; 3]| {
            let found = judge(&needs, &allowed);
            found.iter().map(line).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(
            words([true; 3]),
            "Ok: the account may do what the driver does"
        );
        insta::assert_snapshot!(words([false; 3]), @r"
        Fail: may not get resourceclaims (resource.k8s.io): no claim can be prepared
        Warn: may not get pods: no warning of a claim that no container lists
        Warn: may not patch resourceclaims/status (resource.k8s.io): claims stay without status
        ");
    }
}
