//! A port of the node that real plugins map to a pod. The driver has no wish for one: mappings
//! are the caller's to give, and this one gives some.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ndra_core::cni::{ConfigList, Executor, Invocation};
use ndra_netns::{NODE_ADDRESS, here, inside};
use serde_json::json;
use tokio::time::Instant;

/// A client's way to the mapped port of the node.
fn reached() -> bool {
    let port = SocketAddr::from((NODE_ADDRESS.0, 8088));
    here(|| TcpStream::connect_timeout(&port, Duration::from_secs(2))).is_ok()
}

/// Why this cannot be seen here.
pub(crate) fn missing(plugins: &Path) -> Option<String> {
    let wanted = ["bridge", "portmap", "host-local"];
    if let Some(plugin) = wanted.iter().find(|plugin| !plugins.join(plugin).is_file()) {
        return Some(format!(
            "no CNI plugin {plugin}: install it with scripts/real-tools cni"
        ));
    }
    let tables = Command::new("iptables").args(["-t", "nat", "-S"]).output();
    match tables {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("iptables: {error}")),
    }
}

/// The port leads to the pod from ADD to DEL.
pub(crate) fn maps_a_port(plugins: &Path) {
    let dir = tempfile::tempdir().unwrap();
    let netns = dir.path().join("pod");
    ndra_netns::create(&netns).unwrap();
    let network: ConfigList = serde_json::from_value(json!({
        "cniVersion": "1.0.0", "name": "mapped", "plugins": [
            {"type": "bridge", "bridge": "br1", "isGateway": true,
             "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.30.1.0/24"}]],
                      // The way back to the client.
                      "routes": [{"dst": "0.0.0.0/0"}]}},
            {"type": "portmap", "snat": true, "capabilities": {"portMappings": true}},
        ],
    }))
    .unwrap();
    let mappings = json!([{"hostPort": 8088, "containerPort": 80, "protocol": "tcp"}]);
    let mut capability_args = serde_json::Map::new();
    capability_args.insert("portMappings".into(), mappings);
    let invocation = Invocation {
        container_id: "c1".into(),
        netns: Some(netns.clone()),
        if_name: "net1".into(),
        args: Vec::new(),
        capability_args,
    };
    let executor = Executor::new(vec![plugins.into()], dir.path().join("cache"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let soon = || Instant::now() + Duration::from_secs(30);
    assert!(!reached(), "before ADD");
    let added = executor.add(&network, &invocation, soon());
    let result = runtime.block_on(added).unwrap();
    let listener = inside(&netns, || TcpListener::bind((Ipv4Addr::UNSPECIFIED, 80)));
    let _listener = listener.unwrap().unwrap();
    assert!(reached(), "after ADD");
    let deleted = executor.del(&network, &invocation, Some(&result), soon());
    runtime.block_on(deleted).unwrap();
    assert!(!reached(), "after DEL");
    ndra_netns::remove(&netns).unwrap();
}
