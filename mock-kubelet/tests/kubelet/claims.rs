//! Preparing and unpreparing.

use std::time::Duration;

use serde_json::json;

use crate::bed::{Bed, claim, nothing_prepared, pod};
use crate::driver::{Driver, device};

const PREPARE_FAILED: &str = "FailedPrepareDynamicResources";

/// The first event about pod `p` that says its claims could not be prepared.
async fn failure(bed: &Bed) -> String {
    bed.api.until_event("p", PREPARE_FAILED).await;
    let events = bed.api.0.borrow().events("p");
    let found = events
        .into_iter()
        .find(|event| event.contains(PREPARE_FAILED));
    found
        .unwrap()
        .replace(bed.dir.path().to_str().unwrap(), "DIR")
}

#[tokio::test]
async fn claims_of_a_pod_go_in_one_call_before_the_sandbox() {
    let bed = Bed::new();
    bed.claim("one", &["p"]);
    bed.claim("two", &["p"]);
    let (kubelet, driver, _guards) = bed.both().await;
    bed.pod("p", &["one", "two"]);
    bed.cri.until_running("main", 0).await;
    assert_eq!(driver.calls(), ["prepare one+two"]);
    let prepared = kubelet.prepared();
    assert!(
        prepared
            .iter()
            .all(|claim| claim.prepared && claim.pods.contains("uid-p"))
    );
    bed.api.delete_pod("p");
    driver.until_call("unprepare one+two").await;
    bed.api
        .until("the pod to go", |store| store.pod("p").is_none())
        .await;
    nothing_prepared(&kubelet).await;
    kubelet.stop().await;
}

#[tokio::test]
async fn the_older_version_works_the_same() {
    let bed = Bed::new();
    let driver = Driver::new(bed.dir.path(), &["v1beta1.DRAPlugin"]);
    let _guards = [driver.serve(), driver.register(&bed.registration())];
    let kubelet = bed.kubelet().await;
    crate::bed::registered(&kubelet).await;
    bed.claim("one", &["p"]);
    bed.pod("p", &["one"]);
    bed.cri.until_running("main", 0).await;
    assert_eq!(
        bed.cri.0.borrow().devices("main"),
        ["dra.networking/claim=uid-one"]
    );
    bed.api.delete_pod("p");
    driver.until_call("unprepare(v1beta1) one").await;
    assert_eq!(
        driver.calls(),
        ["prepare(v1beta1) one", "unprepare(v1beta1) one"]
    );
    kubelet.stop().await;
}

#[tokio::test]
async fn replies_must_name_the_claims_that_were_asked_for() {
    for stranger in [false, true] {
        let bed = Bed::new();
        bed.claim("one", &["p"]);
        bed.claim("two", &["p"]);
        let (kubelet, driver, _guards) = bed.both().await;
        driver.set(|state| match stranger {
            false => state.skip = Some("uid-two".into()),
            true => state.stranger = Some("uid-stranger".into()),
        });
        bed.pod("p", &["one", "two"]);
        match stranger {
            false => {
                insta::assert_snapshot!(failure(&bed).await, @"Warning FailedPrepareDynamicResources pod: Failed to prepare dynamic resources: prepare dynamic resources: NodePrepareResources skipped 1 ResourceClaims")
            }
            true => {
                insta::assert_snapshot!(failure(&bed).await, @"Warning FailedPrepareDynamicResources pod: Failed to prepare dynamic resources: prepare dynamic resources: NodePrepareResources returned result for unknown claim UID uid-stranger")
            }
        }
        assert_eq!(bed.cri.calls(), [""; 0], "no sandbox without its claims");
        driver.set(|state| {
            state.skip = None;
            state.stranger = None;
        });
        bed.cri.until_running("main", 0).await;
        kubelet.stop().await;
    }
}

