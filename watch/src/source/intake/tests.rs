use super::*;

const TIME: &str = "\"time\":\"2026-11-24T04:09:00.000000001Z\"";

fn event(seq: u64, rest: &str) -> String {
    format!("{{\"seq\":{seq},{TIME}{rest}}}\n")
}

/// What a reader gets of `pieces`, and the intake for a closer look.
async fn take(live: bool, after: &[&str], node: Option<&str>, pieces: &[String]) -> Vec<String> {
    let (out, mut updates) = mpsc::channel(64);
    let after: Vec<Position> = after.iter().map(|text| text.parse().unwrap()).collect();
    let mut intake = Intake::new(SourceId(0), out, live, &after);
    if let Some(node) = node {
        intake.set_node(node);
    }
    for piece in pieces {
        intake.feed(piece.as_bytes()).await.unwrap();
    }
    intake.end_of_stream().await.unwrap();
    drop(intake);
    let mut seen = Vec::new();
    while let Some(update) = updates.recv().await {
        seen.push(match update {
            Update::Events(chunk) => {
                let text = std::str::from_utf8(chunk.text())
                    .unwrap()
                    .replace(TIME, "T");
                format!(
                    "{}@{} dropped {}: {}",
                    chunk.instance,
                    chunk.node.as_deref().unwrap_or("-"),
                    chunk.dropped(),
                    text.trim_end().replace('\n', " ")
                )
            }
            Update::Garbage { count, sample, .. } => format!("garbage {count}: {sample}"),
            other => panic!("{other:?}"),
        });
    }
    seen
}

