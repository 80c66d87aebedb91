//! Pods and DaemonSets through a stand-in for kubectl.

use std::collections::BTreeMap;

use super::remote::Bench;
use super::*;

/// Answers `get` from files, and each pod's events from its own.
const KUBECTL: &str = "case $1 in \
    get) exec cat \"$DIR/$2.json\";; \
    exec) cat \"$DIR/events.$4\" || exit 1; exec cat;; esac";

fn pod(name: &str, node: &str, phase: &str, owner: &str) -> String {
    format!(
        r#"{{"metadata": {{"name": "{name}", "uid": "uid-{name}",
             "ownerReferences": [{{"kind": "DaemonSet", "uid": "{owner}"}}]}},
            "spec": {{"nodeName": "{node}", "containers": [{{"name": "side"}}, {{"name": "ndra"}}]}},
            "status": {{"phase": "{phase}"}}}}"#
    )
}

fn list(pods: &[String]) -> String {
    format!(r#"{{"kind": "List", "items": [{}]}}"#, pods.join(","))
}

const SET: &str = r#"{"metadata": {"name": "ndra", "uid": "set-1"},
    "spec": {"selector": {"matchLabels": {"app": "ndra"}}}}"#;

/// An event of a driver's life.
fn event(seq: u64, time: u64, life: &str) -> String {
    line(seq, time, &format!(",\"instance\":\"{life}\"")) + "\n"
}

fn bench() -> Bench {
    let bench = Bench::new();
    bench
        .program("kubectl", KUBECTL)
        .file("daemonset.json", SET);
    bench
}

