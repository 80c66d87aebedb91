//! CNI plugins for whoever runs them without Multus: programs that ask this process, which
//! holds what Multus's mock made.
//!
//! Multus refuses to release what belonged to a pod that is gone; the driver then runs the
//! plugin itself. On a node that is a program in `/opt/cni/bin`; here it is a script that
//! comes back to the same recorded network.

use std::path::{Path, PathBuf};

use ndra_core::cni::CniError;
use ndra_core::socket;
use ndra_mock_multus::{PluginCall, Record};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio_util::task::AbortOnDropHandle;

use super::workdir::WorkDir;
use crate::failure::Failure;

/// The plugins that the recorded network knows.
const TYPES: [&str; 3] = ["macvlan", "host-local", "static"];

/// The longest configuration that is read, in bytes.
const MAX_CALL: u64 = 1024 * 1024;

/// One run of a plugin, as its program sends it here.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Call {
    pub(crate) plugin: String,
    pub(crate) command: String,
    pub(crate) container_id: String,
    pub(crate) netns: String,
    pub(crate) if_name: String,
    pub(crate) args: String,
    pub(crate) stdin: String,
}

/// What the program is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) code: u8,
    pub(crate) stdout: String,
}

/// Serves the plugins of one work directory.
pub(crate) struct Plugins {
    /// Where the programs are.
    path: Vec<PathBuf>,
    /// None when the programs are real ones.
    server: Option<AbortOnDropHandle<()>>,
}

impl Plugins {
    /// Real programs, which need nobody.
    pub(crate) fn real(path: &[PathBuf]) -> Self {
        Self {
            path: path.to_vec(),
            server: None,
        }
    }

    /// The directories, as one text.
    pub(crate) fn path(&self) -> PathBuf {
        std::env::join_paths(&self.path).unwrap_or_default().into()
    }

    /// Writes the programs and answers them by the played plugins.
    pub(crate) fn start(work: &WorkDir, record: Record) -> Result<Self, Failure> {
        let fail = |error: &dyn std::fmt::Display| {
            Failure::run(format!("cannot provide CNI plugins: {error}"), "")
        };
        let exe = std::env::current_exe().map_err(|e| fail(&e))?;
        let socket = work.socket("cni");
        for plugin in TYPES {
            let path = work.plugins().join(plugin);
            let script = format!(
                "#!/bin/sh\nexec {} mock plugin --socket {} {plugin}\n",
                quoted(&exe),
                quoted(&socket),
            );
            work.program(&path, &script).map_err(|e| fail(&e))?;
        }
        let listener = socket::bind(&socket).map_err(|e| fail(&e))?;
        let server = tokio::spawn(async move {
            while let Ok(stream) = listener.accept().await {
                // One at a time: each takes microseconds, or milliseconds with a kernel.
                let _ = serve(stream, &record).await;
            }
        });
        Ok(Self {
            path: vec![work.plugins()],
            server: Some(AbortOnDropHandle::new(server)),
        })
    }

    /// Ends the server and removes its socket.
    pub(crate) async fn stop(self) {
        if let Some(server) = self.server {
            server.abort();
            let _ = server.await;
        }
    }
}

async fn serve(mut stream: UnixStream, record: &Record) -> std::io::Result<()> {
    let mut call = Vec::new();
    (&mut stream).take(MAX_CALL).read_to_end(&mut call).await?;
    let call: Call = serde_json::from_slice(&call)?;
    // Where the kernel makes links, it blocks.
    let record = record.clone();
    let answer = tokio::task::spawn_blocking(move || answer(&record, &call))
        .await
        .map_err(std::io::Error::other)?;
    stream.write_all(&serde_json::to_vec(&answer)?).await?;
    stream.shutdown().await
}

fn answer(record: &Record, call: &Call) -> Answer {
    let plugin_call = PluginCall {
        command: &call.command,
        container_id: &call.container_id,
        netns: &call.netns,
        if_name: &call.if_name,
        args: &call.args,
    };
    match record.run(&call.plugin, &plugin_call, call.stdin.as_bytes()) {
        Ok(result) => Answer {
            code: 0,
            stdout: result.map(|value| value.to_string()).unwrap_or_default(),
        },
        Err(CniError { code, msg, details }) => Answer {
            code: 1,
            stdout: json!({ "code": code, "msg": msg, "details": details }).to_string(),
        },
    }
}

/// Asks the process behind `socket` what the plugin is to do.
pub(crate) async fn ask(socket: &Path, call: &Call) -> std::io::Result<Answer> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(&serde_json::to_vec(call)?).await?;
    stream.shutdown().await?;
    let mut answer = Vec::new();
    stream.take(MAX_CALL).read_to_end(&mut answer).await?;
    Ok(serde_json::from_slice(&answer)?)
}

/// For a POSIX shell.
pub(crate) fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}
