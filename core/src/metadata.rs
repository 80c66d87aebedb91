//! Device metadata files: how a program in a container finds its interface (KEP-5304).
//!
//! One JSON file for each request of a claim lies in the driver's plugin directory, at
//! `dra-device-metadata/CLAIM-UID/REQUEST/metadata.json`: by UID, since a claim of the same name
//! may be prepared before the older one is gone. A CDI spec of its own binds it into the
//! containers that list the request, below [`CONTAINER_DIR`]. It is there, with what
//! is known, from prepare on, and complete before the container starts. The file holds the
//! same object once for each version of the form, the newest first; a reader takes the first
//! that it knows.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::attachment::{Attachment, PreparedClaim, State};
use crate::cdi;
use crate::claim::ClaimUid;
use crate::event::ClaimRef;
use crate::socket::io_text;

/// Where the files are in a container. Below it come `resourceclaims/CLAIM`, or
/// `resourceclaimtemplates/ENTRY` for a claim made from a template, then
/// `REQUEST/DRIVER-metadata.json`.
pub const CONTAINER_DIR: &str = "/var/run/kubernetes.io/dra-device-attributes";

/// Where the files are in the driver's plugin directory.
const HOST_DIR: &str = "dra-device-metadata";

/// Versions of the form, the newest first. Their fields are the same.
const VERSIONS: [&str; 2] = [
    "metadata.resource.k8s.io/v1beta1",
    "metadata.resource.k8s.io/v1alpha1",
];

/// Device names may begin with a digit from this version on, and UIDs do.
const CDI_VERSION: &str = "0.5.0";

/// The longest file that is read back, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// Why a file could not be written or removed.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot {action} the device metadata {}: {reason}; check that the plugin directory and the \
     CDI directory can be written, or start the driver with --no-device-metadata",
    path.display()
)]
pub struct MetadataError {
    action: &'static str,
    path: PathBuf,
    reason: String,
}

/// Writes and removes the files of one driver. Blocks for the time of a few file operations.
#[derive(Clone, Debug)]
pub struct Metadata {
    driver: String,
    files: PathBuf,
    cdi_dir: PathBuf,
    wanted: bool,
}

impl Metadata {
    /// Files in `plugin_dir`, CDI specs in `cdi_dir`. Unless `wanted`, no claim gets them that
    /// has none yet.
    pub fn new(driver: &str, plugin_dir: &Path, cdi_dir: &Path, wanted: bool) -> Self {
        Self {
            driver: driver.into(),
            files: plugin_dir.join(HOST_DIR),
            cdi_dir: cdi_dir.into(),
            wanted,
        }
    }

    /// Whether claims that are prepared now get files.
    pub fn wanted(&self) -> bool {
        self.wanted
    }

    /// The CDI device that binds a request's file into a container.
    pub fn device_id(&self, uid: &str, request: &str) -> String {
        format!("{}/metadata={uid}_{request}", self.driver)
    }

    /// Writes a claim's files, with what is known by now, and their CDI specs.
    ///
    /// # Errors
    /// What could not be written. The others may be there.
    pub fn write(&self, claim: &PreparedClaim) -> Result<(), MetadataError> {
        for (request, attachments) in requests(claim) {
            let file = self.file(&claim.claim, request)?;
            write_file(&file, self.object(claim, &attachments))
                .map_err(|error| failed("write", &file, &error))?;
            let path = self.spec_path(&claim.claim.uid, request);
            let spec = self.spec(claim, request, &file);
            let written = fs::create_dir_all(&self.cdi_dir)
                .and_then(|()| Ok(serde_json::to_vec_pretty(&spec)?))
                .and_then(|text| cdi::replace(&path, &text, 0o644));
            written.map_err(|error| failed("write", &path, &error))?;
        }
        Ok(())
    }

    /// Removes a claim's files and specs; those that are not there are no error.
    ///
    /// # Errors
    /// The first that could not be removed.
    pub fn remove(&self, claim: &ClaimUid) -> Result<(), MetadataError> {
        for (uid, request) in self.list() {
            if uid == *claim {
                let path = self.spec_path(claim.as_str(), &request);
                gone(fs::remove_file(&path)).map_err(|error| failed("remove", &path, &error))?;
            }
        }
        let dir = self.files.join(claim.as_str());
        gone(fs::remove_dir_all(&dir)).map_err(|error| failed("remove", &dir, &error))
    }

