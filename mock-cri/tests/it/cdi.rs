//! The CDI cache's quirks, as containerd's users meet them.

use ndra_core::gate::Gate;
use ndra_mock_cri::Flavor;
use serde_json::{Value, json};

use crate::node::{DEVICE, Node, container, node, pod, spec, start};

/// The environment that a container with this device gets, or the error.
async fn inject(node: &mut Node, device: &str) -> Result<Vec<String>, String> {
    let name = format!("p{}", node.runtime.sandboxes().len());
    let sandbox = node.run(pod(&name)).await.unwrap();
    let made = node
        .create(&sandbox, &pod(&name), container("c", &[device]))
        .await;
    let id = made.map_err(|status| status.message().to_owned())?;
    let info = node
        .runtime
        .containers()
        .into_iter()
        .find(|c| c.id == id)
        .unwrap();
    Ok(info.env)
}

async fn injects(node: &mut Node, device: &str, env: &str) -> bool {
    inject(node, device)
        .await
        .is_ok_and(|all| all.iter().any(|e| e == env))
}

fn with_env(device: &str, env: &str) -> Value {
    let mut spec = spec(device, &[]);
    spec["devices"][0]["containerEdits"] = json!({ "env": [env] });
    spec
}

#[tokio::test]
async fn unknown_devices_are_named() {
    let mut containerd = node(Flavor::Containerd).await;
    let text = inject(&mut containerd, DEVICE).await.unwrap_err();
    insta::assert_snapshot!(text, @"failed to create containerd container: CDI device injection failed: unresolvable CDI devices ndra.test/claim=uid1");
    assert!(containerd.runtime.containers().is_empty());
    let mut crio = node(Flavor::Crio).await;
    let text = inject(&mut crio, DEVICE).await.unwrap_err();
    insta::assert_snapshot!(text, @"CDI device injection failed: unresolvable CDI devices ndra.test/claim=uid1");
}

#[tokio::test]
async fn a_spec_that_is_renamed_into_place_is_seen_and_a_removed_one_is_not() {
    let mut node = node(Flavor::Containerd).await;
    for round in 0..20 {
        let env = format!("ROUND={round}");
        node.put_spec("claim.json", &with_env("uid1", &env));
        assert!(injects(&mut node, DEVICE, &env).await, "round {round}");
        std::fs::remove_file(node.path("cdi/claim.json")).unwrap();
        assert!(inject(&mut node, DEVICE).await.is_err(), "round {round}");
    }
}

