//! A kubelet of Kubernetes 1.29: versions are numbers, and claims have resource handles.

use ndra_core::wire::dra_v1alpha3 as wire;
use ndra_mock_kubelet::ApiVersion;
use serde_json::{Value, json};
use tonic::{Request, Response, Status};

use crate::bed::{Bed, nothing_prepared, registered};
use crate::driver::Driver;

/// Notes the handle with each claim.
#[tonic::async_trait]
impl wire::node_server::Node for Driver {
    async fn node_prepare_resources(
        &self,
        request: Request<wire::NodePrepareResourcesRequest>,
    ) -> Result<Response<wire::NodePrepareResourcesResponse>, Status> {
        let claims = request.into_inner().claims.into_iter();
        let names = claims.map(|c| (format!("{}={}", c.name, c.resource_handle), c.uid));
        let reply = self.answer("prepare(v1alpha3)", names.collect()).await;
        let claims = reply.into_iter().map(|(uid, error, devices)| {
            let cdi_devices = devices.into_iter().flat_map(|d| d.cdi_device_ids).collect();
            (
                uid,
                wire::NodePrepareResourceResponse { cdi_devices, error },
            )
        });
        let claims = claims.collect();
        Ok(Response::new(wire::NodePrepareResourcesResponse { claims }))
    }

    async fn node_unprepare_resources(
        &self,
        request: Request<wire::NodeUnprepareResourcesRequest>,
    ) -> Result<Response<wire::NodeUnprepareResourcesResponse>, Status> {
        let claims = request.into_inner().claims.into_iter();
        let names = claims.map(|c| (format!("{}={}", c.name, c.resource_handle), c.uid));
        let reply = self.answer("unprepare(v1alpha3)", names.collect()).await;
        let claims = reply
            .into_iter()
            .map(|(uid, error, _)| (uid, wire::NodeUnprepareResourceResponse { error }));
        let claims = claims.collect();
        Ok(Response::new(wire::NodeUnprepareResourcesResponse {
            claims,
        }))
    }
}

fn claim(name: &str, allocation: Value) -> Value {
    json!({
        "apiVersion": "resource.k8s.io/v1alpha2",
        "kind": "ResourceClaim",
        "metadata": { "name": name, "namespace": "ns", "uid": format!("uid-{name}") },
        "spec": { "resourceClassName": "dra.networking" },
        "status": {
            "driverName": "dra.networking",
            "allocation": allocation,
            "reservedFor": [{ "resource": "pods", "name": "p", "uid": "uid-p" }],
        },
    })
}

fn bed() -> Bed {
    let mut bed = Bed::new();
    bed.versions = vec![ApiVersion::V1alpha3];
    bed
}

#[tokio::test]
async fn the_handle_goes_to_the_driver_and_its_devices_to_the_container() {
    let bed = bed();
    let driver = Driver::new(bed.dir.path(), &["1.0.0"]);
    let _guards = [driver.serve(), driver.register(&bed.registration())];
    let kubelet = bed.kubelet().await;
    registered(&kubelet).await;
    let plugin = kubelet.plugins().borrow()["dra.networking"].clone();
    assert_eq!(plugin.version, ApiVersion::V1alpha3);
    // One handle names its driver, the other leaves that to the claim.
    let named = json!({ "resourceHandles": [{ "driverName": "dra.networking", "data": "A" }] });
    let plain = json!({ "resourceHandles": [{ "data": "B" }] });
    bed.api.apply("resourceclaims", claim("one", named));
    bed.api.apply("resourceclaims", claim("two", plain));
    bed.pod("p", &["one", "two"]);
    bed.cri.until_running("main", 0).await;
    assert_eq!(driver.calls(), ["prepare(v1alpha3) one=A+two=B"]);
    assert_eq!(
        bed.cri.0.borrow().devices("main"),
        [
            "dra.networking/claim=uid-one",
            "dra.networking/claim=uid-two"
        ]
    );
    // From its checkpoint: another kubelet knows the handles still.
    kubelet.stop().await;
    let kubelet = bed.kubelet().await;
    registered(&kubelet).await;
    bed.api.delete_pod("p");
    driver.until_call("unprepare(v1alpha3) one=A+two=B").await;
    bed.api
        .until("the pod to go", |store| store.pod("p").is_none())
        .await;
    nothing_prepared(&kubelet).await;
    kubelet.stop().await;
}

