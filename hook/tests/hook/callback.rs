//! The hook against drivers that answer, fail, come late, die, or say nothing.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use insta::assert_snapshot;
use tonic::codegen::http::{HeaderMap, HeaderValue};
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use crate::driver::{Answer, Driver, Room};
use crate::program::{CLAIM, Hook, STATE};

/// More than a pipe holds: when it is written, the hook is reading.
fn long_state() -> Vec<u8> {
    let padding = "x".repeat(200_000);
    STATE
        .replace("s1", &format!("s1\",\"padding\":\"{padding}"))
        .into_bytes()
}

#[test]
fn the_driver_gets_claim_state_version_and_time() {
    let room = Room::new();
    let driver = Driver::start(&room.socket(), Answer::Good);
    Hook::start(&room.socket(), "25s")
        .feed(STATE.as_bytes())
        .ended()
        .silently();

    let call = driver.calls.recv().unwrap();
    assert_eq!(call.request.claim_uid, CLAIM);
    assert_eq!(call.request.oci_state, STATE);
    assert_eq!(call.request.hook_version, env!("CARGO_PKG_VERSION"));
    let micros = call.timeout.unwrap();
    let micros: u64 = micros.strip_suffix('u').unwrap().parse().unwrap();
    assert!((1..25_000_000).contains(&micros), "{micros}");
    assert!(driver.calls.try_recv().is_err(), "one call, not more");
}

#[test]
fn the_largest_state_arrives_whole() {
    let room = Room::new();
    let driver = Driver::start(&room.socket(), Answer::Good);
    let mut state = STATE.as_bytes().to_vec();
    state.resize(1024 * 1024, b' ');
    Hook::start(&room.socket(), "25s")
        .feed(&state)
        .ended()
        .silently();
    assert!(driver.calls.recv().unwrap().request.oci_state == state);
}

#[test]
fn the_driver_s_words_are_the_hook_s() {
    let room = Room::new();
    let refusal = "claim default/mac is in use by pod default/first; delete that pod first";
    let driver = Driver::start(
        &room.socket(),
        Answer::Bad(Status::failed_precondition(refusal)),
    );
    let line = Hook::start(&room.socket(), "25s")
        .feed(STATE.as_bytes())
        .ended()
        .line();
    assert_snapshot!(line, @"ndra-hook: claim 5c9f3e2a-8d51-4c06-9d0a-3f1f5d1c7b11: claim default/mac is in use by pod default/first; delete that pod first");
    assert_eq!(driver.calls.try_iter().count(), 1, "an answer is final");
}

#[test]
fn a_message_of_many_lines_becomes_one() {
    let room = Room::new();
    let _driver = Driver::start(
        &room.socket(),
        Answer::Bad(Status::internal(
            "macvlan:\r\n\tno such device\x1b[2J\nndra-hook: forged\n",
        )),
    );
    let line = Hook::start(&room.socket(), "25s")
        .feed(STATE.as_bytes())
        .ended()
        .line();
    assert_snapshot!(line, @"ndra-hook: claim 5c9f3e2a-8d51-4c06-9d0a-3f1f5d1c7b11: macvlan: no such device [2J ndra-hook: forged");
}

#[test]
fn a_long_message_is_cut() {
    let room = Room::new();
    let message = "ü".repeat(5_000);
    let _driver = Driver::start(&room.socket(), Answer::Bad(Status::internal(message)));
    let line = Hook::start(&room.socket(), "25s")
        .feed(STATE.as_bytes())
        .ended()
        .line();
    assert!(line.ends_with("ü…"), "{line}");
    assert!((1000..1024).contains(&line.len()), "{}", line.len());
}

#[test]
fn a_code_without_words_is_named() {
    let room = Room::new();
    let _driver = Driver::start(&room.socket(), Answer::Bad(Status::unimplemented("")));
    let line = Hook::start(&room.socket(), "25s")
        .feed(STATE.as_bytes())
        .ended()
        .line();
    assert_snapshot!(room.hide(&line), @"ndra-hook: claim 5c9f3e2a-8d51-4c06-9d0a-3f1f5d1c7b11: the driver on /run/ndra/hook.sock answered Unimplemented without a reason; check that driver and hook (version 0.1.0) belong together");
}

