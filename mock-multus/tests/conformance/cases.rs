//! What is asked of every kind of plugins.

use std::path::Path;

use ndra_mock_multus::PluginCall;
use serde_json::{Value, json};

use crate::node::{Answer, Node};

const NREC: &str = "/var/run/netns/nrec";
const NREC2: &str = "/var/run/netns/nrec2";

/// Requests in their order.
pub(crate) struct Case {
    pub(crate) name: String,
    steps: Vec<Step>,
    /// Without a kernel, the routes and links of a node are not known.
    needs_kernel: bool,
}

enum Step {
    Run(Box<Run>),
    /// The namespace goes.
    Remove(&'static str),
}

struct Run {
    plugin: String,
    command: String,
    container: &'static str,
    netns: String,
    if_name: String,
    args: &'static str,
    /// `PREVIOUS` in it is what the last ADD printed.
    stdin: String,
}

/// The word that stands for the last result.
const PREVIOUS: &str = "\"PREVIOUS\"";

impl Case {
    /// Runs it thrice; says how the answers differ.
    pub(crate) fn run(&self, plugins: &Path) -> Result<(), String> {
        let real = Node::real(plugins);
        let wanted = self.play(&real);
        let wanted_links = real.links();
        let wanted_reserved = real.reserved();
        drop(real);
        for node in [Node::played(), Node::kernel()] {
            let links = node.links();
            if links.is_none() && self.needs_kernel {
                continue;
            }
            let which = if links.is_none() { "record" } else { "kernel" };
            let found = self.play(&node);
            for (step, (wanted, found)) in wanted.iter().zip(&found).enumerate() {
                if wanted != found {
                    return Err(format!("step {step}\n real {wanted:?}\n {which} {found:?}"));
                }
            }
            if node.reserved() != wanted_reserved {
                let found = node.reserved();
                return Err(format!(
                    "addresses\n real {wanted_reserved:?}\n {which} {found:?}"
                ));
            }
            let (Some(found), Some(wanted)) = (node.links(), &wanted_links) else {
                continue;
            };
            if found != *wanted {
                return Err(format!("links\n real {wanted}\n {which} {found}"));
            }
        }
        Ok(())
    }

    fn play(&self, node: &Node<'_>) -> Vec<Answer> {
        let mut previous = Value::Null;
        let mut answers = Vec::new();
        for step in &self.steps {
            let run = match step {
                Step::Run(run) => run,
                Step::Remove(netns) => {
                    node.remove(netns);
                    continue;
                }
            };
            let call = PluginCall {
                command: &run.command,
                container_id: run.container,
                netns: &run.netns,
                if_name: &run.if_name,
                args: run.args,
            };
            let stdin = run.stdin.replace(PREVIOUS, &previous.to_string());
            let answer = node.run(&run.plugin, &call, &stdin);
            if let (Ok(Some(result)), "ADD") = (&answer, &run.command[..]) {
                previous = result.clone();
            }
            answers.push(without_macs(answer, &format!("{} {}", run.args, run.stdin)));
        }
        answers
    }
}

/// Hardware addresses that nobody asked for.
fn without_macs(answer: Answer, request: &str) -> Answer {
    answer.map(|printed| {
        printed.map(|mut value| {
            for interface in value["interfaces"].as_array_mut().into_iter().flatten() {
                let mac = interface["mac"].as_str().unwrap_or_default();
                assert_eq!(mac.split(':').count(), 6, "{mac}");
                if !request.contains(mac) {
                    interface["mac"] = "MAC".into();
                }
            }
            value
        })
    })
}

pub(crate) fn all() -> Vec<Case> {
    let mut cases = recorded();
    cases.extend(own());
    cases
}

/// What happened before a recording in its namespace, as its README tells.
fn before(name: &str) -> &'static [&'static str] {
    match name {
        "macvlan-add-after-failed-add" => &["macvlan-add-no-ipam-plugin"],
        "macvlan-add-ifname-exists"
        | "macvlan-add-ipam-exhausted"
        | "macvlan-check"
        | "macvlan-del" => &["macvlan-add"],
        "macvlan-del-twice" => &["macvlan-add", "macvlan-del"],
        _ => &[],
    }
}

