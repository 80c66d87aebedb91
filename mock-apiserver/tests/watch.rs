//! What kube-rs's watchers ask for.
// A test that can't go on fails; that is what these are for.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::*;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::resource::v1::ResourceSlice;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use ndra_mock_apiserver::{ApiServer, Config};
use serde_json::json;

#[tokio::test]
async fn a_watcher_sees_all_of_it() {
    let server = plain_server().await;
    let client = client(&server);
    create(&client, node("one")).await;
    for streaming in [false, true] {
        let config = watcher::Config::default().labels("watched!=no");
        let config = if streaming {
            config.streaming_lists()
        } else {
            config
        };
        let nodes: Api<Node> = Api::all(client.clone());
        let events = watcher(nodes.clone(), config);
        futures::pin_mut!(events);
        let mut seen = Vec::new();
        let name = format!("two-{streaming}");
        loop {
            let event = next(&mut events).await.unwrap();
            let (word, node) = match &event {
                watcher::Event::Init => ("init", None),
                watcher::Event::InitApply(node) => ("had", Some(node)),
                watcher::Event::InitDone => ("done", None),
                watcher::Event::Apply(node) => ("applied", Some(node)),
                watcher::Event::Delete(node) => ("deleted", Some(node)),
            };
            let shown = node
                .and_then(|node| node.metadata.name.clone())
                .unwrap_or_default();
            seen.push(format!("{word} {shown}").trim().to_owned());
            match word {
                "done" => {
                    create(&client, common::node(&name)).await;
                    let label = |value: &str| {
                        Patch::Merge(json!({"metadata": {"labels": {"watched": value}}}))
                    };
                    for value in ["yes", "no", "yes"] {
                        nodes
                            .patch(&name, &PatchParams::default(), &label(value))
                            .await
                            .unwrap();
                    }
                    nodes.delete(&name, &DeleteParams::default()).await.unwrap();
                    create(&client, common::node("last")).await;
                }
                _ if shown == "last" => break,
                _ => {}
            }
        }
        nodes
            .delete("last", &DeleteParams::default())
            .await
            .unwrap();
        let expected = [
            "init".to_owned(),
            "had one".to_owned(),
            "done".to_owned(),
            format!("applied {name}"),
            format!("applied {name}"),
            format!("deleted {name}"),
            format!("applied {name}"),
            format!("deleted {name}"),
            "applied last".to_owned(),
        ];
        assert_eq!(seen, expected);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_watcher_recovers_from_a_version_that_is_too_old() {
    let server = ApiServer::start(Config {
        history: 8,
        controllers: false,
        ..Config::default()
    })
    .await
    .unwrap();
    let client = client(&server);
    let nodes: Api<Node> = Api::all(client.clone());
    create(&client, node("first")).await;
    let version = nodes
        .list(&ListParams::default())
        .await
        .unwrap()
        .metadata
        .resource_version
        .unwrap();
    for n in 0..20 {
        create(&client, node(&format!("n{n}"))).await;
    }
    // The words of the expired version, inside of the stream.
    let mut stream = nodes
        .watch(&Default::default(), &version)
        .await
        .unwrap()
        .boxed();
    let Ok(kube::api::WatchEvent::Error(status)) = next(&mut stream).await else {
        panic!("no error event")
    };
    assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));
    assert!(
        status.message.starts_with("too old resource version: "),
        "{}",
        status.message
    );

    // A watcher that was cut off for long comes back by itself.
    let events = watcher(nodes.clone(), watcher::Config::default()).default_backoff();
    futures::pin_mut!(events);
    while !matches!(next(&mut events).await, Ok(watcher::Event::InitDone)) {}
    server.faults().go_down();
    for n in 20..40 {
        server.create(node(&format!("n{n}"))).unwrap();
    }
    server.faults().come_back();
    let mut seen = Vec::new();
    loop {
        match next(&mut events).await {
            Ok(watcher::Event::InitApply(node)) => seen.push(node.metadata.name.unwrap()),
            Ok(watcher::Event::InitDone) => break,
            Ok(_) | Err(_) => {}
        }
    }
    assert_eq!(seen.len(), 41);
    server.stop().await;
}

#[tokio::test]
async fn an_idle_watch_is_kept_fresh_by_bookmarks() {
    let server = ApiServer::start(Config {
        history: 8,
        controllers: false,
        ..Config::default()
    })
    .await
    .unwrap();
    let client = client(&server);
    let slices: Api<ResourceSlice> = Api::all(client.clone());
    let version = slices
        .list(&ListParams::default())
        .await
        .unwrap()
        .metadata
        .resource_version
        .unwrap();
    let mut stream = slices
        .watch(&Default::default(), &version)
        .await
        .unwrap()
        .boxed();
    let mut told = version.parse::<u64>().unwrap();
    for round in 0..3 {
        for n in 0..4 {
            create(&client, node(&format!("r{round}n{n}"))).await;
        }
        let Ok(kube::api::WatchEvent::Bookmark(bookmark)) = next(&mut stream).await else {
            panic!("no bookmark")
        };
        let version: u64 = bookmark.metadata.resource_version.parse().unwrap();
        assert!(version > told);
        told = version;
    }
    server.stop().await;
}
