//! The daemon's HTTP manners, and the client's against servers that have none.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{Node, host_local, macvlan, pod, soon};
use ndra_core::multus::{InterfaceAttributes, Multus as Client, MultusError, Pod};
use ndra_core::socket;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn single() -> Value {
    json!({"cniVersion": "1.0.0", "name": "m", "type": "macvlan", "master": "eth0", "ipam": host_local()})
}

fn net1(mut request: Value) -> Value {
    request["env"]["CNI_IFNAME"] = "net1".into();
    request
}

#[tokio::test]
async fn probes_answer_and_every_connection_is_closed() {
    let node = Node::new().await;
    // `raw` reads to the end: it would wait for ever on a connection kept alive.
    let (code, head, _) = node.raw("GET", "/healthz", b"").await;
    assert_eq!(code, 200);
    assert!(head.contains("connection: close"), "{head}");
    assert_eq!(node.raw("POST", "/readyz", b"").await.0, 200);
    assert_eq!(node.raw("DELETE", "/readyz", b"").await.0, 405);
    assert_eq!(node.raw("GET", "/other", b"").await.0, 404);
    let (code, _, body) = node.raw("GET", "/delegate", b"").await;
    assert_eq!((code, &body[..]), (405, "Method not allowed\n"));

    node.client.readyz(soon()).await.unwrap();
    node.daemon.faults().shutting_down(true);
    insta::assert_snapshot!(node.client.readyz(soon()).await.unwrap_err(), @"Multus refused /readyz: status 500, without a reason: see the log of its daemon on this node");
    node.client.healthz(soon()).await.unwrap();
}

