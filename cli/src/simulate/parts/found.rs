//! A real container runtime that runs already, found at its CRI socket.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ndra_core::cri::{About, Cdi, Cri};
use ndra_core::socket;
use rustix::process::{Pid, Signal, kill_process};
use tokio_util::task::AbortOnDropHandle;

use super::calls::{CALL, Calls, pid};
use super::leftovers::Leftovers;
use super::runtime::{Sandbox, Setting};
use crate::failure::Failure;
use crate::problem::{Place, Problem};
use crate::simulate::Flavor;
use crate::simulate::hooks::Hooks;

/// How often the runtime is asked what there is.
const LOOK: Duration = Duration::from_millis(50);
/// How often a runtime is looked at after a run that was cut short, at most.
const SWEEPS: usize = 100;
/// How often in a row it must have nothing.
const CLEAN: usize = 3;
/// Time between two of these looks.
const SWEEP: Duration = Duration::from_millis(100);

/// A runtime that will do: asked before anything is started.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) socket: PathBuf,
    pub(crate) about: About,
    /// Where it looks for CDI specs last: what is there wins.
    cdi_dir: PathBuf,
    leftovers: Leftovers,
}

impl Endpoint {
    /// Asks what serves `socket`, and refuses what cannot work.
    pub(crate) async fn find(socket: &Path) -> Result<Self, Failure> {
        let problem = |message: String, mend: &str| {
            Failure::from(Problem::new(
                Place::file(format!("--cri {}", socket.display())),
                message,
                mend,
            ))
        };
        let running = "name the CRI socket of a runtime that runs; `scripts/real-runtime up` \
                       starts one, and `scripts/real-runtime env` prints its socket";
        socket::connect(socket, "a container runtime such as containerd or CRI-O")
            .await
            .map_err(|error| problem(error.to_string(), running))?;
        let cri = Cri::new(socket, CALL).map_err(|error| problem(error.to_string(), running))?;
        let about = cri
            .about()
            .await
            .map_err(|error| problem(error.to_string(), running))?;
        let cdi_dir = match &about.cdi {
            Cdi::Off => {
                return Err(problem(
                    format!(
                        "{} {} has CDI switched off: it would refuse every container with a claim",
                        about.name, about.version
                    ),
                    "set enable_cdi = true in the section of the CRI runtime in containerd's \
                     configuration, and restart it",
                ));
            }
            Cdi::Read(dirs) => dirs.last().cloned().ok_or_else(|| {
                problem(
                    format!("{} {} reads no CDI directory", about.name, about.version),
                    "set cdi_spec_dirs in containerd's configuration, and restart it",
                )
            })?,
            // The one of the CDI specification that is meant for what is made at run time.
            Cdi::Untold => PathBuf::from("/var/run/cdi"),
        };
        if !about.unready.is_empty() {
            return Err(problem(
                format!("the runtime is not ready: {}", about.unready.join("; ")),
                "mend that first; NetworkReady wants a CNI configuration for the pods' own network",
            ));
        }
        let calls = Calls::new(socket).map_err(|error| problem(error, running))?;
        let sandboxes = calls.sandboxes().await;
        let sandboxes = sandboxes.map_err(|error| problem(error, running))?;
        if !sandboxes.is_empty() {
            return Err(problem(
                format!(
                    "the runtime has {} pod sandboxes already, which the simulated kubelet would \
                     take for forgotten ones and remove",
                    sandboxes.len()
                ),
                "use a runtime of your own (`scripts/real-runtime up`); after a run that was cut \
                 short, `scripts/real-runtime down` first",
            ));
        }
        Ok(Self {
            socket: socket.to_owned(),
            about,
            leftovers: Leftovers::before(&cdi_dir),
            cdi_dir,
        })
    }

    /// Which of the mock's runtimes it stands for.
    pub(crate) fn flavor(&self) -> Flavor {
        match self.about.name.as_str() {
            "cri-o" => Flavor::Crio,
            _ => Flavor::Containerd,
        }
    }

