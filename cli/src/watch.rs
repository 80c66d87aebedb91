//! `ndra watch`: the dashboard, live in a terminal, or one frame of it.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use crossterm::event::KeyEvent;
use ndra_watch::Settings;
use ndra_watch::frame;
use ndra_watch::input::parse_keys;
use ndra_watch::source::{Options, Source};
#[cfg(feature = "simulate")]
use ndra_watch::term::Simulation;
use ndra_watch::term::{Dashboard, Panic, Still, TermError};
use ndra_watch::view::{Colors, Theme};

use crate::duration;
use crate::failure::Failure;
use crate::problem::{Place, Problem};
use crate::report::Look;

/// Show every step of every claim as it happens, in the terminal.
///
/// Follows the events of a driver, of all drivers of a DaemonSet, or of a recording, and
/// goes back in time through what it has seen. `?` shows the keys, `q` quits.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// Where the events come from; without it, the driver on this machine. Several are
    /// merged by time.
    #[arg(value_name = "SOURCE", value_parser = source)]
    sources: Vec<Source>,
    /// Print one frame of this size, and end.
    #[arg(long, value_name = "WxH", value_parser = size)]
    frame: Option<(u16, u16)>,
    /// The frame shows the moment this long after the first event, not the last: 350ms,
    /// 1.5s, 0s for the first event.
    #[arg(long, value_name = "DURATION", value_parser = duration::moment, requires = "frame")]
    at: Option<Duration>,
    /// Press these keys before the frame is drawn: `jj<enter>`.
    #[arg(long, value_name = "KEYS", value_parser = keys, requires = "frame")]
    keys: Option<Keys>,
    /// Print the frame as an SVG picture.
    #[arg(long, requires = "frame")]
    svg: bool,
    /// Panic after the first frame, here or on another thread, to see what the terminal is
    /// left like.
    #[arg(long, hide = true, conflicts_with = "frame", value_parser = panic_place)]
    panic: Option<Panic>,
}

const HELP: &str = "\
Sources:
  unix:///PATH           the event socket of a driver (default: unix:///run/ndra/events.sock)
  FILE.jsonl             a recording, finished or growing; - reads standard input
  kind://NODE            the driver on a node that is a container of Docker or Podman
  pod://NAMESPACE/NAME   the driver in a pod, through kubectl
  ds://NAMESPACE/NAME    the drivers in all pods of a DaemonSet, merged by time
  After kind://…, pod://… and ds://… may stand /CONTAINER, the driver's container.

Colours follow NO_COLOR, COLORTERM and TERM; without a UTF-8 locale it draws in ASCII.
For scripts there is `ndra events`, the same events as lines.

Exit codes: 0 it was quit, or the frame is printed; 1 the source was lost, or the terminal
cannot be used; 2 wrong usage or bad input.";

/// The largest frame.
const LARGEST: (u16, u16) = (500, 200);

/// Keys to press, in order.
#[derive(Clone, Debug)]
struct Keys(Vec<KeyEvent>);

fn source(text: &str) -> Result<Source, String> {
    text.parse().map_err(|error| format!("{error}"))
}

fn keys(text: &str) -> Result<Keys, String> {
    parse_keys(text)
        .map(Keys)
        .map_err(|error| error.to_string())
}

fn size(text: &str) -> Result<(u16, u16), String> {
    let read = |text: &str, most: u16| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| digits);
        number.filter(|number| (1..=most).contains(number))
    };
    text.split_once('x')
        .and_then(|(columns, rows)| Some((read(columns, LARGEST.0)?, read(rows, LARGEST.1)?)))
        .ok_or_else(|| {
            format!(
                "write columns, x and rows, such as 120x40; at most {}x{}",
                LARGEST.0, LARGEST.1
            )
        })
}

/// Shows what the command line asks for.
pub(crate) async fn run(mut args: Args) -> Result<ExitCode, Failure> {
    if args.sources.is_empty() {
        args.sources.push(Source::default());
    }
    match args.frame {
        Some(size) => print(args, size).await,
        None => show(args).await,
    }
}

/// Prints one frame.
async fn print(args: Args, size: (u16, u16)) -> Result<ExitCode, Failure> {
    let svg = args.svg;
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colors = if no_color { Colors::None } else { Colors::True };
    let still = Still {
        sources: args.sources,
        options: Options::default(),
        settings: Settings {
            size,
            ..Settings::default()
        },
        // A picture does not depend on a locale.
        theme: Theme::new(colors, !svg && Look::of_locale() != Look::UNICODE),
        at: args.at,
        keys: args.keys.map(|keys| keys.0).unwrap_or_default(),
    };
    let buf = still.draw().await.map_err(|error| {
        if error.recording {
            no_recording(error.to_string())
        } else {
            Failure::run(error.to_string(), "")
        }
    })?;
    let text = if svg {
        frame::to_svg(&buf)
    } else {
        frame::to_text(&buf)
    };
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // A reader that has gone away wants no more.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => {
            let reason = ndra_core::socket::io_text(&error);
            Err(Failure::run(
                format!("cannot write the frame: {reason}"),
                "",
            ))
        }
        Ok(()) => Ok(ExitCode::SUCCESS),
    }
}

/// Shows the dashboard until it is quit.
async fn show(args: Args) -> Result<ExitCode, Failure> {
    // Bad input is told before the terminal is asked for anything.
    for source in &args.sources {
        if let Source::File(path) = source
            && let Err(error) = std::fs::metadata(path)
        {
            let reason = ndra_core::socket::io_text(&error);
            return Err(no_recording(format!("cannot read {source}: {reason}")));
        }
    }
    check_terminal()?;
    let dashboard = Dashboard {
        sources: args.sources,
        options: Options::default(),
        settings: Settings::default(),
        theme: Theme::from_env(|name| std::env::var(name).ok()),
        simulation: None,
        panics: args.panic,
    };
    dashboard.run().await.map_err(|error| ended(&error))?;
    Ok(ExitCode::SUCCESS)
}

/// The dashboard of a simulation that runs in this program.
#[cfg(feature = "simulate")]
pub(crate) fn over(simulation: Simulation) -> Dashboard {
    Dashboard {
        sources: Vec::new(),
        options: Options::default(),
        settings: Settings::default(),
        theme: Theme::from_env(|name| std::env::var(name).ok()),
        simulation: Some(simulation),
        panics: None,
    }
}

fn panic_place(word: &str) -> Result<Panic, &'static str> {
    match word {
        "here" => Ok(Panic::Here),
        "elsewhere" => Ok(Panic::Elsewhere),
        _ => Err("write here or elsewhere"),
    }
}

/// Is there a terminal to draw on?
pub(crate) fn check_terminal() -> Result<(), Failure> {
    if io::stdout().is_terminal() {
        Ok(())
    } else {
        Err(no_terminal(&TermError::NotATerminal))
    }
}

/// Why a dashboard ended.
pub(crate) fn ended(error: &TermError) -> Failure {
    match error {
        TermError::Panicked => Failure::run(error.to_string(), ""),
        error => no_terminal(error),
    }
}

fn no_terminal(error: &TermError) -> Failure {
    let mend = "run it in a terminal; `ndra watch --frame 120x40` prints one frame, and \
                `ndra events` the events as lines";
    Failure::run(error.to_string(), mend)
}

fn no_recording(reason: String) -> Failure {
    let mend = "name a recording, as `ndra simulate --record FILE` writes it";
    Problem::new(Place::file("ndra watch"), reason, mend).into()
}
