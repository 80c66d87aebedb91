//! Takes the OCI state from stdin, bounded in size and time, and looks whether it
//! can be one. What it says is the driver's business.

use std::io::{self, Read};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use serde::Deserialize;
use serde_json::error::Category;

use crate::error::StateError;
use crate::options::Timeout;

/// The largest state that is read, in bytes. A real one has some kilobytes, most of
/// them annotations.
const LIMIT: usize = 1024 * 1024;
/// The reader needs little; the default of 2 MiB is for programs that compute.
const READER_STACK: usize = 64 * 1024;

/// Reads `input` to its end and checks what came.
pub(crate) fn read(
    input: impl Read + Send + 'static,
    timeout: Timeout,
    deadline: Instant,
) -> Result<Vec<u8>, StateError> {
    // A blocked read cannot be called off. So a thread does it, and is left behind
    // when the runtime never closes its end of the pipe.
    let (send, receive) = mpsc::sync_channel(1);
    thread::Builder::new()
        .stack_size(READER_STACK)
        .spawn(move || send.send(read_bounded(input)))
        .map_err(StateError::Read)?;
    let left = deadline.saturating_duration_since(Instant::now());
    let state = receive
        .recv_timeout(left)
        .map_err(|_| StateError::NotClosed { timeout })?
        .map_err(StateError::Read)?;
    check(&state)?;
    Ok(state)
}

/// At most one byte more than allowed, which is enough to know.
fn read_bounded(input: impl Read) -> io::Result<Vec<u8>> {
    let mut state = Vec::new();
    input.take(LIMIT as u64 + 1).read_to_end(&mut state)?;
    Ok(state)
}

#[derive(Deserialize)]
struct State {
    #[serde(default)]
    id: Option<String>,
}

fn check(state: &[u8]) -> Result<(), StateError> {
    if state.len() > LIMIT {
        return Err(StateError::TooLarge);
    }
    let first = *state.trim_ascii_start().first().ok_or(StateError::Empty)?;
    if first == b'[' {
        // Serde would take a list for the fields in their order.
        return Err(StateError::NotObject);
    }
    match serde_json::from_slice::<State>(state) {
        Ok(State { id: Some(id) }) if !id.is_empty() => Ok(()),
        Ok(_) => Err(StateError::NoId),
        Err(error) => Err(match error.classify() {
            Category::Eof => StateError::Truncated { bytes: state.len() },
            Category::Data if first == b'{' => StateError::NoId,
            Category::Data => StateError::NotObject,
            Category::Syntax | Category::Io => StateError::NotJson {
                reason: error.to_string(),
            },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(state: &str) -> String {
        match check(state.as_bytes()) {
            Ok(()) => "good".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_state_needs_an_id_and_no_more() {
        assert_eq!(said(r#"{"id":"c1"}"#), "good");
        assert_eq!(
            said(
                " {\"ociVersion\":\"1.3.0\",\"id\":\"c1\",\"pid\":7,\"annotations\":{\"id\":\"x\"}}\n"
            ),
            "good"
        );
    }

    #[test]
    fn depth_does_not_exhaust_the_stack() {
        let depth = 400_000;
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        assert_eq!(said(&format!(r#"{{"id":"c1","x":{open}{close}}}"#)), "good");
    }

    #[test]
    fn the_limit_is_exact() {
        let state = r#"{"id":"c1"}"#;
        let padded = |length: usize| state.to_owned() + &" ".repeat(length - state.len());
        assert_eq!(said(&padded(LIMIT)), "good");
        assert_eq!(said(&padded(LIMIT + 1)), StateError::TooLarge.to_string());
        let read = read_bounded(io::repeat(b' ')).unwrap();
        assert_eq!(read.len(), LIMIT + 1);
    }
}
