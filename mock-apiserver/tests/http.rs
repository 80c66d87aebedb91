//! What no well-behaved client sends, and faults that a test orders.
// A test that can't go on fails; that is what these are for.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::time::{Duration, Instant};

use common::*;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ListParams, PostParams};
use ndra_mock_apiserver::{ApiServer, Config};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends bytes as they are, and returns the status code and the message of the answer.
async fn raw(server: &ApiServer, head: &str, body: &[u8]) -> (u16, String) {
    let address = server.url().replace("http://", "");
    let mut stream = TcpStream::connect(&address).await.unwrap();
    let head = format!(
        "{head}\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // A server that refuses a large body may close before it has read all of it.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    let code = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap_or_default())
        .unwrap_or_default();
    (
        code,
        body["message"].as_str().unwrap_or_default().to_owned(),
    )
}

const JSON: &str = "content-type: application/json";
const CLAIMS: &str = "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims";

#[tokio::test]
async fn bad_requests_get_good_answers() {
    let server = plain_server().await;
    server.create(claim("c")).unwrap();
    let large = vec![b' '; 3 * 1024 * 1024 + 1];
    let cases: Vec<(String, &[u8])> = vec![
        (format!("POST {CLAIMS} HTTP/1.1\r\n{JSON}"), b"{"),
        (format!("POST {CLAIMS} HTTP/1.1\r\n{JSON}"), b"\xff\xfe"),
        (format!("POST {CLAIMS} HTTP/1.1\r\n{JSON}"), b"{}"),
        (format!("POST {CLAIMS} HTTP/1.1\r\n{JSON}"), b"[]"),
        (format!("POST {CLAIMS} HTTP/1.1\r\n{JSON}"), &large),
        (
            format!("POST {CLAIMS} HTTP/1.1\r\ncontent-type: application/vnd.kubernetes.protobuf"),
            b"k8s",
        ),
        (
            format!("POST {CLAIMS} HTTP/1.1\r\n{JSON}"),
            br#"{"metadata":{"name":"../x"},"spec":{}}"#,
        ),
        (
            format!("POST {CLAIMS} HTTP/1.1\r\n{JSON}"),
            br#"{"metadata":{"name":"x","namespace":"other"},"spec":{}}"#,
        ),
        (
            format!("POST {CLAIMS} HTTP/1.1\r\n{JSON}"),
            br#"{"metadata":"x"}"#,
        ),
        (
            format!("PUT {CLAIMS}/c HTTP/1.1\r\n{JSON}"),
            br#"{"metadata":{"name":"d"},"spec":{}}"#,
        ),
        (format!("PATCH {CLAIMS}/c HTTP/1.1\r\n{JSON}"), b"{}"),
        (
            format!("PATCH {CLAIMS}/c HTTP/1.1\r\ncontent-type: application/merge-patch+json"),
            b"[]",
        ),
        (
            format!("PATCH {CLAIMS}/c HTTP/1.1\r\ncontent-type: application/merge-patch+json"),
            br#"{"metadata":{"name":"d"}}"#,
        ),
        (
            format!("PATCH {CLAIMS}/c HTTP/1.1\r\ncontent-type: application/merge-patch+json"),
            br#"{"metadata":null}"#,
        ),
        (
            format!("PATCH {CLAIMS}/c HTTP/1.1\r\ncontent-type: application/merge-patch+json"),
            br#"{"spec":{"devices":{"requests":[]}}}"#,
        ),
        (
            format!("PATCH {CLAIMS}/c HTTP/1.1\r\ncontent-type: application/apply-patch+yaml"),
            b"{}",
        ),
        (
            format!("DELETE {CLAIMS}/c HTTP/1.1\r\n{JSON}"),
            br#"{"gracePeriodSeconds":"x"}"#,
        ),
        (
            format!("DELETE {CLAIMS}/c HTTP/1.1\r\n{JSON}"),
            br#"{"propagationPolicy":"Sideways"}"#,
        ),
        (format!("GET {CLAIMS}/c/status/more HTTP/1.1"), b""),
        (format!("GET {CLAIMS}?labelSelector=a%20b HTTP/1.1"), b""),
        (
            format!("GET {CLAIMS}?fieldSelector=spec.x%3D1 HTTP/1.1"),
            b"",
        ),
        (format!("GET {CLAIMS}?resourceVersion=x HTTP/1.1"), b""),
        (format!("GET {CLAIMS}?resourceVersion=99999 HTTP/1.1"), b""),
        (format!("GET {CLAIMS}?continue=x HTTP/1.1"), b""),
        (
            format!("GET {CLAIMS}?watch=1&sendInitialEvents=true HTTP/1.1"),
            b"",
        ),
        (
            "POST /apis/resource.k8s.io/v1/resourceclaims HTTP/1.1".to_owned(),
            b"{}",
        ),
        ("GET /apis/apps/v1/statefulsets HTTP/1.1".to_owned(), b""),
        ("GET /apis/apps/v1 HTTP/1.1".to_owned(), b""),
        ("GET /../../etc/passwd HTTP/1.1".to_owned(), b""),
        ("TRACE /api/v1/pods HTTP/1.1".to_owned(), b""),
    ];
    let mut answers = Vec::new();
    for (head, body) in &cases {
        let (code, message) = raw(&server, head, body).await;
        let line = head.lines().next().unwrap().replace(" HTTP/1.1", "");
        answers.push(format!("{line}: {code} {message}"));
    }
    insta::assert_snapshot!(answers.join("\n"), @r#"
    POST /apis/resource.k8s.io/v1/namespaces/default/resourceclaims: 400 the object provided is unrecognized (must be of type ResourceClaim): couldn't get version/kind; json parse error: EOF while parsing an object at line 1 column 1
    POST /apis/resource.k8s.io/v1/namespaces/default/resourceclaims: 400 the object provided is unrecognized (must be of type ResourceClaim): couldn't get version/kind; json parse error: expected value at line 1 column 1
    POST /apis/resource.k8s.io/v1/namespaces/default/resourceclaims: 422 ResourceClaim.resource.k8s.io "" is invalid: metadata.name: Required value: name or generateName is required
    POST /apis/resource.k8s.io/v1/namespaces/default/resourceclaims: 400 the object provided is unrecognized (must be of type ResourceClaim): it is a list, not a map of fields
    POST /apis/resource.k8s.io/v1/namespaces/default/resourceclaims: 413 Request entity too large: limit is 3145728
    POST /apis/resource.k8s.io/v1/namespaces/default/resourceclaims: 415 the body of the request was in an unknown format - accepted media types include: application/json, application/yaml
    POST /apis/resource.k8s.io/v1/namespaces/default/resourceclaims: 422 ResourceClaim.resource.k8s.io "../x" is invalid: metadata.name: Invalid value: "../x": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
    POST /apis/resource.k8s.io/v1/namespaces/default/resourceclaims: 400 the namespace of the provided object does not match the namespace sent on the request
    POST /apis/resource.k8s.io/v1/namespaces/default/resourceclaims: 400 ResourceClaim in version "v1" cannot be handled as a ResourceClaim: invalid type: string "x", expected ObjectMeta
    PUT /apis/resource.k8s.io/v1/namespaces/default/resourceclaims/c: 400 the name of the object (d) does not match the name on the URL (c)
    PATCH /apis/resource.k8s.io/v1/namespaces/default/resourceclaims/c: 415 the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml, application/strategic-merge-patch+json
    PATCH /apis/resource.k8s.io/v1/namespaces/default/resourceclaims/c: 400 error decoding patch: not a JSON object
    PATCH /apis/resource.k8s.io/v1/namespaces/default/resourceclaims/c: 422 ResourceClaim.resource.k8s.io "d" is invalid: metadata.name: Invalid value: "d": field is immutable
    PATCH /apis/resource.k8s.io/v1/namespaces/default/resourceclaims/c: 200 
    PATCH /apis/resource.k8s.io/v1/namespaces/default/resourceclaims/c: 422 ResourceClaim.resource.k8s.io "c" is invalid: spec: Invalid value: {"devices":{"requests":[],"config":[{"requests":["net"],"opaque":{"driver":"dra.networking","parameters":{"apiVersion":"dra.networking/v1alpha1","kind":"CNIConfig","ifName":"net1"}}}]}}: field is immutable
    PATCH /apis/resource.k8s.io/v1/namespaces/default/resourceclaims/c: 422 PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch
    DELETE /apis/resource.k8s.io/v1/namespaces/default/resourceclaims/c: 400 DeleteOptions cannot be handled: gracePeriodSeconds must be a whole number
    DELETE /apis/resource.k8s.io/v1/namespaces/default/resourceclaims/c: 422 DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "Sideways": supported values: "Foreground", "Background", "Orphan", "nil"
    GET /apis/resource.k8s.io/v1/namespaces/default/resourceclaims/c/status/more: 404 the server could not find the requested resource
    GET /apis/resource.k8s.io/v1/namespaces/default/resourceclaims?labelSelector=a%20b: 400 unable to parse requirement: "a b" is not a label requirement
    GET /apis/resource.k8s.io/v1/namespaces/default/resourceclaims?fieldSelector=spec.x%3D1: 400 field label not supported: spec.x
    GET /apis/resource.k8s.io/v1/namespaces/default/resourceclaims?resourceVersion=x: 400 resourceVersion: Invalid value: "x": must be a number
    GET /apis/resource.k8s.io/v1/namespaces/default/resourceclaims?resourceVersion=99999: 504 Timeout: Too large resource version: 99999, current: 6
    GET /apis/resource.k8s.io/v1/namespaces/default/resourceclaims?continue=x: 400 continue key is not valid: it was not made by this server
    GET /apis/resource.k8s.io/v1/namespaces/default/resourceclaims?watch=1&sendInitialEvents=true: 422 ListOptions.meta.k8s.io "" is invalid: sendInitialEvents: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan
    POST /apis/resource.k8s.io/v1/resourceclaims: 405 the server does not allow this method on the requested resource
    GET /apis/apps/v1/statefulsets: 404 the server could not find the requested resource
    GET /apis/apps/v1: 200 
    GET /../../etc/passwd: 404 the server could not find the requested resource
    TRACE /api/v1/pods: 405 the server does not allow this method on the requested resource
    "#);
    server.stop().await;
}

#[tokio::test]
async fn faults_come_as_ordered() {
    let server = plain_server().await;
    let client = client(&server);
    let nodes: Api<Node> = Api::all(client.clone());
    let faults = server.faults();
    faults.fail_next(1, "list", "/api/v1/nodes", 500);
    assert!(nodes.list(&ListParams::default()).await.is_err());
    assert!(nodes.list(&ListParams::default()).await.is_ok());

    faults.set_delay("list", "/api/*", Duration::from_millis(30));
    let start = Instant::now();
    nodes.list(&ListParams::default()).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(30));
    faults.clear();

    faults.go_down();
    assert!(nodes.list(&ListParams::default()).await.is_err());
    faults.come_back();
    nodes.list(&ListParams::default()).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn going_down_cuts_watches() {
    use futures::StreamExt;
    let server = plain_server().await;
    let nodes: Api<Node> = Api::all(client(&server));
    let mut stream = nodes.watch(&Default::default(), "0").await.unwrap().boxed();
    server.faults().go_down();
    let end = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            match stream.next().await {
                None | Some(Err(_)) => break,
                Some(Ok(_)) => {}
            }
        }
    });
    end.await.expect("the watch ends");
    server.stop().await;
}

