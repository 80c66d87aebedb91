//! `ndra watch` without a terminal: frames of recordings, and what it says to bad input.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const RECORDINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/recordings");

fn ndra(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ndra"))
        .arg("watch")
        .args(args)
        .current_dir(Path::new(RECORDINGS))
        .env("LC_ALL", "C.UTF-8")
        .env_remove("NO_COLOR")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn printed(args: &[&str]) -> String {
    let output = ndra(args);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{errors}");
    assert_eq!(errors, "");
    String::from_utf8(output.stdout).unwrap()
}

/// Exit code and standard error.
fn refused(args: &[&str]) -> String {
    let output = ndra(args);
    assert_eq!(output.stdout, b"");
    let code = output.status.code().unwrap();
    format!("exit {code}\n{}", String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_good_run() {
    insta::assert_snapshot!(printed(&["good.jsonl", "--frame", "80x24"]));
}

#[test]
fn a_pod_that_hangs_shows_why() {
    insta::assert_snapshot!(printed(&["broken.jsonl", "--frame", "80x24"]));
}

/// A run that ends takes every claim down again. Which pod never came up, at which step and
/// why must stay to be seen, and take three keys at most.
#[test]
fn what_failed_in_a_run_that_has_ended_is_found_within_three_keys() {
    let frame = printed(&["shop.jsonl", "--frame", "80x24"]);
    assert!(frame.contains("✗ 1 failed"), "{frame}");
    assert!(frame.contains("8 cni-add failed"), "{frame}");
    insta::assert_snapshot!("ended_after_a_failure", frame);
    // From the last row, which is well, the failure is one key away.
    let frame = printed(&["shop.jsonl", "--frame", "80x24", "--keys", "Ge"]);
    assert!(frame.contains("▌✗ db-3"), "{frame}");
    for keys in ["<enter><enter>", "e<enter><enter>", "3"] {
        let frame = printed(&["shop.jsonl", "--frame", "80x24", "--keys", keys]);
        for words in ["8 cni-add", "error", "means", "do  "] {
            assert!(frame.contains(words), "{keys}: {words}\n{frame}");
        }
    }
    let keys = [
        "shop.jsonl",
        "--frame",
        "80x24",
        "--keys",
        "e<enter><enter>",
    ];
    insta::assert_snapshot!("ended_after_a_failure_detail", printed(&keys));
}

#[test]
fn keys_are_pressed_before_the_frame_is_drawn() {
    let keys = [
        "broken.jsonl",
        "--frame",
        "100x30",
        "--keys",
        "<enter><enter>",
    ];
    insta::assert_snapshot!(printed(&keys));
}

#[test]
fn a_search_finds_what_is_folded_and_the_error() {
    let count = |keys: &str| {
        let frame = printed(&["broken.jsonl", "--frame", "100x30", "--keys", keys]);
        let (_, rest) = frame.split_once("search ").unwrap();
        let (word, rest) = rest.split_once(" (").unwrap();
        let (place, _) = rest.split_once(')').unwrap();
        let hits = place.rsplit(' ').next().unwrap().parse::<usize>().unwrap();
        assert_eq!(place, format!("1 of {hits}"), "it says where it stands");
        let word = word.to_lowercase();
        let lines = frame.lines().skip_while(|line| !line.starts_with("──"));
        let payload: Vec<_> = lines.map(str::to_lowercase).collect();
        let marked = payload.iter().find(|line| line.starts_with('▌'));
        assert!(marked.is_some_and(|line| line.contains(&word)), "{frame}");
        hits
    };
    let open = count("3/range<enter>");
    assert!(open > 0);
    assert_eq!(count("3z/range<enter>"), open);
    assert!(count("3/no IP<enter>") > 0);
}

#[test]
fn an_earlier_moment() {
    let frame = printed(&["good.jsonl", "--frame", "80x24", "--at", "15ms"]);
    let later = printed(&["good.jsonl", "--frame", "80x24"]);
    assert!(frame.contains("‖") && frame != later, "{frame}");
    insta::assert_snapshot!(frame);
}

#[test]
fn a_moment_may_be_the_first_event_between_two_or_after_the_last() {
    let frame = |at: &str| printed(&["good.jsonl", "--frame", "80x24", "--at", at]);
    let (first, last) = (frame("0s"), frame("3d"));
    assert!(first.contains(" 00:00.000 / "), "{first}");
    assert!(first.contains("event 1 / 24"), "{first}");
    assert!(last.contains("  24 events"), "{last}");
    assert_eq!(frame("15ms"), frame("15000us"));
    assert_eq!(frame("0.015s"), frame("15ms"));
}

#[test]
fn a_picture_shows_the_same_words() {
    let svg = printed(&["broken.jsonl", "--frame", "120x40", "--svg"]);
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    assert!(svg.contains("cni-add failed: address range used up"));
    let again = printed(&["broken.jsonl", "--frame", "120x40", "--svg"]);
    assert_eq!(svg, again, "the same recording gives the same bytes");
}

/// The README opens with it.
#[test]
fn the_picture_in_the_documents_is_what_is_drawn_today() {
    let svg = printed(&["shop.jsonl", "--at", "620ms", "--frame", "120x40", "--svg"]);
    let kept = Path::new(RECORDINGS).join("../../docs/watch.svg");
    assert!(
        fs::read_to_string(kept).unwrap() == svg,
        "make it anew: ndra watch fixtures/recordings/shop.jsonl --at 620ms --frame 120x40 --svg > docs/watch.svg"
    );
}

#[test]
fn several_recordings_are_merged() {
    let frame = printed(&["good.jsonl", "broken.jsonl", "--frame", "80x24"]);
    assert!(frame.contains("2 flows"), "{frame}");
}

/// The status line of a file with these bytes.
fn status_of(bytes: &[u8]) -> String {
    let dir = tempfile::Builder::new()
        .prefix("nd")
        .tempdir_in("/tmp")
        .unwrap();
    let path = dir.path().join("x.jsonl");
    fs::write(&path, bytes).unwrap();
    let frame = printed(&[path.to_str().unwrap(), "--frame", "120x24"]);
    let line = frame.lines().nth(21).unwrap();
    line.split("  sort").next().unwrap().trim().to_owned()
}

#[test]
fn a_recording_that_is_cut_says_so() {
    let all = fs::read(Path::new(RECORDINGS).join("good.jsonl")).unwrap();
    let ends: Vec<_> = (0..all.len()).filter(|at| all[*at] == b'\n').collect();
    insta::assert_snapshot!(status_of(&all[..5000]), @"▲ the last line is cut, the recording has no summary: it was cut short");
    insta::assert_snapshot!(status_of(&all[..=ends[9]]), @"▲ the recording has no summary: it was cut short");
    // The line feed alone is missing; then the summary is there, or it is not.
    insta::assert_snapshot!(status_of(&all[..all.len() - 1]), @"the run ended as expected: 1 pod, 1 interface, nothing left behind");
    insta::assert_snapshot!(status_of(&all[..ends[9]]), @"▲ the recording has no summary: it was cut short");
    insta::assert_snapshot!(status_of(&all[..100]), @"▲ the last line is cut, the recording has no summary: it was cut short");
    insta::assert_snapshot!(status_of(b""), @"▲ the recording is empty");
}

/// The last line of a recording that grows is under way, and not cut.
#[test]
fn a_recording_that_is_being_written_is_not_called_cut() {
    let all = fs::read_to_string(Path::new(RECORDINGS).join("good.jsonl")).unwrap();
    let moments = |at: jiff::Timestamp| {
        let lines: Vec<_> = all.lines().take(12).collect();
        let stamped = lines.iter().map(|line| {
            let (before, rest) = line.split_once("\"time\":\"").unwrap();
            let (_, after) = rest.split_once('"').unwrap();
            format!("{before}\"time\":\"{at:.9}\"{after}\n")
        });
        stamped.collect::<String>()
    };
    let now = jiff::Timestamp::now();
    let young = moments(now);
    assert_eq!(status_of(young.as_bytes()), "");
    assert_eq!(status_of(&young.as_bytes()[..young.len() - 30]), "");
    let old = moments(now - jiff::SignedDuration::from_mins(5));
    let words = status_of(&old.as_bytes()[..old.len() - 30]);
    assert!(words.contains("the last line is cut"), "{words}");
}

/// A driver that has said how it is doing, and has no events, is no empty recording.
#[test]
fn a_recording_is_judged_as_a_whole_and_not_node_by_node() {
    let all = fs::read_to_string(Path::new(RECORDINGS).join("good.jsonl")).unwrap();
    let mut lines: Vec<String> = all
        .lines()
        .filter(|line| line.contains("\"seq\""))
        .map(|line| line.replacen('{', "{\"node\":\"node-a\",", 1))
        .collect();
    lines.insert(
        3,
        r#"{"node":"node-b","driver":{"name":"dra.networking","version":"0.1.0"}}"#.into(),
    );
    let summary = all
        .lines()
        .find(|line| line.contains("\"summary\""))
        .unwrap();
    lines.push(summary.into());
    let words = status_of((lines.join("\n") + "\n").as_bytes());
    insta::assert_snapshot!(words, @"the run ended as expected: 1 pod, 1 interface, nothing left behind");
}

/// The recordings as `ndra events -o json` hands them on: each line names its node.
fn of_nodes(names: [&str; 2]) -> String {
    let dir = tempfile::Builder::new()
        .prefix("nd")
        .tempdir_in("/tmp")
        .unwrap();
    let mut text = String::new();
    for (recording, node) in ["good.jsonl", "broken.jsonl"].iter().zip(names) {
        let lines = fs::read_to_string(Path::new(RECORDINGS).join(recording)).unwrap();
        for line in lines.lines().filter(|line| line.contains("\"seq\"")) {
            let rest = line.strip_prefix('{').unwrap();
            text.push_str(&format!(
                "{{\"instance\":\"{recording}\",\"node\":\"{node}\",{rest}\n"
            ));
        }
    }
    let path = dir.path().join("nodes.jsonl");
    fs::write(&path, text).unwrap();
    printed(&[path.to_str().unwrap(), "--frame", "120x24"])
}

#[test]
fn several_nodes_are_named_in_a_column_of_their_own() {
    let frame = of_nodes(["node-a", "node-b"]);
    assert!(
        frame.contains("NODE") && frame.contains("2 flows"),
        "{frame}"
    );
    assert!(
        frame.contains("node-a") && frame.contains("node-b"),
        "{frame}"
    );
    let frame = of_nodes(["node-a", "node-a"]);
    assert!(
        !frame.contains("NODE") && frame.contains("2 flows"),
        "{frame}"
    );
}

/// A stand-in for kubectl: the pods a, b and c of a DaemonSet on nodes of these names, of
/// which some cannot be entered.
fn of_a_daemon_set(args: &[&str], broken: &str) -> Output {
    let dir = tempfile::Builder::new()
        .prefix("nd")
        .tempdir_in("/tmp")
        .unwrap();
    let pods = ["a", "b", "c"].map(|name| {
        format!(
            r#"{{"metadata":{{"name":"{name}","uid":"uid-{name}","ownerReferences":[{{"kind":"DaemonSet","uid":"set-1"}}]}},"spec":{{"nodeName":"node-{name}","containers":[{{"name":"ndra"}}]}},"status":{{"phase":"Running"}}}}"#
        )
    });
    let set = r#"{"metadata":{"name":"ndra","uid":"set-1"},"spec":{"selector":{"matchLabels":{"app":"ndra"}}}}"#;
    fs::write(dir.path().join("daemonset.json"), set).unwrap();
    let list = format!(r#"{{"kind":"List","items":[{}]}}"#, pods.join(","));
    fs::write(dir.path().join("pods.json"), list).unwrap();
    for (name, recording) in [("a", "good"), ("b", "broken"), ("c", "good")] {
        let lines = fs::read_to_string(format!("{RECORDINGS}/{recording}.jsonl")).unwrap();
        let lines = lines.lines().filter(|line| line.contains("\"seq\""));
        let text: String = lines
            .map(|line| line.replacen('{', &format!("{{\"instance\":\"life-{name}\","), 1) + "\n")
            .collect();
        // A number is missing on each.
        let text: Vec<_> = text
            .lines()
            .filter(|line| !line.contains("\"seq\":3,"))
            .collect();
        fs::write(dir.path().join(name), text.join("\n") + "\n").unwrap();
    }
    let program = format!(
        "#!/bin/sh\ncd '{}'\ncase $1 in get) exec cat $2.json;; esac\n\
         case ' {broken} ' in *\" $4 \"*) echo 'the container is not ready' >&2; exit 1;; esac\n\
         exec cat $4\n",
        dir.path().display()
    );
    // Written by another process: a file that this one has open while a test beside it forks
    // cannot be executed.
    let kubectl = dir.path().join("kubectl");
    let script = "printf %s \"$1\" >\"$0\" && chmod 755 \"$0\"";
    let wrote = Command::new("sh")
        .args(["-c", script])
        .arg(&kubectl)
        .arg(program)
        .status();
    assert!(wrote.unwrap().success());
    let path = std::env::var("PATH").unwrap();
    Command::new(env!("CARGO_BIN_EXE_ndra"))
        .args(["watch", "ds://kube-system/ndra"])
        .args(args)
        .env("PATH", format!("{}:{path}", dir.path().display()))
        .env("LC_ALL", "C.UTF-8")
        .env_remove("NO_COLOR")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn health_and_status_name_the_node() {
    let output = of_a_daemon_set(&["--frame", "160x40", "--keys", "4"], "");
    let frame = String::from_utf8(output.stdout).unwrap();
    let told = |line: &&str| line.contains("ds://") || line.contains('▲');
    let lines: Vec<_> = frame.lines().filter(told).collect();
    insta::assert_snapshot!(lines.join("\n"), @"
    ■ ds://kube-system/ndra  read to its end  0 events  0 dropped
    ■ ds://kube-system/ndra node-a  read to its end  23 events  1 dropped  1 event missing (after 2)
    ■ ds://kube-system/ndra node-b  read to its end  28 events  1 dropped  1 event missing (after 2)
    ■ ds://kube-system/ndra node-c  read to its end  23 events  1 dropped  1 event missing (after 2)
    ▲ node-a: 1 event dropped at the source, 1 event missing; node-b: 1 event dropped at the source, 1 event missing; node-c: 1 event dropped at the source, 1 …
    ");
}

#[test]
fn a_pod_that_cannot_be_entered_leaves_the_others_to_be_seen() {
    let output = of_a_daemon_set(&["--frame", "120x24"], "b");
    let frame = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{frame}");
    assert!(
        frame.contains("node-a") && frame.contains("node-c"),
        "{frame}"
    );
    let status = frame.lines().nth(21).unwrap();
    assert!(
        status.contains("node-b: ") && status.contains("not ready"),
        "{frame}"
    );
    // Without any there is nothing to show.
    let output = of_a_daemon_set(&["--frame", "120x24"], "a b c");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        (output.status.code(), output.stdout.len()),
        (Some(1), 0),
        "{errors}"
    );
    assert!(errors.contains("the container is not ready"), "{errors}");
}

#[test]
fn without_utf8_it_is_ascii() {
    let output = Command::new(env!("CARGO_BIN_EXE_ndra"))
        .args(["watch", "broken.jsonl", "--frame", "80x24"])
        .current_dir(RECORDINGS)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success());
    assert!(output.stdout.is_ascii());
}

#[test]
fn a_simulation_is_watched_in_a_terminal_only() {
    let output = Command::new(env!("CARGO_BIN_EXE_ndra"))
        .args(["simulate", "--watch"])
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        errors.contains("standard output is not a terminal"),
        "{errors}"
    );
}

#[test]
fn what_cannot_be_shown_is_refused_in_these_words() {
    let told: Vec<String> = [
        &["missing.jsonl"] as &[_],
        &["missing.jsonl", "--frame", "80x24"],
        &[".", "--frame", "80x24"],
        &["good.jsonl"],
        &["good.jsonl", "--frame", "80"],
        &["good.jsonl", "--frame", "0x24"],
        &["good.jsonl", "--frame", "501x24"],
        &["good.jsonl", "--frame", "80x24", "--keys", "j<entr>"],
        &["good.jsonl", "--frame", "80x24", "--keys", "<enter"],
        &["good.jsonl", "--frame", "80x24", "--at", "soon"],
        &["good.jsonl", "--at", "5ms"],
        &["http://localhost", "--frame", "80x24"],
        &["unix:///nonexistent/events.sock", "--frame", "80x24"],
    ]
    .iter()
    .map(|args| format!("$ ndra watch {}\n{}", args.join(" "), refused(args)))
    .collect();
    insta::assert_snapshot!(told.join("\n"));
}
