//! Makes the one line that a runtime puts into the pod's events.

use std::fmt::{Display, Write};

use crate::options::ClaimUid;

/// The longest line in bytes, its newline included. Kubernetes cuts the message of
/// an event off at 1 KiB.
pub const LINE_LIMIT: usize = 1024;

const CUT: &str = "…";

/// `error` as one line, the newline at its end included: control characters and
/// runs of white space become one space, so that no driver's answer can forge a
/// second line or move a terminal's cursor.
pub fn line(claim: Option<&ClaimUid>, error: &dyn Display) -> String {
    let mut text = match claim {
        Some(claim) => format!("ndra-hook: claim {claim}: "),
        None => "ndra-hook: ".to_owned(),
    };
    let prefix = text.len();
    // Writing into a String does not fail.
    let _ = write!(Flat(&mut text), "{error}");
    text.truncate(text.trim_end().len().max(prefix));

    let room = LINE_LIMIT - "\n".len();
    if text.len() > room {
        text.truncate(text.floor_char_boundary(room - CUT.len()));
        text.push_str(CUT);
    }
    text.push('\n');
    text
}

/// Writes into a text that ends in a space, and never puts two spaces side by side.
struct Flat<'a>(&'a mut String);

impl Write for Flat<'_> {
    fn write_str(&mut self, part: &str) -> std::fmt::Result {
        for c in part.chars() {
            if !(c.is_whitespace() || c.is_control() || is_invisible(c)) {
                self.0.push(c);
            } else if !self.0.ends_with(' ') {
                self.0.push(' ');
            }
        }
        Ok(())
    }
}

/// Characters that reorder the text around them.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_one_line() {
        let claim = "c1".parse().unwrap();
        let error = "\nfirst\r\n\tsecond\u{1b}[31m \u{2028}third\u{202e}\0\n";
        insta::assert_snapshot!(line(Some(&claim), &error), @"ndra-hook: claim c1: first second [31m third");
        assert!(line(None, &error).ends_with("third\n"));
    }

    #[test]
    fn stays_short_and_whole() {
        for length in [1000, 1011, 1012, 1013, 1014, 5000] {
            for filling in ["x", "é", "🦀"] {
                let error = filling.repeat(length / filling.len());
                let line = line(None, &error);
                assert!(line.len() <= LINE_LIMIT, "{} bytes", line.len());
                assert_eq!(line.matches('\n').count(), 1);
                let fits = "ndra-hook: \n".len() + error.len() <= LINE_LIMIT;
                assert_eq!(line.contains(CUT), !fits, "{length} of {filling}");
            }
        }
    }
}