    /// As in the head of a report.
    pub(crate) fn words(&self) -> String {
        let About { name, version, .. } = &self.about;
        match &self.about.oci_runtime {
            Some(oci) => format!("{name} {version} ({oci})"),
            None => format!("{name} {version}"),
        }
    }

    /// Removes what a run that was cut short left in the runtime, which had nothing before,
    /// and on its node.
    pub(crate) async fn sweep(&self) {
        let mut left = Vec::new();
        let mut clean = 0;
        for _ in 0..SWEEPS {
            left = match self.remove_sandboxes().await {
                Ok(found) => found,
                Err(error) => vec![error],
            };
            left.extend(self.leftovers.remove());
            // What was asked for last may be made after a look that found nothing.
            clean = if left.is_empty() { clean + 1 } else { 0 };
            if clean == CLEAN {
                return;
            }
            tokio::time::sleep(SWEEP).await;
        }
        eprintln!(
            "the runtime at {} may still have of this run: {}",
            self.socket.display(),
            left.join(", ")
        );
    }

    /// Those that there were.
    async fn remove_sandboxes(&self) -> Result<Vec<String>, String> {
        let calls = Calls::new(&self.socket)?;
        let found: Vec<String> = calls.sandboxes().await?.into_keys().collect();
        for id in &found {
            calls.remove(id).await?;
        }
        Ok(found)
    }
}

/// The runtime during a run.
pub(crate) struct Found {
    endpoint: Endpoint,
    calls: Calls,
    known: Arc<Mutex<Known>>,
    hooks: Hooks,
    _look: AbortOnDropHandle<()>,
}

/// What was last seen of the runtime.
#[derive(Default)]
struct Known {
    sandboxes: BTreeMap<String, Sandbox>,
    /// Network namespaces of all sandboxes that there were, by sandbox; none where it is the
    /// host's.
    namespaces: BTreeMap<String, Option<PathBuf>>,
}

impl Found {
    /// Begins to look at it and to listen to its hooks.
    pub(crate) async fn start(endpoint: &Endpoint, setting: Setting<'_>) -> Result<Self, Failure> {
        let Setting {
            work,
            recorder,
            gate,
            board,
            namespaces: _,
        } = setting;
        let hooks = Hooks::start(work, recorder, gate)?;
        let calls = Calls::new(&endpoint.socket).map_err(|error| Failure::run(error, ""))?;
        let known = Arc::new(Mutex::new(Known::default()));
        let (asking, seen) = (calls.clone(), known.clone());
        let look = tokio::spawn(async move {
            loop {
                // A runtime that is away has what it had.
                if look(&asking, &seen).await == Ok(true) {
                    board.nudge();
                }
                tokio::time::sleep(LOOK).await;
            }
        });
        Ok(Self {
            endpoint: endpoint.clone(),
            calls,
            known,
            hooks,
            _look: AbortOnDropHandle::new(look),
        })
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.endpoint.socket
    }

