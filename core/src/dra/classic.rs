//! The DRA service of Kubernetes 1.29 and 1.30, over the same implementation: the kubelet
//! hands over what a controller allocated, and gets CDI names back.

use tonic::{Request, Response, Status};

use super::node::{ClaimName, Node};
use crate::wire::dra_v1alpha3 as wire;

/// `v1alpha3.Node`.
#[derive(Clone)]
pub struct V1alpha3(pub Node);

fn name(claim: wire::Claim) -> ClaimName {
    ClaimName {
        namespace: claim.namespace,
        name: claim.name,
        uid: claim.uid,
        handle: Some(claim.resource_handle),
    }
}

#[tonic::async_trait]
impl wire::node_server::Node for V1alpha3 {
    async fn node_prepare_resources(
        &self,
        request: Request<wire::NodePrepareResourcesRequest>,
    ) -> Result<Response<wire::NodePrepareResourcesResponse>, Status> {
        let node = self.0.clone();
        let claims = request.into_inner().claims.into_iter().map(name).collect();
        let prepared = async move { node.prepare(claims).await };
        let prepared = self.0.finish(prepared).await?;
        let claims = prepared.into_iter().map(|(uid, outcome)| {
            let mut answer = wire::NodePrepareResourceResponse::default();
            match outcome {
                Ok(devices) => {
                    // All interfaces of a claim are behind one CDI device.
                    for id in devices.into_iter().flat_map(|device| device.cdi_devices) {
                        if !answer.cdi_devices.contains(&id) {
                            answer.cdi_devices.push(id);
                        }
                    }
                }
                Err(error) => answer.error = error,
            }
            (uid, answer)
        });
        Ok(Response::new(wire::NodePrepareResourcesResponse {
            claims: claims.collect(),
        }))
    }

    async fn node_unprepare_resources(
        &self,
        request: Request<wire::NodeUnprepareResourcesRequest>,
    ) -> Result<Response<wire::NodeUnprepareResourcesResponse>, Status> {
        let node = self.0.clone();
        let claims = request.into_inner().claims.into_iter().map(name).collect();
        let done = async move { node.unprepare(claims).await };
        let done = self.0.finish(done).await?;
        let claims = done.into_iter().map(|(uid, outcome)| {
            let error = outcome.err().unwrap_or_default();
            (uid, wire::NodeUnprepareResourceResponse { error })
        });
        Ok(Response::new(wire::NodeUnprepareResourcesResponse {
            claims: claims.collect(),
        }))
    }
}
