//! Which runtime serves a socket, and whether it gives containers CDI devices.

use std::path::PathBuf;

use serde_json::Value;
use tonic::Request;

use super::Cri;
use crate::socket;
use crate::wire::cri::{StatusRequest, VersionRequest};

/// What a runtime says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// `containerd`, `cri-o`.
    pub name: String,
    /// Its version, without a leading `v`.
    pub version: String,
    /// Which of its OCI runtimes it starts containers with, where it says so.
    pub oci_runtime: Option<String>,
    /// What it does with CDI devices.
    pub cdi: Cdi,
    /// What it says it is not ready for.
    pub unready: Vec<String>,
}

/// What a runtime does with CDI devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cdi {
    /// It reads these directories, the later of which win.
    Read(Vec<PathBuf>),
    /// It refuses them: its configuration says so.
    Off,
    /// It does not tell; CRI-O does not.
    Untold,
}

/// Why a runtime did not tell.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} does not speak CRI v1: {reason}", socket.display())]
pub struct NotCri {
    /// The socket.
    pub socket: PathBuf,
    /// What gRPC says.
    pub reason: String,
}

impl Cri {
    /// What serves the socket.
    pub async fn about(&self) -> Result<About, NotCri> {
        let fail = |status: tonic::Status| NotCri {
            socket: self.socket.clone(),
            reason: socket::status_text(&status),
        };
        let mut client = self.client.clone();
        let mut request = Request::new(VersionRequest {
            version: "0.1.0".into(),
        });
        request.set_timeout(self.timeout);
        let version = client.version(request).await.map_err(fail)?.into_inner();
        let mut request = Request::new(StatusRequest { verbose: true });
        request.set_timeout(self.timeout);
        let status = client.status(request).await.map_err(fail)?.into_inner();
        let config = status.info.get("config").map(String::as_str);
        let config = serde_json::from_str(config.unwrap_or("{}")).unwrap_or(Value::Null);
        let conditions = status.status.into_iter().flat_map(|s| s.conditions);
        Ok(About {
            name: version.runtime_name,
            version: version.runtime_version.trim_start_matches('v').to_owned(),
            oci_runtime: config
                .pointer("/containerd/defaultRuntimeName")
                .and_then(Value::as_str)
                .map(str::to_owned),
            cdi: cdi(&config),
            unready: conditions
                // The others are advice.
                .filter(|c| matches!(c.r#type.as_str(), "RuntimeReady" | "NetworkReady"))
                .filter(|c| !c.status)
                .map(|c| format!("{} is false: {} {}", c.r#type, c.reason, c.message))
                .collect(),
        })
    }
}

/// In the words of containerd's configuration, or of CRI-O's, which has CDI always.
fn cdi(config: &Value) -> Cdi {
    if config.get("enableCDI") == Some(&Value::Bool(false)) {
        return Cdi::Off;
    }
    let dirs = config
        .get("cdiSpecDirs")
        .or_else(|| config.pointer("/crio/CDISpecDirs"));
    match dirs.and_then(Value::as_array) {
        Some(dirs) => Cdi::Read(
            dirs.iter()
                .filter_map(Value::as_str)
                .map(PathBuf::from)
                .filter(|dir| dir.is_absolute())
                .collect(),
        ),
        None => Cdi::Untold,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_runtime_says_whether_it_takes_cdi_devices() {
        let recorded = include_str!("../../../fixtures/containerd-2.3.4/runtimestatus.json");
        let recorded: Value = serde_json::from_str(recorded).unwrap();
        let mut config = recorded["config"].clone();
        assert_eq!(cdi(&config), Cdi::Read(vec!["/var/run/cdi".into()]));
        config["enableCDI"] = json!(null);
        assert_eq!(cdi(&config), Cdi::Read(vec!["/var/run/cdi".into()]));
        config["enableCDI"] = json!(false);
        assert_eq!(cdi(&config), Cdi::Off);
        assert_eq!(cdi(&json!({ "sandboxImage": "pause" })), Cdi::Untold);
        let recorded = include_str!("../../../fixtures/crio-1.34.0/runtimestatus.json");
        let recorded: Value = serde_json::from_str(recorded).unwrap();
        assert_eq!(
            cdi(&recorded["config"]),
            Cdi::Read(vec!["/var/run/cdi".into()])
        );
    }
}