#[tokio::test]
async fn requests_are_recorded() {
    let server = plain_server().await;
    let client = client(&server);
    let nodes: Api<Node> = Api::all(client.clone());
    nodes.list(&ListParams::default()).await.unwrap();
    nodes
        .create(
            &PostParams::default(),
            &serde_json::from_value(node("n")).unwrap(),
        )
        .await
        .unwrap();
    api(&client, "ResourceClaim").get_opt("c").await.unwrap();
    let records: Vec<_> = server
        .requests()
        .into_iter()
        .map(|r| {
            format!(
                "{} {}/{}/{} {}/{}",
                r.verb, r.group, r.resource, r.subresource, r.namespace, r.name
            )
        })
        .collect();
    assert_eq!(
        records,
        [
            "list /nodes/ /",
            "create /nodes/ /",
            "get resource.k8s.io/resourceclaims/ default/c"
        ]
    );
    server.stop().await;
}

#[tokio::test]
async fn a_taken_address_is_named() {
    let server = plain_server().await;
    let address: std::net::SocketAddr = server.url().replace("http://", "").parse().unwrap();
    let error = ApiServer::start(Config {
        listen: address,
        ..Config::default()
    })
    .await
    .unwrap_err();
    let words = error.to_string().replace(&address.to_string(), "ADDRESS");
    assert!(
        words.starts_with("cannot listen on ADDRESS: Address already in use"),
        "{words}"
    );
    assert!(
        words.ends_with("; choose another address, or port 0 for any free port"),
        "{words}"
    );
    server.stop().await;
}

