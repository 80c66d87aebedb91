//! Opens the client for the Kubernetes API, from a kubeconfig file or from within a pod.

use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use ::kube::Client;
use ::kube::config::{Config, KubeConfigOptions, Kubeconfig, KubeconfigError};
use hyper::header::{HeaderValue, USER_AGENT};

use crate::socket::io_text;

/// How long a TCP connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a request may take to be sent.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest kubeconfig file, in bytes.
const MAX_KUBECONFIG: u64 = 1024 * 1024;

/// Why there is no client for the Kubernetes API.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig file cannot be used as it is on disk.
    #[error("kubeconfig {}: {reason}; name a readable kubeconfig file", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file was read, but what it says does not lead to a cluster.
    #[error(
        "kubeconfig {}: {reason}; `kubectl --kubeconfig {} config view` shows what it says",
        path.display(), path.display()
    )]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No file was named, and this is no pod with a service account.
    #[error(
        "no Kubernetes API server: {reason}; run in a pod that has a service account, or name a kubeconfig file"
    )]
    InCluster {
        /// What the pod lacks.
        reason: String,
    },
    /// The client cannot be built, for example for want of a valid certificate.
    #[error(
        "no client for the API server at {server}: {reason}; mend the certificate, key or token that the configuration names"
    )]
    Client {
        /// Its URL.
        server: String,
        /// What is wrong.
        reason: String,
    },
    /// The user agent is no HTTP header value.
    #[error("`{0}` cannot be sent as the user agent; use printable ASCII")]
    UserAgent(String),
}

