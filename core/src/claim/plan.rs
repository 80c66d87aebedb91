//! From an allocated ResourceClaim to the attachments it asks for on this node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;
use k8s_openapi::api::resource::v1::{
    AllocationResult, DeviceAllocationConfiguration, DeviceRequestAllocationResult, ResourceClaim,
};

use super::error::{ClaimError, ClaimErrorKind as Kind};
use super::ground::Ground;
use super::problem::Problem;
use super::{
    AttachmentPlan, ClaimPlan, ClaimUid, Consumer, DeviceKey, Parameters, node, parameters,
};
use crate::cni::{ConfigFrom, ConfigList, Policy};
use crate::devices::Devices;
use crate::event::ClaimRef;
use crate::shown::{plain, quoted};

/// What the kubelet asked for, and who is asked.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The claim's namespace.
    pub namespace: &'a str,
    /// The claim's name.
    pub name: &'a str,
    /// The claim's UID.
    pub uid: &'a str,
    /// The driver's name.
    pub driver: &'a str,
    /// This node's name, which is also the name of its pool.
    pub node: &'a str,
}

/// What a request gets that says nothing about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// The node's interface under MACVLAN, where the device does not say which.
    pub uplink: String,
    /// The node's devices, where they are interfaces.
    pub devices: Option<Arc<Devices>>,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            uplink: "eth0".into(),
            devices: None,
        }
    }
}

/// Checks a claim and says what is to be done for it. Changes nothing.
///
/// A claim that is being deleted is planned like any other: its pod may still start.
///
/// # Errors
/// The first check that the claim does not pass; of its parameters, everything that is wrong.
pub fn plan(
    claim: &ResourceClaim,
    expected: &Expected<'_>,
    defaults: &Defaults,
    policy: &Policy,
) -> Result<ClaimPlan, ClaimError> {
    let full_name = format!("{}/{}", plain(expected.namespace), plain(expected.name));
    let refuse = |kind| ClaimError::new(full_name.clone(), kind);

    let uid: ClaimUid = expected
        .uid
        .parse()
        .map_err(|error| refuse(Kind::Uid(error)))?;
    let found = claim.metadata.uid.as_deref().unwrap_or_default();
    if found != uid.as_str() {
        return Err(refuse(Kind::Replaced {
            expected: uid.to_string(),
            found: quoted(found),
        }));
    }
    let status = claim.status.as_ref();
    let allocation = status
        .and_then(|status| status.allocation.as_ref())
        .ok_or_else(|| refuse(Kind::NotAllocated))?;
    let devices = devices(allocation, expected).map_err(refuse)?;
    let layers = layers(claim, allocation, expected.driver, policy).map_err(refuse)?;

    let mut attachments = Vec::with_capacity(devices.len());
    let mut places = Vec::with_capacity(devices.len());
    for (device, requests) in devices {
        let ground = Ground::find(defaults, &device.device).ok_or_else(|| {
            refuse(Kind::DeviceGone {
                device: plain(&device.device),
                node: expected.node.to_owned(),
            })
        })?;
        let merged = Merged::of(&layers, requests);
        places.push(merged.if_name.as_ref().map(|(_, path)| path.clone()));
        let attachment = merged.attachment(device, requests, &ground);
        attachments.push(attachment.map_err(|problem| refuse(Kind::Parameters(vec![problem])))?);
    }
    distinct_names(&attachments, &places).map_err(refuse)?;

    Ok(ClaimPlan {
        claim: ClaimRef {
            namespace: expected.namespace.to_owned(),
            name: expected.name.to_owned(),
            uid: uid.into(),
        },
        pod_claim_name: pod_claim_name(claim),
        reserved_for: consumers(claim),
        attachments,
    })
}

/// What Kubernetes writes into a claim that it makes from a template.
const POD_CLAIM_NAME: &str = "resource.kubernetes.io/pod-claim-name";

