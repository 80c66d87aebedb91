use super::*;
use crate::claim::{Consumer, DeviceKey};
use crate::cni::ConfigList;

fn plan(name: &str, pods: &[&str], if_names: &[Option<&str>]) -> ClaimPlan {
    let attachments = if_names
        .iter()
        .enumerate()
        .map(|(index, if_name)| AttachmentPlan {
            auto_named: false,
            device: DeviceKey {
                pool: "node-1".into(),
                device: format!("slot-{index}"),
                share_id: None,
            },
            request: "net".into(),
            subrequest: None,
            if_name: if_name.map(str::to_owned),
            network: ConfigList::macvlan("eth0"),
            ips: Vec::new(),
            mac: None,
            cni_args: BTreeMap::new(),
        });
    ClaimPlan {
        claim: ClaimRef {
            namespace: "shop".into(),
            name: name.into(),
            uid: format!("uid-{name}"),
        },
        pod_claim_name: None,
        reserved_for: pods
            .iter()
            .map(|pod| Consumer {
                name: (*pod).into(),
                uid: format!("uid-{pod}"),
            })
            .collect(),
        attachments: attachments.collect(),
    }
}

fn named(plans: &[ClaimPlan]) -> Vec<&str> {
    plans.iter().flat_map(names).collect()
}

#[test]
fn the_next_free_names_in_order() {
    let mut plans = [
        plan("a", &["p"], &[None, Some("net2"), None]),
        plan("b", &["p"], &[None, Some("storage0")]),
    ];
    let taken = ["net1", "net4"].map(String::from).into();
    assign_names(&mut plans, &taken);
    assert_eq!(named(&plans), ["net3", "net2", "net5", "net6", "storage0"]);
    // Nothing is left to name: a second time changes nothing.
    let before = plans.clone();
    assign_names(&mut plans, &BTreeSet::new());
    assert_eq!(plans, before);
}

#[test]
fn in_one_call_both_are_refused_and_each_names_the_other() {
    let new = [
        plan("a", &["p"], &[Some("net1"), None]),
        plan("b", &["q", "p"], &[None, Some("net1")]),
        plan("c", &["p"], &[Some("net2")]),
    ];
    let refused = conflicts(&new, std::iter::empty());
    assert_eq!(refused.keys().collect::<Vec<_>>(), ["uid-a", "uid-b"]);
    insta::assert_snapshot!(refused["uid-a"], @"ResourceClaim shop/a: ifName: net1 is asked for by ResourceClaim shop/b of the same pod, too; give one of them another ifName, or leave it out");
    insta::assert_snapshot!(refused["uid-b"], @"ResourceClaim shop/b: ifName: net1 is asked for by ResourceClaim shop/a of the same pod, too; give one of them another ifName, or leave it out");
}

#[test]
fn the_later_one_is_refused_and_names_the_earlier() {
    let held = [plan("a", &["p"], &[Some("net1")])];
    let refused = conflicts(&[plan("b", &["p"], &[Some("net1")])], held.iter());
    assert_eq!(refused.keys().collect::<Vec<_>>(), ["uid-b"]);
    insta::assert_snapshot!(refused["uid-b"], @"ResourceClaim shop/b: ifName: net1 is already held by ResourceClaim shop/a of the same pod; ask for another ifName, or leave it out");
}

#[test]
fn other_pods_other_names_and_oneself_are_no_conflict() {
    let a = plan("a", &["p"], &[Some("net1")]);
    let none = BTreeMap::new();
    assert_eq!(
        conflicts(&[plan("b", &["q"], &[Some("net1")])], [&a].into_iter()),
        none
    );
    assert_eq!(
        conflicts(&[plan("b", &["p"], &[Some("net2")])], [&a].into_iter()),
        none
    );
    assert_eq!(
        conflicts(&[plan("b", &["p"], &[None])], [&a].into_iter()),
        none
    );
    assert_eq!(conflicts(std::slice::from_ref(&a), [&a].into_iter()), none);
}
