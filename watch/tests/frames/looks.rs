//! Frames of every kind of content, at three sizes.

use insta::assert_snapshot;
use ndra_core::event::{DriverState, OwnState, Step};
use ndra_watch::sample::{Life, Sample};
use ndra_watch::state::{Connection, Screen};
use ndra_watch::view::{Colors, Theme};
use ndra_watch::{Action, Model, Settings, frame};
use ratatui::style::{Color, Modifier};

use crate::bed::*;

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

/// One snapshot for each size.
macro_rules! at_all_sizes {
    ($name:literal, $make:expr) => {
        for size in SIZES {
            let model: Model = $make(size);
            let name = format!("{}_{}x{}", $name, size.0, size.1);
            assert_snapshot!(name, text(&model));
        }
    };
}

fn crowd(size: (u16, u16)) -> Model {
    recorded(&Sample::new().crowd(60, 400).lines(), size)
}

#[test]
fn no_source() {
    let mut model = Model::new(Settings::default());
    model.tick(0);
    assert_snapshot!(text(&model));
}

#[test]
fn connecting() {
    at_all_sizes!("connecting", |size| {
        let mut model = Model::new(Settings {
            size,
            ..Settings::default()
        });
        model.add_source("unix:///run/ndra/events.sock", "");
        model.tick(ORIGIN);
        model
    });
}

#[test]
fn connected_and_still_empty() {
    let (mut model, source) = empty((80, 24));
    model.source_mut(source).unwrap().connection = Connection::Live;
    model.tick(ORIGIN);
    assert_snapshot!(text(&model));
}

#[test]
fn lost_and_tried_again() {
    let mut model = live(Sample::new().flow(1, 0, Life::Ready), 2 * S, (80, 24));
    let source = model.sources().next().unwrap().0;
    model.source_mut(source).unwrap().connection = Connection::Lost {
        reason: "the socket was closed".into(),
        retry_at: ORIGIN + 6 * S,
    };
    model.tick(ORIGIN + 3 * S);
    assert_snapshot!(text(&model));
}

#[test]
fn one_flow_at_each_step() {
    for size in SIZES {
        let mut all = String::new();
        for step in Step::ALL.iter().copied() {
            let sample = Sample::new().flow(1, 0, Life::In(step));
            // Just after the last event, so that the step runs for a moment.
            let last = sample_end(Sample::new().flow(1, 0, Life::In(step)));
            let model = live(sample, last + 2_000_000, size);
            let frame = text(&model);
            let lines = frame.lines().filter(|line| !line.trim().is_empty());
            let lines: Vec<_> = lines.skip(2).collect();
            all.push_str(&format!(
                "{step}\n{}\n",
                lines[..lines.len() - 3].join("\n")
            ));
        }
        assert_snapshot!(format!("step_by_step_{}x{}", size.0, size.1), all);
    }
}

#[test]
fn one_flow_in_the_middle() {
    at_all_sizes!("running", |size| {
        let life = Life::In(Step::CniAdd);
        let last = sample_end(Sample::new().flow(1, 0, life));
        live(Sample::new().flow(1, 0, life), last + 9_000_000, size)
    });
}

#[test]
fn a_flow_that_hangs_says_who_is_waited_for() {
    let life = Life::In(Step::CniAdd);
    let model = live(Sample::new().flow(1, 0, life), 25 * S, (80, 24));
    assert_snapshot!(text(&model));
}

#[test]
fn a_claim_that_no_container_lists() {
    let model = live(Sample::new().flow(1, 0, Life::Prepared), 45 * S, (80, 24));
    assert_snapshot!(text(&model));
}

#[test]
fn what_a_node_cannot_see_is_no_error() {
    let model = live(Sample::new().flow(1, 0, Life::OnNode), 2 * S, (80, 24));
    let frame = text(&model);
    assert!(!frame.contains("failed"), "{frame}");
    assert_snapshot!(frame);
}

#[test]
fn flows() {
    at_all_sizes!("flows", crowd);
}

#[test]
fn failure() {
    at_all_sizes!("failure", |size| {
        let sample = Sample::new()
            .flow(1, 0, Life::Ready)
            .flow(7, 900, Life::RangeUsedUp);
        recorded(&sample.lines(), size)
    });
}

#[test]
fn five_hundred_flows() {
    at_all_sizes!("five_hundred", |size| {
        let mut model = recorded(&Sample::new().crowd(500, 150).lines(), size);
        act(&mut model, [Action::Edge { last: true }, Action::Page(-1)]);
        model
    });
}

#[test]
fn timeline() {
    at_all_sizes!("timeline", |size| {
        let mut model = crowd(size);
        act(&mut model, [Action::Open]);
        model
    });
}