#[tokio::test]
async fn a_pod_is_looked_up_and_entered() {
    let bench = bench();
    bench
        .file("pod.json", &pod("ndra-x", "n1", "Running", "set-1"))
        .file("events.ndra-x", &format!("\n{}", event(1, 1, "a")));
    let mut reader = Reader::open("pod://kube-system/ndra-x", bench.options(following()));
    let told = reader.until("0 events").await;
    insta::assert_snapshot!(told, @"
    0 connecting pod kube-system/ndra-x (-)
    0 connecting the driver in pod kube-system/ndra-x on node n1 (n1)
    0 connected
    0 events 1 of [a] on n1, dropped 0
    ");
    insta::assert_snapshot!(bench.calls(), @"
    kubectl [get] [pod] [ndra-x] [--namespace=kube-system] [-o] [json] [--request-timeout=10s]
    kubectl [exec] [-i] [--quiet] [ndra-x] [--namespace=kube-system] [--container=ndra] [--] [ndra] [events] [--follow] [-o] [json] [--attached]
    ");
    reader.0.stop().await;
    bench.file("pod.json", &pod("ndra-x", "n1", "Pending", "set-1"));
    let once = |source| Reader::open(source, bench.options(Options::default())).all();
    let pending = once("pod://kube-system/ndra-x").await;
    bench.file("pod.json", &pod("ndra-x", "-n1", "Running", "set-1"));
    let hostile = once("pod://kube-system/ndra-x").await;
    bench.file("pod.json", &pod("ndra-x", "n1", "Running", "set-1"));
    let other = once("pod://kube-system/ndra-x/other").await;
    insta::assert_snapshot!([pending, hostile, other].join("\n"), @"
    0 connecting pod kube-system/ndra-x (-)
    0 failed: pod kube-system/ndra-x does not run, it is Pending
    0 connecting pod kube-system/ndra-x (-)
    0 failed: pod kube-system/ndra-x has a name, or a node, that the API would not allow
    0 connecting pod kube-system/ndra-x (-)
    0 failed: pod kube-system/ndra-x has no container other
    ");
}

#[tokio::test]
async fn all_pods_of_a_set_are_merged_by_time() {
    let bench = bench();
    let pods = [
        pod("ndra-a", "n1", "Running", "set-1"),
        pod("ndra-b", "n2", "Running", "set-1"),
        pod("ndra-c", "n3", "Pending", "set-1"),
        pod("like-it", "n4", "Running", "set-2"),
    ];
    let [a, b] = [
        [event(1, 10, "a"), event(2, 30, "a"), event(3, 31, "a")].concat(),
        [event(1, 20, "b"), event(2, 40, "b")].concat(),
    ];
    bench
        .program(
            "kubectl",
            "case $1 in get) exec cat \"$DIR/$2.json\";; exec) exec cat \"$DIR/events.$4\";; esac",
        )
        .file("pods.json", &list(&pods))
        .file("events.ndra-a", &a)
        .file("events.ndra-b", &b);
    let mut options = bench.options(Options::default());
    // Here nobody is slow, so nothing may depend on time.
    options.pace.window = PATIENCE;
    options.pace.settle = PATIENCE;
    let told = Reader::open("ds://kube-system/ndra", options).all().await;
    let events: Vec<_> = told.lines().filter(|l| l.contains(" events ")).collect();
    insta::assert_snapshot!(events.join("\n"), @"
    1 events 1 of [a] on n1, dropped 0
    2 events 1 of [b] on n2, dropped 0
    1 events 2 3 of [a] on n1, dropped 0
    2 events 2 of [b] on n2, dropped 0
    ");
    assert!(told.ends_with("ended\n0 ended"), "{told}");
    let calls = bench.calls();
    let mut calls: Vec<_> = calls.lines().collect();
    calls.sort_unstable();
    insta::assert_snapshot!(calls.join("\n"), @"
    kubectl [exec] [-i] [--quiet] [ndra-a] [--namespace=kube-system] [--container=ndra] [--] [ndra] [events] [-o] [json] [--attached]
    kubectl [exec] [-i] [--quiet] [ndra-b] [--namespace=kube-system] [--container=ndra] [--] [ndra] [events] [-o] [json] [--attached]
    kubectl [get] [daemonset] [ndra] [--namespace=kube-system] [-o] [json] [--request-timeout=10s]
    kubectl [get] [pods] [--namespace=kube-system] [-o] [json] [--request-timeout=10s] [--selector=app=ndra]
    ");
}

#[tokio::test]
async fn a_pod_that_stalls_holds_nobody_back() {
    let bench = bench();
    let pods = [
        pod("ndra-a", "n1", "Running", "set-1"),
        pod("ndra-b", "n2", "Running", "set-1"),
        pod("ndra-c", "n3", "Running", "set-1"),
    ];
    bench
        .file("pods.json", &list(&pods))
        .file("events.ndra-a", &event(1, 10, "a"))
        .file("events.ndra-b", "")
        .file("events.ndra-c", &event(1, 5, "c"));
    let mut options = bench.options(following());
    options.pace.settle = Duration::from_millis(400);
    options.pace.window = Duration::from_millis(20);
    let mut reader = Reader::open("ds://kube-system/ndra", options);
    let first = reader.chunk().await;
    let second = reader.chunk().await;
    let nodes = [first.node.as_deref(), second.node.as_deref()];
    assert_eq!(nodes, [Some("n3"), Some("n1")]);
    reader.0.stop().await;
}

#[tokio::test]
async fn pods_come_and_go() {
    let bench = bench();
    let [a, b] =
        ["a", "b"].map(|x| pod(&format!("ndra-{x}"), &format!("n-{x}"), "Running", "set-1"));
    bench
        .file("pods.json", &list(&[]))
        .file("events.ndra-a", &event(1, 1, "a"))
        .file("events.ndra-b", &event(1, 1, "b"));
    let mut options = bench.options(following());
    options.pace.relist = Duration::from_millis(20);
    options.pace.settle = Duration::from_millis(20);
    options.pace.window = Duration::from_millis(20);
    let mut reader = Reader::open("ds://kube-system/ndra", options);
    reader.until("0 connected").await;
    bench.file("pods.json", &list(std::slice::from_ref(&a)));
    reader.until("1 events 1 of [a] on n-a").await;
    bench.file("pods.json", &list(&[a, b.clone()]));
    reader.until("2 events 1 of [b] on n-b").await;
    bench.file("pods.json", &list(&[b]));
    reader.until("1 ended").await;
    // The API server is away for a while: the streams go on.
    bench.file("daemonset.json", "oops");
    let lost = reader.until("0 lost").await;
    assert_eq!(
        lost,
        "0 lost: kubectl answered with something else: expected value at line 1 column 1"
    );
    bench.file("daemonset.json", SET);
    reader.until("0 connected").await;
    // A pod that was replaced by one of the same name is another source.
    let new = pod("ndra-b", "n-b", "Running", "set-1").replace("uid-ndra-b", "uid-2");
    bench.file("pods.json", &list(&[new]));
    let mut seen = BTreeMap::new();
    while seen.len() < 2 {
        let update = in_words(&reader.next().await.unwrap());
        for end in ["2 ended", "3 events"] {
            if update.starts_with(end) {
                seen.insert(end, update.clone());
            }
        }
    }
    reader.0.stop().await;
}

#[tokio::test]
async fn a_set_without_pods_or_without_sense_is_named() {
    let bench = bench();
    bench.file("pods.json", &list(&[]));
    let once = || Reader::open("ds://kube-system/ndra", bench.options(Options::default())).all();
    let mut told = vec![once().await];
    bench.file(
        "daemonset.json",
        r#"{"metadata": {"name": "x", "uid": "y"}, "spec": {}}"#,
    );
    told.push(once().await);
    bench.program(
        "kubectl",
        "echo 'Unable to connect to the server: x' >&2; exit 1",
    );
    told.push(once().await);
    insta::assert_snapshot!(told.join("\n"), @"
    0 connecting DaemonSet kube-system/ndra (-)
    0 failed: DaemonSet kube-system/ndra has no running pod
    0 connecting DaemonSet kube-system/ndra (-)
    0 failed: DaemonSet kube-system/ndra has an empty selector
    0 connecting DaemonSet kube-system/ndra (-)
    0 failed: kubectl: Unable to connect to the server: x
    ");
}
