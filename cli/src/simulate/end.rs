//! The end of a run: everything is torn down, and what is left is counted.

use std::path::PathBuf;
use std::time::Duration;

use ndra_core::attachment::record;
use ndra_core::event::{Event, Phase, Step};
use serde_json::Value;

use super::board::Seen;
use super::judge::{self, Facts};
use super::workdir::{WorkDir, files};
use super::world::{DRIVER, World};
use crate::failure::Failure;
use crate::manifest::kind;
use crate::report::Check;

const INTERFACES: &str = "interfaces";
const ADDRESSES: &str = "addresses";
const RECORDS: &str = "driver records";
/// Longer than a person waits for the kubelet's deletion of slices.
const LONG: Duration = Duration::from_secs(1);

const RESULTS: &str = "CNI results";

/// How often the driver may fail to release an interface after the last pod's end.
const HOPELESS: usize = 4;

fn tries(events: &[std::sync::Arc<Event>]) -> usize {
    let failed =
        |event: &&std::sync::Arc<Event>| event.step == Step::CniDel && event.phase == Phase::Fail;
    events.iter().filter(failed).count()
}

/// What the end came to.
pub(crate) struct Ended {
    pub(crate) checks: Vec<Check>,
    pub(crate) failures: Vec<String>,
    /// As they were when the last pod was gone.
    pub(crate) facts: Facts,
    pub(crate) work: WorkDir,
}

/// Deletes what is left of pods and claims, waits until every part is done with them, stops
/// all parts in turn and looks for leftovers after each.
pub(crate) async fn end(mut world: World) -> Result<Ended, Failure> {
    // Nobody is held back any more.
    world.gates = None;
    let mut failures = Vec::new();
    if let Err(failure) = delete_objects(&world).await {
        failures.push(failure);
    }
    let limit = world.options.timeout;
    let before = world.board.look(|seen| seen.flow.len());
    let settled = world
        .board
        .until(limit, |seen| {
            let checks = at_rest(&world, seen);
            let left = checks.iter().filter(|check| !check.left.is_empty());
            let left: Vec<&str> = left.map(|check| check.what).collect();
            // What could not be released again and again will not be.
            let network = |what: &&str| [INTERFACES, ADDRESSES, RECORDS, RESULTS].contains(what);
            let hopeless = left.contains(&RECORDS)
                && left.iter().all(network)
                && tries(&seen.flow[before..]) >= HOPELESS;
            (hopeless || (seen.quiet() && left.is_empty())).then_some(())
        })
        .await;
    if settled.is_none() {
        failures.push(format!(
            "the parts were not done within {limit:?} of the last pod's end"
        ));
    }
    let mut checks = world.board.look(|seen| at_rest(&world, seen));
    let facts = judge::facts(&world);
    failures.extend(world.stop_driver(super::world::Stop::Term).await.err());
    // The slices are the kubelet's to delete: it does so when the driver stays away, and for
    // every driver when it starts. A long wait shows nothing more.
    if world.options.slice_wipe > LONG {
        world.restart_kubelet().await?;
    }
    let gone = |seen: &Seen| seen.objects(&kind::SLICE).next().is_none().then_some(());
    world.board.until(limit, gone).await;
    checks.push(Check {
        what: "ResourceSlices",
        left: world.board.look(|seen| {
            seen.objects(&kind::SLICE)
                .map(|(name, _)| name.clone())
                .collect()
        }),
    });
    world.inlet.flush().await;
    let work = world.stop().await;
    checks.push(Check {
        what: "sockets",
        left: sockets(&work),
    });
    Ok(Ended {
        checks,
        failures,
        facts,
        work,
    })
}

async fn delete_objects(world: &World) -> Result<(), String> {
    let tell = |failure: Failure| match failure {
        Failure::Run(trouble) => trouble.to_string(),
        Failure::Input(problems) => problems.iter().map(ToString::to_string).collect(),
    };
    for kind in [&kind::DEPLOYMENT, &kind::POD, &kind::CLAIM] {
        let keys: Vec<String> = world.board.look(|seen| {
            seen.objects(kind)
                .filter(|(_, object)| !owned(object))
                .map(|(key, _)| key.clone())
                .collect()
        });
        for key in &keys {
            world.delete(kind, key, false).await.map_err(tell)?;
        }
        let gone = |seen: &Seen| seen.objects(kind).next().is_none().then_some(());
        if world
            .board
            .until(world.options.timeout, gone)
            .await
            .is_none()
        {
            let left: Vec<String> = world
                .board
                .look(|seen| seen.objects(kind).map(|(key, _)| key.clone()).collect());
            return Err(format!(
                "{} {} did not go away within {:?}",
                kind.kind,
                left.join(", "),
                world.options.timeout
            ));
        }
    }
    Ok(())
}

/// Made from a template: goes with its pod.
fn owned(object: &Value) -> bool {
    object
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array)
        .is_some_and(|owners| !owners.is_empty())
}

/// What must be gone when the last pod is, while all parts still run.
fn at_rest(world: &World, seen: &Seen) -> Vec<Check> {
    let network = &world.network;
    let record = record::load(&world.work.at("state"), DRIVER);
    let check = |what, left| Check { what, left };
    let mut checks = vec![
        check("CDI specs", files(&world.runtime.cdi_dir(&world.work))),
        check(
            INTERFACES,
            network
                .interfaces()
                .into_iter()
                .map(|link| format!("{} in {}", link.name, link.netns.display()))
                .chain(network.node_links())
                .collect(),
        ),
        check(ADDRESSES, network.allocations()),
        check(
            RECORDS,
            match record {
                Ok(record) => {
                    let claims = record
                        .claims
                        .values()
                        .map(|c| format!("claim {}", c.claim.name));
                    let orphans = record.orphans.iter().map(|orphan| {
                        let why = orphan.last_error.as_deref().unwrap_or("not tried yet");
                        format!(
                            "orphan {} of {}: {why}",
                            orphan.place.if_name, orphan.place.pod
                        )
                    });
                    claims.chain(orphans).collect()
                }
                Err(error) => vec![error.to_string()],
            },
        ),
        check(
            "prepared claims",
            world
                .kubelet
                .iter()
                .flat_map(|kubelet| kubelet.prepared())
                .map(|claim| format!("{}/{}", claim.namespace, claim.name))
                .collect(),
        ),
        check(
            "sandboxes",
            world
                .runtime
                .sandboxes()
                .into_iter()
                .map(|s| format!("{} of {}/{}", s.id, s.namespace, s.name))
                .collect(),
        ),
        check("network namespaces", world.runtime.namespaces(&world.work)),
        check(
            "claims",
            seen.objects(&kind::CLAIM)
                .map(|(key, _)| key.clone())
                .collect(),
        ),
    ];
    if !network.plugin_path().is_empty() {
        checks.push(check(RESULTS, network.cached()));
    }
    checks
}

/// Sockets of parts that have all been stopped.
fn sockets(work: &WorkDir) -> Vec<String> {
    use std::os::unix::fs::FileTypeExt;
    let mut found = Vec::new();
    let directories: [PathBuf; 4] =
        ["run", "reg", "plugin", "multus/run"].map(|name| work.at(name));
    for directory in directories {
        for name in files(&directory) {
            let is_socket =
                std::fs::symlink_metadata(&name).is_ok_and(|meta| meta.file_type().is_socket());
            if is_socket {
                found.push(name);
            }
        }
    }
    found
}
