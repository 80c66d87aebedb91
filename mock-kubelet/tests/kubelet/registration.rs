//! Finding, registering and losing plugins.

use std::collections::BTreeMap;
use std::time::Duration;

use ndra_mock_kubelet::{ApiVersion, Kubelet, Plugin, PluginStatus};

use crate::bed::{Bed, registered};
use crate::driver::{Driver, NAME};

async fn until_plugins(kubelet: &Kubelet, has: impl Fn(&BTreeMap<String, Plugin>) -> bool) {
    let mut plugins = kubelet.plugins();
    let wait = plugins.wait_for(|plugins| has(plugins));
    tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .unwrap()
        .unwrap();
}

fn has(plugins: &BTreeMap<String, Plugin>, status: PluginStatus) -> bool {
    plugins
        .get(NAME)
        .is_some_and(|plugin| plugin.status == status)
}

/// What a driver is told when it registers like this.
async fn told(versions: &[&str], change: impl FnOnce(&mut crate::driver::State)) -> String {
    let bed = Bed::new();
    let driver = Driver::new(bed.dir.path(), versions);
    driver.set(change);
    let _registration = driver.register(&bed.registration());
    let kubelet = bed.kubelet().await;
    let status = driver.until_notified().await;
    assert_eq!(
        kubelet.plugins().borrow().is_empty(),
        !status.plugin_registered
    );
    kubelet.stop().await;
    assert_eq!(status.plugin_registered, status.error.is_empty());
    status
        .error
        .replace(bed.dir.path().to_str().unwrap(), "DIR")
}

#[tokio::test]
async fn a_socket_that_appears_is_registered_and_one_that_goes_is_not() {
    let bed = Bed::new();
    let kubelet = bed.kubelet().await;
    std::fs::write(bed.path("reg/file"), "not a socket").unwrap();
    let (driver, [_service, registration]) = bed.driver();
    assert!(driver.until_notified().await.plugin_registered);
    until_plugins(&kubelet, |plugins| has(plugins, PluginStatus::Connected)).await;
    let plugin = kubelet.plugins().borrow()[NAME].clone();
    assert_eq!(plugin.version, ApiVersion::V1);
    assert_eq!(plugin.endpoint, bed.path("dra.networking.sock"));
    drop(registration);
    until_plugins(&kubelet, BTreeMap::is_empty).await;
    kubelet.stop().await;
}

#[tokio::test]
async fn names_with_a_dot_are_passed_over() {
    let bed = Bed::new();
    let hidden = Driver::named(bed.dir.path(), "hidden", &["v1.DRAPlugin"]);
    let _hidden = hidden.register(&bed.path("reg/.driver.sock"));
    let (_driver, _guards) = bed.driver();
    let kubelet = bed.kubelet().await;
    registered(&kubelet).await;
    assert_eq!(kubelet.plugins().borrow().len(), 1);
    assert!(hidden.0.borrow().notified.is_empty());
    kubelet.stop().await;
}

#[tokio::test]
async fn the_plugin_orders_versions_and_the_kubelet_knows_some() {
    for (offered, known, chosen) in [
        (
            ["v1.DRAPlugin", "v1beta1.DRAPlugin"],
            vec![ApiVersion::V1beta1, ApiVersion::V1],
            ApiVersion::V1,
        ),
        (
            ["v1beta1.DRAPlugin", "v1.DRAPlugin"],
            vec![ApiVersion::V1, ApiVersion::V1beta1],
            ApiVersion::V1beta1,
        ),
        (
            ["v1.DRAPlugin", "v1beta1.DRAPlugin"],
            vec![ApiVersion::V1beta1],
            ApiVersion::V1beta1,
        ),
    ] {
        let mut bed = Bed::new();
        bed.versions = known;
        let driver = Driver::new(bed.dir.path(), &offered);
        let _guards = [driver.serve(), driver.register(&bed.registration())];
        let kubelet = bed.kubelet().await;
        registered(&kubelet).await;
        assert_eq!(kubelet.plugins().borrow()[NAME].version, chosen);
        kubelet.stop().await;
    }
}

