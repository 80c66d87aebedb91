//! The writer against an API server that is busy, changed, or says no.

use std::sync::Arc;

use insta::{assert_json_snapshot, assert_snapshot};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::*;
use crate::event::{Event, Phase, Step};
use crate::kube::fake::{Log, Reply, Seen, api, in_turn, refusal, status};

const FLUSH: Duration = Duration::from_secs(3600);

fn claim_ref() -> ClaimRef {
    ClaimRef {
        namespace: "ns".into(),
        name: "c".into(),
        uid: "u1".into(),
    }
}

fn key(device: &str) -> DeviceKey {
    DeviceKey {
        pool: "node-1".into(),
        device: device.into(),
        share_id: None,
    }
}

fn ready(interface: &str) -> DeviceState {
    DeviceState::Ready {
        interface: interface.into(),
        mac: Some("02:00:00:00:00:01".into()),
        ips: vec!["10.0.0.5/24".parse().unwrap()],
        cni_result: json!({ "cniVersion": "1.1.0", "interfaces": [{ "name": interface }] }),
    }
}

fn failed(message: &str) -> DeviceState {
    DeviceState::Failed {
        reason: "AttachFailed".into(),
        message: message.into(),
    }
}

fn accepted() -> Value {
    json!({
        "apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim",
        "metadata": { "name": "c", "namespace": "ns" }, "spec": {},
    })
}

struct Rig {
    writer: StatusWriter,
    log: Log,
    recorder: Recorder,
}

fn rig(handler: impl FnMut(&Seen) -> Reply + Send + 'static) -> Rig {
    let (client, log) = api(handler);
    let recorder = Recorder::new(64);
    let writer = StatusWriter::start(
        client,
        StatusConfig {
            driver: "dra.networking".into(),
            field_manager: "dra.networking".into(),
            recorder: recorder.clone(),
            gate: Gate::default(),
            written: true,
        },
    );
    Rig {
        writer,
        log,
        recorder,
    }
}

impl Rig {
    fn set(&self, device: &str, state: DeviceState) {
        self.writer.set(&claim_ref(), key(device), state);
    }

    async fn idle(&self) {
        assert!(self.writer.flush(FLUSH).await);
    }

    fn events(&self) -> Vec<Arc<Event>> {
        let mut reader = self.recorder.subscribe(0);
        std::iter::from_fn(|| reader.ready().map(|(event, _)| event)).collect()
    }

    fn phases(&self) -> Vec<Phase> {
        self.events().iter().map(|event| event.phase).collect()
    }

    fn last_error(&self) -> String {
        let events = self.events();
        events.last().unwrap().error.clone().unwrap()
    }
}

