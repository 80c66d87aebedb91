//! The result cache, in libcni's place and form, so that DEL and CHECK know what ADD did.

use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{CniResult, ExecError, Invocation};

const KIND: &str = "cniCacheV1";
/// More than any result; a longer file is nobody's cache.
const MAX_ENTRY: u64 = 4 * 1024 * 1024;

/// One file of the cache. Keys as libcni writes them.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    kind: String,
    container_id: String,
    /// The configuration list, base64 of its JSON.
    config: String,
    if_name: String,
    network_name: String,
    #[serde(default, rename = "netns", skip_serializing_if = "String::is_empty")]
    netns: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    cni_args: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    capability_args: Map<String, Value>,
    #[serde(default)]
    result: Value,
}

/// The file of one attachment. Network and invocation must have been checked: the name
/// is built from them.
#[derive(Debug)]
pub(super) struct CacheFile(PathBuf);

impl CacheFile {
    pub(super) fn new(dir: &Path, network: &str, invocation: &Invocation) -> Self {
        let name = format!(
            "{network}-{}-{}",
            invocation.container_id, invocation.if_name
        );
        Self(dir.join("results").join(name))
    }

    /// Writes the entry beside its place and renames it there, so that no reader sees
    /// half of one. A crash may lose it; DEL then runs without `prevResult`.
    pub(super) fn write(
        &self,
        config: &[u8],
        network: &str,
        invocation: &Invocation,
        result: Value,
    ) -> Result<(), ExecError> {
        let entry = Entry {
            kind: KIND.into(),
            container_id: invocation.container_id.clone(),
            config: STANDARD.encode(config),
            if_name: invocation.if_name.clone(),
            network_name: network.to_owned(),
            netns: invocation
                .netns
                .as_ref()
                .map(|p| p.to_string_lossy().into_owned())
                .unwrap_or_default(),
            cni_args: invocation.args.clone(),
            capability_args: invocation.capability_args.clone(),
            result,
        };
        self.write_entry(&entry)
            .map_err(|source| self.failed(source))
    }

    fn write_entry(&self, entry: &Entry) -> io::Result<()> {
        let dir = self.0.parent().unwrap_or(Path::new("."));
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)?;
        let mut file = tempfile::Builder::new()
            .prefix(".cni-")
            .permissions(std::fs::Permissions::from_mode(0o600))
            .tempfile_in(dir)?;
        serde_json::to_writer(&mut file, entry)?;
        file.flush()?;
        file.persist(&self.0)?;
        Ok(())
    }

    /// The result of the ADD, or `None` where there is no readable entry: neither DEL nor
    /// CHECK may fail because a file is broken.
    pub(super) fn result(&self) -> Option<CniResult> {
        let length = std::fs::metadata(&self.0).ok()?.len();
        if length > MAX_ENTRY {
            return None;
        }
        let entry: Entry = serde_json::from_slice(&std::fs::read(&self.0).ok()?).ok()?;
        if entry.kind != KIND || entry.result.is_null() {
            return None;
        }
        CniResult::from_value(entry.result, "").ok()
    }

    /// Forgets the entry; nothing happens where there is none.
    pub(super) fn remove(&self) -> Result<(), ExecError> {
        match std::fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed(error)),
            _ => Ok(()),
        }
    }

    fn failed(&self, source: io::Error) -> ExecError {
        ExecError::Cache {
            path: self.0.clone(),
            source,
        }
    }
}