#[tokio::test]
async fn stopping_ends_everything() {
    use futures::StreamExt;
    let server = server().await;
    let url = server.url();
    let nodes: Api<Node> = Api::all(client(&server));
    let mut stream = nodes.watch(&Default::default(), "0").await.unwrap().boxed();
    tokio::time::timeout(Duration::from_secs(20), server.stop())
        .await
        .expect("it stops though a watch is open");
    while let Some(Ok(_)) = stream.next().await {}
    assert!(
        TcpStream::connect(url.replace("http://", ""))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn stopping_does_not_wait_for_a_delayed_answer() {
    let server = plain_server().await;
    server
        .faults()
        .set_delay("*", "*", Duration::from_secs(3600));
    let nodes: Api<Node> = Api::all(client(&server));
    let list = tokio::spawn(async move { nodes.list(&ListParams::default()).await.map(drop) });
    while server.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    tokio::time::timeout(Duration::from_secs(20), server.stop())
        .await
        .expect("it stops");
    assert!(list.await.unwrap().is_err());
}

#[tokio::test]
async fn another_scheduler_can_bind() {
    let server = plain_server().await;
    server.create(pod("web", serde_json::json!([]))).unwrap();
    let head = format!("POST /api/v1/namespaces/default/pods/web/binding HTTP/1.1\r\n{JSON}");
    let body = br#"{"apiVersion":"v1","kind":"Binding","metadata":{"name":"web"},"target":{"kind":"Node","name":"n"}}"#;
    assert_eq!(raw(&server, &head, body).await.0, 201);
    assert!(is_bound(&server.get("pods", "default", "web").unwrap()));
    let (code, message) = raw(&server, &head, body).await;
    assert_eq!(code, 409);
    insta::assert_snapshot!(message, @r#"Operation cannot be fulfilled on pods "web": pod web is already assigned to node "n""#);
    server.stop().await;
}

#[tokio::test]
async fn absurd_numbers_do_no_harm() {
    let server = plain_server().await;
    for query in [
        "watch=1&timeoutSeconds=9223372036854775807&resourceVersion=1&limit=-1",
        "limit=-5",
        "limit=9223372036854775807",
    ] {
        if query.starts_with("watch") {
            let nodes: Api<Node> = Api::all(client(&server));
            let params = kube::api::WatchParams::default();
            assert!(nodes.watch(&params, "0").await.is_ok());
            let address = server.url().replace("http://", "");
            let mut stream = TcpStream::connect(&address).await.unwrap();
            stream
                .write_all(
                    format!("GET /api/v1/nodes?{query} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes(),
                )
                .await
                .unwrap();
            let mut start = [0; 15];
            stream.read_exact(&mut start).await.unwrap();
            assert_eq!(&start, b"HTTP/1.1 200 OK");
        } else {
            assert_eq!(
                raw(&server, &format!("GET /api/v1/nodes?{query} HTTP/1.1"), b"")
                    .await
                    .0,
                200
            );
        }
    }
    let head = format!("DELETE /api/v1/namespaces/default/pods/web HTTP/1.1\r\n{JSON}");
    for grace in ["9223372036854775807", "-9223372036854775808"] {
        let mut placed = pod("web", serde_json::json!([]));
        placed["spec"]["nodeName"] = "n".into();
        server.create(placed).unwrap();
        let body = format!("{{\"gracePeriodSeconds\":{grace}}}");
        assert_eq!(raw(&server, &head, body.as_bytes()).await.0, 200);
        server.delete("pods", "default", "web", Some(0)).unwrap();
    }
    server.stop().await;
}
