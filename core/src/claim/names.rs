//! Interface names among the claims of one pod: who has which, and who gets the next.

use std::collections::{BTreeMap, BTreeSet};

use super::error::{ClaimError, ClaimErrorKind as Kind};
use super::{AttachmentPlan, ClaimPlan};
use crate::event::ClaimRef;
use crate::shown::plain;

/// Gives every attachment without a name the next free `netN`, from `net1`: in the order of
/// the plans, and in each in the order of its allocation.
///
/// `taken` are the names that the pod has already. Names that the plans themselves ask for
/// are left out, too, wherever they stand.
pub fn assign_names<'a>(
    plans: impl IntoIterator<Item = &'a mut ClaimPlan>,
    taken: &BTreeSet<String>,
) {
    let mut attachments: Vec<&mut AttachmentPlan> = plans
        .into_iter()
        .flat_map(|plan| plan.attachments.iter_mut())
        .collect();
    let asked: BTreeSet<String> = attachments
        .iter()
        .filter_map(|attachment| attachment.if_name.clone())
        .collect();
    let mut free = (1_u64..)
        .map(|number| format!("net{number}"))
        .filter(|name| !taken.contains(name) && !asked.contains(name));
    for attachment in &mut attachments {
        if attachment.if_name.is_none() {
            attachment.if_name = free.next();
            attachment.auto_named = true;
        }
    }
}

/// Claims that cannot have the interface names they ask for, by UID.
///
/// Two claims are in conflict when they share a pod and ask for one name. Of `new` ones, that
/// came in one call, both are refused, and each names the other. Against the `held` ones the
/// new one is refused and names the earlier. A claim that is in both is compared with others
/// only. Attachments without a name are in nobody's way.
pub fn conflicts<'a>(
    new: &[ClaimPlan],
    held: impl Iterator<Item = &'a ClaimPlan>,
) -> BTreeMap<String, ClaimError> {
    let mut refused = BTreeMap::new();
    let mut refuse = |claim: &ClaimRef, kind| {
        let uid = claim.uid.clone();
        refused
            .entry(uid)
            .or_insert_with(|| ClaimError::new(full_name(claim), kind));
    };
    for earlier in held {
        for plan in new {
            if let Some(if_name) = contested(plan, earlier) {
                let other = full_name(&earlier.claim);
                refuse(&plan.claim, Kind::IfNameHeld { if_name, other });
            }
        }
    }
    for (index, first) in new.iter().enumerate() {
        for second in &new[index + 1..] {
            if let Some(if_name) = contested(first, second) {
                for (plan, other) in [(first, second), (second, first)] {
                    let kind = Kind::IfNameConflict {
                        if_name: if_name.clone(),
                        other: full_name(&other.claim),
                    };
                    refuse(&plan.claim, kind);
                }
            }
        }
    }
    refused
}

/// Whether one pod uses both claims: only then do their interface names meet.
pub fn share_a_pod(one: &ClaimPlan, other: &ClaimPlan) -> bool {
    one.reserved_for.iter().any(|pod| {
        other
            .reserved_for
            .iter()
            .any(|theirs| theirs.uid == pod.uid)
    })
}

/// A name that both ask for in one pod.
fn contested(one: &ClaimPlan, other: &ClaimPlan) -> Option<String> {
    if one.claim.uid == other.claim.uid {
        return None;
    }
    if !share_a_pod(one, other) {
        return None;
    }
    names(one)
        .find(|name| names(other).any(|theirs| theirs == *name))
        .map(str::to_owned)
}

fn names(plan: &ClaimPlan) -> impl Iterator<Item = &str> {
    plan.attachments
        .iter()
        .filter_map(|attachment| attachment.if_name.as_deref())
}

fn full_name(claim: &ClaimRef) -> String {
    format!("{}/{}", plain(&claim.namespace), plain(&claim.name))
}

#[cfg(test)]
mod tests;
