//! The program `ndra`.
mod manifest;
mod problem;
fn main() {}