/// The requests of the recordings, answered anew.
fn recorded() -> Vec<Case> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/cni");
    let mut names: Vec<String> = std::fs::read_dir(&directory)
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(".meta.json").map(str::to_owned)
        })
        .collect();
    names.sort();
    assert!(names.len() >= 19, "recordings are missing: {names:?}");
    let case = |name: String| {
        let names = before(&name).iter().copied().chain([&name[..]]);
        let steps = names.map(|name| Step::Run(Box::new(load(&directory, name))));
        Case {
            steps: steps.collect(),
            needs_kernel: false,
            name,
        }
    };
    names.into_iter().map(case).collect()
}

fn load(directory: &Path, name: &str) -> Run {
    let read =
        |end: &str| std::fs::read_to_string(directory.join(format!("{name}.{end}"))).unwrap();
    let meta: Value = serde_json::from_str(&read("meta.json")).unwrap();
    let text = |key: &str| meta[key].as_str().unwrap().to_owned();
    let mut stdin = read("config.json");
    if text("command") == "CHECK" {
        // The result of this run's ADD, not of the recorded one.
        let mut config: Value = serde_json::from_str(&stdin).unwrap();
        config["prevResult"] = "PREVIOUS".into();
        stdin = config.to_string();
    }
    Run {
        plugin: text("plugin"),
        command: text("command"),
        container: "rec",
        netns: text("netns"),
        if_name: text("ifname"),
        args: "",
        stdin,
    }
}

/// A macvlan network with `change` laid over it.
fn config(change: Value) -> Value {
    let mut config = json!({
        "cniVersion": "1.0.0", "name": "m", "type": "macvlan", "master": "vmaster",
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.20.1.0/24"}]]}
    });
    for (key, value) in change.as_object().unwrap() {
        config[key] = value.clone();
    }
    config
}

fn run(command: &str, container: &'static str, netns: &str, config: &Value) -> Step {
    with_args(command, container, netns, config, "")
}

fn with_args(
    command: &str,
    container: &'static str,
    netns: &str,
    config: &Value,
    args: &'static str,
) -> Step {
    Step::Run(Box::new(Run {
        plugin: "macvlan".into(),
        command: command.into(),
        container,
        netns: netns.into(),
        if_name: "net1".into(),
        args,
        stdin: config.to_string(),
    }))
}

/// ADD, then CHECK with its result, then DEL twice.
fn life(name: &str, change: Value, args: &'static str) -> Case {
    let config = config(change);
    let mut later = config.clone();
    later["prevResult"] = "PREVIOUS".into();
    Case {
        name: name.into(),
        steps: vec![
            with_args("ADD", "a", NREC, &config, args),
            with_args("CHECK", "a", NREC, &later, args),
            with_args("DEL", "a", NREC, &config, args),
            with_args("DEL", "a", NREC, &config, args),
        ],
        needs_kernel: false,
    }
}

/// ADD alone: what it leaves is compared.
fn add(name: &str, change: Value, args: &'static str) -> Case {
    Case {
        name: name.into(),
        steps: vec![with_args("ADD", "a", NREC, &config(change), args)],
        needs_kernel: false,
    }
}

