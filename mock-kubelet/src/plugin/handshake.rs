//! The registration handshake: GetInfo, checks, NotifyRegistrationStatus.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ndra_core::socket;
use ndra_core::wire::registration::registration_client::RegistrationClient;
use ndra_core::wire::registration::{InfoRequest, PluginInfo, RegistrationStatus};
use tonic::transport::Channel;

use super::connection::lower;
use super::semver;
use crate::config::ApiVersion;
use crate::grpc::{request, rpc_error, within};
use crate::node::Node;

/// How long the kubelet waits until a registration socket accepts.
const DIAL: Duration = Duration::from_secs(10);
/// The longest account of itself, in bytes, that a plugin may give: it is echoed in errors.
const MAX_INFO: usize = 64 * 1024;
/// How long it waits for the reply to NotifyRegistrationStatus.
const NOTIFY: Duration = Duration::from_secs(5);

/// Why a plugin was not registered, in the kubelet's words.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("RegisterPlugin error -- dial failed at socket {}, err: failed to dial socket {}, err: {reason}", .socket.display(), .socket.display())]
    Dial { socket: PathBuf, reason: String },
    #[error("RegisterPlugin error -- failed to get plugin info using RPC GetInfo at socket {}, err: {reason}", .socket.display())]
    GetInfo { socket: PathBuf, reason: String },
    #[error("RegisterPlugin error -- no handler registered for plugin type: {kind} at socket {}", .socket.display())]
    Type { socket: PathBuf, kind: String },
    #[error("RegisterPlugin error -- plugin validation failed with err: {0}")]
    Invalid(#[from] Invalid),
    #[error("RegisterPlugin error -- plugin registration failed with err: {0}")]
    Taken(#[from] Taken),
    #[error("RegisterPlugin error -- failed to send registration status at socket {}, err: {reason}", .socket.display())]
    Notify { socket: PathBuf, reason: String },
}

/// What is wrong with a plugin's own account of itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Invalid {
    #[error(
        "invalid DRA driver name {name:?}: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com')"
    )]
    Name { name: String },
    #[error("validation failed for DRA plugin {name} at endpoint {endpoint}: {reason}")]
    Numbers {
        name: String,
        endpoint: String,
        reason: String,
    },
    #[error(
        "invalid supported gRPC versions of DRA driver plugin {name} at endpoint {endpoint}: {reason}"
    )]
    Versions {
        name: String,
        endpoint: String,
        reason: String,
    },
}

/// Another instance is in the way.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Taken {
    #[error("endpoint {} already registered for DRA driver plugin {driver}", .endpoint.display())]
    Endpoint { driver: String, endpoint: PathBuf },
    /// Where versions are numbers: its version is no lower.
    #[error("ValidatePlugin for DRA plugin {driver:?} failed. Another plugin with the same name is already registered with a higher supported version: \"{}.{}.{}\"", .present[0], .present[1], .present[2])]
    Number { driver: String, present: [u64; 3] },
}

/// Registers the plugin behind `socket`, or tells it why not.
pub(crate) async fn handshake(
    node: &Arc<Node>,
    known: &[ApiVersion],
    socket: &Path,
) -> Result<(), HandshakeError> {
    let dial = |reason: String| HandshakeError::Dial {
        socket: socket.into(),
        reason,
    };
    let channel = tokio::time::timeout(DIAL, socket::connect(socket, "a DRA plugin"))
        .await
        .map_err(|_| dial("context deadline exceeded".into()))?
        .map_err(|error| {
            dial(match error {
                socket::SocketError::Unreachable { reason, .. } => lower(&reason),
                other => other.to_string(),
            })
        })?;
    let mut client = RegistrationClient::new(channel).max_decoding_message_size(MAX_INFO);
    let deadline = node.timing.info_deadline;
    let info = within(deadline, client.get_info(request(InfoRequest {}, deadline)))
        .await
        .map_err(|status| HandshakeError::GetInfo {
            socket: socket.into(),
            reason: rpc_error(&status),
        })?;
    let outcome = accept(node, known, socket, &info);
    let status = RegistrationStatus {
        plugin_registered: outcome.is_ok(),
        error: outcome
            .as_ref()
            .err()
            .map(ToString::to_string)
            .unwrap_or_default(),
    };
    let told = tell(&mut client, status).await;
    outcome?;
    told.map_err(|reason| HandshakeError::Notify {
        socket: socket.into(),
        reason,
    })
}

