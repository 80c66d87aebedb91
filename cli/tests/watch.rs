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
        let hits = rest.split_once(')').unwrap().0.parse::<usize>().unwrap();
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
