//! Recordings in, frames out.

use ndra_watch::recording::Lines;
use ndra_watch::sample::Sample;
use ndra_watch::state::{Connection, Model, Settings, SourceId};
use ndra_watch::view::{self, Colors, Theme};
use ndra_watch::{Action, frame};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

pub(crate) const S: i64 = 1_000_000_000;

/// The time at which the samples begin.
pub(crate) const ORIGIN: i64 = 1_795_510_800 * S;

/// A model of one recording, read to its end.
pub(crate) fn recorded(lines: &[u8], size: (u16, u16)) -> Model {
    let (mut model, source) = empty(size);
    let mut parser = Lines::new();
    for piece in lines.chunks(64 * 1024) {
        model.ingest(source, &parser.feed(piece));
    }
    model.ingest(source, &parser.finish());
    model.source_mut(source).unwrap().connection = Connection::Ended;
    model.tick(0);
    model
}

/// A model of a living driver's events, `after` nanoseconds after their begin.
pub(crate) fn live(sample: Sample, after: i64, size: (u16, u16)) -> Model {
    let (mut model, source) = empty(size);
    model.instance(source, "life-1");
    model.ingest(source, &Lines::new().feed(&sample.lines_without_summary()));
    model.source_mut(source).unwrap().connection = Connection::Live;
    model.tick(ORIGIN + after);
    model
}

pub(crate) fn empty(size: (u16, u16)) -> (Model, SourceId) {
    let mut model = Model::new(Settings {
        size,
        ..Settings::default()
    });
    let source = model.add_source("run.jsonl", "");
    (model, source)
}

pub(crate) fn act(model: &mut Model, actions: impl IntoIterator<Item = Action>) {
    for action in actions {
        model.act(action);
    }
}

pub(crate) fn drawn(model: &Model, theme: &Theme) -> Buffer {
    let (columns, rows) = model.look().size;
    let mut buf = Buffer::empty(Rect::new(0, 0, columns, rows));
    view::draw(model, theme, &mut buf);
    buf
}

pub(crate) fn text(model: &Model) -> String {
    frame::to_text(&drawn(model, &Theme::new(Colors::True, false)))
}

/// Nanoseconds from the origin to a sample's last event.
pub(crate) fn sample_end(sample: Sample) -> i64 {
    let events = sample.events();
    let last = events.last().unwrap().time.as_nanosecond();
    i64::try_from(last).unwrap() - ORIGIN
}
