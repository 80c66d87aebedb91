//! CRI messages as the runtimes' JSON shows them: Go's field names, empty fields left out.

use ndra_core::wire::cri;
use serde_json::{Map, Value, json};

/// An object that leaves empty values out, as `omitempty` does.
#[derive(Default)]
struct Object(Map<String, Value>);

impl Object {
    fn put(mut self, key: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        let empty = match &value {
            Value::Null => true,
            Value::Bool(bit) => !bit,
            Value::Number(number) => number.as_i64() == Some(0),
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(_) => false,
        };
        if !empty {
            self.0.insert(key.into(), value);
        }
        self
    }

    /// A message that is set stays, even when it is empty; a map does not.
    fn map<'a>(self, key: &str, map: impl IntoIterator<Item = (&'a String, &'a String)>) -> Self {
        let map: Map<_, _> = map
            .into_iter()
            .map(|(k, v)| (k.clone(), Value::from(v.as_str())))
            .collect();
        if map.is_empty() {
            self
        } else {
            self.put(key, map)
        }
    }

    fn message<T>(self, key: &str, message: Option<&T>, show: impl Fn(&T) -> Value) -> Self {
        match message {
            Some(message) => self.put(key, show(message)),
            None => self,
        }
    }

    fn done(self) -> Value {
        Value::Object(self.0)
    }
}

/// `PodSandboxMetadata`.
pub(crate) fn sandbox_metadata(pod: &cri::PodSandboxMetadata) -> Value {
    Object::default()
        .put("name", pod.name.as_str())
        .put("uid", pod.uid.as_str())
        .put("namespace", pod.namespace.as_str())
        .put("attempt", pod.attempt)
        .done()
}

/// `ContainerMetadata`.
pub(crate) fn container_metadata(metadata: Option<&cri::ContainerMetadata>) -> Value {
    let Some(metadata) = metadata else {
        return Value::Null;
    };
    Object::default()
        .put("name", metadata.name.as_str())
        .put("attempt", metadata.attempt)
        .done()
}

/// `NamespaceOption`; an unset one is an empty object.
pub(crate) fn namespace_options(options: Option<&cri::NamespaceOption>) -> Value {
    let Some(options) = options else {
        return json!({});
    };
    Object::default()
        .put("network", options.network)
        .put("pid", options.pid)
        .put("ipc", options.ipc)
        .put("target_id", options.target_id.as_str())
        .done()
}

/// `PodSandboxConfig`.
pub(crate) fn sandbox_config(config: &cri::PodSandboxConfig) -> Value {
    Object::default()
        .message("metadata", config.metadata.as_ref(), sandbox_metadata)
        .put("hostname", config.hostname.as_str())
        .put("log_directory", config.log_directory.as_str())
        .map("labels", &config.labels)
        .map("annotations", &config.annotations)
        .message("linux", config.linux.as_ref(), |linux| {
            Object::default()
                .put("cgroup_parent", linux.cgroup_parent.as_str())
                .message("security_context", linux.security_context.as_ref(), |s| {
                    Object::default()
                        .message("namespace_options", s.namespace_options.as_ref(), |o| {
                            namespace_options(Some(o))
                        })
                        .put("privileged", s.privileged)
                        .done()
                })
                .map("sysctls", &linux.sysctls)
                .done()
        })
        .done()
}

/// `ContainerConfig`.
pub(crate) fn container_config(config: &cri::ContainerConfig) -> Value {
    let envs: Vec<_> = config
        .envs
        .iter()
        .map(|e| {
            Object::default()
                .put("key", e.key.as_str())
                .put("value", e.value.as_str())
                .done()
        })
        .collect();
    let devices: Vec<_> = config
        .cdi_devices
        .iter()
        .map(|d| Object::default().put("name", d.name.as_str()).done())
        .collect();
    Object::default()
        .put("metadata", container_metadata(config.metadata.as_ref()))
        .message("image", config.image.as_ref(), |image| {
            Object::default()
                .put("image", image.image.as_str())
                .map("annotations", &image.annotations)
                .put("user_specified_image", image.user_specified_image.as_str())
                .put("runtime_handler", image.runtime_handler.as_str())
                .done()
        })
        .put("command", config.command.clone())
        .put("args", config.args.clone())
        .put("working_dir", config.working_dir.as_str())
        .put("envs", envs)
        .map("labels", &config.labels)
        .map("annotations", &config.annotations)
        .put("log_path", config.log_path.as_str())
        .message("linux", config.linux.as_ref(), |linux| {
            Object::default()
                .message("security_context", linux.security_context.as_ref(), |s| {
                    Object::default()
                        .put("privileged", s.privileged)
                        .message("namespace_options", s.namespace_options.as_ref(), |o| {
                            namespace_options(Some(o))
                        })
                        .done()
                })
                .done()
        })
        .put("CDI_devices", devices)
        .done()
}
