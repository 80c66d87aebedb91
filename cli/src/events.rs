//! `ndra events`: the events of a source as lines, for scripts and for a quick look.

mod out;
mod read;
mod remarks;
mod text;
mod unseen;
mod until;

use std::borrow::Cow;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use ndra_watch::recording::{Oddities, Oddity};
use ndra_watch::source::{Chunk, Feed, HEARTBEAT, LineKind, Options, Position, Source, Update};
use tokio::time::Instant;

use crate::driver::stdin_closes;
use crate::duration;
use crate::failure::Failure;
use crate::problem::{Place, Problem};
use crate::report::Look;
use crate::signals;
use out::{Gone, Out};
use remarks::{Remarks, remark};
use text::Lines;
use until::{Claims, Until};

/// Print the events of a driver, of all drivers of a DaemonSet, or of a recording.
///
/// It ends when all that is there was printed; with --follow it waits for more, and finds
/// a source again that was lost.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// Where the events come from; without it, the driver on this machine.
    #[arg(value_name = "SOURCE", value_parser = source)]
    source: Option<Source>,
    /// How to print them.
    #[arg(short, long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    output: Format,
    /// Wait for more when all is printed.
    #[arg(short, long)]
    follow: bool,
    /// End when this has happened; may be repeated: the first that happens ends it.
    #[arg(long, value_name = "CONDITION", value_parser = str::parse::<Until>)]
    until: Vec<Until>,
    /// End with exit code 1 when this time has passed.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    timeout: Option<Duration>,
    /// Leave out the events up to this one, which you have; may be repeated for several
    /// drivers.
    #[arg(long, value_name = "INSTANCE:SEQ", value_parser = position)]
    after: Vec<Position>,
    /// Speak to a program at the far end of an exec: show that you live, and end with it.
    #[arg(long, hide = true)]
    attached: bool,
}

const HELP: &str = "\
Sources:
  unix:///PATH           the event socket of a driver (default: unix:///run/ndra/events.sock)
  FILE.jsonl             a recording, finished or growing; - reads standard input
  kind://NODE            the driver on a node that is a container of Docker or Podman
  pod://NAMESPACE/NAME   the driver in a pod, through kubectl
  ds://NAMESPACE/NAME    the drivers in all pods of a DaemonSet, merged by time
  After kind://…, pod://… and ds://… may stand /CONTAINER, the driver's container.

Conditions of --until are terms with `,` between them, and all are about one event:
  step=NAME              a step has ended; with phase=begin or phase=fail, that instead
  fail                   a step has failed; the exit code is then 1
  flow=attached          an interface is in its pod (step=cni-add)
  flow=done              a claim is unprepared, all is undone (step=unprepare)
  pod=[NAMESPACE/]NAME, claim=[NAMESPACE/]NAME, claim=UID, node=NAME
                         of this pod, claim or node only
  count=N                it has happened so many times
  Example: --until flow=done,pod=default/web --until fail

Exit codes: 0 a condition was met, or without one, all was printed; 1 the time was up, a
condition with `fail` was met, the source was lost or ended too early; 2 wrong usage or
bad input.";

/// How to print events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One line for people.
    Text,
    /// One JSON object a line, with `instance` and `node` where they are known.
    Json,
}

fn source(text: &str) -> Result<Source, String> {
    text.parse().map_err(|error| format!("{error}"))
}

fn position(text: &str) -> Result<Position, String> {
    text.parse().map_err(|error| format!("{error}"))
}

/// Why printing ended.
enum End {
    /// All is printed.
    Source,
    /// The condition with this number was met.
    Met(usize),
    /// `--timeout`.
    TimeUp,
    /// A signal, or the far end has gone.
    Asked,
    /// Nobody reads the output any more.
    Gone,
    /// The source cannot be read.
    Lost(String),
}

