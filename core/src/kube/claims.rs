//! Reads a ResourceClaim when the kubelet asks to prepare it.

use std::time::Duration;

use ::kube::{Api, Client};
use k8s_openapi::api::resource::v1::ResourceClaim;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::failure::{Failure, Verdict, call};

/// How long [`get`] goes on trying. The kubelet gives a prepare call 45 s.
pub const READ_DEADLINE: Duration = Duration::from_secs(20);

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest namespace or name, in bytes.
const MAX_NAME: usize = 253;

/// Why a claim could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimReadError {
    /// The kubelet named something that no Kubernetes object can be called.
    #[error("`{name}` cannot be the {what} of a ResourceClaim; the request is malformed")]
    BadName {
        /// `namespace` or `name`.
        what: &'static str,
        /// What was given, shortened.
        name: String,
    },
    /// There is none.
    #[error(
        "ResourceClaim {namespace}/{name} not found; it was deleted, or the kubelet asks for a claim of the past"
    )]
    NotFound {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// The API server has no `resource.k8s.io/v1`.
    #[error(
        "ResourceClaim {namespace}/{name}: the API server does not serve resourceclaims of resource.k8s.io/v1; it needs Kubernetes 1.34 or newer with that API enabled"
    )]
    NotServed {
        /// The claim's namespace.
        namespace: String,
        /// The claim's name.
        name: String,
    },
    /// The driver may not read claims.
    #[error(
        "ResourceClaim {namespace}/{name}: the driver may not `get` `resourceclaims` (resource.k8s.io); add the verb to its ClusterRole. The API server says: {message}"
    )]
    Forbidden {
        /// The claim's namespace.
        namespace: String,
        /// The claim's name.
        name: String,
        /// The server's words.
        message: String,
    },
    /// The API server could not be reached or was not able to answer until the deadline.
    #[error(
        "ResourceClaim {namespace}/{name}: no answer within {within:?}, {tries} tries; the last one: {message}. Check that the API server is up and reachable from this node"
    )]
    Deadline {
        /// The claim's namespace.
        namespace: String,
        /// The claim's name.
        name: String,
        /// How long it was tried.
        within: Duration,
        /// How often.
        tries: u32,
        /// How the last try failed.
        message: String,
    },
    /// Any other refusal, which another try would not change.
    #[error("ResourceClaim {namespace}/{name} cannot be read: {message}")]
    Other {
        /// The claim's namespace.
        namespace: String,
        /// The claim's name.
        name: String,
        /// What the server or the decoder says.
        message: String,
    },
}

/// Reads one claim. Tries again, until [`READ_DEADLINE`], when the API server is away or
/// overloaded.
pub async fn get(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<ResourceClaim, ClaimReadError> {
    get_within(client, namespace, name, READ_DEADLINE).await
}

/// As [`get`], with a deadline of the caller's own.
pub async fn get_within(
    client: &Client,
    namespace: &str,
    name: &str,
    within: Duration,
) -> Result<ResourceClaim, ClaimReadError> {
    check_name("namespace", namespace)?;
    check_name("name", name)?;
    let api: Api<ResourceClaim> = Api::namespaced(client.clone(), namespace);
    let deadline = Instant::now() + within;
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(3));
    let mut tries = 0;
    loop {
        tries += 1;
        let limit = REQUEST_TIMEOUT.min(deadline.saturating_duration_since(Instant::now()));
        let failure = match call(limit, api.get(name)).await {
            Ok(claim) => return Ok(claim),
            Err(failure) => failure,
        };
        if failure.verdict != Verdict::Later {
            return Err(error(namespace, name, failure));
        }
        let next = Instant::now() + backoff.next(failure.after);
        tracing::debug!(namespace, name, tries, %failure, "claim not read, trying again");
        if next >= deadline {
            return Err(ClaimReadError::Deadline {
                namespace: namespace.into(),
                name: name.into(),
                within,
                tries,
                message: failure.to_string(),
            });
        }
        tokio::time::sleep_until(next).await;
    }
}

fn error(namespace: &str, name: &str, failure: Failure) -> ClaimReadError {
    let (namespace, name) = (namespace.to_owned(), name.to_owned());
    match failure.verdict {
        Verdict::NotFound if failure.resource_unknown() => {
            ClaimReadError::NotServed { namespace, name }
        }
        Verdict::NotFound => ClaimReadError::NotFound { namespace, name },
        Verdict::Forbidden => ClaimReadError::Forbidden {
            namespace,
            name,
            message: failure.to_string(),
        },
        _ => ClaimReadError::Other {
            namespace,
            name,
            message: failure.to_string(),
        },
    }
}

/// Names become part of a URL's path: nothing but what a DNS subdomain may have.
fn check_name(what: &'static str, name: &str) -> Result<(), ClaimReadError> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    if name.len() <= MAX_NAME
        && name.chars().all(allowed)
        && ends(name.chars().next())
        && ends(name.chars().next_back())
        && !name.contains("..")
    {
        return Ok(());
    }
    Err(ClaimReadError::BadName {
        what,
        name: name.chars().take(64).collect(),
    })
}
