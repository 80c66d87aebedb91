use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use super::*;

/// Plugins are shell scripts. Each logs its environment and input to files beside it.
struct Node {
    dir: TempDir,
    executor: Executor,
}

const LOG: &str = r#"
here=$(dirname "$0")
name=$(basename "$0")
input=$(cat)
n=$(ls "$here/../log" | wc -l)
printf '%s' "$input" > "$here/../log/$n-$CNI_COMMAND-$name"
env | sort > "$here/../env-$CNI_COMMAND-$name"
"#;

impl Node {
    fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("nd")
            .tempdir_in("/tmp")
            .unwrap();
        for sub in ["bin", "log"] {
            fs::create_dir(dir.path().join(sub)).unwrap();
        }
        let executor = Executor::new(
            vec![dir.path().join("none"), dir.path().join("bin")],
            dir.path().join("cache"),
        );
        Self { dir, executor }
    }

    fn plugin(&self, name: &str, body: &str) {
        let path = self.dir.path().join("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{LOG}\n{body}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn logged(&self) -> Vec<(String, Value)> {
        let mut names: Vec<String> = fs::read_dir(self.dir.path().join("log"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let read = |name: &String| {
            let text = fs::read_to_string(self.dir.path().join("log").join(name)).unwrap();
            serde_json::from_str(&text).unwrap()
        };
        names
            .iter()
            .map(|name| (name[2..].to_owned(), read(name)))
            .collect()
    }

    fn cache_file(&self) -> PathBuf {
        self.dir.path().join("cache/results/m-c1-net1")
    }

    fn stable(&self, text: impl ToString) -> String {
        text.to_string()
            .replace(&self.dir.path().display().to_string(), "/node")
    }
}

fn network(version: &str, plugins: Value) -> ConfigList {
    serde_json::from_value(json!({"cniVersion": version, "name": "m", "plugins": plugins})).unwrap()
}

fn invocation() -> Invocation {
    Invocation {
        container_id: "c1".into(),
        netns: Some("/var/run/netns/a".into()),
        if_name: "net1".into(),
        args: vec![
            ("IgnoreUnknown".into(), "true".into()),
            ("K8S_POD_NAME".into(), "web".into()),
        ],
        capability_args: json!({"ips": ["10.1.1.2/24"], "mac": "02:00:00:00:00:01"})
            .as_object()
            .unwrap()
            .clone(),
    }
}

/// Far enough for every script on a busy machine.
fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn answers(address: &str) -> String {
    format!(
        r#"[ "$CNI_COMMAND" = ADD ] && echo '{{"cniVersion":"1.0.0","interfaces":[{{"name":"net1","sandbox":"/var/run/netns/a"}}],"ips":[{{"address":"{address}","interface":0}}]}}'; true"#
    )
}

#[tokio::test]
async fn a_chain_runs_in_order_and_back_with_results_and_capabilities() {
    let node = Node::new();
    node.plugin("first", &answers("10.1.1.2/24"));
    node.plugin("second", &answers("10.1.1.3/24"));
    let network = network(
        "1.0.0",
        json!([
            {"type": "first", "capabilities": {"ips": true, "mac": false, "bandwidth": true}},
            {"type": "second"}
        ]),
    );
    let result = node
        .executor
        .add(&network, &invocation(), soon())
        .await
        .unwrap();
    assert_eq!(result.addresses("net1")[0].to_string(), "10.1.1.3/24");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&node.cache_file()), 0o600);
    assert_eq!(mode(node.cache_file().parent().unwrap()), 0o700);
    let cached: Value = serde_json::from_slice(&fs::read(node.cache_file()).unwrap()).unwrap();
    insta::assert_json_snapshot!(cached, @"");

    node.executor
        .check(&network, &invocation(), soon())
        .await
        .unwrap();
    node.executor
        .del(&network, &invocation(), soon())
        .await
        .unwrap();
    assert!(!node.cache_file().exists(), "DEL forgets the result");

    let logged = node.logged();
    let order: Vec<&str> = logged.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        order,
        [
            "ADD-first",
            "ADD-second",
            "CHECK-first",
            "CHECK-second",
            "DEL-second",
            "DEL-first"
        ]
    );
    insta::assert_json_snapshot!(logged[0].1, @"");
    let address = |index: usize| logged[index].1["prevResult"]["ips"][0]["address"].clone();
    assert_eq!(address(1), "10.1.1.2/24", "ADD sees the plugin before it");
    for index in 2..6 {
        assert_eq!(
            address(index),
            "10.1.1.3/24",
            "{}: the cached result",
            order[index]
        );
    }
    assert_eq!(logged[1].1.get("runtimeConfig"), None);

    let env = fs::read_to_string(node.dir.path().join("env-ADD-first")).unwrap();
    let env: Vec<String> = env
        .lines()
        .filter(|line| {
            !line.starts_with("PATH=") && !line.starts_with("PWD=") && !line.starts_with("_=")
        })
        .map(|line| node.stable(line))
        .collect();
    insta::assert_snapshot!(env.join("\n"), @"");
}