    /// Removes what belongs to none of these claims, and says what that was. For a driver
    /// that starts, and for an operator.
    ///
    /// # Errors
    /// The first that could not be removed.
    pub fn remove_others<'a>(
        &self,
        claims: impl Iterator<Item = &'a PreparedClaim>,
    ) -> Result<(), MetadataError> {
        for path in self.others(claims) {
            let removed = match path.is_dir() {
                true => fs::remove_dir_all(&path),
                false => fs::remove_file(&path),
            };
            gone(removed).map_err(|error| failed("remove", &path, &error))?;
        }
        Ok(())
    }

    /// Files and specs that belong to none of these claims.
    pub fn others<'a>(&self, claims: impl Iterator<Item = &'a PreparedClaim>) -> Vec<PathBuf> {
        let held: Vec<&PreparedClaim> = claims.filter(|claim| claim.metadata).collect();
        let specs = self.list().into_iter().filter(|(uid, request)| {
            !held.iter().any(|claim| {
                claim.claim.uid == uid.as_str() && requests(claim).contains_key(request.as_str())
            })
        });
        let mut found: Vec<PathBuf> = specs
            .map(|(uid, request)| self.spec_path(uid.as_str(), &request))
            .collect();
        let kept: Vec<PathBuf> = held
            .iter()
            .map(|claim| self.files.join(&claim.claim.uid))
            .collect();
        let dirs = fs::read_dir(&self.files).into_iter().flatten();
        let dirs = dirs.filter_map(|entry| Some(entry.ok()?.path()));
        found.extend(dirs.filter(|dir| !kept.contains(dir)));
        found.sort();
        found
    }

    /// Claims' UIDs and requests of the specs in the CDI directory.
    fn list(&self) -> Vec<(ClaimUid, String)> {
        let prefix = format!("{}-metadata_", self.driver);
        let entries = fs::read_dir(&self.cdi_dir).into_iter().flatten();
        entries
            .filter_map(|entry| {
                let name = entry.ok()?.file_name().into_string().ok()?;
                let name = name.strip_prefix(&prefix)?.strip_suffix(".json")?;
                let (uid, request) = name.rsplit_once('_')?;
                Some((uid.parse().ok()?, request.to_owned()))
            })
            .collect()
    }

    fn spec_path(&self, uid: &str, request: &str) -> PathBuf {
        self.cdi_dir
            .join(format!("{}-metadata_{uid}_{request}.json", self.driver))
    }

    fn spec(&self, claim: &PreparedClaim, request: &str, file: &Path) -> Value {
        let place = match &claim.pod_claim_name {
            Some(entry) => format!("resourceclaimtemplates/{entry}"),
            None => format!("resourceclaims/{}", claim.claim.name),
        };
        json!({
            "cdiVersion": CDI_VERSION,
            "kind": format!("{}/metadata", self.driver),
            "devices": [{
                "name": format!("{}_{request}", claim.claim.uid),
                "containerEdits": { "mounts": [{
                    "hostPath": file,
                    "containerPath":
                        format!("{CONTAINER_DIR}/{place}/{request}/{}-metadata.json", self.driver),
                    "options": ["ro", "bind"],
                }] },
            }],
        })
    }

    /// Where a request's file lies. Every name becomes part of a path, on the node or in the
    /// container.
    fn file(&self, claim: &ClaimRef, request: &str) -> Result<PathBuf, MetadataError> {
        let uid = claim.uid.parse::<ClaimUid>();
        match uid {
            Ok(uid) if is_name(&claim.name) && is_name(request) => Ok(self
                .files
                .join(uid.as_str())
                .join(request)
                .join("metadata.json")),
            _ => {
                let bad = io::Error::other("the claim, or its request, has no proper name");
                Err(failed("write", &self.files, &bad))
            }
        }
    }

    /// The object without version and generation.
    fn object(&self, claim: &PreparedClaim, attachments: &[&Attachment]) -> Map<String, Value> {
        let devices: Vec<Value> = attachments
            .iter()
            .map(|attachment| self.device(attachment))
            .collect();
        let name = attachments
            .first()
            .map(|attachment| match &attachment.plan.subrequest {
                Some(sub) => format!("{}/{sub}", attachment.plan.request),
                None => attachment.plan.request.clone(),
            });
        let mut object = Map::new();
        object.insert(
            "metadata".into(),
            json!({
                "name": claim.claim.name,
                "namespace": claim.claim.namespace,
                "uid": claim.claim.uid,
            }),
        );
        if let Some(entry) = &claim.pod_claim_name {
            object.insert("podClaimName".into(), entry.clone().into());
        }
        object.insert(
            "requests".into(),
            json!([{ "name": name, "devices": devices }]),
        );
        object
    }

    fn device(&self, attachment: &Attachment) -> Value {
        let plan = &attachment.plan;
        let mut network = Map::new();
        if let State::Attached { place, result, .. } = &attachment.state {
            let interface = result.container_interface(&place.if_name);
            network.insert("interfaceName".into(), place.if_name.clone().into());
            network.insert("ips".into(), json!(result.addresses(&place.if_name)));
            if let Some(interface) = interface.filter(|found| !found.mac.is_empty()) {
                network.insert("hardwareAddress".into(), interface.mac.clone().into());
            }
        } else {
            // What was asked for, and so is known.
            if let (Some(name), false) = (&plan.if_name, plan.auto_named) {
                network.insert("interfaceName".into(), name.clone().into());
            }
            if !plan.ips.is_empty() {
                network.insert("ips".into(), json!(plan.ips));
            }
            if let Some(mac) = &plan.mac {
                network.insert("hardwareAddress".into(), mac.clone().into());
            }
        }
        let mut device = json!({
            "driver": self.driver, "pool": plan.device.pool, "name": plan.device.device,
        });
        if !network.is_empty() {
            device["networkData"] = network.into();
        }
        device
    }
}