#[test]
fn timeline_of_a_sandbox_made_anew() {
    let lines = Sample::new().flow(3, 0, Life::Recreated).lines();
    let mut model = recorded(&lines, (120, 40));
    act(&mut model, [Action::Open, Action::SelectStep(Step::CniAdd)]);
    assert_snapshot!(text(&model));
}

#[test]
fn detail() {
    at_all_sizes!("detail", |size| {
        let mut model = crowd(size);
        act(&mut model, [Action::Open, Action::Open]);
        model
    });
}

#[test]
fn detail_as_yaml_folded_and_searched() {
    let mut model = crowd((80, 24));
    let show = [
        Action::Open,
        Action::SelectStep(Step::CdiWrite),
        Action::Open,
    ];
    act(&mut model, show);
    act(&mut model, [Action::Format]);
    assert_snapshot!("yaml", text(&model));
    act(&mut model, [Action::Format, Action::FoldAll]);
    assert_snapshot!("folded", text(&model));
    act(
        &mut model,
        [
            Action::FoldAll,
            Action::Prompt,
            Action::Paste("HOOK".into()),
        ],
    );
    assert_snapshot!("searched", text(&model));
}

/// How a driver is doing, whose callback socket is not served when it was refused.
fn doing(outcome: Result<(), String>, called: Option<&str>) -> DriverState {
    let own = OwnState::new("dra.networking", "0.1.0", &["v1.DRAPlugin"]);
    own.socket("events", "/run/ndra/events.sock", true);
    own.socket("callback", "/run/ndra/hook.sock", outcome.is_ok());
    own.registered(&outcome);
    called.into_iter().for_each(|version| own.called(version));
    own.subscribe().borrow().clone()
}

#[test]
fn health_of_drivers_that_are_not_well() {
    let mut model = Model::new(Settings {
        size: (100, 30),
        ..Settings::default()
    });
    let unknown = DriverState {
        name: "x\u{1b}[2J".into(),
        ..DriverState::default()
    };
    let states = [
        unknown,
        doing(Ok(()), None),
        doing(Err("plugin version is not supported".into()), None),
        doing(Ok(()), None),
    ];
    for (n, state) in states.iter().enumerate() {
        let id = model.add_source(&format!("pod://ndra/driver-{n}"), &format!("node-{n}"));
        let line = state.line().unwrap();
        model.ingest(
            id,
            &ndra_watch::recording::Lines::new().feed(format!("{line}\n").as_bytes()),
        );
        model.source_mut(id).unwrap().connection = match n {
            3 => Connection::Lost {
                reason: "the socket was closed".into(),
                retry_at: ORIGIN + 4 * S,
            },
            _ => Connection::Live,
        };
    }
    act(&mut model, [Action::Show(Screen::Health)]);
    model.tick(ORIGIN);
    let frame = text(&model);
    let lines: Vec<_> = frame.lines().skip(2).take(11).collect();
    assert_snapshot!(lines.join("\n"));
}

#[test]
fn health() {
    at_all_sizes!("health", |size| {
        let mut model = crowd(size);
        let source = model.sources().next().unwrap().0;
        let source = model.source_mut(source).unwrap();
        source.learn(&doing(Ok(()), Some("v1.DRAPlugin")));
        act(&mut model, [Action::Show(Screen::Health)]);
        model
    });
}

#[test]
fn help() {
    at_all_sizes!("help", |size| {
        let mut model = crowd(size);
        act(&mut model, [Action::Help]);
        model
    });
}

#[test]
fn filter() {
    at_all_sizes!("filtered", |size| {
        let mut model = crowd(size);
        let typed = Action::Paste("pod:cache error".into());
        act(&mut model, [Action::Prompt, typed]);
        model
    });
    let mut model = crowd((80, 24));
    act(
        &mut model,
        [Action::Prompt, Action::Paste("pod:cache -error".into())],
    );
    assert_snapshot!("filter_typing", text(&model));
    act(&mut model, [Action::Accept]);
    assert_snapshot!("filter", text(&model));
    act(
        &mut model,
        [Action::Prompt, Action::Paste(" step:dance".into())],
    );
    assert_snapshot!("filter_bad", text(&model));
    act(&mut model, [Action::Back, Action::Filter("nobody".into())]);
    assert_snapshot!("filter_nothing", text(&model));
}

#[test]
fn groups() {
    let mut model = crowd((80, 24));
    act(&mut model, [Action::Group, Action::Group, Action::Move(1)]);
    assert_snapshot!(text(&model));
}

