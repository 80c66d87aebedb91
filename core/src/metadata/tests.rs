use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::*;
use crate::attachment::Place;
use crate::claim::{AttachmentPlan, ClaimPlan, DeviceKey};
use crate::cni::{CniResult, ConfigList};
use crate::kube::PodRef;

const UID: &str = "0b5e0c5e-5f5b-4c8e-9d4e-0d7c9f0a1b2c";

fn plan(request: &str, device: &str) -> AttachmentPlan {
    AttachmentPlan {
        device: DeviceKey {
            pool: "node-1".into(),
            device: device.into(),
            share_id: None,
        },
        request: request.into(),
        subrequest: None,
        if_name: Some("net1".into()),
        auto_named: true,
        network: ConfigList::macvlan("eth0"),
        ips: Vec::new(),
        mac: None,
        cni_args: BTreeMap::new(),
    }
}

fn claim(attachments: Vec<AttachmentPlan>) -> PreparedClaim {
    let plan = ClaimPlan {
        claim: ClaimRef {
            namespace: "shop".into(),
            name: "storage".into(),
            uid: UID.into(),
        },
        pod_claim_name: None,
        reserved_for: Vec::new(),
        attachments,
    };
    let mut claim = PreparedClaim::from(plan);
    claim.metadata = true;
    claim
}

fn attach(attachment: &mut Attachment) {
    let result = json!({
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "net1", "mac": "02:00:00:00:00:01", "sandbox": "/run/netns/a"}],
        "ips": [{"address": "10.0.0.5/24", "interface": 0}],
    });
    attachment.state = State::Attached {
        place: Place {
            sandbox: "s".into(),
            pod: PodRef {
                namespace: "shop".into(),
                name: "web".into(),
                uid: "p".into(),
            },
            netns: "/run/netns/a".into(),
            pin: None,
            if_name: "net1".into(),
        },
        result: Box::new(CniResult::from_value(result, "").unwrap()),
        since: jiff::Timestamp::UNIX_EPOCH,
    };
}

fn metadata(dir: &Path) -> Metadata {
    let (plugin, cdi) = (dir.join("plugin"), dir.join("cdi"));
    Metadata::new("dra.networking", &plugin, &cdi, true)
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => dirs.push(path),
                false => found.push(path.strip_prefix(dir).unwrap().to_owned()),
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_file_grows_from_what_is_asked_to_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let metadata = metadata(dir.path());
    let mut claim = claim(vec![AttachmentPlan {
        ips: vec!["10.0.0.5/24".parse().unwrap()],
        subrequest: Some("fast".into()),
        ..plan("net", "slot-0")
    }]);
    metadata.write(&claim).unwrap();
    let file = dir.path().join(format!(
        "plugin/dra-device-metadata/{UID}/net/metadata.json"
    ));
    let inode = fs::metadata(&file).unwrap().ino();
    insta::assert_snapshot!("planned", fs::read_to_string(&file).unwrap());
    attach(&mut claim.attachments[0]);
    metadata.write(&claim).unwrap();
    let text = fs::read_to_string(&file).unwrap();
    insta::assert_snapshot!("attached", text);
    // What a container has bound is written, not replaced, and once only.
    let meta = fs::metadata(&file).unwrap();
    assert_eq!(meta.ino(), inode);
    assert_eq!(meta.permissions().mode() & 0o777, 0o644);
    metadata.write(&claim).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    // A crash in the middle of a write leaves what is none.
    fs::write(&file, "{\"apiVersion\": \"metadata").unwrap();
    metadata.write(&claim).unwrap();
    assert!(read(&file).is_some());
}

#[test]
fn each_request_has_a_file_and_a_device_and_both_go() {
    let dir = tempfile::tempdir().unwrap();
    let metadata = metadata(dir.path());
    let mut claim = claim(vec![
        plan("front", "slot-0"),
        plan("back", "slot-1"),
        plan("back", "slot-2"),
    ]);
    metadata.write(&claim).unwrap();
    let all: Vec<String> = files(dir.path())
        .into_iter()
        .map(|path| path.display().to_string().replace(UID, "UID"))
        .collect();
    insta::assert_snapshot!(all.join("\n"), @r"
    cdi/dra.networking-metadata_UID_back.json
    cdi/dra.networking-metadata_UID_front.json
    plugin/dra-device-metadata/UID/back/metadata.json
    plugin/dra-device-metadata/UID/front/metadata.json
    ");
    let spec = fs::read_to_string(metadata.spec_path(UID, "back")).unwrap();
    let dir_name = dir.path().to_str().unwrap();
    insta::assert_snapshot!("spec", spec.replace(dir_name, "NODE"));
    let back = read(&metadata.file(&claim.claim, "back").unwrap()).unwrap();
    assert_eq!(back["requests"][0]["devices"].as_array().unwrap().len(), 2);
    // A claim made from a template is known by the pod's entry.
    claim.pod_claim_name = Some("uplink".into());
    metadata.write(&claim).unwrap();
    let spec = fs::read_to_string(metadata.spec_path(UID, "back")).unwrap();
    assert!(spec.contains("/resourceclaimtemplates/uplink/back/dra.networking-metadata.json"));
    metadata.remove(&UID.parse().unwrap()).unwrap();
    assert!(files(dir.path()).is_empty());
    metadata.remove(&UID.parse().unwrap()).unwrap();
}

#[test]
fn what_belongs_to_no_claim_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let metadata = metadata(dir.path());
    let held = claim(vec![plan("net", "slot-0")]);
    let mut other = held.clone();
    other.claim.uid = "other".into();
    metadata.write(&held).unwrap();
    metadata.write(&other).unwrap();
    let before = files(dir.path());
    metadata.remove_others([&held, &other].into_iter()).unwrap();
    assert_eq!(files(dir.path()), before);
    metadata.remove_others([&held].into_iter()).unwrap();
    assert_eq!(files(dir.path()).len(), 2);
    assert!(metadata.others([&held].into_iter()).is_empty());
}

#[test]
fn no_name_leads_out_of_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let metadata = metadata(dir.path());
    for (uid, name, request) in [
        ("../x", "n", "r"),
        ("u", "../n", "r"),
        ("u", "n", ".."),
        ("u", "n", "a/b"),
    ] {
        let mut claim = claim(vec![plan(request, "slot-0")]);
        claim.claim.uid = uid.into();
        claim.claim.name = name.into();
        let said = metadata.write(&claim).unwrap_err().to_string();
        assert!(said.contains("has no proper name"), "{said}");
    }
    assert!(files(dir.path()).is_empty());
}
