//! Looks at the node's interfaces, and again whenever they change.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use super::{DeclaredError, Devices, Interface, NodeDevice, Rules, declared, device_name};

/// Changes come in swarms: how long to wait for the rest of one.
const SWARM: Duration = Duration::from_millis(50);

/// The least time between two looks, so that a link that flaps is not published at its pace.
const PACE: Duration = Duration::from_millis(500);

/// After this long without word there is a look all the same: sysfs tells nobody, and the
/// kernel drops messages under load.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a file is asked for its age.
const POLL: Duration = Duration::from_millis(50);

/// Where interfaces are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The kernel, in the network namespace of the process.
    Kernel {
        /// Where sysfs is mounted, usually `/sys`.
        sysfs: PathBuf,
    },
    /// A JSON array of [`Interface`]s, read again when the file changes.
    File(PathBuf),
}

/// Why the node's interfaces cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The kernel refuses.
    #[error("cannot list the node's interfaces by netlink: {0}; --slots offers devices without it")]
    Netlink(String),
    /// The file is no list.
    #[error(transparent)]
    Declared(#[from] DeclaredError),
    /// There is no netlink here.
    #[cfg(not(target_os = "linux"))]
    #[error("interfaces can be listed on Linux only; --slots offers devices without it")]
    Elsewhere,
}

/// Keeps the list of devices up to date until it is dropped.
pub struct Follower {
    devices: watch::Receiver<Arc<Devices>>,
    _task: AbortOnDropHandle<()>,
}

impl Follower {
    /// Looks once, then follows. `held` names the devices that claims on this node hold: one
    /// of them that is gone was moved into a pod, and stays a device.
    ///
    /// # Errors
    /// When the first look fails. Later ones are tried again.
    pub async fn start(
        source: Source,
        rules: Rules,
        held: impl Fn() -> BTreeSet<String> + Send + 'static,
    ) -> Result<Self, SourceError> {
        let mut eye = Eye::open(source)?;
        let seen = eye.look().await?;
        let devices = offered(seen, &rules, &Devices::default(), &held());
        let (tell, told) = watch::channel(Arc::new(devices));
        let task = tokio::spawn(async move {
            loop {
                let last = Instant::now();
                let told = tokio::time::timeout(PATIENCE, eye.changed()).await;
                match told {
                    Ok(Ok(())) => {
                        sleep(SWARM).await;
                        sleep_until(last + PACE).await;
                    }
                    Ok(Err(error)) => {
                        warn!(%error, "no word of the node's interfaces; asking again");
                        sleep(PACE).await;
                        match eye.reopen() {
                            Ok(()) => {}
                            Err(error) => warn!(%error, "interfaces not followed"),
                        }
                    }
                    Err(_) => eye.forget(),
                }
                let seen = match eye.look().await {
                    Ok(seen) => seen,
                    Err(error) => {
                        warn!(%error, "the node's devices stay as they were");
                        continue;
                    }
                };
                tell.send_if_modified(|old| {
                    let new = offered(seen, &rules, old, &held());
                    if **old == new {
                        return false;
                    }
                    log(old, &new);
                    *old = Arc::new(new);
                    true
                });
            }
        });
        Ok(Self {
            devices: told,
            _task: AbortOnDropHandle::new(task),
        })
    }

    /// The newest devices.
    pub fn devices(&self) -> watch::Receiver<Arc<Devices>> {
        self.devices.clone()
    }
}

/// Applies the rules, and keeps what is in a pod.
fn offered(
    seen: Vec<Interface>,
    rules: &Rules,
    before: &Devices,
    held: &BTreeSet<String>,
) -> Devices {
    let uplinks: Vec<String> = seen
        .iter()
        .filter(|one| rules.is_uplink(one))
        .map(|one| one.name.clone())
        .collect();
    let mut devices: Vec<NodeDevice> = seen
        .into_iter()
        .filter_map(|interface| {
            let usage = rules.usage(&interface)?;
            Some(NodeDevice {
                name: device_name(&interface.name),
                interface,
                usage,
                away: false,
            })
        })
        .collect();
    let away = before.iter().filter(|old| {
        old.usage == super::Usage::Whole
            && held.contains(&old.name)
            && devices.iter().all(|new| new.name != old.name)
    });
    let away: Vec<NodeDevice> = away
        .map(|old| NodeDevice {
            away: true,
            ..old.clone()
        })
        .collect();
    devices.extend(away);
    Devices::new(devices, uplinks)
}

fn log(old: &Devices, new: &Devices) {
    for device in new.iter() {
        match old.by_name.get(&device.name) {
            None => {
                info!(device = device.name, interface = %crate::shown::plain(&device.interface.name), "device found");
            }
            Some(before) if before.interface.state != device.interface.state => {
                info!(
                    device = device.name,
                    was = before.interface.state,
                    state = device.interface.state,
                    "the link changed"
                );
            }
            Some(_) => {}
        }
    }
    for gone in old
        .iter()
        .filter(|one| !new.by_name.contains_key(&one.name))
    {
        info!(device = gone.name, "device gone");
    }
}

/// One source, open.
enum Eye {
    #[cfg(target_os = "linux")]
    Kernel {
        kernel: super::netlink::Kernel,
        sysfs: PathBuf,
    },
    File {
        path: PathBuf,
        seen: Option<SystemTime>,
    },
}

