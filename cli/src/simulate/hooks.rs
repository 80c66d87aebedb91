//! Step 5 under a real runtime: what the hook's own process tells, as events.

use std::sync::Arc;

use ndra_core::callback::OciState;
use ndra_core::event::{ClaimRef, Recorder, Span, Step, Subject, bounded};
use ndra_core::gate::Gate;
use ndra_core::socket;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio_util::task::AbortOnDropHandle;

use super::workdir::WorkDir;
use crate::failure::Failure;
use crate::witness::{Begins, Ends};

/// The longest line that is read, in bytes: an OCI state, escaped.
const MAX_LINE: u64 = 8 * 1024 * 1024;

/// Listens to hooks.
pub(crate) struct Hooks {
    server: AbortOnDropHandle<()>,
}

impl Hooks {
    /// Serves the witness's socket of the work directory.
    pub(crate) fn start(work: &WorkDir, recorder: Recorder, gate: Gate) -> Result<Self, Failure> {
        let listener = socket::bind(&work.socket("witness"))
            .map_err(|error| Failure::run(format!("cannot listen to hooks: {error}"), ""))?;
        let parts = Arc::new((recorder, gate));
        let server = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            while let Ok(stream) = listener.accept().await {
                let parts = parts.clone();
                open.spawn(async move {
                    let (recorder, gate) = &*parts;
                    // A hook that ends meanwhile is the runtime's to tell of.
                    let _ = witness(stream, recorder, gate).await;
                });
            }
        });
        Ok(Self {
            server: AbortOnDropHandle::new(server),
        })
    }

    /// What the driver is to put before the hook's own arguments.
    pub(crate) fn arguments(work: &WorkDir) -> Vec<String> {
        let socket = work.socket("witness").display().to_string();
        vec!["witness".into(), socket]
    }

    /// Ends the server and removes its socket.
    pub(crate) async fn stop(self) {
        self.server.abort();
        let _ = self.server.await;
    }
}

async fn witness(mut stream: UnixStream, recorder: &Recorder, gate: &Gate) -> std::io::Result<()> {
    let (input, mut output) = stream.split();
    let mut input = BufReader::new(input);
    let begins: Begins = message(&mut input).await?;
    let state: Value = serde_json::from_str(&begins.state).unwrap_or(Value::Null);
    let subject = subject(&begins, &state);
    gate.pass(Step::Hook, &subject).await;
    let mut detail = Map::new();
    detail.insert("oci_state".into(), bounded(&state));
    detail.insert("args".into(), bounded(&json!(begins.args)));
    detail.insert("seen".into(), "by the hook's own process".into());
    let (from, to) = Step::Hook.route();
    let span = recorder.begin_between(Step::Hook, subject, from, to, detail);
    output.write_all(b"go\n").await?;
    close(span, message(&mut input).await);
    Ok(())
}

fn close(mut span: Span, ends: std::io::Result<Ends>) {
    let ends = match ends {
        Ok(ends) => ends,
        Err(_) => return span.fail("it was killed: the runtime's time-out for the hook passed"),
    };
    span.detail("exit_code", ends.exit_code);
    span.detail("stderr", ends.stderr.as_str());
    match ends.exit_code {
        0 => span.end(),
        _ => span.fail(ends.stderr.trim()),
    }
}

/// One line.
async fn message<T: DeserializeOwned>(
    input: &mut (impl AsyncBufRead + Unpin),
) -> std::io::Result<T> {
    let mut line = Vec::new();
    input.take(MAX_LINE).read_until(b'\n', &mut line).await?;
    Ok(serde_json::from_slice(&line)?)
}

/// As the runtime's mock names it.
fn subject(begins: &Begins, state: &Value) -> Subject {
    let uid = begins
        .args
        .iter()
        .find_map(|arg| arg.strip_prefix("--claim-uid="));
    let sandbox = OciState::parse(begins.state.as_bytes()).ok();
    let annotation = |names: [&str; 2]| {
        let all = state.get("annotations")?;
        names.iter().find_map(|name| all.get(*name)?.as_str())
    };
    let pod = annotation([
        "io.kubernetes.cri.sandbox-namespace",
        "io.kubernetes.pod.namespace",
    ])
    .zip(annotation([
        "io.kubernetes.cri.sandbox-name",
        "io.kubernetes.pod.name",
    ]));
    Subject {
        claim: uid.map(ClaimRef::of),
        pod: pod.map(|(namespace, name)| format!("{namespace}/{name}")),
        sandbox: sandbox.as_ref().map(|state| state.sandbox.clone()),
        container: sandbox.map(|state| state.container),
    }
}
