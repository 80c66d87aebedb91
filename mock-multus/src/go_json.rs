//! What Go's decoder says about bad JSON: the daemon and the plugins pass its words on.

use serde_json::Value;

/// Parses `text`, or says in Go's words why not.
pub(crate) fn parse(text: &[u8]) -> Result<Value, String> {
    if let Some(error) = syntax_error(text) {
        return Err(error);
    }
    serde_json::from_slice(text).map_err(|error| error.to_string())
}

/// Go's name for the kind of a value.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A value of the wrong kind for a struct's field.
pub(crate) fn wrong_kind(value: &Value, field: &str, wanted: &str) -> String {
    format!(
        "json: cannot unmarshal {} into Go struct field {field} of type {wanted}",
        kind(value)
    )
}

/// What may come next.
#[derive(Clone, Copy)]
enum Expect {
    Value,
    /// A value, or the end of an array that has just begun.
    ValueOrEnd,
    Key,
    /// A key, or the end of an object that has just begun.
    KeyOrEnd,
    Colon,
    /// A comma or the end of what encloses.
    Next,
}

fn syntax_error(text: &[u8]) -> Option<String> {
    let mut scan = Scan { text, at: 0 };
    // `true` for an object, `false` for an array.
    let mut open: Vec<bool> = Vec::new();
    let mut expect = Expect::Value;
    loop {
        let Some(byte) = scan.token() else {
            let complete = open.is_empty() && matches!(expect, Expect::Next);
            return (!complete).then(end);
        };
        expect = match (expect, byte) {
            (Expect::Next, _) if open.is_empty() => {
                return Some(unexpected(byte, "after top-level value"));
            }
            (Expect::Next | Expect::KeyOrEnd, b'}') if open.last() == Some(&true) => {
                open.pop();
                Expect::Next
            }
            (Expect::Next | Expect::ValueOrEnd, b']') if open.last() == Some(&false) => {
                open.pop();
                Expect::Next
            }
            (Expect::Next, b',') if open.last() == Some(&true) => Expect::Key,
            (Expect::Next, b',') => Expect::Value,
            (Expect::Next, _) if open.last() == Some(&true) => {
                return Some(unexpected(byte, "after object key:value pair"));
            }
            (Expect::Next, _) => return Some(unexpected(byte, "after array element")),
            (Expect::Colon, b':') => Expect::Value,
            (Expect::Colon, _) => return Some(unexpected(byte, "after object key")),
            (Expect::Key | Expect::KeyOrEnd, b'"') => match scan.string() {
                Some(error) => return Some(error),
                None => Expect::Colon,
            },
            (Expect::Key | Expect::KeyOrEnd, _) => {
                return Some(unexpected(
                    byte,
                    "looking for beginning of object key string",
                ));
            }
            (Expect::Value | Expect::ValueOrEnd, b'{') => {
                open.push(true);
                Expect::KeyOrEnd
            }
            (Expect::Value | Expect::ValueOrEnd, b'[') => {
                open.push(false);
                Expect::ValueOrEnd
            }
            (Expect::Value | Expect::ValueOrEnd, _) => match scan.scalar(byte) {
                Some(error) => return Some(error),
                None => Expect::Next,
            },
        };
    }
}

