//! The help, laid over the screen: every key, every sign.

use ratatui::layout::Rect;

use super::glyphs::Glyphs;
use super::ink::Ink;
use crate::state::Model;
use crate::state::layout::Layout;
use crate::text;

/// Key and what it does; a line without a key is a heading.
const WHERE: &[(&str, &str)] = &[
    ("", "Where"),
    ("1 2 3 4  tab", "flows, timeline, detail, health"),
    ("enter  esc", "deeper, back"),
    ("up down  j k", "select; pgup, pgdn, g and G go far"),
    ("e  E", "next, previous failed flow"),
    ("", "Time"),
    ("space", "pause, go on"),
    ("left right", "event by event"),
    (", .", "a tenth of the recording back, on"),
    ("Home  End", "before the first event, live"),
    ("+ -", "replay faster, slower (0.1 to 100)"),
    ("", "Flows"),
    ("/", "filter; all must hold, -word leaves out"),
    ("pod: ns:", "claim: node: have this in their name"),
    ("step:X", "stands at step X, a name or 1 to 12"),
    (">10ms  <2s", "total time; with step:X that step's time"),
    ("error", "failed once; error:word says that word"),
    ("s  S", "sort, the other way round"),
    ("o", "group by pod, namespace, node"),
    ("f", "follow the newest"),
    ("", "Timeline and detail"),
    ("[ ]", "another run of the step, another attempt"),
    ("{ }", "another step"),
    ("/  n N", "search the detail, next, previous hit"),
    ("enter  z", "fold the line, fold all"),
    ("y  c", "JSON or YAML, copy"),
];

const CONTROLS: &[(&str, &str)] = &[
    ("", "Simulation"),
    ("P  R", "start a pod, restart the container"),
    ("K  I", "kill the driver, fail the selected step once"),
];

/// What each sign means, under headings.
fn signs(glyphs: &Glyphs) -> Vec<(String, String)> {
    let gap = glyphs.gap;
    let cut = glyphs.cut;
    let eighth = glyphs.ends[2];
    let all: [(&str, &str); 33] = [
        ("", "Steps"),
        (glyphs.waiting, "waiting"),
        (&glyphs.running.join(" "), "running"),
        (glyphs.done, "done"),
        (glyphs.mended, "done, after it had failed"),
        (glyphs.failed, "failed: the cause"),
        (glyphs.fell, "failed because another step did"),
        (glyphs.skipped, "not seen, though a later one was"),
        ("", "Flows"),
        (glyphs.failed, "failed"),
        (glyphs.hanging, "hanging: a step runs for more than 10 s"),
        (glyphs.moving, "moving"),
        (glyphs.ready, "ready"),
        (glyphs.ended, "ended"),
        ("R", "restarts of its containers"),
        ("", "Timeline"),
        (glyphs.critical, "critical path: what the time was spent on"),
        (eighth, "its end, or a very short bar"),
        (glyphs.beside, "waits for a step inside of it"),
        (glyphs.onward, "still runs"),
        ("12ms", "above bars: somebody worked for so long"),
        ("gap 9ms", "above bars: nobody did"),
        (&format!("{gap}9ms{gap}"), "the same, where columns are few"),
        (gap, "a long gap, not to scale"),
        (
            &format!("{}3", glyphs.times),
            "ran 3 times; of an error: failed 3 times",
        ),
        ("[ ]", "the bar or the attempt that is chosen"),
        (
            &format!("{}8{}5", glyphs.failed, glyphs.times),
            "5 attempts in which step 8 failed first",
        ),
        (cut, "attempts left out, too many to be drawn"),
        (&format!("{cut}4{cut}"), "so many are left out"),
        ("", "Health"),
        (glyphs.heights[8], "distribution: how many took so long"),
        ("", "Bar of time"),
        (glyphs.failed, "a step failed there"),
    ];
    all.into_iter()
        .map(|(sign, words)| (sign.to_owned(), words.to_owned()))
        .collect()
}

/// From so many columns on the help has two.
const TWO_FROM: u16 = 110;

/// Columns of a key and of what is around a column of the help.
const KEY: u16 = 14;

/// A line as it is shown: a key, or a heading, or what goes on from the line before.
struct Line {
    heading: bool,
    key: String,
    words: String,
}

fn broken(all: &[(String, String)], width: u16) -> Vec<Line> {
    let mut lines = Vec::new();
    for (key, words) in all {
        let heading = key.is_empty();
        let room = if heading {
            width
        } else {
            width.saturating_sub(KEY)
        };
        for (at, words) in text::wrap(words, room.into(), usize::MAX, "")
            .into_iter()
            .enumerate()
        {
            lines.push(Line {
                heading,
                key: if at == 0 { key.clone() } else { String::new() },
                words,
            });
        }
    }
    lines
}

pub(super) fn draw(ink: &mut Ink<'_>, model: &Model, layout: &Layout) {
    let theme = ink.theme();
    let mut keys: Vec<(&str, &str)> = WHERE.to_vec();
    if model.controls() {
        keys.extend(CONTROLS);
    }
    let keys: Vec<(String, String)> = keys
        .into_iter()
        .map(|(key, words)| (key.to_owned(), words.to_owned()))
        .collect();
    let signs = signs(theme.glyphs());
    let body = layout.body;
    let two = body.width >= TWO_FROM;
    let width = body.width.min(if two { 136 } else { 80 });
    let column = if two { (width - 7) / 2 } else { width - 4 };
    let mut columns = vec![broken(&keys, column)];
    if two {
        columns.push(broken(&signs, column));
    } else {
        columns[0].extend(broken(&signs, column));
    }
    let longest = columns.iter().map(Vec::len).max().unwrap_or(0);
    let height = u16::try_from(longest + 2)
        .unwrap_or(body.height)
        .min(body.height);
    let x = body.x + (body.width - width) / 2;
    let y = body.y + (body.height - height) / 2;
    let area = Rect::new(x, y, width, height);
    ink.clear(area);
    frame(ink, area);
    let room = usize::from(height - 2);
    let top = model.look().help_top.min(longest.saturating_sub(room));
    let mut x = area.x + 2;
    for lines in &columns {
        for (y, line) in (area.y + 1..area.bottom() - 1).zip(lines.iter().skip(top)) {
            if line.heading {
                ink.put(x, y, column, &line.words, theme.strong());
            } else {
                ink.put(x + 1, y, KEY - 2, &line.key, theme.accent());
                ink.put(x + KEY, y, column - KEY, &line.words, theme.text());
            }
        }
        x += column + 3;
    }
    if top + room < longest {
        let words = format!(" {} more ", longest - top - room);
        ink.put_right(area.right() - 2, area.bottom() - 1, &words, theme.dim());
    }
}

fn frame(ink: &mut Ink<'_>, area: Rect) {
    let theme = ink.theme();
    let glyphs = theme.glyphs();
    let style = theme.accent();
    let (right, bottom) = (area.right() - 1, area.bottom() - 1);
    for x in area.x..=right {
        ink.sign(x, area.y, glyphs.rule, style);
        ink.sign(x, bottom, glyphs.rule, style);
    }
    for y in area.y..=bottom {
        ink.sign(area.x, y, glyphs.wall, style);
        ink.sign(right, y, glyphs.wall, style);
    }
    let corners = [
        (area.x, area.y),
        (right, area.y),
        (area.x, bottom),
        (right, bottom),
    ];
    for ((x, y), sign) in corners.into_iter().zip(glyphs.corners) {
        ink.sign(x, y, sign, style);
    }
    ink.put(area.x + 2, area.y, 12, " Help ", theme.strong());
}
