//! The poster against an API server that counts, forgets, or is away.

use super::*;
use crate::kube::fake::{Reply, Seen, api, in_turn, refusal};
use insta::{assert_json_snapshot, assert_snapshot};
use serde_json::Value;

const FLUSH: Duration = Duration::from_secs(60);

fn pod() -> PodRef {
    PodRef {
        namespace: "ns".into(),
        name: "web".into(),
        uid: "pod-uid".into(),
    }
}

fn event() -> Value {
    json!({ "apiVersion": "v1", "kind": "Event", "metadata": {}, "involvedObject": {} })
}

fn accept(_: &Seen) -> Reply {
    Reply::Json(201, event())
}

fn poster(client: Client) -> EventPoster {
    EventPoster::start(client, "dra.networking", "node-1")
}

fn lines(seen: &[Seen]) -> Vec<String> {
    seen.iter().map(Seen::line).collect()
}

#[tokio::test]
async fn an_event_is_what_describe_shows() {
    let (client, log) = api(accept);
    let poster = poster(client);
    poster.post(pod(), EventKind::Warning, "AttachFailed", "no uplink eth0");
    poster.stop(FLUSH).await;
    let mut body = log.all()[0].body.clone();
    assert_eq!(log.all()[0].line(), "POST /api/v1/namespaces/ns/events");
    let name = body["metadata"]["name"].as_str().unwrap().to_owned();
    assert!(name.starts_with("web."), "{name}");
    body["metadata"]["name"] = "NAME".into();
    assert_eq!(body["firstTimestamp"], body["lastTimestamp"]);
    for stamp in ["firstTimestamp", "lastTimestamp"] {
        body[stamp] = "TIME".into();
    }
    assert_json_snapshot!(body, @r#"
{
  "apiVersion": "v1",
  "kind": "Event",
  "count": 1,
  "firstTimestamp": "TIME",
  "involvedObject": {
    "apiVersion": "v1",
    "kind": "Pod",
    "name": "web",
    "namespace": "ns",
    "uid": "pod-uid"
  },
  "lastTimestamp": "TIME",
  "message": "no uplink eth0",
  "metadata": {
    "name": "NAME",
    "namespace": "ns"
  },
  "reason": "AttachFailed",
  "reportingComponent": "dra.networking",
  "reportingInstance": "node-1",
  "source": {
    "component": "dra.networking",
    "host": "node-1"
  },
  "type": "Warning"
}
"#);
}

#[tokio::test]
async fn the_same_words_raise_the_count() {
    let (client, log) = api(accept);
    let poster = poster(client);
    let post = |words: &str| poster.post(pod(), EventKind::Warning, "AttachFailed", words);
    post("a");
    let first = log.wait(1).await;
    let name = first[0].body["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    post("a");
    let seen = log.wait(2).await;
    assert_eq!(
        seen[1].line(),
        format!("PATCH /api/v1/namespaces/ns/events/{name}")
    );
    assert_eq!(seen[1].body["count"], 2);
    assert!(seen[1].body["lastTimestamp"].is_string());
    post("b");
    assert_eq!(log.wait(3).await[2].method, "POST");
    poster.stop(FLUSH).await;
}

#[tokio::test]
async fn what_waits_is_counted_together_and_sent_at_the_end() {
    let (client, log) = api(accept);
    let poster = poster(client);
    for words in ["a", "b", "a", "a"] {
        poster.post(pod(), EventKind::Normal, "Attached", words);
    }
    poster.stop(FLUSH).await;
    let seen = log.all();
    let counts: Vec<_> = seen
        .iter()
        .map(|seen| (seen.body["message"].clone(), seen.body["count"].clone()))
        .collect();
    assert_eq!(counts, [("a".into(), 3.into()), ("b".into(), 1.into())]);
}

#[tokio::test(start_paused = true)]
async fn a_series_ends_with_time_or_with_its_event() {
    let (client, log) = api(|seen| match seen.method.as_str() {
        "PATCH" => refusal(404, "NotFound", "events \"x\" not found"),
        _ => Reply::Json(201, event()),
    });
    let poster = poster(client);
    let post = || poster.post(pod(), EventKind::Warning, "Orphan", "a");
    post();
    log.wait(1).await;
    tokio::time::advance(SERIES - Duration::from_secs(1)).await;
    post();
    log.wait(3).await;
    tokio::time::advance(SERIES + Duration::from_secs(1)).await;
    post();
    let seen = log.wait(4).await;
    let methods: Vec<_> = seen.iter().map(|seen| seen.method.as_str()).collect();
    assert_eq!(methods, ["POST", "PATCH", "POST", "POST"]);
    poster.stop(FLUSH).await;
}

#[tokio::test(start_paused = true)]
async fn a_busy_server_is_tried_again_a_refusal_is_not() {
    let replies = vec![
        refusal(500, "InternalError", "etcd"),
        Reply::Broken,
        refusal(409, "AlreadyExists", "the first try went through"),
        refusal(403, "Forbidden", "namespace is being terminated"),
    ];
    let (client, log) = api(in_turn(replies, event()));
    let poster = poster(client);
    poster.post(pod(), EventKind::Normal, "Attached", "a");
    log.wait(3).await;
    poster.post(pod(), EventKind::Normal, "Attached", "b");
    log.wait(4).await;
    poster.post(pod(), EventKind::Normal, "Attached", "a");
    poster.stop(FLUSH).await;
    let seen = log.all();
    let posts = vec!["POST /api/v1/namespaces/ns/events"; 4];
    assert_eq!(lines(&seen)[..4], posts);
    assert_eq!(
        seen[4].method, "PATCH",
        "the first Event was not remembered"
    );
    let names = |i: usize| seen[i].body["metadata"]["name"].clone();
    assert_eq!(names(0), names(2));
}

#[tokio::test(start_paused = true)]
async fn the_end_waits_no_longer_than_it_is_told() {
    let (client, _) = api(|_| Reply::Never);
    let poster = poster(client);
    poster.post(pod(), EventKind::Normal, "Attached", "a");
    let begin = Instant::now();
    poster.stop(Duration::from_secs(2)).await;
    assert_eq!(begin.elapsed().as_secs(), 2);
}

#[tokio::test]
async fn hostile_names_and_long_messages_do_no_harm() {
    let (client, log) = api(accept);
    let poster = poster(client);
    let mut hostile = pod();
    hostile.namespace = "../../nodes".into();
    poster.post(hostile, EventKind::Normal, "Attached", "a");
    poster.post(pod(), EventKind::Normal, "Attached", "é".repeat(2000));
    poster.stop(FLUSH).await;
    let seen = log.all();
    assert_eq!(seen.len(), 1);
    let message = seen[0].body["message"].as_str().unwrap();
    assert!(message.len() <= MAX_MESSAGE && message.ends_with("é…"));
}

#[test]
fn a_missing_verb_is_named() {
    let failure = Failure::from(::kube::Error::Api(
        serde_json::from_value(crate::kube::fake::status(
            403,
            "Forbidden",
            "events is forbidden",
        ))
        .unwrap(),
    ));
    assert_snapshot!(words(&failure), @"the driver may not `create` and `patch` `events`; add the verbs to its ClusterRole. The API server says: events is forbidden (HTTP 403)");
}
