//! A scenario: objects, what happens to them, and what must come of it. One YAML file.

mod action;
mod expect;
mod shipped;

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

pub(crate) use action::{Action, Before, CniCommand, Condition, LinkState, PodEvent, Stop};
pub(crate) use expect::{
    ClaimState, ContainerState, Expect, Interface, MetadataFile, Order, StepCount,
};
pub(crate) use shipped::{MANIFESTS, SHIPPED};

use crate::manifest::{self, Object};
use crate::problem::{Place, Problem, Problems};
use crate::simulate::{Flavor, KubeletApi};

/// A scenario file, its objects still as they stand in it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct File {
    name: String,
    title: String,
    #[serde(default = "both")]
    flavors: Vec<Flavor>,
    #[serde(default)]
    kubelet_api: Option<KubeletApi>,
    #[serde(default)]
    driver: Vec<String>,
    #[serde(default)]
    interfaces: Vec<String>,
    #[serde(default = "yes")]
    consumable_capacity: bool,
    #[serde(default)]
    slice_wipe_seconds: Option<u64>,
    #[serde(default)]
    manifests: Vec<String>,
    #[serde(default)]
    objects: Vec<Value>,
    actions: Vec<Action>,
    #[serde(default)]
    expect: Expect,
}

fn both() -> Vec<Flavor> {
    vec![Flavor::Containerd, Flavor::Crio]
}

fn yes() -> bool {
    true
}

/// A scenario that can be run.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    /// One sentence: what happens in it.
    pub(crate) title: String,
    /// Runtimes it is meant for; the first is the default.
    pub(crate) flavors: Vec<Flavor>,
    /// The DRA version it is meant for, where that matters.
    pub(crate) kubelet_api: Option<KubeletApi>,
    /// Further options of `ndra driver`.
    pub(crate) driver: Vec<String>,
    /// Interfaces of the node beside its uplink.
    pub(crate) interfaces: Vec<String>,
    /// Whether the API server lets claims share devices (KEP-5075).
    pub(crate) consumable_capacity: bool,
    /// How long the kubelet waits for a driver that is away before it deletes its
    /// ResourceSlices, where that matters.
    pub(crate) slice_wipe_seconds: Option<u64>,
    /// All objects. Pods wait for an `apply`, the others are there from the beginning.
    pub(crate) objects: Vec<Object>,
    pub(crate) actions: Vec<Action>,
    /// What must hold when everything is torn down.
    pub(crate) expect: Expect,
}

impl Scenario {
    /// The shipped scenario of this name, or else the file.
    pub(crate) fn find(name: &str) -> Result<Self, Problems> {
        if let Some((_, text)) = SHIPPED.iter().find(|(shipped, _)| *shipped == name) {
            return Self::parse(&format!("scenario {name}"), text, None);
        }
        let path = Path::new(name);
        let looks_like_file = name.contains('/') || path.extension().is_some();
        if !looks_like_file && !path.exists() {
            return Err(Problem::new(
                Place::file(format!("scenario {name}")),
                "is neither shipped with ndra nor a file",
                "`ndra simulate --list-scenarios` lists those that are shipped",
            )
            .into());
        }
        let text = manifest::read(path)?;
        Self::parse(name, &text, path.parent())
    }

    fn parse(name: &str, text: &str, directory: Option<&Path>) -> Result<Self, Problems> {
        let file: File = manifest::typed(name, text)?;
        let mut objects = Vec::new();
        for wanted in &file.manifests {
            objects.extend(named_manifest(name, wanted, directory)?);
        }
        objects.extend(manifest::from_values(name, file.objects)?);
        let scenario = Self {
            name: file.name,
            title: file.title,
            flavors: file.flavors,
            kubelet_api: file.kubelet_api,
            driver: file.driver,
            interfaces: file.interfaces,
            consumable_capacity: file.consumable_capacity,
            slice_wipe_seconds: file.slice_wipe_seconds,
            objects,
            actions: file.actions,
            expect: file.expect,
        };
        scenario.check(name)?;
        Ok(scenario)
    }

    /// Pods that actions name must be among the objects.
    fn check(&self, file: &str) -> Result<(), Problem> {
        if self.flavors.is_empty() {
            return Err(Problem::new(
                Place::file(file),
                "is empty",
                "name containerd, crio or both, or leave it out",
            )
            .field("flavors"));
        }
        for name in &self.interfaces {
            // One more is for the other end of its cable.
            if name.len() > 14 || !ndra_core::cni::is_if_name(name) {
                return Err(Problem::new(
                    Place::file(file),
                    format!("{name:?} is no interface name for a scenario"),
                    "give it 1 to 14 bytes without `/`, `:` or space",
                )
                .field("interfaces"));
            }
        }
        for pod in action::pods(&self.actions) {
            if self.pod(pod).is_none() {
                return Err(Problem::new(
                    Place::file(file),
                    format!("names the pod `{pod}`, which is none of the scenario's objects"),
                    "add it under `objects`, or mend the name (NAME or NAMESPACE/NAME)",
                )
                .field("actions"));
            }
        }
        Ok(())
    }

    /// A pod by `name` or `namespace/name`.
    pub(crate) fn pod(&self, name: &str) -> Option<&Object> {
        self.objects
            .iter()
            .find(|object| object.kind.kind == "Pod" && object.key() == pod_key(name))
    }
}

/// `namespace/name`, where `default` may be left out.
pub(crate) fn pod_key(name: &str) -> String {
    if name.contains('/') {
        name.to_owned()
    } else {
        format!("default/{name}")
    }
}

/// A manifest beside the scenario, or one of those that are shipped.
fn named_manifest(
    scenario: &str,
    wanted: &str,
    directory: Option<&Path>,
) -> Result<Vec<Object>, Problems> {
    if let Some(path) = directory.map(|directory| directory.join(wanted))
        && path.exists()
    {
        return manifest::parse(&path.display().to_string(), &manifest::read(&path)?);
    }
    match MANIFESTS.iter().find(|(name, _)| *name == wanted) {
        Some((name, text)) => manifest::parse(name, text),
        None => Err(Problem::new(
            Place::file(scenario),
            format!("names {wanted}, which is neither beside it nor shipped with ndra"),
            "mend the path: it begins at the scenario's directory",
        )
        .field("manifests")
        .into()),
    }
}
