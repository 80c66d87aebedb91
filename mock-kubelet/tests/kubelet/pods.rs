//! Sandboxes, containers, status and events.

use serde_json::{Value, json};

use crate::bed::{Bed, nothing_prepared, pod};

/// Status with times left out and conditions in short.
fn status(bed: &Bed, name: &str) -> String {
    let mut status = bed.api.0.borrow().pod(name).unwrap()["status"].clone();
    let conditions: Vec<_> = status["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| {
            let text = |key: &str| c[key].as_str().unwrap_or_default().to_owned();
            format!(
                "{}={} {} {}",
                text("type"),
                text("status"),
                text("reason"),
                text("message")
            )
            .trim_end()
            .to_owned()
        })
        .collect();
    status["conditions"] = json!(conditions);
    fn strip(value: &mut Value) {
        match value {
            Value::Object(map) => {
                map.retain(|key, _| !key.ends_with("Time") && !key.ends_with("At"));
                map.values_mut().for_each(strip);
            }
            Value::Array(all) => all.iter_mut().for_each(strip),
            _ => {}
        }
    }
    strip(&mut status);
    serde_json::to_string_pretty(&status).unwrap()
}

#[tokio::test]
async fn a_pod_lives_and_dies_in_the_kubelets_order() {
    let bed = Bed::new();
    bed.claim("one", &["p"]);
    let (kubelet, driver, _guards) = bed.both().await;
    let mut pod = pod("p", &["one"]);
    pod["metadata"]["labels"] = json!({ "app": "x" });
    pod["spec"]["initContainers"] = json!([
        { "name": "proxy", "restartPolicy": "Always" },
        { "name": "init" },
    ]);
    bed.api.apply("pods", pod);
    bed.api.until_phase("p", "Running").await;
    insta::assert_snapshot!(status(&bed, "p"), @r#"
    {
      "phase": "Running",
      "conditions": [
        "PodReadyToStartContainers=True",
        "Initialized=True",
        "Ready=True",
        "ContainersReady=True",
        "PodScheduled=True"
      ],
      "containerStatuses": [
        {
          "containerID": "fake://c4",
          "image": "busybox",
          "imageID": "",
          "name": "main",
          "ready": true,
          "restartCount": 0,
          "started": true,
          "state": {
            "running": {}
          }
        }
      ],
      "initContainerStatuses": [
        {
          "containerID": "fake://c2",
          "image": "",
          "imageID": "",
          "name": "proxy",
          "ready": true,
          "restartCount": 0,
          "started": true,
          "state": {
            "running": {}
          }
        },
        {
          "containerID": "fake://c3",
          "image": "",
          "imageID": "",
          "name": "init",
          "ready": true,
          "restartCount": 0,
          "started": false,
          "state": {
            "terminated": {
              "containerID": "fake://c3",
              "exitCode": 0,
              "reason": "Completed"
            }
          }
        }
      ],
      "podIP": "10.0.0.7",
      "podIPs": [
        {
          "ip": "10.0.0.7"
        }
      ]
    }
    "#);
    bed.api.delete_pod("p");
    bed.api
        .until("the pod to go", |store| store.pod("p").is_none())
        .await;
    let gone = |state: &crate::cri::State| state.sandboxes.is_empty();
    bed.cri.until("nothing to be left", gone).await;
    insta::assert_snapshot!(bed.cri.calls().join("\n"), @"
    RunPodSandbox p#0
    CreateContainer proxy#0
    StartContainer proxy#0
    CreateContainer init#0
    StartContainer init#0
    CreateContainer main#0
    StartContainer main#0
    StopContainer main#0 0s
    StopContainer proxy#0 0s
    StopPodSandbox p#0
    RemoveContainer main#0
    RemoveContainer init#0
    RemoveContainer proxy#0
    RemovePodSandbox p#0
    ");
    assert_eq!(driver.calls(), ["prepare one", "unprepare one"]);
    bed.api
        .until_event("p", "Killing spec.initContainers{proxy}")
        .await;
    insta::assert_snapshot!(bed.api.0.borrow().events("p").join("\n"), @"
    Normal Created spec.initContainers{proxy}: Container created
    Normal Started spec.initContainers{proxy}: Container started
    Normal Created spec.initContainers{init}: Container created
    Normal Started spec.initContainers{init}: Container started
    Normal Created spec.containers{main}: Container created
    Normal Started spec.containers{main}: Container started
    Normal Killing spec.containers{main}: Stopping container main
    Normal Killing spec.initContainers{proxy}: Stopping container proxy
    ");
    let deletions = bed.api.0.borrow().deletions.clone();
    assert_eq!(
        deletions,
        [json!({ "gracePeriodSeconds": 0, "preconditions": { "uid": "uid-p" } })]
    );
    nothing_prepared(&kubelet).await;
    kubelet.stop().await;
}

#[tokio::test]
async fn sandboxes_say_whose_they_are() {
    let bed = Bed::new();
    let kubelet = bed.kubelet().await;
    let mut pod = pod("p", &[]);
    pod["spec"]["hostNetwork"] = json!(true);
    pod["metadata"]["labels"] = json!({ "app": "x", "io.kubernetes.pod.uid": "spoofed" });
    bed.api.apply("pods", pod);
    bed.cri.until_running("main", 0).await;
    let state = bed.cri.0.borrow();
    let config = state.sandbox_configs.values().next().unwrap();
    let labels: Vec<_> = config
        .labels
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    insta::assert_snapshot!(labels.join("\n"), @"
    app=x
    io.kubernetes.pod.name=p
    io.kubernetes.pod.namespace=ns
    io.kubernetes.pod.uid=uid-p
    ");
    let linux = config.linux.clone().unwrap().security_context.unwrap();
    let network = linux.namespace_options.unwrap().network();
    assert_eq!(network, ndra_core::wire::cri::NamespaceMode::Node);
    let container = state.configs.values().next().unwrap();
    assert_eq!(container.labels["io.kubernetes.pod.uid"], "uid-p");
    assert!(
        !container
            .annotations
            .contains_key(ndra_mock_kubelet::EXIT_CODE_ANNOTATION)
    );
    drop(state);
    kubelet.stop().await;
}

#[tokio::test]
async fn a_container_that_dies_is_started_again_without_a_prepare() {
    let bed = Bed::new();
    bed.claim("one", &["p"]);
    let (kubelet, driver, _guards) = bed.both().await;
    bed.pod("p", &["one"]);
    for attempt in 0..3 {
        bed.cri.until_running("main", attempt).await;
        bed.cri.exit("main", 1);
    }
    bed.cri.until_running("main", 3).await;
    assert_eq!(driver.calls(), ["prepare one"]);
    let two_left = |state: &crate::cri::State| state.containers.len() == 2;
    bed.cri.until("the oldest to be removed", two_left).await;
    let runs = bed
        .cri
        .calls()
        .iter()
        .filter(|c| c.starts_with("RunPodSandbox"))
        .count();
    assert_eq!(runs, 1);
    bed.api.until_event("p", "BackOff").await;
    let events = bed.api.0.borrow().events("p");
    let back_off = events
        .iter()
        .find(|event| event.contains("BackOff"))
        .unwrap();
    insta::assert_snapshot!(back_off, @"Warning BackOff spec.containers{main}: Back-off restarting failed container main in pod p_ns(uid-p)");
    kubelet.stop().await;
}

#[tokio::test]
async fn the_restart_policy_ends_pods() {
    for (policy, code, phase) in [
        ("Never", 0, "Succeeded"),
        ("Never", 3, "Failed"),
        ("OnFailure", 0, "Succeeded"),
    ] {
        let bed = Bed::new();
        bed.claim("one", &["p"]);
        let (kubelet, driver, _guards) = bed.both().await;
        let mut pod = pod("p", &["one"]);
        pod["spec"]["restartPolicy"] = json!(policy);
        bed.api.apply("pods", pod);
        bed.cri.until_running("main", 0).await;
        bed.cri.exit("main", code);
        bed.api.until_phase("p", phase).await;
        driver.until_call("unprepare one").await;
        assert!(
            bed.cri.0.borrow().sandboxes[0].state == 1,
            "the sandbox is stopped"
        );
        bed.api.delete_pod("p");
        bed.api
            .until("the pod to go", |store| store.pod("p").is_none())
            .await;
        nothing_prepared(&kubelet).await;
        kubelet.stop().await;
    }
}

#[tokio::test]
async fn a_dead_sandbox_is_replaced_without_a_prepare() {
    let bed = Bed::new();
    bed.claim("one", &["p"]);
    let (kubelet, driver, _guards) = bed.both().await;
    let mut pod = pod("p", &["one"]);
    pod["spec"]["initContainers"] = json!([{ "name": "init" }]);
    bed.api.apply("pods", pod);
    bed.cri.until_running("main", 0).await;
    bed.cri.kill_sandbox();
    bed.cri.until_running("main", 1).await;
    assert_eq!(driver.calls(), ["prepare one"]);
    insta::assert_snapshot!(bed.cri.calls().join("\n"), @"
    RunPodSandbox p#0
    CreateContainer init#0
    StartContainer init#0
    CreateContainer main#0
    StartContainer main#0
    StopContainer main#0 0s
    StopPodSandbox p#0
    RemoveContainer init#0
    RunPodSandbox p#1
    CreateContainer init#0
    StartContainer init#0
    CreateContainer main#1
    StartContainer main#1
    ");
    bed.api.until_event("p", "SandboxChanged").await;
    bed.cri.kill_sandbox();
    bed.cri.until_running("main", 2).await;
    let sandboxes = bed.cri.0.borrow().sandboxes.clone();
    let attempts: Vec<_> = sandboxes
        .iter()
        .map(|s| s.metadata.as_ref().unwrap().attempt)
        .collect();
    assert_eq!(attempts, [1, 2], "the oldest is removed");
    kubelet.stop().await;
}

#[tokio::test]
async fn a_container_that_cannot_start_says_why_and_is_tried_again() {
    let mut bed = Bed::new();
    bed.timing.restart_backoff = std::time::Duration::from_secs(3600);
    bed.claim("one", &["p"]);
    let (kubelet, _driver, _guards) = bed.both().await;
    let text = "failed to create containerd task: stderr: ndra: no address left for ID";
    bed.cri
        .0
        .send_modify(|state| state.fail_start = vec![text.into(); 2]);
    bed.pod("p", &["one"]);
    let waits = |store: &crate::api::Store| {
        let state = &store.pod("p").unwrap()["status"]["containerStatuses"][0]["state"];
        state["waiting"]["reason"] == "CrashLoopBackOff"
    };
    bed.api.until("CrashLoopBackOff", waits).await;
    insta::assert_snapshot!(status(&bed, "p"), @r#"
    {
      "phase": "Running",
      "conditions": [
        "PodReadyToStartContainers=True",
        "Initialized=True",
        "Ready=False ContainersNotReady containers with unready status: [main]",
        "ContainersReady=False ContainersNotReady containers with unready status: [main]",
        "PodScheduled=True"
      ],
      "containerStatuses": [
        {
          "containerID": "fake://c3",
          "image": "busybox",
          "imageID": "",
          "lastState": {
            "terminated": {
              "containerID": "fake://c3",
              "exitCode": 128,
              "message": "failed to create containerd task: stderr: ndra: no address left for ID",
              "reason": "StartError"
            }
          },
          "name": "main",
          "ready": false,
          "restartCount": 1,
          "started": false,
          "state": {
            "waiting": {
              "message": "back-off 1h0m0s restarting failed container=main pod=p_ns(uid-p)",
              "reason": "CrashLoopBackOff"
            }
          }
        }
      ],
      "podIP": "10.0.0.7",
      "podIPs": [
        {
          "ip": "10.0.0.7"
        }
      ]
    }
    "#);
    bed.api.until_event("p", "BackOff").await;
    insta::assert_snapshot!(bed.api.0.borrow().events("p").join("\n"), @"
    Normal Created spec.containers{main}: Container created
    Warning Failed spec.containers{main}: Error: failed to create containerd task: stderr: ndra: no address left for main
    Warning BackOff spec.containers{main}: Back-off restarting failed container main in pod p_ns(uid-p)
    ");
    kubelet.stop().await;
}

#[tokio::test]
async fn a_container_that_cannot_be_created_is_tried_again() {
    let bed = Bed::new();
    bed.claim("one", &["p"]);
    let (kubelet, _driver, _guards) = bed.both().await;
    let text = "container create failed: error executing hook `/opt/ndra/hook` (exit code: 1)";
    bed.cri
        .0
        .send_modify(|state| state.fail_create = vec![text.into()]);
    bed.cri
        .0
        .send_modify(|state| state.fail_sandbox = vec!["no network yet".into()]);
    bed.pod("p", &["one"]);
    bed.cri.until_running("main", 0).await;
    bed.api.until_event("p", "Started").await;
    insta::assert_snapshot!(bed.api.0.borrow().events("p").join("\n"), @"
    Warning FailedCreatePodSandBox pod: Failed to create pod sandbox: rpc error: code = Unknown desc = no network yet
    Warning Failed spec.containers{main}: Error: container create failed: error executing hook `/opt/ndra/hook` (exit code: 1)
    Normal Created spec.containers{main}: Container created
    Normal Started spec.containers{main}: Container started
    ");
    kubelet.stop().await;
}
