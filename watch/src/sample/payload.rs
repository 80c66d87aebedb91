//! What would go over the sockets in a made-up flow.

use serde_json::{Map, Value, json};

use super::flow::Who;

pub(super) fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

pub(super) fn request(who: &Who) -> Value {
    json!({ "request": { "namespace": who.namespace, "name": who.claim, "uid": who.uid } })
}

pub(super) fn cdi(who: &Who) -> Value {
    json!({
        "path": format!("/var/run/cdi/dra.networking-claim_{}.json", who.uid),
        "spec": {
            "cdiVersion": "0.5.0",
            "kind": "dra.networking/claim",
            "devices": [{
                "name": who.uid,
                "containerEdits": {
                    "hooks": [{
                        "hookName": "createRuntime",
                        "path": "/opt/ndra/bin/ndra-hook",
                        "args": ["ndra-hook", "--claim-uid", who.uid, "--socket", "/run/ndra/callback.sock"],
                        "timeout": 30
                    }]
                }
            }]
        }
    })
}

pub(super) fn devices(who: &Who) -> Value {
    json!({ "devices": [{
        "requestNames": ["net"],
        "poolName": "worker-1",
        "deviceName": "slot-3",
        "cdiDeviceIds": [format!("dra.networking/claim={}", who.uid)],
    }] })
}

pub(super) fn hook(who: &Who) -> Value {
    json!({
        "oci_state": {
            "ociVersion": "1.2.0",
            "id": who.container_id(),
            "status": "creating",
            "pid": 4711,
            "bundle": format!("/run/containerd/io.containerd.runtime.v2.task/k8s.io/{}", who.container_id()),
            "annotations": {
                "io.kubernetes.cri.container-name": "app",
                "io.kubernetes.cri.container-type": "container",
                "io.kubernetes.cri.sandbox-id": who.sandbox,
                "io.kubernetes.cri.sandbox-name": who.pod,
                "io.kubernetes.cri.sandbox-namespace": who.namespace
            }
        },
        "path": "/opt/ndra/bin/ndra-hook",
        "args": ["ndra-hook", "--claim-uid", who.uid, "--socket", "/run/ndra/callback.sock"],
    })
}

pub(super) fn netns(who: &Who) -> Value {
    json!({ "netns": format!("/var/run/netns/cni-{}", who.uid), "podUid": who.pod_uid() })
}

pub(super) fn add(who: &Who) -> Value {
    json!({
        "ifName": "net1",
        "netns": format!("/var/run/netns/cni-{}", who.uid),
        "device": "worker-1/slot-3",
        "config": {
            "cniVersion": "1.0.0",
            "name": "macvlan-net",
            "plugins": [{
                "type": "macvlan",
                "master": "eth0",
                "mode": "bridge",
                "ipam": { "type": "host-local", "ranges": [[{ "subnet": "10.10.0.0/16" }]] }
            }]
        }
    })
}

pub(super) fn added(who: &Who) -> Value {
    json!({
        "ifName": "net1",
        "mac": who.mac(),
        "ips": [format!("{}/16", who.ip())],
        "result": {
            "cniVersion": "1.1.0",
            "interfaces": [{ "name": "net1", "mac": who.mac(), "sandbox": format!("/var/run/netns/cni-{}", who.uid) }],
            "ips": [{ "interface": 0, "address": format!("{}/16", who.ip()), "gateway": "10.10.0.1" }]
        }
    })
}

pub(super) fn del(who: &Who) -> Value {
    json!({
        "ifName": "net1",
        "netns": format!("/var/run/netns/cni-{}", who.uid),
        "device": "worker-1/slot-3"
    })
}

pub(super) fn patch(who: &Who, ready: bool) -> Value {
    let condition = if ready { "True" } else { "False" };
    json!({ "patch": { "status": { "devices": [{
        "driver": "dra.networking",
        "pool": "worker-1",
        "device": "slot-3",
        "conditions": [{ "type": "Ready", "status": condition }],
        "networkData": { "interfaceName": "net1", "ips": [format!("{}/16", who.ip())], "hardwareAddress": who.mac() }
    }] } } })
}
