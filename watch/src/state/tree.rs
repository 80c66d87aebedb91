//! A payload as lines that fold: JSON or YAML, highlighted by kind, searchable.

use std::collections::HashSet;

use serde_json::Value;

/// What a piece of a line is, for its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A key of an object.
    Key,
    /// A string.
    Text,
    /// A number.
    Number,
    /// `true`, `false` or `null`.
    Word,
    /// Braces, commas, colons, dashes.
    Mark,
    /// What stands for folded lines.
    Folded,
    /// The name of a part of the payload.
    Title,
}

/// One line of a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// How deep it is.
    pub depth: u16,
    /// Can it be folded? Then: is it?
    pub fold: Option<bool>,
    /// Names the node that it begins, for folding.
    pub(crate) node: u64,
    /// Its pieces.
    pub pieces: Vec<(Kind, String)>,
    /// Does it go on from the line before, which was too long?
    pub rest: bool,
}

impl Line {
    /// A line that is no payload.
    pub(crate) fn said(words: &str) -> Self {
        Self {
            depth: 0,
            fold: None,
            node: 0,
            pieces: vec![(Kind::Folded, words.into())],
            rest: false,
        }
    }

    /// The line as plain text.
    pub fn text(&self) -> String {
        let mut text = "  ".repeat(self.depth.into());
        for (_, piece) in &self.pieces {
            text.push_str(piece);
        }
        text
    }

    /// Does it hold this word, which is in lower case?
    pub(crate) fn has(&self, word: &str) -> bool {
        self.text().to_lowercase().contains(word)
    }
}

/// How payloads are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// As they came over the wire.
    #[default]
    Json,
    /// As people write manifests.
    Yaml,
}

/// More lines than this are not made; the payload is bounded anyway.
const MAX_LINES: usize = 20_000;

/// Writes payloads as lines.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    pub(crate) format: Format,
    /// Nodes that differ from what `open` says of them.
    pub(crate) toggled: &'a HashSet<u64>,
    /// Down to this depth nodes are open by themselves.
    pub(crate) open: u16,
    /// Nodes that are open by themselves, however deep they are.
    pub(crate) revealed: &'a HashSet<u64>,
    pub(crate) lines: Vec<Line>,
    /// What is looked for, if anything is.
    pub(crate) seek: Option<Seek<'a>>,
}

/// Notes where a word is found while lines are written.
#[derive(Debug)]
pub(crate) struct Seek<'a> {
    /// The word, lower case.
    pub(crate) word: &'a str,
    /// The nodes around the place that is written, from the outermost.
    path: Vec<u64>,
    /// The nodes around every hit.
    pub(crate) around: HashSet<u64>,
    /// How many lines have a hit.
    pub(crate) hits: usize,
}

impl<'a> Seek<'a> {
    pub(crate) fn new(word: &'a str) -> Self {
        Self {
            word,
            path: Vec::new(),
            around: HashSet::new(),
            hits: 0,
        }
    }

    fn look_at(&mut self, line: &Line) {
        if line.has(self.word) {
            self.hits += 1;
            self.around.extend(self.path.iter().copied());
        }
    }
}

