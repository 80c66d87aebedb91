//! Plugins run as libcni runs them: ADD in order, DEL in reverse, results chained and cached.

mod process;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tokio::time::Instant;

use self::process::Run;
use super::cache::CacheFile;
use super::error::{Call, Command, ExecError};
use super::invocation::{NAME_RULE, is_name};
use super::{CniResult, ConfigList, Invocation, version};

/// Runs the plugins of configuration lists. It holds no state but its cache directory;
/// several may share one.
#[derive(Clone, Debug)]
pub struct Executor {
    /// Directories with plugins, searched in order (`CNI_PATH`).
    pub cni_path: Vec<PathBuf>,
    /// Results of ADD are kept in `results/` below it, as libcni does.
    pub cache_dir: PathBuf,
}

impl Executor {
    /// Searches plugins in `cni_path`, keeps results below `cache_dir`.
    pub fn new(cni_path: Vec<PathBuf>, cache_dir: impl Into<PathBuf>) -> Self {
        Self {
            cni_path,
            cache_dir: cache_dir.into(),
        }
    }

    /// Removes the cached result of an attachment without a DEL.
    pub fn forget(&self, network: &ConfigList, invocation: &Invocation) -> Result<(), ExecError> {
        self.check_names(network, invocation)?.remove()
    }

    /// Attaches: every plugin in order, each with the result of the one before. The last
    /// result is cached and returned. After a failure, and after a drop of this future,
    /// the caller owes a [`del`](Self::del).
    pub async fn add(
        &self,
        network: &ConfigList,
        invocation: &Invocation,
        deadline: Instant,
    ) -> Result<CniResult, ExecError> {
        let cache = self.check_names(network, invocation)?;
        let mut result: Option<CniResult> = None;
        for plugin in &network.plugins {
            let call = call(Command::Add, network, plugin, invocation)?;
            let program = self.find(&call)?;
            let config = plugin_config(network, plugin, invocation, result.as_ref())?;
            let output = self
                .run(&call, program, &config, invocation, deadline)
                .await?;
            let read = CniResult::from_slice(&output, &network.cni_version).map_err(|source| {
                ExecError::Unreadable {
                    output: String::from_utf8_lossy(&output).into_owned(),
                    call: Box::new(call),
                    source,
                }
            })?;
            result = Some(read);
        }
        let result = result.unwrap_or_default();
        let json = in_version(&result, network)?;
        let config = serde_json::to_vec(network).unwrap_or_default();
        cache.write(&config, &network.name, invocation, json)?;
        Ok(result)
    }

    /// Asks every plugin whether what its ADD made is still there.
    pub async fn check(
        &self,
        network: &ConfigList,
        invocation: &Invocation,
        deadline: Instant,
    ) -> Result<(), ExecError> {
        let cache = self.check_names(network, invocation)?;
        if version::at_least(&network.cni_version, "0.4.0") != Some(true) {
            return Err(ExecError::NoSuchCommand {
                network: network.name.clone(),
                version: network.cni_version.clone(),
                command: Command::Check,
                least: "0.4.0",
            });
        }
        if network.rest.get("disableCheck") == Some(&Value::Bool(true)) {
            return Ok(());
        }
        let result = cache.result();
        for plugin in &network.plugins {
            let call = call(Command::Check, network, plugin, invocation)?;
            let program = self.find(&call)?;
            let config = plugin_config(network, plugin, invocation, result.as_ref())?;
            self.run(&call, program, &config, invocation, deadline)
                .await?;
        }
        Ok(())
    }

    /// Detaches: every plugin in reverse order, each with the cached result of the ADD
    /// where the version has that, or with `known` where the cache has none. The cache
    /// entry goes when all have succeeded.
    pub async fn del(
        &self,
        network: &ConfigList,
        invocation: &Invocation,
        known: Option<&CniResult>,
        deadline: Instant,
    ) -> Result<(), ExecError> {
        let cache = self.check_names(network, invocation)?;
        let result = match version::at_least(&network.cni_version, "0.4.0") {
            Some(true) => cache.result().or_else(|| known.cloned()),
            _ => None,
        };
        for plugin in network.plugins.iter().rev() {
            let call = call(Command::Del, network, plugin, invocation)?;
            let program = self.find(&call)?;
            let config = plugin_config(network, plugin, invocation, result.as_ref())?;
            self.run(&call, program, &config, invocation, deadline)
                .await?;
        }
        cache.remove()
    }