#[tokio::test]
async fn refusals_are_in_the_kubelets_words() {
    insta::assert_snapshot!(told(&["v1.DRAPlugin"], |s| s.info.r#type = "CSIPlugin".into()).await, @"RegisterPlugin error -- no handler registered for plugin type: CSIPlugin at socket DIR/reg/driver.sock");
    insta::assert_snapshot!(told(&["v2.DRAPlugin", "1.0.0"], |_| {}).await, @r#"RegisterPlugin error -- plugin validation failed with err: invalid supported gRPC versions of DRA driver plugin dra.networking at endpoint DIR/dra.networking.sock: none of services supported by the plugin (["v2.DRAPlugin" "1.0.0"]) are supported by the kubelet (["v1.DRAPlugin" "v1beta1.DRAPlugin"])"#);
    insta::assert_snapshot!(told(&[], |_| {}).await, @"RegisterPlugin error -- plugin validation failed with err: invalid supported gRPC versions of DRA driver plugin dra.networking at endpoint DIR/dra.networking.sock: empty list of supported gRPC services (aka supported versions)");
    insta::assert_snapshot!(told(&["v1.DRAPlugin"], |s| s.info.name = "Dra_Networking".into()).await, @r#"RegisterPlugin error -- plugin validation failed with err: invalid DRA driver name "Dra_Networking": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com')"#);
    assert_eq!(told(&["v1.DRAPlugin"], |_| {}).await, "");
}

#[tokio::test]
async fn one_instance_cannot_take_the_endpoint_of_another() {
    let bed = Bed::new();
    let (_kubelet, driver, _guards) = bed.both().await;
    let other = Driver::new(bed.dir.path(), &["v1.DRAPlugin"]);
    let _registration = other.register(&bed.path("reg/other.sock"));
    let status = other.until_notified().await;
    let error = status
        .error
        .replace(bed.dir.path().to_str().unwrap(), "DIR");
    insta::assert_snapshot!(error, @"RegisterPlugin error -- plugin registration failed with err: endpoint DIR/dra.networking.sock already registered for DRA driver plugin dra.networking");
    assert!(driver.0.borrow().notified[0].plugin_registered);
}

#[tokio::test]
async fn a_silent_plugin_is_asked_again() {
    let mut bed = Bed::new();
    bed.timing.info_deadline = Duration::from_millis(50);
    let driver = Driver::new(bed.dir.path(), &["v1.DRAPlugin"]);
    driver.set(|state| state.silent = true);
    let _guards = [driver.serve(), driver.register(&bed.registration())];
    let kubelet = bed.kubelet().await;
    // The calls that were given up may still hang in the server; a later one is answered.
    bed.api
        .until("the kubelet runs", |store| !store.wipes.is_empty())
        .await;
    assert!(kubelet.plugins().borrow().is_empty());
    driver.set(|state| state.silent = false);
    registered(&kubelet).await;
    assert!(driver.until_notified().await.plugin_registered);
    kubelet.stop().await;
}

#[tokio::test]
async fn a_driver_that_restarts_shakes_hands_again() {
    let bed = Bed::new();
    let (kubelet, driver, guards) = bed.both().await;
    let next = Driver::new(bed.dir.path(), &["v1beta1.DRAPlugin"]);
    let _next = [next.serve(), next.register(&bed.registration())];
    drop(guards);
    assert!(next.until_notified().await.plugin_registered);
    until_plugins(&kubelet, |plugins| {
        has(plugins, PluginStatus::Connected) && plugins[NAME].version == ApiVersion::V1beta1
    })
    .await;
    assert_eq!(driver.0.borrow().notified.len(), 1);
    kubelet.stop().await;
}

#[tokio::test]
async fn slices_go_at_the_start_and_after_a_lost_connection() {
    let bed = Bed::new();
    let (kubelet, _driver, [service, _registration]) = bed.both().await;
    until_plugins(&kubelet, |plugins| has(plugins, PluginStatus::Connected)).await;
    bed.api
        .until("a wipe", |store| store.wipes.len() == 1)
        .await;
    drop(service);
    until_plugins(&kubelet, |plugins| has(plugins, PluginStatus::Disconnected)).await;
    bed.api
        .until("a second wipe", |store| store.wipes.len() == 2)
        .await;
    let wipes = bed
        .api
        .0
        .borrow()
        .wipes
        .join("\n")
        .replace("%3D", "=")
        .replace("%2C", ",");
    insta::assert_snapshot!(wipes, @"
    &fieldSelector=spec.nodeName=node-a
    &fieldSelector=spec.driver=dra.networking,spec.nodeName=node-a
    ");
    kubelet.stop().await;
}

#[tokio::test]
async fn slices_stay_when_the_driver_comes_back_in_time() {
    let bed = Bed::new();
    let (kubelet, driver, [service, _registration]) = bed.both().await;
    let other = Driver::named(bed.dir.path(), "other.driver", &["v1.DRAPlugin"]);
    let other_service = other.serve();
    let _other_registration = other.register(&bed.path("reg/other.sock"));
    let is = |plugins: &BTreeMap<String, Plugin>, name: &str, status| {
        plugins
            .get(name)
            .is_some_and(|plugin| plugin.status == status)
    };
    until_plugins(&kubelet, |plugins| {
        has(plugins, PluginStatus::Connected)
            && is(plugins, "other.driver", PluginStatus::Connected)
    })
    .await;
    drop(service);
    until_plugins(&kubelet, |plugins| has(plugins, PluginStatus::Disconnected)).await;
    let _service = driver.serve();
    until_plugins(&kubelet, |plugins| has(plugins, PluginStatus::Connected)).await;
    // The other one is lost later and for good: when its slices go, the time of the first
    // is over, too.
    drop(other_service);
    let gone = |wipe: &String| wipe.contains("other.driver");
    bed.api
        .until("the other's wipe", |store| store.wipes.iter().any(gone))
        .await;
    kubelet.stop().await;
    assert_eq!(
        bed.api.0.borrow().wipes.len(),
        2,
        "that of the start, and the other's"
    );
}