impl Writer<'_> {
    /// A heading, which folds what is put under it. True when it is open.
    pub(crate) fn title(&mut self, text: &str) -> bool {
        self.heading(text, None)
    }

    /// A heading that is folded by itself when words are given that stand for what it
    /// folds.
    pub(crate) fn heading(&mut self, text: &str, folds: Option<&str>) -> bool {
        let node = mix(0, text.as_bytes());
        let by_itself = folds.is_some() && self.open < u16::MAX && !self.revealed.contains(&node);
        let folded = by_itself != self.toggled.contains(&node);
        if let Some(seek) = &mut self.seek {
            seek.path.clear();
        }
        let mut pieces = vec![(Kind::Title, text.into())];
        if folded && let Some(words) = folds {
            pieces.push((Kind::Folded, format!("  {words}")));
        }
        self.push(0, Some(folded), node, pieces);
        self.enter(node);
        !folded
    }

    /// A payload under a heading.
    pub(crate) fn value(&mut self, title: &str, value: &Value) {
        let node = mix(mix(0, title.as_bytes()), b"/");
        self.node(1, node, Vec::new(), value, "");
    }

    /// A document of its own.
    pub(crate) fn document(&mut self, value: &Value) {
        self.node(0, 1, Vec::new(), value, "");
    }

    /// Lines as they are: text that is no JSON.
    pub(crate) fn text(&mut self, text: &str) {
        for part in text.lines() {
            let pieces = vec![(Kind::Text, part.to_owned())];
            self.push(1, None, 0, pieces);
        }
    }

    fn push(&mut self, depth: u16, fold: Option<bool>, node: u64, pieces: Vec<(Kind, String)>) {
        if self.lines.len() < MAX_LINES {
            let line = Line {
                depth,
                fold,
                node,
                pieces,
                rest: false,
            };
            if let Some(seek) = &mut self.seek {
                seek.look_at(&line);
            }
            self.lines.push(line);
        }
    }

    /// What is written from now on lies in this node.
    fn enter(&mut self, node: u64) {
        if let Some(seek) = &mut self.seek {
            seek.path.push(node);
        }
    }

    fn leave(&mut self) {
        if let Some(seek) = &mut self.seek {
            seek.path.pop();
        }
    }

    /// Is a node folded?
    fn folded(&self, depth: u16, node: u64) -> bool {
        let deep = depth > self.open && !self.revealed.contains(&node);
        deep != self.toggled.contains(&node)
    }

    fn node(
        &mut self,
        depth: u16,
        node: u64,
        mut head: Vec<(Kind, String)>,
        value: &Value,
        tail: &str,
    ) {
        let json = self.format == Format::Json;
        let inner: Vec<(Option<&str>, &Value)> = match value {
            Value::Object(map) => map.iter().map(|(k, v)| (Some(k.as_str()), v)).collect(),
            Value::Array(list) => list.iter().map(|v| (None, v)).collect(),
            plain => {
                head.push(scalar(plain, json));
                head.extend(mark(tail));
                return self.push(depth, None, 0, head);
            }
        };
        let (open, close) = if value.is_object() {
            ("{", "}")
        } else {
            ("[", "]")
        };
        if inner.is_empty() || depth > 64 {
            head.extend(mark(&format!("{open}{close}{tail}")));
            return self.push(depth, None, 0, head);
        }
        if self.folded(depth, node) {
            let unit = if value.is_object() { "key" } else { "item" };
            let s = if inner.len() == 1 { "" } else { "s" };
            let count = (Kind::Folded, format!("{} {unit}{s}", inner.len()));
            if json {
                head.extend(mark(open));
                head.push(count);
                head.extend(mark(&format!("{close}{tail}")));
            } else {
                head.push(count);
            }
            return self.push(depth, Some(true), node, head);
        }
        let last = inner.len() - 1;
        let child = |at: usize, key: Option<&str>| match key {
            Some(key) => mix(node, key.as_bytes()),
            None => mix(node, &at.to_le_bytes()),
        };
        if json {
            head.extend(mark(open));
            self.push(depth, Some(false), node, head);
            self.enter(node);
            for (at, (key, value)) in inner.into_iter().enumerate() {
                let mut head = Vec::new();
                if let Some(key) = key {
                    head.push((Kind::Key, quoted(key)));
                    head.extend(mark(": "));
                }
                let tail = if at < last { "," } else { "" };
                self.node(depth + 1, child(at, key), head, value, tail);
            }
            self.leave();
            return self.push(depth, None, 0, vec![(Kind::Mark, format!("{close}{tail}"))]);
        }
        // An item of a list shares its line with what it begins with; so does the whole.
        let shares = head.last().is_none_or(|(_, text)| text == "- ");
        let deeper = if head.is_empty() { depth } else { depth + 1 };
        if !shares {
            self.push(depth, Some(false), node, std::mem::take(&mut head));
        }
        self.enter(node);
        for (at, (key, value)) in inner.into_iter().enumerate() {
            let own = child(at, key);
            let at_line = self.lines.len();
            let mut line = std::mem::take(&mut head);
            let depth = if line.is_empty() { deeper } else { depth };
            let nested = matches!(value, Value::Object(m) if !m.is_empty())
                || matches!(value, Value::Array(l) if !l.is_empty());
            match key {
                Some(key) => {
                    line.push((Kind::Key, key.to_owned()));
                    let open = !self.folded(depth, own);
                    line.extend(mark(if nested && open { ":" } else { ": " }));
                }
                None => line.extend(mark("- ")),
            }
            self.node(depth, own, line, value, "");
            if at == 0
                && shares
                && let Some(first) = self.lines.get_mut(at_line)
                && first.fold.is_none()
            {
                (first.fold, first.node) = (Some(false), node);
            }
        }
        self.leave();
    }
}

