//! What a run that was cut short leaves on a real runtime's node, outside of the work
//! directory: files of its driver, and namespaces of pods that were just being made.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::super::home::NAMESPACES;
use super::super::workdir::files;
use super::super::world::DRIVER;

/// What was there before the run, which is not touched.
#[derive(Clone, Debug)]
pub(crate) struct Leftovers {
    cdi_dir: PathBuf,
    before: BTreeSet<String>,
}

impl Leftovers {
    /// To be asked for before the driver starts, which writes its specs to `cdi_dir`.
    pub(crate) fn before(cdi_dir: &Path) -> Self {
        let mut leftovers = Self {
            cdi_dir: cdi_dir.to_owned(),
            before: BTreeSet::new(),
        };
        leftovers.before = leftovers.now().collect();
        leftovers
    }

    /// CDI specs of the driver, whole or not, and all namespaces of pods.
    fn now(&self) -> impl Iterator<Item = String> {
        // One of each claim, and one of each request's metadata.
        let kinds = [format!("{DRIVER}-claim_"), format!("{DRIVER}-metadata_")];
        let specs = files(&self.cdi_dir).into_iter().filter(move |path| {
            let name = name(path).trim_start_matches('.');
            kinds.iter().any(|kind| name.starts_with(kind))
        });
        specs.chain(files(Path::new(NAMESPACES)))
    }

    /// Removes what came since and is the driver's: specs, and namespaces that it kept for a
    /// release. Returns what was found, a runtime's namespaces among it, which the runtime
    /// itself removes.
    pub(crate) fn remove(&self) -> Vec<String> {
        let found: Vec<String> = self
            .now()
            .filter(|path| !self.before.contains(path))
            .collect();
        for path in &found {
            if name(path).starts_with("ndra-") || !path.starts_with(NAMESPACES) {
                // Who looks again finds it again if it is still there.
                let _ = ndra_netns::remove(Path::new(path));
            }
        }
        found
    }
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}
