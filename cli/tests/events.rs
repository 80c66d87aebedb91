//! `ndra events` as scripts use it: recordings, a live driver, and one behind programs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use ndra_core::event::{Event, EventService, Recorder, Step, Subject};
use ndra_core::socket;
use tempfile::TempDir;

fn dir() -> TempDir {
    tempfile::Builder::new()
        .prefix("nd")
        .tempdir_in("/tmp")
        .unwrap()
}

fn ndra(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ndra"));
    command
        .arg("events")
        .args(args)
        .env("LC_ALL", "C.UTF-8")
        .env_remove("NO_COLOR")
        .stdin(Stdio::null());
    command
}

/// Exit code, standard output and standard error, without what differs from run to run.
fn told(output: &Output, dir: &Path) -> String {
    let plain = |bytes: &[u8]| {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        text.replace(dir.to_str().unwrap(), "DIR")
    };
    format!(
        "exit {}\n{}{}",
        output.status.code().unwrap(),
        plain(&output.stdout),
        plain(&output.stderr)
    )
}

fn run(args: &[&str], dir: &Path) -> String {
    told(&ndra(args).output().unwrap(), dir)
}

/// A whole life of a pod, with one failure, and a driver's ring that holds it.
fn recorder() -> Recorder {
    let recorder = Recorder::new(64);
    let web = || Subject::claim("default", "web-net", "u1").pod("default", "web");
    recorder.begin(Step::Prepare, web()).end();
    recorder
        .begin(Step::CniAdd, Subject::claim("", "", "u1"))
        .fail("no address is left in 10.0.0.0/30");
    recorder.begin(Step::CniAdd, web()).end();
    recorder.begin(Step::Unprepare, web()).end();
    recorder
}

