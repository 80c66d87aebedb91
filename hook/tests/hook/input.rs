//! The hook with bad flags, bad states, and pipes that are closed or never closed.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use insta::assert_snapshot;

use crate::driver::{Answer, Driver, Room};
use crate::program::{CLAIM, Ended, Hook, STATE, hook_with};

/// What the hook says about `state`. A driver listens, and must not be asked.
#[track_caller]
fn about_state(state: &[u8]) -> String {
    let room = Room::new();
    let driver = Driver::start(&room.socket(), Answer::Good);
    let line = Hook::start(&room.socket(), "25s")
        .feed(state)
        .ended()
        .line();
    assert!(driver.calls.try_recv().is_err(), "the driver was asked");
    line
}

#[test]
fn an_empty_state() {
    assert_snapshot!(about_state(b""), @"ndra-hook: claim 5c9f3e2a-8d51-4c06-9d0a-3f1f5d1c7b11: the OCI state on stdin is empty; an OCI runtime runs this program and writes the state there");
    assert_eq!(about_state(b" \n\t"), about_state(b""));
}

#[test]
fn a_truncated_state() {
    assert_snapshot!(about_state(&STATE.as_bytes()[..STATE.len() - 5]), @"ndra-hook: claim 5c9f3e2a-8d51-4c06-9d0a-3f1f5d1c7b11: the OCI state on stdin breaks off after 128 bytes; see the container runtime's log");
}

#[test]
fn a_state_that_is_not_json() {
    assert_snapshot!(about_state(b"container c1"), @"ndra-hook: claim 5c9f3e2a-8d51-4c06-9d0a-3f1f5d1c7b11: the OCI state on stdin is not JSON (expected value at line 1 column 1); an OCI runtime runs this program and writes the state there");
    assert_snapshot!(about_state(b"{\"id\":\"c1\"} {}"), @"ndra-hook: claim 5c9f3e2a-8d51-4c06-9d0a-3f1f5d1c7b11: the OCI state on stdin is not JSON (trailing characters at line 1 column 13); an OCI runtime runs this program and writes the state there");
    assert_snapshot!(about_state(b"\xff\xfe\0\0"), @"ndra-hook: claim 5c9f3e2a-8d51-4c06-9d0a-3f1f5d1c7b11: the OCI state on stdin is not JSON (expected value at line 1 column 1); an OCI runtime runs this program and writes the state there");
}

#[test]
fn a_state_that_is_not_an_object() {
    assert_snapshot!(about_state(b"[\"c1\"]"), @"ndra-hook: claim 5c9f3e2a-8d51-4c06-9d0a-3f1f5d1c7b11: the OCI state on stdin is not a JSON object; an OCI runtime runs this program and writes the state there");
    assert_eq!(about_state(b"\"c1\""), about_state(b"[\"c1\"]"));
    assert_eq!(about_state(b"null"), about_state(b"[\"c1\"]"));
    assert_eq!(about_state(b"7"), about_state(b"[\"c1\"]"));
}

#[test]
fn a_state_without_an_id() {
    assert_snapshot!(about_state(b"{\"ociVersion\":\"1.3.0\"}"), @"ndra-hook: claim 5c9f3e2a-8d51-4c06-9d0a-3f1f5d1c7b11: the OCI state on stdin has no container id (field `id`); see the container runtime's log");
    for state in [
        "{\"id\":\"\"}",
        "{\"id\":null}",
        "{\"id\":7}",
        "{\"id\":\"a\",\"id\":\"b\"}",
    ] {
        assert_eq!(about_state(state.as_bytes()), about_state(b"{}"), "{state}");
    }
}

#[test]
fn a_state_that_is_too_large() {
    let mut state = STATE.as_bytes().to_vec();
    state.resize(1024 * 1024 + 1, b' ');
    assert_snapshot!(about_state(&state), @"ndra-hook: claim 5c9f3e2a-8d51-4c06-9d0a-3f1f5d1c7b11: the OCI state on stdin is larger than 1 MiB; look for very large annotations on the pod");
}

