//! The terminal's side: sources into the model, keys into actions, frames onto the screen.
//!
//! Everything that a dashboard waits for is waited for in one place, [`Dashboard::run`].

mod clipboard;
mod intake;
mod screen;
mod still;

use std::io;
use std::time::{Duration, Instant};

use crossterm::event::{Event, EventStream};
use futures::{Stream, StreamExt};
use jiff::Timestamp;
use ndra_core::event::{DriverState, Event as CoreEvent, Step};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::input;
use crate::recording::Batch;
use crate::source::{Options, Source};
use crate::state::{Action, Connection, Control, Effect, Mode, Model, Settings, SourceId, Stage};
use crate::view::{self, Theme};
use intake::Intake;
use screen::Screen;

pub use still::{Still, StillError};

/// The shortest time between two frames.
const FRAME: Duration = Duration::from_millis(33);
/// Between two frames while the sign of a running step turns.
const TURN: Duration = Duration::from_millis(125);
/// Between two frames while only ages grow.
const AGE: Duration = Duration::from_secs(1);

/// Why the dashboard cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum TermError {
    /// There is nothing to draw on.
    #[error("standard output is not a terminal")]
    NotATerminal,
    /// It takes no frames, or has no keys.
    #[error("cannot use the terminal: {}", ndra_core::socket::io_text(.0))]
    Terminal(#[source] io::Error),
    /// Signals cannot be listened for.
    #[error("cannot listen for signals: {}", ndra_core::socket::io_text(.0))]
    Signals(#[source] io::Error),
    /// A part of the program has panicked, and its words are on the terminal.
    #[error("a part of ndra watch has failed")]
    Panicked,
}

/// What is watched, and how.
#[derive(Debug)]
pub struct Dashboard {
    /// Where events come from. They are merged by time.
    pub sources: Vec<Source>,
    /// How each of them is read; it is followed.
    pub options: Options,
    /// What the model may use. The size is the terminal's.
    pub settings: Settings,
    /// Colours and signs.
    pub theme: Theme,
    /// A simulation in this program, beside or instead of the sources.
    pub simulation: Option<Simulation>,
    /// Panic after the first frame: a test of what the terminal is left like.
    pub panics: Option<Panic>,
}

/// Where a panic is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Panic {
    /// In the dashboard's loop.
    Here,
    /// On a thread that nobody waits for.
    Elsewhere,
}

/// A running simulation: what it does, and what it can be asked for. The keys for that
/// work when there is one.
#[derive(Debug)]
pub struct Simulation {
    /// What it says, in order of time. When its sender is dropped, it has ended.
    pub told: mpsc::UnboundedReceiver<Told>,
    /// Where keys' wishes go.
    pub asked: mpsc::UnboundedSender<Asked>,
}

/// What a simulation says.
#[derive(Debug)]
pub enum Told {
    /// Something happened.
    Event(Box<CoreEvent>),
    /// How the driver is doing; none, when it has gone.
    Driver(Option<Box<DriverState>>),
    /// A remark for the status line.
    Remark(String),
}

/// What a person asks a simulation for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// For what.
    pub control: Control,
    /// The selected flow's pod, `namespace/name`.
    pub pod: Option<String>,
    /// The selected step.
    pub step: Option<Step>,
}

/// Why the loop takes a turn.
enum Turn {
    Told(Option<Told>),
    Key(Option<io::Result<Event>>),
    Draw,
    Update(intake::News),
    End,
}

impl Dashboard {
    /// Shows the dashboard until its user quits, the terminal goes away, or SIGTERM,
    /// SIGINT or SIGHUP comes. The terminal is then as it was before, after a panic too.
    pub async fn run(self) -> Result<(), TermError> {
        let mut signals = Signals::listen().map_err(TermError::Signals)?;
        let mut screen = Screen::enter()?;
        let ended = self.turns(&mut screen, &mut signals).await;
        screen.leave();
        match ended {
            // The terminal is gone, and with it everybody who could be told.
            Err(TermError::Terminal(error)) if gone(&error) => Ok(()),
            ended => ended,
        }
    }

