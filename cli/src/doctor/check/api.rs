//! Does the API server serve what the driver speaks?

use ndra_core::driver::KubeletApi;
use ndra_core::kube::{self, Client};

use super::Node;
use crate::doctor::finding::{Finding, fail, ok, warn};

const GROUP: &str = "resource.k8s.io";

/// The first minor version that gives claims a status for devices without a feature gate.
const DEVICE_STATUS_ON: u32 = 33;
/// The first minor version that serves `resource.k8s.io/v1`.
const V1_SERVED: u32 = 34;

pub(super) async fn check(node: Node) -> Vec<Finding> {
    let config = &node.config;
    let asked = async {
        let client = kube::connect(config.kubeconfig.as_deref(), "ndra-doctor")
            .await
            .map_err(|error| error.to_string())?;
        ask(&client).await
    };
    match asked.await {
        Ok(served) => judge(&served, config.kubelet_api),
        Err(why) => vec![fail(
            "api-server",
            why,
            "claims cannot be prepared: let this node reach it; on a node, name a kubeconfig: \
             -- --kubeconfig FILE",
        )],
    }
}

/// What the server says of itself.
struct Served {
    /// Such as `v1.34.0`.
    version: String,
    minor: Option<u32>,
    /// Versions of [`GROUP`].
    versions: Vec<String>,
}

async fn ask(client: &Client) -> Result<Served, String> {
    let version = client.apiserver_version().await.map_err(unasked)?;
    let groups = client.list_api_groups().await.map_err(unasked)?;
    let group = groups.groups.into_iter().find(|group| group.name == GROUP);
    let versions = group.map(|group| group.versions).unwrap_or_default();
    Ok(Served {
        // Distributions write `34+`.
        minor: version.minor.trim_end_matches('+').parse().ok(),
        version: version.git_version,
        versions: versions
            .into_iter()
            .map(|version| version.version)
            .collect(),
    })
}

fn unasked(error: ::kube::Error) -> String {
    format!("it cannot be asked: {}", kube::words(error))
}

fn judge(served: &Served, api: KubeletApi) -> Vec<Finding> {
    let wanted = match api {
        KubeletApi::Current => "v1",
        KubeletApi::V1alpha3 => "v1alpha2",
    };
    let who = format!("Kubernetes {}", served.version);
    let has = |version: &str| served.versions.iter().any(|served| served == version);
    if has(wanted) {
        let mut found = vec![ok("api-server", format!("{who} serves {GROUP}/{wanted}"))];
        if wanted == "v1" && served.minor.is_some_and(|minor| minor < DEVICE_STATUS_ON) {
            found.push(warn(
                "feature-gates",
                format!("{who} has no status for devices unless it is asked for"),
                "switch the feature gate DRAResourceClaimDeviceStatus on in the API server",
            ));
        } else if wanted == "v1" {
            found.push(ok("feature-gates", "none is needed from this version on"));
        }
        return found;
    }
    let instead = if served.versions.is_empty() {
        format!("{who} does not serve {GROUP} at all")
    } else {
        let versions = served.versions.join(", ");
        format!("{who} serves {GROUP} in {versions}, not in {wanted}")
    };
    let mend = if api == KubeletApi::V1alpha3 {
        "it is served by 1.29 and 1.30 alone, with the feature gate DynamicResourceAllocation; \
         newer ones need --kubelet-api v1"
            .to_owned()
    } else if served.minor.is_some_and(|minor| minor >= V1_SERVED) {
        format!("its --runtime-config switches {GROUP}/v1 off: take that out")
    } else if has("v1alpha2") {
        "upgrade to Kubernetes 1.34 or newer, or run the driver with --kubelet-api v1alpha3"
            .to_owned()
    } else {
        "upgrade to Kubernetes 1.34 or newer".to_owned()
    };
    vec![fail("api-server", instead, mend)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(minor: u32, versions: &[&str], api: KubeletApi) -> String {
        let served = Served {
            version: format!("v1.{minor}.0"),
            minor: Some(minor),
            versions: versions.iter().map(|version| (*version).into()).collect(),
        };
        let line = |found: &Finding| {
            format!(
                "{:?} {}: {} > {}",
                found.level, found.check, found.says, found.mend
            )
        };
        let found = judge(&served, api);
        found.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_a_server_lacks_is_named_with_the_way_there() {
        use KubeletApi::{Current, V1alpha3};
        let all = [
            words(34, &["v1"], Current),
            words(32, &["v1"], Current),
            words(34, &[], Current),
            words(33, &["v1beta1", "v1beta2"], Current),
            words(29, &["v1alpha2"], Current),
            words(29, &["v1alpha2"], V1alpha3),
            words(34, &["v1"], V1alpha3),
        ];
        insta::assert_snapshot!(all.join("\n"), @r"
        Ok api-server: Kubernetes v1.34.0 serves resource.k8s.io/v1 > 
        Ok feature-gates: none is needed from this version on > 
        Ok api-server: Kubernetes v1.32.0 serves resource.k8s.io/v1 > 
        Warn feature-gates: Kubernetes v1.32.0 has no status for devices unless it is asked for > switch the feature gate DRAResourceClaimDeviceStatus on in the API server
        Fail api-server: Kubernetes v1.34.0 does not serve resource.k8s.io at all > its --runtime-config switches resource.k8s.io/v1 off: take that out
        Fail api-server: Kubernetes v1.33.0 serves resource.k8s.io in v1beta1, v1beta2, not in v1 > upgrade to Kubernetes 1.34 or newer
        Fail api-server: Kubernetes v1.29.0 serves resource.k8s.io in v1alpha2, not in v1 > upgrade to Kubernetes 1.34 or newer, or run the driver with --kubelet-api v1alpha3
        Ok api-server: Kubernetes v1.29.0 serves resource.k8s.io/v1alpha2 > 
        Fail api-server: Kubernetes v1.34.0 serves resource.k8s.io in v1, not in v1alpha2 > it is served by 1.29 and 1.30 alone, with the feature gate DynamicResourceAllocation; newer ones need --kubelet-api v1
        ");
    }
}
