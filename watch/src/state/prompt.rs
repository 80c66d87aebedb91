//! The prompt: a filter that takes effect while it is typed, or a search.

use super::Model;
use super::action::Screen;
use super::filter::Filter;
use super::look::{Prompt, Purpose};

/// The longest filter or search, in bytes.
pub(super) const MAX_PROMPT: usize = 200;

impl Model {
    pub(super) fn prompt(&mut self) {
        self.look.help = false;
        let (purpose, text) = match self.look.screen {
            Screen::Detail => (Purpose::Search, self.look.search.clone()),
            _ => (Purpose::Filter, self.look.filter_text.clone()),
        };
        if purpose == Purpose::Filter {
            self.look.screen = Screen::Flows;
        }
        self.look.prompt = Some(Prompt {
            purpose,
            text,
            error: None,
        });
    }

    pub(super) fn typed(&mut self, change: impl FnOnce(&mut String)) {
        let Some(prompt) = &mut self.look.prompt else {
            return;
        };
        change(&mut prompt.text);
        let text = prompt.text.clone();
        match prompt.purpose {
            Purpose::Search => {
                self.look.search = text;
                self.reveal();
                self.go_to_hit(self.look.line);
            }
            Purpose::Filter => match Filter::parse(&text) {
                Ok(_) => {
                    prompt.error = None;
                    self.set_filter(text);
                }
                // What was right before it stays in force while one types.
                Err(error) => prompt.error = Some(error.to_string()),
            },
        }
    }

    pub(super) fn erase(&mut self) {
        if self.look.prompt.as_ref().is_some_and(|p| p.text.is_empty()) {
            return self.back();
        }
        self.typed(|text| {
            text.pop();
        });
    }

    pub(super) fn accept(&mut self) {
        if self.look.prompt.as_ref().is_some_and(|p| p.error.is_none()) {
            self.look.prompt = None;
        }
    }

    pub(super) fn set_filter(&mut self, text: String) {
        match Filter::parse(&text) {
            Ok(filter) => {
                self.look.filter = filter;
                self.look.filter_text = text;
                self.stale.rows = true;
            }
            Err(error) => self.look.notice = Some(error.to_string()),
        }
    }

    /// Unfolds what hides a hit.
    fn reveal(&mut self) {
        self.look.reveal = true;
        self.stale.flow = true;
        self.settle();
    }

    pub(super) fn next_hit(&mut self, back: bool) {
        let hidden = self.detail.found > self.detail.hits.len();
        if hidden {
            let here = self.detail.lines.get(self.look.line).map(|line| line.node);
            self.reveal();
            // The line under the cursor has moved with what came open above it.
            if let Some(node) = here.filter(|node| *node != 0) {
                let lines = &self.detail.lines;
                let moved = lines.iter().position(|line| line.node == node);
                self.look.line = moved.unwrap_or(self.look.line);
            }
        }
        let hits = &self.detail.hits;
        let at = self.look.line;
        let found = if back {
            hits.iter().rev().find(|hit| **hit < at).or(hits.last())
        } else {
            hits.iter().find(|hit| **hit > at).or(hits.first())
        };
        match found {
            Some(line) => self.look.line = *line,
            None => self.look.notice = Some("not found".into()),
        }
    }

    pub(super) fn go_to_hit(&mut self, from: usize) {
        let hits = &self.detail.hits;
        if let Some(line) = hits.iter().find(|hit| **hit >= from).or(hits.first()) {
            self.look.line = *line;
        }
    }
}