#[test]
fn a_state_without_an_end_is_too_large_before_the_deadline() {
    let room = Room::new();
    let mut hook = Hook::start(&room.socket(), "5s");
    hook.write(&vec![b' '; 1024 * 1024 + 1]);
    assert!(hook.ended().line().contains("larger than 1 MiB"));
}

#[test]
fn stdin_that_is_never_closed() {
    let room = Room::new();
    let _driver = Driver::start(&room.socket(), Answer::Good);
    let began = Instant::now();
    let mut hook = Hook::start(&room.socket(), "300ms");
    hook.write(STATE.as_bytes());
    let line = hook.ended().line();
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_snapshot!(line, @"ndra-hook: claim 5c9f3e2a-8d51-4c06-9d0a-3f1f5d1c7b11: the OCI state on stdin did not end within 300ms; see in the container runtime's log why it keeps the hook's stdin open");
}

#[test]
fn stdin_that_cannot_be_read() {
    let output = Command::new(env!("CARGO_BIN_EXE_ndra-hook"))
        .args(["--claim-uid", CLAIM, "--socket", "/nonexistent/hook.sock"])
        .stdin(std::fs::File::open("/").unwrap())
        .output()
        .unwrap();
    assert_snapshot!(Ended::from(output).line(), @"ndra-hook: claim 5c9f3e2a-8d51-4c06-9d0a-3f1f5d1c7b11: the OCI state cannot be read from stdin (Is a directory (os error 21)); see the container runtime's log");
}

#[test]
fn a_closed_stderr_changes_nothing_but_the_words() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_ndra-hook"))
        .args(["--claim-uid", CLAIM, "--socket", "/nonexistent/hook.sock"])
        .stdin(Stdio::null())
        .stderr(writer)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{:?}", output.status);
    assert!(output.stdout.is_empty());
}