#[test]
fn waits_for_a_driver_that_comes_late() {
    let room = Room::new();
    let mut hook = Hook::start(&room.socket(), "25s");
    hook.write(&long_state());
    let hook = hook.feed(b"");
    let driver = Driver::start(&room.socket(), Answer::Good);
    hook.ended().silently();
    assert_eq!(driver.calls.try_iter().count(), 1);
}

#[test]
fn a_restart_before_the_call_is_not_seen() {
    let room = Room::new();
    let leaving = UnixListener::bind(room.socket()).unwrap();
    let hook = Hook::start(&room.socket(), "25s").feed(STATE.as_bytes());
    // It has connected, so what follows happens under its eyes.
    let (connection, _) = leaving.accept().unwrap();
    drop(leaving);
    drop(connection);
    fs::remove_file(room.socket()).unwrap();

    let _driver = Driver::start(&room.socket(), Answer::Good);
    hook.ended().silently();
}

#[test]
fn a_restart_during_the_call_is_not_seen() {
    let room = Room::new();
    let driver = Driver::start(&room.socket(), Answer::Silence);
    let hook = Hook::start(&room.socket(), "25s").feed(STATE.as_bytes());
    driver.calls.recv().unwrap();
    driver.kill();

    let driver = Driver::start(&room.socket(), Answer::Good);
    hook.ended().silently();
    assert_eq!(driver.calls.recv().unwrap().request.oci_state, STATE);
}

#[test]
fn a_driver_that_is_unavailable_is_asked_again() {
    let room = Room::new();
    let driver = Driver::start(
        &room.socket(),
        Answer::Bad(Status::unavailable("the driver is stopping")),
    );
    let hook = Hook::start(&room.socket(), "25s").feed(STATE.as_bytes());
    driver.calls.recv().unwrap();
    driver.kill();

    let _driver = Driver::start(&room.socket(), Answer::Good);
    hook.ended().silently();
}

#[test]
fn unavailable_until_the_deadline() {
    let room = Room::new();
    let driver = Driver::start(
        &room.socket(),
        Answer::Bad(Status::unavailable("the driver is stopping")),
    );
    let line = Hook::start(&room.socket(), "400ms")
        .feed(STATE.as_bytes())
        .ended()
        .line();
    assert_snapshot!(room.hide(&line), @"ndra-hook: claim 5c9f3e2a-8d51-4c06-9d0a-3f1f5d1c7b11: the driver did not answer on /run/ndra/hook.sock within 400ms (it said: the driver is stopping); is the ndra driver running on this node?");
    let calls = driver.calls.try_iter().count();
    assert!(
        (2..40).contains(&calls),
        "{calls} calls: too few or too busy"
    );
}

#[test]
fn no_socket_until_the_deadline() {
    let room = Room::new();
    let began = Instant::now();
    let line = Hook::start(&room.socket(), "300ms")
        .feed(STATE.as_bytes())
        .ended()
        .line();
    let took = began.elapsed();
    assert_snapshot!(room.hide(&line), @"ndra-hook: claim 5c9f3e2a-8d51-4c06-9d0a-3f1f5d1c7b11: the driver did not answer on /run/ndra/hook.sock within 300ms (no such socket); is the ndra driver running on this node?");
    assert!(took >= Duration::from_millis(300), "{took:?}");
}

#[test]
fn nobody_listens_until_the_deadline() {
    let room = Room::new();
    drop(UnixListener::bind(room.socket()).unwrap());
    let line = Hook::start(&room.socket(), "300ms")
        .feed(STATE.as_bytes())
        .ended()
        .line();
    assert_snapshot!(room.hide(&line), @"ndra-hook: claim 5c9f3e2a-8d51-4c06-9d0a-3f1f5d1c7b11: the driver did not answer on /run/ndra/hook.sock within 300ms (connection refused); is the ndra driver running on this node?");
}