/// Prints what the command line asks for.
pub(crate) async fn run(args: Args) -> Result<ExitCode, Failure> {
    let asked = signals::end()?;
    let source = args.source.clone().unwrap_or_default();
    let options = Options {
        follow: args.follow,
        after: args.after.clone(),
        ..Options::default()
    };
    let text = (args.output == Format::Text).then(|| {
        let nodes = matches!(
            source,
            Source::DaemonSet { .. } | Source::File(_) | Source::Stdin
        );
        Lines::new(Look::of_locale(), nodes)
    });
    let out = Out::stdout(text.is_some())
        .map_err(|error| Failure::run(format!("cannot start a thread: {error}"), ""))?;
    let mut printer = Printer {
        out,
        text,
        until: args.until.clone(),
        claims: Claims::default(),
        terminal: std::io::stdout().is_terminal(),
        attached: args.attached,
        follow: args.follow,
        unreadable: 0,
        oddities: Oddities::default(),
        remarks: Remarks::default(),
        failed: None,
    };
    let mut feed = Feed::open(source.clone(), options);
    let far_end = async {
        match args.attached.then(stdin_closes) {
            Some(closed) => drop(closed.await),
            None => std::future::pending().await,
        }
    };
    let time_up = async {
        match args.timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    let end = tokio::select! {
        end = printer.print(&mut feed) => end,
        () = time_up => End::TimeUp,
        () = asked => End::Asked,
        () = far_end => End::Asked,
    };
    feed.stop().await;
    printer.end(end, &args, &source).await
}

struct Printer {
    out: Out,
    text: Option<Lines>,
    until: Vec<Until>,
    claims: Claims,
    /// Is somebody's terminal at the other end, which obeys what it is sent?
    terminal: bool,
    attached: bool,
    follow: bool,
    unreadable: u64,
    oddities: Oddities,
    remarks: Remarks,
    failed: Option<String>,
}

impl Printer {
    async fn print(&mut self, feed: &mut Feed) -> End {
        let mut beat = Instant::now() + HEARTBEAT;
        loop {
            let update = tokio::select! {
                update = feed.next() => update,
                () = tokio::time::sleep_until(beat), if self.attached => {
                    beat = Instant::now() + HEARTBEAT;
                    if self.out.write(b"\n".to_vec()).await.is_err() {
                        return End::Gone;
                    }
                    continue;
                }
            };
            let Some(update) = update else {
                return match self.failed.take() {
                    Some(reason) => End::Lost(reason),
                    None => End::Source,
                };
            };
            let passed = match update {
                Update::Events(chunk) => {
                    beat = Instant::now() + HEARTBEAT;
                    self.chunk(&chunk).await
                }
                Update::Connected { .. } if self.attached => {
                    self.out.write(b"\n".to_vec()).await.map(|()| None)
                }
                Update::Lost { reason, .. } if self.attached => return End::Lost(reason),
                Update::Lost {
                    reason, retry_in, ..
                } => {
                    remark(&format!(
                        "{reason}; tried again in {} s",
                        retry_in.as_secs_f32()
                    ));
                    Ok(None)
                }
                Update::Failed { reason, .. } => {
                    if let Some(earlier) = self.failed.replace(reason) {
                        remark(&earlier);
                    }
                    Ok(None)
                }
                Update::Garbage { count, sample, .. } => {
                    self.remarks.garbage(count, sample);
                    Ok(None)
                }
                // In one that grows, the line is under way.
                Update::Tail { broken: true, .. } if !self.follow => {
                    remark("the last line is cut, and was left out");
                    Ok(None)
                }
                Update::Tail { .. }
                | Update::Reading { .. }
                | Update::Connecting { .. }
                | Update::Connected { .. }
                | Update::Ended { .. } => Ok(None),
            };
            match passed {
                Ok(None) => {}
                Ok(Some(index)) => return End::Met(index),
                Err(Gone) => return End::Gone,
            }
        }
    }

    /// Prints a chunk, up to the event that meets a condition.
    async fn chunk(&mut self, chunk: &Chunk) -> Result<Option<usize>, Gone> {
        if chunk.dropped() > 0 && self.text.is_some() {
            self.remarks.lost(chunk.dropped(), chunk.node.as_deref());
        }
        if self.text.is_none() && self.until.is_empty() {
            let text = self.shown(chunk.text()).into_owned();
            return self.out.write(text).await.map(|()| None);
        }
        self.oddities.add(&chunk.batch().oddities);
        let node = chunk.node.as_deref();
        let mut bytes = Vec::new();
        let mut met = None;
        for line in chunk.lines() {
            if self.text.is_none() {
                bytes.extend_from_slice(&self.shown(line.json));
                bytes.push(b'\n');
            }
            if line.kind != LineKind::Event {
                continue;
            }
            let Some(event) = read::event(line.json) else {
                self.unreadable += 1;
                continue;
            };
            self.claims.learn(&event);
            if let Some(text) = &mut self.text {
                bytes.extend_from_slice(text.line(&event, node, &self.claims).as_bytes());
            }
            // Each is asked: those that count must not miss any.
            for (index, until) in self.until.iter_mut().enumerate() {
                if until.met(&event, node, &self.claims) {
                    met = met.or(Some(index));
                }
            }
            if met.is_some() {
                break;
            }
        }
        self.out.write(bytes).await.map(|()| met)
    }

    /// JSON as the reader gets it: a program as it is.
    fn shown<'a>(&self, json: &'a [u8]) -> Cow<'a, [u8]> {
        if self.terminal {
            unseen::escaped(json)
        } else {
            Cow::Borrowed(json)
        }
    }

    /// Says something on standard error.
    async fn end(mut self, end: End, args: &Args, source: &Source) -> Result<ExitCode, Failure> {
        self.remarks.end();
        let other = self.oddities.of(Oddity::Schema);
        if other > 0 && self.text.is_some() && !matches!(end, End::Gone) {
            let s = if other == 1 { " is" } else { "s are" };
            let sample = self.oddities.sample(Oddity::Schema).unwrap_or_default();
            remark(&format!(
                "{other} event{s} of another schema ({sample}): some of what they say may be left out"
            ));
        }
        if self.unreadable > 0 && !matches!(end, End::Gone) {
            let s = if self.unreadable == 1 { "" } else { "s" };
            remark(&format!(
                "{} event{s} could not be read: their steps or their form are not known here",
                self.unreadable
            ));
        }
        let wanted = || {
            let conditions: Vec<_> = args
                .until
                .iter()
                .map(|until| format!("`{until}`"))
                .collect();
            conditions.join(" or ")
        };
        let failed = match end {
            End::Gone | End::Asked => {
                // A reader that stalls is not waited for.
                return Ok(match args.until.is_empty() {
                    true => ExitCode::SUCCESS,
                    false => ExitCode::FAILURE,
                });
            }
            End::Source if args.until.is_empty() => None,
            End::Source => Some((
                format!("{source} ended before {}", wanted()),
                "with --follow it waits for more".to_owned(),
            )),
            End::Met(index) => match self.until.get(index) {
                Some(until) if until.is_failure() => {
                    Some((format!("a step failed, as in `{until}`"), String::new()))
                }
                _ => None,
            },
            End::TimeUp if args.until.is_empty() => Some(("the time was up".into(), String::new())),
            End::TimeUp => Some((
                format!("the time was up before {}", wanted()),
                "`ndra events --help` says what each condition means".into(),
            )),
            End::Lost(reason) if self.attached => {
                remark(&reason);
                return Ok(ExitCode::FAILURE);
            }
            End::Lost(reason) if matches!(source, Source::File(_)) => {
                let mend = "name a recording, as `ndra simulate --record FILE` writes it";
                let place = Place::file("ndra events");
                return Err(Problem::new(place, reason, mend).into());
            }
            End::Lost(reason) => Some((reason, String::new())),
        };
        self.out.finish().await.map_err(|error| {
            let reason = ndra_core::socket::io_text(&error);
            Failure::run(format!("cannot write the events: {reason}"), "")
        })?;
        match failed {
            Some((message, mend)) => Err(Failure::run(message, mend)),
            None => Ok(ExitCode::SUCCESS),
        }
    }
}