fn devices(seen: &Seen) -> Vec<(String, String)> {
    let list = seen.body["status"]["devices"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    list.iter()
        .map(|d| (text(&d["device"]), text(&d["conditions"][0]["status"])))
        .collect()
}

#[tokio::test]
async fn one_apply_says_what_became_of_all_devices() {
    let rig = rig(in_turn(vec![], accepted()));
    rig.set("slot-0", ready("net1"));
    rig.set("slot-1", failed("no uplink eth0"));
    rig.idle().await;
    let seen = rig.log.all();
    assert_eq!(seen.len(), 1);
    assert_snapshot!(seen[0].line(), @"PATCH /apis/resource.k8s.io/v1/namespaces/ns/resourceclaims/c/status");
    assert_snapshot!(seen[0].query, @"&force=true&fieldManager=dra.networking");
    assert_eq!(seen[0].content_type, "application/apply-patch+yaml");
    let mut body = seen[0].body.clone();
    for device in body["status"]["devices"].as_array_mut().unwrap() {
        let since = &mut device["conditions"][0]["lastTransitionTime"];
        assert_eq!(since.as_str().unwrap().len(), "2026-01-01T00:00:00Z".len());
        *since = "TIME".into();
    }
    assert_json_snapshot!(body, @r#"
{
  "apiVersion": "resource.k8s.io/v1",
  "kind": "ResourceClaim",
  "metadata": {
    "name": "c",
    "namespace": "ns",
    "uid": "u1"
  },
  "status": {
    "devices": [
      {
        "driver": "dra.networking",
        "pool": "node-1",
        "device": "slot-0",
        "conditions": [
          {
            "type": "Ready",
            "status": "True",
            "reason": "Attached",
            "message": "net1 is in the pod",
            "lastTransitionTime": "TIME"
          }
        ],
        "data": {
          "cniVersion": "1.1.0",
          "interfaces": [
            {
              "name": "net1"
            }
          ]
        },
        "networkData": {
          "interfaceName": "net1",
          "hardwareAddress": "02:00:00:00:00:01",
          "ips": [
            "10.0.0.5/24"
          ]
        }
      },
      {
        "driver": "dra.networking",
        "pool": "node-1",
        "device": "slot-1",
        "conditions": [
          {
            "type": "Ready",
            "status": "False",
            "reason": "AttachFailed",
            "message": "no uplink eth0",
            "lastTransitionTime": "TIME"
          }
        ]
      }
    ]
  }
}
"#);

    assert_eq!(rig.phases(), [Phase::Begin, Phase::End]);
    let end = &rig.events()[1];
    assert_eq!(end.step, Step::Status);
    assert_eq!(end.subject.claim, Some(claim_ref()));
    assert_eq!(end.detail["patch"], seen[0].body);
    rig.writer.stop(FLUSH).await;
}

#[tokio::test]
async fn states_that_come_during_a_write_go_out_in_one_more() {
    let (answer, held) = oneshot::channel();
    let rig = rig(in_turn(
        vec![Reply::Held(held, 200, accepted())],
        accepted(),
    ));
    rig.set("slot-0", failed("a"));
    rig.log.wait(1).await;
    rig.set("slot-0", failed("b"));
    rig.set("slot-0", ready("net1"));
    rig.set("slot-1", ready("net2"));
    answer.send(()).unwrap();
    rig.idle().await;
    let seen = rig.log.all();
    assert_eq!(seen.len(), 2);
    assert_eq!(devices(&seen[0]), [("slot-0".into(), "False".into())]);
    let both = [
        ("slot-0".into(), "True".into()),
        ("slot-1".into(), "True".into()),
    ];
    assert_eq!(devices(&seen[1]), both);
}

#[tokio::test]
async fn the_same_state_is_not_written_twice() {
    let rig = rig(in_turn(vec![], accepted()));
    rig.set("slot-0", ready("net1"));
    rig.idle().await;
    rig.set("slot-0", ready("net1"));
    rig.idle().await;
    assert_eq!(rig.log.all().len(), 1);
}

#[tokio::test]
async fn the_transition_time_changes_with_the_status_alone() {
    let rig = rig(in_turn(vec![], accepted()));
    let old: Timestamp = "2020-01-01T00:00:00Z".parse().unwrap();
    let since = |log: &Log| {
        let seen = log.all();
        let device = &seen.last().unwrap().body["status"]["devices"][0];
        device["conditions"][0]["lastTransitionTime"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    rig.writer
        .seed(&claim_ref(), key("slot-0"), failed("a"), old);
    rig.set("slot-0", failed("b"));
    rig.idle().await;
    assert_eq!(since(&rig.log), "2020-01-01T00:00:00Z");
    rig.set("slot-0", ready("net1"));
    rig.idle().await;
    assert!(since(&rig.log).as_str() > "2026");
}

#[tokio::test]
async fn seeded_devices_cause_no_write_but_go_out_with_the_next() {
    let rig = rig(in_turn(vec![], accepted()));
    rig.writer
        .seed(&claim_ref(), key("slot-0"), ready("net1"), Timestamp::now());
    rig.idle().await;
    assert!(rig.log.all().is_empty());
    rig.set("slot-1", failed("a"));
    rig.idle().await;
    let both = [
        ("slot-0".into(), "True".into()),
        ("slot-1".into(), "False".into()),
    ];
    assert_eq!(devices(&rig.log.all()[0]), both);
}

#[tokio::test(start_paused = true)]
async fn a_busy_server_is_tried_again_with_the_newest_state() {
    let (answer, held) = oneshot::channel();
    let replies = vec![
        refusal(500, "InternalError", "etcd"),
        Reply::Broken,
        refusal(429, "TooManyRequests", "slow down"),
        Reply::Never,
        Reply::Held(
            held,
            409,
            status(409, "Conflict", "the object has been modified"),
        ),
    ];
    let rig = rig(in_turn(replies, accepted()));
    rig.set("slot-0", failed("a"));
    rig.log.wait(5).await;
    rig.set("slot-0", ready("net1"));
    answer.send(()).unwrap();
    rig.idle().await;
    let seen = rig.log.all();
    assert_eq!(seen.len(), 6);
    assert_eq!(devices(&seen[5]), [("slot-0".into(), "True".into())]);
    assert_eq!(rig.phases(), [Phase::Begin, Phase::End]);
    assert_eq!(rig.events()[1].detail["tries"], 6);
}

#[tokio::test]
async fn what_will_be_refused_again_is_given_up() {
    async fn error(reply: Reply) -> String {
        let rig = rig(in_turn(vec![reply], accepted()));
        rig.set("slot-0", ready("net1"));
        rig.idle().await;
        assert_eq!(rig.log.all().len(), 1, "asked again for nothing");
        assert_eq!(rig.phases(), [Phase::Begin, Phase::Fail]);
        rig.last_error()
    }
    assert_snapshot!(error(refusal(404, "NotFound", "resourceclaims \"c\" not found")).await, @"ResourceClaim ns/c is gone");
    assert_snapshot!(error(refusal(404, "NotFound", "the server could not find the requested resource")).await, @"the API server does not serve resourceclaims of resource.k8s.io/v1; it needs Kubernetes 1.34 or newer with that API enabled");
    assert_snapshot!(error(refusal(422, "Invalid", "status.devices[0]: Invalid value: must be an allocated device in the claim")).await, @"the API server refuses the status of ResourceClaim ns/c, most likely because a device is no longer allocated: status.devices[0]: Invalid value: must be an allocated device in the claim (HTTP 422)");
    assert_snapshot!(error(refusal(409, "Conflict", "Precondition failed: UID in precondition: u1, UID in object meta: u2")).await, @"ResourceClaim ns/c is another one now, no longer the one with UID u1");
    let mut immutable = status(422, "Invalid", "metadata.uid: field is immutable");
    immutable["details"] = json!({ "causes": [{ "field": "metadata.uid" }] });
    assert_snapshot!(error(Reply::Json(422, immutable)).await, @"ResourceClaim ns/c is another one now, no longer the one with UID u1");
    assert_snapshot!(error(Reply::Json(200, json!({ "spec": 1 }))).await, @"ResourceClaim ns/c: the answer cannot be read: invalid type: integer `1`, expected ResourceClaimSpec at line 1 column 9; driver dra.networking cannot tell whether its status was written");
}

/// Kubernetes 1.36 asks for the second permission while it validates.
#[tokio::test(start_paused = true)]
async fn a_missing_synthetic_verb_is_named_and_tried_again() {
    async fn error(said: &str) -> String {
        let rig = rig(in_turn(vec![refusal(422, "Invalid", said)], accepted()));
        rig.set("slot-0", ready("net1"));
        rig.log.wait(2).await;
        rig.idle().await;
        assert_eq!(
            rig.phases(),
            [Phase::Begin, Phase::Fail, Phase::Begin, Phase::End]
        );
        rig.events()[1].error.clone().unwrap()
    }
    let words = |verbs: &str, verb: &str| {
        format!(
            "status.devices: Forbidden: changing status.devices requires resource=\"resourceclaims/driver\", verb=\"[{verbs}]\" permission: User \"u\" cannot {verb} resource \"resourceclaims/driver\""
        )
    };
    assert_snapshot!(error(&words("associated-node:patch arbitrary-node:patch", "associated-node:patch")).await, @r#"the driver may not `associated-node:patch` `resourceclaims/driver` (resource.k8s.io) with the resourceName `dra.networking`; add the verb to its ClusterRole. The API server says: status.devices: Forbidden: changing status.devices requires resource="resourceclaims/driver", verb="[associated-node:patch arbitrary-node:patch]" permission: User "u" cannot associated-node:patch resource "resourceclaims/driver" (HTTP 422)"#);
    assert_snapshot!(error(&words("arbitrary-node:patch", "arbitrary-node:patch")).await, @r#"the driver may not change the status of a claim that is allocated to another node than the one its token names: run it in a pod on the claim's node, with the pod's own token. The API server says: status.devices: Forbidden: changing status.devices requires resource="resourceclaims/driver", verb="[arbitrary-node:patch]" permission: User "u" cannot arbitrary-node:patch resource "resourceclaims/driver" (HTTP 422)"#);
}

#[tokio::test(start_paused = true)]
async fn a_missing_verb_is_named_at_once_and_tried_again_slowly() {
    let rig = rig(in_turn(
        vec![refusal(
            403,
            "Forbidden",
            "cannot patch resource \"resourceclaims/status\"",
        )],
        accepted(),
    ));
    let begin = Instant::now();
    rig.set("slot-0", ready("net1"));
    rig.log.wait(2).await;
    assert!(begin.elapsed() >= Duration::from_secs(15));
    rig.idle().await;
    assert_snapshot!(rig.events()[1].error.clone().unwrap(), @r#"the driver may not `patch` `resourceclaims/status` (resource.k8s.io); add the verb to its ClusterRole. The API server says: cannot patch resource "resourceclaims/status" (HTTP 403)"#);
    assert_eq!(
        rig.phases(),
        [Phase::Begin, Phase::Fail, Phase::Begin, Phase::End]
    );
}

/// Not before a back-off of half a minute.
fn much_later() -> Reply {
    let mut busy = status(429, "TooManyRequests", "slow down");
    busy["details"] = json!({ "retryAfterSeconds": 30 });
    Reply::Json(429, busy)
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_claim_is_not_tried_again() {
    let rig = rig(|_| much_later());
    let begin = Instant::now();
    rig.set("slot-0", ready("net1"));
    rig.log.wait(1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.writer.forget("u1");
    let mut reader = rig.recorder.subscribe(1);
    let (event, _) = reader.next().await;
    assert_snapshot!(event.error.clone().unwrap(), @"the claim was unprepared before its status was written");
    assert!(begin.elapsed() < Duration::from_secs(2));
    rig.idle().await;
    assert_eq!(rig.log.all().len(), 1);
    rig.writer.forget("unknown");
}

#[tokio::test]
async fn a_claim_that_is_forgotten_and_prepared_again_begins_without_its_old_devices() {
    let (answer, held) = oneshot::channel();
    let rig = rig(in_turn(
        vec![Reply::Held(held, 200, accepted())],
        accepted(),
    ));
    rig.set("slot-0", ready("net1"));
    rig.log.wait(1).await;
    rig.writer.forget("u1");
    rig.set("slot-1", ready("net1"));
    answer.send(()).unwrap();
    rig.idle().await;
    let seen = rig.log.all();
    assert_eq!(devices(&seen[1]), [("slot-1".into(), "True".into())]);
    assert_eq!(seen.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_end_waits_no_longer_than_it_is_told() {
    let rig = rig(|_| refusal(503, "ServiceUnavailable", "starting"));
    rig.set("slot-0", ready("net1"));
    let begin = Instant::now();
    rig.writer.stop(Duration::from_secs(2)).await;
    assert_eq!(begin.elapsed().as_secs(), 2);
    let mut reader = rig.recorder.subscribe(1);
    assert_eq!(reader.ready().unwrap().0.phase, Phase::Fail);
}

#[tokio::test(start_paused = true)]
async fn the_end_hurries_what_waits() {
    let rig = rig(in_turn(vec![much_later(), much_later()], accepted()));
    rig.set("slot-0", ready("net1"));
    let begin = Instant::now();
    rig.writer.stop(Duration::from_secs(60)).await;
    assert!(begin.elapsed() <= Duration::from_millis(500));
    assert_eq!(rig.log.all().len(), 3);
}

#[tokio::test]
async fn a_hostile_name_reaches_no_other_path() {
    let rig = rig(in_turn(vec![], accepted()));
    let mut hostile = claim_ref();
    hostile.name = "../pods/x".into();
    rig.writer.set(&hostile, key("slot-0"), ready("net1"));
    rig.idle().await;
    assert!(rig.log.all().is_empty());
}
