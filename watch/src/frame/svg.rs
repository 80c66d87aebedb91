//! A frame as a picture: SVG, self-contained, its text selectable.

use std::collections::BTreeMap;
use std::fmt::Write;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

use super::shapes;

/// A character's cell, in pixels.
const CELL: (f32, f32) = (8.4, 18.0);
/// From the cell's top to the text's base line.
const BASE: f32 = 13.5;
const MARGIN: f32 = 12.0;
const FONT: f32 = 14.0;

const BACK: u32 = 0x0f_1419;
const FORE: u32 = 0xc9_d1d9;

/// What a run of cells looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Look {
    fore: u32,
    bold: bool,
    italic: bool,
    underlined: bool,
    faint: bool,
}

/// The frame as an SVG document. The same frame gives the same bytes. Blocks and lines are
/// drawn as shapes, so that they meet whatever font the reader has.
pub fn to_svg(buf: &Buffer) -> String {
    let area = buf.area;
    let width = f32::from(area.width).mul_add(CELL.0, 2.0 * MARGIN);
    let height = f32::from(area.height).mul_add(CELL.1, 2.0 * MARGIN);
    let mut classes: BTreeMap<Look, usize> = BTreeMap::new();
    let mut backs = String::new();
    let mut forms = String::new();
    let mut texts = String::new();
    for y in area.top()..area.bottom() {
        let top = f32::from(y - area.y).mul_add(CELL.1, MARGIN);
        backgrounds(buf, y, top, &mut backs);
        lines(buf, y, top, &mut classes, &mut forms, &mut texts);
    }
    let mut out = String::new();
    let _ = writeln!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" xml:space="preserve" viewBox="0 0 {} {}" width="{}" height="{}" font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="{FONT}" role="img" aria-label="ndra watch">"#,
        short(width),
        short(height),
        short(width),
        short(height),
    );
    out.push_str("<style>text{white-space:pre}");
    for (look, number) in &classes {
        let _ = write!(out, ".c{number}{{fill:#{:06x}", look.fore);
        if look.bold {
            out.push_str(";font-weight:bold");
        }
        if look.italic {
            out.push_str(";font-style:italic");
        }
        if look.underlined {
            out.push_str(";text-decoration:underline");
        }
        if look.faint {
            out.push_str(";opacity:.6");
        }
        out.push('}');
    }
    let _ = writeln!(
        out,
        "</style>\n<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#{BACK:06x}\"/>"
    );
    out.push_str(&backs);
    out.push_str(&forms);
    out.push_str(&texts);
    out.push_str("</svg>\n");
    out
}

fn backgrounds(buf: &Buffer, y: u16, top: f32, out: &mut String) {
    let area = buf.area;
    let back = |x: u16| buf.cell((x, y)).map_or(BACK, |cell| colors(cell).1);
    let mut x = area.left();
    while x < area.right() {
        let color = back(x);
        let start = x;
        while x < area.right() && back(x) == color {
            x += 1;
        }
        if color != BACK {
            let _ = writeln!(
                out,
                r##"<rect x="{}" y="{}" width="{}" height="{}" fill="#{color:06x}"/>"##,
                short(left(start - area.x)),
                short(top),
                short(f32::from(x - start) * CELL.0),
                short(CELL.1),
            );
        }
    }
}

fn lines(
    buf: &Buffer,
    y: u16,
    top: f32,
    classes: &mut BTreeMap<Look, usize>,
    forms: &mut String,
    texts: &mut String,
) {
    let area = buf.area;
    let mut run: Option<(Look, u16, String, u16)> = None;
    let mut x = area.left();
    while x < area.right() {
        let Some(cell) = buf.cell((x, y)) else { break };
        let symbol = cell.symbol();
        let columns = u16::try_from(crate::text::width(symbol))
            .unwrap_or(1)
            .max(1);
        let look = look(cell);
        if let Some(form) = shapes::of(symbol) {
            flush(&mut run, top, classes, texts);
            let next = classes.len();
            let class = *classes.entry(look).or_insert(next);
            let mut end = x + 1;
            // Equal neighbours become one shape.
            while end < area.right()
                && form.joins()
                && buf
                    .cell((end, y))
                    .is_some_and(|c| c.symbol() == symbol && self::look(c) == look)
            {
                end += 1;
            }
            let place = (left(x - area.x), top, f32::from(end - x) * CELL.0, CELL.1);
            let _ = writeln!(
                forms,
                r#"<path class="c{class}" d="{}"/>"#,
                form.path(place)
            );
            x = end;
            continue;
        }
        if symbol == " " && !look.underlined {
            // Spaces within a run are kept: the text can be selected as it stands.
            if let Some((_, _, text, width)) = &mut run {
                text.push(' ');
                *width += 1;
            }
        } else {
            match &mut run {
                Some((of, _, text, width)) if *of == look => {
                    text.push_str(symbol);
                    *width += columns;
                }
                _ => {
                    flush(&mut run, top, classes, texts);
                    run = Some((look, x - area.x, symbol.to_owned(), columns));
                }
            }
        }
        x += columns;
    }
    flush(&mut run, top, classes, texts);
}