#[test]
fn nodes_get_a_column() {
    let mut model = Model::new(Settings {
        size: (120, 24),
        ..Settings::default()
    });
    for (n, node) in ["worker-1", "worker-2"].into_iter().enumerate() {
        let source = model.add_source(&format!("pod://ndra/driver-{n}"), node);
        let sample = Sample::new().flow(n, n as u64 * 10, Life::OnNode);
        let lines = sample.lines_without_summary();
        model.ingest(source, &ndra_watch::recording::Lines::new().feed(&lines));
        model.source_mut(source).unwrap().connection = Connection::Live;
    }
    model.tick(ORIGIN + 2 * S);
    assert_snapshot!(text(&model));
}

#[test]
fn paused_and_scrubbed() {
    at_all_sizes!("paused", |size| {
        let mut model = live(Sample::new().crowd(9, 400), 4 * S, size);
        act(&mut model, [Action::Pause]);
        model
    });
    at_all_sizes!("scrubbed", |size| {
        let mut model = crowd(size);
        act(&mut model, [Action::Scrub(0.5)]);
        model
    });
}

/// The keys that a simulation is watched for are in the footer of the smallest usual
/// terminal, on each screen.
#[test]
fn a_simulation_shows_its_keys() {
    let mut all = String::new();
    for size in [(80, 24), (100, 30)] {
        let mut model = Model::new(Settings {
            size,
            controls: true,
            ..Settings::default()
        });
        let source = model.add_source("simulation", "");
        let lines = Sample::new().crowd(5, 400).lines_without_summary();
        model.ingest(source, &ndra_watch::recording::Lines::new().feed(&lines));
        model.source_mut(source).unwrap().connection = Connection::Live;
        model.tick(ORIGIN + 4 * S);
        for screen in Screen::ALL {
            act(&mut model, [Action::Show(screen)]);
            let frame = text(&model);
            all.push_str(frame.lines().last().unwrap());
            all.push('\n');
        }
    }
    for line in all.lines() {
        for key in ["P pod", "R restart", "K kill", "I fault"] {
            assert!(line.contains(key), "{line}");
        }
    }
    assert_snapshot!(all);
}

#[test]
fn too_small() {
    for size in [(59, 16), (60, 15), (20, 4), (3, 1), (0, 0)] {
        let mut model = crowd((80, 24));
        model.resize(size.0, size.1);
        let frame = text(&model);
        assert!(!frame.contains("Flows"), "{size:?}\n{frame}");
    }
    for (columns, rows) in [(59, 24), (80, 15), (50, 10), (20, 4)] {
        let mut model = crowd((80, 24));
        model.resize(columns, rows);
        assert_snapshot!(format!("too_small_{columns}x{rows}"), text(&model));
    }
    for size in SIZES {
        let mut model = crowd(size);
        let before = text(&model);
        model.resize(50, 10);
        text(&model);
        model.resize(size.0, size.1);
        assert_eq!(
            text(&model),
            before,
            "it is as it was when there is room again"
        );
    }
}

#[test]
fn ascii() {
    let theme = Theme::new(Colors::Sixteen, true);
    let mut model = crowd((80, 24));
    let mut all = String::new();
    for action in [
        Action::Help,
        Action::Back,
        Action::Open,
        Action::Open,
        Action::Show(Screen::Health),
    ] {
        all.push_str(&frame::to_text(&drawn(&model, &theme)));
        model.act(action);
    }
    all.push_str(&frame::to_text(&drawn(&model, &theme)));
    let odd: Vec<_> = all.chars().filter(|c| !c.is_ascii()).collect();
    assert!(odd.is_empty(), "{odd:?}");
    assert_snapshot!(all);
}

/// What comes from outside keeps its columns on a terminal that knows ASCII only.
#[test]
fn ascii_data() {
    let lines = String::from_utf8(Sample::new().flow(1, 0, Life::RangeUsedUp).lines()).unwrap();
    let lines = lines
        .replace("default/", "größe-東京/")
        .replace("\"error\":\"", "\"error\":\"naïve — ");
    assert!(lines.contains("東京") && lines.contains("naïve"));
    let mut model = recorded(lines.as_bytes(), (120, 40));
    for _ in 0..3 {
        let unicode = text(&model);
        let plain = frame::to_text(&drawn(&model, &Theme::new(Colors::None, true)));
        assert!(plain.is_ascii(), "{plain}");
        assert!(
            unicode.contains("größe-東京") && plain.contains("gr??e-??"),
            "{plain}"
        );
        model.act(Action::Open);
    }
}

#[test]
fn no_color_means_none() {
    let model = crowd((80, 24));
    let plain = drawn(&model, &Theme::new(Colors::None, false));
    for cell in plain.content() {
        assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset));
    }
    // Everything that colour says is said by signs: the text is the same.
    let colored = drawn(&model, &Theme::new(Colors::True, false));
    assert_eq!(frame::to_text(&plain), frame::to_text(&colored));
    let reversed = |y: u16| plain[(10, y)].modifier.contains(Modifier::REVERSED);
    assert!(
        reversed(2) && !reversed(3),
        "the selected row alone is reversed"
    );
}