fn mark(text: &str) -> Option<(Kind, String)> {
    (!text.is_empty()).then(|| (Kind::Mark, text.to_owned()))
}

/// As JSON writes a string.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

fn scalar(value: &Value, json: bool) -> (Kind, String) {
    match value {
        Value::String(text) if json || needs_quotes(text) => (Kind::Text, quoted(text)),
        Value::String(text) => (Kind::Text, text.clone()),
        Value::Number(number) => (Kind::Number, number.to_string()),
        other => (Kind::Word, other.to_string()),
    }
}

/// Would YAML read this plain string as something else?
fn needs_quotes(text: &str) -> bool {
    let first = text.chars().next();
    first.is_none_or(|c| !c.is_alphanumeric() && c != '/' && c != '_')
        || text.ends_with(' ')
        || text.ends_with(':')
        || text.contains(": ")
        || text.contains(" #")
        || text.chars().any(char::is_control)
        || text.parse::<f64>().is_ok()
        || matches!(
            text.to_ascii_lowercase().as_str(),
            "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
        )
}

fn mix(sum: u64, bytes: &[u8]) -> u64 {
    let mut sum = sum ^ 0xcbf2_9ce4_8422_2325;
    for byte in bytes {
        sum = (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn written(format: Format, open: u16, toggled: &HashSet<u64>) -> (String, Vec<Line>) {
        let mut out = Writer {
            format,
            toggled,
            open,
            revealed: &HashSet::new(),
            lines: Vec::new(),
            seek: None,
        };
        assert!(out.title("request"));
        let value =
            json!({"name": "m", "plugins": [{"type": "macvlan", "mtu": 1500}, "yes"], "x": {}});
        out.value("request", &value);
        let text: Vec<_> = out.lines.iter().map(Line::text).collect();
        (text.join("\n"), out.lines)
    }

    #[test]
    fn json_and_yaml() {
        let none = HashSet::new();
        insta::assert_snapshot!(written(Format::Json, 9, &none).0, @r#"
        request
          {
            "name": "m",
            "plugins": [
              {
                "type": "macvlan",
                "mtu": 1500
              },
              "yes"
            ],
            "x": {}
          }
        "#);
        insta::assert_snapshot!(written(Format::Yaml, 9, &none).0, @r#"
        request
          name: m
          plugins:
            - type: macvlan
              mtu: 1500
            - "yes"
          x: {}
        "#);
    }

    #[test]
    fn nodes_fold_by_depth_and_by_hand() {
        let (text, lines) = written(Format::Json, 1, &HashSet::new());
        insta::assert_snapshot!(text, @r#"
        request
          {
            "name": "m",
            "plugins": [2 items],
            "x": {}
          }
        "#);
        let plugins = lines.iter().find(|l| l.fold == Some(true)).unwrap();
        let by_hand = HashSet::from([plugins.node]);
        let (text, _) = written(Format::Json, 1, &by_hand);
        assert!(text.contains("\"plugins\": [\n"), "{text}");
        assert!(text.contains("{2 keys},\n"), "{text}");
    }
}