#[tokio::test]
async fn failures_to_prepare_are_in_the_kubelets_words() {
    let bed = Bed::new();
    bed.claim("one", &["p"]);
    let (kubelet, driver, [service, _registration]) = bed.both().await;
    driver.set(|state| state.errors = vec!["no such parent: eth7".into()]);
    bed.pod("p", &["one"]);
    insta::assert_snapshot!(failure(&bed).await, @"Warning FailedPrepareDynamicResources pod: Failed to prepare dynamic resources: prepare dynamic resources: NodePrepareResources failed for ResourceClaim one: no such parent: eth7");
    bed.cri.until_running("main", 0).await;

    drop(service);
    let mut plugins = kubelet.plugins();
    let down = |p: &std::collections::BTreeMap<_, ndra_mock_kubelet::Plugin>| {
        p.values()
            .all(|p| p.status == ndra_mock_kubelet::PluginStatus::Disconnected)
    };
    plugins.wait_for(down).await.unwrap();
    bed.claim("down", &["r"]);
    bed.pod("r", &["down"]);
    bed.api.until_event("r", PREPARE_FAILED).await;
    let event = bed.api.0.borrow().events("r")[0].clone();
    insta::assert_snapshot!(event.replace(bed.dir.path().to_str().unwrap(), "DIR"), @r#"Warning FailedPrepareDynamicResources pod: Failed to prepare dynamic resources: prepare dynamic resources: NodePrepareResources: rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: dial unix DIR/dra.networking.sock: connect: no such file or directory""#);
    kubelet.stop().await;
}

#[tokio::test]
async fn a_driver_that_takes_too_long_is_not_waited_for() {
    let mut bed = Bed::new();
    bed.timing.prepare_deadline = Duration::from_millis(100);
    bed.claim("one", &["p"]);
    let (kubelet, driver, _guards) = bed.both().await;
    driver.set(|state| state.hold = true);
    bed.pod("p", &["one"]);
    insta::assert_snapshot!(failure(&bed).await, @"Warning FailedPrepareDynamicResources pod: Failed to prepare dynamic resources: prepare dynamic resources: NodePrepareResources: rpc error: code = DeadlineExceeded desc = context deadline exceeded");
    driver.set(|state| state.hold = false);
    bed.cri.until_running("main", 0).await;
    kubelet.stop().await;
}

#[tokio::test]
async fn a_claim_must_be_the_pods_to_use() {
    let bed = Bed::new();
    let kubelet = bed.kubelet().await;
    let mut said = Vec::new();
    let mut try_claim = async |object: Option<serde_json::Value>, template: bool| {
        let name = format!("p{}", said.len());
        let mut pod = pod(&name, &["one"]);
        if template {
            let listed = &mut pod["spec"]["resourceClaims"];
            *listed = json!([{ "name": "one", "resourceClaimTemplateName": "t" }]);
        }
        if let Some(object) = object {
            bed.api.apply("resourceclaims", object);
            pod["status"]["resourceClaimStatuses"] =
                json!([{ "name": "one", "resourceClaimName": "one" }]);
        }
        bed.api.apply("pods", pod);
        bed.api.until_event(&name, PREPARE_FAILED).await;
        let event = bed.api.0.borrow().events(&name)[0].clone();
        said.push(event);
    };
    let mine =
        |pod: &str| json!([{ "resource": "pods", "name": pod, "uid": format!("uid-{pod}") }]);
    try_claim(None, false).await;
    try_claim(None, true).await;
    try_claim(Some(claim("one", &mine("other"))), false).await;
    try_claim(Some(claim("one", &mine("p3"))), true).await;
    let mut free = claim("one", &mine("p4"));
    free["status"]["allocation"] = json!(null);
    try_claim(Some(free), false).await;
    try_claim(Some(claim("one", &mine("p5"))), false).await;
    insta::assert_snapshot!(said.join("\n"), @r#"
    Warning FailedPrepareDynamicResources pod: Failed to prepare dynamic resources: prepare dynamic resources: fetch ResourceClaim one: resourceclaims.resource.k8s.io "one" not found
    Warning FailedPrepareDynamicResources pod: Failed to prepare dynamic resources: prepare dynamic resources: Pod ns/p1: ResourceClaim not created yet
    Warning FailedPrepareDynamicResources pod: Failed to prepare dynamic resources: prepare dynamic resources: pod p2 (uid-p2) is not allowed to use ResourceClaim one (uid-one)
    Warning FailedPrepareDynamicResources pod: Failed to prepare dynamic resources: prepare dynamic resources: ResourceClaim ns/one was not created for Pod ns/p3 (Pod is not owner)
    Warning FailedPrepareDynamicResources pod: Failed to prepare dynamic resources: prepare dynamic resources: ResourceClaim one: not allocated
    Warning FailedPrepareDynamicResources pod: Failed to prepare dynamic resources: prepare dynamic resources: DRA driver dra.networking is not registered
    "#);
    nothing_prepared(&kubelet).await;
    kubelet.stop().await;
}

#[tokio::test]
async fn a_shared_claim_is_prepared_once_and_unprepared_after_its_last_pod() {
    let bed = Bed::new();
    bed.claim("shared", &["p", "q"]);
    let (kubelet, driver, _guards) = bed.both().await;
    bed.pod("p", &["shared"]);
    bed.pod("q", &["shared"]);
    let both = |store: &crate::api::Store| {
        ["p", "q"].iter().all(|p| {
            store
                .pod(p)
                .is_some_and(|p| p["status"]["phase"] == "Running")
        })
    };
    bed.api.until("both run", both).await;
    bed.api.delete_pod("p");
    bed.api
        .until("the first pod to go", |store| store.pod("p").is_none())
        .await;
    assert_eq!(driver.calls(), ["prepare shared"]);
    bed.api.delete_pod("q");
    bed.api
        .until("the second pod to go", |store| store.pod("q").is_none())
        .await;
    assert_eq!(driver.calls(), ["prepare shared", "unprepare shared"]);
    nothing_prepared(&kubelet).await;
    kubelet.stop().await;
}

#[tokio::test]
async fn unprepare_is_repeated_until_it_succeeds_and_the_pod_waits_for_it() {
    let bed = Bed::new();
    bed.claim("one", &["p"]);
    let (kubelet, driver, _guards) = bed.both().await;
    bed.pod("p", &["one"]);
    bed.cri.until_running("main", 0).await;
    driver.set(|state| state.errors = vec!["busy".into(); 3]);
    bed.api.delete_pod("p");
    let thrice = |state: &crate::driver::State| state.calls.len() >= 4;
    driver.until("three tries", thrice).await;
    bed.api
        .until("the pod to go", |store| store.pod("p").is_none())
        .await;
    assert_eq!(driver.calls()[1..], ["unprepare one"; 4]);
    nothing_prepared(&kubelet).await;
    kubelet.stop().await;
}

#[tokio::test]
async fn unprepare_waits_for_a_driver_that_is_not_registered() {
    let bed = Bed::new();
    bed.claim("one", &["p"]);
    let (kubelet, driver, guards) = bed.both().await;
    bed.pod("p", &["one"]);
    bed.cri.until_running("main", 0).await;
    drop(guards);
    let mut plugins = kubelet.plugins();
    plugins
        .wait_for(std::collections::BTreeMap::is_empty)
        .await
        .unwrap();
    bed.api.delete_pod("p");
    let stopped = |state: &crate::cri::State| state.sandboxes[0].state == 1;
    bed.cri.until("the sandbox to be stopped", stopped).await;
    assert_eq!(kubelet.prepared().len(), 1);
    let _guards = [driver.serve(), driver.register(&bed.registration())];
    bed.api
        .until("the pod to go", |store| store.pod("p").is_none())
        .await;
    assert_eq!(driver.calls(), ["prepare one", "unprepare one"]);
    nothing_prepared(&kubelet).await;
    kubelet.stop().await;
}

#[tokio::test]
async fn unprepare_needs_neither_the_claim_nor_its_name_to_be_free() {
    let bed = Bed::new();
    bed.claim("one", &["p"]);
    let (kubelet, driver, _guards) = bed.both().await;
    bed.pod("p", &["one"]);
    bed.cri.until_running("main", 0).await;
    // Another claim of that name, while the old one is still prepared.
    let mut new = claim(
        "one",
        &json!([{ "resource": "pods", "name": "q", "uid": "uid-q" }]),
    );
    new["metadata"]["uid"] = json!("uid-new");
    bed.api.apply("resourceclaims", new);
    bed.pod("q", &["one"]);
    bed.api.until_event("q", PREPARE_FAILED).await;
    insta::assert_snapshot!(bed.api.0.borrow().events("q")[0], @"Warning FailedPrepareDynamicResources pod: Failed to prepare dynamic resources: prepare dynamic resources: old ResourceClaim with same name one and different UID uid-one still exists (previous pod force-deleted?!)");
    bed.api.remove("resourceclaims", "one");
    bed.api.remove("pods", "q");
    bed.api.delete_pod("p");
    driver.until_call("unprepare one").await;
    bed.api
        .until("the pod to go", |store| store.pod("p").is_none())
        .await;
    nothing_prepared(&kubelet).await;
    kubelet.stop().await;
}

#[tokio::test]
async fn a_container_gets_the_devices_of_the_requests_that_it_lists() {
    let bed = Bed::new();
    bed.claim("one", &["p"]);
    bed.claim("two", &["p"]);
    let (kubelet, driver, _guards) = bed.both().await;
    driver.set(|state| {
        state.devices = vec![
            device(&["net"], &["v/c=net", "v/c=both"]),
            device(&["spare"], &["v/c=spare", "v/c=both"]),
            device(&[], &["v/c=all"]),
        ];
    });
    let mut pod = pod("p", &["one", "two"]);
    let uses = |name: &str, claims: serde_json::Value| json!({ "name": name, "resources": { "claims": claims } });
    pod["spec"]["containers"] = json!([
        uses("everything", json!([{ "name": "one" }])),
        uses("net", json!([{ "name": "one", "request": "net" }])),
        uses(
            "two-requests",
            json!([
                { "name": "one", "request": "spare" },
                { "name": "one", "request": "net" },
            ])
        ),
        uses("sub", json!([{ "name": "one", "request": "net/small" }])),
        uses("none", json!([])),
    ]);
    bed.api.apply("pods", pod);
    bed.cri.until_running("none", 0).await;
    let state = bed.cri.0.borrow();
    let names = ["everything", "net", "two-requests", "sub", "none"];
    let devices = names.map(|name| format!("{name}: {}", state.devices(name).join(" ")));
    insta::assert_snapshot!(devices.join("\n"), @"
    everything: v/c=net v/c=both v/c=spare v/c=all
    net: v/c=net v/c=both v/c=all
    two-requests: v/c=net v/c=both v/c=spare v/c=all
    sub: v/c=all
    none:
    ");
    drop(state);
    kubelet.stop().await;
}