/// The entry of a pod that the claim was made for. Whoever may write the claim may write this,
/// so that what is no name is passed over.
fn pod_claim_name(claim: &ResourceClaim) -> Option<String> {
    let annotations = claim.metadata.annotations.as_ref()?;
    annotations
        .get(POD_CLAIM_NAME)
        .filter(|name| label(name))
        .cloned()
}

/// The pods that a claim is reserved for.
pub fn consumers(claim: &ResourceClaim) -> Vec<Consumer> {
    claim
        .status
        .iter()
        .flat_map(|status| status.reserved_for.iter().flatten())
        .filter(|consumer| {
            consumer.resource == "pods"
                && consumer.api_group.as_deref().unwrap_or_default().is_empty()
        })
        .map(|consumer| Consumer {
            name: consumer.name.clone(),
            uid: consumer.uid.clone(),
        })
        .collect()
}

/// A result's request: `main`, or `main/sub` as a whole.
#[derive(Clone, Copy)]
struct Requests<'a> {
    main: &'a str,
    full: &'a str,
}

/// The devices that an allocated claim has of this driver, in the order of the allocation.
pub(crate) fn allocated(claim: &ResourceClaim, expected: &Expected<'_>) -> Vec<DeviceKey> {
    let status = claim.status.as_ref();
    let allocation = status.and_then(|status| status.allocation.as_ref());
    let found = allocation.and_then(|allocation| devices(allocation, expected).ok());
    let found = found.unwrap_or_default().into_iter();
    found.map(|(key, _)| key).collect()
}

/// The devices allocated to this driver, in the order of the allocation.
fn devices<'a>(
    allocation: &'a AllocationResult,
    expected: &Expected<'_>,
) -> Result<Vec<(DeviceKey, Requests<'a>)>, Kind> {
    let devices = allocation.devices.as_ref();
    let results: &[_] = devices
        .and_then(|devices| devices.results.as_deref())
        .unwrap_or_default();
    if results.is_empty() {
        return Err(Kind::NotAllocated);
    }
    if results
        .iter()
        .all(|result| result.driver != expected.driver)
    {
        let found: BTreeSet<_> = results.iter().map(|result| plain(&result.driver)).collect();
        return Err(Kind::OtherDriver {
            driver: expected.driver.to_owned(),
            found: found.into_iter().collect::<Vec<_>>().join(", "),
        });
    }
    if let Some(selector) = &allocation.node_selector
        && !node::may_select(selector, expected.node)
    {
        return Err(Kind::NodeSelector {
            wanted: node::wanted(selector),
            node: expected.node.to_owned(),
        });
    }
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for (index, result) in results.iter().enumerate() {
        if result.driver == expected.driver {
            let (key, requests) = device(index, result, expected)?;
            if !seen.insert(key.clone()) {
                return Err(Kind::DeviceTwice {
                    index,
                    device: plain(&key.to_string()),
                });
            }
            found.push((key, requests));
        }
    }
    Ok(found)
}

fn device<'a>(
    index: usize,
    result: &'a DeviceRequestAllocationResult,
    expected: &Expected<'_>,
) -> Result<(DeviceKey, Requests<'a>), Kind> {
    let full = result.request.as_str();
    let main = full.split_once('/').map_or(full, |(main, _)| main);
    let malformed = |field, text: &str| Kind::Malformed {
        index,
        field,
        shown: quoted(text),
    };
    if !label(main) {
        return Err(malformed("request", full));
    }
    if !label(&result.device) {
        return Err(malformed("device", &result.device));
    }
    if let Some(share) = result.share_id.as_deref().filter(|share| !label(share)) {
        return Err(malformed("shareID", share));
    }
    if result.pool != expected.node {
        return Err(Kind::OtherNode {
            index,
            request: main.to_owned(),
            pool: plain(&result.pool),
            node: expected.node.to_owned(),
        });
    }
    if result.admin_access == Some(true) {
        return Err(Kind::AdminAccess {
            index,
            request: main.to_owned(),
        });
    }
    let key = DeviceKey {
        pool: result.pool.clone(),
        device: result.device.clone(),
        share_id: result.share_id.clone(),
    };
    Ok((key, Requests { main, full }))
}