struct Scan<'a> {
    text: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn token(&mut self) -> Option<u8> {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
        self.take()
    }

    /// The rest of a string, literal or number that begins with `first`.
    fn scalar(&mut self, first: u8) -> Option<String> {
        match first {
            b'"' => self.string(),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            b'-' | b'0'..=b'9' => self.number(first),
            _ => Some(unexpected(first, "looking for beginning of value")),
        }
    }

    fn string(&mut self) -> Option<String> {
        loop {
            match self.take() {
                None => return Some(end()),
                Some(b'"') => return None,
                Some(b'\\') => match self.take() {
                    None => return Some(end()),
                    Some(b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"') => {}
                    Some(b'u') => {
                        for _ in 0..4 {
                            match self.take() {
                                None => return Some(end()),
                                Some(hex) if hex.is_ascii_hexdigit() => {}
                                Some(other) => {
                                    let place = "in \\u hexadecimal character escape";
                                    return Some(unexpected(other, place));
                                }
                            }
                        }
                    }
                    Some(other) => return Some(unexpected(other, "in string escape code")),
                },
                Some(control @ 0..0x20) => {
                    return Some(unexpected(control, "in string literal"));
                }
                Some(_) => {}
            }
        }
    }

    fn literal(&mut self, word: &str) -> Option<String> {
        for expected in word.bytes().skip(1) {
            match self.take() {
                None => return Some(end()),
                Some(byte) if byte == expected => {}
                Some(other) => {
                    let place = format!("in literal {word} (expecting {})", quoted(expected));
                    return Some(unexpected(other, &place));
                }
            }
        }
        None
    }

    fn number(&mut self, first: u8) -> Option<String> {
        let mut digit = first;
        if first == b'-' {
            match self.digit("in numeric literal") {
                Ok(next) => digit = next,
                Err(error) => return Some(error),
            }
        }
        if digit != b'0' {
            self.digits();
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if let Err(error) = self.digit("after decimal point in numeric literal") {
                return Some(error);
            }
            self.digits();
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if let Err(error) = self.digit("in exponent of numeric literal") {
                return Some(error);
            }
            self.digits();
        }
        None
    }

    fn digit(&mut self, place: &str) -> Result<u8, String> {
        match self.take() {
            None => Err(end()),
            Some(byte) if byte.is_ascii_digit() => Ok(byte),
            Some(other) => Err(unexpected(other, place)),
        }
    }

    fn digits(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
    }
}

fn end() -> String {
    "unexpected end of JSON input".into()
}

fn unexpected(byte: u8, place: &str) -> String {
    format!("invalid character {} {place}", quoted(byte))
}

fn quoted(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".into(),
        b'"' => "'\"'".into(),
        b'\n' => r"'\n'".into(),
        b'\t' => r"'\t'".into(),
        b'\r' => r"'\r'".into(),
        0..0x20 | 0x7f => format!(r"'\x{byte:02x}'"),
        _ => format!("'{}'", char::from(byte)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_gos_words() {
        let cases = [
            ("", "unexpected end of JSON input"),
            ("{", "unexpected end of JSON input"),
            ("\"a", "unexpected end of JSON input"),
            (
                "{not json",
                "invalid character 'n' looking for beginning of object key string",
            ),
            (
                "nope",
                "invalid character 'o' in literal null (expecting 'u')",
            ),
            (
                "<html>",
                "invalid character '<' looking for beginning of value",
            ),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            (
                "{\"a\":1 2}",
                "invalid character '2' after object key:value pair",
            ),
            (
                "{\"a\":1,}",
                "invalid character '}' looking for beginning of object key string",
            ),
            ("[1 2]", "invalid character '2' after array element"),
            (
                "[1,]",
                "invalid character ']' looking for beginning of value",
            ),
            ("{} x", "invalid character 'x' after top-level value"),
            ("\"\\q\"", "invalid character 'q' in string escape code"),
            (
                "\"\\u00g0\"",
                "invalid character 'g' in \\u hexadecimal character escape",
            ),
            ("\"a\nb\"", "invalid character '\\n' in string literal"),
            ("-x", "invalid character 'x' in numeric literal"),
            (
                "1.x",
                "invalid character 'x' after decimal point in numeric literal",
            ),
            (
                "1ex",
                "invalid character 'x' in exponent of numeric literal",
            ),
            ("01", "invalid character '1' after top-level value"),
        ];
        for (text, error) in cases {
            assert_eq!(
                syntax_error(text.as_bytes()).as_deref(),
                Some(error),
                "{text:?}"
            );
        }
    }

    #[test]
    fn good_json_is_read() {
        for text in [
            "{}",
            " [ ] ",
            "[1,-2.5e+3,0]",
            r#"{"a":{"b":[true,false,null,"é\n\u00e9"]}}"#,
        ] {
            assert_eq!(syntax_error(text.as_bytes()), None, "{text}");
            assert!(parse(text.as_bytes()).is_ok(), "{text}");
        }
    }
}
