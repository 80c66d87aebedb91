//! The driver's client against the daemon: attach, detach, and every refusal on the way.

mod common;

use common::{Node, host_local, macvlan, pod, soon};
use ndra_core::cni::Command;
use ndra_core::multus::{InterfaceAttributes, MultusError, Pod};
use ndra_mock_multus::{Outcome, stock_daemon_config};
use serde_json::{Value, json};

fn plain() -> InterfaceAttributes {
    InterfaceAttributes::default()
}

impl Node {
    async fn add(&self, ipam: Value) -> Result<ndra_core::cni::CniResult, MultusError> {
        let network = macvlan(ipam);
        self.client
            .delegate_add(&network, &self.invocation("net1"), &pod(), &plain(), soon())
            .await
    }

    async fn del(&self, pod: &Pod) -> Result<(), MultusError> {
        let network = macvlan(host_local());
        self.client
            .delegate_del(&network, &self.invocation("net1"), pod, soon())
            .await
    }
}

#[tokio::test]
async fn an_interface_comes_and_goes() {
    let node = Node::new().await;
    let result = node.add(host_local()).await.unwrap();
    let ips: Vec<String> = result
        .addresses("net1")
        .iter()
        .map(|ip| ip.to_string())
        .collect();
    assert_eq!(ips, ["10.10.1.2/29", "fd00::2/64"]);
    assert_eq!(result.gateway("net1").unwrap().to_string(), "10.10.1.1");
    let inside = result.container_interface("net1").unwrap().clone();
    assert_eq!(inside.sandbox, node.netns().to_str().unwrap());

    let interfaces = node.daemon.interfaces();
    assert_eq!(interfaces.len(), 1);
    assert_eq!(interfaces[0].mac, inside.mac);
    assert!(interfaces[0].up);
    assert_eq!(node.daemon.allocations().len(), 2);

    let calls = node.daemon.calls();
    assert_eq!((calls[0].path, &calls[0].command[..]), ("/delegate", "ADD"));
    assert_eq!(
        calls[0].args,
        "K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_UID=u1"
    );
    for (key, value) in stock_daemon_config() {
        assert_eq!(calls[0].config[&key], value, "laid over the request's");
    }
    let Some(Outcome::Done(done)) = &calls[0].outcome else {
        panic!("{:?}", calls[0].outcome);
    };
    assert_eq!(
        done["cniVersion"], "1.1.0",
        "whatever the network's version"
    );

    let event = node
        .api
        .written("POST /api/v1/namespaces/default/events")
        .await;
    assert_eq!(event["reason"], "AddedInterface");
    assert_eq!(
        event["message"],
        "Add net1 [10.10.1.2/29 fd00::2/64] from m"
    );
    assert_eq!(event["involvedObject"]["uid"], "u1");

    node.del(&pod()).await.unwrap();
    node.del(&pod()).await.unwrap();
    assert!(node.daemon.interfaces().is_empty());
    assert!(node.daemon.allocations().is_empty());
    let socket = node.daemon.socket().to_owned();
    node.daemon.stop().await;
    assert!(!socket.exists());
}

