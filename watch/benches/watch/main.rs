//! How fast the dashboard is: events a second, a frame, a large recording. Each is
//! measured beside a baseline in the same run, in turns, so that the ratios hold on any
//! machine; the limits are those of a machine that does nothing else.
//!
//! `scripts/bench-watch` runs it. With `--check 4` it fails when a limit is missed by more than
//! so many times. `--write FILE EVENTS BYTES` and `--stream RATE` make what the script
//! measures the whole program with.

mod write;

use std::fs::File;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use ndra_watch::recording::{Batch, Lines};
use ndra_watch::sample::Sample;
use ndra_watch::source::{Feed, Options, Source, Update};
use ndra_watch::state::{Connection, Screen};
use ndra_watch::view::{self, Colors, Theme};
use ndra_watch::{Action, Model, Settings};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

type Failed = Box<dyn std::error::Error>;

/// What was measured against its limit: is it kept, and is it missed by too much?
struct Verdicts {
    slack: f64,
    kept: Vec<bool>,
    missed: Vec<String>,
}

impl Verdicts {
    fn add(&mut self, name: &str, value: f64, limit: f64, unit: &str, at_most: bool) {
        let times = if at_most {
            value / limit
        } else {
            limit / value
        };
        let kept = times <= 1.0;
        if times > self.slack {
            self.missed.push(name.into());
        }
        let word = if at_most { "at most" } else { "at least" };
        let mark = if kept { "ok" } else { "MISSED" };
        println!("  {mark:<7}{name}: {value:.2} {unit} ({word} {limit} {unit})");
        self.kept.push(kept);
    }
}

fn main() -> Result<ExitCode, Failed> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    // Cargo adds `--bench`.
    let words: Vec<&str> = words
        .into_iter()
        .filter(|word| *word != "--bench")
        .collect();
    let slack = match words.as_slice() {
        [] => f64::INFINITY,
        ["--check", slack] => slack.parse()?,
        ["--write", path, events, bytes] => {
            let made = write::recording(File::create(path)?, events.parse()?, bytes.parse()?)?;
            println!("{} events, {} bytes", made.0, made.1);
            return Ok(ExitCode::SUCCESS);
        }
        ["--stream", rate] => {
            write::stream(std::io::stdout().lock(), rate.parse()?)?;
            return Ok(ExitCode::SUCCESS);
        }
        other => return Err(format!("what does {other:?} mean?").into()),
    };
    let mut verdicts = Verdicts {
        slack,
        kept: Vec::new(),
        missed: Vec::new(),
    };
    state(&mut verdicts);
    frame(&mut verdicts);
    recording(&mut verdicts)?;
    let kept = verdicts.kept.iter().filter(|kept| **kept).count();
    println!("\n{kept} of {} limits kept", verdicts.kept.len());
    if verdicts.missed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "missed by more than {slack} times: {}",
        verdicts.missed.join(", ")
    );
    Ok(ExitCode::FAILURE)
}

/// The best of some turns: what the machine can do when nothing disturbs it.
fn best(turns: usize, mut run: impl FnMut() -> Duration) -> Duration {
    (0..turns).map(|_| run()).min().unwrap_or_default()
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

fn state(verdicts: &mut Verdicts) {
    let lines = Sample::new().crowd(10_000, 20).lines();
    let pieces: Vec<&[u8]> = lines.chunks(256 * 1024).collect();
    let mut parser = Lines::new();
    let batches: Vec<Batch> = pieces.iter().map(|piece| parser.feed(piece)).collect();
    let events: usize = batches.iter().map(|batch| batch.entries.len()).sum();
    println!(
        "state: {events} events, {} MB of lines",
        lines.len() / 1_000_000
    );
    let ingest = || {
        let mut model = Model::new(Settings::default());
        let source = model.add_source("bench", "");
        let begin = Instant::now();
        for batch in &batches {
            model.ingest(source, batch);
        }
        model.tick(0);
        let took = begin.elapsed();
        black_box(model.rows().all);
        took
    };
    let parse = || {
        let begin = Instant::now();
        let mut parser = Lines::new();
        for piece in &pieces {
            black_box(parser.feed(piece).entries.len());
        }
        begin.elapsed()
    };
    let baseline = || {
        let begin = Instant::now();
        for line in lines
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            black_box(serde_json::from_slice::<serde_json::Value>(line).is_ok());
        }
        begin.elapsed()
    };
    let (mut a, mut b, mut c) = (Duration::MAX, Duration::MAX, Duration::MAX);
    for _ in 0..5 {
        a = a.min(ingest());
        b = b.min(parse());
        c = c.min(baseline());
    }
    #[allow(clippy::cast_precision_loss)]
    let rate = |time: Duration| events as f64 / seconds(time);
    println!(
        "  serde_json::Value of the same lines: {:.0} a second",
        rate(c)
    );
    println!(
        "  lines parsed: {:.0} a second, {:.1} times the baseline",
        rate(b),
        seconds(c) / seconds(b)
    );
    println!(
        "  events taken in: {:.0} a second, {:.1} times the baseline",
        rate(a),
        seconds(c) / seconds(a)
    );
    println!("  both on one core: {:.0} a second", rate(a + b));
    verdicts.add(
        "events a second into the state",
        rate(a),
        500_000.0,
        "/s",
        false,
    );
}

