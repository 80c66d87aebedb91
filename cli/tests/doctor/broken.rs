//! One thing is broken at a time.

use ndra_mock_apiserver::{Rbac, User};
use serde_json::{Value, json};

use crate::node::{Node, OF_MACHINE, stable};

/// What fails or warns, but for what the machine lacks.
fn wrong(said: &crate::Said) -> Vec<String> {
    let all = said.failed().into_iter().chain(said.warned());
    let mut all: Vec<String> = all
        .filter(|check| !OF_MACHINE.contains(&check.as_str()))
        .collect();
    all.dedup();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn each_part_that_is_away_is_told_alone() {
    let mut node = Node::new("containerd").await;
    let mut lines = Vec::new();

    node.multus.take().unwrap().stop().await;
    let said = node.doctor(&[]).await;
    assert_eq!(wrong(&said), ["multus"], "{}", said.out);
    assert_eq!(said.code, Some(1));
    lines.push(said.line("multus").to_owned());
    let said = node.doctor_with(&[], &["--cni=exec"]).await;
    assert_eq!(wrong(&said), [""; 0], "{}", said.out);

    let multus = ["--cni=exec"];
    node.runtime.take().unwrap().stop().await;
    let said = node.doctor_with(&[], &multus).await;
    assert_eq!(wrong(&said), ["runtime"], "{}", said.out);
    lines.push(said.line("runtime").to_owned());

    node.api.take().unwrap().stop().await;
    let said = node.doctor_with(&[], &multus).await;
    assert_eq!(
        wrong(&said),
        ["api-server", "runtime", "permissions"],
        "{}",
        said.out
    );
    lines.push(said.line("api-server").to_owned());

    node.stop_driver().await;
    let said = node.doctor_with(&[], &multus).await;
    assert_eq!(
        wrong(&said),
        ["api-server", "driver", "socket", "runtime", "permissions"],
        "{}",
        said.out
    );
    lines.push(said.line("driver").to_owned());
    lines.push(said.line("socket").to_owned());
    stable(&node).bind(|| insta::assert_snapshot!("away", lines.join("\n")));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_not_as_they_must_be_are_told_alone() {
    let node = Node::new("containerd").await;
    let mut lines = Vec::new();
    let mut tell = |said: crate::Said, check: &str| {
        assert_eq!(wrong(&said), [check], "{}", said.out);
        lines.push(said.line(check).to_owned());
    };
    node.hook("echo ndra-hook 0.0.7");
    tell(node.doctor(&[]).await, "hook-version");
    node.hook("echo out of order >&2; exit 3");
    tell(node.doctor(&[]).await, "hook");
    node.program("ndra-hook", "echo ndra-hook 0.1.0", 0o700);
    tell(node.doctor(&[]).await, "hook");
    std::fs::remove_file(node.at("ndra-hook")).unwrap();
    tell(node.doctor(&[]).await, "hook");
    node.hook("echo ndra-hook 0.1.0");

    std::fs::remove_file(node.at("bin/macvlan")).unwrap();
    tell(node.doctor(&[]).await, "cni-plugins");
    node.program("bin/macvlan", "exit 0", 0o755);

    let other = format!("--cdi-dir={}", node.at("elsewhere").display());
    tell(node.doctor_with(&[], &[&other]).await, "cdi");
    let file = format!("--cdi-dir={}", node.at("kubeconfig/cdi").display());
    let said = node.doctor_with(&[], &[&file]).await;
    assert_eq!(wrong(&said), ["cdi-dir", "cdi"], "{}", said.out);

    let registry = format!("--registry-dir={}", node.at("none").display());
    let said = node.doctor_with(&[], &[&registry]).await;
    assert_eq!(wrong(&said), ["kubelet", "socket"], "{}", said.out);

    use std::os::unix::fs::PermissionsExt;
    let open = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(node.at("hook.sock"), open).unwrap();
    let said = node.doctor(&[]).await;
    assert_eq!(wrong(&said), ["socket"], "{}", said.out);
    assert!(said.out.contains("hook.sock has mode 0666"), "{}", said.out);
    assert_eq!(said.warned().last().unwrap(), "socket");

    let record = node.at("other");
    std::fs::create_dir(&record).unwrap();
    std::fs::write(record.join("record.json"), "[]").unwrap();
    let state = format!("--state-dir={}", record.display());
    std::fs::set_permissions(node.at("hook.sock"), std::fs::Permissions::from_mode(0o600)).unwrap();
    tell(node.doctor_with(&[], &[&state]).await, "record");
    stable(&node).bind(|| insta::assert_snapshot!("files", lines.join("\n")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_no_kubelet_knows_is_told() {
    let mut node = Node::new("containerd").await;
    node.stop_driver().await;
    node.stop_kubelet().await;
    node.driver = Some(
        ndra_core::driver::Driver::start(node.config.clone())
            .await
            .unwrap(),
    );
    let said = node.doctor(&[]).await;
    assert_eq!(wrong(&said), ["kubelet"], "{}", said.out);
    assert!(
        said.line("kubelet").contains("has not registered"),
        "{}",
        said.out
    );
}

/// The role of a driver, without one of its verbs.
fn role(without: &str) -> Vec<Value> {
    let rule = |group: &str, resource: &str, verbs: &[&str]| {
        let verbs: Vec<&&str> = verbs
            .iter()
            .filter(|verb| format!("{verb} {resource}") != without)
            .collect();
        json!({"apiGroups": [group], "resources": [resource], "verbs": verbs})
    };
    let dra = "resource.k8s.io";
    let all = ["list", "watch", "create", "update", "delete"];
    let mut named = rule(dra, "resourceclaims/driver", &["associated-node:patch"]);
    named["resourceNames"] = json!(["dra.networking"]);
    vec![
        json!({"kind": "ClusterRole", "metadata": {"name": "d"}, "rules": [
            rule(dra, "resourceclaims", &["get"]),
            rule(dra, "resourceclaims/status", &["patch"]),
            rule(dra, "resourceslices", &all),
            rule("", "nodes", &["get"]),
            rule("", "pods", &["get"]),
            rule("", "events", &["create", "patch"]),
            named,
        ]}),
        json!({"kind": "ClusterRoleBinding", "metadata": {"name": "d"},
            "roleRef": {"kind": "ClusterRole", "name": "d"},
            "subjects": [{"kind": "ServiceAccount", "namespace": "sys", "name": "d"}]}),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_permission_is_asked_for() {
    let user = || User::service_account("sys", "d", Some("node-1"));
    for (without, level) in [
        ("", "ok"),
        ("get resourceclaims", "fail"),
        ("patch resourceclaims/status", "warn"),
        ("watch resourceslices", "fail"),
        ("create events", "warn"),
        ("associated-node:patch resourceclaims/driver", "warn"),
    ] {
        let rbac = Rbac::new(&role(without)).unwrap().with_user("t", user());
        let node = Node::with("containerd", Some((rbac, "t"))).await;
        let said = node.doctor(&[]).await;
        let line = said.line("permissions");
        assert_eq!(line.split_whitespace().next(), Some(level), "{line}");
        assert!(line.contains(without), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_does_not_admit_the_driver_is_told() {
    let node = Node::new("containerd").await;
    let api = node.api.as_ref().unwrap();
    for (name, level) in [("strict", "restricted"), ("open", "privileged")] {
        let labels = json!({"pod-security.kubernetes.io/enforce": level});
        let metadata = json!({"name": name, "labels": labels});
        api.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}))
            .unwrap();
    }
    let said = node.doctor(&["--namespace=open"]).await;
    assert_eq!(wrong(&said), [""; 0], "{}", said.out);
    let mut lines = Vec::new();
    for namespace in ["strict", "none"] {
        let said = node.doctor(&[&format!("--namespace={namespace}")]).await;
        assert_eq!(wrong(&said), ["pod-security"], "{}", said.out);
        lines.push(said.line("pod-security").to_owned());
    }
    let rbac = Rbac::new(&role("")).unwrap();
    let user = User::service_account("sys", "d", Some("node-1"));
    let node = Node::with("containerd", Some((rbac.with_user("t", user), "t"))).await;
    let said = node.doctor(&[]).await;
    assert_eq!(wrong(&said), ["pod-security"], "{}", said.out);
    lines.push(said.line("pod-security").to_owned());
    insta::assert_snapshot!(lines.join("\n"), @r#"
    fail  pod-security  namespace strict enforces the level "restricted", and the driver's pods need privileged: new ones are refused → `kubectl label --overwrite namespace strict pod-security.kubernetes.io/enforce=privileged`
    warn  pod-security  there is no namespace none → name that of the driver's pods: --namespace NAMESPACE
    warn  pod-security  the account may not read namespace kube-system → see that `kubectl get namespace kube-system --show-labels` has no pod-security.kubernetes.io/enforce, or privileged
    "#);
}

/// A runtime, a daemon and an API server that take connections and never answer.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_never_answers_is_told_after_the_time_out() {
    let node = Node::new("containerd").await;
    let silent = node.at("silent.sock");
    let listener = std::os::unix::net::UnixListener::bind(&silent).unwrap();
    let held = std::thread::spawn(move || {
        let streams: Vec<_> = listener.incoming().take(1024).collect();
        drop(streams);
    });
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = tcp.local_addr().unwrap().port();
    let kubeconfig = std::fs::read_to_string(node.at("kubeconfig")).unwrap();
    let url = node.api.as_ref().unwrap().url();
    let silent_api = kubeconfig.replace(&url, &format!("http://127.0.0.1:{port}"));
    std::fs::write(node.at("silent-api"), silent_api).unwrap();
    node.hook("exec sleep 1000");
    let said = node
        .doctor_with(
            &["--timeout=1s"],
            &[
                &format!("--cri-socket={}", silent.display()),
                &format!("--multus-socket={}", silent.display()),
                &format!("--events-socket={}", silent.display()),
                &format!("--kubeconfig={}", node.at("silent-api").display()),
            ],
        )
        .await;
    assert_eq!(said.code, Some(1));
    for check in [
        "api-server",
        "permissions",
        "driver",
        "runtime",
        "hook",
        "multus",
    ] {
        assert!(
            said.failed().contains(&check.to_owned()),
            "{check}: {}",
            said.out
        );
    }
    assert!(
        said.line("hook").contains("no answer within 1s"),
        "{}",
        said.out
    );
    drop(held);
}
