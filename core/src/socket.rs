//! Unix sockets: bound with care, and errors that say which socket and who usually listens.

use std::error::Error;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use tokio::net::{UnixListener, UnixStream};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// The longest socket path in bytes, without the closing NUL (`sockaddr_un`).
pub const MAX_PATH: usize = if cfg!(target_os = "macos") { 103 } else { 107 };

/// Why a socket could not be bound or reached.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The kernel has no room for this path.
    #[error(
        "socket path {} is {} bytes long, the limit is {MAX_PATH}: choose a shorter directory",
        path.display(), path.as_os_str().len()
    )]
    TooLong {
        /// The path.
        path: PathBuf,
    },
    /// A file stands in the way.
    #[error("{} exists and is not a socket: move it away or choose another path", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot listen on {}: {source}", path.display())]
    Bind {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nobody answers.
    #[error(
        "cannot reach {}: {reason} (usually {usually} listens there; is it running?)",
        path.display()
    )]
    Unreachable {
        /// The path.
        path: PathBuf,
        /// Why.
        reason: String,
        /// Who should listen.
        usually: String,
    },
}

/// Checks that the kernel accepts `path` as a socket's address.
pub fn check_path(path: &Path) -> Result<(), SocketError> {
    if path.as_os_str().len() > MAX_PATH {
        return Err(SocketError::TooLong { path: path.into() });
    }
    Ok(())
}

/// A bound socket, mode 0600. The file is removed when this is dropped, unless another
/// instance has put its own in the place meanwhile.
pub struct Listener {
    listener: UnixListener,
    _file: SocketFile,
}

/// Takes `path` over: binds under a name beside it and renames, so that there is no
/// moment without a listener and a predecessor's socket is replaced, not shared.
pub fn bind(path: &Path) -> Result<Listener, SocketError> {
    let fail = |source| SocketError::Bind {
        path: path.into(),
        source,
    };
    match std::fs::symlink_metadata(path) {
        Ok(meta) if !meta.file_type().is_socket() => {
            return Err(SocketError::NotASocket { path: path.into() });
        }
        _ => {}
    }
    check_path(path)?;
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(fail)?;
    }
    // The kubelet's plugin watcher passes over names that begin with a dot. Where the
    // longer name does not fit, bind in place.
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    let aside = path.with_file_name(name);
    let temporary = if check_path(&aside).is_ok() {
        aside.as_path()
    } else {
        path
    };
    match std::fs::remove_file(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(error)),
        _ => {}
    }
    let listener = UnixListener::bind(temporary).map_err(fail)?;
    std::fs::set_permissions(temporary, std::fs::Permissions::from_mode(0o600)).map_err(fail)?;
    if temporary != path {
        std::fs::rename(temporary, path).map_err(fail)?;
    }
    let id = identity(path).map_err(fail)?;
    Ok(Listener {
        listener,
        _file: SocketFile {
            path: path.into(),
            id,
        },
    })
}

impl Listener {
    /// Accepted connections, for tonic or hyper. The socket file goes with the stream.
    pub fn incoming(self) -> Incoming {
        Incoming(self)
    }

    /// Waits for one connection.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.listener.accept().await?.0)
    }
}

/// See [`Listener::incoming`].
pub struct Incoming(Listener);

impl Stream for Incoming {
    type Item = io::Result<UnixStream>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0
            .listener
            .poll_accept(cx)
            .map(|accepted| Some(accepted.map(|(stream, _)| stream)))
    }
}

struct SocketFile {
    path: PathBuf,
    id: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|id| id == self.id) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Device and inode: tells our socket file from a successor's of the same name.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let meta = std::fs::symlink_metadata(path)?;
    Ok((meta.dev(), meta.ino()))
}

/// A gRPC channel to `path` that connects when first used and again after every loss.
pub fn channel(path: &Path) -> Result<Channel, SocketError> {
    Ok(endpoint(path)?.connect_lazy())
}

/// A gRPC channel to `path`, connected now. `usually` names who should listen there.
pub async fn connect(path: &Path, usually: &str) -> Result<Channel, SocketError> {
    reach(endpoint(path)?, path, usually).await
}

/// Connects as [`connect`] does, and asks the other side for a sign of life whenever it has
/// said nothing for `quiet`. One that stands still for as long again is given up: what waits
/// for it ends with an error.
pub async fn connect_to_hear(
    path: &Path,
    usually: &str,
    quiet: Duration,
) -> Result<Channel, SocketError> {
    let endpoint = endpoint(path)?
        .http2_keep_alive_interval(quiet)
        .keep_alive_timeout(quiet)
        .keep_alive_while_idle(true);
    reach(endpoint, path, usually).await
}

async fn reach(endpoint: Endpoint, path: &Path, usually: &str) -> Result<Channel, SocketError> {
    endpoint
        .connect()
        .await
        .map_err(|error| SocketError::Unreachable {
            path: path.into(),
            reason: root_cause(&error),
            usually: usually.into(),
        })
}

fn endpoint(path: &Path) -> Result<Endpoint, SocketError> {
    check_path(path)?;
    let unreachable = |reason: String| SocketError::Unreachable {
        path: path.into(),
        reason,
        usually: "a gRPC server".into(),
    };
    let absolute = std::path::absolute(path).map_err(|e| unreachable(e.to_string()))?;
    let text = absolute
        .to_str()
        .ok_or_else(|| unreachable("the path is not UTF-8".into()))?;
    Endpoint::from_shared(format!("unix://{text}")).map_err(|e| unreachable(root_cause(&e)))
}

/// The innermost cause: transport errors of tonic and hyper hide it behind general words.
pub fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    match cause.downcast_ref::<io::Error>() {
        Some(io) => io_text(io),
        None => cause.to_string(),
    }
}

/// A status as a person wants to read it: its message, or the transport's own cause.
pub fn status_text(status: &Status) -> String {
    match status.source() {
        Some(source) => root_cause(source),
        None if status.message().is_empty() => status.code().description().to_owned(),
        None => status.message().to_owned(),
    }
}

/// Without `(os error 2)`, which differs between systems and tells a person nothing.
pub fn io_text(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir() -> tempfile::TempDir {
        tempfile::Builder::new()
            .prefix("nd")
            .tempdir_in("/tmp")
            .unwrap()
    }

    #[tokio::test]
    async fn a_successor_takes_the_path_over_and_keeps_it() {
        let dir = dir();
        let path = dir.path().join("a.sock");
        let first = bind(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let second = bind(&path).unwrap();
        drop(first);
        assert!(path.exists(), "the successor's file was removed");
        drop(second);
        assert!(!path.exists(), "the file was left behind");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn bad_paths_are_named() {
        let dir = dir();
        let long = dir.path().join("x".repeat(120));
        let text = bind(&long).err().unwrap().to_string();
        assert!(text.contains("the limit is"), "{text}");
        let file = dir.path().join("file");
        std::fs::write(&file, "keep").unwrap();
        let text = bind(&file).err().unwrap().to_string();
        assert!(text.ends_with("is not a socket: move it away or choose another path"));
        assert_eq!(std::fs::read(&file).unwrap(), b"keep");
        let gone = dir.path().join("gone");
        let text = connect(&gone, "containerd")
            .await
            .err()
            .unwrap()
            .to_string();
        assert_eq!(
            text,
            format!(
                "cannot reach {}: No such file or directory (usually containerd listens there; is it running?)",
                gone.display()
            )
        );
    }
}
