//! What a program in a container reads of its interface, over the claim's life.

use std::fs;

use ndra_core::kube::claims::ClaimApi;
use serde_json::Value;

use crate::world::{World, claim, claim_name, dir};

const FILE: &str = "plugin/dra-device-metadata/c1/net/metadata.json";

async fn world(metadata: bool) -> World {
    let world = World::with(dir(), "boot-1", ClaimApi::V1, metadata).await;
    world.api.put_claim(claim("c1", Some("net1"), &["p1"]));
    world.sandboxes.run("s1", "p1");
    world
}

fn device(world: &World) -> Value {
    let text = fs::read_to_string(world.path(FILE)).unwrap();
    let mut objects = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    objects.next().unwrap().unwrap()["requests"][0]["devices"][0].clone()
}

#[tokio::test]
async fn a_file_is_there_from_prepare_on_whole_before_the_start_and_gone_at_the_end() {
    let world = world(true).await;
    let mut prepared = world.node.prepare(vec![claim_name("c1")]).await;
    let devices = prepared.remove("c1").unwrap().unwrap();
    assert_eq!(
        devices[0].cdi_devices,
        ["dra.networking/claim=c1", "dra.networking/metadata=c1_net"]
    );
    assert_eq!(device(&world)["networkData"]["interfaceName"], "net1");
    assert_eq!(device(&world)["networkData"]["ips"], Value::Null);
    world.attach("c1", "s1").await.unwrap();
    assert_eq!(device(&world)["networkData"]["ips"][0], "10.0.0.5/24");
    world.unprepare("c1").await.unwrap();
    assert!(!world.path("plugin/dra-device-metadata/c1").exists());
    assert_eq!(fs::read_dir(world.path("cdi")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_container_does_not_start_with_a_file_that_could_not_be_completed() {
    let world = world(true).await;
    world.prepare("c1").await;
    fs::remove_file(world.path(FILE)).unwrap();
    fs::create_dir(world.path(FILE)).unwrap();
    let said = world.attach("c1", "s1").await.unwrap_err();
    assert!(said.contains("cannot write the device metadata"), "{said}");
    assert!(said.contains("--no-device-metadata"), "{said}");
}

#[tokio::test]
async fn without_it_there_is_no_file_and_what_was_promised_before_stays() {
    let plain = world(false).await;
    let mut prepared = plain.node.prepare(vec![claim_name("c1")]).await;
    let devices = prepared.remove("c1").unwrap().unwrap();
    assert_eq!(devices[0].cdi_devices, ["dra.networking/claim=c1"]);
    assert!(!plain.path("plugin").exists());

    let before = world(true).await;
    before.prepare("c1").await;
    before.settle().await;
    // The next driver is started without; the kubelet holds the device's name.
    let after = World::with(before.crash(), "boot-1", ClaimApi::V1, false).await;
    after.api.put_claim(claim("c1", Some("net1"), &["p1"]));
    after.sandboxes.run("s1", "p1");
    let mut prepared = after.node.prepare(vec![claim_name("c1")]).await;
    assert_eq!(
        prepared.remove("c1").unwrap().unwrap()[0].cdi_devices.len(),
        2
    );
    after.attach("c1", "s1").await.unwrap();
    assert_eq!(device(&after)["networkData"]["ips"][0], "10.0.0.5/24");
}