#[test]
fn wrong_flags() {
    let good = ["--claim-uid", "u1", "--socket", "/run/hook.sock"];
    assert_snapshot!(hook_with(&[]).line(), @"ndra-hook: --claim-uid is missing; give --claim-uid UID");
    assert_snapshot!(hook_with(&good[..2]).line(), @"ndra-hook: claim u1: --socket is missing; give --socket PATH");
    assert_snapshot!(hook_with(&good[..3]).line(), @"ndra-hook: claim u1: --socket has no value; give --socket PATH");
    assert_snapshot!(hook_with(&["--claim-uid", "--socket", "/run/hook.sock"]).line(), @"ndra-hook: --claim-uid has no value; give --claim-uid UID");
    assert_snapshot!(hook_with(&[&good[..], &["--verbose"]].concat()).line(), @r#"ndra-hook: claim u1: unknown argument "--verbose"; run `ndra-hook --help` for those that there are"#);
    assert_snapshot!(hook_with(&[&good[..], &["extra\n"]].concat()).line(), @r#"ndra-hook: claim u1: unknown argument "extra\n"; run `ndra-hook --help` for those that there are"#);
    assert_snapshot!(hook_with(&[&good[..], &["--socket=/run/other.sock"]].concat()).line(), @"ndra-hook: claim u1: --socket is given twice; give it once");
}

#[test]
fn wrong_claim_uids() {
    let about = |uid: &str| hook_with(&["--socket=/run/hook.sock", "--claim-uid", uid]).line();
    assert_snapshot!(about(""), @"ndra-hook: the claim UID is empty; give the ResourceClaim's metadata.uid");
    assert_snapshot!(about("../../etc/cdi/x"), @r#"ndra-hook: the claim UID "../../etc/cdi/x" contains '/', only letters, digits, `.`, `_` and `-` are possible; give the ResourceClaim's metadata.uid"#);
    assert_snapshot!(about("a\nb"), @r#"ndra-hook: the claim UID "a\nb" contains '\n', only letters, digits, `.`, `_` and `-` are possible; give the ResourceClaim's metadata.uid"#);
    assert_snapshot!(about("größe"), @r#"ndra-hook: the claim UID "größe" contains 'ö', only letters, digits, `.`, `_` and `-` are possible; give the ResourceClaim's metadata.uid"#);
    assert_snapshot!(about(".."), @r#"ndra-hook: the claim UID ".." begins with a dot; give the ResourceClaim's metadata.uid"#);
    assert_snapshot!(about(&"a".repeat(254)), @"ndra-hook: the claim UID has 254 bytes, at most 253 are possible; give the ResourceClaim's metadata.uid");
}

#[test]
fn wrong_sockets() {
    let about = |socket: &str| hook_with(&["--claim-uid=u1", "--socket", socket]).line();
    assert_snapshot!(about(""), @r#"ndra-hook: claim u1: the socket path "" is not absolute; give the whole path, beginning with `/`"#);
    assert_snapshot!(about("run/hook.sock"), @r#"ndra-hook: claim u1: the socket path "run/hook.sock" is not absolute; give the whole path, beginning with `/`"#);
    let long = about(&format!("/run/{}", "s".repeat(120)));
    let limit = if cfg!(target_os = "linux") {
        "107"
    } else {
        "103"
    };
    assert_snapshot!(long.replace(limit, "LIMIT"), @r#"ndra-hook: claim u1: the socket path "/run/ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss" has 125 bytes, at most LIMIT fit into a socket address; give the driver and the hook a shorter one"#);
}

#[test]
fn wrong_timeouts() {
    let about = |timeout: &str| {
        hook_with(&[
            "--claim-uid=u1",
            "--socket=/run/hook.sock",
            "--timeout",
            timeout,
        ])
        .line()
    };
    assert_snapshot!(about("soon"), @r#"ndra-hook: claim u1: the time-out "soon" is not a duration; give a whole number and a unit, such as 25s, 500ms or 2m"#);
    assert_snapshot!(about("0s"), @r#"ndra-hook: claim u1: the time-out "0s" is out of range; give one from 1ms to 10m"#);
    assert_snapshot!(about("1000h"), @r#"ndra-hook: claim u1: the time-out "1000h" is not a duration; give a whole number and a unit, such as 25s, 500ms or 2m"#);
    assert_snapshot!(about("86400s"), @r#"ndra-hook: claim u1: the time-out "86400s" is out of range; give one from 1ms to 10m"#);
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let output = assert_cmd::Command::new(env!("CARGO_BIN_EXE_ndra-hook"))
        .args([OsStr::new("--claim-uid"), OsStr::from_bytes(b"u\xff")])
        .output()
        .unwrap();
    assert_snapshot!(Ended::from(output).line(), @r#"ndra-hook: the claim UID "u�" contains '�', only letters, digits, `.`, `_` and `-` are possible; give the ResourceClaim's metadata.uid"#);
}

#[test]
fn help_and_version_are_for_people() {
    let help = hook_with(&["--help"]);
    assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
    assert_snapshot!(help.stdout, @"Asks the ndra driver to give a pod the interfaces of its claim, before a container
of the pod starts. An OCI runtime runs this as a createRuntime hook and writes the
container's OCI state to stdin.

Usage: ndra-hook --claim-uid UID --socket PATH [--timeout DURATION]

Options:
      --claim-uid UID     UID of the ResourceClaim
      --socket PATH       Absolute path of the driver's callback socket
      --timeout DURATION  How long to wait for stdin and the driver, all in all; a
                          whole number with ms, s or m, from 1ms to 10m [default: 25s]
  -h, --help              Print this help
  -V, --version           Print the version

Exit status: 0 when the interfaces are there, else 1 with one line on stderr.");
    assert_eq!(hook_with(&["-h"]).stdout, help.stdout);
    let version = hook_with(&["--version"]).stdout;
    assert_eq!(
        version,
        concat!("ndra-hook ", env!("CARGO_PKG_VERSION"), "\n")
    );
    assert_eq!(hook_with(&["-V"]).stdout, version);
}
