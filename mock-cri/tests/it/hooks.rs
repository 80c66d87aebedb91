//! Hooks are executed as the runtimes do it, in both manners.

use std::time::{Duration, Instant};

use ndra_core::wire::cri::{CreateContainerRequest, StartContainerRequest};
use ndra_mock_cri::{ContainerState, Flavor};
use serde_json::{Value, json};

use crate::node::{DEVICE, Node, container, node, pod};

/// Waits until `done`, by the events of the file system: no hook of these tests can tell.
async fn until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        tokio::task::yield_now().await;
    }
}

fn with(mut hook: Value, key: &str, value: Value) -> Value {
    hook[key] = value;
    hook
}

async fn failing(flavor: Flavor, hook: Value) -> (Node, String) {
    let mut node = node(flavor).await;
    node.device(&[hook]);
    let (_, started) = node.demo().await;
    let text = node.plain(started.unwrap_err().message());
    (node, text)
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn argv_env_and_cwd_are_as_given() {
    for flavor in [Flavor::Containerd, Flavor::Crio] {
        let mut node = node(flavor).await;
        let script = r#"{ echo "argv0=$(tr '\0' '\n' < /proc/$$/cmdline | head -1)"; echo "args=$*"; /usr/bin/env; pwd; } > "$0/out""#;
        let hook = json!({
            "hookName": "createRuntime",
            "path": "/bin/sh",
            "args": ["my name", "-c", script, node.dir.path(), "a b", "--claim-uid=u"],
            "env": ["A=1", "B=two words=x"],
        });
        let bare = node.sh(r#"/usr/bin/env > "$0/env""#);
        node.device(&[hook, bare]);
        let (_, started) = node.demo().await;
        let id = started.unwrap();
        let bundle = match flavor {
            Flavor::Containerd => format!("DIR/state/io.containerd.runtime.v2.task/k8s.io/{id}"),
            Flavor::Crio => format!("DIR/state/overlay-containers/{id}/userdata"),
        };
        let out = node.plain(&node.read("out"));
        let lines: Vec<_> = out.lines().collect();
        assert_eq!(lines[..2], ["argv0=my name", "args=a b --claim-uid=u"]);
        // The shell adds PWD and the like; nothing of this process's environment is there.
        assert!(lines.contains(&"A=1") && lines.contains(&"B=two words=x"));
        assert!(!out.contains("CARGO"), "{out}");
        assert_eq!(*lines.last().unwrap(), bundle);
        let env = node.read("env");
        assert!(
            env.lines()
                .all(|l| ["PWD=", "SHLVL=", "_="].iter().any(|p| l.starts_with(p))),
            "{env}"
        );
        let config: Value = serde_json::from_str(
            &std::fs::read_to_string(
                bundle.replace("DIR", node.dir.path().to_str().unwrap()) + "/config.json",
            )
            .unwrap(),
        )
        .unwrap();
        assert_eq!(
            config["hooks"]["createRuntime"].as_array().unwrap().len(),
            2
        );
    }
}

#[tokio::test]
async fn crun_writes_the_state_its_own_way() {
    let mut node = node(Flavor::Crio).await;
    node.device(&[node.sh(r#"cat > "$0/oci""#)]);
    let sandbox = node.run(pod("demo")).await.unwrap();
    let mut c1 = container("c1", &[DEVICE]);
    c1.labels
        .insert("io.kubernetes.pod.uid".into(), "uid-demo".into());
    c1.labels
        .insert("io.kubernetes.pod.name".into(), "demo".into());
    let id = node.create(&sandbox, &pod("demo"), c1).await.unwrap();
    let state: Value = serde_json::from_str(&node.read("oci")).unwrap();
    let keys: Vec<_> = state.as_object().unwrap().keys().cloned().collect();
    assert_eq!(
        keys,
        [
            "ociVersion",
            "id",
            "pid",
            "root",
            "bundle",
            "status",
            "annotations"
        ]
    );
    assert_eq!(state["ociVersion"], "1.0");
    assert_eq!(state["status"], "created");
    assert_eq!(state["id"], id);
    let annotations = &state["annotations"];
    assert_eq!(annotations["io.kubernetes.cri-o.SandboxID"], sandbox);
    assert_eq!(
        annotations["io.kubernetes.cri-o.SandboxName"],
        "k8s_demo_default_uid-demo_0"
    );
    assert_eq!(
        annotations["io.kubernetes.cri-o.Name"],
        "k8s_c1_demo_default_uid-demo_0"
    );
    assert_eq!(
        annotations["io.kubernetes.cri-o.ContainerType"],
        "container"
    );
    assert_eq!(annotations["io.kubernetes.pod.uid"], "uid-demo");
    assert!(annotations.get("io.kubernetes.cri-o.KubeName").is_none());
    assert!(annotations.get("io.kubernetes.cri-o.Namespace").is_none());
}

#[tokio::test]
async fn a_pod_annotation_can_spoof_what_cri_o_sets_on_sandboxes_only() {
    let mut node = node(Flavor::Crio).await;
    node.device(&[node.sh(r#"cat > "$0/oci""#)]);
    let mut demo = pod("demo");
    for key in ["KubeName", "SandboxID"] {
        let key = format!("io.kubernetes.cri-o.{key}");
        demo.annotations.insert(key, "spoofed".into());
    }
    let sandbox = node.run(demo.clone()).await.unwrap();
    node.create(&sandbox, &demo, container("c1", &[DEVICE]))
        .await
        .unwrap();
    let state: Value = serde_json::from_str(&node.read("oci")).unwrap();
    assert_eq!(
        state["annotations"]["io.kubernetes.cri-o.KubeName"],
        "spoofed"
    );
    assert_eq!(
        state["annotations"]["io.kubernetes.cri-o.SandboxID"],
        sandbox
    );
}

#[tokio::test]
async fn containerd_runs_hooks_in_start_and_crio_in_create() {
    for flavor in [Flavor::Containerd, Flavor::Crio] {
        let mut node = node(flavor).await;
        node.device(&[node.sh(r#"echo ran >> "$0/ran""#)]);
        let sandbox = node.run(pod("demo")).await.unwrap();
        let id = node
            .create(&sandbox, &pod("demo"), container("c1", &[DEVICE]))
            .await
            .unwrap();
        let after_create = node.path("ran").exists();
        node.start(&id).await.unwrap();
        assert_eq!(after_create, flavor == Flavor::Crio);
        assert_eq!(node.read("ran"), "ran\n");
    }
}

#[tokio::test]
async fn hooks_run_in_order_up_to_the_first_that_fails() {
    for flavor in [Flavor::Containerd, Flavor::Crio] {
        let mut node = node(flavor).await;
        let say = |word: &str| format!(r#"echo {word} >> "$0/order""#);
        node.device(&[
            node.sh_at("createContainer", &say("container")),
            node.sh(&say("first")),
            node.sh(&(say("second") + "; exit 3")),
            node.sh(&say("third")),
            node.sh_at("poststop", &say("poststop")),
        ]);
        let (_, started) = node.demo().await;
        assert!(started.is_err());
        // runc deletes what it could not create, poststop hooks and all; crun does not.
        let expected = match flavor {
            Flavor::Containerd => "first\nsecond\npoststop\n",
            Flavor::Crio => "first\nsecond\n",
        };
        assert_eq!(node.read("order"), expected);
    }
}

#[tokio::test]
async fn stages_follow_each_other_and_poststop_comes_at_the_end() {
    for flavor in [Flavor::Containerd, Flavor::Crio] {
        let mut node = node(flavor).await;
        let say = |word: &str| format!(r#"echo {word} $(pwd) >> "$0/order""#);
        node.device(&[
            node.sh_at(
                "poststop",
                r#"cat > "$0/stopped"; echo poststop >> "$0/order""#,
            ),
            node.sh_at("createContainer", &say("createContainer")),
            node.sh_at("startContainer", &say("startContainer")),
            node.sh(&say("createRuntime")),
            node.sh_at("prestart", &say("prestart")),
        ]);
        let (_, started) = node.demo().await;
        let id = started.unwrap();
        let order = node.read("order");
        let words: Vec<_> = order
            .lines()
            .map(|l| l.split(' ').next().unwrap())
            .collect();
        assert_eq!(words, ["prestart", "createRuntime", "createContainer"]);
        assert!(order.trim_end().ends_with("/rootfs"));
        node.stop(&id, 0).await.unwrap();
        let after_stop = node.path("stopped").exists();
        node.remove(&id).await.unwrap();
        assert_eq!(after_stop, flavor == Flavor::Containerd);
        assert_eq!(node.read("order").matches("poststop").count(), 1);
        let state: Value = serde_json::from_str(&node.read("stopped")).unwrap();
        assert_eq!(
            (&state["status"], &state["id"]),
            (&json!("stopped"), &json!(id))
        );
        assert_eq!(state.get("pid").is_none(), flavor == Flavor::Containerd);
    }
}

#[tokio::test]
async fn runc_keeps_the_output_in_its_words() {
    let script = "echo out; echo 'no driver' >&2; exit 7";
    let hook =
        json!({ "hookName": "createRuntime", "path": "/bin/sh", "args": ["sh", "-c", script] });
    let (_, text) = failing(Flavor::Containerd, hook).await;
    insta::assert_snapshot!(text, @"
    failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: error running createRuntime hook #0: exit status 7, stdout: out
    , stderr: no driver
    ");
    let killed = json!({ "hookName": "createRuntime", "path": "/bin/sh", "args": ["sh", "-c", "kill -9 $$"] });
    let (_, text) = failing(Flavor::Containerd, killed).await;
    insta::assert_snapshot!(text, @"failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: error running createRuntime hook #0: signal: killed, stdout: , stderr:");
}

#[tokio::test]
async fn crun_loses_the_output_and_leaves_no_container() {
    let script = "echo out; echo 'no driver' >&2; exit 7";
    let hook =
        json!({ "hookName": "createRuntime", "path": "/bin/sh", "args": ["sh", "-c", script] });
    let (node, text) = failing(Flavor::Crio, hook).await;
    assert_eq!(
        text,
        "container create failed: error executing hook `/bin/sh` (exit code: 7)\n"
    );
    assert!(node.runtime.containers().is_empty());
    assert!(
        !node
            .files()
            .iter()
            .any(|f| f.contains("overlay-containers/"))
    );
}

#[tokio::test]
async fn a_hook_that_cannot_be_executed() {
    let hook = json!({ "hookName": "createRuntime", "path": "/nowhere/hook" });
    let (_, text) = failing(Flavor::Containerd, hook.clone()).await;
    insta::assert_snapshot!(text, @"failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: error running createRuntime hook #0: fork/exec /nowhere/hook: no such file or directory");
    let (_, text) = failing(Flavor::Crio, hook).await;
    assert_eq!(
        text,
        "container create failed: error executing hook `/nowhere/hook` (exit code: 1)\n"
    );
}

#[tokio::test]
async fn time_out_kills_the_whole_group() {
    for flavor in [Flavor::Containerd, Flavor::Crio] {
        let mut node = node(flavor).await;
        let script = r#"sleep 600 & echo $! > "$0/child"; wait"#;
        node.device(&[with(node.sh(script), "timeout", json!(1))]);
        let began = Instant::now();
        let (_, started) = node.demo().await;
        let took = began.elapsed();
        assert!(
            (Duration::from_secs(1)..Duration::from_secs(15)).contains(&took),
            "{took:?}"
        );
        let text = started.unwrap_err().message().to_owned();
        match flavor {
            Flavor::Containerd => assert!(
                text.ends_with(
                    "error running createRuntime hook #0: hook ran past specified timeout of 1.0s"
                ),
                "{text}"
            ),
            Flavor::Crio => assert_eq!(
                text,
                "container create failed: error executing hook `/bin/sh` (exit code: -1)\n\
                 timeout expired for `/bin/sh`\n"
            ),
        }
        gone(&node.read("child")).await;
    }
}

/// Waits until no process has this pid, or only a dead one nobody has reaped.
async fn gone(pid: &str) {
    let stat = format!("/proc/{}/stat", pid.trim());
    until("the process is gone", || {
        std::fs::read_to_string(&stat).map_or(true, |s| s.contains(") Z "))
    })
    .await;
}

#[tokio::test]
async fn stopping_the_runtime_kills_hooks_under_way() {
    for flavor in [Flavor::Containerd, Flavor::Crio] {
        let mut node = node(flavor).await;
        node.device(&[node.sh(r#"echo $$ > "$0/pid.tmp"; mv "$0/pid.tmp" "$0/pid"; sleep 600"#)]);
        let pid = node.path("pid");
        let request = CreateContainerRequest {
            pod_sandbox_id: node.run(pod("demo")).await.unwrap(),
            config: Some(container("c1", &[DEVICE])),
            sandbox_config: Some(pod("demo")),
        };
        let mut cri = node.cri.clone();
        let call = tokio::spawn(async move {
            let made = cri.create_container(request).await?;
            let container_id = made.into_inner().container_id;
            cri.start_container(StartContainerRequest { container_id })
                .await
        });
        until("the hook runs", || pid.exists()).await;
        let pid = std::fs::read_to_string(pid).unwrap();
        let Node { dir, runtime, .. } = node;
        runtime.stop().await;
        assert!(call.await.unwrap().is_err());
        gone(&pid).await;
        let left: Vec<_> = std::fs::read_dir(dir.path().join("netns"))
            .unwrap()
            .collect();
        assert!(left.is_empty(), "{left:?}");
        assert!(!dir.path().join("cri.sock").exists());
        assert_eq!(
            std::fs::read_dir(dir.path().join("state")).unwrap().count(),
            0
        );
    }
}

#[tokio::test]
async fn a_caller_that_gives_up_ends_the_hook_under_containerd() {
    let mut node = node(Flavor::Containerd).await;
    node.device(&[node.sh(r#"echo $$ > "$0/pid.tmp"; mv "$0/pid.tmp" "$0/pid"; sleep 600"#)]);
    let sandbox = node.run(pod("demo")).await.unwrap();
    let id = node
        .create(&sandbox, &pod("demo"), container("c1", &[DEVICE]))
        .await
        .unwrap();
    let pid = node.path("pid");
    tokio::select! {
        started = node.start(&id) => panic!("{started:?}"),
        () = until("the hook runs", || pid.exists()) => {}
    }
    gone(&node.read("pid")).await;
    until("the container has exited", || {
        matches!(
            &node.runtime.containers()[0].state,
            ContainerState::Exited { code: 128, .. }
        )
    })
    .await;
    let message = node.container(&id).await.unwrap().message;
    insta::assert_snapshot!(message, @"failed to create containerd task: failed to create shim task: context canceled");
}

#[tokio::test]
async fn output_is_bounded_and_a_long_state_arrives_whole() {
    let mut node = node(Flavor::Containerd).await;
    let script = r#"wc -c > "$0/read"; head -c 3000000 /dev/zero | tr '\0' x >&2; exit 1"#;
    node.device(&[node.sh(script)]);
    let mut demo = pod("demo");
    demo.metadata.as_mut().unwrap().namespace = "n".repeat(300_000);
    let sandbox = node.run(demo.clone()).await.unwrap();
    let id = node
        .create(&sandbox, &demo, container("c1", &[DEVICE]))
        .await
        .unwrap();
    let status = node.start(&id).await.unwrap_err();
    assert!(status.message().len() < 5000 && status.message().ends_with("xxx…"));
    let kept = node.container(&id).await.unwrap().message.len();
    assert!((64 * 1024..66 * 1024).contains(&kept), "{kept}");
    assert!(node.read("read").trim().parse::<usize>().unwrap() > 300_000);
}

#[tokio::test]
async fn a_hook_need_not_read_its_stdin() {
    let mut node = node(Flavor::Containerd).await;
    node.device(&[node.sh("exec <&-")]);
    let (_, started) = node.demo().await;
    started.unwrap();
}
