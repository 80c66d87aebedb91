//! Requests that nobody well-meaning sends.

use ndra_core::wire::cri::*;
use ndra_mock_cri::Flavor;
use tonic::Code;

use crate::node::{Node, container, node, pod};

const BOTH: [Flavor; 2] = [Flavor::Containerd, Flavor::Crio];

/// The runtime answers, and everything it has made lies where it may.
async fn still_well(node: &mut Node) {
    node.cri.version(VersionRequest::default()).await.unwrap();
    let top = ["cdi", "state", "netns"];
    for file in node.files() {
        let first = file.split('/').next().unwrap();
        assert!(top.contains(&first), "{file}");
    }
}

#[tokio::test]
async fn missing_parts() {
    let mut all = Vec::new();
    for flavor in BOTH {
        let mut node = node(flavor).await;
        all.push(format!("{flavor}:"));
        let mut say =
            |status: tonic::Status| all.push(format!("{:?}: {}", status.code(), status.message()));
        say(node
            .cri
            .run_pod_sandbox(RunPodSandboxRequest::default())
            .await
            .unwrap_err());
        say(node.run(PodSandboxConfig::default()).await.unwrap_err());
        let odd = RunPodSandboxRequest {
            config: Some(pod("odd")),
            runtime_handler: "kata".into(),
        };
        let status = node.cri.run_pod_sandbox(odd).await.unwrap_err();
        let id = status.message().split('"').nth(1).unwrap_or("-").to_owned();
        say(tonic::Status::new(
            status.code(),
            status.message().replace(&id, "SANDBOX"),
        ));
        let sandbox = node.run(pod("demo")).await.unwrap();
        let whole = CreateContainerRequest {
            pod_sandbox_id: sandbox,
            config: Some(container("c1", &[])),
            sandbox_config: Some(pod("demo")),
        };
        for cut in 0..5 {
            let mut request = whole.clone();
            match cut {
                0 => request.config = None,
                1 => request.sandbox_config = None,
                2 => request.config.as_mut().unwrap().metadata = None,
                3 => request.config.as_mut().unwrap().image = None,
                _ => request.sandbox_config.as_mut().unwrap().metadata = None,
            }
            say(node.cri.create_container(request).await.unwrap_err());
        }
        assert!(node.runtime.containers().is_empty());
        still_well(&mut node).await;
    }
    insta::assert_snapshot!(all.join("\n"), @r#"
    containerd:
    Unknown: sandbox config must include metadata
    Unknown: sandbox config must include metadata
    Unknown: unable to get OCI runtime for sandbox "SANDBOX": no runtime for "kata" is configured
    Unknown: container config must include metadata
    Unknown: pod sandbox config must include metadata
    Unknown: container config must include metadata
    NotFound: failed to resolve image "": not found
    Unknown: pod sandbox config must include metadata
    crio:
    Unknown: setting sandbox config: config is nil
    Unknown: setting sandbox config: metadata is nil
    Unknown: failed to find runtime handler kata from runtime list map[crun]
    Unknown: config is nil
    Unknown: sandbox config is nil
    Unknown: setting container config: metadata is nil
    Unknown: config image is nil
    Unknown: sandbox config metadata is nil
    "#);
}

#[tokio::test]
async fn names_never_become_paths() {
    for flavor in BOTH {
        let mut node = node(flavor).await;
        let evil = "../../../evil\0\n";
        let mut config = pod(evil);
        config.hostname = evil.into();
        config.log_directory = evil.into();
        config.annotations.insert(evil.into(), evil.into());
        config.metadata.as_mut().unwrap().uid = evil.into();
        let sandbox = node.run(config.clone()).await.unwrap();
        let mut c = container(evil, &[]);
        c.log_path = evil.into();
        c.working_dir = evil.into();
        c.command = vec![evil.into()];
        let id = node.create(&sandbox, &config, c).await.unwrap();
        node.start(&id).await.unwrap();
        node.sandbox(&sandbox).await.unwrap();
        still_well(&mut node).await;
        node.remove_pod(&sandbox).await.unwrap();
        still_well(&mut node).await;
    }
}

#[tokio::test]
async fn absurd_ids() {
    for flavor in BOTH {
        let mut node = node(flavor).await;
        for id in ["../..", "/", "\0", "%s%n", &"f".repeat(2_000_000)] {
            let status = node.sandbox(id).await.unwrap_err();
            assert_eq!(status.code(), Code::NotFound);
            assert!(status.message().len() < 5000);
            assert_eq!(node.container(id).await.unwrap_err().code(), Code::NotFound);
            assert!(
                node.create(id, &pod("p"), container("c", &[]))
                    .await
                    .is_err()
            );
            node.stop(id, i64::MIN).await.unwrap();
            node.remove_pod(id).await.unwrap();
        }
        still_well(&mut node).await;
    }
}

#[tokio::test]
async fn a_request_too_large_is_refused() {
    let mut node = node(Flavor::Containerd).await;
    let mut config = pod("large");
    config.annotations.insert("a".into(), "x".repeat(17 << 20));
    let status = node.run(config).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange);
    assert!(node.runtime.sandboxes().is_empty());
    still_well(&mut node).await;
}

#[tokio::test]
async fn devices_that_are_no_devices() {
    for flavor in BOTH {
        let mut node = node(flavor).await;
        let sandbox = node.run(pod("demo")).await.unwrap();
        for device in ["", "x", "../../etc=passwd", "a/b=\0", &"v".repeat(100_000)] {
            let status = node
                .create(&sandbox, &pod("demo"), container("c", &[device]))
                .await
                .unwrap_err();
            assert!(
                status.message().contains("unresolvable CDI devices"),
                "{status}"
            );
        }
        let mut odd = container("c", &[]);
        odd.annotations
            .insert("cdi.k8s.io/x".into(), "not a device".into());
        let status = node.create(&sandbox, &pod("demo"), odd).await.unwrap_err();
        assert!(
            status
                .message()
                .contains("failed to parse CDI device annotations"),
            "{status}"
        );
        still_well(&mut node).await;
    }
}
