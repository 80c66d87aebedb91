use std::fs;
use std::io::{BufRead, Read};
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
    insta::assert_json_snapshot!(cached, @r#"
    {
      "kind": "cniCacheV1",
      "containerId": "c1",
      "config": "eyJjbmlWZXJzaW9uIjoiMS4wLjAiLCJuYW1lIjoibSIsInBsdWdpbnMiOlt7InR5cGUiOiJmaXJzdCIsImNhcGFiaWxpdGllcyI6eyJpcHMiOnRydWUsIm1hYyI6ZmFsc2UsImJhbmR3aWR0aCI6dHJ1ZX19LHsidHlwZSI6InNlY29uZCJ9XX0=",
      "ifName": "net1",
      "networkName": "m",
      "netns": "/var/run/netns/a",
      "cniArgs": [
        [
          "IgnoreUnknown",
          "true"
        ],
        [
          "K8S_POD_NAME",
          "web"
        ]
      ],
      "capabilityArgs": {
        "ips": [
          "10.1.1.2/24"
        ],
        "mac": "02:00:00:00:00:01"
      },
      "result": {
        "cniVersion": "1.0.0",
        "interfaces": [
          {
            "name": "net1",
            "sandbox": "/var/run/netns/a"
          }
        ],
        "ips": [
          {
            "address": "10.1.1.3/24",
            "interface": 0
          }
        ]
      }
    }
    "#);

    node.executor
        .check(&network, &invocation(), soon())
        .await
        .unwrap();
    node.executor
        .del(&network, &invocation(), None, soon())
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
    insta::assert_json_snapshot!(logged[0].1, @r#"
    {
      "type": "first",
      "capabilities": {
        "ips": true,
        "mac": false,
        "bandwidth": true
      },
      "name": "m",
      "cniVersion": "1.0.0",
      "runtimeConfig": {
        "ips": [
          "10.1.1.2/24"
        ]
      }
    }
    "#);
    let address = |index: usize| logged[index].1["prevResult"]["ips"][0]["address"].clone();
    assert_eq!(address(1), "10.1.1.2/24", "ADD sees the plugin before it");
    for (index, name) in order.iter().enumerate().skip(2) {
        assert_eq!(address(index), "10.1.1.3/24", "{name}: the cached result");
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
    insta::assert_snapshot!(env.join("\n"), @r#"
    CNI_ARGS=IgnoreUnknown=true;K8S_POD_NAME=web
    CNI_COMMAND=ADD
    CNI_CONTAINERID=c1
    CNI_IFNAME=net1
    CNI_NETNS=/var/run/netns/a
    CNI_PATH=/node/none:/node/bin
    "#);
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
    insta::assert_snapshot!(error.unwrap_err(), @"network `m` has cniVersion 0.3.1, which has no CHECK: it needs 0.4.0");
    executor
        .del(&network, &invocation(), None, soon())
        .await
        .unwrap();
    executor
        .del(&network, &invocation(), None, soon())
        .await
        .unwrap();
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
        .del(&network, &invocation(), None, soon())
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
    insta::assert_snapshot!(add("refuses").await, @"CNI plugin `refuses`, ADD of net1 on network `m`: try again; later");
    insta::assert_snapshot!(add("crashes").await, @"CNI plugin `crashes`, ADD of net1 on network `m`: exit status: 2, without a CNI error on its output: panic: oh");
    insta::assert_snapshot!(add("babbles").await, @"CNI plugin `babbles`, ADD of net1 on network `m`: its output is unreadable: the CNI result is not of the specification's form: expected value at line 1 column 1; it began with hello there");
    insta::assert_snapshot!(add("killed").await, @"CNI plugin `killed`, ADD of net1 on network `m`: signal: 9 (SIGKILL), without a CNI error on its output: (nothing)");
    insta::assert_snapshot!(add("loud").await, @"CNI plugin `loud`, ADD of net1 on network `m`: printed more than 1048576 bytes, killed: run it by hand to see what it prints");
    insta::assert_snapshot!(add("absent").await, @"CNI plugin `absent`, ADD of net1 on network `m`: not found in [/node/none /node/bin]: install it there, or name its directory in --cni-path");
    insta::assert_snapshot!(add("../bin/refuses").await, @"a plugin's type `../bin/refuses` is refused: it must be a program's name without `/`");
    insta::assert_snapshot!(add("..").await, @"a plugin's type `..` is refused: it must be a program's name without `/`");
    insta::assert_snapshot!(add("").await, @"a plugin's type `(nothing)` is refused: it must be a program's name without `/`");

    let plain = node.dir.path().join("bin/plain");
    fs::write(plain, "").unwrap();
    insta::assert_snapshot!(add("plain").await, @"CNI plugin `plain`, ADD of net1 on network `m`: cannot run /node/bin/plain: Permission denied: check that it is an executable of this machine's kind");
}

#[tokio::test]
async fn names_are_checked_before_anything_runs() {
    let node = Node::new();
    node.plugin("p", &answers("10.1.1.2/24"));
    let mut network = network("1.0.0", json!([{"type": "p"}]));
    network.name = "../../etc".into();
    let error = node
        .executor
        .del(&network, &invocation(), None, soon())
        .await;
    insta::assert_snapshot!(error.unwrap_err(), @"the network's name `../../etc` is refused: it must begin with a letter or digit and go on with letters, digits, `_`, `.` or `-`");
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
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    assert!(made.unwrap().success());
    let (up, is_up) = tokio::sync::oneshot::channel();
    let watcher = tokio::task::spawn_blocking(move || {
        let mut fifo = std::io::BufReader::new(fs::File::open(fifo).unwrap());
        let mut text = String::new();
        fifo.read_line(&mut text).unwrap();
        up.send(()).unwrap();
        // Ends only when nobody holds the fifo any more.
        fifo.read_to_string(&mut text).unwrap();
        text
    });
    let network = network("1.0.0", json!([{"type": "hangs"}]));
    let executor = node.executor.clone();
    let adding = tokio::spawn(async move { executor.add(&network, &invocation(), soon()).await });
    is_up.await.unwrap();
    adding.abort();
    assert_eq!(watcher.await.unwrap(), "up\n");
    assert!(adding.await.unwrap_err().is_cancelled());
}

#[tokio::test]
async fn a_deadline_ends_a_plugin() {
    let node = Node::new();
    node.plugin("hangs", "while :; do sleep 60; done");
    let network = network("1.0.0", json!([{"type": "hangs"}]));
    let deadline = Instant::now() + Duration::from_millis(100);
    let added = node.executor.add(&network, &invocation(), deadline).await;
    let text = added.unwrap_err().to_string();
    let (before, after) = text.split_once("after ").unwrap();
    insta::assert_snapshot!(before, @"CNI plugin `hangs`, ADD of net1 on network `m`: no answer");
    insta::assert_snapshot!(after.split_once(", ").unwrap().1, @"killed: DEL before the next ADD, for it may have left something behind");
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
