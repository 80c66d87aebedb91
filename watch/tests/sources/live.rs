//! The event socket of a driver: past events, new ones, restarts, and what is none.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::mpsc;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use ndra_core::event::{EventService, Recorder, Step, Subject};
use ndra_core::socket;
use ndra_core::wire::events::events_server::{Events, EventsServer};
use ndra_core::wire::events::{WatchRequest, WatchResponse};
use tonic::{Request, Response, Status};

use super::*;

/// A driver's events, served until this is dropped, together with all connections.
struct Life(Option<tokio::runtime::Runtime>);

impl Life {
    fn serve<S: Events>(path: &Path, service: EventsServer<S>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let guard = runtime.enter();
        let incoming = socket::bind(path).unwrap().incoming();
        drop(guard);
        runtime.spawn(
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(incoming),
        );
        Self(Some(runtime))
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

fn step(recorder: &Recorder) {
    recorder
        .begin(Step::Prepare, Subject::claim("ns", "c", "u"))
        .end();
}

fn at(path: &Path) -> String {
    format!("unix://{}", path.display())
}

#[tokio::test]
async fn who_does_not_follow_gets_the_past_and_the_end() {
    let dir = dir();
    let path = dir.path().join("e.sock");
    let recorder = Recorder::new(4);
    let _life = Life::serve(&path, EventService::server(recorder.clone(), "life-1"));
    let told = Reader::open(&at(&path), Options::default()).all().await;
    insta::assert_snapshot!(plain(&told, &dir), @"
    0 connecting the driver at DIR/e.sock (-)
    0 connected
    0 ended
    ");
    for _ in 0..3 {
        step(&recorder);
    }
    let mut reader = Reader::open(&at(&path), Options::default());
    let chunk = reader.chunk().await;
    assert_eq!(
        in_words(&Update::Events(Box::new(chunk.clone()))),
        "0 events 3 4 5 6 of [life-1] on -, dropped 2"
    );
    assert!(chunk.events().all(|event| event.is_ok()));
    let first = std::str::from_utf8(chunk.lines().next().unwrap().json).unwrap();
    assert!(
        first.ends_with(",\"instance\":\"life-1\",\"dropped\":2}"),
        "{first}"
    );
    let after = Options {
        after: vec!["life-1:5".parse().unwrap()],
        ..Options::default()
    };
    assert_eq!(Reader::open(&at(&path), after).seqs(1).await, [6]);
    let after = Options {
        after: vec!["life-1:4".parse().unwrap(), "life-0:6".parse().unwrap()],
        ..Options::default()
    };
    assert_eq!(Reader::open(&at(&path), after).seqs(2).await, [5, 6]);
}

#[tokio::test]
async fn a_lost_driver_is_found_again_and_nothing_is_lost_or_repeated() {
    let dir = dir();
    let path = dir.path().join("e.sock");
    let recorder = Recorder::new(64);
    step(&recorder);
    let life = Life::serve(&path, EventService::server(recorder.clone(), "life-1"));
    let mut reader = Reader::open(&at(&path), following());
    assert_eq!(reader.seqs(2).await, [1, 2]);
    step(&recorder);
    assert_eq!(reader.seqs(2).await, [3, 4]);
    // The connection breaks; the driver lives on.
    drop(life);
    reader.until("0 lost: ").await;
    step(&recorder);
    let life = Life::serve(&path, EventService::server(recorder, "life-1"));
    let again = reader.until("0 events").await;
    assert!(
        again.ends_with("0 events 5 6 of [life-1] on -, dropped 0"),
        "{again}"
    );
    // A new driver counts from 1.
    drop(life);
    reader.until("0 lost: ").await;
    let recorder = Recorder::new(64);
    step(&recorder);
    let _life = Life::serve(&path, EventService::server(recorder, "life-2"));
    let again = reader.until("0 events").await;
    assert!(
        again.ends_with("0 events 1 2 of [life-2] on -, dropped 0"),
        "{again}"
    );
    tokio::time::timeout(PATIENCE, reader.0.stop())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_reader_that_does_not_read_loses_events_and_is_told_how_many() {
    let dir = dir();
    let path = dir.path().join("e.sock");
    let recorder = Recorder::new(32);
    let _life = Life::serve(&path, EventService::server(recorder.clone(), "life-1"));
    let mut reader = Reader::open(&at(&path), following());
    reader.until("0 connected").await;
    let total = 4_000_u64;
    let pad = "p".repeat(4_000);
    for _ in 0..total / 2 {
        let mut span = recorder.begin(Step::Hook, Subject::default());
        span.detail("pad", pad.clone());
        span.end();
    }
    let (mut last, mut read, mut dropped) = (0, 0, 0);
    while last < total {
        let chunk = reader.chunk().await;
        dropped += chunk.dropped();
        for line in chunk.lines() {
            read += 1;
            last = line.seq;
        }
        assert_eq!(read + dropped, last);
    }
    assert!(read >= 32, "{read}");
    assert!(dropped > 0, "the ring of 32 held {total}");
}

/// Says whatever it is told, once a connection, and then stays silent.
struct Odd(Vec<(&'static str, Vec<u8>)>);

#[tonic::async_trait]
impl Events for Odd {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let messages = self.0.clone().into_iter().map(|(instance, event)| {
            Ok(WatchResponse {
                seq: 0,
                instance: instance.into(),
                dropped: 0,
                event,
                driver: Vec::new(),
            })
        });
        Ok(Response::new(Box::pin(
            stream::iter(messages).chain(stream::pending()),
        )))
    }
}

#[tokio::test]
async fn what_is_no_event_is_counted_and_the_rest_read() {
    let dir = dir();
    let path = dir.path().join("e.sock");
    let unknown = line(3, 3, ",\"schema\":1").replace("\"schema\":1,\"seq\"", "\"seq\"");
    let messages = vec![
        ("a", line(1, 1, "").into_bytes()),
        ("a", b"\x1b[2Joops".to_vec()),
        ("a", vec![b'x'; 400 * 1024]),
        ("no name", line(2, 2, "").into_bytes()),
        ("a", line(2, 2, "").replace(',', ",\n").into_bytes()),
        ("a", unknown.replace("prepare", "warp").into_bytes()),
    ];
    let _life = Life::serve(&path, EventsServer::new(Odd(messages)));
    let mut reader = Reader::open(&at(&path), following());
    let (mut seqs, mut garbage, mut unreadable) = (vec![], 0, 0);
    while seqs.len() < 3 {
        match reader.next().await.unwrap() {
            Update::Events(chunk) => {
                seqs.extend(chunk.lines().map(|line| line.seq));
                unreadable += chunk.events().filter(Result::is_err).count();
                let feeds = chunk.text().iter().filter(|b| **b == b'\n').count();
                assert_eq!(feeds, chunk.len());
            }
            Update::Garbage { count, sample, .. } => {
                garbage += count;
                assert!(!sample.contains('\u{1b}'), "{sample:?}");
            }
            _ => {}
        }
    }
    assert_eq!((seqs, garbage, unreadable), (vec![1, 2, 3], 3, 1));
}

#[tokio::test]
async fn sockets_that_serve_no_events_are_named() {
    let dir = dir();
    let once = |path: PathBuf| async move {
        let mut options = Options::default();
        options.pace.answer = Duration::from_millis(200);
        Reader::open(&at(&path), options).all().await
    };
    let missing = once(dir.path().join("missing")).await;
    let silent = dir.path().join("silent");
    let listener = socket::bind(&silent).unwrap();
    let silent = once(silent).await;
    drop(listener);
    let hangs_up = dir.path().join("hangs-up");
    let listener = socket::bind(&hangs_up).unwrap();
    let hanging = tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let hangs_up = once(hangs_up).await;
    hanging.abort();
    std::fs::write(dir.path().join("file"), "").unwrap();
    let file = once(dir.path().join("file")).await;
    // How the system calls it depends on who is faster.
    let begin = "0 failed: cannot reach DIR/hangs-up: ";
    assert!(plain(&hangs_up, &dir).contains(begin), "{hangs_up}");
    let told = [missing, silent, file].join("\n");
    insta::assert_snapshot!(plain(&told, &dir), @"
    0 connecting the driver at DIR/missing (-)
    0 failed: cannot reach DIR/missing: No such file or directory (usually the ndra driver listens there; is it running?)
    0 connecting the driver at DIR/silent (-)
    0 failed: DIR/silent takes connections but does not answer within 0.2 s
    0 connecting the driver at DIR/file (-)
    0 failed: cannot reach DIR/file: Connection refused (usually the ndra driver listens there; is it running?)
    ");
}

#[tokio::test]
async fn a_driver_that_stands_still_is_given_up_and_found_again() {
    let dir = dir();
    let path = dir.path().join("e.sock");
    let recorder = Recorder::new(64);
    step(&recorder);
    let life = Life::serve(&path, EventService::server(recorder.clone(), "life-1"));
    let mut options = following();
    options.pace.quiet = Duration::from_millis(100);
    options.pace.answer = Duration::from_millis(100);
    let mut reader = Reader::open(&at(&path), options);
    assert_eq!(reader.seqs(2).await, [1, 2]);
    // Its only worker, and so all that it serves, waits until it is told to go on.
    let (go_on, wait) = mpsc::channel::<()>();
    life.0.as_ref().unwrap().spawn(async move {
        let _ = wait.recv();
    });
    reader.until("0 lost: ").await;
    let told = reader.until("0 lost: ").await;
    assert!(
        plain(&told, &dir)
            .ends_with("0 lost: DIR/e.sock takes connections but does not answer within 0.1 s"),
        "{told}"
    );
    drop(go_on);
    step(&recorder);
    assert_eq!(reader.seqs(2).await, [3, 4]);
    reader.0.stop().await;
}