/// The recorder's events as lines, at times that do not change.
fn recording(dir: &Path) -> PathBuf {
    let mut reader = recorder().subscribe(0);
    let mut text = String::new();
    while let Some((event, _)) = reader.ready() {
        let mut event: Event = (*event).clone();
        let second = i64::try_from(event.seq).unwrap();
        event.time = jiff::Timestamp::new(1_795_493_340 + second, 0).unwrap();
        event.elapsed_us = event.seq;
        event.duration_us = event.duration_us.map(|_| 1_500);
        text.push_str(&serde_json::to_string(&event).unwrap());
        text.push('\n');
    }
    let path = dir.join("run.jsonl");
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_recording_is_shown_as_text_and_passed_on_as_json() {
    let dir = dir();
    let path = recording(dir.path());
    let file = path.to_str().unwrap();
    insta::assert_snapshot!(run(&[file], dir.path()), @"
    exit 0
    04:09:01.000000   1 prepare           begin            default/web  web-net
    04:09:02.000000   1 prepare           end      1.5 ms  default/web  web-net
    04:09:03.000000   8 cni-add           begin            default/web  web-net
    04:09:04.000000   8 cni-add           fail     1.5 ms  default/web  web-net   no address is left in 10.0.0.0/30
    04:09:05.000000   8 cni-add           begin            default/web  web-net
    04:09:06.000000   8 cni-add           end      1.5 ms  default/web  web-net
    04:09:07.000000  10 unprepare         begin            default/web  web-net
    04:09:08.000000  10 unprepare         end      1.5 ms  default/web  web-net
    ");
    let json = ndra(&[file, "-o", "json"]).output().unwrap();
    assert_eq!(json.stdout, fs::read(&path).unwrap());
    let mut piped = ndra(&["-", "-o", "json", "--after", ":6"]);
    let piped = piped
        .stdin(fs::File::open(&path).unwrap())
        .output()
        .unwrap();
    let tail: Vec<_> = json
        .stdout
        .split_inclusive(|b| *b == b'\n')
        .skip(6)
        .collect();
    assert_eq!(piped.stdout, tail.concat());
}

#[test]
fn conditions_decide_the_end_and_the_exit_code() {
    let dir = dir();
    let path = recording(dir.path());
    let file = path.to_str().unwrap();
    let last = |args: &[&str]| {
        let output = ndra(&[&[file, "-o", "json"], args].concat())
            .output()
            .unwrap();
        let lines = output.stdout.iter().filter(|b| **b == b'\n').count();
        let stderr = String::from_utf8(output.stderr).unwrap();
        format!(
            "exit {} after {lines} lines: {stderr}",
            output.status.code().unwrap()
        )
        .replace(dir.path().to_str().unwrap(), "DIR")
    };
    let seen = [
        last(&["--until", "flow=attached"]),
        last(&["--follow", "--until", "flow=done,pod=web"]),
        last(&["--until", "flow=done", "--until", "fail"]),
        last(&["--until", "step=hook"]),
        last(&["--follow", "--timeout", "100ms", "--until", "step=hook"]),
    ];
    insta::assert_snapshot!(seen.join("\n"), @"
    exit 0 after 6 lines: 
    exit 0 after 8 lines: 
    exit 1 after 4 lines:   × a step failed, as in `fail`

    exit 1 after 8 lines:   × DIR/run.jsonl ended before `step=hook`
      help: with --follow it waits for more

    exit 1 after 8 lines:   × the time was up before `step=hook`
      help: `ndra events --help` says what each condition means
    ");
}

#[test]
fn bad_input_is_exit_code_2_and_says_what_is_wrong() {
    let dir = dir();
    fs::write(dir.path().join("bad.jsonl"), "oops\n\u{1b}[2J\n{\"seq\":1,").unwrap();
    let bad = dir.path().join("bad.jsonl");
    let missing = dir.path().join("missing.jsonl");
    let socket = format!("unix://{}/none.sock", dir.path().display());
    let seen = [
        run(&["http://localhost"], dir.path()),
        run(&["kind://--privileged"], dir.path()),
        run(&["-o", "json", "--until", "flow=over"], dir.path()),
        run(&["--after", "7"], dir.path()),
        run(&["--timeout", "soon"], dir.path()),
        run(&[missing.to_str().unwrap()], dir.path()),
        run(&[bad.to_str().unwrap()], dir.path()),
        run(&[&socket], dir.path()),
    ];
    insta::assert_snapshot!(seen.join("\n"), @r#"
    exit 2
    error: invalid value 'http://localhost' for '[SOURCE]': "http://localhost" is no source of events; write unix:///PATH, FILE.jsonl, - for standard input, kind://NODE, pod://NAMESPACE/NAME or ds://NAMESPACE/NAME

    For more information, try '--help'.

    exit 2
    error: invalid value 'kind://--privileged' for '[SOURCE]': "--privileged" in "kind://--privileged" is no name of a node: it may have lower-case letters, digits, `-` and `.`, and begins and ends with a letter or digit

    For more information, try '--help'.

    exit 2
    error: invalid value 'flow=over' for '--until <CONDITION>': a flow can be `done` or `attached`

    For more information, try '--help'.

    exit 2
    error: invalid value '7' for '--after <INSTANCE:SEQ>': "7" is no place in a stream; write INSTANCE:SEQ with the `instance` and the `seq` of the last event you have

    For more information, try '--help'.

    exit 2
    error: invalid value 'soon' for '--timeout <DURATION>': write a whole number and ms, s, m or h: 500ms, 25s, 2m

    For more information, try '--help'.

    exit 2
      × ndra events: cannot read DIR/missing.jsonl: No such file or
      │ directory
      help: name a recording, as `ndra simulate --record FILE` writes it

    exit 0
    ndra events: 2 lines are no event:  [2J
    ndra events: the last line is cut, and was left out

    exit 1
      × cannot reach DIR/none.sock: No such file or directory (usually
      │ the ndra driver listens there; is it running?)
    "#);
}

#[test]
fn events_of_another_time_are_passed_over_with_a_word() {
    let dir = dir();
    let path = recording(dir.path());
    let text = fs::read_to_string(&path).unwrap();
    let text = text.replace("\"step\":\"unprepare\"", "\"step\":\"levitate\"");
    fs::write(&path, &text).unwrap();
    let file = path.to_str().unwrap();
    let output = ndra(&[file]).output().unwrap();
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "ndra events: 2 events could not be read: their steps or their form are not known here\n"
    );
    let json = ndra(&[file, "-o", "json"]).output().unwrap();
    assert_eq!(String::from_utf8(json.stdout).unwrap(), text);
    let text = text.replace("levitate", "unprepare");
    fs::write(&path, text.replacen("\"schema\":1", "\"schema\":7", 3)).unwrap();
    let output = ndra(&[file]).output().unwrap();
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "ndra events: 3 events are of another schema (schema 7): some of what they say may be left out\n"
    );
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let dir = dir();
    let path = recording(dir.path());
    let text = fs::read_to_string(&path).unwrap().repeat(2_000);
    fs::write(&path, text).unwrap();
    for format in ["json", "text"] {
        let mut child = ndra(&[path.to_str().unwrap(), "-o", format])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut first).unwrap();
        assert!(first.contains("prepare"), "{first}");
        drop(stdout);
        let output = child.wait_with_output().unwrap();
        assert_eq!(told(&output, dir.path()), "exit 0\n");
    }
}

/// Serves `recorder` until it is dropped.
struct Driver {
    socket: PathBuf,
    _runtime: tokio::runtime::Runtime,
}

fn serve(recorder: Recorder, dir: &Path) -> Driver {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let path = dir.join("e.sock");
    let guard = runtime.enter();
    let incoming = socket::bind(&path).unwrap().incoming();
    drop(guard);
    runtime.spawn(
        tonic::transport::Server::builder()
            .add_service(EventService::server(recorder, "life-1"))
            .serve_with_incoming(incoming),
    );
    Driver {
        socket: path,
        _runtime: runtime,
    }
}

#[test]
fn a_live_driver_is_followed_and_resumed() {
    let dir = dir();
    let recorder = recorder();
    let driver = serve(recorder.clone(), dir.path());
    let source = format!("unix://{}", driver.socket.display());
    let output = ndra(&[&source, "-o", "json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let lines = String::from_utf8(output.stdout).unwrap();
    assert_eq!(lines.lines().count(), 8);
    assert!(
        lines
            .lines()
            .all(|l| l.ends_with(",\"instance\":\"life-1\"}"))
    );
    let mut child = ndra(&[&source, "-o", "json", "--follow", "--after", "life-1:8"])
        .args(["--until", "step=cdi-remove"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    recorder.begin(Step::CdiRemove, Subject::default()).end();
    let mut text = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert!(child.wait().unwrap().success());
    let seqs: Vec<_> = text
        .lines()
        .map(|l| l.contains("\"seq\":9") || l.contains("\"seq\":10"))
        .collect();
    assert_eq!(seqs, [true, true]);
}

#[test]
fn an_attached_reader_shows_that_it_lives_and_ends_with_its_caller() {
    let dir = dir();
    let recorder = Recorder::new(8);
    let driver = serve(recorder.clone(), dir.path());
    let source = format!("unix://{}", driver.socket.display());
    let start = || {
        ndra(&[&source, "-o", "json", "--follow", "--attached"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let mut child = start();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    // It is connected before there is any event.
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "\n");
    recorder.begin(Step::Hook, Subject::default()).end();
    stdout.read_line(&mut line).unwrap();
    assert!(line.contains("\"step\":\"hook\""), "{line}");
    drop(child.stdin.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(told(&output, dir.path()), "exit 0\n");
    // A driver that goes away ends it: who started it knows better when to come back.
    let mut child = start();
    let _stdin = child.stdin.take();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    drop(driver);
    let output = child.wait_with_output().unwrap();
    let told = told(&output, dir.path());
    assert!(
        told.starts_with("exit 1\nndra events: DIR/e.sock ended the stream"),
        "{told}"
    );
    assert_eq!(told.lines().count(), 2, "{told}");
}

#[test]
fn a_driver_on_a_kind_node_is_read_by_the_program_itself() {
    let dir = dir();
    let driver = serve(recorder(), dir.path());
    // Written by another process: a file that this one has open while a test beside it
    // forks cannot be executed.
    let program = |name: &str, body: &str| {
        let mut writer = Command::new("sh")
            .args(["-c", "cat >\"$0\" && chmod 755 \"$0\""])
            .arg(dir.path().join(name))
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let text = format!("#!/bin/sh\nDIR='{}'\n{body}\n", dir.path().display());
        writer
            .stdin
            .take()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        assert!(writer.wait().unwrap().success());
    };
    program(
        "docker",
        "shift; [ \"$1\" = -i ] && shift; shift; p=$1; shift; exec \"$DIR/$p\" \"$@\"",
    );
    program(
        "crictl",
        "case $1 in ps) echo '{\"containers\":[{\"id\":\"c0ffee\",\"metadata\":{\"name\":\"ndra\"}}]}';;\n\
         exec) shift 3; p=$1; shift; exec \"$DIR/$p\" \"$@\";; esac",
    );
    program(
        "ndra",
        &format!(
            "exec '{}' \"$@\" 'unix://{}'",
            env!("CARGO_BIN_EXE_ndra"),
            driver.socket.display()
        ),
    );
    let read = |args: &[&str]| {
        ndra(&[&["kind://kind-worker", "-o", "json"], args].concat())
            .env("PATH", format!("{}:/usr/bin:/bin", dir.path().display()))
            .output()
            .unwrap()
    };
    let output = read(&[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let lines = String::from_utf8(output.stdout).unwrap();
    assert_eq!(lines.lines().count(), 8);
    let keys = ",\"instance\":\"life-1\",\"node\":\"kind-worker\"}";
    assert!(lines.lines().all(|line| line.ends_with(keys)), "{lines}");
    let output = read(&["--follow", "--after", "life-1:4", "--until", "flow=done"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 4);
    // What the far side says comes through.
    drop(driver);
    let output = read(&[]);
    insta::assert_snapshot!(told(&output, dir.path()), @"
    exit 1
      × docker: ndra events: cannot reach DIR/e.sock: No such file or
      │ directory (usually the ndra driver listens there; is it running?)
    ");
}

/// `ndra watch` shows such an event; so does this.
#[test]
fn an_event_of_an_actor_that_is_not_known_is_shown() {
    let dir = dir();
    let path = dir.path().join("run.jsonl");
    let line = r#"{"schema":1,"seq":1,"time":"2026-11-24T09:00:00.000000000Z","elapsed_us":0,"step":"cni-add","number":8,"phase":"fail","duration_us":5000,"claim":{"namespace":"default","name":"net","uid":"u1"},"pod":"default/web","from":"nobody","to":"spiderpool","error":"no address\u200b is left"}"#;
    fs::write(&path, format!("{line}\n{{\"seq\":2,")).unwrap();
    insta::assert_snapshot!(run(&[path.to_str().unwrap()], dir.path()), @"
    exit 0
    09:00:00.000000   8 cni-add           fail     5.0 ms  default/web  net       no address  is left
    ndra events: the last line is cut, and was left out
    ");
}

/// Each event of a stream may say that others were lost before it: that is not a remark each.
#[test]
fn losses_are_told_together() {
    let dir = dir();
    let path = recording(dir.path());
    let text = fs::read_to_string(&path).unwrap();
    let text = text.replace(",\"elapsed_us\"", ",\"dropped\":2,\"elapsed_us\"");
    fs::write(&path, &text).unwrap();
    let events = text.matches("\"dropped\":2").count();
    assert!(events > 5, "{events}");
    let output = ndra(&[path.to_str().unwrap()]).output().unwrap();
    let remarks = String::from_utf8(output.stderr).unwrap();
    let numbers: Vec<usize> = remarks
        .lines()
        .map(|line| line.split(' ').nth(2).unwrap().parse().unwrap())
        .collect();
    assert_eq!(numbers.iter().sum::<usize>(), 2 * events, "{remarks}");
    assert!(numbers.len() < 5, "{remarks}");
    assert!(
        remarks.starts_with("ndra events: 2 events were lost\n"),
        "{remarks}"
    );
    assert!(remarks.ends_with(" more events were lost\n"), "{remarks}");
}