    /// The cache file of an attachment whose names are sound.
    fn check_names(
        &self,
        network: &ConfigList,
        invocation: &Invocation,
    ) -> Result<CacheFile, ExecError> {
        if !is_name(&network.name) {
            return Err(ExecError::Invalid {
                what: "the network's name",
                value: network.name.clone(),
                why: NAME_RULE,
            });
        }
        invocation.check()?;
        Ok(CacheFile::new(&self.cache_dir, &network.name, invocation))
    }

    fn find(&self, call: &Call) -> Result<PathBuf, ExecError> {
        let candidates = self.cni_path.iter().map(|dir| dir.join(&call.plugin));
        candidates
            .into_iter()
            .find(|path| path.is_file())
            .ok_or_else(|| ExecError::NotFound {
                call: Box::new(call.clone()),
                path: self.cni_path.clone(),
            })
    }

    async fn run(
        &self,
        call: &Call,
        program: PathBuf,
        config: &Map<String, Value>,
        invocation: &Invocation,
        deadline: Instant,
    ) -> Result<Vec<u8>, ExecError> {
        let netns = invocation.netns.as_deref().unwrap_or(Path::new(""));
        let run = Run {
            call,
            program,
            stdin: serde_json::to_vec(config).unwrap_or_default(),
            env: [
                ("CNI_COMMAND", call.command.as_str().into()),
                ("CNI_CONTAINERID", invocation.container_id.clone().into()),
                ("CNI_NETNS", netns.into()),
                ("CNI_IFNAME", invocation.if_name.clone().into()),
                ("CNI_ARGS", invocation.cni_args().into()),
                ("CNI_PATH", joined(&self.cni_path)),
            ],
            deadline,
        };
        run.output().await
    }
}

fn joined(paths: &[PathBuf]) -> std::ffi::OsString {
    let mut joined = std::ffi::OsString::new();
    for (index, path) in paths.iter().enumerate() {
        if index > 0 {
            joined.push(":");
        }
        joined.push(path);
    }
    joined
}

/// Names the call, and refuses a plugin type that would leave the plugin directories.
fn call(
    command: Command,
    network: &ConfigList,
    plugin: &Map<String, Value>,
    invocation: &Invocation,
) -> Result<Call, ExecError> {
    let plugin = plugin.get("type").and_then(Value::as_str).unwrap_or("");
    if plugin.is_empty() || plugin.contains(['/', '\0']) || matches!(plugin, "." | "..") {
        return Err(ExecError::Invalid {
            what: "a plugin's type",
            value: plugin.to_owned(),
            why: "it must be a program's name without `/`",
        });
    }
    Ok(Call {
        command,
        plugin: plugin.to_owned(),
        network: network.name.clone(),
        if_name: invocation.if_name.clone(),
    })
}

/// What one plugin of a list reads on its standard input: its own configuration with the
/// list's name and version, the previous result, and those of the invocation's
/// capability arguments that it declares. Fails on a `cniVersion` that is not spoken.
pub fn plugin_config(
    network: &ConfigList,
    plugin: &Map<String, Value>,
    invocation: &Invocation,
    previous: Option<&CniResult>,
) -> Result<Map<String, Value>, ExecError> {
    let mut config = plugin.clone();
    config.insert("name".into(), network.name.clone().into());
    config.insert("cniVersion".into(), network.cni_version.clone().into());
    if let Some(previous) = previous {
        config.insert("prevResult".into(), in_version(previous, network)?);
    }
    let declared = config.get("capabilities").and_then(Value::as_object);
    let runtime: Map<String, Value> = declared
        .into_iter()
        .flatten()
        .filter(|(_, supported)| supported.as_bool() == Some(true))
        .filter_map(|(name, _)| invocation.capability_args.get_key_value(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if !runtime.is_empty() {
        config.insert("runtimeConfig".into(), runtime.into());
    }
    Ok(config)
}

fn in_version(result: &CniResult, network: &ConfigList) -> Result<Value, ExecError> {
    result
        .to_version(&network.cni_version)
        .map_err(|_| ExecError::Invalid {
            what: "the network's cniVersion",
            value: network.cni_version.clone(),
            why: "spoken are 0.3.0, 0.3.1, 0.4.0, 1.0.0 and 1.1.0",
        })
}

#[cfg(test)]
mod tests;
