//! The clipboard, through the terminal: OSC 52, which works over SSH too.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What terminals commonly take, in bytes before the encoding.
const MOST: usize = 74_000;

/// The sequence that puts `text` into the clipboard. A text that is too long is cut.
pub(super) fn copy(text: &str) -> Vec<u8> {
    let mut end = text.len().min(MOST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("\x1b]52;c;{}\x07", STANDARD.encode(&text[..end])).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_cannot_end_the_sequence() {
        assert_eq!(copy("a\x07\x1b[2J"), b"\x1b]52;c;YQcbWzJK\x07");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let copied = copy(&"€".repeat(MOST));
        let code = &copied[7..copied.len() - 1];
        let text = String::from_utf8(STANDARD.decode(code).unwrap()).unwrap();
        assert_eq!(text.len(), MOST - MOST % 3);
    }
}
