//! Time: pausing, scrubbing, replaying, memory that is bounded.

use insta::assert_snapshot;
use ndra_watch::recording::Lines;
use ndra_watch::sample::{Life, Sample};
use ndra_watch::state::{Connection, Mode, Model, Settings, Stage, Status};
use ndra_watch::{Action, frame};

use crate::bed::*;

/// All that a frame of every screen shows.
fn whole(model: &mut Model) -> String {
    use ndra_watch::state::Screen;
    let before = model.look().screen;
    let mut all = String::new();
    for screen in Screen::ALL {
        model.act(Action::Show(screen));
        all.push_str(&text(model));
    }
    model.act(Action::Show(before));
    all
}

#[test]
fn any_place_looks_the_same_whichever_way_one_came() {
    let lines = Sample::new().crowd(40, 90).lines_without_summary();
    let text = String::from_utf8(lines).unwrap();
    let count = text.lines().count();
    let mut model = recorded(text.as_bytes(), (120, 40));
    // Forth and back in leaps, with the first events of another recording to compare with.
    for place in [
        count / 2,
        3,
        count - 1,
        1,
        count / 3,
        count,
        0,
        count / 2 + 1,
    ] {
        model.act(Action::GoToEvent(place));
        assert_eq!(model.position(), (place as u64, count as u64));
        let part: String = text.split_inclusive('\n').take(place).collect();
        let mut fresh = recorded(part.as_bytes(), (120, 40));
        fresh.act(Action::GoToEvent(place));
        for model in [&mut model, &mut fresh] {
            model.act(Action::Back);
        }
        let (flows, other) = (model.rows().all, fresh.rows().all);
        assert_eq!(flows, other, "at {place}");
        for stage in [Stage::Failed, Stage::Moving, Stage::Ready, Stage::Ended] {
            assert_eq!(model.rows().at(stage), fresh.rows().at(stage), "at {place}");
        }
        let health = |model: &Model| {
            let steps = ndra_core::event::Step::ALL.iter();
            let of = steps.map(|s| model.health().durations(*s).count());
            of.collect::<Vec<_>>()
        };
        assert_eq!(health(&model), health(&fresh), "at {place}");
    }
}

#[test]
fn event_by_event_and_back() {
    let mut model = recorded(&Sample::new().flow(1, 0, Life::Ended).lines(), (80, 24));
    let row = |model: &Model| text(model).lines().nth(2).unwrap().trim_end().to_owned();
    model.act(Action::Begin);
    let mut seen = Vec::new();
    let all = model.position().1;
    for _ in 0..all {
        model.act(Action::Step(1));
        seen.push(row(&model));
    }
    assert_snapshot!(seen.join("\n"));
    for at in (0..seen.len() - 1).rev() {
        model.act(Action::Step(-1));
        assert_eq!(row(&model), seen[at], "event {}", at + 1);
    }
    model.act(Action::Step(-9));
    assert_eq!(model.position().0, 0);
    assert!(text(&model).contains("No flow had begun at this moment."));
    model.act(Action::Live);
    assert_eq!(model.mode(), Mode::Live);
    assert_eq!(model.position().0, all);
}

#[test]
fn paused_time_stands_while_events_come() {
    let (mut model, source) = empty((80, 24));
    model.source_mut(source).unwrap().connection = Connection::Live;
    let lines = Sample::new().crowd(6, 500).lines_without_summary();
    let half = lines.len() / 2;
    let mut parser = Lines::new();
    model.ingest(source, &parser.feed(&lines[..half]));
    model.tick(ORIGIN + 2 * S);
    model.act(Action::Pause);
    let before = model.position().0;
    let flows = model.rows().all;
    model.ingest(source, &parser.feed(&lines[half..]));
    model.tick(ORIGIN + 9 * S);
    assert_eq!(model.position().0, before);
    assert!(model.position().1 > before);
    assert_eq!(model.rows().all, flows);
    model.act(Action::Live);
    assert!(model.rows().all > flows);
}

#[test]
fn replay_takes_its_time() {
    let mut model = recorded(&Sample::new().crowd(10, 400).lines(), (80, 24));
    let (first, last) = model.bounds().unwrap();
    model.tick(5 * S);
    model.act(Action::Speed(2.0));
    model.act(Action::Pause);
    assert_eq!(model.mode(), Mode::Replaying);
    model.tick(6 * S);
    assert_eq!(model.now() - first, 2 * S);
    model.act(Action::Slower);
    assert_eq!(model.speed(), 1.0);
    model.tick(7 * S);
    assert_eq!(model.now() - first, 3 * S);
    assert_snapshot!(frame::to_text(&drawn(
        &model,
        &ndra_watch::view::Theme::new(ndra_watch::view::Colors::True, false)
    )));
    for _ in 0..20 {
        model.act(Action::Faster);
    }
    assert_eq!(model.speed(), 100.0);
    model.tick(8 * S);
    assert_eq!((model.mode(), model.now()), (Mode::Live, last));
    for _ in 0..20 {
        model.act(Action::Slower);
    }
    assert_eq!(model.speed(), 0.1);
}