#[tokio::test]
async fn a_name_in_use_is_refused_before_the_plugin_runs() {
    let node = Node::new().await;
    node.add(host_local()).await.unwrap();
    let error = node.add(host_local()).await.unwrap_err();
    insta::assert_snapshot!(error, @r#"Multus refused ADD of net1 for pod default/web on network `m`: error configuring pod [default/web] networking: DelegateAdd: cannot set "" interface name to "net1": validateIfName: interface name net1 already exists"#);
    assert_eq!(node.daemon.allocations().len(), 2, "no further address");
    let MultusError::Refused { status, text, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(*status, 400);
    insta::assert_snapshot!(node.stable(text), @r#"ContainerID:"sandbox1" Netns:"/node/netns" IfName:"net1" Args:"K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_UID=u1" Path:"" ERRORED: error configuring pod [default/web] networking: DelegateAdd: cannot set "" interface name to "net1": validateIfName: interface name net1 already exists"#);
}

#[tokio::test]
async fn a_failed_add_leaves_debris_until_del() {
    let node = Node::new().await;
    let error = node.add(json!({"type": "nosuch"})).await.unwrap_err();
    insta::assert_snapshot!(error, @r#"Multus refused ADD of net1 for pod default/web on network `m`: error configuring pod [default/web] networking: plugin type="macvlan" failed (add): failed to find plugin "nosuch" in path [/opt/cni/bin]"#);
    assert!(!error.pod_is_gone());
    assert!(!node.daemon.interfaces()[0].up);
    let again = node.add(host_local()).await.unwrap_err().to_string();
    assert!(
        again.ends_with("interface name net1 already exists"),
        "{again}"
    );
    node.del(&pod()).await.unwrap();
    node.add(host_local()).await.unwrap();
}

#[tokio::test]
async fn without_the_pod_nothing_is_done() {
    let node = Node::new().await;
    node.add(host_local()).await.unwrap();
    node.api.remove_pod("default", "web");
    let error = node.del(&pod()).await.unwrap_err();
    insta::assert_snapshot!(error, @"Multus refused DEL of net1 for pod default/web on network `m`: pod not found during Multus GetPod");
    assert!(error.pod_is_gone());
    let anonymous = Pod { uid: None, ..pod() };
    let error = node.del(&anonymous).await.unwrap_err();
    insta::assert_snapshot!(error, @r#"Multus refused DEL of net1 for pod default/web on network `m`: could not extract the kubernetes runtime args: missing pod UID; attempted to recover it from the K8s API, but failed: pod "web" not found"#);
    assert!(error.pod_is_gone());
    let error = node.add(host_local()).await.unwrap_err();
    assert!(error.pod_is_gone());
    assert_eq!(node.daemon.interfaces().len(), 1);
}

#[tokio::test]
async fn another_pod_of_that_name_is_not_it() {
    let node = Node::new().await;
    node.add(host_local()).await.unwrap();
    node.api.put_pod("default", "web", "u2", json!({}));
    let error = node.del(&pod()).await.unwrap_err();
    insta::assert_snapshot!(error, @r#"Multus refused DEL of net1 for pod default/web on network `m`: Multus: [default/web/u1]: expected pod UID "u1" but got "u2" from Kube API"#);
    assert!(error.pod_is_gone());
    // Named without UID, the successor does as well.
    node.del(&Pod { uid: None, ..pod() }).await.unwrap();
    assert!(node.daemon.interfaces().is_empty());
    // A static pod's mirror has another UID than its sandbox.
    let mirror = json!({"kubernetes.io/config.source": "file"});
    node.api.put_pod("default", "web", "u3", mirror);
    node.add(host_local()).await.unwrap();
}

#[tokio::test]
async fn what_is_asked_of_the_interface_is_given() {
    let node = Node::new().await;
    let mut network = macvlan(json!({"type": "static"}));
    network.plugins[0].insert("capabilities".into(), json!({"ips": true}));
    let attributes = InterfaceAttributes {
        ips: vec!["10.7.7.7/24".into(), "fd07::7/64".into()],
        mac: Some("02-00-00-00-00-07".into()),
        cni_args: json!({"hello": 1}).as_object().unwrap().clone(),
    };
    let invocation = node.invocation("data0");
    let added = node
        .client
        .delegate_add(&network, &invocation, &pod(), &attributes, soon())
        .await
        .unwrap();
    let ips: Vec<String> = added
        .addresses("data0")
        .iter()
        .map(|ip| ip.to_string())
        .collect();
    assert_eq!(ips, ["10.7.7.7/24", "fd07::7/64"]);
    assert_eq!(node.daemon.interfaces()[0].mac, "02:00:00:00:00:07");

    let from_args = InterfaceAttributes {
        cni_args: json!({"ips": ["10.10.1.5"]}).as_object().unwrap().clone(),
        ..plain()
    };
    let network = macvlan(json!({"type": "host-local", "subnet": "10.10.1.0/24"}));
    let added = node
        .client
        .delegate_add(
            &network,
            &node.invocation("net1"),
            &pod(),
            &from_args,
            soon(),
        )
        .await
        .unwrap();
    assert_eq!(added.addresses("net1")[0].to_string(), "10.10.1.5/24");
}

#[tokio::test]
async fn what_cannot_be_given_is_refused() {
    let node = Node::new().await;
    let refused = async |ips: &[&str], mac: Option<&str>| {
        let attributes = InterfaceAttributes {
            ips: ips.iter().map(|ip| (*ip).to_owned()).collect(),
            mac: mac.map(str::to_owned),
            ..plain()
        };
        let network = macvlan(host_local());
        let added = node
            .client
            .delegate_add(
                &network,
                &node.invocation("net9"),
                &pod(),
                &attributes,
                soon(),
            )
            .await;
        node.client
            .delegate_del(&network, &node.invocation("net9"), &pod(), soon())
            .await
            .unwrap();
        node.stable(added.unwrap_err())
    };
    insta::assert_snapshot!(refused(&[], Some("zz")).await, @r#"Multus refused ADD of net9 for pod default/web on network `m`: error configuring pod [default/web] networking: DelegateAdd: failed to parse mac address "zz""#);
    insta::assert_snapshot!(refused(&[], Some("01:00:00:00:00:01")).await, @r#"Multus refused ADD of net9 for pod default/web on network `m`: error configuring pod [default/web] networking: plugin type="macvlan" failed (add): failed to create macvlan: cannot assign requested address"#);
    insta::assert_snapshot!(refused(&["10.1.1.300"], None).await, @r#"Multus refused ADD of net9 for pod default/web on network `m`: error configuring pod [default/web] networking: DelegateAdd: failed to parse IP address "10.1.1.300""#);
    insta::assert_snapshot!(refused(&["10.9.9.9"], None).await, @r#"Multus refused ADD of net9 for pod default/web on network `m`: error configuring pod [default/web] networking: plugin type="macvlan" failed (add): failed to allocate all requested IPs: 10.9.9.9"#);
    insta::assert_snapshot!(refused(&["10.10.1.3", "10.10.1.4"], None).await, @r#"Multus refused ADD of net9 for pod default/web on network `m`: error configuring pod [default/web] networking: plugin type="macvlan" failed (add): ARGS: error parsing value of pair "IP=10.10.1.3,10.10.1.4": invalid IP address 10.10.1.3,10.10.1.4"#);
    assert!(node.daemon.allocations().is_empty());
}

#[tokio::test]
async fn bad_networks_are_refused_in_the_daemons_words() {
    let node = Node::new().await;
    let add = async |change: fn(&mut ndra_core::cni::ConfigList)| {
        let mut network = macvlan(host_local());
        change(&mut network);
        let invocation = node.invocation("net1");
        let added = node
            .client
            .delegate_add(&network, &invocation, &pod(), &plain(), soon())
            .await;
        node.stable(added.unwrap_err())
    };
    insta::assert_snapshot!(add(|n| n.name = "no spaces".into()).await, @r#"Multus refused ADD of net1 for pod default/web on network `no spaces`: error configuring pod [default/web] networking: plugin type="macvlan" failed (add): invalid characters found in network name; no spaces"#);
    insta::assert_snapshot!(add(|n| n.name.clear()).await, @r#"Multus refused ADD of net1 for pod default/web on network ``: error configuring pod [default/web] networking: plugin type="macvlan" failed (add): missing network name:"#);
    insta::assert_snapshot!(add(|n| drop(n.plugins[0].insert("type".into(), "bridge".into()))).await, @r#"Multus refused ADD of net1 for pod default/web on network `m`: error configuring pod [default/web] networking: plugin type="bridge" failed (add): failed to find plugin "bridge" in path [/opt/cni/bin]"#);
    insta::assert_snapshot!(add(|n| drop(n.plugins[0].insert("master".into(), "eth7".into()))).await, @r#"Multus refused ADD of net1 for pod default/web on network `m`: error configuring pod [default/web] networking: plugin type="macvlan" failed (add): Link not found"#);
    insta::assert_snapshot!(add(|n| drop(n.plugins[0].insert("mode".into(), "odd".into()))).await, @r#"Multus refused ADD of net1 for pod default/web on network `m`: error configuring pod [default/web] networking: plugin type="macvlan" failed (add): unknown macvlan mode: "odd""#);
    insta::assert_snapshot!(add(|n| drop(n.plugins[0].insert("mtu".into(), 9000.into()))).await, @r#"Multus refused ADD of net1 for pod default/web on network `m`: error configuring pod [default/web] networking: plugin type="macvlan" failed (add): invalid MTU 9000, must be [0, master MTU(1500)]"#);
    insta::assert_snapshot!(add(|n| drop(n.plugins[0].shift_remove("type"))).await, @"Multus refused ADD of net1 for pod default/web on network `m`: LoadDelegateNetConf: failed with: LoadDelegateNetConfList: a plugin delegate must have the 'type' field");
    insta::assert_snapshot!(add(|n| n.plugins.clear()).await, @"Multus refused ADD of net1 for pod default/web on network `m`: LoadDelegateNetConf: failed with: LoadDelegateNetConfList: the list of plugins is empty");
    std::fs::remove_file(node.netns()).unwrap();
    insta::assert_snapshot!(add(|_| {}).await, @r#"Multus refused ADD of net1 for pod default/web on network `m`: error configuring pod [default/web] networking: DelegateAdd: cannot set "" interface name to "net1": validateIfName: no net namespace /node/netns found: failed to Statfs "/node/netns": no such file or directory"#);
    assert!(node.daemon.interfaces().is_empty());

    let mut network = macvlan(host_local());
    network.plugins[0].insert("ipam".into(), json!({"type": "host-local"}));
    let invocation = node.invocation("net1");
    let pod = pod();
    let deleted = node
        .client
        .delegate_del(&network, &invocation, &pod, soon());
    insta::assert_snapshot!(deleted.await.unwrap_err(), @r#"Multus refused DEL of net1 for pod default/web on network `m`: DelegateDel: error invoking ConflistDel - "m": conflistDel: error in getting result from DelNetworkList: plugin type="macvlan" failed (delete): no IP ranges specified"#);
}

#[tokio::test]
async fn faults_reach_the_caller_as_a_plugins_error() {
    let node = Node::new().await;
    node.daemon
        .faults()
        .fail_next(1, Command::Add, "link is down");
    insta::assert_snapshot!(node.add(host_local()).await.unwrap_err(), @r#"Multus refused ADD of net1 for pod default/web on network `m`: error configuring pod [default/web] networking: plugin type="macvlan" failed (add): link is down"#);
    node.add(host_local()).await.unwrap();
    node.daemon.faults().fail_always(Command::Del, "busy");
    insta::assert_snapshot!(node.del(&pod()).await.unwrap_err(), @r#"Multus refused DEL of net1 for pod default/web on network `m`: DelegateDel: error invoking ConflistDel - "m": conflistDel: error in getting result from DelNetworkList: plugin type="macvlan" failed (delete): busy"#);
    insta::assert_snapshot!(node.del(&pod()).await.unwrap_err().reason().unwrap(), @r#"DelegateDel: error invoking ConflistDel - "m": conflistDel: error in getting result from DelNetworkList: plugin type="macvlan" failed (delete): busy"#);
    node.daemon.faults().clear();
    node.del(&pod()).await.unwrap();
}

#[tokio::test]
async fn a_caller_that_gives_up_does_not_stop_the_daemon() {
    let node = Node::new().await;
    node.daemon.faults().hang(true);
    let network = macvlan(host_local());
    let invocation = node.invocation("net1");
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_millis(50);
    let added = node
        .client
        .delegate_add(&network, &invocation, &pod(), &plain(), deadline)
        .await;
    let error = added.unwrap_err();
    assert!(matches!(error, MultusError::TimedOut { .. }), "{error:?}");
    insta::assert_snapshot!(node.stable(error), @"Multus at /node/multus.sock gave no answer to ADD of net1 for pod default/web on network `m` in time: see the log of its daemon on this node");
    let begun = node.daemon.wait_for_calls(|calls| !calls.is_empty()).await;
    assert_eq!(begun[0].outcome, None);
    node.daemon.faults().clear();
    let ended = node
        .daemon
        .wait_for_calls(|calls| calls[0].outcome.is_some());
    assert!(matches!(ended.await[0].outcome, Some(Outcome::Done(_))));
    assert_eq!(node.daemon.interfaces().len(), 1, "made for nobody");
}

#[tokio::test]
async fn a_daemon_that_hangs_can_be_stopped() {
    let node = Node::new().await;
    node.daemon.faults().hang(true);
    let client = node.client.clone();
    let (network, invocation) = (macvlan(host_local()), node.invocation("net1"));
    let adding = tokio::spawn(async move {
        client
            .delegate_add(&network, &invocation, &pod(), &plain(), soon())
            .await
    });
    node.daemon.wait_for_calls(|calls| !calls.is_empty()).await;
    node.daemon.stop().await;
    let error = adding.await.unwrap().unwrap_err();
    assert!(
        matches!(
            error,
            MultusError::Closed { .. } | MultusError::Refused { status: 500, .. }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn the_node_outlives_its_daemon() {
    let node = Node::new().await;
    node.add(host_local()).await.unwrap();
    let state = node.daemon.state();
    let config = ndra_mock_multus::Config {
        state,
        ..ndra_mock_multus::Config::new(node.daemon.socket(), node.api.client())
    };
    node.daemon.stop().await;
    let daemon = ndra_mock_multus::Multus::start(config).await.unwrap();
    let node = Node { daemon, ..node };
    assert_eq!(node.daemon.interfaces().len(), 1);
    node.del(&pod()).await.unwrap();
    assert!(node.daemon.allocations().is_empty());
}
