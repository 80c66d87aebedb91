//! `/cni`: a pod's own network and those of its annotation, as the runtime's shim asks.

mod common;

use common::Node;
use serde_json::{Value, json};

fn shim_config() -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "multus-cni-network", "type": "multus-shim",
        "clusterNetwork": "cluster"
    })
}

async fn node() -> Node {
    let node = Node::new().await;
    let cluster = json!({
        "cniVersion": "1.0.0", "name": "cluster",
        "plugins": [{"type": "macvlan", "ipam": {"type": "host-local", "subnet": "10.244.0.0/24"}}]
    });
    node.api
        .put_network("kube-system", "cluster", &cluster.to_string());
    let data = json!({
        "cniVersion": "1.0.0", "type": "macvlan", "capabilities": {"ips": true},
        "ipam": {"type": "static"}
    });
    node.api.put_network("default", "data", &data.to_string());
    let wanted = json!([{"name": "data", "ips": ["10.5.5.5/24"], "mac": "02:00:00:00:00:05"}]);
    let annotations = json!({"k8s.v1.cni.cncf.io/networks": wanted.to_string()});
    node.api.put_pod("default", "web", "u1", annotations);
    node
}

#[tokio::test]
async fn a_sandbox_gets_its_network_and_those_of_the_annotation() {
    let node = node().await;
    let (code, answer) = node.ask("/cni", &node.request("ADD", &shim_config())).await;
    assert_eq!(code, 200, "{answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["Result"]["ips"][0]["address"], "10.244.0.2/24");
    assert_eq!(answer["Result"]["interfaces"][0]["name"], "eth0");
    let made: Vec<(String, String)> = node
        .daemon
        .interfaces()
        .iter()
        .map(|i| (i.if_name.clone(), i.network.clone()))
        .collect();
    assert_eq!(
        made,
        [
            ("eth0".into(), "cluster".into()),
            ("net1".into(), "data".into())
        ]
    );
    let patch = node
        .api
        .written("PATCH /api/v1/namespaces/default/pods/web")
        .await;
    let status = &patch["metadata"]["annotations"]["k8s.v1.cni.cncf.io/network-status"];
    let status: Value = serde_json::from_str(status.as_str().unwrap()).unwrap();
    assert_eq!(status[0]["default"], true);
    assert_eq!(
        status[1],
        json!({"name": "default/data", "interface": "net1", "dns": {}, "ips": ["10.5.5.5"], "mac": "02:00:00:00:00:05"})
    );

    // The name is taken for a delegate, as it is for anybody.
    let more = json!({"name": "m", "type": "macvlan"});
    let (_, text) = node.ask("/delegate", &node.request("ADD", &more)).await;
    assert!(
        text.trim_end()
            .ends_with("interface name eth0 already exists"),
        "{text}"
    );

    // The pod may be gone when its sandbox is torn down.
    node.api.remove_pod("default", "web");
    let (code, answer) = node.ask("/cni", &node.request("DEL", &shim_config())).await;
    assert_eq!((code, &answer[..]), (200, ""));
    assert!(node.daemon.interfaces().is_empty());
    assert!(node.daemon.allocations().is_empty());
    let (code, _) = node.ask("/cni", &node.request("DEL", &shim_config())).await;
    assert_eq!(code, 200, "as often as asked");
}

#[tokio::test]
async fn what_fails_undoes_what_was_made() {
    let node = node().await;
    let both = json!({"k8s.v1.cni.cncf.io/networks": "data,gone@net7"});
    node.api.put_pod("default", "web", "u1", both);
    let (code, text) = node.ask("/cni", &node.request("ADD", &shim_config())).await;
    assert_eq!(code, 400);
    insta::assert_snapshot!(text.trim_end(), @r#"ContainerID:"sandbox1" Netns:"/node/netns" IfName:"eth0" Args:"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_UID=u1" Path:"" ERRORED: error configuring pod [default/web] networking: Multus: [default/web/u1]: error loading k8s delegates k8s args: TryLoadPodDelegates: error in getting k8s network for pod: GetNetworkDelegates: failed getting the delegate: getKubernetesDelegate: cannot find a network-attachment-definition (gone) in namespace (default): network-attachment-definition.k8s.cni.cncf.io "gone" not found"#);
    assert!(
        node.daemon.interfaces().is_empty(),
        "looked up before anything is made"
    );

    node.api.put_network(
        "default",
        "gone",
        r#"{"type": "macvlan", "master": "eth7"}"#,
    );
    let wanted =
        json!([{"name": "data", "ips": ["10.5.5.5/24"]}, {"name": "gone", "interface": "net7"}]);
    let annotations = json!({"k8s.v1.cni.cncf.io/networks": wanted.to_string()});
    node.api.put_pod("default", "web", "u1", annotations);
    let (_, text) = node.ask("/cni", &node.request("ADD", &shim_config())).await;
    insta::assert_snapshot!(text.trim_end(), @r#"ContainerID:"sandbox1" Netns:"/node/netns" IfName:"eth0" Args:"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_UID=u1" Path:"" ERRORED: error configuring pod [default/web] networking: [default/web/u1:gone]: error adding container to network "gone": Link not found"#);
    assert!(node.daemon.interfaces().is_empty());
    assert!(node.daemon.allocations().is_empty());
}

#[tokio::test]
async fn a_pod_that_is_gone_gets_nothing_and_no_error() {
    let node = node().await;
    node.api.remove_pod("default", "web");
    let (code, answer) = node.ask("/cni", &node.request("ADD", &shim_config())).await;
    assert_eq!(code, 200);
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["Result"]["ips"][0]["address"], "0.0.0.0/0");
    assert!(node.daemon.interfaces().is_empty());
}

#[tokio::test]
async fn bad_configurations_are_refused() {
    let node = node().await;
    let asked = async |command: &str, config: Value| {
        let (code, text) = node.ask("/cni", &node.request(command, &config)).await;
        assert_eq!(code, 400);
        text.trim_end().to_owned()
    };
    insta::assert_snapshot!(asked("ADD", json!({})).await, @r#"ContainerID:"sandbox1" Netns:"/node/netns" IfName:"eth0" Args:"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_UID=u1" Path:"" ERRORED: error configuring pod [default/web] networking: Multus: error loading netconf: LoadNetConf: at least one delegate/clusterNetwork must be specified"#);
    insta::assert_snapshot!(asked("ADD", json!({"clusterNetwork": "absent"})).await, @r#"ContainerID:"sandbox1" Netns:"/node/netns" IfName:"eth0" Args:"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_UID=u1" Path:"" ERRORED: error configuring pod [default/web] networking: Multus: [default/web/u1]: failed to get clusterNetwork/defaultNetworks: GetDefaultNetworks: failed to get clusterNetwork absent in namespace kube-system"#);
    insta::assert_snapshot!(asked("ADD", json!({"clusterNetwork": "/no/such/file"})).await, @r#"ContainerID:"sandbox1" Netns:"/node/netns" IfName:"eth0" Args:"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_UID=u1" Path:"" ERRORED: error configuring pod [default/web] networking: Multus: [default/web/u1]: failed to get clusterNetwork/defaultNetworks: GetDefaultNetworks: failed to get clusterNetwork /no/such/file in namespace kube-system"#);
    insta::assert_snapshot!(asked("ADD", json!({"delegates": [{}]})).await, @r#"ContainerID:"sandbox1" Netns:"/node/netns" IfName:"eth0" Args:"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_UID=u1" Path:"" ERRORED: error configuring pod [default/web] networking: Multus: error loading netconf: LoadNetConf: failed to load delegate 0 config: LoadDelegateNetConf: failed with: LoadDelegateNetConfList: delegate must have the 'type' or 'plugin' field"#);
    insta::assert_snapshot!(asked("JUMP", shim_config()).await, @r#"ContainerID:"sandbox1" Netns:"/node/netns" IfName:"eth0" Args:"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_UID=u1" Path:"" ERRORED: unknown cmd type: JUMP"#);
}

#[tokio::test]
async fn inline_delegates_can_be_checked() {
    let node = Node::with(|config, _| {
        config.daemon.shift_remove("cniVersion");
    })
    .await;
    let config = json!({
        "cniVersion": "1.0.0", "name": "n", "type": "multus-shim",
        "delegates": [{"cniVersion": "1.0.0", "name": "m", "type": "macvlan",
            "ipam": {"type": "host-local", "subnet": "10.1.1.0/24"}}]
    });
    let request = |command: &str| node.request(command, &config);
    assert_eq!(node.ask("/cni", &request("ADD")).await.0, 200);
    assert_eq!(
        node.ask("/cni", &request("CHECK")).await,
        (200, String::new())
    );
    std::fs::remove_file(node.netns()).unwrap();
    std::fs::write(node.netns(), "").unwrap();
    let (code, text) = node.ask("/cni", &request("CHECK")).await;
    assert_eq!(code, 400);
    insta::assert_snapshot!(text.trim_end(), @r#"ContainerID:"sandbox1" Netns:"/node/netns" IfName:"eth0" Args:"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_UID=u1" Path:"" ERRORED: DelegateCheck: error invoking DelegateCheck - "macvlan": error in getting result from CheckNetwork: container Interface name in prevResult: eth0 not found"#);
    assert_eq!(
        node.ask("/cni", &request("STATUS")).await,
        (200, String::new())
    );
}