async fn tell(
    client: &mut RegistrationClient<Channel>,
    status: RegistrationStatus,
) -> Result<(), String> {
    let call = client.notify_registration_status(request(status, NOTIFY));
    within(NOTIFY, call)
        .await
        .map(drop)
        .map_err(|status| rpc_error(&status))
}

fn accept(
    node: &Arc<Node>,
    known: &[ApiVersion],
    socket: &Path,
    info: &PluginInfo,
) -> Result<(), HandshakeError> {
    if info.r#type != "DRAPlugin" {
        return Err(HandshakeError::Type {
            socket: socket.into(),
            kind: info.r#type.clone(),
        });
    }
    let endpoint = match info.endpoint.as_str() {
        "" => socket.to_path_buf(),
        endpoint => PathBuf::from(endpoint),
    };
    check_name(&info.name)?;
    let unfit = |reason| Invalid::Numbers {
        name: info.name.clone(),
        endpoint: endpoint.display().to_string(),
        reason,
    };
    let (version, number) = if node.classic {
        let highest = semver::highest(&info.name, &info.supported_versions);
        (ApiVersion::V1alpha3, Some(highest.map_err(unfit)?))
    } else {
        let chosen = choose(&info.supported_versions, known);
        let chosen = chosen.map_err(|reason| Invalid::Versions {
            name: info.name.clone(),
            endpoint: endpoint.display().to_string(),
            reason,
        })?;
        (chosen, None)
    };
    let health_v1 = super::health::speaks_v1(&info.supported_versions);
    node.plugins
        .add(&info.name, socket, &endpoint, version, number, health_v1)
        .map_err(|taken| match taken {
            // It is a part of the check of its versions.
            Taken::Number { .. } => unfit(taken.to_string()).into(),
            Taken::Endpoint { .. } => HandshakeError::Taken(taken),
        })
}

/// The first of the plugin's list that the kubelet knows.
fn choose(offered: &[String], known: &[ApiVersion]) -> Result<ApiVersion, String> {
    if offered.is_empty() {
        return Err("empty list of supported gRPC services (aka supported versions)".into());
    }
    offered
        .iter()
        .find_map(|service| known.iter().find(|version| version.service() == service))
        .copied()
        .ok_or_else(|| {
            let known: Vec<_> = known.iter().map(|version| version.service()).collect();
            format!(
                "none of services supported by the plugin ({}) are supported by the kubelet ({})",
                quoted(offered),
                quoted(&known)
            )
        })
}

fn quoted(words: &[impl AsRef<str>]) -> String {
    let words: Vec<_> = words.iter().map(|w| format!("{:?}", w.as_ref())).collect();
    format!("[{}]", words.join(" "))
}

fn check_name(name: &str) -> Result<(), Invalid> {
    let label = |label: &str| {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !label.is_empty()
            && label.chars().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() <= 253 && name.split('.').all(label) {
        return Ok(());
    }
    Err(Invalid::Name {
        name: name.chars().take(300).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plugins_order_decides() {
        let both = [ApiVersion::V1, ApiVersion::V1beta1];
        let offer = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let beta_first = offer(&["v9.DRAPlugin", "v1beta1.DRAPlugin", "v1.DRAPlugin"]);
        assert_eq!(choose(&beta_first, &both), Ok(ApiVersion::V1beta1));
        assert_eq!(choose(&beta_first, &[ApiVersion::V1]), Ok(ApiVersion::V1));
        insta::assert_snapshot!(choose(&offer(&["1.0.0", "v1alpha3.Node"]), &both).unwrap_err(), @r#"none of services supported by the plugin (["1.0.0" "v1alpha3.Node"]) are supported by the kubelet (["v1.DRAPlugin" "v1beta1.DRAPlugin"])"#);
        insta::assert_snapshot!(choose(&[], &both).unwrap_err(), @"empty list of supported gRPC services (aka supported versions)");
    }

    #[test]
    fn names_are_dns_subdomains() {
        for good in ["dra.networking", "a", "0-a.b1"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "A.b", "a..b", "-a", "a-", "a/b", &"a.".repeat(200)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        insta::assert_snapshot!(check_name("Dra_Net").unwrap_err(), @r#"invalid DRA driver name "Dra_Net": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com')"#);
    }
}
