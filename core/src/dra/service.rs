//! The DRA service in the versions that kubelets speak, over one implementation.

use tonic::{Request, Response, Status};

use super::VERSIONS;
use super::node::{ClaimName, Node};
use crate::event::OwnState;
use crate::wire::{dra_v1, dra_v1beta1};

/// `k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin`.
#[derive(Clone)]
pub struct V1(pub Node, pub OwnState);

/// `k8s.io.kubelet.pkg.apis.dra.v1beta1.DRAPlugin`: the same without share ids.
#[derive(Clone)]
pub struct V1beta1(pub Node, pub OwnState);

macro_rules! serve {
    ($service:ident, $wire:ident, $version:expr, |$device:ident| $convert:expr) => {
        #[tonic::async_trait]
        impl $wire::dra_plugin_server::DraPlugin for $service {
            async fn node_prepare_resources(
                &self,
                request: Request<$wire::NodePrepareResourcesRequest>,
            ) -> Result<Response<$wire::NodePrepareResourcesResponse>, Status> {
                self.1.called($version);
                let claims = request
                    .into_inner()
                    .claims
                    .into_iter()
                    .map(|claim| ClaimName {
                        namespace: claim.namespace,
                        name: claim.name,
                        uid: claim.uid,
                        handle: None,
                    });
                let (node, claims) = (self.0.clone(), claims.collect());
                let prepared = self
                    .0
                    .finish(async move { node.prepare(claims).await })
                    .await?;
                let claims = prepared.into_iter().map(|(uid, outcome)| {
                    let answer = match outcome {
                        Ok(devices) => $wire::NodePrepareResourceResponse {
                            devices: devices.into_iter().map(|$device| $convert).collect(),
                            error: String::new(),
                        },
                        Err(error) => $wire::NodePrepareResourceResponse {
                            devices: Vec::new(),
                            error,
                        },
                    };
                    (uid, answer)
                });
                Ok(Response::new($wire::NodePrepareResourcesResponse {
                    claims: claims.collect(),
                }))
            }

            async fn node_unprepare_resources(
                &self,
                request: Request<$wire::NodeUnprepareResourcesRequest>,
            ) -> Result<Response<$wire::NodeUnprepareResourcesResponse>, Status> {
                self.1.called($version);
                let claims = request
                    .into_inner()
                    .claims
                    .into_iter()
                    .map(|claim| ClaimName {
                        namespace: claim.namespace,
                        name: claim.name,
                        uid: claim.uid,
                        handle: None,
                    });
                let (node, claims) = (self.0.clone(), claims.collect());
                let done = self
                    .0
                    .finish(async move { node.unprepare(claims).await })
                    .await?;
                let claims = done.into_iter().map(|(uid, outcome)| {
                    let error = outcome.err().unwrap_or_default();
                    (uid, $wire::NodeUnprepareResourceResponse { error })
                });
                Ok(Response::new($wire::NodeUnprepareResourcesResponse {
                    claims: claims.collect(),
                }))
            }
        }
    };
}

serve!(V1, dra_v1, VERSIONS[0], |device| dra_v1::Device {
    request_names: device.requests,
    pool_name: device.key.pool,
    device_name: device.key.device,
    cdi_device_ids: device.cdi_devices,
    share_id: device.key.share_id,
});

serve!(V1beta1, dra_v1beta1, VERSIONS[1], |device| {
    dra_v1beta1::Device {
        request_names: device.requests,
        pool_name: device.key.pool,
        device_name: device.key.device,
        cdi_device_ids: device.cdi_devices,
    }
});
