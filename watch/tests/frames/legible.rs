//! What matters can be read at every size: nothing that is only half there, nothing that
//! counts twice.

use insta::assert_snapshot;
use ndra_watch::state::Connection;
use ndra_watch::view::{Colors, Theme};
use ndra_watch::{Action, Model, Settings, frame};

use crate::attempts::{SHOP, press, shown};
use crate::bed::*;

const REASON: &str = "cannot reach /run/ndra/events.sock: No such file or directory (usually the \
                      ndra driver listens there; is it running?)";

fn lost(size: (u16, u16)) -> Model {
    let (mut model, source) = empty(size);
    model.source_mut(source).unwrap().connection = Connection::Lost {
        reason: REASON.into(),
        retry_at: ORIGIN + 3 * S,
    };
    model.tick(ORIGIN);
    model
}

/// A frame's words without the places at which lines are broken.
fn words(frame: &str) -> String {
    let words: Vec<_> = frame.split_whitespace().collect();
    words.join(" ")
}

#[test]
fn the_reason_of_a_lost_source_is_there_whole() {
    for size in [(60, 16), (80, 24), (120, 40)] {
        let mut model = lost(size);
        let frame = text(&model);
        assert!(words(&frame).contains(REASON), "{frame}");
        press(&mut model, "4");
        let frame = text(&model);
        assert!(words(&frame).contains(REASON), "{frame}");
        assert!(frame.contains("lost, next try in 3s"), "{frame}");
    }
    assert_snapshot!("lost_80x24", text(&lost((80, 24))));
}

#[test]
fn nodes_without_claims_are_told_of_once() {
    let mut model = Model::new(Settings {
        size: (80, 24),
        ..Settings::default()
    });
    let first = model.add_source("ds://kube-system/ndra", "node-a");
    for node in 0..30 {
        model.add_stream(first, &format!("worker-{node}"));
    }
    let all: Vec<_> = model.sources().map(|(id, _)| id).collect();
    for (at, id) in all.into_iter().enumerate() {
        model.source_mut(id).unwrap().connection = match at {
            3 => Connection::Lost {
                reason: "the pod was deleted".into(),
                retry_at: ORIGIN,
            },
            _ => Connection::Live,
        };
    }
    model.tick(ORIGIN);
    let frame = text(&model);
    let body: Vec<_> = frame.lines().skip(1).take(20).collect();
    assert_snapshot!(body.join("\n").trim_matches('\n'));
}

#[test]
fn what_is_wrong_with_a_source_is_in_health() {
    let lines = SHOP.replace("\"step\":\"hook\"", "\"step\":\"teleport\"");
    for size in [(60, 30), (80, 24), (120, 40)] {
        let frame = shown(lines.as_bytes(), size, "4");
        assert!(
            words(&frame).contains("20 events of unknown steps (teleport)"),
            "{frame}"
        );
    }
}

#[test]
fn health_has_whole_numbers_or_none() {
    let frame = shown(SHOP.as_bytes(), (60, 16), "4");
    assert_snapshot!("health_60x16", frame);
    assert!(
        frame.contains("359ms") || frame.contains("356ms"),
        "{frame}"
    );
    assert!(!frame.contains('…') || !frame.contains("3…"), "{frame}");
}

#[test]
fn a_failure_counts_where_it_began() {
    let mut model = recorded(SHOP.as_bytes(), (120, 40));
    press(&mut model, "4");
    let kinds = model.health().failures();
    let counts: Vec<_> = kinds.iter().map(|(kind, n)| (kind.title, *n)).collect();
    assert_eq!(counts, [("address range used up", 3)]);
    let frame = text(&model);
    assert!(words(&frame).contains("in the range of the configuration."));
    // Back in time, and here again.
    press(&mut model, "<home>");
    assert!(model.health().failures().is_empty());
    press(&mut model, "<end>");
    assert_eq!(model.health().failures()[0].1, 3);
    let small = words(&shown(SHOP.as_bytes(), (80, 24), "4"));
    assert!(
        small.contains("in the range of the configuration."),
        "{small}"
    );
}

#[test]
fn long_values_and_errors_can_be_read() {
    let frame = shown(SHOP.as_bytes(), (80, 24), "e3");
    assert_snapshot!("detail_80x24_long", frame);
    assert!(frame.contains("23326eba72c\n         ↳ 5\","), "{frame}");
    // The whole error, and what is said of it, one key away.
    let frame = words(&shown(SHOP.as_bytes(), (80, 24), "e3<enter>").replace('↳', " "));
    for said in [
        "no IP addresses available in range set: 10.10.2.10-10.10.2.12",
        "means: The IPAM plugin has no free address left in the range of the configuration.",
        "look for leaked ones in /var/lib/cni/networks.",
    ] {
        assert!(frame.contains(said), "{said} is not in\n{frame}");
    }
    // The lines are broken anew when the window changes.
    let mut model = recorded(SHOP.as_bytes(), (60, 24));
    press(&mut model, "e3<enter>");
    let narrow = model.detail().lines.len();
    model.resize(200, 60);
    assert!(model.detail().lines.len() < narrow);
}

#[test]
fn a_search_says_which_hit_it_stands_on() {
    let mut model = recorded(SHOP.as_bytes(), (80, 24));
    press(&mut model, "e3/type<enter>");
    let place = |model: &Model| {
        let frame = text(model);
        let line = frame.lines().find(|l| l.contains("search type")).unwrap();
        line.split("search type ").nth(1).unwrap().to_owned()
    };
    assert_eq!(place(&model), "(1 of 3)");
    press(&mut model, "n");
    assert_eq!(place(&model), "(2 of 3)");
    press(&mut model, "g");
    assert_eq!(place(&model), "(3)");
}

#[test]
fn help_is_whole_at_every_size() {
    for ascii in [false, true] {
        for columns in [60, 80, 110, 120, 200] {
            let mut model = recorded(SHOP.as_bytes(), (columns, 90));
            act(&mut model, [Action::Help]);
            let frame = frame::to_text(&drawn(&model, &Theme::new(Colors::None, ascii)));
            let inside = frame.lines().filter(|l| l.contains(['│', '|']));
            let inside: Vec<_> = inside.collect();
            let cut = |line: &&&str| line.contains('…') || line.contains('~');
            assert!(inside.iter().find(cut).is_none(), "{frame}");
            assert!(frame.contains("restarts of its containers"), "{frame}");
        }
    }
    let frame = shown(SHOP.as_bytes(), (120, 40), "?");
    assert!(!frame.contains("more ─╯"), "all of it at once\n{frame}");
    let to_its_end = format!("?{}", "j".repeat(80));
    let frame = shown(SHOP.as_bytes(), (60, 16), &to_its_end);
    assert!(frame.contains("a step failed there"), "{frame}");
}

#[test]
fn what_the_time_was_spent_on_is_told_in_whole_words() {
    for (columns, rows) in [(60, 24), (80, 24), (100, 30), (120, 40)] {
        let frame = shown(SHOP.as_bytes(), (columns, rows), "e2");
        let line = frame.lines().find(|l| l.contains("critical path"));
        let line = line.unwrap();
        assert!(!line.contains('…') && line.contains("more"), "{line}");
    }
}

/// A head of a group shows nothing that promises to fold it.
#[test]
fn heads_of_groups_do_not_look_as_if_they_could_be_folded() {
    let frame = shown(SHOP.as_bytes(), (80, 24), "oo");
    assert!(frame.contains(" shop  8 flows"), "{frame}");
    assert!(!frame.contains('▾'), "{frame}");
}
