//! Device metadata files as a program in a container reads them: by the mounts that the
//! runtime gave the container, not by where the driver wrote them.

use std::path::Path;

use ndra_core::metadata::CONTAINER_DIR;
use ndra_core::socket;
use ndra_core::wire::cri::runtime_service_client::RuntimeServiceClient;
use ndra_core::wire::cri::{ContainerFilter, ContainerStatusRequest, ListContainersRequest};
use serde_json::Value;

use super::stage::split;
use crate::scenario::MetadataFile;

/// What of these files is not as it must be.
pub(crate) async fn check(runtime: &Path, wanted: &[MetadataFile]) -> Vec<String> {
    let mut missing = Vec::new();
    for file in wanted {
        let found = match read(runtime, file).await {
            Ok(found) => found,
            Err(why) => {
                missing.push(format!("{}: {why}", file.path));
                continue;
            }
        };
        let names: Vec<&str> = found
            .pointer("/requests/0/devices")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|device| device.pointer("/networkData/interfaceName")?.as_str())
            .collect();
        if names != file.interfaces {
            missing.push(format!(
                "{} of {} names the interfaces [{}], not [{}]",
                file.path,
                file.pod,
                names.join(" "),
                file.interfaces.join(" ")
            ));
        }
    }
    missing
}

/// The newest form of a file, through the mount of a container.
async fn read(runtime: &Path, file: &MetadataFile) -> Result<Value, String> {
    let failed = |status: tonic::Status| socket::status_text(&status);
    let channel = socket::channel(runtime).map_err(|error| error.to_string())?;
    let mut runtime = RuntimeServiceClient::new(channel);
    let (namespace, name) = split(&file.pod);
    let label = |key: &str, value: &str| (format!("io.kubernetes.{key}"), value.to_owned());
    let filter = ContainerFilter {
        label_selector: [
            label("pod.namespace", &namespace),
            label("pod.name", &name),
            label("container.name", &file.container),
        ]
        .into(),
        ..ContainerFilter::default()
    };
    let request = ListContainersRequest {
        filter: Some(filter),
    };
    let listed = runtime.list_containers(request).await.map_err(failed)?;
    let listed = listed.into_inner().containers.into_iter().next();
    let container = listed.ok_or("there is no such container")?;
    let request = ContainerStatusRequest {
        container_id: container.id,
        verbose: true,
    };
    let status = runtime.container_status(request).await.map_err(failed)?;
    let info = status.into_inner().info.remove("info").unwrap_or_default();
    let info: Value = serde_json::from_str(&info).map_err(|error| error.to_string())?;
    let mounts = info
        .pointer("/runtimeSpec/mounts")
        .and_then(Value::as_array);
    let place = format!("{CONTAINER_DIR}/{}", file.path);
    let mut mounts = mounts.into_iter().flatten();
    let mount = mounts
        .find(|mount| mount["destination"] == place.as_str())
        .ok_or("no mount of the container has it")?;
    let source = mount["source"].as_str().unwrap_or_default();
    let text = std::fs::read_to_string(source).map_err(|error| error.to_string())?;
    let mut objects = serde_json::Deserializer::from_str(&text).into_iter();
    let first = objects.next().ok_or("it is empty")?;
    first.map_err(|error| error.to_string())
}
