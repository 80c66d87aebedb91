//! Recordings that are broken in every way: said, counted, and gone on from.

use insta::assert_snapshot;
use ndra_watch::recording::{Lines, MAX_LINE, Oddity};
use ndra_watch::sample::{Life, Sample};

use crate::bed::*;

fn status(lines: &[u8]) -> String {
    let model = recorded(lines, (160, 24));
    let frame = text(&model);
    let line = frame.lines().nth(21).unwrap();
    line.split("  sort").next().unwrap().trim().to_owned()
}

fn good() -> Vec<u8> {
    Sample::new().flow(1, 0, Life::Ended).lines()
}

fn changed(from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(good()).unwrap();
    assert!(text.contains(from));
    text.replace(from, to).into_bytes()
}

#[test]
fn nothing_at_all() {
    assert_snapshot!(status(b""), @"▲ the recording is empty");
    assert_snapshot!("empty_80x24", text(&recorded(b"", (80, 24))));
    assert_snapshot!("empty_120x40", text(&recorded(b"", (120, 40))));
    assert_snapshot!("empty_200x60", text(&recorded(b"", (200, 60))));
}

#[test]
fn cut_in_the_middle_of_a_line() {
    let lines = good();
    assert_snapshot!(status(&lines[..lines.len() / 2]), @"▲ the last line is cut, the recording has no summary: it was cut short");
    let end = lines.len() - 1;
    assert!(
        !status(&lines[..end]).contains("cut"),
        "only the newline is missing"
    );
}

#[test]
fn another_schema() {
    assert_snapshot!(status(&changed("\"schema\":1", "\"schema\":7")), @"▲ 24 events of another schema (schema 7)");
    assert_snapshot!(status(&changed("\"schema\":1,", "")), @"▲ 24 events of another schema (no schema)");
}

#[test]
fn unknown_steps_and_phases() {
    assert_snapshot!(status(&changed("\"step\":\"hook\"", "\"step\":\"teleport\"")), @"▲ 2 events missing, 2 events of unknown steps (teleport)");
    assert_snapshot!(status(&changed("\"phase\":\"end\"", "\"phase\":\"finish\"")), @"▲ 10 events missing, 12 events of unknown phases (finish)");
}

#[test]
fn a_clock_that_jumps_back() {
    let text = String::from_utf8(good()).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for line in &mut lines[10..] {
        *line = line.replace("2026-11-24T", "2026-11-23T");
    }
    let broken = lines.join("\n");
    assert_snapshot!(status(broken.as_bytes()), @"▲ clock jumped back 1 time");
    let model = recorded(broken.as_bytes(), (80, 24));
    let (first, last) = model.bounds().unwrap();
    assert!(last - first < 60 * S, "time did not turn around");
}

#[test]
fn garbage_between_good_lines() {
    let text = String::from_utf8(good()).unwrap();
    let mut bytes = Vec::new();
    for (at, line) in text.lines().enumerate() {
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        let junk: &[u8] = match at {
            3 => b"\x00\xff\xfe\x80 binary\n",
            4 => b"[1,2,3]\n\n   \n",
            5 => b"{\"seq\": -4}\n",
            6 => b"\"just a string\"\n",
            7 => b"{\"seq\":1,\"time\":\"yesterday\",\"step\":\"hook\",\"phase\":\"end\"}\n",
            _ => b"",
        };
        bytes.extend_from_slice(junk);
    }
    assert_snapshot!(status(&bytes), @"▲ 5 unreadable lines");
    let model = recorded(&bytes, (80, 24));
    assert_eq!(model.position().1, text.lines().count() as u64 - 1);
}

#[test]
fn numbers_that_are_missing_or_come_twice() {
    let text = String::from_utf8(good()).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let missing = [&lines[..4], &lines[9..]].concat().join("\n");
    assert_snapshot!(status(missing.as_bytes()), @"▲ 5 events missing");
    let twice = [&lines[..4], &lines[2..]].concat().join("\n");
    assert_snapshot!(status(twice.as_bytes()), @"the run ended as expected: 1 pod, 1 interface, nothing left behind");
}

/// Numbers that no program counts to, and a clock that is years off, keep to their columns.
#[test]
fn numbers_and_times_have_bounds() {
    let huge = changed("\"seq\":5,", "\"seq\":18446744073709551615,");
    let words = status(&huge);
    assert!(words.contains(">999,999,999 events missing"), "{words}");
    let lines = String::from_utf8(good()).unwrap();
    let off = lines.replacen("2026-11-24T", "1971-01-01T", 1);
    for size in [(80, 24), (120, 40)] {
        let frame = text(&recorded(off.as_bytes(), size));
        let row = frame.lines().find(|line| line.starts_with('▌')).unwrap();
        let words: Vec<_> = row.split_whitespace().collect();
        assert_eq!(words[words.len() - 1], ">2y", "{frame}");
        assert_eq!(words[words.len() - 2], ">2y", "{frame}");
    }
}

#[test]
fn a_line_without_an_end_takes_no_memory() {
    let mut lines = Lines::new();
    let piece = vec![b'x'; 64 * 1024];
    let mut long = 0;
    for _ in 0..64 {
        long += lines.feed(&piece).oddities.of(Oddity::TooLong);
        assert!(lines.pending() <= MAX_LINE + piece.len());
    }
    let mut rest = b"\n".to_vec();
    rest.extend(good());
    let batch = lines.feed(&rest);
    assert_eq!((long, batch.oddities.of(Oddity::TooLong)), (1, 0));
    assert_eq!(batch.entries.len(), 24, "what follows is read");
}

#[test]
fn pieces_may_end_anywhere() {
    let all = good();
    let whole = Lines::new().feed(&all).entries.len();
    for size in [1, 2, 7, 333] {
        let mut lines = Lines::new();
        let mut events = 0;
        for piece in all.chunks(size) {
            events += lines.feed(piece).entries.len();
        }
        assert_eq!(events, whole, "pieces of {size}");
        assert!(lines.finish().entries.is_empty());
    }
}

#[test]
fn escapes_are_read() {
    let line = r#"{"schema":1,"seq":1,"time":"2026-11-24T10:00:00+01:00","elapsed_us":0,"step":"hook","number":5,"phase":"fail","duration_us":5,"claim":{"uid":"u-1"},"from":"nobody","to":"hook","error":"a \"quoted\"\nword","unknown":{"x":[1]}}"#;
    let batch = Lines::new().feed(format!("{line}\r\n").as_bytes());
    let entry = batch.entries[0];
    assert_eq!(batch.text(entry.error), "a \"quoted\"\nword");
    assert_eq!(batch.text(entry.claim_uid), "u-1");
    assert_eq!(entry.time, ORIGIN);
    assert_eq!(
        entry.from,
        ndra_core::event::Actor::Runtime,
        "the step's usual caller"
    );
}