/// What requests, devices and shares are named by: one label of a DNS name.
fn label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// One configuration for this driver, checked, and where a reader finds it.
struct Layer<'a> {
    requests: &'a [String],
    path: String,
    parameters: Parameters,
}

/// The configurations for this driver: those of classes, then those of the claim.
fn layers<'a>(
    claim: &ResourceClaim,
    allocation: &'a AllocationResult,
    driver: &str,
    policy: &Policy,
) -> Result<Vec<Layer<'a>>, Kind> {
    let devices = allocation.devices.as_ref();
    let entries = devices.and_then(|devices| devices.config.as_deref());
    let entries = entries.unwrap_or_default().iter().enumerate();
    let (classes, claims): (Vec<_>, Vec<_>) =
        entries.partition(|(_, entry)| entry.source == "FromClass");
    let of_class = policy.of_class();
    let mut layers = Vec::new();
    let mut problems = Vec::new();
    for (index, entry) in classes.into_iter().chain(claims) {
        let Some(opaque) = entry
            .opaque
            .as_ref()
            .filter(|opaque| opaque.driver == driver)
        else {
            continue;
        };
        let path = path(claim, index, entry);
        let policy = match entry.source.as_str() {
            "FromClass" => &of_class,
            _ => policy,
        };
        match parameters(&opaque.parameters.0, policy) {
            Ok(parameters) => {
                // Whatever is not a class's is treated as written by the claim's owner.
                if entry.source != "FromClass"
                    && policy.config_from == ConfigFrom::ClassOnly
                    && parameters.config.is_some()
                {
                    problems.push(config_in_claim().inside(&path));
                }
                layers.push(Layer {
                    requests: entry.requests.as_deref().unwrap_or_default(),
                    path,
                    parameters,
                });
            }
            Err(error) => {
                let found = error.problems.into_iter();
                problems.extend(found.map(|problem| problem.inside(&path)));
            }
        }
    }
    if problems.is_empty() {
        Ok(layers)
    } else {
        Err(Kind::Parameters(problems))
    }
}

/// A `config` in a claim where only classes may have one.
pub(super) fn config_in_claim() -> Problem {
    Problem::new(
        "config",
        "the driver takes a network configuration from a DeviceClass only",
        "remove it and name a DeviceClass that has one, or ask the administrator",
    )
}

/// Where the owner of a configuration edits it: the allocation holds a copy.
fn path(claim: &ResourceClaim, index: usize, entry: &DeviceAllocationConfiguration) -> String {
    let copy = format!("status.allocation.devices.config[{index}].opaque.parameters");
    if entry.source == "FromClass" {
        return match class(claim, entry) {
            Some(class) => format!("DeviceClass {}, {copy}", plain(class)),
            None => format!("DeviceClass, {copy}"),
        };
    }
    let devices = claim.spec.devices.as_ref();
    let mut written = devices
        .and_then(|devices| devices.config.as_ref())
        .into_iter()
        .flatten();
    match written
        .position(|config| config.opaque == entry.opaque && config.requests == entry.requests)
    {
        Some(index) => format!("spec.devices.config[{index}].opaque.parameters"),
        None => copy,
    }
}

/// The class that a configuration came from: that of the request it was copied for.
fn class<'a>(claim: &'a ResourceClaim, entry: &DeviceAllocationConfiguration) -> Option<&'a str> {
    let name = entry.requests.as_ref()?.first()?;
    let (main, sub) = name
        .split_once('/')
        .map_or((name.as_str(), None), |(main, sub)| (main, Some(sub)));
    let mut requests = claim.spec.devices.as_ref()?.requests.iter().flatten();
    let request = requests.find(|request| request.name == main)?;
    match sub {
        None => Some(&request.exactly.as_ref()?.device_class_name),
        Some(sub) => {
            let mut subs = request.first_available.iter().flatten();
            Some(&subs.find(|request| request.name == sub)?.device_class_name)
        }
    }
}

