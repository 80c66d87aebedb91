//! The requests, and the comparison of what came of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::answer::Side;
use crate::bed::{Bed, create, has_interface, plugins, remove, run};

/// The real daemon's answers.
const RECORDED: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../fixtures/multus/delegate-v4.3.0.json"
);

/// Where the mock answers otherwise, on purpose.
const ELSE: [(&str, &str); 3] = [
    (
        "readyz",
        "the daemon has it since its first commits after v4.3.0",
    ),
    (
        "no plugins",
        "the daemon panics over it; the mock says what is wrong",
    ),
    (
        "config null",
        "the daemon panics over it; the mock says what is wrong",
    ),
];

/// Where it may, with real plugins behind it: unless it asks the kernel, the plugin refuses
/// the name.
const MAY: [&str; 1] = ["its link is left"];

fn list(ipam: Value) -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "m",
        "plugins": [{"type": "macvlan", "master": "eth0", "mode": "bridge", "ipam": ipam}]
    })
}

fn range(subnet: &str) -> Value {
    json!({"type": "host-local", "ranges": [[{"subnet": subnet}]], "dataDir": "/node/networks"})
}

fn host_local() -> Value {
    list(range("10.10.1.0/29"))
}

fn with(mut config: Value, key: &str, value: Value) -> Value {
    config["plugins"][0][key] = value;
    config
}

fn args(text: &'static str) -> impl FnOnce(&mut Value) {
    move |request| request["env"]["CNI_ARGS"] = text.into()
}

fn without(key: &'static str) -> impl FnOnce(&mut Value) {
    move |request| drop(request["env"].as_object_mut().unwrap().shift_remove(key))
}

fn same(_: &mut Value) {}

