//! A claim that is tried again and again: one attempt is drawn, and the keys lead through
//! all of them.

use insta::assert_snapshot;
use ndra_watch::Model;
use ndra_watch::input::{key, parse_keys};
use serde_json::Value;

use crate::bed::*;

const BROKEN: &str = include_str!("../../../fixtures/recordings/broken.jsonl");
pub(crate) const SHOP: &str = include_str!("../../../fixtures/recordings/shop.jsonl");

/// The recording of a pod whose container fails, with that attempt again and again, ten
/// seconds apart.
fn tried(times: usize) -> Vec<u8> {
    let events: Vec<Value> = BROKEN
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let mut all = events[..6].to_vec();
    for attempt in 0..times {
        for event in &events[6..20] {
            let mut event = event.clone();
            let time = event["time"].as_str().unwrap();
            let (day, of_day) = time.split_at(11);
            let number = |at: usize| of_day[at..at + 2].parse::<usize>().unwrap();
            let seconds = number(0) * 3600 + number(3) * 60 + number(6) + attempt * 10;
            let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
            event["time"] = format!("{day}{h:02}:{m:02}:{s:02}{}", &of_day[8..]).into();
            let elapsed = event["elapsed_us"].as_u64().unwrap();
            event["elapsed_us"] = (elapsed + attempt as u64 * 10_000_000).into();
            event["seq"] = (all.len() + 1).into();
            all.push(event);
        }
    }
    let lines: Vec<String> = all.iter().map(ToString::to_string).collect();
    (lines.join("\n") + "\n").into_bytes()
}

pub(crate) fn press(model: &mut Model, keys: &str) {
    for event in parse_keys(keys).unwrap() {
        if let Some(action) = key(model, event) {
            model.act(action);
        }
    }
}

pub(crate) fn shown(lines: &[u8], size: (u16, u16), keys: &str) -> String {
    let mut model = recorded(lines, size);
    press(&mut model, keys);
    text(&model)
}

#[test]
fn forty_attempts() {
    let lines = tried(40);
    for (columns, rows) in [(60, 16), (80, 24), (120, 40), (200, 60)] {
        let frame = shown(&lines, (columns, rows), "2");
        assert_snapshot!(format!("forty_{columns}x{rows}"), frame);
        // Attempts that are alike look alike, whatever columns time falls on.
        let bar = |frame: &str| {
            let line = frame.lines().find(|l| l.contains("4 create-container"));
            line.unwrap().to_owned()
        };
        let other = shown(&lines, (columns, rows), "2[[[[[[[");
        assert_eq!(bar(&frame), bar(&other));
    }
    assert_snapshot!("forty_120x40_table", shown(&lines, (120, 40), "1"));
}

#[test]
fn the_keys_go_from_attempt_to_attempt_and_steps_stay_in_it() {
    let lines = tried(40);
    let frame = shown(&lines, (120, 40), "2[[[[[");
    for words in [
        "attempt 35 of 40  ✗8×34 [✗8] ✗8×5  began +05:40.024, cni-add failed after 35ms",
        "34 hidden, 5m40s",
        "run 35 of 40",
    ] {
        assert!(frame.contains(words), "{words} is not in\n{frame}");
    }
    // Another step of the same attempt, and another attempt from a step that came once.
    let frame = shown(&lines, (120, 40), "2[[[[[{");
    assert!(frame.contains("attempt 35 of 40") && frame.contains("run 35 of 40"));
    let frame = shown(&lines, (120, 40), "2ggj[[");
    assert!(frame.contains("attempt 38 of 40"), "{frame}");
    let frame = shown(&lines, (120, 40), "2[]]]]]");
    assert!(frame.contains("attempt 40 of 40"), "{frame}");
}

/// Few attempts are drawn together; the run that the detail shows is marked among them.
#[test]
fn the_chosen_run_is_marked_among_few() {
    let frame = shown(SHOP.as_bytes(), (120, 40), "e2[");
    let line = frame.lines().find(|l| l.contains("8 cni-add")).unwrap();
    assert!(
        line.contains("███✗            [█✗]            █✗"),
        "{frame}"
    );
    assert!(frame.contains("gap 181ms"), "{frame}");
}

/// What is told by colour is told by signs, too.
#[test]
fn a_gap_says_that_it_is_one() {
    let frame = shown(SHOP.as_bytes(), (80, 24), "e2");
    let axis = frame.lines().nth(3).unwrap();
    assert!(
        axis.contains("2 hidden") && axis.contains("gap 198ms"),
        "{frame}"
    );
    // Beside the table it has few columns.
    let frame = shown(SHOP.as_bytes(), (120, 40), "e");
    let axis = frame.lines().find(|l| l.contains("only attempt")).unwrap();
    assert!(axis.contains("╱2╱") && axis.contains("┊198ms┊"), "{frame}");
    // Nothing but the attempts that are hidden lies between.
    let frame = shown(&tried(40), (80, 24), "2");
    assert!(!frame.contains("gap"), "{frame}");
}

#[test]
fn a_small_window_shows_the_selected_step() {
    let frame = shown(SHOP.as_bytes(), (60, 16), "e2");
    assert!(frame.contains("▌Multus  ✗  8 cni-add"), "{frame}");
    assert!(
        frame.contains("2 above") && frame.contains("2 below"),
        "{frame}"
    );
    let frame = shown(SHOP.as_bytes(), (60, 16), "e2g");
    assert!(frame.contains("▌kubelet ●  3 prepared"), "{frame}");
    assert!(frame.contains("4 below"), "{frame}");
}
