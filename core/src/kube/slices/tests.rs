//! The publisher against an in-memory store of slices that others change, too.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use insta::{assert_json_snapshot, assert_snapshot};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::*;
use crate::devices::{Devices, Interface, NodeDevice, Usage, slots};
use crate::kube::fake::{Log, Reply, Seen, api, refusal};

const PATH: &str = "/apis/resource.k8s.io/v1/resourceslices";

/// The store behind the fake API server.
#[derive(Default)]
struct Store {
    slices: BTreeMap<String, Value>,
    version: u64,
    watchers: Vec<mpsc::UnboundedSender<Value>>,
    /// Refusals for the next requests of a method.
    refuse: Vec<(&'static str, u16, &'static str)>,
    no_node: bool,
    /// Plays a server that lacks the feature behind attributes.
    drop_attributes: bool,
    /// Plays a server without consumable capacity.
    no_sharing: bool,
}

impl Store {
    fn put(&mut self, kind: &str, mut slice: Value) -> Value {
        self.version += 1;
        slice["metadata"]["resourceVersion"] = self.version.to_string().into();
        if self.drop_attributes {
            for device in slice["spec"]["devices"].as_array_mut().unwrap() {
                device.as_object_mut().unwrap().remove("attributes");
            }
        }
        let name = slice["metadata"]["name"].as_str().unwrap().to_owned();
        self.slices.insert(name, slice.clone());
        self.tell(kind, &slice);
        slice
    }

    fn create(&mut self, mut slice: Value) -> Value {
        slice["apiVersion"] = "resource.k8s.io/v1".into();
        slice["kind"] = "ResourceSlice".into();
        let next = self.version + 1;
        if slice["metadata"]["name"].is_null() {
            let base = slice["metadata"]["generateName"].as_str().unwrap();
            slice["metadata"]["name"] = format!("{base}{next:05}").into();
        }
        slice["metadata"]["uid"] = format!("uid-{next}").into();
        self.put("ADDED", slice)
    }

    fn drop_sharing(&self, slice: &mut Value) {
        let devices = slice["spec"]["devices"].as_array_mut();
        for device in devices.into_iter().flatten().filter(|_| self.no_sharing) {
            device
                .as_object_mut()
                .unwrap()
                .remove("allowMultipleAllocations");
            let capacities = device["capacity"].as_object_mut();
            for (_, capacity) in capacities.into_iter().flatten() {
                capacity.as_object_mut().unwrap().remove("requestPolicy");
            }
        }
    }

    fn delete(&mut self, name: &str) -> Option<Value> {
        let slice = self.slices.remove(name)?;
        self.version += 1;
        self.tell("DELETED", &slice);
        Some(slice)
    }

    fn delete_all(&mut self) {
        for name in self.slices.keys().cloned().collect::<Vec<_>>() {
            self.delete(&name);
        }
    }

    fn tell(&mut self, kind: &str, slice: &Value) {
        let event = json!({ "type": kind, "object": slice });
        self.watchers
            .retain(|watcher| watcher.send(event.clone()).is_ok());
    }

    fn answer(&mut self, seen: &Seen) -> Reply {
        if let Some(at) = self.refuse.iter().position(|(m, ..)| *m == seen.method) {
            let (_, code, message) = self.refuse.remove(at);
            return refusal(code, "Refused", message);
        }
        let name = seen.path.rsplit('/').next().unwrap();
        match seen.method.as_str() {
            "GET" if seen.path.starts_with("/api/v1/nodes/") && self.no_node => {
                refusal(404, "NotFound", "nodes \"node-1\" not found")
            }
            "GET" if seen.path.starts_with("/api/v1/nodes/") => Reply::Json(
                200,
                json!({ "apiVersion": "v1", "kind": "Node",
                    "metadata": { "name": "node-1", "uid": "node-uid" } }),
            ),
            "GET" if seen.query.contains("watch=true") => {
                let (watcher, events) = mpsc::unbounded_channel();
                self.watchers.push(watcher);
                Reply::Stream(events)
            }
            "GET" => Reply::Json(
                200,
                json!({ "apiVersion": "resource.k8s.io/v1", "kind": "ResourceSliceList",
                    "metadata": { "resourceVersion": self.version.to_string() },
                    "items": self.slices.values().collect::<Vec<_>>() }),
            ),
            "POST" => {
                let mut slice = seen.body.clone();
                self.drop_sharing(&mut slice);
                if !seen.query.contains("dryRun=All") {
                    slice = self.create(slice);
                }
                Reply::Json(201, slice)
            }
            "PUT" => Reply::Json(200, self.put("MODIFIED", seen.body.clone())),
            "DELETE" => match self.delete(name) {
                Some(slice) => Reply::Json(200, slice),
                None => refusal(404, "NotFound", "not found"),
            },
            other => panic!("{other}"),
        }
    }
}

