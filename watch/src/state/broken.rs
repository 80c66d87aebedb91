//! Lines of a payload broken to the screen's width, so that long values can be read.

use super::tree::{Kind, Line};
use crate::text;

/// More lines than this are not made of one; the last says that there is more.
const MOST: usize = 500;

/// What goes on from a line is indented by so much more.
const DEEPER: u16 = 2;

/// A line broken so that it fits on `columns`, its fold sign and its depth included.
pub(super) fn broken(line: Line, columns: usize) -> Vec<Line> {
    let room = |depth: u16| columns.saturating_sub(2 * usize::from(depth) + 2).max(8);
    let long: usize = line.pieces.iter().map(|(_, piece)| piece.len()).sum();
    let width = || -> usize { line.pieces.iter().map(|(_, p)| text::width(p)).sum() };
    if long <= room(line.depth) || width() <= room(line.depth) {
        return vec![line];
    }
    let depth = line.depth + DEEPER;
    let chars: Vec<(Kind, char)> = line
        .pieces
        .iter()
        .flat_map(|(kind, piece)| piece.chars().map(|c| (*kind, c)))
        .collect();
    let mut lines: Vec<Line> = Vec::new();
    let mut from = 0;
    while from < chars.len() {
        let first = lines.is_empty();
        let room = room(if first { line.depth } else { depth });
        let mut to = end(&chars, from, room);
        if lines.len() + 1 == MOST {
            to = chars.len();
        }
        lines.push(Line {
            depth: if first { line.depth } else { depth },
            fold: line.fold.filter(|_| first),
            node: if first { line.node } else { 0 },
            pieces: pieces(&chars[from..to]),
            rest: !first,
        });
        from = to;
    }
    lines
}

/// Where a line that begins at `from` ends: after a space, if one is in its last third.
fn end(chars: &[(Kind, char)], from: usize, room: usize) -> usize {
    let mut used = 0;
    let mut to = from;
    for (_, c) in &chars[from..] {
        used += text::width(c.encode_utf8(&mut [0; 4]));
        if used > room && to > from {
            break;
        }
        to += 1;
    }
    if to == chars.len() {
        return to;
    }
    let space = (from + 1..to).rev().find(|at| chars[*at - 1].1 == ' ');
    space.filter(|at| (to - at) * 3 < to - from).unwrap_or(to)
}

fn pieces(chars: &[(Kind, char)]) -> Vec<(Kind, String)> {
    let mut pieces: Vec<(Kind, String)> = Vec::new();
    for (kind, c) in chars {
        match pieces.last_mut() {
            Some((last, piece)) if last == kind => piece.push(*c),
            _ => pieces.push((*kind, c.to_string())),
        }
    }
    pieces
}

/// Which of the lines that one was broken into holds the begin of `word`, in lower case.
pub(super) fn line_of(parts: &[Line], word: &str) -> usize {
    let own = |line: &Line| -> String { line.pieces.iter().map(|(_, p)| p.as_str()).collect() };
    let whole: String = parts.iter().map(own).collect();
    let Some(at) = whole.to_lowercase().find(word) else {
        return 0;
    };
    let mut before = 0;
    for (index, part) in parts.iter().enumerate() {
        before += own(part).to_lowercase().len();
        if at < before {
            return index;
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        Line {
            depth: 1,
            fold: None,
            node: 7,
            pieces: vec![(Kind::Key, "\"key\": ".into()), (Kind::Text, text.into())],
            rest: false,
        }
    }

    fn texts(lines: &[Line]) -> Vec<String> {
        lines.iter().map(Line::text).collect()
    }

    #[test]
    fn long_lines_are_broken_and_nothing_is_lost() {
        let short = broken(line("short"), 24);
        assert_eq!(texts(&short), ["  \"key\": short"]);
        let lines = broken(line("no address is left in the range"), 24);
        assert_eq!(
            texts(&lines),
            [
                "  \"key\": no address ",
                "      is left in the ",
                "      range"
            ]
        );
        assert!(!lines[0].rest && lines[1].rest && lines[1].node == 0);
        let all: String = "x".repeat(99) + "网络接口" + &"y".repeat(99);
        for columns in [0, 1, 20, 60] {
            let lines = broken(line(&all), columns);
            let kept: String = texts(&lines).iter().map(|l| l.trim_start()).collect();
            assert_eq!(kept, format!("\"key\": {all}"), "{columns}");
        }
        assert_eq!(broken(line(&"z".repeat(99_999)), 24).len(), MOST);
        assert_eq!(line_of(&lines, "left in"), 1);
        assert_eq!(line_of(&lines, "the range"), 1);
        assert_eq!(line_of(&lines, "range"), 2);
    }
}