fn flush(
    run: &mut Option<(Look, u16, String, u16)>,
    top: f32,
    classes: &mut BTreeMap<Look, usize>,
    out: &mut String,
) {
    let Some((look, x, text, width)) = run.take() else {
        return;
    };
    let trimmed = text.trim_end();
    let gone = u16::try_from(text.len() - trimmed.len()).unwrap_or(0);
    let next = classes.len();
    let class = *classes.entry(look).or_insert(next);
    // The length holds the columns together whatever the font's width is.
    let _ = writeln!(
        out,
        r#"<text class="c{class}" x="{}" y="{}" textLength="{}" lengthAdjust="spacingAndGlyphs">{}</text>"#,
        short(left(x)),
        short(top + BASE),
        short(f32::from(width - gone) * CELL.0),
        escaped(trimmed),
    );
}

fn left(column: u16) -> f32 {
    f32::from(column).mul_add(CELL.0, MARGIN)
}

fn look(cell: &Cell) -> Look {
    let (fore, _) = colors(cell);
    Look {
        fore,
        bold: cell.modifier.contains(Modifier::BOLD),
        italic: cell.modifier.contains(Modifier::ITALIC),
        underlined: cell.modifier.contains(Modifier::UNDERLINED),
        faint: cell.modifier.contains(Modifier::DIM),
    }
}

fn colors(cell: &Cell) -> (u32, u32) {
    let (fore, back) = (color(cell.fg, FORE), color(cell.bg, BACK));
    if cell.modifier.contains(Modifier::REVERSED) {
        (back, fore)
    } else {
        (fore, back)
    }
}

fn color(color: Color, usual: u32) -> u32 {
    const SIXTEEN: [u32; 16] = [
        0x24_292f, 0xff_6b6b, 0x57_c785, 0xf2_c14e, 0x6c_b6ff, 0xc0_99ff, 0x4c_c9f0, 0xc9_d1d9,
        0x8b_949e, 0xff_8f8f, 0x7e_e2a8, 0xff_d97a, 0x9c_cfff, 0xd8_bfff, 0x8b_e4ff, 0xff_ffff,
    ];
    match color {
        Color::Reset => usual,
        Color::Rgb(r, g, b) => u32::from_be_bytes([0, r, g, b]),
        Color::Indexed(n @ 0..16) => SIXTEEN[usize::from(n)],
        Color::Indexed(n @ 16..232) => {
            let level = |part: u8| if part == 0 { 0 } else { 55 + 40 * part };
            let n = n - 16;
            u32::from_be_bytes([0, level(n / 36), level(n / 6 % 6), level(n % 6)])
        }
        Color::Indexed(n) => {
            let grey = 8 + 10 * (n - 232);
            u32::from_be_bytes([0, grey, grey, grey])
        }
        Color::Black => SIXTEEN[0],
        Color::Red => SIXTEEN[1],
        Color::Green => SIXTEEN[2],
        Color::Yellow => SIXTEEN[3],
        Color::Blue => SIXTEEN[4],
        Color::Magenta => SIXTEEN[5],
        Color::Cyan => SIXTEEN[6],
        Color::Gray => SIXTEEN[7],
        Color::DarkGray => SIXTEEN[8],
        Color::LightRed => SIXTEEN[9],
        Color::LightGreen => SIXTEEN[10],
        Color::LightYellow => SIXTEEN[11],
        Color::LightBlue => SIXTEEN[12],
        Color::LightMagenta => SIXTEEN[13],
        Color::LightCyan => SIXTEEN[14],
        Color::White => SIXTEEN[15],
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // Not allowed in XML at all.
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A length with at most one decimal.
pub(super) fn short(length: f32) -> String {
    let text = format!("{length:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    #[test]
    fn text_stays_text_and_blocks_become_shapes() {
        let mut buf = Buffer::empty(Rect::new(0, 0, 12, 2));
        let red = Style::new().fg(Color::Rgb(255, 0, 0));
        buf.set_string(0, 0, "a <b> & c", red);
        buf.set_string(0, 1, "███▌", Style::new());
        buf[(11, 1)].set_bg(Color::Rgb(1, 2, 3));
        insta::assert_snapshot!(to_svg(&buf));
    }
}
