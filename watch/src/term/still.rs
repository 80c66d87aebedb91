//! One frame without a terminal: read to the end, go to a moment, press keys, draw.

use std::time::Duration;

use crossterm::event::KeyEvent;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::intake::Intake;
use crate::input;
use crate::source::{Options, Source};
use crate::state::{Action, Effect, Model, Settings};
use crate::view::{self, Theme};

/// What is drawn.
#[derive(Debug)]
pub struct Still {
    /// Where events come from; what is there is read, and no more is waited for.
    pub sources: Vec<Source>,
    /// How they are read.
    pub options: Options,
    /// The frame's size and what the model may use.
    pub settings: Settings,
    /// Colours and signs.
    pub theme: Theme,
    /// The moment to show, from the first event; the end without it.
    pub at: Option<Duration>,
    /// Keys that are pressed then, in order.
    pub keys: Vec<KeyEvent>,
}

/// Why there is no frame.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct StillError {
    /// The source that cannot be read.
    pub source_name: String,
    /// Is it a recording?
    pub recording: bool,
    reason: String,
}

impl Still {
    /// Reads, and draws the frame.
    pub async fn draw(self) -> Result<Buffer, StillError> {
        let (columns, rows) = self.settings.size;
        let mut model = Model::new(self.settings);
        let options = Options {
            follow: false,
            ..self.options
        };
        let names: Vec<_> = self
            .sources
            .iter()
            .map(|source| (source.to_string(), matches!(source, Source::File(_))))
            .collect();
        let mut intake = Intake::open(&mut model, self.sources, &options);
        while let Some(news) = intake.rest().await {
            intake.take(&mut model, news, super::now());
        }
        if intake.nothing_came()
            && let Some((feed, reason)) = intake.failed().first()
        {
            let (source_name, recording) = names.get(*feed).cloned().unwrap_or_default();
            return Err(StillError {
                source_name,
                recording,
                reason: reason.clone(),
            });
        }
        model.tick(0);
        if let Some(at) = self.at {
            let after = i64::try_from(at.as_nanos()).unwrap_or(i64::MAX);
            model.act(Action::GoToTime(after));
        }
        for event in self.keys {
            let action = input::key(&model, event);
            if action.and_then(|action| model.act(action)) == Some(Effect::Quit) {
                break;
            }
        }
        model.tick(0);
        let mut buf = Buffer::empty(Rect::new(0, 0, columns, rows));
        view::draw(&model, &self.theme, &mut buf);
        Ok(buf)
    }
}
