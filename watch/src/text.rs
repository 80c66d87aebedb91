//! Words for times and sizes, and lines that fit a width.

use ratatui::text::Span;

/// Columns that a text takes.
pub(crate) fn width(text: &str) -> usize {
    if text.is_ascii() {
        text.len()
    } else {
        Span::raw(text).width()
    }
}

/// Text from outside without what would move the cursor or turn the reading direction.
pub(crate) fn clean(text: &str) -> String {
    let bad = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    text.chars()
        .map(|c| match c {
            '\n' | '\t' => ' ',
            c if bad(c) => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// The beginning of a text in at most `max` columns, with `mark` where it was cut.
pub(crate) fn fit(text: &str, max: usize, mark: &str) -> String {
    if width(text) <= max {
        return text.to_owned();
    }
    let room = max.saturating_sub(width(mark));
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let columns = width(c.encode_utf8(&mut [0; 4]));
        if used + columns > room {
            break;
        }
        used += columns;
        out.push(c);
    }
    if max >= width(mark) {
        out.push_str(mark);
    }
    out
}

/// Lines of at most `columns` columns, broken between words where possible; at most
/// `lines` of them, the last one ending in `mark` when there was more.
pub(crate) fn wrap(text: &str, columns: usize, lines: usize, mark: &str) -> Vec<String> {
    let columns = columns.max(8);
    let mut out: Vec<String> = Vec::new();
    let mut line = String::new();
    let text = clean(text);
    for word in text.split_whitespace() {
        let mut rest = word;
        loop {
            let gap = usize::from(!line.is_empty());
            let room = columns.saturating_sub(width(&line) + gap);
            if width(rest) <= room {
                if gap == 1 {
                    line.push(' ');
                }
                line.push_str(rest);
                break;
            }
            // A word longer than a line is cut.
            if width(rest) > columns && room >= 8 {
                let head = fit(rest, room, "");
                if gap == 1 {
                    line.push(' ');
                }
                line.push_str(&head);
                rest = &rest[head.len()..];
            }
            out.push(std::mem::take(&mut line));
            if out.len() == lines {
                if let Some(last) = out.last_mut() {
                    let short = fit(last, columns.saturating_sub(width(mark)), "");
                    *last = format!("{short}{mark}");
                }
                return out;
            }
        }
    }
    if !line.is_empty() && out.len() < lines {
        out.push(line);
    }
    out
}

/// A duration in at most six columns: `850us`, `2.1ms`, `24ms`, `1.24s`, `2m03s`, `1h02m`.
pub(crate) fn time(nanos: i64) -> String {
    let us = nanos.max(0) / 1000;
    let (ms, s) = (us / 1000, us / 1_000_000);
    let tenth = |value: i64, unit: i64| (value / unit, value % unit * 10 / unit);
    match us {
        0..1_000 => format!("{us}us"),
        1_000..10_000 => {
            let (whole, part) = tenth(us, 1000);
            format!("{whole}.{part}ms")
        }
        10_000..1_000_000 => format!("{ms}ms"),
        1_000_000..10_000_000 => format!("{}.{:02}s", s, us % 1_000_000 / 10_000),
        10_000_000..60_000_000 => {
            let (whole, part) = tenth(us, 1_000_000);
            format!("{whole}.{part}s")
        }
        60_000_000..3_600_000_000 => format!("{}m{:02}s", s / 60, s % 60),
        _ if s < 86_400 => format!("{}h{:02}m", s / 3600, s % 3600 / 60),
        _ if s < 100 * 86_400 => format!("{}d{:02}h", s / 86_400, s % 86_400 / 3600),
        _ => age(nanos),
    }
}

/// An age, in at most four columns: `0s`, `42s`, `7m`, `3h`, `12d`, `>2y`. A longer one tells
/// of a clock that is wrong, and how wrong helps nobody.
pub(crate) fn age(nanos: i64) -> String {
    let s = nanos.max(0) / 1_000_000_000;
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m", s / 60),
        3600..172_800 => format!("{}h", s / 3600),
        172_800..86_400_000 => format!("{}d", s / 86_400),
        _ => ">2y".into(),
    }
}

/// A moment of a recording: `00:12.431`, `1:02:03.4`.
pub(crate) fn moment(nanos: i64) -> String {
    let ms = nanos.max(0) / 1_000_000;
    let (s, ms) = (ms / 1000, ms % 1000);
    let (m, s) = (s / 60, s % 60);
    if m < 60 {
        format!("{m:02}:{s:02}.{ms:03}")
    } else {
        format!("{}:{:02}:{s:02}.{}", m / 60, m % 60, ms / 100)
    }
}

/// The time of day in UTC: `14:02:11.123`.
pub(crate) fn clock(nanos: i64) -> String {
    let ms = nanos.div_euclid(1_000_000).rem_euclid(86_400_000);
    let (s, ms) = (ms / 1000, ms % 1000);
    format!("{:02}:{:02}:{:02}.{ms:03}", s / 3600, s / 60 % 60, s % 60)
}

/// Numbers above this are no counts: somebody sent them.
const MOST: u64 = 999_999_999;

/// A number with a mark between thousands: `1,234,567`; at most `>999,999,999`.
pub(crate) fn count(n: u64) -> String {
    if n > MOST {
        return format!(">{}", count(MOST));
    }
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, c) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// Bytes: `512 B`, `1.2 KiB`, `256 MiB`.
pub(crate) fn bytes(n: u64) -> String {
    let (unit, name) = match n {
        0..1024 => return format!("{n} B"),
        1024..0x10_0000 => (1024, "KiB"),
        _ => (0x10_0000, "MiB"),
    };
    match (n / unit, n % unit * 10 / unit) {
        (whole @ 0..10, part) => format!("{whole}.{part} {name}"),
        (whole, _) => format!("{whole} {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_stay_short() {
        let all = [
            0,
            850,
            2_190,
            24_900,
            1_240_000,
            12_400_000,
            123_000_000,
            3_725_000_000,
            200_000_000_000,
        ];
        let words: Vec<_> = all.iter().map(|us| time(us * 1000)).collect();
        assert_eq!(
            words.join(" "),
            "0us 850us 2.1ms 24ms 1.24s 12.4s 2m03s 1h02m 2d07h"
        );
        assert_eq!((&*time(i64::MAX), &*age(i64::MAX)), (">2y", ">2y"));
        assert_eq!((&*time(-5), &*age(-5)), ("0us", "0s"));
        for days in [1, 9, 99, 100, 999, 1000, 20_000] {
            let nanos = days * 86_400_000_000_000;
            assert!(time(nanos).len() <= 6 && age(nanos).len() <= 4, "{days}");
        }
        assert_eq!(moment(12_431_900_000), "00:12.431");
        assert_eq!(moment(3_723_456_000_000), "1:02:03.4");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(u64::MAX), ">999,999,999");
        assert_eq!(bytes(1_250), "1.2 KiB");
        assert_eq!(bytes(256 << 20), "256 MiB");
    }

    #[test]
    fn text_wraps_between_words_and_says_when_it_was_cut() {
        let lines = wrap("the quick brown fox\njumps", 10, 9, "…");
        assert_eq!(lines, ["the quick", "brown fox", "jumps"]);
        let lines = wrap("the quick brown fox jumps", 10, 2, "…");
        assert_eq!(lines, ["the quick", "brown fox…"]);
        let lines = wrap(&"x".repeat(25), 10, 9, "…");
        assert_eq!(lines, ["xxxxxxxxxx", "xxxxxxxxxx", "xxxxx"]);
        assert_eq!(clean("a\u{1b}[31m\u{202e}b\nc"), "a\u{fffd}[31m\u{fffd}b c");
        assert_eq!(fit("网络接口", 5, "…"), "网络…");
    }
}
