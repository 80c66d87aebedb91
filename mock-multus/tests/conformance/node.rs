//! One node, and the three kinds of plugins on it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ndra_mock_multus::{PluginCall, Record, RecordConfig, State};
use ndra_netns::{Links, Mount, here, inside};
use serde_json::{Value, json};

/// Where the real host-local keeps addresses; a directory of this process's alone.
const LIB: &str = "/var/lib";
const NETWORKS: &str = "/var/lib/cni/networks";

/// Where the mocks' texts say that plugins are.
const CNI_PATH: &str = "/opt/cni/bin";

/// The directory with the real plugins.
pub(crate) fn plugins() -> Result<PathBuf, String> {
    let named = std::env::var_os("CNI_PATH").unwrap_or_default();
    let tools = std::env::var_os("NDRA_TOOLS").map(PathBuf::from);
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tools = tools.unwrap_or_else(|| here.join("../target/tools"));
    std::env::split_paths(&named)
        .chain([
            tools.join("cni/bin"),
            CNI_PATH.into(),
            "/usr/lib/cni".into(),
        ])
        .find(|dir| dir.join("macvlan").is_file() && dir.join("host-local").is_file())
        .ok_or_else(|| "CNI plugins: install them with scripts/real-tools cni".into())
}

/// Moves into namespaces, onto the node of the recordings.
pub(crate) fn enter() {
    let networks = Mount::Directory(NETWORKS.into());
    ndra_netns::isolate(&[Mount::Empty(LIB.into()), networks]).unwrap();
    here(|| {
        let links = Links::open()?;
        links.add_veth("vmaster", "vmasterp")?;
        links.up("vmasterp")?;
        links.up("vmaster")
    })
    .unwrap();
}

/// One kind of plugins, with namespaces of its own.
pub(crate) struct Node<'a> {
    kind: Kind<'a>,
    dir: tempfile::TempDir,
}

enum Kind<'a> {
    Played(Record),
    Kernel(Record),
    Real(&'a Path),
}

/// What a plugin printed, and whether it was an error.
pub(crate) type Answer = Result<Option<Value>, Value>;

impl<'a> Node<'a> {
    pub(crate) fn played() -> Self {
        let links = vec!["eth0".into(), "vmaster".into()];
        let record = Record::new(RecordConfig { links }, State::default());
        Self::new(Kind::Played(record))
    }

    pub(crate) fn kernel() -> Self {
        Self::new(Kind::Kernel(Record::kernel(State::default())))
    }

    pub(crate) fn real(plugins: &'a Path) -> Self {
        std::fs::remove_dir_all(NETWORKS).unwrap();
        std::fs::create_dir(NETWORKS).unwrap();
        Self::new(Kind::Real(plugins))
    }

    fn new(kind: Kind<'a>) -> Self {
        let dir = tempfile::Builder::new().prefix("nd").tempdir_in("/tmp");
        let node = Self {
            kind,
            dir: dir.unwrap(),
        };
        for name in ["nrec", "nrec2"] {
            ndra_netns::create(&node.dir.path().join(name)).unwrap();
        }
        node
    }

    /// The pod's namespace goes.
    pub(crate) fn remove(&self, netns: &str) {
        let name = netns.trim_start_matches("/var/run/netns/");
        ndra_netns::remove(&self.dir.path().join(name)).unwrap();
    }

    /// Runs a plugin; what it prints has the recorded paths.
    pub(crate) fn run(&self, plugin: &str, call: &PluginCall<'_>, stdin: &str) -> Answer {
        let dir = self.dir.path().to_str().unwrap();
        let there = |text: &str| text.replace("/var/run/netns", dir);
        let netns = there(call.netns);
        let call = PluginCall {
            netns: &netns,
            ..*call
        };
        let stdin = there(stdin);
        let answer = match &self.kind {
            Kind::Played(record) | Kind::Kernel(record) => record
                .run(plugin, &call, stdin.as_bytes())
                .map_err(|error| serde_json::to_value(error).unwrap()),
            Kind::Real(path) => real(&path.join(plugin), path, &call, &stdin),
        };
        let back = |value: Value| -> Value {
            let text = value.to_string().replace(dir, "/var/run/netns");
            let text = match &self.kind {
                Kind::Real(path) => text.replace(path.to_str().unwrap(), CNI_PATH),
                _ => text,
            };
            serde_json::from_str(&text).unwrap()
        };
        match answer {
            Ok(printed) => Ok(printed.map(back)),
            Err(error) => Err(back(error)),
        }
    }

    /// What is in the namespaces, as the kernel says; `None` where it knows nothing.
    pub(crate) fn links(&self) -> Option<Value> {
        if matches!(self.kind, Kind::Played(_)) {
            return None;
        }
        let mut found = Vec::new();
        for name in ["nrec", "nrec2"] {
            let path = self.dir.path().join(name);
            let links = inside(&path, || {
                let links = Links::open().unwrap();
                let all = links.list().unwrap().into_iter();
                let described = all.map(|link| {
                    let mut addresses: Vec<String> = links
                        .addresses(&link.name)
                        .unwrap()
                        .iter()
                        .map(|(ip, prefix)| format!("{ip}/{prefix}"))
                        .collect();
                    addresses.sort();
                    json!({
                        "name": link.name, "kind": link.kind, "mode": link.macvlan,
                        "up": link.up, "mtu": link.mtu, "addresses": addresses,
                    })
                });
                described.collect::<Vec<_>>()
            });
            found.push(
                links
                    .map(|links| json!({ name: links }))
                    .unwrap_or(Value::Null),
            );
        }
        Some(found.into())
    }

    /// Addresses that are reserved.
    pub(crate) fn reserved(&self) -> Vec<String> {
        let mut found = match &self.kind {
            Kind::Played(record) | Kind::Kernel(record) => record
                .state()
                .allocations()
                .into_iter()
                .map(|a| format!("{} {}", a.network, a.ip))
                .collect(),
            Kind::Real(_) => files(),
        };
        found.sort();
        found
    }
}

impl Drop for Node<'_> {
    fn drop(&mut self) {
        self.remove("nrec");
        self.remove("nrec2");
    }
}

fn files() -> Vec<String> {
    let mut found = Vec::new();
    for network in std::fs::read_dir(NETWORKS).unwrap() {
        let network = network.unwrap();
        for file in std::fs::read_dir(network.path()).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            if name.parse::<std::net::IpAddr>().is_ok() {
                found.push(format!("{} {name}", network.file_name().to_str().unwrap()));
            }
        }
    }
    found
}

fn real(program: &Path, path: &Path, call: &PluginCall<'_>, stdin: &str) -> Answer {
    let mut child = Command::new(program)
        .env("CNI_COMMAND", call.command)
        .env("CNI_CONTAINERID", call.container_id)
        .env("CNI_NETNS", call.netns)
        .env("CNI_IFNAME", call.if_name)
        .env("CNI_ARGS", call.args)
        .env("CNI_PATH", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // It may end without reading.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    let printed = (!output.stdout.is_empty())
        .then(|| serde_json::from_slice::<Value>(&output.stdout).unwrap());
    match output.status.success() {
        true => Ok(printed),
        false => Err(printed.unwrap()),
    }
}
