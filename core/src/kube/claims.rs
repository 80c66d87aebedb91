//! Reads a ResourceClaim when the kubelet asks to prepare it, of whichever API version the
//! cluster has.

use std::time::Duration;

use ::kube::api::DynamicObject;
use ::kube::{Api, Client};
use k8s_openapi::api::resource::v1::ResourceClaim;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::classic;
use super::failure::{Failure, Verdict, call};
use super::names::is_dns_subdomain;

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

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
    /// The API server has no claims of this version.
    #[error(
        "ResourceClaim {namespace}/{name}: the API server does not serve resourceclaims of {}; {}",
        api.version(),
        api.needs()
    )]
    NotServed {
        /// The version that was asked for.
        api: ClaimApi,
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
        "ResourceClaim {namespace}/{name} not read within {within:?}, {tries} tries; the last one: {message}. Check that the API server is up and reachable from this node"
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

/// Which claims the API server has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClaimApi {
    /// `resource.k8s.io/v1`, since Kubernetes 1.34.
    #[default]
    V1,
    /// `resource.k8s.io/v1alpha2`, Kubernetes 1.29 and 1.30. Its allocations are for the
    /// kubelet to hand over.
    V1alpha2,
}

impl ClaimApi {
    fn version(self) -> &'static str {
        match self {
            Self::V1 => "resource.k8s.io/v1",
            Self::V1alpha2 => "resource.k8s.io/v1alpha2",
        }
    }

    /// What must be so that claims of this version are served.
    fn needs(self) -> &'static str {
        match self {
            Self::V1 => "it needs Kubernetes 1.34 or newer with that API enabled",
            Self::V1alpha2 => {
                "only Kubernetes 1.29 and 1.30 do, with the feature gate \
                 DynamicResourceAllocation: start the driver without --kubelet-api v1alpha3 on a \
                 newer one"
            }
        }
    }
}

/// Reads claims. Clones share the client.
#[derive(Clone)]
pub struct ClaimReader {
    client: Client,
    api: ClaimApi,
    within: Duration,
}

impl ClaimReader {
    /// Reads from this API; one claim may take `within`, retries included.
    pub fn new(client: Client, api: ClaimApi, within: Duration) -> Self {
        Self {
            client,
            api,
            within,
        }
    }

    /// The claim of this name now.
    pub async fn get(&self, namespace: &str, name: &str) -> Result<ResourceClaim, ClaimReadError> {
        match self.api {
            ClaimApi::V1 => get_within(&self.client, namespace, name, self.within).await,
            ClaimApi::V1alpha2 => {
                check_name("namespace", namespace)?;
                check_name("name", name)?;
                let resource = classic::resource();
                let api: Api<DynamicObject> =
                    Api::namespaced_with(self.client.clone(), namespace, &resource);
                let object = read(&api, self.api, namespace, name, self.within).await?;
                classic::claim(object).map_err(|message| ClaimReadError::Other {
                    namespace: namespace.into(),
                    name: name.into(),
                    message,
                })
            }
        }
    }
}

/// Reads one claim. Tries again, as long as `within`, when the API server is away or
/// overloaded.
async fn get_within(
    client: &Client,
    namespace: &str,
    name: &str,
    within: Duration,
) -> Result<ResourceClaim, ClaimReadError> {
    check_name("namespace", namespace)?;
    check_name("name", name)?;
    let api: Api<ResourceClaim> = Api::namespaced(client.clone(), namespace);
    read(&api, ClaimApi::V1, namespace, name, within).await
}

async fn read<K>(
    api: &Api<K>,
    version: ClaimApi,
    namespace: &str,
    name: &str,
    within: Duration,
) -> Result<K, ClaimReadError>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
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
            return Err(error(version, namespace, name, failure));
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

