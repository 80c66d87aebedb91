//! One drawn frame as text or as a picture, for CI, documents and bug reports.

mod shapes;
mod svg;
mod text;

pub use svg::to_svg;
pub use text::to_text;