fn frame(verdicts: &mut Verdicts) {
    let lines = Sample::new().crowd(500, 100).lines();
    let mut model = Model::new(Settings {
        size: (200, 60),
        ..Settings::default()
    });
    let source = model.add_source("bench", "");
    model.ingest(source, &Lines::new().feed(&lines));
    model.tick(0);
    let theme = Theme::new(Colors::True, false);
    let area = Rect::new(0, 0, 200, 60);
    println!("frame: 200 x 60, 500 flows");
    let mut buf = Buffer::empty(area);
    let baseline = best(200, || {
        let begin = Instant::now();
        buf.reset();
        for y in 0..area.height {
            buf.set_string(0, y, "x".repeat(200), ratatui::style::Style::new());
        }
        black_box(&buf);
        begin.elapsed()
    });
    println!(
        "  a full buffer of plain text: {:.3} ms",
        seconds(baseline) * 1e3
    );
    for screen in Screen::ALL {
        model.act(Action::Show(screen));
        let time = best(200, || {
            let begin = Instant::now();
            buf.reset();
            view::draw(&model, &theme, &mut buf);
            black_box(&buf);
            begin.elapsed()
        });
        let name = format!("{} screen", screen.name());
        println!(
            "  {name}: {:.1} times the baseline",
            seconds(time) / seconds(baseline)
        );
        verdicts.add(&name, seconds(time) * 1e3, 2.0, "ms", true);
    }
    model.act(Action::Show(Screen::Flows));
    let time = best(200, || {
        let begin = Instant::now();
        model.tick(0);
        model.act(Action::Sort);
        begin.elapsed()
    });
    println!("  rows sorted anew: {:.3} ms", seconds(time) * 1e3);
}

/// A recording of a million events, opened as the dashboard opens it.
fn recording(verdicts: &mut Verdicts) -> Result<(), Failed> {
    let path = std::env::temp_dir().join(format!("ndra-bench-{}.jsonl", std::process::id()));
    let result = with_recording(&path, verdicts);
    std::fs::remove_file(&path)?;
    result
}

fn with_recording(path: &std::path::Path, verdicts: &mut Verdicts) -> Result<(), Failed> {
    let (events, bytes) = write::recording(File::create(path)?, 1_000_000, 0)?;
    println!("recording: {events} events, {} MB", bytes / 1_000_000);
    let begin = Instant::now();
    let read = std::fs::read(path)?.len();
    println!(
        "  read alone: {:.2} s for {} MB",
        seconds(begin.elapsed()),
        read / 1_000_000
    );
    let theme = Theme::new(Colors::True, false);
    let mut buf = Buffer::empty(Rect::new(0, 0, 200, 60));
    let begin = Instant::now();
    let mut model = Model::new(Settings {
        size: (200, 60),
        ..Settings::default()
    });
    let source = model.add_source("bench", "");
    // Lines are parsed on the runtime's thread, and taken in on this one.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let mut feed =
        runtime.block_on(async { Feed::open(Source::File(path.to_owned()), Options::default()) });
    let (mut first, mut slowest, mut drawn) = (None, Duration::ZERO, begin);
    while let Some(update) = runtime.block_on(feed.next()) {
        let took = Instant::now();
        match update {
            Update::Events(chunk) => model.ingest(source, chunk.batch()),
            Update::Reading { read, of, .. } => {
                if let Some(source) = model.source_mut(source) {
                    source.connection = Connection::Loading { read, of: Some(of) };
                }
            }
            Update::Ended { .. } => break,
            Update::Failed { reason, .. } | Update::Lost { reason, .. } => {
                return Err(reason.into());
            }
            _ => {}
        }
        if first.is_none() || drawn.elapsed() > Duration::from_millis(100) {
            model.tick(0);
            buf.reset();
            view::draw(&model, &theme, &mut buf);
            first.get_or_insert_with(|| begin.elapsed());
            drawn = Instant::now();
        }
        slowest = slowest.max(took.elapsed());
    }
    model.tick(0);
    let complete = begin.elapsed();
    let (used, limit) = model.memory();
    println!(
        "  memory: {} of {} MB, {} events given up",
        used >> 20,
        limit >> 20,
        model.forgotten()
    );
    verdicts.add(
        "first frame",
        seconds(first.unwrap_or(complete)) * 1e3,
        200.0,
        "ms",
        true,
    );
    verdicts.add("complete", seconds(complete), 3.0, "s", true);
    verdicts.add(
        "longest pause between keys",
        seconds(slowest) * 1e3,
        50.0,
        "ms",
        true,
    );
    let mut keys = |name: &str, action: Action| {
        let begin = Instant::now();
        model.act(action);
        buf.reset();
        view::draw(&model, &theme, &mut buf);
        let time = seconds(begin.elapsed()) * 1e3;
        verdicts.add(name, time, 50.0, "ms", true);
    };
    keys("scrub to the middle", Action::Scrub(0.5));
    keys("one event back", Action::Step(-1));
    keys("to the first event", Action::Begin);
    keys("to the newest event", Action::Live);
    keys("filter by pod", Action::Filter("pod:web-77".into()));
    keys("filter by free text", Action::Filter("addresses".into()));
    keys("no filter", Action::Filter(String::new()));
    keys("another order", Action::Sort);
    Ok(())
}