fn error(api: ClaimApi, namespace: &str, name: &str, failure: Failure) -> ClaimReadError {
    let (namespace, name) = (namespace.to_owned(), name.to_owned());
    match failure.verdict {
        Verdict::NotFound if failure.resource_unknown() => ClaimReadError::NotServed {
            api,
            namespace,
            name,
        },
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

fn check_name(what: &'static str, name: &str) -> Result<(), ClaimReadError> {
    if is_dns_subdomain(name) {
        return Ok(());
    }
    Err(ClaimReadError::BadName {
        what,
        name: name.chars().take(64).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kube::fake::{Reply, api, in_turn, refusal, status};
    use insta::assert_snapshot;
    use serde_json::{Value, json};

    async fn get(
        client: &Client,
        namespace: &str,
        name: &str,
    ) -> Result<ResourceClaim, ClaimReadError> {
        ClaimReader::new(client.clone(), ClaimApi::V1, Duration::from_secs(20))
            .get(namespace, name)
            .await
    }

    fn claim() -> Value {
        json!({
            "apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim",
            "metadata": { "name": "c", "namespace": "ns", "uid": "u" },
            "spec": {},
        })
    }

    async fn refused(reply: Reply) -> String {
        let (client, log) = api(in_turn(vec![reply], claim()));
        let error = get(&client, "ns", "c").await.unwrap_err();
        assert_eq!(log.all().len(), 1, "asked again for nothing");
        error.to_string()
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_or_absent_server_is_asked_again() {
        let busy = vec![
            refusal(429, "TooManyRequests", "slow down"),
            refusal(500, "InternalError", "etcd"),
            Reply::Broken,
            Reply::Never,
            refusal(503, "ServiceUnavailable", "starting"),
        ];
        let (client, log) = api(in_turn(busy, claim()));
        let claim = get(&client, "ns", "c").await.unwrap();
        assert_eq!(claim.metadata.uid.as_deref(), Some("u"));
        let seen = log.all();
        assert_eq!(seen.len(), 6);
        assert_eq!(
            seen[5].line(),
            "GET /apis/resource.k8s.io/v1/namespaces/ns/resourceclaims/c"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_server_costs_no_more_than_the_deadline() {
        // Tries and times vary with the jitter.
        let mut settings = insta::Settings::clone_current();
        settings.add_filter(r"[\d.]+m?s", "TIME");
        settings.add_filter(r"\d+ tries", "N tries");
        let _bound = settings.bind_to_scope();
        let begin = Instant::now();
        let (client, _) = api(|_| Reply::Never);
        let within = Duration::from_secs(12);
        let error = get_within(&client, "ns", "c", within).await.unwrap_err();
        assert!(begin.elapsed() <= within);
        assert_snapshot!(error, @"ResourceClaim ns/c not read within TIME, N tries; the last one: no answer from the API server within TIME. Check that the API server is up and reachable from this node");

        let (client, _) = api(|_| Reply::Broken);
        let error = get(&client, "ns", "c").await.unwrap_err();
        assert_snapshot!(error, @"ResourceClaim ns/c not read within TIME, N tries; the last one: connection refused. Check that the API server is up and reachable from this node");
    }

    #[tokio::test]
    async fn each_refusal_has_its_own_words() {
        assert_snapshot!(refused(refusal(404, "NotFound", r#"resourceclaims.resource.k8s.io "c" not found"#)).await, @"ResourceClaim ns/c not found; it was deleted, or the kubelet asks for a claim of the past");
        assert_snapshot!(refused(refusal(404, "NotFound", "the server could not find the requested resource")).await, @"ResourceClaim ns/c: the API server does not serve resourceclaims of resource.k8s.io/v1; it needs Kubernetes 1.34 or newer with that API enabled");
        let unserved = refusal(
            404,
            "NotFound",
            "the server could not find the requested resource",
        );
        let (client, _) = api(in_turn(vec![unserved], claim()));
        let reader = ClaimReader::new(client, ClaimApi::V1alpha2, Duration::from_secs(20));
        assert_snapshot!(reader.get("ns", "c").await.unwrap_err(), @"ResourceClaim ns/c: the API server does not serve resourceclaims of resource.k8s.io/v1alpha2; only Kubernetes 1.29 and 1.30 do, with the feature gate DynamicResourceAllocation: start the driver without --kubelet-api v1alpha3 on a newer one");
        assert_snapshot!(refused(refusal(403, "Forbidden", r#"resourceclaims.resource.k8s.io "c" is forbidden: User "x" cannot get resource "resourceclaims""#)).await, @r#"ResourceClaim ns/c: the driver may not `get` `resourceclaims` (resource.k8s.io); add the verb to its ClusterRole. The API server says: resourceclaims.resource.k8s.io "c" is forbidden: User "x" cannot get resource "resourceclaims" (HTTP 403)"#);
        assert_snapshot!(refused(refusal(400, "BadRequest", "no")).await, @"ResourceClaim ns/c cannot be read: no (HTTP 400)");
        assert_snapshot!(refused(Reply::Json(200, json!({ "kind": 7 }))).await, @"ResourceClaim ns/c cannot be read: the answer cannot be read: invalid type: integer `7`, expected a string at line 1 column 9");
    }

    #[tokio::test]
    async fn the_server_decides_how_long_to_wait() {
        tokio::time::pause();
        let mut busy = status(429, "TooManyRequests", "slow down");
        busy["details"] = json!({ "retryAfterSeconds": 3 });
        let (client, _) = api(in_turn(vec![Reply::Json(429, busy)], claim()));
        let begin = Instant::now();
        get(&client, "ns", "c").await.unwrap();
        assert!(begin.elapsed() >= Duration::from_secs(3));
    }

    #[tokio::test]
    async fn a_name_never_becomes_another_path() {
        let (client, log) = api(|_| Reply::Never);
        let error = get(&client, "ns", "../pods/x").await.unwrap_err();
        assert_snapshot!(error, @"`../pods/x` cannot be the name of a ResourceClaim; the request is malformed");
        let error = get(&client, "", "c").await.unwrap_err();
        assert_snapshot!(error, @"`` cannot be the namespace of a ResourceClaim; the request is malformed");
        assert!(log.all().is_empty());
    }
}