impl Eye {
    fn open(source: Source) -> Result<Self, SourceError> {
        match source {
            #[cfg(target_os = "linux")]
            Source::Kernel { sysfs } => {
                let kernel = super::netlink::Kernel::open().map_err(netlink)?;
                Ok(Self::Kernel { kernel, sysfs })
            }
            #[cfg(not(target_os = "linux"))]
            Source::Kernel { .. } => Err(SourceError::Elsewhere),
            Source::File(path) => Ok(Self::File { path, seen: None }),
        }
    }

    fn reopen(&mut self) -> Result<(), SourceError> {
        #[cfg(target_os = "linux")]
        if let Self::Kernel { kernel, .. } = self {
            *kernel = super::netlink::Kernel::open().map_err(netlink)?;
        }
        Ok(())
    }

    fn forget(&mut self) {
        #[cfg(target_os = "linux")]
        if let Self::Kernel { kernel, .. } = self {
            kernel.forget();
        }
    }

    async fn look(&mut self) -> Result<Vec<Interface>, SourceError> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Kernel { kernel, sysfs } => {
                let mut links = kernel.list().await.map_err(netlink)?;
                for (index, interface) in &mut links {
                    super::sysfs::complete(sysfs, *index, interface);
                }
                Ok(links.into_iter().map(|(_, interface)| interface).collect())
            }
            Self::File { path, seen } => {
                *seen = age(path);
                Ok(declared::read(path)?)
            }
        }
    }

    /// Returns when something changed. May be dropped and called again.
    async fn changed(&mut self) -> io::Result<()> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Kernel { kernel, .. } => kernel.changed().await,
            Self::File { path, seen } => loop {
                sleep(POLL).await;
                if age(path) != *seen {
                    return Ok(());
                }
            },
        }
    }
}

fn age(path: &std::path::Path) -> Option<SystemTime> {
    std::fs::metadata(path).ok()?.modified().ok()
}

#[cfg(target_os = "linux")]
fn netlink(error: io::Error) -> SourceError {
    SourceError::Netlink(crate::socket::io_text(&error))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::Mutex;

    use super::*;

    fn put(path: &Path, list: &str) {
        let next = path.with_extension("next");
        fs::write(&next, list).unwrap();
        fs::rename(next, path).unwrap();
    }

    fn shown(devices: &Devices) -> Vec<String> {
        let words = devices.iter().map(|one| {
            let away = if one.away { " away" } else { "" };
            format!("{} {:?} {}{away}", one.name, one.usage, one.interface.state)
        });
        words.collect()
    }

    #[tokio::test]
    async fn what_comes_changes_and_goes_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list");
        let eth0 = r#"{"name": "eth0", "state": "up", "defaultRoute": true}"#;
        put(&path, &format!("[{eth0}]"));
        let held = Arc::new(Mutex::new(BTreeSet::new()));
        let holds = held.clone();
        let follower = Follower::start(Source::File(path.clone()), Rules::default(), move || {
            holds.lock().unwrap().clone()
        })
        .await
        .unwrap();
        let mut devices = follower.devices();
        assert_eq!(shown(&devices.borrow_and_update()), ["eth0 Shared up"]);
        assert!(devices.borrow().is_uplink("eth0"));

        put(
            &path,
            &format!(r#"[{eth0}, {{"name": "eth1", "state": "up"}}]"#),
        );
        devices.changed().await.unwrap();
        let both = ["eth0 Shared up", "eth1 Whole up"];
        assert_eq!(shown(&devices.borrow_and_update()), both);

        put(
            &path,
            &format!(r#"[{eth0}, {{"name": "eth1", "state": "down"}}]"#),
        );
        devices.changed().await.unwrap();
        let down = ["eth0 Shared up", "eth1 Whole down"];
        assert_eq!(shown(&devices.borrow_and_update()), down);

        // Moved into a pod.
        held.lock().unwrap().insert("eth1".to_owned());
        put(&path, &format!("[{eth0}]"));
        devices.changed().await.unwrap();
        let away = ["eth0 Shared up", "eth1 Whole down away"];
        assert_eq!(shown(&devices.borrow_and_update()), away);

        // Nobody holds it, and it has not come back.
        held.lock().unwrap().clear();
        put(&path, &format!("[{eth0}, {{\"name\": \"lo\"}}]"));
        devices.changed().await.unwrap();
        assert_eq!(shown(&devices.borrow_and_update()), ["eth0 Shared up"]);
    }

    #[tokio::test]
    async fn a_list_that_breaks_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list");
        put(&path, r#"[{"name": "eth0"}]"#);
        let source = Source::File(path.clone());
        let follower = Follower::start(source.clone(), Rules::default(), BTreeSet::new)
            .await
            .unwrap();
        let mut devices = follower.devices();
        put(&path, "no list");
        put(&path, r#"[{"name": "eth1"}]"#);
        devices.changed().await.unwrap();
        assert_eq!(shown(&devices.borrow_and_update()), ["eth1 Whole "]);
        fs::remove_file(&path).unwrap();
        let missing = Follower::start(source, Rules::default(), BTreeSet::new).await;
        let error = missing.err().unwrap().to_string();
        let error = error.replace(&dir.path().display().to_string(), "DIR");
        insta::assert_snapshot!(error, @"cannot use the list of interfaces DIR/list: No such file or directory");
    }
}
