//! The kubelet's own Node: made when it is not there, as with `--register-node`, which is
//! the real kubelet's default.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::api::{Api, ObjectMeta, PostParams};

use crate::node::{Doubling, Node};

/// Makes the Node. An API server that is away is waited for; a Node that is there stays as
/// it is.
pub(crate) async fn register(node: Arc<Node>) {
    let api: Api<NodeObject> = Api::all(node.client.clone());
    let object = NodeObject {
        metadata: ObjectMeta {
            name: Some(node.name.clone()),
            labels: Some(
                [("kubernetes.io/hostname".to_owned(), node.name.clone())]
                    .into_iter()
                    .collect(),
            ),
            ..ObjectMeta::default()
        },
        ..NodeObject::default()
    };
    for wait in Doubling::api(&node.timing) {
        match api.create(&PostParams::default(), &object).await {
            Ok(_) => return,
            Err(kube::Error::Api(status)) if status.code == 409 => return,
            Err(error) => {
                tracing::warn!(node = %node.name, "cannot register the Node: {error}");
            }
        }
        tokio::time::sleep(wait).await;
    }
}