struct Rig {
    store: Arc<Mutex<Store>>,
    client: Client,
    log: Log,
}

fn rig() -> Rig {
    let store: Arc<Mutex<Store>> = Arc::default();
    let behind = store.clone();
    let (client, log) = api(move |seen| behind.lock().unwrap().answer(seen));
    Rig { store, client, log }
}

fn offer(n: usize) -> Offer {
    Offer::fixed(slots(n, "eth0"))
}

fn config() -> PublisherConfig {
    PublisherConfig {
        driver: "dra.networking".into(),
        node: "node-1".into(),
    }
}

impl Rig {
    fn publish(&self, n: usize) -> (Publisher, watch::Sender<Offer>) {
        let (devices, rx) = watch::channel(offer(n));
        (Publisher::start(self.client.clone(), config(), rx), devices)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Store) -> T) -> T {
        change(&mut self.store.lock().unwrap())
    }

    /// `index:generation/count×devices` of each slice.
    fn pool(&self) -> Vec<String> {
        self.change(|store| {
            let slices = store.slices.values();
            slices
                .map(|slice| {
                    let pool = &slice["spec"]["pool"];
                    let devices = slice["spec"]["devices"].as_array().map_or(0, Vec::len);
                    format!(
                        "{}:{}/{}x{devices}",
                        &slice["metadata"]["name"].as_str().unwrap()[..2],
                        pool["generation"],
                        pool["resourceSliceCount"]
                    )
                })
                .collect()
        })
    }

    fn writes(&self) -> Vec<String> {
        let all = self.log.all();
        let writes = all.iter().filter(|seen| seen.method != "GET");
        writes.map(|seen| seen.method.clone()).collect()
    }

    /// Waits until the pool looks like this, an hour of the paused clock at most.
    async fn becomes(&self, pool: &[&str]) {
        let wait = async {
            let mut log = 0;
            while self.pool() != pool {
                log = self.log.wait(log + 1).await.len();
            }
        };
        let hour = Duration::from_secs(3600);
        let result = tokio::time::timeout(hour, wait).await;
        assert!(result.is_ok(), "{:?} instead of {pool:?}", self.pool());
    }

    /// Waits until the watch stands and all its news have been dealt with. The clock is
    /// paused, so that it moves only when nothing is left to do.
    async fn calm(&self) {
        tokio::time::sleep(Duration::from_secs(40)).await;
    }
}

