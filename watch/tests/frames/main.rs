//! What a person sees, for recordings of all kinds.

mod bed;

use bed::*;
use ndra_watch::Action;
use ndra_watch::sample::{Life, Sample};
use ndra_watch::state::Screen;

#[test]
fn peek() {
    let lines = Sample::new().crowd(60, 400).lines();
    let mut m = recorded(&lines, (80, 24));
    println!("{}", text(&m));
    m.act(Action::Open);
    println!("{}", text(&m));
    m.act(Action::Open);
    println!("{}", text(&m));
    m.act(Action::Show(Screen::Health));
    println!("{}", text(&m));
    m.act(Action::Help);
    println!("{}", text(&m));
    let mut m = recorded(&lines, (120, 40));
    println!("{}", text(&m));
    m.act(Action::Open);
    println!("{}", text(&m));
    m.act(Action::Scrub(0.5));
    m.act(Action::Show(Screen::Flows));
    println!("{}", text(&m));
}
#[test]
fn peek2() {
    let mut m = recorded(&Sample::new().flow(3, 0, Life::Recreated).lines(), (120, 40));
    m.act(Action::Open);
    println!("{}", text(&m));
    let mut m = recorded(&Sample::new().crowd(60, 400).lines(), (200, 60));
    println!("{}", text(&m));
}