    pub(crate) fn cdi_dir(&self) -> &Path {
        &self.endpoint.cdi_dir
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn sandboxes(&self) -> Vec<Sandbox> {
        let known = self.known();
        let sandboxes = known.sandboxes.values().cloned().map(|sandbox| {
            let netns = known.namespaces.get(&sandbox.id).cloned().flatten();
            Sandbox {
                netns: netns.filter(|path| path.exists()),
                ..sandbox
            }
        });
        sandboxes.collect()
    }

    /// Namespaces that are still there.
    pub(crate) fn namespaces(&self) -> Vec<String> {
        let known = self.known();
        let left = known.namespaces.values().flatten();
        let left = left.filter(|path| path.exists());
        left.map(|path| path.display().to_string()).collect()
    }

    /// Ends a container's first process, which then has exit code 137.
    pub(crate) async fn kill_container(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
    ) -> Result<(), String> {
        let id = self.calls.container(namespace, pod, container).await?;
        kill(self.calls.container_pid(&id).await?, &id)
    }

    /// Ends the sandbox's own process, or the sandbox where that has none.
    pub(crate) async fn kill_sandbox(&self, namespace: &str, pod: &str) -> Result<(), String> {
        let id = self.calls.sandbox(namespace, pod).await?;
        let info = self.calls.sandbox_info(&id).await?;
        match pid(&info) {
            Ok(pid) => kill(pid, &id),
            // CRI-O runs none for most sandboxes, which end when they are stopped.
            Err(_) => self.calls.stop(&id).await,
        }
    }

    /// What `ip addr show` says of an interface inside a container of the pod.
    pub(crate) async fn interface(
        &self,
        namespace: &str,
        pod: &str,
        name: &str,
    ) -> Result<(String, Vec<String>), String> {
        let id = self.calls.container(namespace, pod, "").await?;
        let command = ["ip", "addr", "show", name];
        let text = self.calls.exec(&id, &command).await?;
        addresses(&text)
            .ok_or_else(|| format!("`{}` shows no interface: {text}", command.join(" ")))
    }

    pub(crate) async fn stop(self) {
        self.hooks.stop().await;
    }
}

/// Looks once; says whether anything is different.
async fn look(calls: &Calls, seen: &Mutex<Known>) -> Result<bool, String> {
    let lock = || seen.lock().unwrap_or_else(PoisonError::into_inner);
    let sandboxes = calls.sandboxes().await?;
    let new: Vec<String> = {
        let known = lock();
        let new = sandboxes
            .keys()
            .filter(|id| !known.namespaces.contains_key(*id));
        new.cloned().collect()
    };
    for id in new {
        // It may be gone again.
        let netns = calls.sandbox_info(&id).await.ok().and_then(|info| {
            let namespaces = info.pointer("/runtimeSpec/linux/namespaces")?.as_array()?;
            let network = namespaces.iter().find(|ns| ns["type"] == "network")?;
            Some(PathBuf::from(network["path"].as_str()?))
        });
        lock().namespaces.insert(id, netns);
    }
    let mut known = lock();
    let different = known.sandboxes != sandboxes;
    known.sandboxes = sandboxes;
    Ok(different)
}

/// The process of this number, when it is in the cgroup of the container `id`.
fn kill(pid: i32, id: &str) -> Result<(), String> {
    let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup"));
    let cgroup = cgroup.map_err(|error| format!("process {pid} of {id}: {error}"))?;
    if !cgroup.contains(id) {
        return Err(format!("process {pid} is not one of container {id}"));
    }
    let pid = Pid::from_raw(pid).ok_or("process 0 is nobody")?;
    kill_process(pid, Signal::KILL).map_err(|error| format!("cannot end {id}: {error}"))
}

/// Hardware address and addresses out of `ip addr show NAME`; those that IPv6 links give
/// themselves are left out.
fn addresses(text: &str) -> Option<(String, Vec<String>)> {
    let words = |line: &str| {
        let mut words = line.split_whitespace().map(str::to_owned);
        (words.next(), words.next())
    };
    let mut mac = None;
    let mut found = Vec::new();
    for line in text.lines() {
        match words(line) {
            (Some(kind), Some(own)) if kind == "link/ether" => mac = Some(own),
            (Some(kind), Some(own)) if kind == "inet" => found.push(own),
            (Some(kind), Some(own)) if kind == "inet6" && !line.contains("scope link") => {
                found.push(own);
            }
            _ => {}
        }
    }
    Some((mac?, found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ip_prints_is_read() {
        let text = "3: net1@if2: <BROADCAST,MULTICAST,UP,LOWER_UP,M-DOWN> mtu 1500 qdisc noqueue\n    \
                    link/ether 1a:15:0f:05:72:9e brd ff:ff:ff:ff:ff:ff\n    \
                    inet 10.10.1.2/24 brd 10.10.1.255 scope global net1\n       \
                    valid_lft forever preferred_lft forever\n    \
                    inet6 fd00::2/64 scope global flags 02\n    \
                    inet6 fe80::1815:fff:fe05:729e/64 scope link\n";
        let (mac, found) = addresses(text).unwrap();
        assert_eq!(mac, "1a:15:0f:05:72:9e");
        assert_eq!(found, ["10.10.1.2/24", "fd00::2/64"]);
        assert_eq!(addresses("ip: can't find device 'net1'"), None);
    }
}
