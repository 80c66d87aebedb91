//! The OCI state that a hook reads on its stdin, as runc and crun write it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::Flavor;

/// Version of the OCI runtime specification that specs are made for.
pub(crate) const OCI_VERSION: &str = "1.3.0";

/// Which moment of a container's life the state tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Hooks of creation run.
    Creating,
    /// The container is gone; poststop hooks run.
    Stopped,
}

/// What a state is made from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) id: &'a str,
    pub(crate) bundle: &'a Path,
    pub(crate) rootfs: &'a Path,
    pub(crate) annotations: &'a BTreeMap<String, String>,
    pub(crate) pid: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Runc<'a> {
    oci_version: &'a str,
    id: &'a str,
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    bundle: &'a Path,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

/// crun calls the state `created` while createRuntime hooks run, gives version 1.0, and
/// adds the root filesystem.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Crun<'a> {
    oci_version: &'a str,
    id: &'a str,
    pid: u32,
    root: &'a Path,
    bundle: &'a Path,
    status: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

/// The state as JSON, on one line.
pub(crate) fn json(
    flavor: Flavor,
    moment: Moment,
    subject: Subject<'_>,
) -> Result<Vec<u8>, serde_json::Error> {
    let Subject {
        id,
        bundle,
        rootfs,
        annotations,
        pid,
    } = subject;
    let creating = moment == Moment::Creating;
    match flavor {
        Flavor::Containerd => serde_json::to_vec(&Runc {
            oci_version: OCI_VERSION,
            id,
            status: if creating { "creating" } else { "stopped" },
            pid: creating.then_some(pid),
            bundle,
            annotations,
        }),
        Flavor::Crio => serde_json::to_vec(&Crun {
            oci_version: "1.0",
            id,
            pid: if creating { pid } else { 0 },
            root: rootfs,
            bundle,
            status: if creating { "created" } else { "stopped" },
            annotations,
        }),
    }
}
