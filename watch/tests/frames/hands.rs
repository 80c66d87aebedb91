//! Keys and mouse: what a person does, and what comes of it.

use crossterm::event::{KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use insta::assert_snapshot;
use ndra_watch::input::{key, mouse, parse_keys};
use ndra_watch::sample::{Life, Sample};
use ndra_watch::state::layout::Layout;
use ndra_watch::state::{Control, Effect, Mode, Screen};
use ndra_watch::{Action, Model, Settings};

use crate::bed::*;

fn press(model: &mut Model, keys: &str) -> Option<Effect> {
    let mut effect = None;
    for event in parse_keys(keys).unwrap() {
        if let Some(action) = key(model, event) {
            effect = model.act(action).or(effect);
        }
    }
    effect
}

fn crowd() -> Model {
    recorded(&Sample::new().crowd(60, 400).lines(), (80, 24))
}

#[test]
fn the_cause_of_a_failure_is_there_without_a_key() {
    let frame = text(&crowd());
    for words in [
        "8 cni-add failed: address range used up",
        "no IP addresses available in range set",
        "Widen the range",
    ] {
        assert!(frame.contains(words), "{words} is not in\n{frame}");
    }
}

#[test]
fn the_edges_of_the_timeline_are_its_first_and_last_row() {
    let mut model = crowd();
    press(&mut model, "2G");
    let last = model.look().step;
    press(&mut model, "j");
    assert_eq!(model.look().step, last, "nothing is below it");
    press(&mut model, "g");
    let first = model.look().step;
    assert_ne!(first, last);
    press(&mut model, "k");
    assert_eq!(model.look().step, first, "nothing is above it");
}

#[test]
fn two_keys_lead_to_the_payload_of_the_failed_step() {
    let mut model = crowd();
    press(&mut model, "<enter><enter>");
    assert_eq!(model.look().screen, Screen::Detail);
    let detail = model.detail();
    assert_eq!(detail.step, Some(ndra_core::event::Step::CniAdd));
    assert!(
        detail
            .lines
            .iter()
            .any(|line| line.text().contains("macvlan"))
    );
}

#[test]
fn keys_move_and_screens_keep_the_selection() {
    let mut model = crowd();
    press(&mut model, "jj");
    let chosen = model.look().selected;
    press(&mut model, "<tab><tab><s-tab>4132<esc>");
    assert_eq!(model.look().screen, Screen::Flows);
    assert_eq!(model.look().selected, chosen);
    press(&mut model, "kkkkk");
    assert_eq!(model.rows().index(model.look().selected.unwrap()), Some(0));
    press(&mut model, "G");
    assert_eq!(model.rows().index(model.look().selected.unwrap()), Some(59));
    press(&mut model, "g<pgdn>");
    assert_eq!(model.rows().index(model.look().selected.unwrap()), Some(10));
}

#[test]
fn the_filter_takes_effect_while_one_types() {
    let mut model = crowd();
    press(&mut model, "/pod:db");
    let shown = model.rows().shown;
    assert!(shown > 0 && shown < 60);
    press(&mut model, " >5");
    assert_eq!(model.rows().shown, shown, "a bad filter changes nothing");
    assert!(model.look().prompt.as_ref().unwrap().error.is_some());
    press(&mut model, "<enter>");
    assert!(model.look().prompt.is_some(), "and cannot be kept");
    press(&mut model, "<bs><bs><bs><enter>");
    assert_eq!(model.look().filter_text, "pod:db");
    press(&mut model, "q");
    assert!(press(&mut model, "<esc>").is_none());
    assert_eq!(model.rows().shown, 60);
}

#[test]
fn filters_find_what_they_say() {
    let mut model = crowd();
    let mut shown = |filter: &str| {
        model.act(Action::Filter(filter.into()));
        model.rows().shown
    };
    assert_eq!(shown(""), 60);
    assert_eq!(shown("error"), 3, "two failed, one mended");
    assert_eq!(shown("error -claim:db"), 2);
    assert_eq!(shown("error:range"), 3);
    assert_eq!(shown("range set"), 3, "free text looks into errors");
    assert_eq!(shown("ns:lab pod:web"), 4);
    assert_eq!(shown(">1s"), 3);
    assert_eq!(shown("<1s"), 57);
    assert_eq!(shown("step:cni-add"), 2, "that is where they stand");
    assert_eq!(shown("step:8 >27ms"), 8);
    assert_eq!(shown("10.10.0.57"), 1);
    assert_eq!(shown("-pod:web -pod:db -pod:cache -pod:router"), 12);
}

#[test]
fn failures_are_gone_to_one_by_one() {
    let mut model = recorded(&Sample::new().crowd(120, 100).lines(), (80, 24));
    press(&mut model, "s");
    let mut places = Vec::new();
    for _ in 0..4 {
        press(&mut model, "e");
        places.push(model.selected().unwrap().claim.to_string());
    }
    assert_eq!(
        places,
        [
            "cache-107-net",
            "cache-57-net",
            "cache-7-net",
            "cache-107-net"
        ]
    );
    press(&mut model, "E");
    assert_eq!(&*model.selected().unwrap().claim, "cache-7-net");
}

#[test]
fn runs_of_a_step_are_gone_through() {
    let mut model = recorded(
        &Sample::new().flow(7, 0, Life::RangeUsedUp).lines(),
        (80, 24),
    );
    press(&mut model, "3");
    assert_eq!(model.detail().run, (1, 2));
    press(&mut model, "[");
    assert_eq!(model.detail().run, (0, 2));
    press(&mut model, "[]]]");
    assert_eq!(model.detail().run, (1, 2));
    press(&mut model, "{");
    assert_ne!(model.detail().step, Some(ndra_core::event::Step::CniAdd));
}

#[test]
fn a_search_goes_from_hit_to_hit() {
    let mut model = crowd();
    press(&mut model, "3/type<enter>");
    let hits = model.detail().hits.clone();
    assert!(hits.len() >= 2, "{hits:?}");
    assert_eq!(model.look().line, hits[0]);
    press(&mut model, "n");
    assert_eq!(model.look().line, hits[1]);
    press(&mut model, "NN");
    assert_eq!(model.look().line, *hits.last().unwrap());
    press(&mut model, "<esc>");
    assert!(model.look().search.is_empty());
}

/// A payload of many lines folds itself; what is looked for is found in it all the same.
#[test]
fn a_search_looks_into_folds_and_opens_them() {
    let items: Vec<_> = (0..200)
        .map(|n| format!(r#"{{"a":{{"b":{{"c":{{"d":{{"e":"item-{n}"}}}}}}}}}}"#))
        .collect();
    let line = format!(
        r#"{{"schema":1,"seq":1,"time":"2026-11-24T09:00:00.000000000Z","elapsed_us":0,"step":"cni-add","number":8,"phase":"fail","duration_us":5,"claim":{{"namespace":"a","name":"x","uid":"u-1"}},"from":"driver","to":"multus","detail":{{"deep":[{}]}},"error":"{} no address is left here"}}"#,
        items.join(","),
        "words ".repeat(400)
    );
    for format in ["", "y"] {
        let mut model = recorded(format!("{line}\n").as_bytes(), (80, 24));
        press(&mut model, &format!("3{format}"));
        let before = model.detail().lines.len();
        let shown = |model: &Model| {
            let line = &model.detail().lines[model.look().line];
            line.text().to_lowercase()
        };
        assert!(
            !model
                .detail()
                .lines
                .iter()
                .any(|l| l.text().contains("item-7"))
        );
        press(&mut model, "/ITEM-77<enter>");
        assert!(
            shown(&model).contains("item-77"),
            "{format:?} {}",
            shown(&model)
        );
        assert_eq!((model.detail().found, model.detail().hits.len()), (1, 1));
        let opened = model.detail().lines.len();
        assert!(
            opened > before && opened < before + 14,
            "only the way to it: {opened}"
        );
        // Folded by hand, it is counted, and the next hit opens it again.
        press(&mut model, "kkk<enter>");
        assert_eq!((model.detail().found, model.detail().hits.len()), (1, 0));
        press(&mut model, "n");
        assert!(
            shown(&model).contains("item-77"),
            "{format:?} {}",
            shown(&model)
        );
        press(&mut model, "<esc>");
        assert_eq!(model.detail().lines.len(), before);
        // The end of the error, which the head has no room for.
        press(&mut model, "/no address is left<enter>");
        assert_eq!(model.detail().found, 1, "{format:?}");
        let hit = model.look().line;
        let end: String = model.detail().lines[hit..hit + 2]
            .iter()
            .map(|l| l.text())
            .collect();
        assert!(end.contains("no") && end.contains("left"), "{end}");
    }
}

#[test]
fn copying_asks_the_host() {
    let mut model = crowd();
    let mut copied = |keys: &str| match press(&mut model, keys) {
        Some(Effect::Copy(copied)) => copied,
        other => panic!("{keys}: {other:?}"),
    };
    // Another program can read all of it, whatever is folded here.
    let step: serde_json::Value = serde_json::from_str(&copied("3zc")).unwrap();
    assert_eq!(step["claim"]["name"], "cache-57-net");
    assert_eq!(step["step"], "cni-add");
    let error = step["error"].as_str().unwrap();
    assert!(error.contains("no IP addresses available"), "{error}");
    assert_eq!(
        step["request"]["config"]["plugins"][0]["type"], "macvlan",
        "{step:#}"
    );
    let yaml: serde_json::Value = serde_saphyr::from_str(&copied("yc")).unwrap();
    assert_eq!(yaml, step);
    assert_snapshot!(copied("1c"), @r"
    claim lab/cache-57-net 00000039-5f0e-4c1b-9a3d-7e42c0ffee00
    pod lab/cache-57
    cni-add failed: Multus refused ADD of net1 in pod: failed to allocate for range 0: no IP addresses available in range set: 10.10.0.1-10.10.255.254
    ");
    assert!(text(&model).contains("copied"), "it says so");
}

#[test]
fn quitting_and_controls_ask_the_host() {
    assert_eq!(press(&mut crowd(), "q"), Some(Effect::Quit));
    assert_eq!(press(&mut crowd(), "/<c-c>"), Some(Effect::Quit));
    assert_eq!(press(&mut crowd(), "P"), None, "no simulation runs");
    let mut model = Model::new(Settings {
        controls: true,
        ..Settings::default()
    });
    let source = model.add_source("simulation", "");
    let lines = Sample::new()
        .flow(1, 0, Life::Ready)
        .lines_without_summary();
    model.ingest(source, &ndra_watch::recording::Lines::new().feed(&lines));
    model.tick(ORIGIN + S);
    let Some(Effect::Control { control, pod, .. }) = press(&mut model, "R") else {
        panic!("no effect");
    };
    assert_eq!(
        (control, pod.as_deref()),
        (Control::RestartContainer, Some("default/db-1"))
    );
}

#[test]
fn following_the_newest() {
    let mut model = crowd();
    press(&mut model, "f");
    assert_eq!(&*model.selected().unwrap().claim, "ingest-59-net");
    press(&mut model, "j");
    assert!(!model.look().follow, "a choice of one's own ends it");
}

fn at(kind: MouseEventKind, column: u16, row: u16) -> MouseEvent {
    MouseEvent {
        kind,
        column,
        row,
        modifiers: KeyModifiers::NONE,
    }
}

#[test]
fn the_mouse_selects_scrolls_and_drags() {
    let mut model = crowd();
    let click = |model: &mut Model, x, y| {
        if let Some(action) = mouse(model, at(MouseEventKind::Down(MouseButton::Left), x, y)) {
            model.act(action);
        }
    };
    click(&mut model, 10, 5);
    assert_eq!(model.rows().index(model.look().selected.unwrap()), Some(3));
    click(&mut model, 10, 5);
    assert_eq!(
        model.look().screen,
        Screen::Timeline,
        "a second click opens"
    );
    click(&mut model, 10, 6);
    let step = model.look().step;
    assert!(step.is_some());
    click(&mut model, 10, 6);
    assert_eq!(model.look().screen, Screen::Detail);
    let tab = Layout::of(&model).tabs[0];
    click(&mut model, tab.x + 2, tab.y);
    assert_eq!(model.look().screen, Screen::Flows);
    let wheel = mouse(&model, at(MouseEventKind::ScrollDown, 10, 5)).unwrap();
    model.act(wheel);
    assert_eq!(model.rows().index(model.look().selected.unwrap()), Some(6));
    let bar = Layout::of(&model).bar;
    let drag = |x| at(MouseEventKind::Drag(MouseButton::Left), x, bar.y);
    let action = mouse(&model, drag(bar.x)).unwrap();
    model.act(action);
    assert_eq!(model.mode(), Mode::Paused);
    assert_eq!(model.position().0, 1, "the first moment");
    let action = mouse(&model, drag(bar.right() + 30)).unwrap();
    model.act(action);
    let (shown, all) = model.position();
    assert_eq!(shown, all);
    assert_eq!(mouse(&model, at(MouseEventKind::Moved, 1, 1)), None);
}

#[test]
fn every_key_of_the_footer_means_something() {
    let mut model = crowd();
    let mut seen = String::new();
    for screen in Screen::ALL {
        model.act(Action::Show(screen));
        seen.push_str(text(&model).lines().last().unwrap());
        seen.push('\n');
    }
    assert_snapshot!(seen);
}