async fn done(publisher: &Publisher) -> (i64, usize) {
    let mut published = publisher.published();
    let done = published
        .wait_for(|state| matches!(state, Published::Done { .. }))
        .await
        .unwrap();
    match &*done {
        Published::Done { generation, slices } => (*generation, *slices),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_slice_says_what_the_node_has() {
    let rig = rig();
    let (publisher, _devices) = rig.publish(2);
    assert_eq!(done(&publisher).await, (1, 1));
    publisher.stop().await;
    let all = rig.log.all();
    let list = all.iter().find(|seen| seen.method == "GET").unwrap();
    assert_snapshot!(list.query, @"&fieldSelector=spec.driver%3Ddra.networking%2Cspec.nodeName%3Dnode-1");
    let post = all.iter().find(|seen| seen.method == "POST").unwrap();
    assert_eq!(post.path, PATH);
    assert_json_snapshot!(post.body, @r#"
{
  "apiVersion": "resource.k8s.io/v1",
  "kind": "ResourceSlice",
  "metadata": {
    "generateName": "00-dra.networking-node-1-",
    "ownerReferences": [
      {
        "apiVersion": "v1",
        "controller": true,
        "kind": "Node",
        "name": "node-1",
        "uid": "node-uid"
      }
    ]
  },
  "spec": {
    "devices": [
      {
        "attributes": {
          "type": {
            "string": "virtual"
          },
          "uplink": {
            "string": "eth0"
          }
        },
        "name": "slot-0"
      },
      {
        "attributes": {
          "type": {
            "string": "virtual"
          },
          "uplink": {
            "string": "eth0"
          }
        },
        "name": "slot-1"
      }
    ],
    "driver": "dra.networking",
    "nodeName": "node-1",
    "pool": {
      "generation": 1,
      "name": "node-1",
      "resourceSliceCount": 1
    }
  }
}
"#);
    assert_eq!(rig.pool(), ["00:1/1x2"], "stopping leaves the slices");
}

#[tokio::test(start_paused = true)]
async fn more_than_128_devices_are_split() {
    for (n, pool) in [
        (0, vec!["00:1/1x0"]),
        (128, vec!["00:1/1x128"]),
        (129, vec!["00:1/2x128", "01:1/2x1"]),
    ] {
        let rig = rig();
        let (publisher, _devices) = rig.publish(n);
        assert_eq!(done(&publisher).await, (1, pool.len()));
        assert_eq!(rig.pool(), pool);
        publisher.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_when_nothing_changed() {
    let rig = rig();
    let (publisher, _devices) = rig.publish(129);
    done(&publisher).await;
    rig.calm().await;
    assert_eq!(rig.writes(), ["POST", "POST"]);
    publisher.stop().await;
    let (publisher, _devices) = rig.publish(129);
    assert_eq!(done(&publisher).await, (1, 2));
    rig.calm().await;
    assert_eq!(rig.writes().len(), 2, "a restart wrote");
    publisher.stop().await;
}

#[tokio::test(start_paused = true)]
async fn deleted_slices_come_back() {
    let rig = rig();
    let (publisher, _devices) = rig.publish(129);
    done(&publisher).await;
    rig.calm().await;
    rig.change(Store::delete_all);
    rig.becomes(&["00:2/2x128", "01:2/2x1"]).await;
    rig.calm().await;
    rig.change(|store| {
        let first = store.slices.keys().next().unwrap().clone();
        store.delete(&first);
    });
    rig.becomes(&["00:3/2x128", "01:3/2x1"]).await;
    publisher.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_others_change_is_put_right() {
    let rig = rig();
    let (publisher, _devices) = rig.publish(2);
    done(&publisher).await;
    rig.calm().await;
    rig.change(|store| {
        let mut slice = store.slices.values().next().unwrap().clone();
        slice["spec"]["devices"] = json!([{ "name": "other" }]);
        store.put("MODIFIED", slice);
    });
    // One call is enough, so the generation stays.
    rig.becomes(&["00:1/1x2"]).await;
    rig.calm().await;
    assert_eq!(rig.writes(), ["POST", "PUT"]);
    publisher.stop().await;
}

#[tokio::test(start_paused = true)]
async fn surplus_slices_go() {
    let rig = rig();
    let slice = |name: &str, pool: &str, generation: i64| {
        json!({ "metadata": { "name": name }, "spec": { "driver": "dra.networking",
            "nodeName": "node-1", "pool": { "name": pool, "generation": generation,
            "resourceSliceCount": 1 } } })
    };
    rig.change(|store| {
        store.create(slice("node-1-dra.networking-abcde", "node-1", 4));
        store.create(slice("00-dra.networking-node-1-old", "node-1", 3));
        store.create(slice("00-dra.networking-node-1-new", "node-1", 4));
        store.create(slice("07-dra.networking-node-1-x", "node-1", 4));
        store.create(slice("zz-other-pool", "another", 9));
    });
    let (publisher, _devices) = rig.publish(2);
    assert_eq!(done(&publisher).await, (5, 1));
    assert_eq!(rig.pool(), ["00:5/1x2"]);
    assert_eq!(
        rig.writes(),
        ["DELETE", "DELETE", "DELETE", "DELETE", "PUT"]
    );
    let all = rig.log.all();
    let delete = all.iter().find(|seen| seen.method == "DELETE").unwrap();
    assert!(delete.body["preconditions"]["uid"].is_string());
    publisher.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_larger_or_smaller_set_is_a_new_generation() {
    let rig = rig();
    let (publisher, devices) = rig.publish(129);
    done(&publisher).await;
    devices.send(Offer::fixed(slots(300, "eth0"))).unwrap();
    rig.becomes(&["00:2/3x128", "01:2/3x128", "02:2/3x44"])
        .await;
    rig.calm().await;
    devices.send(Offer::fixed(slots(1, "eth0"))).unwrap();
    rig.becomes(&["00:3/1x1"]).await;
    rig.calm().await;
    assert_eq!(
        *publisher.published().borrow(),
        Published::Done {
            generation: 3,
            slices: 1
        }
    );
    publisher.stop().await;
}

#[tokio::test(start_paused = true)]
async fn two_changed_slices_are_a_new_generation_one_is_not() {
    let rig = rig();
    let (publisher, devices) = rig.publish(129);
    done(&publisher).await;
    devices.send(Offer::fixed(slots(130, "eth0"))).unwrap();
    rig.becomes(&["00:1/2x128", "01:1/2x2"]).await;
    rig.calm().await;
    devices.send(Offer::fixed(slots(130, "eth1"))).unwrap();
    rig.becomes(&["00:2/2x128", "01:2/2x2"]).await;
    publisher.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_happens_while_the_watch_is_broken_is_noticed() {
    let rig = rig();
    let (publisher, _devices) = rig.publish(2);
    done(&publisher).await;
    rig.calm().await;
    rig.change(|store| {
        let gone = crate::kube::fake::status(410, "Expired", "too old resource version");
        let error = json!({ "type": "ERROR", "object": gone });
        for watcher in store.watchers.drain(..) {
            watcher.send(error.clone()).unwrap();
        }
        store.delete_all();
    });
    rig.becomes(&["00:2/1x2"]).await;
    publisher.stop().await;
}

#[tokio::test(start_paused = true)]
async fn refusals_are_told_and_tried_again() {
    let rig = rig();
    rig.change(|store| {
        store.refuse = vec![
            ("POST", 500, "etcd"),
            (
                "POST",
                403,
                "User \"x\" cannot create resource \"resourceslices\"",
            ),
        ];
    });
    let (publisher, _devices) = rig.publish(2);
    let mut published = publisher.published();
    let mut next = async || {
        published.changed().await.unwrap();
        match &*published.borrow_and_update() {
            Published::Failing { error } => error.clone(),
            other => format!("{other:?}"),
        }
    };
    assert_snapshot!(next().await, @"cannot `create` `resourceslices (resource.k8s.io)`: etcd (HTTP 500)");
    assert_snapshot!(next().await, @r#"the driver may not `create` `resourceslices (resource.k8s.io)`; add the verb to its ClusterRole. The API server says: User "x" cannot create resource "resourceslices" (HTTP 403)"#);
    assert_snapshot!(next().await, @"Done { generation: 1, slices: 1 }");
    publisher.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_node_object_the_slices_have_no_owner() {
    let rig = rig();
    rig.change(|store| store.no_node = true);
    let (publisher, _devices) = rig.publish(2);
    done(&publisher).await;
    let owner = rig.change(|store| {
        let slice = store.slices.values().next().unwrap();
        slice["metadata"]["ownerReferences"].clone()
    });
    assert_eq!(owner, Value::Null);
    publisher.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_drops_fields_is_not_written_to_for_ever() {
    let rig = rig();
    rig.change(|store| store.drop_attributes = true);
    let (publisher, _devices) = rig.publish(2);
    done(&publisher).await;
    rig.calm().await;
    // Somebody touches the slice without changing what it says.
    rig.change(|store| {
        let slice = store.slices.values().next().unwrap().clone();
        store.put("MODIFIED", slice);
    });
    rig.calm().await;
    assert_eq!(rig.writes(), ["POST"]);
    publisher.stop().await;
}

/// One shared interface for three attachments, and one that is not shared.
fn interfaces() -> Offer {
    let device = |name: &str, usage| NodeDevice {
        name: name.into(),
        interface: Interface {
            name: name.into(),
            ..Interface::default()
        },
        usage,
        away: false,
    };
    let devices = [device("eth0", Usage::Shared), device("eth1", Usage::Whole)];
    Offer::of(&Devices::new(devices, []), 3)
}

fn publish(rig: &Rig) -> (Publisher, watch::Sender<Offer>) {
    let (devices, rx) = watch::channel(interfaces());
    (Publisher::start(rig.client.clone(), config(), rx), devices)
}

fn names(rig: &Rig) -> String {
    rig.change(|store| {
        let devices = store.slices.values().flat_map(|slice| {
            let devices = slice["spec"]["devices"].as_array().unwrap();
            devices.iter().map(|device| {
                let shared = device["allowMultipleAllocations"] == true;
                let name = device["name"].as_str().unwrap().to_owned();
                if shared {
                    format!("{name} (shared)")
                } else {
                    name
                }
            })
        });
        devices.collect::<Vec<_>>().join(", ")
    })
}

#[tokio::test(start_paused = true)]
async fn a_server_with_consumable_capacity_gets_shared_devices() {
    let rig = rig();
    let (publisher, _devices) = publish(&rig);
    assert_eq!(done(&publisher).await, (1, 1));
    assert_eq!(names(&rig), "eth0 (shared), eth1");
    rig.calm().await;
    assert_eq!(rig.writes(), ["POST", "POST"], "the first was a dry run");
    publisher.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_consumable_capacity_nothing_shared_is_ever_published() {
    let rig = rig();
    rig.change(|store| store.no_sharing = true);
    let (publisher, devices) = publish(&rig);
    assert_eq!(done(&publisher).await, (1, 1));
    assert_eq!(names(&rig), "eth0--0, eth0--1, eth0--2, eth1");
    devices.send(Offer::default()).unwrap();
    rig.becomes(&["00:1/1x0"]).await;
    devices.send(interfaces()).unwrap();
    rig.becomes(&["00:1/1x4"]).await;
    // It is asked once.
    assert_eq!(rig.writes(), ["POST", "POST", "PUT", "PUT"]);

    // An upgrade: the server goes away and comes back with the feature.
    rig.calm().await;
    rig.change(|store| {
        store.no_sharing = false;
        store.watchers.clear();
        let gone = ("GET", 503, "no endpoints");
        store.refuse = vec![gone];
    });
    rig.becomes(&["00:1/1x2"]).await;
    assert_eq!(names(&rig), "eth0 (shared), eth1");
    publisher.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_keeps_a_dry_run_and_drops_a_write_is_understood() {
    let rig = rig();
    let (publisher, _devices) = publish(&rig);
    let answered = rig.log.wait(1).await;
    assert!(!answered.is_empty());
    // Asked, and not yet written.
    rig.change(|store| store.no_sharing = store.slices.is_empty());
    done(&publisher).await;
    rig.calm().await;
    let shown = names(&rig);
    assert!(!shown.contains("eth0,"), "{shown}");
    publisher.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_fight_over_the_slices_is_no_storm() {
    let rig = rig();
    let (publisher, _devices) = rig.publish(2);
    done(&publisher).await;
    rig.calm().await;
    let begin = tokio::time::Instant::now();
    for generation in 2..12 {
        rig.change(Store::delete_all);
        rig.becomes(&[&format!("00:{generation}/1x2")]).await;
    }
    assert!(begin.elapsed() > Duration::from_secs(10));
    publisher.stop().await;
}

#[tokio::test(start_paused = true)]
async fn withdrawing_deletes_what_was_published() {
    let rig = rig();
    let (publisher, _devices) = rig.publish(129);
    done(&publisher).await;
    publisher.stop().await;
    assert_eq!(withdraw(&rig.client, &config()).await.unwrap(), 2);
    assert!(rig.pool().is_empty());
    rig.change(|store| store.refuse = vec![("GET", 404, "404 page not found")]);
    let error = withdraw(&rig.client, &config()).await.unwrap_err();
    assert_snapshot!(error, @"the API server does not serve resourceslices of resource.k8s.io/v1; it needs Kubernetes 1.34 or newer with that API enabled");
}

#[test]
fn a_watch_that_is_forbidden_names_its_verb() {
    let status = crate::kube::fake::status(403, "Forbidden", "cannot watch");
    let status = Box::new(serde_json::from_value(status).unwrap());
    let error = watcher::Error::WatchStartFailed(::kube::Error::Api(status));
    assert_snapshot!(sync::watch_words(error), @"the driver may not `watch` `resourceslices (resource.k8s.io)`; add the verb to its ClusterRole. The API server says: cannot watch (HTTP 403)");
}