/// A frame without colours, and under its lines what is not plain: `R` reversed, `B` bold,
/// `D` dim, `U` underlined.
#[test]
fn no_color() {
    for size in SIZES {
        let buf = drawn(&crowd(size), &Theme::new(Colors::None, false));
        let mut all = String::new();
        for (y, line) in (0..size.1).zip(frame::to_text(&buf).lines()) {
            let mark = |x: u16| {
                let modifier = buf[(x, y)].modifier;
                let known = [
                    (Modifier::REVERSED, 'R'),
                    (Modifier::BOLD, 'B'),
                    (Modifier::DIM, 'D'),
                    (Modifier::UNDERLINED, 'U'),
                ];
                let found = known.into_iter().find(|(m, _)| modifier.contains(*m));
                found.map_or(' ', |(_, sign)| sign)
            };
            let marks: String = (0..size.0).map(mark).collect();
            all.push_str(&format!("{line}\n"));
            if !marks.trim().is_empty() {
                all.push_str(&format!("{}\n", marks.trim_end()));
            }
        }
        assert_snapshot!(format!("no_color_{}x{}", size.0, size.1), all);
    }
}

#[test]
fn every_depth_of_color_says_the_same() {
    let model = crowd((120, 40));
    let text = |colors| frame::to_text(&drawn(&model, &Theme::new(colors, false)));
    assert_eq!(text(Colors::Sixteen), text(Colors::Palette));
    assert_eq!(text(Colors::Sixteen), text(Colors::True));
}

#[test]
fn any_size_is_drawn() {
    let lines = Sample::new().crowd(30, 100).lines();
    for width in [60, 61, 75, 99, 116, 139, 240] {
        for height in [16, 17, 23, 31, 36, 45, 90] {
            let mut model = recorded(&lines, (width, height));
            for screen in Screen::ALL {
                act(&mut model, [Action::Show(screen), Action::Move(1)]);
                let frame = text(&model);
                assert_eq!(frame.lines().count(), usize::from(height), "{frame}");
                let last = frame.lines().last().unwrap();
                assert!(last.contains("quit"), "{width}x{height}\n{frame}");
            }
        }
    }
}

#[test]
fn a_picture() {
    let model = crowd((120, 40));
    let buf = drawn(&model, &Theme::new(Colors::True, false));
    let svg = frame::to_svg(&buf);
    assert_eq!(svg, frame::to_svg(&buf));
    assert!(svg.len() < 60_000, "{} bytes", svg.len());
    assert!(svg.contains(">lab/cache-57"), "text stays text");
    assert!(
        !svg.contains("http") || svg.matches("http").count() == 1,
        "only the namespace"
    );
}

#[test]
fn names_cannot_break_the_screen() {
    let line = r#"{"schema":1,"seq":1,"time":"2026-11-24T09:00:00.000000000Z","elapsed_us":0,"step":"prepare","number":1,"phase":"fail","duration_us":5,"claim":{"namespace":"a","name":"x\u001b[2J\u202egnp","uid":"u\n1"},"pod":"a/b\u0007","from":"kubelet","to":"driver","error":"\u001b]52;c;aGk=\u0007 bad </text><script>"}"#;
    let model = recorded(format!("{line}\n").as_bytes(), (80, 24));
    let buf = drawn(&model, &Theme::new(Colors::True, false));
    let all: String = buf.content().iter().map(|cell| cell.symbol()).collect();
    assert!(!all.contains(['\u{1b}', '\u{202e}', '\u{7}']), "{all:?}");
    assert!(!frame::to_svg(&buf).contains("<script"));
}

/// A list of pods that can be read says nothing of drivers that cannot.
#[test]
fn all_nodes_of_a_daemon_set_are_lost() {
    let mut model = Model::new(Settings::default());
    let list = model.add_source("ds://kube-system/network-dra", "");
    let header = |model: &Model| text(model).lines().next().unwrap().to_owned();
    {
        let list = model.source_mut(list).unwrap();
        (list.listing, list.connection) = (true, Connection::Live);
    }
    model.tick(ORIGIN);
    assert!(header(&model).contains("● live"), "no pod is known yet");
    for node in ["node-a", "node-b"] {
        let id = model.add_stream(list, node);
        model.source_mut(id).unwrap().connection = Connection::Lost {
            reason: "the exec ended".into(),
            retry_at: ORIGIN + S,
        };
    }
    model.tick(ORIGIN);
    let lost = header(&model);
    assert!(lost.contains("▲ lost") && !lost.contains("live"), "{lost}");
}
