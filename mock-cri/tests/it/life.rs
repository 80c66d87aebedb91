//! Sandboxes and containers through their lives, in both flavours.

use ndra_core::wire::cri::*;
use ndra_mock_cri::{ControlError, EXIT_CODE_ANNOTATION, Flavor};
use tonic::Code;

use crate::node::{container, node, pod};

const BOTH: [Flavor; 2] = [Flavor::Containerd, Flavor::Crio];

#[tokio::test]
async fn a_pod_lives_and_leaves_nothing() {
    for flavor in BOTH {
        let mut node = node(flavor).await;
        let clean = node.files();
        let sandbox = node.run(pod("demo")).await.unwrap();
        assert_eq!(sandbox.len(), 64);
        let id = node
            .create(&sandbox, &pod("demo"), container("c1", &[]))
            .await
            .unwrap();
        let created = node.container(&id).await.unwrap();
        assert_eq!(created.state(), ContainerState::ContainerCreated);
        assert_eq!((created.started_at, created.finished_at), (0, 0));
        node.start(&id).await.unwrap();
        assert_eq!(
            node.container(&id).await.unwrap().state(),
            ContainerState::ContainerRunning
        );
        node.stop(&id, 30).await.unwrap();
        let ended = node.container(&id).await.unwrap();
        assert_eq!(ended.state(), ContainerState::ContainerExited);
        assert_eq!((ended.exit_code, ended.reason.as_str()), (143, "Error"));
        node.remove(&id).await.unwrap();
        assert_eq!(
            node.container(&id).await.unwrap_err().code(),
            Code::NotFound
        );
        node.stop_pod(&sandbox).await.unwrap();
        node.remove_pod(&sandbox).await.unwrap();
        assert_eq!(
            node.sandbox(&sandbox).await.unwrap_err().code(),
            Code::NotFound
        );
        let mut left = node.files();
        left.retain(|f| !clean.contains(f));
        let empty = [
            "state/io.containerd.runtime.v2.task",
            "state/io.containerd.runtime.v2.task/k8s.io",
            "state/overlay-containers",
        ];
        left.retain(|f| !empty.contains(&f.as_str()));
        assert!(left.is_empty(), "{left:?}");
    }
}

#[tokio::test]
async fn the_network_namespace_goes_at_stop() {
    for flavor in BOTH {
        let mut node = node(flavor).await;
        let sandbox = node.run(pod("demo")).await.unwrap();
        let info = node.runtime.sandboxes().remove(0);
        let netns = info.netns.unwrap();
        assert!(netns.is_file() && netns.starts_with(node.path("netns")));
        let (status, _) = node.sandbox(&sandbox).await.unwrap();
        assert_eq!(status.network.unwrap().ip, info.ip.unwrap().to_string());
        node.stop_pod(&sandbox).await.unwrap();
        assert!(!netns.exists());
        let (status, info) = node.sandbox(&sandbox).await.unwrap();
        assert_eq!(status.state(), PodSandboxState::SandboxNotready);
        assert_eq!(status.network.unwrap().ip, "");
        if flavor == Flavor::Containerd {
            assert_eq!(info["netNamespaceClosed"], true);
            assert_eq!(info["processStatus"], "deleted");
        }
        assert_eq!(node.runtime.sandboxes()[0].netns, None);
        node.stop_pod(&sandbox).await.unwrap();
    }
}