#[tokio::test]
async fn a_spec_written_in_place_is_seen() {
    let mut node = node(Flavor::Containerd).await;
    let path = node.path("cdi/claim.yaml");
    std::fs::write(&path, with_env("uid1", "A=1").to_string()).unwrap();
    assert!(injects(&mut node, DEVICE, "A=1").await);
    std::fs::write(&path, with_env("uid1", "A=2").to_string()).unwrap();
    assert!(injects(&mut node, DEVICE, "A=2").await);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_spec_that_merely_appears_is_not_seen_until_something_else_happens() {
    let mut node = node(Flavor::Containerd).await;
    for (name, way) in [("linked", true), ("moved", false)] {
        let elsewhere = node.path(&format!("elsewhere-{name}"));
        let target = node.path("cdi").join(format!("{name}.json"));
        std::fs::write(&elsewhere, with_env(name, "A=1").to_string()).unwrap();
        if way {
            std::fs::hard_link(&elsewhere, &target).unwrap();
        } else {
            std::fs::rename(&elsewhere, &target).unwrap();
        }
        let device = format!("ndra.test/claim={name}");
        assert!(inject(&mut node, &device).await.is_err(), "{name} was seen");
        node.put_spec(
            &format!("other-{name}.json"),
            &with_env(&format!("other-{name}"), "B=1"),
        );
        assert!(
            injects(&mut node, &device, "A=1").await,
            "{name} stays unseen"
        );
    }
}

#[tokio::test]
async fn one_name_in_two_files_drops_both() {
    let mut node = node(Flavor::Containerd).await;
    node.put_spec("a.json", &with_env("uid1", "FROM=a"));
    assert!(injects(&mut node, DEVICE, "FROM=a").await);
    node.put_spec("b.json", &with_env("uid1", "FROM=b"));
    node.put_spec("c.json", &with_env("uid2", "FROM=c"));
    let text = inject(&mut node, DEVICE).await.unwrap_err();
    assert!(
        text.contains("unresolvable CDI devices ndra.test/claim=uid1"),
        "{text}"
    );
    assert!(injects(&mut node, "ndra.test/claim=uid2", "FROM=c").await);
    std::fs::remove_file(node.path("cdi/a.json")).unwrap();
    assert!(injects(&mut node, DEVICE, "FROM=b").await);
}

#[tokio::test]
async fn the_later_directory_wins_and_may_come_later() {
    let mut node = start(Flavor::Containerd, Gate::default(), &["cdi", "late"]).await;
    node.put_spec("z.json", &with_env("uid1", "FROM=low"));
    assert!(injects(&mut node, DEVICE, "FROM=low").await);
    let late = node.path("late");
    for round in 0..2 {
        std::fs::create_dir(&late).unwrap();
        std::fs::write(
            late.join("a.json"),
            with_env("uid1", "FROM=high").to_string(),
        )
        .unwrap();
        assert!(
            injects(&mut node, DEVICE, "FROM=high").await,
            "round {round}"
        );
        std::fs::remove_dir_all(&late).unwrap();
        assert!(
            injects(&mut node, DEVICE, "FROM=low").await,
            "round {round}"
        );
    }
}

#[tokio::test]
async fn bad_files_and_subdirectories_are_passed_over() {
    let mut node = node(Flavor::Containerd).await;
    let cdi = node.path("cdi");
    std::fs::write(cdi.join("0bad.json"), "{ not JSON").unwrap();
    std::fs::write(cdi.join("1bad.yaml"), "a: &a [*a, *a]").unwrap();
    std::fs::write(
        cdi.join("2bad.json"),
        json!({ "cdiVersion": "99.0.0", "kind": "x" }).to_string(),
    )
    .unwrap();
    std::fs::write(cdi.join("3huge.json"), vec![b'['; 5 << 20]).unwrap();
    std::fs::create_dir(cdi.join("sub")).unwrap();
    std::fs::write(
        cdi.join("sub/deep.json"),
        with_env("deep", "A=1").to_string(),
    )
    .unwrap();
    std::fs::write(
        cdi.join("not-a-spec.txt"),
        with_env("text", "A=1").to_string(),
    )
    .unwrap();
    std::fs::create_dir(cdi.join("dir.json")).unwrap();
    node.put_spec("9good.json", &with_env("uid1", "A=1"));
    assert!(injects(&mut node, DEVICE, "A=1").await);
    for hidden in ["deep", "text"] {
        let device = format!("ndra.test/claim={hidden}");
        assert!(
            inject(&mut node, &device).await.is_err(),
            "{hidden} was seen"
        );
    }
}

#[tokio::test]
async fn a_device_name_that_begins_with_a_digit_needs_version_0_5_0() {
    let mut node = node(Flavor::Containerd).await;
    let mut old = with_env("1old", "A=1");
    old["cdiVersion"] = "0.4.0".into();
    node.put_spec("old.json", &old);
    node.put_spec("new.json", &with_env("1new", "A=1"));
    assert!(inject(&mut node, "ndra.test/claim=1old").await.is_err());
    assert!(injects(&mut node, "ndra.test/claim=1new", "A=1").await);
}

#[tokio::test]
async fn annotations_name_devices_too_and_each_is_injected_once() {
    let mut node = node(Flavor::Containerd).await;
    node.put_spec("a.json", &with_env("uid1", "A=1"));
    node.put_spec("b.json", &with_env("uid2", "B=1"));
    let sandbox = node.run(pod("demo")).await.unwrap();
    let mut c1 = container("c1", &[DEVICE, DEVICE]);
    c1.annotations.insert(
        "cdi.k8s.io/x".into(),
        format!("ndra.test/claim=uid2,{DEVICE}"),
    );
    node.create(&sandbox, &pod("demo"), c1).await.unwrap();
    let info = node.runtime.containers().remove(0);
    assert_eq!(info.cdi_devices, [DEVICE, "ndra.test/claim=uid2"]);
    for env in ["A=1", "B=1"] {
        assert_eq!(info.env.iter().filter(|e| *e == env).count(), 1);
    }
}