#[tokio::test]
async fn a_recording_passes_as_it_is() {
    let lines = [
        event(1, ""),
        event(2, ""),
        event(2, ""),
        event(9, ""),
        "{\"summary\":{}}".into(),
    ];
    let seen = take(false, &[], None, &[lines.concat()]).await;
    insta::assert_snapshot!(seen.join("\n"), @r#"@- dropped 0: {"seq":1,T} {"seq":2,T} {"seq":2,T} {"seq":9,T} {"summary":{}}"#);
}

#[tokio::test]
async fn a_live_stream_has_no_repeats_and_its_gaps_are_counted() {
    let life = |seq, life: &str| event(seq, &format!(",\"instance\":\"{life}\""));
    let lines = [
        life(3, "a"),
        life(4, "a"),
        life(5, "a"),
        life(5, "a"),
        life(8, "a"),
        life(1, "b"),
        event(4, ",\"instance\":\"b\",\"dropped\":2"),
        life(9, "a"),
    ];
    let seen = take(true, &["a:3"], None, &lines).await;
    insta::assert_snapshot!(seen.join("\n"), @r#"
    a@- dropped 0: {"seq":4,T,"instance":"a"} {"seq":5,T,"instance":"a"}
    a@- dropped 2: {"seq":8,T,"instance":"a","dropped":2}
    b@- dropped 0: {"seq":1,T,"instance":"b"}
    b@- dropped 2: {"seq":4,T,"instance":"b","dropped":2}
    a@- dropped 0: {"seq":9,T,"instance":"a"}
    "#);
}

#[tokio::test]
async fn lines_learn_their_node_and_life_and_may_not_contradict() {
    let lines = [
        event(1, ""),
        event(2, ",\"node\":\"n1\""),
        event(3, ",\"node\":\"n2\""),
    ];
    let seen = take(true, &[], Some("n1"), &lines).await;
    insta::assert_snapshot!(seen.join("\n"), @r#"
    garbage 1: {"seq":3,"time":"2026-11-24T04:09:00.000000001Z","node":"n2"}
    @n1 dropped 0: {"seq":1,T,"node":"n1"} {"seq":2,T,"node":"n1"}
    "#);
    let (out, mut updates) = mpsc::channel(8);
    let mut intake = Intake::new(SourceId(0), out, true, &[]);
    let beside = |instance| Beside {
        instance: Some(instance),
        dropped: 5,
    };
    intake
        .line(event(6, "").as_bytes(), beside("x"))
        .await
        .unwrap();
    intake
        .line(event(7, "").as_bytes(), beside("not a name"))
        .await
        .unwrap();
    intake.flush().await.unwrap();
    assert!(matches!(
        updates.recv().await,
        Some(Update::Garbage { count: 1, .. })
    ));
    let Some(Update::Events(chunk)) = updates.recv().await else {
        panic!("no events");
    };
    let text = std::str::from_utf8(chunk.text()).unwrap();
    assert!(
        text.ends_with("Z\",\"instance\":\"x\",\"dropped\":5}\n"),
        "{text}"
    );
    assert_eq!(intake.resume()[0].to_string(), "x:6");
}

#[tokio::test]
async fn garbage_is_counted_and_shown_harmlessly() {
    let long = "z".repeat(MAX_LINE + 10);
    let lines = [
        event(1, ""),
        "\u{1b}[2J\u{202e}oops\n".into(),
        format!("{long}\n"),
        event(2, ""),
        "{\"seq\":3,\"ti".into(),
    ];
    let seen = take(false, &[], None, &[lines.concat()]).await;
    insta::assert_snapshot!(seen.join("\n"), @r#"
    garbage 3: {"seq":3,"ti
    @- dropped 0: {"seq":1,T} {"seq":2,T}
    "#);
    let seen = take(false, &[], None, &[format!("{long}\n")]).await;
    assert_eq!(seen, ["garbage 1: a line of more than 256 KiB"]);
    let seen = take(false, &[], None, &["\u{1b}[2J\u{202e}oops\n".into()]).await;
    assert_eq!(seen, ["garbage 1:  [2J oops"]);
}

#[tokio::test]
async fn chunks_stay_bounded() {
    let (out, mut updates) = mpsc::channel(8);
    let feeding = tokio::spawn(async move {
        let mut intake = Intake::new(SourceId(0), out, false, &[]);
        let pad = format!(",\"pad\":\"{}\"", "p".repeat(100_000));
        for seq in 0..20 {
            intake.feed(event(seq, &pad).as_bytes()).await.unwrap();
        }
        intake.end_of_stream().await.unwrap();
    });
    let mut next = 0;
    while let Some(Update::Events(chunk)) = updates.recv().await {
        assert!(chunk.text().len() < FULL + 2 * MAX_LINE);
        assert!(chunk.lines().all(|line| {
            next += 1;
            line.seq + 1 == next
        }));
    }
    assert_eq!(next, 20);
    feeding.await.unwrap();
}

#[tokio::test]
async fn many_lives_are_not_remembered_for_ever() {
    let (out, mut updates) = mpsc::channel(8);
    tokio::spawn(async move { while updates.recv().await.is_some() {} });
    let mut intake = Intake::new(SourceId(0), out, true, &[]);
    for life in 0..1_000 {
        let line = event(1, &format!(",\"instance\":\"l{life}\""));
        intake.feed(line.as_bytes()).await.unwrap();
    }
    assert_eq!(intake.seen.len(), LIVES);
    assert_eq!(intake.resume()[0].to_string(), "l999:1");
}

#[tokio::test]
async fn how_the_driver_is_doing_passes_each_time_and_can_stand_alone() {
    let state = |rest: &str| format!("{{\"driver\":{{}}{rest}}}\n");
    let lines = [
        state(",\"instance\":\"a\""),
        event(1, ",\"instance\":\"a\""),
        state(",\"instance\":\"a\""),
        state(",\"node\":\"another\""),
    ];
    let seen = take(true, &["a:1"], Some("n-1"), &[lines.concat()]).await;
    insta::assert_snapshot!(seen.join("\n"), @r#"
    garbage 1: {"driver":{},"node":"another"}
    a@n-1 dropped 0: {"driver":{},"instance":"a","node":"n-1"} {"driver":{},"instance":"a","node":"n-1"}
    "#);
}