/// Asks one daemon everything, in order.
async fn ask(side: &mut Side, bed: &Bed) {
    for (name, method, path) in [
        ("healthz", "GET", "/healthz"),
        ("healthz POST", "POST", "/healthz"),
        ("healthz PUT", "PUT", "/healthz"),
        ("readyz", "GET", "/readyz"),
        ("unknown path", "GET", "/other"),
        ("unknown path POST", "POST", "/other"),
        ("delegate GET", "GET", "/delegate"),
        ("delegate without body", "POST", "/delegate"),
    ] {
        side.raw(name, method, path, b"").await;
    }
    for (name, body) in [
        ("body no JSON", "{not json"),
        ("body a list", "[]"),
        ("body null", "null"),
        ("body empty object", "{}"),
        ("env no object", r#"{"env":[]}"#),
        ("env a number", r#"{"env":{"CNI_COMMAND":1}}"#),
        ("config no base64", r#"{"config":"*"}"#),
    ] {
        side.raw(name, "POST", "/delegate", body.as_bytes()).await;
    }

    side.delegate("ADD", "ADD", host_local(), same).await;
    side.delegate("ADD again", "ADD", host_local(), same).await;
    side.delegate("CHECK", "CHECK", host_local(), same).await;
    side.delegate("STATUS", "STATUS", host_local(), same).await;
    side.delegate("DEL", "DEL", host_local(), same).await;
    side.delegate("DEL again", "DEL", host_local(), same).await;

    let both = list(json!({
        "type": "host-local", "dataDir": "/node/networks",
        "ranges": [[{"subnet": "10.10.2.0/24"}], [{"subnet": "fd00:2::/64"}]],
        "routes": [{"dst": "0.0.0.0/0"}]
    }));
    side.delegate("dual stack", "ADD", both.clone(), same).await;
    side.delegate("dual stack DEL", "DEL", both, same).await;

    let fixed = list(
        json!({"type": "static", "addresses": [{"address": "10.9.0.5/24", "gateway": "10.9.0.1"}]}),
    );
    side.delegate("static", "ADD", fixed.clone(), same).await;
    side.delegate("static DEL", "DEL", fixed, same).await;

    let asked = with(
        list(json!({"type": "static"})),
        "capabilities",
        json!({"ips": true}),
    );
    let attributes = |ips: Value, mac: &'static str| {
        move |request: &mut Value| {
            request["interfaceAttributes"] = json!({"ips": ips, "mac": mac});
        }
    };
    let wanted = attributes(json!(["10.7.7.7/24"]), "02:00:00:00:00:07");
    side.delegate("attributes", "ADD", asked.clone(), wanted)
        .await;
    side.delegate("attributes DEL", "DEL", asked.clone(), same)
        .await;
    let bad = attributes(json!([]), "zz");
    side.delegate("bad mac", "ADD", asked.clone(), bad).await;
    let bad = attributes(json!(["10.1.1.300"]), "");
    side.delegate("bad ip", "ADD", asked.clone(), bad).await;
    let args_too = |request: &mut Value| {
        request["interfaceAttributes"] = json!({"cni-args": {"ips": ["10.10.1.5"]}});
    };
    side.delegate("cni-args", "ADD", host_local(), args_too)
        .await;
    side.delegate("cni-args DEL", "DEL", host_local(), same)
        .await;

    // One address, which the first interface takes.
    let tiny = || list(range("10.10.3.0/30"));
    side.delegate("last address", "ADD", tiny(), same).await;
    let second = |request: &mut Value| request["env"]["CNI_IFNAME"] = "net2".into();
    side.delegate("no address left", "ADD", tiny(), second)
        .await;
    side.delegate("its link is left", "ADD", host_local(), second)
        .await;
    side.delegate("no address left DEL", "DEL", tiny(), second)
        .await;
    side.delegate("last address DEL", "DEL", tiny(), same).await;

    let no_plugin = with(host_local(), "type", "nosuch".into());
    side.delegate("no plugin", "ADD", no_plugin.clone(), same)
        .await;
    side.delegate("no plugin DEL", "DEL", no_plugin, same).await;
    let no_ipam = list(json!({"type": "nosuch"}));
    side.delegate("no IPAM plugin", "ADD", no_ipam.clone(), same)
        .await;
    side.delegate("no IPAM plugin DEL", "DEL", no_ipam, same)
        .await;
    side.delegate("debris DEL", "DEL", host_local(), same).await;
    let no_master = with(host_local(), "master", "eth7".into());
    side.delegate("no master", "ADD", no_master.clone(), same)
        .await;
    side.delegate("no master DEL", "DEL", no_master, same).await;
    side.delegate(
        "bad mode",
        "ADD",
        with(host_local(), "mode", "odd".into()),
        same,
    )
    .await;
    side.delegate(
        "bad mtu",
        "ADD",
        with(host_local(), "mtu", 9000.into()),
        same,
    )
    .await;

    for (name, key, value) in [
        ("bad name", "name", json!("no spaces")),
        ("empty name", "name", json!("")),
        ("bad version", "cniVersion", json!("7.0.0")),
        ("plugins no list", "plugins", json!({})),
        ("no plugins", "plugins", json!([])),
        ("plugin no object", "plugins", json!([1])),
        (
            "plugin without type",
            "plugins",
            json!([{"master": "eth0"}]),
        ),
        ("type a number", "type", json!(1)),
    ] {
        let mut config = host_local();
        config[key] = value;
        side.delegate(name, "ADD", config, same).await;
    }
    let mut nameless = host_local();
    nameless.as_object_mut().unwrap().shift_remove("name");
    side.delegate("no name", "ADD", nameless, same).await;
    side.delegate("config null", "ADD", Value::Null, same).await;
    side.delegate("config a list", "ADD", json!([]), same).await;

    let mut single = host_local()["plugins"][0].clone();
    single["cniVersion"] = "1.0.0".into();
    single["name"] = "m".into();
    side.delegate("single", "ADD", single.clone(), same).await;
    side.delegate("single again", "ADD", single.clone(), same)
        .await;
    side.delegate("single CHECK", "CHECK", single.clone(), same)
        .await;
    side.delegate("single DEL", "DEL", single.clone(), same)
        .await;
    single["master"] = "eth7".into();
    side.delegate("single no master", "ADD", single.clone(), same)
        .await;
    single["type"] = "nosuch".into();
    side.delegate("single no plugin DEL", "DEL", single, same)
        .await;

    side.delegate("no command", "ADD", host_local(), without("CNI_COMMAND"))
        .await;
    side.delegate(
        "no container",
        "ADD",
        host_local(),
        without("CNI_CONTAINERID"),
    )
    .await;
    side.delegate("no netns", "ADD", host_local(), without("CNI_NETNS"))
        .await;
    side.delegate("no args", "ADD", host_local(), without("CNI_ARGS"))
        .await;
    side.delegate("unknown command", "JUMP", host_local(), same)
        .await;
    side.delegate("GC", "GC", host_local(), same).await;
    let elsewhere = |request: &mut Value| request["env"]["CNI_NETNS"] = "/node/gone".into();
    side.delegate("netns gone", "ADD", host_local(), elsewhere)
        .await;
    side.delegate("netns gone DEL", "DEL", host_local(), elsewhere)
        .await;
    for (name, text) in [
        ("args empty", ""),
        ("args without namespace", "K8S_POD_NAME=web"),
        ("args without name", "K8S_POD_NAMESPACE=default"),
        ("args with two =", "K8S_POD_NAMESPACE=a=b"),
        ("args with no =", "K8S_POD_NAMESPACE"),
        (
            "args with empty name",
            "K8S_POD_NAMESPACE=default;K8S_POD_NAME=;K8S_POD_UID=u",
        ),
    ] {
        side.delegate(name, "ADD", host_local(), args(text)).await;
    }
    let named = side.name;
    let no_uid = move |request: &mut Value| {
        request["env"]["CNI_ARGS"] = format!("K8S_POD_NAMESPACE={named};K8S_POD_NAME=web").into();
    };
    side.delegate("args without UID", "ADD", host_local(), no_uid)
        .await;
    side.delegate("args without UID DEL", "DEL", host_local(), no_uid)
        .await;
    let wrong_uid = move |request: &mut Value| {
        request["env"]["CNI_ARGS"] =
            format!("K8S_POD_NAMESPACE={named};K8S_POD_NAME=web;K8S_POD_UID=other").into();
    };
    side.delegate("wrong UID", "ADD", host_local(), wrong_uid)
        .await;
    side.delegate("wrong UID DEL", "DEL", host_local(), wrong_uid)
        .await;

    bed.delete_pod(side.name);
    // The daemon's informer hears of it a little later.
    loop {
        side.delegate("not counted", "DEL", host_local(), same)
            .await;
        let (_, answer) = side.answers.pop().unwrap();
        if answer["code"] == 400 {
            break;
        }
    }
    side.delegate("pod gone", "ADD", host_local(), same).await;
    side.delegate("pod gone DEL", "DEL", host_local(), same)
        .await;
    side.delegate("pod gone, no UID, DEL", "DEL", host_local(), no_uid)
        .await;
}

fn side(bed: &Bed, name: &'static str, socket: PathBuf, plugins: Option<&Path>) -> Side {
    Side {
        name,
        dir: bed.dir.path().join(name),
        socket,
        uid: bed.pod(name),
        answers: Vec::new(),
        plugins: plugins
            .unwrap_or(Path::new("/opt/cni/bin"))
            .display()
            .to_string(),
    }
}

/// The Event on the pod that tells of the first interface, without what is its own. The
/// daemon counts Events of the same words in one; the mock writes each.
async fn event(bed: &Bed, side: &Side) -> Value {
    for _ in 0..600 {
        let first = bed.events(side.name).into_iter().find(|event| {
            let message = event["message"].as_str().unwrap_or_default();
            message.contains("[10.10.1.2/29]")
        });
        if let Some(event) = first {
            let about = &event["involvedObject"];
            return json!({
                "reason": event["reason"], "message": event["message"], "type": event["type"],
                "source": event["source"],
                "involvedObject": {
                    "kind": about["kind"], "apiVersion": about["apiVersion"], "name": about["name"],
                },
                "of this pod": about["uid"] == side.uid.as_str(),
            });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{}: no Event came of {:#?}", side.name, side.answers);
}

/// Where the answers are not the recorded ones, by name.
fn differences(
    who: &str,
    recorded: &Map<String, Value>,
    answers: &[(String, Value)],
) -> Vec<String> {
    assert_eq!(
        recorded.len(),
        answers.len(),
        "{who}: as many answers as were recorded"
    );
    answers
        .iter()
        .filter(|(name, answer)| recorded[name] != *answer)
        .map(|(name, answer)| {
            format!(
                "{who}: {name}\n  recorded {}\n  answered {answer}",
                recorded[name]
            )
        })
        .collect()
}

fn recorded() -> Map<String, Value> {
    serde_json::from_str(&fs::read_to_string(RECORDED).unwrap()).unwrap()
}

/// Holds a mock to the recording: it differs where it is meant to, and only there.
fn hold(side: &Side, may: &[&str]) {
    let recorded = recorded();
    for (name, why) in ELSE {
        let same = side
            .answers
            .iter()
            .any(|(n, a)| n == name && recorded[name] == *a);
        assert!(!same, "{}: {name} is as recorded, but {why}", side.name);
    }
    let mut found = differences(side.name, &recorded, &side.answers);
    let meant: Vec<&str> = ELSE
        .iter()
        .map(|(name, _)| *name)
        .chain(may.iter().copied())
        .collect();
    found.retain(|text| {
        let is = |name: &&str| text.starts_with(&format!("{}: {name}\n", side.name));
        !meant.iter().any(is)
    });
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The mock, every plugin played.
pub(crate) fn played() {
    run(false, async |bed| {
        let daemon = bed.played("played", None).await;
        let mut side = side(&bed, "played", daemon.socket().to_owned(), None);
        fs::write(side.netns(), "").unwrap();
        ask(&mut side, &bed).await;
        let event = event(&bed, &side).await;
        side.answers.push(("Event".into(), event));
        assert!(daemon.interfaces().is_empty() && daemon.allocations().is_empty());
        daemon.stop().await;
        hold(&side, &[]);
    });
}

/// The real daemon, and the mock with the real plugins behind it.
pub(crate) fn real() {
    run(true, async |bed| {
        let directory = plugins().unwrap();
        let config = bed.real_config("real", vec![directory.clone()]);
        let daemon = bed.real(&config).await;
        let mut real = side(&bed, "real", daemon.socket(), Some(&directory));
        create(&real.netns());
        ask(&mut real, &bed).await;
        let news = event(&bed, &real).await;
        real.answers.push(("Event".into(), news));
        if std::env::var("NDRA_RECORD").is_ok_and(|value| value == "1") {
            let answers: Map<String, Value> = real.answers.iter().cloned().collect();
            let text = serde_json::to_string_pretty(&answers).unwrap();
            fs::write(RECORDED, format!("{text}\n")).unwrap();
        }
        let found = differences("real", &recorded(), &real.answers);
        assert!(found.is_empty(), "{}", found.join("\n"));
        clean(&real);
        daemon.stop().await;
        assert!(!real.socket.exists(), "its socket goes with it");

        let daemon = bed.played("exec", Some(directory.clone())).await;
        let mut exec = side(&bed, "exec", daemon.socket().to_owned(), Some(&directory));
        create(&exec.netns());
        ask(&mut exec, &bed).await;
        let news = event(&bed, &exec).await;
        exec.answers.push(("Event".into(), news));
        clean(&exec);
        daemon.stop().await;
        hold(&exec, &MAY);
        for side in [&real, &exec] {
            remove(&side.netns());
        }
    });
}

/// No link, no address and no result is left of all that was asked.
pub(crate) fn clean(side: &Side) {
    for name in ["net1", "net2"] {
        assert!(!has_interface(&side.netns(), name), "{}: {name}", side.name);
    }
    let left = |directory: PathBuf| -> Vec<String> {
        let entries = fs::read_dir(directory).into_iter().flatten();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        // host-local's own.
        names
            .filter(|name| name != "lock" && !name.starts_with("last_reserved_ip"))
            .collect()
    };
    assert_eq!(
        left(side.dir.join("networks/m")),
        [""; 0],
        "addresses of {}",
        side.name
    );
    assert_eq!(
        left(side.dir.join("cache/results")),
        [""; 0],
        "results of {}",
        side.name
    );
}