/// A claim's attachments by request.
fn requests(claim: &PreparedClaim) -> BTreeMap<&str, Vec<&Attachment>> {
    let mut requests: BTreeMap<&str, Vec<&Attachment>> = BTreeMap::new();
    for attachment in &claim.attachments {
        let same = requests.entry(&attachment.plan.request).or_default();
        same.push(attachment);
    }
    requests
}

/// Writes a file where it lies: containers have it bound, and would keep the old one if
/// another took its name. The same content again is not written, for they may be reading it.
fn write_file(path: &Path, object: Map<String, Value>) -> io::Result<()> {
    let old = read(path);
    let generation = match &old {
        Some(old) => {
            let generation = old.pointer("/metadata/generation").and_then(Value::as_i64);
            let generation = generation.unwrap_or_default();
            if *old == version(VERSIONS[0], generation, &object) {
                return Ok(());
            }
            generation.saturating_add(1)
        }
        None => 1,
    };
    let mut text = Vec::new();
    for name in VERSIONS {
        serde_json::to_writer_pretty(&mut text, &version(name, generation, &object))?;
        text.push(b'\n');
    }
    if let Some(dir) = path.parent() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(dir)?;
    }
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(path)?;
    file.write_all(&text)?;
    file.sync_all()
}

fn version(name: &str, generation: i64, object: &Map<String, Value>) -> Value {
    let mut whole = Map::new();
    whole.insert("apiVersion".into(), name.into());
    whole.insert("kind".into(), "DeviceMetadata".into());
    whole.extend(object.clone());
    if let Some(Value::Object(metadata)) = whole.get_mut("metadata") {
        metadata.insert("generation".into(), generation.into());
    }
    whole.into()
}

/// The first object of a file; `None` if there is none that can be read.
fn read(path: &Path) -> Option<Value> {
    let mut text = String::new();
    let file = File::open(path).ok()?;
    file.take(MAX_FILE).read_to_string(&mut text).ok()?;
    let mut objects = serde_json::Deserializer::from_str(&text).into_iter();
    objects.next()?.ok()
}

/// Part of a path: what Kubernetes takes for a name, which is never `..`.
fn is_name(text: &str) -> bool {
    text.len() <= 253
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte))
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(())
        }
        removed => removed,
    }
}

fn failed(action: &'static str, path: &Path, error: &io::Error) -> MetadataError {
    MetadataError {
        action,
        path: path.into(),
        reason: io_text(error),
    }
}

#[cfg(test)]
mod tests;
