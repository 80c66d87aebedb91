//! The program `ndra`.
mod manifest;
mod problem;
mod report;
fn main() {}
