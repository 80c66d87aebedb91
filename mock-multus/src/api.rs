//! The API server as the daemon uses it: pods read, network objects read, news written.

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{
    Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams,
};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use crate::request::PodArgs;

/// Where the networks of a pod's interfaces are reported.
const STATUS_ANNOTATION: &str = "k8s.v1.cni.cncf.io/network-status";
/// What kubelet writes on a mirror pod, whose UID is another one than the sandbox's.
const CONFIG_SOURCE: &str = "kubernetes.io/config.source";

/// Why there is no pod.
pub(crate) enum NoPod {
    /// The API has none of that name.
    NotFound,
    /// In the daemon's words.
    Failed(String),
}

impl NoPod {
    pub(crate) fn into_text(self) -> String {
        match self {
            Self::NotFound => "pod not found during Multus GetPod".into(),
            Self::Failed(text) => text,
        }
    }
}

pub(crate) struct Kubernetes(pub(crate) Client);

impl Kubernetes {
    fn pods(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.0.clone(), namespace)
    }

    /// Completes a pod that is named without UID.
    pub(crate) async fn complete(&self, mut pod: PodArgs) -> Result<PodArgs, String> {
        if pod.uid.is_some() {
            return Ok(pod);
        }
        let failed = |error: String| {
            format!(
                "missing pod UID; attempted to recover it from the K8s API, but failed: {error}"
            )
        };
        match self.pods(&pod.namespace).get_opt(&pod.name).await {
            Ok(Some(found)) => {
                pod.uid = Some(found.uid().unwrap_or_default());
                Ok(pod)
            }
            Ok(None) => Err(failed(format!("pod {:?} not found", pod.name))),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// `multus.GetPod`. The daemon asks a cache, and the API again where that has nothing;
    /// here the API is asked at once, so that a missing pod is known sooner.
    pub(crate) async fn pod(&self, wanted: &PodArgs) -> Result<Pod, NoPod> {
        let pod = match self.pods(&wanted.namespace).get_opt(&wanted.name).await {
            Ok(Some(pod)) => pod,
            Ok(None) => return Err(NoPod::NotFound),
            Err(error) => {
                return Err(NoPod::Failed(format!(
                    "Multus: [{}]: error waiting for pod: {error}",
                    wanted.prefix()
                )));
            }
        };
        let uid = wanted.uid.as_deref().unwrap_or_default();
        let is_static = pod
            .annotations()
            .get(CONFIG_SOURCE)
            .is_some_and(|s| s != "api");
        let found = pod.uid().unwrap_or_default();
        if !uid.is_empty() && found != uid && !is_static {
            return Err(NoPod::Failed(format!(
                "Multus: [{}]: expected pod UID {uid:?} but got {found:?} from Kube API",
                wanted.prefix()
            )));
        }
        Ok(pod)
    }

    /// The configuration of a NetworkAttachmentDefinition.
    pub(crate) async fn network(&self, namespace: &str, name: &str) -> Result<Value, String> {
        let kind = GroupVersionKind::gvk("k8s.cni.cncf.io", "v1", "NetworkAttachmentDefinition");
        let resource = ApiResource::from_gvk_with_plural(&kind, "network-attachment-definitions");
        let api: Api<DynamicObject> = Api::namespaced_with(self.0.clone(), namespace, &resource);
        let missing = |error: String| {
            format!(
                "getKubernetesDelegate: cannot find a network-attachment-definition ({name}) in namespace ({namespace}): {error}"
            )
        };
        let object = match api.get_opt(name).await {
            Ok(Some(object)) => object,
            Ok(None) => {
                return Err(missing(format!(
                    "network-attachment-definition.k8s.cni.cncf.io {name:?} not found"
                )));
            }
            Err(error) => return Err(missing(error.to_string())),
        };
        let text = object.data["spec"]["config"].as_str().unwrap_or_default();
        let mut config = crate::go_json::parse(text.as_bytes())
            .map_err(|e| format!("GetCNIConfigFromSpec: failed to unmarshal Spec.Config: {e}"))?;
        if config["name"].as_str().unwrap_or_default().is_empty() && config.is_object() {
            config["name"] = name.into();
        }
        Ok(config)
    }

    /// Tells the pod's owner of a new interface. Nobody waits for it, nothing depends on it.
    pub(crate) async fn added(&self, pod: &Pod, message: String) {
        let namespace = pod.namespace().unwrap_or_default();
        let events: Api<Event> = Api::namespaced(self.0.clone(), &namespace);
        let now = k8s_openapi::jiff::Timestamp::now();
        let time = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now));
        let event = Event {
            metadata: ObjectMeta {
                name: Some(format!("{}.{:x}", pod.name_any(), now.as_nanosecond())),
                namespace: Some(namespace.clone()),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Pod".into()),
                name: Some(pod.name_any()),
                namespace: Some(namespace),
                uid: pod.uid(),
                resource_version: pod.resource_version(),
                ..ObjectReference::default()
            },
            type_: Some("Normal".into()),
            reason: Some("AddedInterface".into()),
            message: Some(message),
            source: Some(EventSource {
                component: Some("multus".into()),
                ..EventSource::default()
            }),
            first_timestamp: time.clone(),
            last_timestamp: time,
            count: Some(1),
            ..Event::default()
        };
        if let Err(error) = events.create(&PostParams::default(), &event).await {
            tracing::debug!(%error, "the event on the pod was not written");
        }
    }

    /// Writes the pod's interfaces where users look for them.
    pub(crate) async fn set_network_status(
        &self,
        pod: &PodArgs,
        networks: &Value,
    ) -> Result<(), String> {
        let text = serde_json::to_string_pretty(networks).unwrap_or_default();
        let patch = json!({"metadata": {"annotations": {STATUS_ANNOTATION: text}}});
        let pods = self.pods(&pod.namespace);
        let params = PatchParams::default();
        match pods
            .patch_status(&pod.name, &params, &Patch::Merge(patch))
            .await
        {
            Ok(_) => Ok(()),
            // The pod went meanwhile: the daemon bears that.
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(error) => Err(format!(
                "SetPodNetworkStatusAnnotation: failed to update the pod {} in out of cluster comm: {error}",
                pod.name
            )),
        }
    }
}
