//! What every test stands on: directories, the three fakes, a kubelet between them.

use std::path::PathBuf;
use std::time::Duration;

use ndra_core::event::Recorder;
use ndra_core::gate::Gate;
use ndra_mock_kubelet::{ApiVersion, Config, Kubelet, StartError, Timing};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::DropGuard;

use crate::api::Api;
use crate::cri::Cri;
use crate::driver::Driver;

/// Waits until the condition holds; fails after a time that no healthy run needs.
pub async fn wait_for<T>(state: &watch::Sender<T>, what: &str, condition: impl FnMut(&T) -> bool) {
    let mut state = state.subscribe();
    let wait = state.wait_for(condition);
    if tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .is_err()
    {
        panic!("waited in vain for: {what}");
    }
}

pub struct Bed {
    pub dir: TempDir,
    pub api: Api,
    pub cri: Cri,
    pub timing: Timing,
    pub versions: Vec<ApiVersion>,
    pub recorder: Recorder,
    pub gate: Gate,
    _runtime: DropGuard,
}

impl Bed {
    pub fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("nd")
            .tempdir_in("/tmp")
            .unwrap();
        let (cri, runtime) = Cri::serve(&dir.path().join("cri.sock"));
        Self {
            api: Api::new(),
            cri,
            timing: Timing::quick(),
            versions: vec![ApiVersion::V1, ApiVersion::V1beta1],
            recorder: Recorder::new(1000),
            gate: Gate::default(),
            _runtime: runtime,
            dir,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn registration(&self) -> PathBuf {
        self.path("reg/driver.sock")
    }

    pub async fn try_kubelet(&self) -> Result<Kubelet, StartError> {
        Kubelet::start(Config {
            node: "node-a".into(),
            client: self.api.client(),
            registry: self.path("reg"),
            cri: self.path("cri.sock"),
            checkpoint: self.path("checkpoint"),
            versions: self.versions.clone(),
            timing: self.timing.clone(),
            recorder: self.recorder.clone(),
            gate: self.gate.clone(),
        })
        .await
    }

    pub async fn kubelet(&self) -> Kubelet {
        self.try_kubelet().await.unwrap()
    }

    /// A driver that serves and is registered as soon as a kubelet looks.
    pub fn driver(&self) -> (Driver, [DropGuard; 2]) {
        let driver = Driver::new(self.dir.path(), &["v1.DRAPlugin", "v1beta1.DRAPlugin"]);
        let guards = [driver.serve(), driver.register(&self.registration())];
        (driver, guards)
    }

    /// A kubelet with a registered driver.
    pub async fn both(&self) -> (Kubelet, Driver, [DropGuard; 2]) {
        let kubelet = self.kubelet().await;
        let (driver, guards) = self.driver();
        registered(&kubelet).await;
        (kubelet, driver, guards)
    }

    /// An allocated claim, reserved for these pods (by their UIDs).
    pub fn claim(&self, name: &str, pods: &[&str]) {
        let reserved: Vec<_> = pods
            .iter()
            .map(|pod| json!({ "resource": "pods", "name": pod, "uid": format!("uid-{pod}") }))
            .collect();
        self.api
            .apply("resourceclaims", claim(name, &json!(reserved)));
    }

    /// A pod with one container `main` that uses these claims.
    pub fn pod(&self, name: &str, claims: &[&str]) {
        self.api.apply("pods", pod(name, claims));
    }
}

pub async fn registered(kubelet: &Kubelet) {
    let mut plugins = kubelet.plugins();
    let wait = plugins.wait_for(|plugins| !plugins.is_empty());
    tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .unwrap()
        .unwrap();
}

pub async fn nothing_prepared(kubelet: &Kubelet) {
    assert_eq!(kubelet.prepared(), []);
}

pub fn claim(name: &str, reserved: &Value) -> Value {
    json!({
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": { "name": name, "namespace": "ns", "uid": format!("uid-{name}") },
        "spec": { "devices": { "requests": [{ "name": "net" }] } },
        "status": {
            "allocation": { "devices": { "results": [
                { "request": "net", "driver": "dra.networking", "pool": "pool", "device": "dev" },
            ] } },
            "reservedFor": reserved,
        },
    })
}

pub fn pod(name: &str, claims: &[&str]) -> Value {
    let listed: Vec<_> = claims
        .iter()
        .map(|claim| json!({ "name": claim, "resourceClaimName": claim }))
        .collect();
    let used: Vec<_> = claims
        .iter()
        .map(|claim| json!({ "name": claim }))
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "namespace": "ns", "uid": format!("uid-{name}") },
        "spec": {
            "nodeName": "node-a",
            "resourceClaims": listed,
            "containers": [{ "name": "main", "image": "busybox", "resources": { "claims": used } }],
        },
        "status": { "phase": "Pending" },
    })
}
