//! What the terminal can show: colours by role, and characters that its locale has.

use std::env;
use std::fmt::{self, Display};

use anstyle::{AnsiColor, Effects, Style};

/// Columns that the text uses.
#[cfg(feature = "simulate")]
pub(crate) const WIDTH: usize = 80;

/// Names, as headings.
pub(crate) const BOLD: Style = Style::new().effects(Effects::BOLD);
/// What helps the eye but need not be read.
pub(crate) const DIM: Style = Style::new().effects(Effects::DIMMED);
/// What went well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// What failed.
pub(crate) const BAD: Style = AnsiColor::Red.on_default();
/// What deserves a look.
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();
/// The result the user came for.
#[cfg(feature = "simulate")]
pub(crate) const RESULT: Style = AnsiColor::Cyan.on_default().effects(Effects::BOLD);

/// `text` in `style`; the stream it goes to drops the style where it does not belong.
pub(crate) fn paint<T: Display>(style: Style, text: T) -> impl Display {
    struct Painted<T>(Style, T);
    impl<T: Display> Display for Painted<T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{}{}{}", self.0, self.1, self.0.render_reset())
        }
    }
    Painted(style, text)
}

/// The characters to draw with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) arrow: &'static str,
    pub(crate) dot: &'static str,
    pub(crate) good: &'static str,
    pub(crate) bad: &'static str,
    pub(crate) ellipsis: &'static str,
    pub(crate) bar: &'static str,
    pub(crate) rule: &'static str,
    pub(crate) micro: &'static str,
}

impl Look {
    /// For locales that write UTF-8.
    pub(crate) const UNICODE: Self = Self {
        arrow: "→",
        dot: "·",
        good: "✓",
        bad: "✗",
        ellipsis: "…",
        bar: "│",
        rule: "─",
        micro: "µs",
    };
    /// For all others.
    pub(crate) const ASCII: Self = Self {
        arrow: ">",
        dot: "|",
        good: "ok",
        bad: "!!",
        ellipsis: "~",
        bar: "|",
        rule: "-",
        micro: "us",
    };

    /// As the locale says: the first of LC_ALL, LC_CTYPE and LANG that is set.
    pub(crate) fn of_locale() -> Self {
        let set = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let locale = set("LC_ALL")
            .or_else(|| set("LC_CTYPE"))
            .or_else(|| set("LANG"));
        Self::named(locale.as_deref())
    }

    fn named(locale: Option<&str>) -> Self {
        let utf8 = match locale {
            Some(name) => {
                let name = name.to_ascii_lowercase();
                name.contains("utf-8") || name.contains("utf8")
            }
            // macOS sets none for programs outside a shell and writes UTF-8 all the same.
            None => cfg!(target_os = "macos"),
        };
        if utf8 { Self::UNICODE } else { Self::ASCII }
    }

    /// `text` cut to `width` characters.
    pub(crate) fn fit(&self, text: &str, width: usize) -> String {
        if text.chars().count() <= width {
            return text.to_owned();
        }
        let keep = width.saturating_sub(self.ellipsis.chars().count());
        text.chars()
            .take(keep)
            .chain(self.ellipsis.chars())
            .collect()
    }

    /// A duration in at most 8 characters.
    pub(crate) fn duration(&self, us: u64) -> String {
        match us {
            0..1_000 => format!("{us} {}", self.micro),
            1_000..1_000_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
            1_000_000..100_000_000 => {
                format!("{}.{:02} s", us / 1_000_000, us % 1_000_000 / 10_000)
            }
            _ => format!("{} s", us / 1_000_000),
        }
    }
}

/// `text` in lines of at most `width` characters, broken at spaces where there are any.
#[cfg(feature = "simulate")]
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        let mut length = 0;
        for word in paragraph.split(' ') {
            let mut word: Vec<char> = word.chars().collect();
            if length > 0 && length + 1 + word.len() > width {
                lines.push(std::mem::take(&mut line));
                length = 0;
            } else if length > 0 {
                line.push(' ');
                length += 1;
            }
            while length + word.len() > width {
                let rest = word.split_off(width - length);
                line.extend(word);
                lines.push(std::mem::take(&mut line));
                length = 0;
                word = rest;
            }
            length += word.len();
            line.extend(word);
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_stay_short() {
        let look = Look::UNICODE;
        let texts: Vec<_> = [
            0,
            999,
            1_000,
            12_345,
            999_999,
            1_000_000,
            99_999_999,
            100_000_000,
        ]
        .into_iter()
        .map(|us| look.duration(us))
        .collect();
        assert_eq!(
            texts,
            [
                "0 µs", "999 µs", "1.0 ms", "12.3 ms", "999.9 ms", "1.00 s", "99.99 s", "100 s"
            ]
        );
        assert!(texts.iter().all(|t| t.chars().count() <= 8));
    }

    #[test]
    fn lines_break_at_spaces_and_long_words_anywhere() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefghij kl", 4), ["abcd", "efgh", "ij", "kl"]);
        assert_eq!(wrap("a\n\nb", 9), ["a", "", "b"]);
        assert_eq!(Look::UNICODE.fit("äöüß", 3), "äö…");
    }

    #[test]
    fn the_locale_chooses_the_characters() {
        assert_eq!(Look::named(Some("de_DE.UTF-8")), Look::UNICODE);
        assert_eq!(Look::named(Some("C.utf8")), Look::UNICODE);
        assert_eq!(Look::named(Some("C")), Look::ASCII);
        assert_eq!(Look::named(Some("en_US.ISO-8859-1")), Look::ASCII);
    }
}