/// A client for the cluster of `kubeconfig`'s current context, or, without a file, for
/// the cluster that this pod runs in.
///
/// Nothing is sent yet: an API server that is away shows with the first call. The client
/// does not retry; its callers do, each with its own patience.
pub async fn connect(kubeconfig: Option<&Path>, user_agent: &str) -> Result<Client, ConnectError> {
    install_crypto();
    let agent = HeaderValue::from_str(user_agent).map_err(|_| {
        ConnectError::UserAgent(
            user_agent
                .chars()
                .take(64)
                .collect::<String>()
                .escape_debug()
                .to_string(),
        )
    })?;
    let mut config = match kubeconfig {
        Some(path) => from_file(path).await?,
        None => in_cluster()?,
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.write_timeout = Some(WRITE_TIMEOUT);
    config.default_retry = false;
    config.headers.push((USER_AGENT, agent));
    let server = config.cluster_url.to_string();
    Client::try_from(config).map_err(|error| ConnectError::Client {
        server,
        reason: without_os_error(&error.to_string()),
    })
}

/// Chooses the cryptography of TLS for the whole process; who comes first decides.
///
/// [`connect`] does it. Whoever makes a client in another way calls it first: with two
/// providers in one build, and no choice, the first connection panics.
pub fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that the program has chosen one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

fn in_cluster() -> Result<Config, ConnectError> {
    const ADDRESS: [&str; 2] = ["KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"];
    if let Some(missing) = ADDRESS.iter().find(|name| std::env::var_os(name).is_none()) {
        return Err(ConnectError::InCluster {
            reason: format!("the environment has no {missing}"),
        });
    }
    Config::incluster().map_err(|error| ConnectError::InCluster {
        reason: error.to_string(),
    })
}

async fn from_file(path: &Path) -> Result<Config, ConnectError> {
    let file_error = |reason: String| ConnectError::File {
        path: path.to_owned(),
        reason,
    };
    let metadata = tokio::fs::metadata(path)
        .await
        .map_err(|error| file_error(io_text(&error)))?;
    if !metadata.is_file() {
        return Err(file_error("is not a regular file".into()));
    }
    if metadata.len() > MAX_KUBECONFIG {
        return Err(file_error(format!(
            "has {} bytes, more than the {MAX_KUBECONFIG} that any kubeconfig needs",
            metadata.len()
        )));
    }
    let content = |error: KubeconfigError| match error {
        KubeconfigError::ReadConfig(error, _) => file_error(io_text(&error)),
        KubeconfigError::Parse(error) => ConnectError::Content {
            path: path.to_owned(),
            reason: format!(
                "not a kubeconfig: {}",
                first_line(&error.without_snippet().to_string())
            ),
        },
        KubeconfigError::CurrentContextNotSet => ConnectError::Content {
            path: path.to_owned(),
            reason: "has no current-context".into(),
        },
        other => ConnectError::Content {
            path: path.to_owned(),
            reason: other.to_string(),
        },
    };
    let kubeconfig = Kubeconfig::read_from(path).map_err(content)?;
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(content)
}

/// `(os error 2)` differs between systems and tells a person nothing.
fn without_os_error(text: &str) -> String {
    match text.find(" (os error") {
        Some(at) => {
            let rest = text[at..].split_once(')').map_or("", |(_, rest)| rest);
            format!("{}{rest}", &text[..at])
        }
        None => text.to_owned(),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;

    fn dir() -> tempfile::TempDir {
        tempfile::Builder::new()
            .prefix("nd")
            .tempdir_in("/tmp")
            .unwrap()
    }

    async fn words(dir: &tempfile::TempDir, path: &Path) -> String {
        let error = connect(Some(path), "ndra-test").await.err().unwrap();
        let error = error.to_string();
        error.replace(&dir.path().display().to_string(), "DIR")
    }

    async fn words_for(content: &str) -> String {
        let dir = dir();
        let path = dir.path().join("config");
        std::fs::write(&path, content).unwrap();
        words(&dir, &path).await
    }

    fn kubeconfig(server: &str, user: &str) -> String {
        format!(
            r#"{{"apiVersion":"v1","kind":"Config","current-context":"c",
            "contexts":[{{"name":"c","context":{{"cluster":"k","user":"u"}}}}],
            "clusters":[{{"name":"k","cluster":{{"server":"{server}"}}}}],
            "users":[{{"name":"u","user":{user}}}]}}"#
        )
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_used_is_named_with_the_mend() {
        let dir = dir();
        assert_snapshot!(words(&dir, &dir.path().join("none")).await, @"kubeconfig DIR/none: No such file or directory; name a readable kubeconfig file");
        assert_snapshot!(words(&dir, dir.path()).await, @"kubeconfig DIR: is not a regular file; name a readable kubeconfig file");
        let binary = dir.path().join("binary");
        std::fs::write(&binary, [0xff, 0x00, 0xfe]).unwrap();
        assert_snapshot!(words(&dir, &binary).await, @"kubeconfig DIR/binary: Invalid UTF-8; name a readable kubeconfig file");
        let big = dir.path().join("big");
        std::fs::write(&big, vec![b' '; 1024 * 1024 + 1]).unwrap();
        assert_snapshot!(words(&dir, &big).await, @"kubeconfig DIR/big: has 1048577 bytes, more than the 1048576 that any kubeconfig needs; name a readable kubeconfig file");
    }

    #[tokio::test]
    async fn a_file_that_leads_nowhere_is_named_with_the_reason() {
        assert_snapshot!(words_for("").await, @"kubeconfig DIR/config: has no current-context; `kubectl --kubeconfig DIR/config config view` shows what it says");
        assert_snapshot!(words_for("{").await, @"kubeconfig DIR/config: not a kubeconfig: unclosed bracket '{' at line 1, column 1; `kubectl --kubeconfig DIR/config config view` shows what it says");
        assert_snapshot!(words_for("apiVersion: v1\nkind: Config\n").await, @"kubeconfig DIR/config: has no current-context; `kubectl --kubeconfig DIR/config config view` shows what it says");
        assert_snapshot!(words_for("current-context: gone\n").await, @"kubeconfig DIR/config: failed to load current context: gone; `kubectl --kubeconfig DIR/config config view` shows what it says");
        assert_snapshot!(words_for(&kubeconfig("not a url", "{}")).await, @"kubeconfig DIR/config: failed to parse cluster url: invalid uri character; `kubectl --kubeconfig DIR/config config view` shows what it says");
        assert_snapshot!(words_for(&kubeconfig("https://x", r#"{"client-certificate":"/nonexistent/c","client-key":"/nonexistent/k"}"#)).await, @r#"no client for the API server at https://x/: Failed to infer provided configuration: failed to load client certificate: failed to read file '"/nonexistent/c"': No such file or directory; mend the certificate, key or token that the configuration names"#);
    }

    #[tokio::test]
    async fn a_good_file_needs_no_server_yet() {
        let dir = dir();
        let path = dir.path().join("config");
        std::fs::write(&path, kubeconfig("http://127.0.0.1:1", "{}")).unwrap();
        assert!(connect(Some(&path), "ndra/1 (test)").await.is_ok());
        let error = connect(Some(&path), "nd\nra").await.err().unwrap();
        assert_snapshot!(error, @r#"`nd\nra` cannot be sent as the user agent; use printable ASCII"#);
    }
}