/// All layers for one request, the later over the earlier, key by key; with the place of each.
#[derive(Default)]
struct Merged<'a> {
    if_name: Option<(&'a String, String)>,
    config: Option<(&'a ConfigList, String)>,
    ips: Option<(&'a Vec<IpNet>, String)>,
    mac: Option<(&'a String, String)>,
    cni_args: Option<&'a BTreeMap<String, String>>,
}

impl<'a> Merged<'a> {
    fn of(layers: &'a [Layer<'_>], requests: Requests<'_>) -> Self {
        let mut merged = Self::default();
        let applies = |layer: &&Layer<'_>| {
            let mut named = layer.requests.iter();
            layer.requests.is_empty()
                || named.any(|name| name == requests.main || name == requests.full)
        };
        for layer in layers.iter().filter(applies) {
            let at = |field| format!("{}.{field}", layer.path);
            let given = &layer.parameters;
            if let Some(if_name) = &given.if_name {
                merged.if_name = Some((if_name, at("ifName")));
            }
            if let Some(ips) = &given.ips {
                merged.ips = Some((ips, at("ips")));
            }
            if let Some(mac) = &given.mac {
                merged.mac = Some((mac, at("mac")));
            }
            if let Some(config) = &given.config {
                merged.config = Some((config, at("config")));
            }
            merged.cni_args = given.cni_args.as_ref().or(merged.cni_args);
        }
        merged
    }

    fn attachment(
        self,
        device: DeviceKey,
        requests: Requests<'_>,
        ground: &Ground<'_>,
    ) -> Result<AttachmentPlan, Problem> {
        let ips = self
            .ips
            .as_ref()
            .map(|(ips, _)| (*ips).clone())
            .unwrap_or_default();
        let network = match &self.config {
            Some((config, path)) => ground.fit((*config).clone(), path)?,
            None if ips.is_empty() => ground.network(),
            None => ground.network().with_static_ipam(),
        };
        let network = match &self.ips {
            Some((_, path)) => network
                .taking(ips.len(), false)
                .map_err(|error| Problem::of_config(&error, path))?,
            None => network,
        };
        let network = match &self.mac {
            Some((_, path)) => network
                .taking(0, true)
                .map_err(|error| Problem::of_config(&error, path))?,
            None => network,
        };
        Ok(AttachmentPlan {
            auto_named: false,
            device,
            request: requests.main.to_owned(),
            subrequest: requests.full.split_once('/').map(|(_, sub)| sub.to_owned()),
            if_name: self.if_name.map(|(name, _)| name.clone()),
            network,
            ips,
            mac: self.mac.map(|(mac, _)| mac.clone()),
            cni_args: self.cni_args.cloned().unwrap_or_default(),
        })
    }
}

/// No two attachments of a claim may ask for one interface name.
fn distinct_names(attachments: &[AttachmentPlan], places: &[Option<String>]) -> Result<(), Kind> {
    let mut seen: BTreeMap<&str, &AttachmentPlan> = BTreeMap::new();
    for (attachment, path) in attachments.iter().zip(places) {
        let (Some(if_name), Some(path)) = (attachment.if_name.as_deref(), path.clone()) else {
            continue;
        };
        let Some(first) = seen.insert(if_name, attachment) else {
            continue;
        };
        let if_name = if_name.to_owned();
        return Err(if first.request == attachment.request {
            let same = |other: &&AttachmentPlan| other.request == first.request;
            Kind::IfNameForMany {
                path,
                request: first.request.clone(),
                count: attachments.iter().filter(same).count(),
                if_name,
            }
        } else {
            Kind::IfNameTwice {
                path,
                first: first.request.clone(),
                second: attachment.request.clone(),
                if_name,
            }
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
