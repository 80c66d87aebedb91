//! Do the driver's sockets answer, who serves them, and who may connect?

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ndra_core::socket::io_text;
use tokio::net::UnixStream;

use super::Node;
use crate::doctor::finding::{Finding, fail, ok, warn};

pub(super) async fn check(node: Node) -> Vec<Finding> {
    let config = &node.config;
    let sockets = [
        ("the kubelet", config.registration_socket()),
        ("the kubelet", config.dra_socket()),
        ("the hook", config.callback_socket.clone()),
        ("ndra events and watch", config.events_socket.clone()),
    ];
    let mut found = Vec::new();
    for (caller, path) in sockets {
        found.push(one(caller, path).await);
    }
    found
}

/// Whose file a socket is, and who may open it.
struct File {
    owner: u32,
    mode: u32,
}

async fn one(caller: &str, path: PathBuf) -> Finding {
    let file = {
        let path = path.clone();
        tokio::task::spawn_blocking(move || file(&path)).await
    };
    let served = match UnixStream::connect(&path).await {
        // Who called listen(2); pid 0 is of another pid namespace.
        Ok(stream) => stream.peer_cred().map(|peer| peer.uid()),
        Err(error) => Err(error),
    };
    let file = file.unwrap_or_else(|error| Err(error.to_string()));
    judge(caller, &path, file, served.map_err(|error| io_text(&error)))
}

fn file(path: &Path) -> Result<File, String> {
    let meta = std::fs::symlink_metadata(path).map_err(|error| io_text(&error))?;
    if !meta.file_type().is_socket() {
        return Err("is not a socket".into());
    }
    Ok(File {
        owner: meta.uid(),
        mode: meta.permissions().mode() & 0o777,
    })
}

fn judge(
    caller: &str,
    path: &Path,
    file: Result<File, String>,
    served: Result<u32, String>,
) -> Finding {
    let place = path.display();
    let (file, server) = match (file, served) {
        (Ok(file), Ok(server)) => (file, server),
        (Err(why), _) | (_, Err(why)) => {
            return fail(
                "socket",
                format!("{caller} cannot call {place}: {why}"),
                "start the driver; if it runs, it has other paths: say which after `--`",
            );
        }
    };
    if file.mode & 0o077 != 0 {
        return warn(
            "socket",
            format!(
                "{place} has mode {:04o}: others than user {} may call it",
                file.mode, file.owner
            ),
            format!("chmod 600 {place}; restart the driver, which makes it so"),
        );
    }
    if file.owner != server {
        return warn(
            "socket",
            format!(
                "{place} belongs to user {}, and user {server} serves it",
                file.owner
            ),
            "find out who put it there, and restart the driver",
        );
    }
    ok(
        "socket",
        format!("{place} answers {caller}; user {server} serves it, nobody else may call"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_serves_and_who_may_call_is_told() {
        let path = Path::new("/run/x.sock");
        let of = |mode, owner, served: Result<u32, &str>| {
            let served = served.map_err(str::to_owned);
            let found = judge("the hook", path, Ok(File { owner, mode }), served);
            format!("{:?}: {}", found.level, found.says)
        };
        let all = [
            of(0o600, 0, Ok(0)),
            of(0o666, 0, Ok(0)),
            of(0o600, 0, Ok(1000)),
            of(0o600, 0, Err("Connection refused")),
        ];
        insta::assert_snapshot!(all.join("\n"), @r"
        Ok: /run/x.sock answers the hook; user 0 serves it, nobody else may call
        Warn: /run/x.sock has mode 0666: others than user 0 may call it
        Warn: /run/x.sock belongs to user 0, and user 1000 serves it
        Fail: the hook cannot call /run/x.sock: Connection refused
        ");
    }

    #[tokio::test]
    async fn a_socket_without_a_listener_and_a_file_are_no_sockets() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let words = || async { one("the hook", path.clone()).await.says };
        assert!(words().await.ends_with("No such file or directory"));
        std::fs::write(&path, "").unwrap();
        assert!(words().await.ends_with("is not a socket"));
        std::fs::remove_file(&path).unwrap();
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(words().await.ends_with("Connection refused"));
    }
}
