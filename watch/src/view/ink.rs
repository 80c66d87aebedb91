//! Puts text into a buffer: clipped, cleaned, never outside.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};

use super::theme::Theme;
use crate::text;

/// A buffer and the theme to draw with.
pub(crate) struct Ink<'a> {
    buf: &'a mut Buffer,
    theme: &'a Theme,
}

impl<'a> Ink<'a> {
    pub(crate) fn new(buf: &'a mut Buffer, theme: &'a Theme) -> Self {
        Self { buf, theme }
    }

    pub(crate) fn theme(&self) -> &'a Theme {
        self.theme
    }

    /// Writes at most `max` columns, cut with a mark. Returns the next column.
    pub(crate) fn put(&mut self, x: u16, y: u16, max: u16, text: &str, style: Style) -> u16 {
        let max = max.min(self.buf.area.right().saturating_sub(x));
        if max == 0 || y >= self.buf.area.bottom() {
            return x;
        }
        let plain = |b: &u8| (b' '..=b'~').contains(b);
        if text.len() <= usize::from(max) && text.as_bytes().iter().all(plain) {
            let mut at = x;
            for c in text.chars() {
                if let Some(cell) = self.buf.cell_mut((at, y)) {
                    cell.set_char(c).set_style(style);
                }
                at += 1;
            }
            return at;
        }
        let mut clean = text::clean(text);
        if self.theme.is_ascii() && !clean.is_ascii() {
            // Data may hold what the terminal does not know: its cells would shift.
            clean = clean
                .chars()
                .map(|c| if c.is_ascii() { c } else { '?' })
                .collect();
        }
        let fitting = text::fit(&clean, max.into(), self.theme.glyphs().more);
        self.buf.set_stringn(x, y, &fitting, max.into(), style).0
    }

    /// Writes so that the text ends before `right`.
    pub(crate) fn put_right(&mut self, right: u16, y: u16, text: &str, style: Style) -> u16 {
        let width = u16::try_from(text::width(text)).unwrap_or(u16::MAX);
        let x = right.saturating_sub(width);
        self.put(x, y, width, text, style);
        x
    }

    /// Writes in the middle of `area`.
    pub(crate) fn center(&mut self, area: Rect, y: u16, text: &str, style: Style) {
        let width = u16::try_from(text::width(text)).unwrap_or(u16::MAX);
        let x = area.x + area.width.saturating_sub(width) / 2;
        self.put(x, y, area.width, text, style);
    }

    /// Writes pieces one after the other, in at most `max` columns.
    pub(crate) fn pieces(&mut self, x: u16, y: u16, max: u16, pieces: &[(&str, Style)]) -> u16 {
        let end = x.saturating_add(max);
        let mut at = x;
        for (text, style) in pieces {
            at = self.put(at, y, end.saturating_sub(at), text, *style);
        }
        at
    }

    /// One sign.
    pub(crate) fn sign(&mut self, x: u16, y: u16, sign: &str, style: Style) {
        if let Some(cell) = self.buf.cell_mut((x, y)) {
            cell.set_symbol(sign).set_style(style);
        }
    }

    /// Is nothing written there?
    pub(crate) fn is_blank(&self, x: u16, y: u16) -> bool {
        self.buf.cell((x, y)).is_some_and(|c| c.symbol() == " ")
    }

    /// A horizontal rule with a title in it. Returns the column after the title.
    pub(crate) fn rule(&mut self, area: Rect, y: u16, title: &[(&str, Style)]) -> u16 {
        let faint = self.theme.faint();
        for x in area.left()..area.right() {
            self.sign(x, y, self.theme.glyphs().rule, faint);
        }
        if title.is_empty() {
            return area.x;
        }
        let x = area.x + 2;
        self.sign(x, y, " ", faint);
        let end = self.pieces(x + 1, y, area.width.saturating_sub(6), title);
        self.sign(end, y, " ", faint);
        end + 1
    }

    /// Lays the mark of a selection over a line.
    pub(crate) fn select(&mut self, area: Rect) {
        let over = self.theme.selected();
        let plain = self.theme.on_selected();
        let area = area.intersection(self.buf.area);
        for y in area.top()..area.bottom() {
            for x in area.left()..area.right() {
                if let Some(cell) = self.buf.cell_mut((x, y)) {
                    if let (Color::Reset, Some(color)) = (cell.fg, plain) {
                        cell.set_fg(color);
                    }
                    cell.set_style(over);
                }
            }
        }
    }

    /// Makes a place empty.
    pub(crate) fn clear(&mut self, area: Rect) {
        let area = area.intersection(self.buf.area);
        for y in area.top()..area.bottom() {
            for x in area.left()..area.right() {
                if let Some(cell) = self.buf.cell_mut((x, y)) {
                    cell.reset();
                }
            }
        }
    }

    /// A duration, with the unit sign that the terminal can show.
    pub(crate) fn time(&self, nanos: i64) -> String {
        let words = text::time(nanos);
        match words.strip_suffix("us") {
            Some(number) => format!("{number}{}", self.theme.glyphs().micro),
            None => words,
        }
    }
}