#[tokio::test]
async fn a_host_network_pod_has_no_namespace_of_its_own() {
    for flavor in BOTH {
        let mut node = node(flavor).await;
        let mut host = pod("host");
        host.linux = Some(LinuxPodSandboxConfig {
            security_context: Some(LinuxSandboxSecurityContext {
                namespace_options: Some(NamespaceOption {
                    network: NamespaceMode::Node.into(),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        });
        let sandbox = node.run(host).await.unwrap();
        let (status, info) = node.sandbox(&sandbox).await.unwrap();
        assert_eq!(status.network.unwrap().ip, "");
        let namespaces = info["runtimeSpec"]["linux"]["namespaces"]
            .as_array()
            .unwrap();
        // CRI-O names a file that is the host's own.
        let names = namespaces.iter().any(|n| n["type"] == "network");
        assert_eq!(names, flavor == Flavor::Crio);
        let options = status.linux.unwrap().namespaces.unwrap().options.unwrap();
        assert_eq!(options.network(), NamespaceMode::Node);
        assert_eq!(std::fs::read_dir(node.path("netns")).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn crio_tells_little_of_a_sandbox() {
    let mut node = node(Flavor::Crio).await;
    let sandbox = node.run(pod("demo")).await.unwrap();
    let (_, info) = node.sandbox(&sandbox).await.unwrap();
    let keys: Vec<_> = info.as_object().unwrap().keys().cloned().collect();
    // The default pod of crictl shares its PID namespace, so the infra container stays.
    assert_eq!(keys, ["image", "pid", "runtimeSpec"]);
    let mut other = pod("other");
    other.linux = Some(LinuxPodSandboxConfig {
        security_context: Some(LinuxSandboxSecurityContext {
            namespace_options: Some(NamespaceOption {
                pid: NamespaceMode::Container.into(),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    });
    let sandbox = node.run(other).await.unwrap();
    let (_, info) = node.sandbox(&sandbox).await.unwrap();
    let keys: Vec<_> = info.as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["runtimeSpec"]);
    let namespaces = info["runtimeSpec"]["linux"]["namespaces"]
        .as_array()
        .unwrap();
    let network = namespaces.iter().find(|n| n["type"] == "network").unwrap();
    assert!(std::path::Path::new(network["path"].as_str().unwrap()).exists());
    let annotations = &info["runtimeSpec"]["annotations"];
    assert_eq!(annotations["io.kubernetes.cri-o.KubeName"], "other");
    assert_eq!(annotations["io.kubernetes.cri-o.ContainerType"], "sandbox");
}

#[tokio::test]
async fn undoing_what_is_not_there_is_no_error() {
    for flavor in BOTH {
        let mut node = node(flavor).await;
        node.stop("nothing", 0).await.unwrap();
        node.remove("nothing").await.unwrap();
        node.stop_pod("nothing").await.unwrap();
        node.remove_pod("nothing").await.unwrap();
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let mut all = Vec::new();
    for flavor in BOTH {
        let mut node = node(flavor).await;
        let mut say =
            |status: tonic::Status| all.push(format!("{:?}: {}", status.code(), status.message()));
        say(node.sandbox("abc").await.unwrap_err());
        say(node
            .create("abc", &pod("p"), container("c", &[]))
            .await
            .unwrap_err());
        say(node.start("abc").await.unwrap_err());
        say(node.container("abc").await.unwrap_err());
        say(node.sandbox("").await.unwrap_err());
        say(node.stop("", 0).await.unwrap_err());
        say(node.stop_pod("").await.unwrap_err());
    }
    insta::assert_snapshot!(all.join("\n"), @r#"
    NotFound: an error occurred when try to find sandbox: not found
    NotFound: failed to find sandbox id "abc": not found
    NotFound: an error occurred when try to find container "abc": not found
    NotFound: an error occurred when try to find container "abc": not found
    Unknown: an error occurred when try to find sandbox: prefix can't be empty
    Unknown: an error occurred when try to find container "": prefix can't be empty
    Unknown: an error occurred when try to find sandbox "": prefix can't be empty
    NotFound: could not find pod "abc": PodSandbox with ID starting with abc not found: ID does not exist
    Unknown: specified sandbox not found: abc: PodSandbox with ID starting with abc not found: ID does not exist
    NotFound: could not find container "abc": container with ID starting with abc not found: ID does not exist
    NotFound: could not find container "abc": container with ID starting with abc not found: ID does not exist
    NotFound: could not find pod "": PodSandboxId should not be empty
    NotFound: could not find container "": container ID should not be empty
    Unknown: PodSandboxId should not be empty
    "#);
}

#[tokio::test]
async fn names_are_reserved() {
    let mut node = node(Flavor::Containerd).await;
    let sandbox = node.run(pod("demo")).await.unwrap();
    let text = node
        .run(pod("demo"))
        .await
        .unwrap_err()
        .message()
        .replace(&sandbox, "SANDBOX");
    insta::assert_snapshot!(text, @r#"failed to reserve sandbox name "demo_default_uid-demo_0": name "demo_default_uid-demo_0" is reserved for "SANDBOX""#);
    let id = node
        .create(&sandbox, &pod("demo"), container("c1", &[]))
        .await
        .unwrap();
    let again = node
        .create(&sandbox, &pod("demo"), container("c1", &[]))
        .await;
    insta::assert_snapshot!(again.unwrap_err().message().replace(&id, "CONTAINER"), @r#"failed to reserve container name "c1_demo_default_uid-demo_0"; check if another CreateContainer request is in progress: name "c1_demo_default_uid-demo_0" is reserved for "CONTAINER""#);
    node.remove(&id).await.unwrap();
    node.create(&sandbox, &pod("demo"), container("c1", &[]))
        .await
        .unwrap();
    node.remove_pod(&sandbox).await.unwrap();
    node.run(pod("demo")).await.unwrap();
}

#[tokio::test]
async fn crio_takes_a_second_request_for_a_retry() {
    let mut node = node(Flavor::Crio).await;
    let sandbox = node.run(pod("demo")).await.unwrap();
    assert_eq!(node.run(pod("demo")).await.unwrap(), sandbox);
    let id = node
        .create(&sandbox, &pod("demo"), container("c1", &[]))
        .await
        .unwrap();
    assert_eq!(
        node.create(&sandbox, &pod("demo"), container("c1", &[]))
            .await
            .unwrap(),
        id
    );
}

#[tokio::test]
async fn calls_at_the_wrong_time() {
    let mut all = Vec::new();
    for flavor in BOTH {
        let mut node = node(flavor).await;
        let sandbox = node.run(pod("demo")).await.unwrap();
        let id = node
            .create(&sandbox, &pod("demo"), container("c1", &[]))
            .await
            .unwrap();
        node.start(&id).await.unwrap();
        let mut say = |status: tonic::Status| {
            let text = status
                .message()
                .replace(&id, "CONTAINER")
                .replace(&sandbox, "SANDBOX");
            all.push(format!("{:?}: {text}", status.code()));
        };
        say(node.start(&id).await.unwrap_err());
        node.stop(&id, 0).await.unwrap();
        say(node.start(&id).await.unwrap_err());
        node.stop_pod(&sandbox).await.unwrap();
        say(node
            .create(&sandbox, &pod("demo"), container("c2", &[]))
            .await
            .unwrap_err());
    }
    insta::assert_snapshot!(all.join("\n"), @r#"
    Unknown: failed to set starting state for container "CONTAINER": container is in CONTAINER_RUNNING state
    Unknown: failed to set starting state for container "CONTAINER": container is in CONTAINER_EXITED state
    Unknown: sandbox container "SANDBOX" is not running
    Unknown: container CONTAINER is not in created state: running
    Unknown: container CONTAINER is not in created state: stopped
    Unknown: CreateContainer failed as the sandbox was stopped: SANDBOX
    "#);
}

#[tokio::test]
async fn killed_from_outside() {
    for flavor in BOTH {
        let mut node = node(flavor).await;
        let sandbox = node.run(pod("demo")).await.unwrap();
        let mut ids = Vec::new();
        for name in ["c1", "c2"] {
            let id = node
                .create(&sandbox, &pod("demo"), container(name, &[]))
                .await
                .unwrap();
            node.start(&id).await.unwrap();
            ids.push(id);
        }
        node.runtime
            .kill_container("default", "demo", "c1", 3)
            .await
            .unwrap();
        let c1 = node.container(&ids[0]).await.unwrap();
        assert_eq!((c1.exit_code, c1.reason.as_str()), (3, "Error"));
        assert_eq!(
            node.container(&ids[1]).await.unwrap().state(),
            ContainerState::ContainerRunning
        );
        let again = node
            .runtime
            .kill_container("default", "demo", "c1", 3)
            .await;
        assert!(matches!(again, Err(ControlError::NoContainer { .. })));

        node.runtime.kill_sandbox("default", "demo").await.unwrap();
        let info = node.runtime.sandboxes().remove(0);
        assert!(!info.ready && info.netns.unwrap().exists());
        assert_eq!(node.container(&ids[1]).await.unwrap().exit_code, 137);
        let again = node
            .runtime
            .kill_sandbox("default", "demo")
            .await
            .unwrap_err();
        assert_eq!(
            again.to_string(),
            "pod default/demo has no ready sandbox: run the pod first"
        );
    }
}

#[tokio::test]
async fn a_container_can_end_by_itself() {
    let mut node = node(Flavor::Containerd).await;
    let sandbox = node.run(pod("demo")).await.unwrap();
    for (name, code, reason) in [("ok", 0, "Completed"), ("bad", 7, "Error")] {
        let mut config = container(name, &[]);
        config
            .annotations
            .insert(EXIT_CODE_ANNOTATION.into(), code.to_string());
        let id = node.create(&sandbox, &pod("demo"), config).await.unwrap();
        node.start(&id).await.unwrap();
        let status = loop {
            let status = node.container(&id).await.unwrap();
            if status.state() == ContainerState::ContainerExited {
                break status;
            }
        };
        assert_eq!((status.exit_code, status.reason.as_str()), (code, reason));
    }
    let mut config = container("odd", &[]);
    config
        .annotations
        .insert(EXIT_CODE_ANNOTATION.into(), "256".into());
    let status = node
        .create(&sandbox, &pod("demo"), config)
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    insta::assert_snapshot!(status.message(), @r#"container annotation ndra.dev/exit-code is "256": use an exit code from 0 to 255"#);
}

#[tokio::test]
async fn lists_are_filtered() {
    for flavor in BOTH {
        let mut node = node(flavor).await;
        let mut labelled = pod("b");
        labelled.labels.insert("app".into(), "b".into());
        let a = node.run(pod("a")).await.unwrap();
        let b = node.run(labelled.clone()).await.unwrap();
        node.stop_pod(&a).await.unwrap();
        let mut config = container("c", &[]);
        config.labels.insert("x".into(), "y".into());
        let c = node.create(&b, &labelled, config).await.unwrap();

        let label = [("app".to_owned(), "b".to_owned())].into();
        for (filter, expected) in [
            (PodSandboxFilter::default(), vec![&a, &b]),
            (
                PodSandboxFilter {
                    id: a[..12].into(),
                    ..Default::default()
                },
                vec![&a],
            ),
            (
                PodSandboxFilter {
                    id: "zz".into(),
                    ..Default::default()
                },
                vec![],
            ),
            (
                PodSandboxFilter {
                    label_selector: label,
                    ..Default::default()
                },
                vec![&b],
            ),
            (
                PodSandboxFilter {
                    state: Some(PodSandboxStateValue {
                        state: PodSandboxState::SandboxNotready.into(),
                    }),
                    ..Default::default()
                },
                vec![&a],
            ),
        ] {
            let request = ListPodSandboxRequest {
                filter: Some(filter),
            };
            let items = node
                .cri
                .list_pod_sandbox(request)
                .await
                .unwrap()
                .into_inner()
                .items;
            let mut ids: Vec<_> = items.iter().map(|i| &i.id).collect();
            let mut expected = expected;
            ids.sort();
            expected.sort();
            assert_eq!(ids, expected);
        }
        for (filter, count) in [
            (ContainerFilter::default(), 1),
            (
                ContainerFilter {
                    pod_sandbox_id: b.clone(),
                    ..Default::default()
                },
                1,
            ),
            (
                ContainerFilter {
                    pod_sandbox_id: a.clone(),
                    ..Default::default()
                },
                0,
            ),
            (
                ContainerFilter {
                    id: c[..8].into(),
                    ..Default::default()
                },
                1,
            ),
            (
                ContainerFilter {
                    state: Some(ContainerStateValue {
                        state: ContainerState::ContainerRunning.into(),
                    }),
                    ..Default::default()
                },
                0,
            ),
        ] {
            let request = ListContainersRequest {
                filter: Some(filter),
            };
            let found = node
                .cri
                .list_containers(request)
                .await
                .unwrap()
                .into_inner()
                .containers;
            assert_eq!(found.len(), count);
        }
    }
}

#[tokio::test]
async fn versions() {
    for (flavor, name, version) in [
        (Flavor::Containerd, "containerd", "v2.3.4"),
        (Flavor::Crio, "cri-o", "1.36.3"),
    ] {
        let mut node = node(flavor).await;
        let reply = node
            .cri
            .version(VersionRequest::default())
            .await
            .unwrap()
            .into_inner();
        assert_eq!(
            (reply.runtime_name.as_str(), reply.runtime_version.as_str()),
            (name, version)
        );
        assert_eq!(reply.runtime_api_version, "v1");
        let status = node
            .cri
            .exec_sync(ExecSyncRequest::default())
            .await
            .unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented);
    }
}