fn own() -> Vec<Case> {
    let plain = config(json!({}));
    let dual = json!({"ipam": {"type": "host-local",
        "ranges": [[{"subnet": "10.20.1.0/24"}], [{"subnet": "fd00:20::/64"}]]}});
    let fixed = |addresses: Value| json!({"ipam": {"type": "static", "addresses": addresses}});
    let routes = |routes: Value| {
        json!({"ipam": {"type": "host-local", "routes": routes,
            "ranges": [[{"subnet": "10.20.1.0/24"}]]}})
    };
    let far = routes(json!([{"dst": "10.99.0.0/16", "gw": "10.77.0.1"}]));
    let mut cases = vec![
        life("a life", json!({}), ""),
        life("two families", dual, ""),
        life("no IPAM", json!({"ipam": {}}), ""),
        life("the default route's link", json!({"master": ""}), ""),
        life("private", json!({"mode": "private"}), ""),
        life("vepa", json!({"mode": "vepa"}), ""),
        life("passthru", json!({"mode": "passthru"}), ""),
        life("smaller packets", json!({"mtu": 1400}), ""),
        life("a version before", json!({"cniVersion": "0.3.1"}), ""),
        life("the newest version", json!({"cniVersion": "1.1.0"}), ""),
        life(
            "a hardware address",
            json!({"mac": "02:11:22:33:44:55"}),
            "",
        ),
        life(
            "one from the environment",
            json!({}),
            "IgnoreUnknown=1;MAC=02:11:22:33:44:56",
        ),
        life(
            "one at run time",
            json!({"runtimeConfig": {"mac": "02:11:22:33:44:57"}}),
            "",
        ),
        life(
            "routes",
            routes(json!([{"dst": "0.0.0.0/0"}, {"dst": "10.98.0.0/16", "gw": "10.20.1.1"}])),
            "",
        ),
        life(
            "static",
            fixed(json!([{"address": "10.21.0.5/24", "gateway": "10.21.0.1"}])),
            "",
        ),
        life(
            "names",
            json!({"dns": {"nameservers": ["10.20.1.53"], "search": ["a.example"]}}),
            "",
        ),
        life(
            "an address asked for",
            json!({}),
            "IgnoreUnknown=1;IP=10.20.1.77",
        ),
        add("larger packets than the master's", json!({"mtu": 9000}), ""),
        add("a negative size", json!({"mtu": -1}), ""),
        add(
            "a multicast address",
            json!({"mac": "01:11:22:33:44:55"}),
            "",
        ),
        add("no hardware address", json!({"mac": "02:11"}), ""),
        add(
            "an address of another range",
            json!({}),
            "IgnoreUnknown=1;IP=10.9.9.9",
        ),
        add(
            "the gateway's address",
            json!({}),
            "IgnoreUnknown=1;IP=10.20.1.1",
        ),
        add("unknown arguments", json!({}), "K8S_POD_NAME=web"),
        add("no ranges", json!({"ipam": {"type": "host-local"}}), ""),
        add("static without an address", fixed(json!([])), ""),
        add("a mode that is none", json!({"mode": "wild"}), ""),
        add("a master of the wrong kind", json!({"master": 7}), ""),
        Case {
            needs_kernel: true,
            ..add("a route to nowhere", far, "")
        },
    ];
    cases.push(Case {
        name: "two pods, and a third".into(),
        steps: vec![
            run("ADD", "a", NREC, &plain),
            run("ADD", "b", NREC2, &plain),
            run("ADD", "a", NREC, &plain),
            run("DEL", "a", NREC, &plain),
            run("ADD", "c", NREC, &plain),
        ],
        needs_kernel: false,
    });
    cases.push(Case {
        name: "the namespace goes first".into(),
        steps: vec![
            run("ADD", "a", NREC, &plain),
            Step::Remove(NREC),
            run("DEL", "a", NREC, &plain),
            run("DEL", "a", "", &plain),
        ],
        needs_kernel: false,
    });
    let mut check = plain.clone();
    check["prevResult"] = "PREVIOUS".into();
    let mut other = check.clone();
    other["mode"] = "vepa".into();
    cases.push(Case {
        name: "checks that fail".into(),
        steps: vec![
            run("ADD", "a", NREC, &plain),
            run("CHECK", "a", NREC, &plain),
            run("CHECK", "a", NREC2, &check),
            run("CHECK", "z", NREC, &check),
            run("CHECK", "a", NREC, &other),
            run("DEL", "a", NREC, &plain),
            run("CHECK", "a", NREC, &check),
        ],
        needs_kernel: false,
    });
    cases
}
