//! A runtime of the test's own, and runs of `ndra simulate` on it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::real::{has, path, shown, skip, skip_unless, tools};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/real-runtime");

/// What all lanes with containerd run.
const PROGRAMS: [&str; 3] = ["containerd", "runc", "multus-daemon"];
/// What those with CRI-O run.
const CRIO: [&str; 7] = [
    "crio",
    "pinns",
    "conmon",
    "podman",
    "crictl",
    "runc",
    "multus-daemon",
];

/// One runtime at a time: each puts pods into one control group of the machine's, which
/// `down` removes.
static TURN: Mutex<()> = Mutex::new(());

/// A runtime of the test's own; it goes when this is dropped.
pub(crate) struct Runtime {
    program: &'static str,
    pub(crate) dir: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

impl Runtime {
    /// `None`, after one line that says why, on a machine that cannot run it.
    pub(crate) fn up(name: &str, options: &[&str]) -> Option<Self> {
        if let Some(lacking) = lacking(&PROGRAMS) {
            skip(&lacking);
            return None;
        }
        Some(Self::start(name, "containerd", options))
    }

    /// CRI-O takes minutes to build, and is asked for by a variable of its own.
    pub(crate) fn crio(name: &str) -> Option<Self> {
        if let Some(lacking) = lacking(&CRIO) {
            skip_unless("NDRA_REQUIRE_CRIO", &lacking);
            return None;
        }
        Some(Self::start(name, "crio", &["--runtime", "crio"]))
    }

    fn start(name: &str, program: &'static str, options: &[&str]) -> Self {
        let runtime = Self {
            program,
            dir: format!("/tmp/ndra-{name}-{}", std::process::id()).into(),
            _turn: TURN.lock().unwrap_or_else(PoisonError::into_inner),
        };
        runtime.script(&[&["up"], options].concat());
        runtime
    }

    pub(crate) fn script(&self, args: &[&str]) -> String {
        let output = Command::new(SCRIPT)
            .args(args)
            .env("NDRA_RUNTIME_DIR", &self.dir)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{args:?}: {}", shown(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn socket(&self) -> String {
        format!("unix://{}/{}.sock", self.dir.display(), self.program)
    }

    pub(crate) fn simulate(&self, args: &[&str]) -> Output {
        simulate(&self.socket(), args)
    }

    /// Nothing of any pod is on its node, as a process there sees it.
    pub(crate) fn is_clean(&self) {
        let node = PathBuf::from(format!("/proc/{}/root", self.pids()[1]));
        let addresses = node.join("var/lib/cni/networks");
        let networks = files(&addresses).into_iter();
        let reserved = networks.flat_map(|network| files(&addresses.join(network)));
        let reserved: Vec<String> = reserved
            .filter(|name| name.parse::<std::net::IpAddr>().is_ok())
            .collect();
        assert_eq!(reserved, [""; 0], "addresses");
        assert_eq!(files(&self.dir.join("cdi")), [""; 0], "CDI specs");
        assert_eq!(files(&node.join("run/netns")), [""; 0], "namespaces");
        let links = format!("/proc/{}/net/dev", self.pids()[1]);
        let links = std::fs::read_to_string(links).unwrap();
        let names = links
            .lines()
            .filter_map(|line| Some(line.split_once(':')?.0.trim()));
        let mut names: Vec<&str> = names.collect();
        names.sort_unstable();
        assert_eq!(names, ["eth0", "eth0p", "lo"], "links");
    }

    /// Everything that holds this runtime, so that it can be found afterwards.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let pid = |name: &str| {
            let text = std::fs::read_to_string(self.dir.join(name)).unwrap();
            text.split(' ').next().unwrap().parse().unwrap()
        };
        vec![pid("runtime.pid"), pid("holder.pid")]
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let down = Command::new(SCRIPT)
            .arg("down")
            .env("NDRA_RUNTIME_DIR", &self.dir)
            .status();
        if !std::thread::panicking() {
            assert!(down.unwrap().success(), "down");
        }
    }
}

fn lacking(programs: &[&str]) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("a real container runtime needs root".into());
    }
    let mut missing: Vec<&str> = programs.iter().copied().filter(|name| !has(name)).collect();
    if !tools().join("cni/bin/ptp").exists() {
        missing.push("ptp");
    }
    if !Path::new("/bin/busybox").exists() {
        missing.push("busybox");
    }
    let missing = missing.join(", ");
    (!missing.is_empty()).then(|| format!("not there: {missing}; scripts/real-tools installs them"))
}

fn files(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect()
}

pub(crate) fn simulation(socket: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ndra"));
    command
        .args(["simulate", "--cri", socket, "--timeout", "60s"])
        .env("LC_ALL", "C.UTF-8")
        .env("PATH", path())
        .env("CNI_PATH", tools().join("cni/bin"))
        .stdin(Stdio::null());
    command
}

pub(crate) fn simulate(socket: &str, args: &[&str]) -> Output {
    simulation(socket).args(args).output().unwrap()
}
