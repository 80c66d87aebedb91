//! What can be known about claims, templates and classes before anything is allocated.

use std::collections::BTreeMap;

use k8s_openapi::api::resource::v1::{
    DeviceClaim, DeviceClass, OpaqueDeviceConfiguration, ResourceClaim, ResourceClaimTemplate,
};

use super::plan::config_in_claim;
use super::problem::Problem;
use super::{Parameters, parameters};
use crate::cni::{ConfigFrom, Policy};
use crate::shown::{plain, quoted};

/// All problems of a claim's configurations for `driver`.
pub fn validate_claim(claim: &ResourceClaim, driver: &str, policy: &Policy) -> Vec<Problem> {
    let devices = claim.spec.devices.as_ref();
    devices.map_or_else(Vec::new, |devices| {
        validate_spec(devices, "spec.devices", driver, policy)
    })
}

/// All problems of the configurations for `driver` of claims that a template makes.
pub fn validate_template(
    template: &ResourceClaimTemplate,
    driver: &str,
    policy: &Policy,
) -> Vec<Problem> {
    let devices = template.spec.spec.devices.as_ref();
    devices.map_or_else(Vec::new, |devices| {
        validate_spec(devices, "spec.spec.devices", driver, policy)
    })
}

/// All problems of a class's configurations for `driver`.
pub fn validate_class(class: &DeviceClass, driver: &str, policy: &Policy) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, config) in class.spec.config.iter().flatten().enumerate() {
        let path = format!("spec.config[{index}].opaque");
        check(
            config.opaque.as_ref(),
            &path,
            driver,
            &policy.of_class(),
            &mut problems,
        );
    }
    problems
}

/// All problems of the device part of a claim, which stands at `path`.
pub fn validate_spec(
    devices: &DeviceClaim,
    path: &str,
    driver: &str,
    policy: &Policy,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let requests = requests(devices);
    let mut named: Names<'_> = BTreeMap::new();
    for (index, config) in devices.config.iter().flatten().enumerate() {
        let field = format!("{path}.config[{index}]");
        let opaque = format!("{field}.opaque");
        let checked = check(
            config.opaque.as_ref(),
            &opaque,
            driver,
            policy,
            &mut problems,
        );
        let Some(parameters) = checked else { continue };
        let inner = format!("{opaque}.parameters");
        if parameters.config.is_some() && policy.config_from == ConfigFrom::ClassOnly {
            problems.push(config_in_claim().inside(&inner));
        }
        let applies = config.requests.as_deref().unwrap_or_default();
        for (position, name) in applies.iter().enumerate() {
            if !requests.iter().any(|request| request.has(name)) {
                problems.push(Problem::new(
                    format!("{field}.requests[{position}]"),
                    format!("the claim has no request {}", quoted(name)),
                    "name one of spec.devices.requests, or leave `requests` out for all of them",
                ));
            }
        }
        if let Some(if_name) = parameters.if_name {
            let at = format!("{inner}.ifName");
            for request in requests.iter().filter(|request| {
                applies.iter().any(|name| name == request.name)
                    || applies.is_empty() && one_class(&requests)
            }) {
                // A later configuration counts in place of an earlier one.
                named.insert(request.name, (if_name.clone(), at.clone(), request.least));
            }
        }
    }
    names(named, &mut problems);
    problems
}

/// By request: the interface name asked for, where that stands, and the least devices.
type Names<'a> = BTreeMap<&'a str, (String, String, i64)>;

/// One name fits one device.
fn names(named: Names<'_>, problems: &mut Vec<Problem>) {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for (request, (if_name, path, count)) in named {
        if count > 1 {
            problems.push(Problem::new(
                path,
                format!(
                    "request {} has {count} devices, which cannot all be named {if_name}",
                    plain(request)
                ),
                "make one request for each with an ifName of its own, or leave ifName out",
            ));
        } else if let Some(first) = seen.get(&if_name) {
            problems.push(Problem::new(
                path,
                format!(
                    "the requests {} and {} both ask for the interface name {if_name}",
                    plain(first),
                    plain(request)
                ),
                "give each its own ifName (with `requests` of the configuration), or leave ifName out",
            ));
        } else {
            seen.insert(if_name, request);
        }
    }
}

struct Request<'a> {
    name: &'a str,
    alternatives: Vec<&'a str>,
    classes: Vec<&'a str>,
    /// How many devices it gets at least.
    least: i64,
}

impl Request<'_> {
    fn has(&self, name: &str) -> bool {
        match name.split_once('/') {
            None => name == self.name,
            Some((main, sub)) => main == self.name && self.alternatives.contains(&sub),
        }
    }
}

/// Whether all requests are served by one driver, as far as a claim alone can tell: a
/// configuration for all requests means those of its driver.
fn one_class(requests: &[Request<'_>]) -> bool {
    let mut classes = requests.iter().flat_map(|request| &request.classes);
    let first = classes.next();
    classes.all(|class| Some(class) == first)
}

fn requests(devices: &DeviceClaim) -> Vec<Request<'_>> {
    let list = devices.requests.iter().flatten();
    list.map(|request| {
        let subs = request.first_available.as_deref().unwrap_or_default();
        let exactly = request.exactly.as_ref();
        let counts = subs.iter().map(|sub| sub.count.unwrap_or(1));
        let exact_classes = exactly.map(|exactly| exactly.device_class_name.as_str());
        Request {
            name: &request.name,
            alternatives: subs.iter().map(|sub| sub.name.as_str()).collect(),
            classes: subs
                .iter()
                .map(|sub| sub.device_class_name.as_str())
                .chain(exact_classes)
                .collect(),
            least: counts
                .chain(exactly.and_then(|exactly| exactly.count))
                .min()
                .unwrap_or(1),
        }
    })
    .collect()
}

/// The parameters, if they are this driver's and there is nothing wrong with them.
fn check(
    opaque: Option<&OpaqueDeviceConfiguration>,
    path: &str,
    driver: &str,
    policy: &Policy,
    problems: &mut Vec<Problem>,
) -> Option<Parameters> {
    let opaque = opaque.filter(|opaque| opaque.driver == driver)?;
    match parameters(&opaque.parameters.0, policy) {
        Ok(parameters) => Some(parameters),
        Err(error) => {
            let path = format!("{path}.parameters");
            let found = error.problems.into_iter();
            problems.extend(found.map(|problem| problem.inside(&path)));
            None
        }
    }
}

#[cfg(test)]
mod tests;
