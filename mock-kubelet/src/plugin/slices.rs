//! Deletes the ResourceSlices of drivers that are not there.

use k8s_openapi::api::resource::v1::ResourceSlice;
use kube::api::{DeleteParams, ListParams};

use crate::config::Timing;
use crate::node::Doubling;

/// Deletes the node's ResourceSlices, of one driver or of all, and tries until it is done.
pub(crate) async fn wipe(client: kube::Client, node: &str, driver: Option<&str>, timing: &Timing) {
    let selector = match driver {
        Some(driver) => format!("spec.driver={driver},spec.nodeName={node}"),
        None => format!("spec.nodeName={node}"),
    };
    let slices = kube::Api::<ResourceSlice>::all(client);
    let which = ListParams::default().fields(&selector);
    for wait in Doubling::api(timing) {
        match slices
            .delete_collection(&DeleteParams::default(), &which)
            .await
        {
            Ok(_) => {
                tracing::debug!(selector, "deleted ResourceSlices");
                return;
            }
            Err(kube::Error::Api(status)) if status.code == 404 => return,
            Err(error) => {
                tracing::debug!(selector, %error, "deleting ResourceSlices failed, retrying")
            }
        }
        tokio::time::sleep(wait).await;
    }
}