    async fn turns(self, screen: &mut Screen, signals: &mut Signals) -> Result<(), TermError> {
        let size = screen.size().map_err(TermError::Terminal)?;
        let mut model = Model::new(Settings {
            size,
            controls: self.simulation.is_some(),
            ..self.settings
        });
        let (mut told, asked) = match self.simulation {
            Some(simulation) => (Some(simulation.told), Some(simulation.asked)),
            None => (None, None),
        };
        let simulated = told.is_some().then(|| model.add_source("simulation", ""));
        connect(&mut model, simulated, Connection::Live);
        let options = Options {
            follow: true,
            ..self.options
        };
        let mut intake = Intake::open(&mut model, self.sources, &options);
        let mut keys = EventStream::new();
        let mut drawn: Option<Instant> = None;
        let mut changed = true;
        loop {
            let wait = if changed { Some(FRAME) } else { period(&model) };
            let due = wait.map(|wait| drawn.map_or_else(Instant::now, |at| at + wait));
            let turn = tokio::select! {
                // Keys first: they are answered however much comes.
                biased;
                () = screen::left() => return Err(TermError::Panicked),
                () = signals.any() => Turn::End,
                key = keys.next() => Turn::Key(key),
                () = until(due) => Turn::Draw,
                said = next(&mut told) => Turn::Told(said),
                news = intake.next() => Turn::Update(news),
            };
            match turn {
                Turn::End | Turn::Key(None) => return Ok(()),
                Turn::Key(Some(Err(error))) => return Err(TermError::Terminal(error)),
                Turn::Key(Some(Ok(event))) => {
                    let Some(action) = action(&mut model, event, &mut changed) else {
                        continue;
                    };
                    model.tick(now());
                    changed = true;
                    match model.act(action) {
                        Some(Effect::Quit) => return Ok(()),
                        Some(Effect::Redraw) => screen.clear().map_err(TermError::Terminal)?,
                        Some(Effect::Copy(text)) => screen
                            .write(&clipboard::copy(&text))
                            .map_err(TermError::Terminal)?,
                        Some(Effect::Control {
                            control, pod, step, ..
                        }) => {
                            if let Some(asked) = &asked {
                                // One that has ended says so in the status line.
                                let _ = asked.send(Asked { control, pod, step });
                            }
                        }
                        None => {}
                    }
                }
                Turn::Update(news) => {
                    intake.take(&mut model, news, now());
                    changed = true;
                }
                Turn::Told(said) => {
                    changed = true;
                    match (said, simulated) {
                        (Some(Told::Event(event)), Some(id)) => {
                            model.ingest(id, &Batch::of(&event));
                        }
                        (Some(Told::Remark(text)), _) => model.notice(text),
                        (Some(Told::Driver(state)), Some(id)) => {
                            let source = model.source_mut(id);
                            match (source, state) {
                                (Some(source), Some(state)) => source.learn(&state),
                                (Some(source), None) => source.driver = None,
                                (None, _) => {}
                            }
                        }
                        (Some(Told::Event(_) | Told::Driver(_)), None) => {}
                        (None, id) => {
                            told = None;
                            connect(&mut model, id, Connection::Ended);
                        }
                    }
                }
                Turn::Draw => {
                    model.tick(now());
                    screen
                        .draw(|buf| view::draw(&model, &self.theme, buf))
                        .map_err(TermError::Terminal)?;
                    changed = false;
                    drawn = Some(Instant::now());
                    match self.panics {
                        Some(Panic::Here) => panic!("asked to panic after the first frame"),
                        Some(Panic::Elsewhere) => {
                            std::thread::spawn(|| panic!("asked to panic on another thread"));
                        }
                        None => {}
                    }
                }
            }
        }
    }
}

/// What a terminal's event asks for. A new size takes effect at once.
fn action(model: &mut Model, event: Event, changed: &mut bool) -> Option<Action> {
    match event {
        Event::Key(key) => input::key(model, key),
        Event::Mouse(mouse) => input::mouse(model, mouse),
        Event::Paste(text) => Some(Action::Paste(text)),
        Event::Resize(columns, rows) => {
            model.resize(columns, rows);
            *changed = true;
            None
        }
        Event::FocusGained | Event::FocusLost => None,
    }
}

/// How long a frame holds when nothing comes; for ever, when nothing moves by itself.
fn period(model: &Model) -> Option<Duration> {
    match model.mode() {
        Mode::Replaying => Some(FRAME),
        Mode::Live if model.running() && model.rows().at(Stage::Moving) > 0 => Some(TURN),
        Mode::Live if model.running() => Some(AGE),
        Mode::Live | Mode::Paused => {
            let counts_down =
                |connection: &Connection| matches!(connection, Connection::Lost { .. });
            let lost = model
                .sources()
                .any(|(_, source)| counts_down(&source.connection));
            lost.then_some(AGE)
        }
    }
}

fn connect(model: &mut Model, id: Option<SourceId>, connection: Connection) {
    if let Some(source) = id.and_then(|id| model.source_mut(id)) {
        source.connection = connection;
    }
}

/// What the simulation says next; waits for ever when there is none.
async fn next(told: &mut Option<mpsc::UnboundedReceiver<Told>>) -> Option<Told> {
    match told {
        Some(told) => told.recv().await,
        None => std::future::pending().await,
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// Nanoseconds since 1970.
fn now() -> i64 {
    i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

/// Is nobody left at the terminal?
fn gone(error: &io::Error) -> bool {
    // A terminal that was closed answers EIO, for which there is no kind.
    let hung_up = rustix::io::Errno::IO.raw_os_error();
    error.kind() == io::ErrorKind::BrokenPipe || error.raw_os_error() == Some(hung_up)
}

/// The signals that end the dashboard.
struct Signals([Signal; 3]);

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self([
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    async fn any(&mut self) {
        let [term, int, hup] = &mut self.0;
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
            _ = hup.recv() => {}
        }
    }
}

/// A stream that can be kept among others.
type Boxed<T> = std::pin::Pin<Box<dyn Stream<Item = T> + Send>>;