#[tokio::test]
async fn a_claim_without_allocation_or_handle() {
    let bed = bed();
    let driver = Driver::new(bed.dir.path(), &["1.0.0"]);
    let _guards = [driver.serve(), driver.register(&bed.registration())];
    let kubelet = bed.kubelet().await;
    registered(&kubelet).await;
    bed.api.apply("resourceclaims", claim("one", Value::Null));
    bed.pod("p", &["one"]);
    bed.api
        .until_event("p", "FailedPrepareDynamicResources")
        .await;
    assert_eq!(driver.calls(), [""; 0]);
    // The driver is called with nothing when its controller wrote nothing.
    bed.api.apply("resourceclaims", claim("one", json!({})));
    driver.until_call("prepare(v1alpha3) one=").await;
    kubelet.stop().await;
}

#[tokio::test]
async fn a_plugin_of_another_time_is_refused_in_the_kubelets_words() {
    let bed = bed();
    let driver = Driver::new(bed.dir.path(), &["v1.DRAPlugin"]);
    let _registration = driver.register(&bed.registration());
    let kubelet = bed.kubelet().await;
    let status = driver.until_notified().await;
    assert!(!status.plugin_registered);
    let error = status
        .error
        .replace(bed.dir.path().to_str().unwrap(), "DIR");
    insta::assert_snapshot!(error, @r#"RegisterPlugin error -- plugin validation failed with err: validation failed for DRA plugin dra.networking at endpoint DIR/dra.networking.sock: ValidatePlugin for DRA plugin "dra.networking" failed. None of the versions specified ["v1.DRAPlugin"] are supported. err=could not find a highest supported version from versions ([v1.DRAPlugin]) reported by this plugin"#);
    kubelet.stop().await;
}

#[tokio::test]
async fn a_second_plugin_is_refused_unless_its_version_is_higher() {
    let bed = bed();
    let first = Driver::new(bed.dir.path(), &["1.0.0"]);
    let first_guards = [first.serve(), first.register(&bed.registration())];
    let kubelet = bed.kubelet().await;
    registered(&kubelet).await;
    let at = |name: &str, version: &str| {
        let driver = Driver::new(bed.dir.path(), &[version]);
        let endpoint = bed.path(&format!("{name}.sock"));
        driver.set(|state| state.info.endpoint = endpoint.to_str().unwrap().into());
        let guards = [
            driver.serve(),
            driver.register(&bed.path(&format!("reg/{name}.sock"))),
        ];
        (driver, guards)
    };
    let endpoint = || {
        kubelet.plugins().borrow()["dra.networking"]
            .endpoint
            .clone()
    };
    let (same, same_guards) = at("same", "1.0.0");
    let status = same.until_notified().await;
    assert!(!status.plugin_registered);
    let error = status
        .error
        .replace(bed.dir.path().to_str().unwrap(), "DIR");
    insta::assert_snapshot!(error, @r#"RegisterPlugin error -- plugin validation failed with err: validation failed for DRA plugin dra.networking at endpoint DIR/same.sock: ValidatePlugin for DRA plugin "dra.networking" failed. Another plugin with the same name is already registered with a higher supported version: "1.0.0""#);
    assert_eq!(endpoint(), bed.path("dra.networking.sock"));
    let (higher, _higher_guards) = at("higher", "1.1.0");
    assert!(higher.until_notified().await.plugin_registered);
    assert_eq!(endpoint(), bed.path("higher.sock"));
    // Plugins are forgotten by name: with the socket of the old one the new one goes, too.
    drop((first_guards, same_guards));
    let mut plugins = kubelet.plugins();
    let gone = plugins.wait_for(|plugins| plugins.is_empty());
    tokio::time::timeout(std::time::Duration::from_secs(10), gone)
        .await
        .unwrap()
        .unwrap();
    kubelet.stop().await;
}
