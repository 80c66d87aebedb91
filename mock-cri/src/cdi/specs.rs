//! The devices that the spec files of the CDI directories define.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::spec::{self, Device};

/// The largest spec file that is read, in bytes.
const MAX_SPEC: u64 = 1024 * 1024;

/// The deepest nesting of brackets that is parsed; specs need five.
const MAX_DEPTH: usize = 128;

/// What was read, by file and by device.
#[derive(Default)]
pub(super) struct Specs {
    files: HashMap<PathBuf, Parsed>,
    devices: HashMap<String, Device>,
}

/// A file as it was read: parsing is slow, and most files do not change between scans.
struct Parsed {
    stamp: Stamp,
    priority: usize,
    devices: Vec<Device>,
}

#[derive(PartialEq, Eq)]
struct Stamp {
    inode: u64,
    device: u64,
    size: u64,
    changed: (i64, i64),
}

impl Specs {
    /// The device of this name, if it is defined once.
    pub(super) fn device(&self, name: &str) -> Option<&Device> {
        self.devices.get(name)
    }

    /// The file at `path` changed: what was read of it is void.
    pub(super) fn forget(&mut self, path: &Path) {
        self.files.remove(path);
    }

    /// Reads the directories again.
    pub(super) fn scan(&mut self, dirs: &[PathBuf]) {
        let mut files = HashMap::new();
        let mut devices: HashMap<String, (usize, Device)> = HashMap::new();
        let mut conflicts = HashSet::new();
        for (priority, dir) in dirs.iter().enumerate() {
            for (path, stamp) in spec_files(dir) {
                let read = match self.files.remove(&path) {
                    Some(read) if read.stamp == stamp && read.priority == priority => read,
                    _ => Parsed {
                        devices: load(&path),
                        stamp,
                        priority,
                    },
                };
                for device in &read.devices {
                    let name = device.name.clone();
                    match devices.get(&name) {
                        Some((held, _)) if *held == priority => {
                            conflicts.insert(name);
                        }
                        _ => {
                            devices.insert(name, (priority, device.clone()));
                        }
                    }
                }
                files.insert(path, read);
            }
        }
        devices.retain(|name, _| !conflicts.contains(name));
        self.files = files;
        self.devices = devices
            .into_iter()
            .map(|(name, (_, device))| (name, device))
            .collect();
    }
}

/// The spec files of `dir` in the order of their names.
fn spec_files(dir: &Path) -> BTreeMap<PathBuf, Stamp> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return BTreeMap::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let path = entry.path();
            let extension = path.extension().and_then(OsStr::to_str);
            if !matches!(extension, Some("json" | "yaml")) {
                return None;
            }
            // A pipe would block the scan, a huge file the memory.
            let meta = std::fs::metadata(&path).ok()?;
            if !meta.is_file() || meta.len() > MAX_SPEC {
                return None;
            }
            let stamp = Stamp {
                inode: meta.ino(),
                device: meta.dev(),
                size: meta.size(),
                changed: (meta.ctime(), meta.ctime_nsec()),
            };
            Some((path, stamp))
        })
        .collect()
}

fn load(path: &Path) -> Vec<Device> {
    let read = std::fs::read_to_string(path)
        .map_err(|error| error.to_string())
        .and_then(|text| match too_deep(text.as_bytes()) {
            true => Err("nested too deep".to_owned()),
            false => spec::read(&text),
        });
    read.unwrap_or_else(|error| {
        tracing::warn!(path = %path.display(), "CDI spec passed over: {error}");
        Vec::new()
    })
}

/// Whether more brackets are open at once than any spec needs. Those in strings count, too:
/// no shell script leaves so many open.
fn too_deep(text: &[u8]) -> bool {
    let mut depth = 0_usize;
    text.iter().any(|byte| {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > MAX_DEPTH
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_what_is_open_at_once() {
        assert!(too_deep("[".repeat(MAX_DEPTH + 1).as_bytes()));
        assert!(!too_deep("[]".repeat(10 * MAX_DEPTH).as_bytes()));
    }
}