#[tokio::test]
async fn bad_requests_are_refused_as_plain_text() {
    let node = Node::new().await;
    let (code, head, body) = node.raw("POST", "/delegate", b"{not json").await;
    assert_eq!(code, 400);
    assert!(
        head.contains("content-type: text/plain; charset=utf-8"),
        "{head}"
    );
    insta::assert_snapshot!(body.trim_end(), @"invalid character 'n' looking for beginning of object key string");
    let too_much = vec![b' '; 5 * 1024 * 1024];
    let stream = tokio::net::UnixStream::connect(node.daemon.socket()).await;
    let (mut from, mut to) = stream.unwrap().into_split();
    let send = async {
        let length = too_much.len();
        let head = format!("POST /delegate HTTP/1.1\r\nContent-Length: {length}\r\n\r\n");
        to.write_all(head.as_bytes()).await.unwrap();
        // The daemon need not read all of it.
        let _ = to.write_all(&too_much).await;
    };
    let mut answer = [0; 12];
    let (_, answered) = tokio::join!(send, from.read_exact(&mut answer));
    answered.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");

    let asked = async |change: fn(&mut Value)| {
        let mut request = node.request("ADD", &single());
        change(&mut request);
        let (code, text) = node.ask("/delegate", &request).await;
        assert_eq!(code, 400);
        text.trim_end().to_owned()
    };
    insta::assert_snapshot!(asked(|r| r["env"]["CNI_ARGS"] = "K8S_POD_NAMESPACE=a=b".into()).await, @"could not extract the kubernetes runtime args: invalid CNI_ARG 'K8S_POD_NAMESPACE=a=b'");
    insta::assert_snapshot!(asked(|r| r["env"]["CNI_ARGS"] = "K8S_POD_NAME=web".into()).await, @"could not extract the kubernetes runtime args: missing K8S_POD_NAMESPACE");
    insta::assert_snapshot!(asked(|r| r["env"]["CNI_COMMAND"] = "GC".into()).await, @r#"ContainerID:"" Netns:"" IfName:"" Args:"" Path:"" ERRORED: unknown cmd type: GC"#);
    insta::assert_snapshot!(asked(|r| r["env"]["CNI_COMMAND"] = "JUMP".into()).await, @r#"ContainerID:"sandbox1" Netns:"/node/netns" IfName:"eth0" Args:"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_UID=u1" Path:"" ERRORED: unknown cmd type: JUMP"#);
    insta::assert_snapshot!(asked(|r| r["config"] = "bm9wZQ==".into()).await, @"could not extract the CNI command args: failed to unmarshall CNI config: invalid character 'o' in literal null (expecting 'u')");
    insta::assert_snapshot!(asked(|r| r["config"] = Value::Null).await, @"could not extract the CNI command args: failed to unmarshall CNI config: unexpected end of JSON input");
    insta::assert_snapshot!(asked(|r| r["env"]["CNI_ARGS"] = "K8S_POD_NAMESPACE=;K8S_POD_NAME=web;K8S_POD_UID=u1".into()).await, @r#"ContainerID:"sandbox1" Netns:"/node/netns" IfName:"eth0" Args:"K8S_POD_NAMESPACE=;K8S_POD_NAME=web;K8S_POD_UID=u1" Path:"" ERRORED: required CNI variable missing. pod name: web; pod namespace:"#);
}

#[tokio::test]
async fn a_single_plugins_configuration_does_as_well_as_a_list() {
    let node = Node::new().await;
    let (code, answer) = node
        .ask("/delegate", &net1(node.request("ADD", &single())))
        .await;
    assert_eq!(code, 200, "{answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["Result"]["cniVersion"], "1.1.0");
    assert_eq!(answer["Result"]["ips"][0]["address"], "10.10.1.2/29");
    // The daemon drops what came in CNI_ARGS besides the pod, and the plugin sees its own.
    let (_, text) = node
        .ask("/delegate", &net1(node.request("ADD", &single())))
        .await;
    insta::assert_snapshot!(text.trim_end(), @r#"ContainerID:"sandbox1" Netns:"/node/netns" IfName:"net1" Args:"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_UID=u1" Path:"" ERRORED: error configuring pod [default/web] networking: DelegateAdd: cannot set "macvlan" interface name to "net1": validateIfName: interface name net1 already exists"#);
    let (code, answer) = node
        .ask("/delegate", &net1(node.request("DEL", &single())))
        .await;
    assert_eq!((code, &answer[..]), (200, ""));

    let mut bad = single();
    bad["master"] = "eth7".into();
    let (_, text) = node
        .ask("/delegate", &net1(node.request("ADD", &bad)))
        .await;
    insta::assert_snapshot!(text.trim_end(), @r#"ContainerID:"sandbox1" Netns:"/node/netns" IfName:"net1" Args:"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_UID=u1" Path:"" ERRORED: error configuring pod [default/web] networking: Link not found"#);
    bad["ipam"]["type"] = "nosuch".into();
    let (_, text) = node
        .ask("/delegate", &net1(node.request("DEL", &bad)))
        .await;
    insta::assert_snapshot!(text.trim_end(), @r#"ContainerID:"sandbox1" Netns:"/node/netns" IfName:"net1" Args:"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_UID=u1" Path:"" ERRORED: DelegateDel: error invoking DelegateDel - "macvlan": error in getting result from DelNetwork: failed to find plugin "nosuch" in path [/opt/cni/bin]"#);
}

#[tokio::test]
async fn nobody_listens() {
    let node = Node::new().await;
    let client = Client::new(node.dir.path().join("gone.sock"));
    let error = client.healthz(soon()).await.unwrap_err();
    assert!(matches!(error, MultusError::Unreachable(_)));
    insta::assert_snapshot!(node.stable(error), @"cannot reach /node/gone.sock: No such file or directory (usually the Multus daemon (thick plugin) listens there; is it running?)");
    let long = Client::new(format!("/tmp/{}", "x".repeat(120)));
    let error = long.healthz(soon()).await.unwrap_err().to_string();
    assert!(error.ends_with("choose a shorter directory"), "{error}");
}

#[tokio::test]
async fn names_that_would_forge_arguments_are_not_sent() {
    let node = Node::new().await;
    let forged = Pod {
        name: "web;K8S_POD_UID=u2".into(),
        ..pod()
    };
    let network = macvlan(host_local());
    let deleted = node
        .client
        .delegate_del(&network, &node.invocation("net1"), &forged, soon())
        .await;
    insta::assert_snapshot!(deleted.unwrap_err(), @"a value of CNI_ARGS `web;K8S_POD_UID=u2` is refused: it holds `=` or `;`");
    assert!(node.daemon.calls().is_empty());
}

/// What the client says of a server that answers ADD with these bytes and closes.
async fn answered(bytes: Vec<u8>) -> String {
    let dir = tempfile::Builder::new()
        .prefix("nd")
        .tempdir_in("/tmp")
        .unwrap();
    let path = dir.path().join("s");
    let listener = socket::bind(&path).unwrap();
    let server = async {
        let mut stream = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let read = stream.read(&mut request).await.unwrap();
        assert!(request[..read].starts_with(b"POST /delegate HTTP/1.1\r\n"));
        // The client may close before it has read everything.
        let _ = stream.write_all(&bytes).await;
    };
    let client = Client::new(&path);
    let network = macvlan(host_local());
    let invocation = ndra_core::cni::Invocation {
        container_id: "c".into(),
        if_name: "net1".into(),
        ..Default::default()
    };
    let (pod, plain) = (pod(), InterfaceAttributes::default());
    let add = client.delegate_add(&network, &invocation, &pod, &plain, soon());
    let (added, ()) = tokio::join!(add, server);
    added.unwrap_err().to_string()
}

#[tokio::test]
async fn answers_that_break_off_or_say_nothing_are_told_apart() {
    let ok = |body: &str| {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    };
    insta::assert_snapshot!(answered(ok("")).await, @"Multus answered ADD of net1 for pod default/web on network `m` with something unreadable: EOF while parsing a value at line 1 column 0: is the socket that of a thick Multus 4 daemon?");
    insta::assert_snapshot!(answered(ok("<html>")).await, @"Multus answered ADD of net1 for pod default/web on network `m` with something unreadable: expected value at line 1 column 1: is the socket that of a thick Multus 4 daemon?");
    insta::assert_snapshot!(answered(ok("{}")).await, @"Multus answered ADD of net1 for pod default/web on network `m` with something unreadable: missing field `Result` at line 1 column 2: is the socket that of a thick Multus 4 daemon?");
    insta::assert_snapshot!(answered(ok(r#"{"Result":{"cniVersion":"9.9.9"}}"#)).await, @"Multus answered ADD of net1 for pod default/web on network `m` with something unreadable: the CNI result has cniVersion `9.9.9`, spoken are 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0: is the socket that of a thick Multus 4 daemon?");
    insta::assert_snapshot!(answered(ok(&" ".repeat(2 * 1024 * 1024))).await, @"Multus answered ADD of net1 for pod default/web on network `m` with something unreadable: it is longer than 1048576 bytes: is the socket that of a thick Multus 4 daemon?");
    insta::assert_snapshot!(answered(Vec::new()).await, @"Multus closed the connection before it answered ADD of net1 for pod default/web on network `m`: its daemon was ended, or failed over the request and says so in its log on this node; the driver undoes what was begun as soon as Multus answers, and the next start of the container makes the interface");
    insta::assert_snapshot!(answered(b"SSH-2.0-x\r\n".to_vec()).await, @"Multus answered ADD of net1 for pod default/web on network `m` with something unreadable: invalid HTTP version parsed: is the socket that of a thick Multus 4 daemon?");
    insta::assert_snapshot!(answered(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{".to_vec()).await, @"Multus closed the connection before it answered ADD of net1 for pod default/web on network `m`: its daemon was ended, or failed over the request and says so in its log on this node; the driver undoes what was begun as soon as Multus answers, and the next start of the container makes the interface");
    insta::assert_snapshot!(answered(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec()).await, @"Multus refused ADD of net1 for pod default/web on network `m`: status 400, without a reason: see the log of its daemon on this node");
}
