//! A driver that goes on from its predecessor's record, or refuses to.

use std::fs;

use ndra_core::attachment::State;
use ndra_core::attachment::record::{FILE, Store, load};

use crate::world::{World, calls, claim, dir};

fn open_error(dir: &std::path::Path, driver: &str) -> String {
    let error = Store::open(&dir.join("state"), driver, "boot-1")
        .err()
        .unwrap();
    error.to_string().replace(&dir.display().to_string(), "DIR")
}

#[tokio::test]
async fn a_successor_goes_on_where_a_crash_left_off() {
    let world = World::new().await;
    world.api.put_claim(claim("c1", Some("net1"), &["p1"]));
    world.sandboxes.run("s1", "p1");
    world.prepare("c1").await;
    // The driver dies while the plugin works.
    fs::write(world.path("hold"), "").unwrap();
    let manager = world.manager.clone();
    let hook = tokio::spawn(async move {
        let soon = tokio::time::Instant::now() + std::time::Duration::from_secs(25);
        let _ = manager.attach(&"c1".parse().unwrap(), "s1", soon).await;
    });
    while world.calls().is_empty() {
        tokio::task::yield_now().await;
    }
    hook.abort();
    let _ = hook.await;
    fs::remove_file(world.path("hold")).unwrap();
    let path = world.crash();
    let world = World::at(path, "boot-1").await;
    assert!(matches!(
        world.record().claims["c1"].attachments[0].state,
        State::Attaching { .. }
    ));
    world.sandboxes.run("s1", "p1");
    world.attach("c1", "s1").await.unwrap();
    assert_eq!(world.calls(), ["ADD s1 net1", "DEL s1 net1", "ADD s1 net1"]);
    // Unprepare needs neither claim, pod nor sandbox.
    world.unprepare("c1").await.unwrap();
    assert_eq!(world.calls()[3..], ["DEL s1 net1"]);
}

#[tokio::test]
async fn after_a_reboot_addresses_are_released_and_claims_stay_prepared() {
    let world = World::new().await;
    world.api.put_claim(claim("c1", Some("net1"), &["p1"]));
    world.sandboxes.run("s1", "p1");
    world.prepare("c1").await;
    world.attach("c1", "s1").await.unwrap();
    let path = world.crash();
    let world = World::at(path, "boot-2").await;
    let record = world.record();
    assert_eq!(record.claims["c1"].attachments[0].state, State::Planned);
    world.manager.release_orphan(&record.orphans[0]).await;
    world.sandboxes.run("s2", "p1");
    world.attach("c1", "s2").await.unwrap();
    assert_eq!(
        calls(world.dir.path()),
        ["ADD s1 net1", "DEL s1 net1", "ADD s2 net1"]
    );
}

#[tokio::test]
async fn a_record_that_cannot_be_trusted_is_left_alone() {
    let dir = dir();
    let state = dir.path().join("state");
    fs::create_dir(&state).unwrap();
    let file = state.join(FILE);
    fs::write(&file, r#"{"version":1,"driver":"dra.netw"#).unwrap();
    insta::assert_snapshot!(open_error(dir.path(), "dra.networking"), @"the record DIR/state/record.json cannot be understood: EOF while parsing a string at line 1 column 31; it says which interfaces exist, so nothing was changed: restore it, or move it away and release its attachments by hand");
    fs::write(
        &file,
        r#"{"version":2,"driver":"dra.networking","future":true}"#,
    )
    .unwrap();
    insta::assert_snapshot!(open_error(dir.path(), "dra.networking"), @"the record DIR/state/record.json has version 2, this driver knows 1: a newer ndra wrote it; go on with that one");
    let whole = r#"{"version":1,"driver":"other","bootId":"b","claims":{},"orphans":[]}"#;
    fs::write(&file, whole).unwrap();
    insta::assert_snapshot!(open_error(dir.path(), "dra.networking"), @"the record DIR/state/record.json belongs to the driver other, not to dra.networking: give each driver a state directory of its own");
    assert_eq!(fs::read_to_string(&file).unwrap(), whole);
    let held = Store::open(&state, "other", "boot-1").unwrap();
    insta::assert_snapshot!(open_error(dir.path(), "other"), @"the record DIR/state/record.json is in use by another process: stop it, or give this driver a state directory of its own");
    drop(held);
    assert!(load(&state, "other").unwrap().is_empty());
}