#[tokio::test]
async fn old_versions_get_no_result_on_del_and_no_check() {
    let node = Node::new();
    node.plugin("p", &answers("10.1.1.2/24"));
    let network = network("0.3.1", json!([{"type": "p"}]));
    let executor = &node.executor;
    executor.add(&network, &invocation(), soon()).await.unwrap();
    let cached: Value = serde_json::from_slice(&fs::read(node.cache_file()).unwrap()).unwrap();
    assert_eq!(cached["result"]["ips"][0]["version"], "4");
    let error = executor.check(&network, &invocation(), soon()).await;
    insta::assert_snapshot!(error.unwrap_err(), @"");
    executor.del(&network, &invocation(), soon()).await.unwrap();
    executor.del(&network, &invocation(), soon()).await.unwrap();
    for (name, input) in &node.logged()[1..] {
        assert_eq!((name.as_str(), input.get("prevResult")), ("DEL-p", None));
    }
}

#[tokio::test]
async fn a_broken_cache_does_not_stop_del() {
    let node = Node::new();
    node.plugin("p", &answers("10.1.1.2/24"));
    let network = network("1.0.0", json!([{"type": "p"}]));
    node.executor
        .add(&network, &invocation(), soon())
        .await
        .unwrap();
    fs::write(node.cache_file(), "{").unwrap();
    node.executor
        .del(&network, &invocation(), soon())
        .await
        .unwrap();
    assert_eq!(node.logged()[1].1.get("prevResult"), None);
    assert!(!node.cache_file().exists());
}

#[tokio::test]
async fn failures_stop_the_chain_and_say_who() {
    let node = Node::new();
    node.plugin(
        "refuses",
        r#"echo '{"code": 11, "msg": "try again", "details": "later"}'; exit 1"#,
    );
    node.plugin("crashes", "echo 'panic: oh' >&2; exit 2");
    node.plugin("babbles", "echo 'hello there'");
    node.plugin("killed", "kill -9 $$");
    node.plugin("loud", "yes");
    let add = async |kind: &str| {
        let network = network("1.0.0", json!([{"type": kind}, {"type": "never"}]));
        let added = node.executor.add(&network, &invocation(), soon()).await;
        let error = added.unwrap_err();
        assert!(!node.cache_file().exists());
        if kind == "refuses" {
            assert_eq!(error.plugin_error().unwrap().code, 11);
        }
        node.stable(error)
    };
    insta::assert_snapshot!(add("refuses").await, @"");
    insta::assert_snapshot!(add("crashes").await, @"");
    insta::assert_snapshot!(add("babbles").await, @"");
    insta::assert_snapshot!(add("killed").await, @"");
    insta::assert_snapshot!(add("loud").await, @"");
    insta::assert_snapshot!(add("absent").await, @"");
    insta::assert_snapshot!(add("../bin/refuses").await, @"");
    insta::assert_snapshot!(add("..").await, @"");
    insta::assert_snapshot!(add("").await, @"");

    let plain = node.dir.path().join("bin/plain");
    fs::write(plain, "").unwrap();
    insta::assert_snapshot!(add("plain").await, @"");
}

#[tokio::test]
async fn names_are_checked_before_anything_runs() {
    let node = Node::new();
    node.plugin("p", &answers("10.1.1.2/24"));
    let mut network = network("1.0.0", json!([{"type": "p"}]));
    network.name = "../../etc".into();
    let error = node.executor.del(&network, &invocation(), soon()).await;
    insta::assert_snapshot!(error.unwrap_err(), @"");
    network.name = "m".into();
    let mut other = invocation();
    other.container_id = "a/b".into();
    assert!(node.executor.add(&network, &other, soon()).await.is_err());
    assert!(node.logged().is_empty());
}

#[tokio::test]
async fn a_plugin_that_hangs_is_killed_with_its_children() {
    let node = Node::new();
    // The child holds the fifo's other end open for as long as it lives.
    node.plugin(
        "hangs",
        r#"(exec 3>"$here/../alive"; echo up >&3; while :; do sleep 60; done) & wait"#,
    );
    let fifo = node.dir.path().join("alive");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    let network = network("1.0.0", json!([{"type": "hangs"}]));
    let watcher = tokio::task::spawn_blocking(move || fs::read_to_string(fifo).unwrap());
    let deadline = Instant::now() + Duration::from_secs(2);
    let added = node.executor.add(&network, &invocation(), deadline).await;
    let error = added.unwrap_err();
    assert!(matches!(error, ExecError::TimedOut { .. }), "{error}");
    let text = error.to_string();
    let (before, after) = text.split_once("after ").unwrap();
    insta::assert_snapshot!(before, @"");
    insta::assert_snapshot!(after.split_once(", ").unwrap().1, @"");
    // Ends only when nobody holds the fifo any more.
    assert_eq!(watcher.await.unwrap(), "up\n");
}

#[tokio::test]
async fn a_deadline_that_has_passed_runs_nothing() {
    let node = Node::new();
    node.plugin("p", &answers("10.1.1.2/24"));
    let network = network("1.0.0", json!([{"type": "p"}]));
    let error = node
        .executor
        .add(&network, &invocation(), Instant::now())
        .await;
    assert!(matches!(error, Err(ExecError::TimedOut { .. })));
    assert!(node.logged().is_empty());
}