#[test]
fn calls_that_break_off_until_the_deadline() {
    let room = Room::new();
    let listener = UnixListener::bind(room.socket()).unwrap();
    let over = AtomicBool::new(false);
    let line = thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                let (mut connection, _) = listener.accept().unwrap();
                // The hook has spoken; then comes what no HTTP/2 server says.
                let _ = connection.read(&mut [0; 1]);
                let _ = connection.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            }
        });
        let ended = Hook::start(&room.socket(), "300ms")
            .feed(STATE.as_bytes())
            .ended();
        over.store(true, Ordering::SeqCst);
        drop(UnixStream::connect(room.socket()).unwrap());
        ended.line()
    });
    // Which end the hook notices first is chance.
    let (before, rest) = line.split_once("broke off: ").unwrap();
    let (_, after) = rest.split_once(')').unwrap();
    let line = format!("{before}broke off: CAUSE){after}");
    assert_snapshot!(room.hide(&line), @"ndra-hook: claim 5c9f3e2a-8d51-4c06-9d0a-3f1f5d1c7b11: the driver did not answer on /run/ndra/hook.sock within 300ms (the call broke off: CAUSE); is the ndra driver running on this node?");
}

#[test]
fn damaged_details_of_a_refusal_do_no_harm() {
    let room = Room::new();
    let mut headers = HeaderMap::new();
    headers.insert(
        "grpc-status-details-bin",
        HeaderValue::from_static("no base64!"),
    );
    let metadata = MetadataMap::from_headers(headers);
    let status = Status::with_metadata(Code::Internal, "the words", metadata);
    let _driver = Driver::start(&room.socket(), Answer::Bad(status));
    let line = Hook::start(&room.socket(), "25s")
        .feed(STATE.as_bytes())
        .ended()
        .line();
    assert_snapshot!(line, @"ndra-hook: claim 5c9f3e2a-8d51-4c06-9d0a-3f1f5d1c7b11: the words");
}

#[test]
fn a_socket_that_nobody_accepts_from() {
    let room = Room::new();
    let _listener = UnixListener::bind(room.socket()).unwrap();
    let line = Hook::start(&room.socket(), "300ms")
        .feed(STATE.as_bytes())
        .ended()
        .line();
    assert_snapshot!(room.hide(&line), @"ndra-hook: claim 5c9f3e2a-8d51-4c06-9d0a-3f1f5d1c7b11: the driver on /run/ndra/hook.sock took the connection but did not answer within 300ms; see what it waits for in the driver's log on this node");
}

#[test]
fn a_driver_that_never_answers() {
    let room = Room::new();
    let driver = Driver::start(&room.socket(), Answer::Silence);
    let line = Hook::start(&room.socket(), "300ms")
        .feed(STATE.as_bytes())
        .ended()
        .line();
    assert_snapshot!(room.hide(&line), @"ndra-hook: claim 5c9f3e2a-8d51-4c06-9d0a-3f1f5d1c7b11: the driver on /run/ndra/hook.sock took the connection but did not answer within 300ms; see what it waits for in the driver's log on this node");
    assert_eq!(driver.calls.try_iter().count(), 1);
}

#[test]
fn a_path_through_a_file_is_refused_at_once() {
    let room = Room::new();
    fs::write(room.socket(), "").unwrap();
    // With the default time-out: waiting would show as a test of 25 seconds.
    let began = Instant::now();
    let line = Hook::start(&room.socket().join("hook.sock"), "25s")
        .feed(STATE.as_bytes())
        .ended()
        .line();
    assert_snapshot!(room.hide(&line), @"ndra-hook: claim 5c9f3e2a-8d51-4c06-9d0a-3f1f5d1c7b11: the driver's socket /run/ndra/hook.sock/hook.sock cannot be reached (not a directory); check the path and its owner on this node");
    assert!(began.elapsed() < Duration::from_secs(20));
}
