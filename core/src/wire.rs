//! The protocols between kubelet, driver, runtime and hook, generated from `proto/`.
#![allow(missing_docs, unreachable_pub, clippy::all)]

/// `pluginregistration.Registration`: how the kubelet meets a plugin.
pub mod registration {
    tonic::include_proto!("pluginregistration");
}

/// `k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin`.
pub mod dra_v1 {
    tonic::include_proto!("k8s.io.kubelet.pkg.apis.dra.v1");
}

/// `k8s.io.kubelet.pkg.apis.dra.v1beta1.DRAPlugin`.
pub mod dra_v1beta1 {
    tonic::include_proto!("k8s.io.kubelet.pkg.apis.dra.v1beta1");
}

/// `v1alpha3.Node`: DRA in Kubernetes 1.29 and 1.30.
pub mod dra_v1alpha3 {
    tonic::include_proto!("v1alpha3");
}

/// `runtime.v1.RuntimeService`: the Container Runtime Interface.
pub mod cri {
    tonic::include_proto!("runtime.v1");
}

/// `ndra.callback.v1.Callback`: the OCI hook's one call to the driver.
pub mod callback {
    tonic::include_proto!("ndra.callback.v1");
}

/// `ndra.events.v1.Events`: the driver's live event stream.
pub mod events {
    tonic::include_proto!("ndra.events.v1");
}

/// `ndra.operator.v1.Operator`: what an operator asks of a driver that runs.
pub mod operator {
    tonic::include_proto!("ndra.operator.v1");
}

/// `grpc.health.v1.Health`: what the kubelet's probes ask.
pub mod health {
    tonic::include_proto!("grpc.health.v1");
}

/// `v1.DRAResourceHealth`: how devices are, for the kubelet.
pub mod dra_health_v1 {
    tonic::include_proto!("v1");
}

/// `v1alpha1.DRAResourceHealth`: the same in Kubernetes 1.34.
pub mod dra_health_v1alpha1 {
    tonic::include_proto!("v1alpha1");
}