#[test]
fn events_find_their_place_by_time_across_sources() {
    // Two nodes; what the second has comes late, in pieces, and in between.
    let lines = |n: usize, at| {
        Sample::new()
            .flow(n, at, Life::OnNode)
            .lines_without_summary()
    };
    let (one, two) = (lines(1, 0), lines(2, 13));
    let whole_text = |order: &[(usize, &[u8])]| {
        let mut model = Model::new(Settings::default());
        let ids = [model.add_source("a", "a"), model.add_source("b", "b")];
        let mut parsers = [Lines::new(), Lines::new()];
        for (from, bytes) in order {
            let batch = parsers[*from].feed(bytes);
            model.ingest(ids[*from], &batch);
        }
        for id in ids {
            model.source_mut(id).unwrap().connection = Connection::Live;
        }
        model.act(Action::Scrub(0.6));
        whole(&mut model)
    };
    let (a, b) = two.split_at(two.len() / 3);
    let late = whole_text(&[(0, &one), (1, a), (1, b)]);
    let early = whole_text(&[(1, a), (1, b), (0, &one)]);
    let (c, d) = one.split_at(one.len() / 2);
    let mixed = whole_text(&[(0, c), (1, &two), (0, d)]);
    assert_eq!(late, early);
    assert_eq!(late, mixed);
}

#[test]
fn memory_is_bounded_and_what_was_known_stays_known() {
    let limit = 3 * 1024 * 1024;
    let mut model = Model::new(Settings {
        memory: limit,
        ..Settings::default()
    });
    let source = model.add_source("big.jsonl", "");
    let mut parser = Lines::new();
    // The first flow is ready, and then come so many others that its events must go.
    let first = Sample::new().flow(0, 0, Life::Ready);
    let mut lines = first.lines_without_summary();
    let mut events = lines.iter().filter(|b| **b == b'\n').count() as u64;
    let mut worst = 0;
    for round in 0..12_u64 {
        let mut sample = Sample::new();
        for n in 1..200 {
            sample = sample.flow(
                n + round as usize * 200,
                round * 60_000 + n as u64 * 250,
                Life::Ended,
            );
        }
        let base = 10_000 * (round + 1);
        for mut event in sample.events() {
            event.seq += base;
            serde_json::to_writer(&mut lines, &event).unwrap();
            lines.push(b'\n');
            events += 1;
        }
        for piece in lines.chunks(64 * 1024) {
            model.ingest(source, &parser.feed(piece));
            worst = worst.max(model.memory().0);
        }
        lines.clear();
    }
    model.source_mut(source).unwrap().connection = Connection::Ended;
    model.tick(0);
    assert!(worst <= limit, "{worst}");
    assert!(model.forgotten() > 0 && model.payloads_given_up());
    assert_eq!(model.position().1, events);
    model.act(Action::Filter("web-0-net".into()));
    let frame = text(&model);
    assert!(frame.contains("●●● ●●●●● ● ···"), "{frame}");
    assert!(frame.contains("net1 10.10.0.2"), "{frame}");
    // Time goes no further back than what is known.
    model.act(Action::Begin);
    let frame = text(&model);
    assert!(frame.contains("web-0"), "{frame}");
}

/// The cells of a flow that is tried again are those of the new try; after the end nothing
/// waits.
#[test]
fn a_new_try_empties_its_cells() {
    let lines = include_bytes!("../../../fixtures/recordings/broken.jsonl");
    let mut model = recorded(lines, (80, 24));
    let mut cells = |at: i64| {
        model.act(Action::GoToTime(at * 1_000_000));
        let frame = text(&model);
        let row = frame.lines().nth(2).unwrap();
        row.split_once("net1")
            .unwrap()
            .1
            .split("   ")
            .find(|w| !w.is_empty())
            .unwrap()
            .trim()
            .to_owned()
    };
    assert_snapshot!(cells(62), @"●●● xxx●✗ ◒ ···");
    assert_snapshot!(cells(71), @"●●● ◒···· ● ···");
    let ended = include_bytes!("../../../fixtures/recordings/shop.jsonl");
    let model = recorded(ended, (80, 24));
    for flow in (0..model.rows().shown).filter_map(|row| model.rows().flow(row)) {
        let flow = model.flow(flow).unwrap();
        for step in ndra_core::event::Step::ALL {
            assert_ne!(flow.state.status(*step), Status::Waiting, "{}", flow.claim);
        }
    }
}
