//! One instance leaves, the next comes: the record changes hands without a moment in which
//! the kubelet knows neither.
//!
//! A rolling update lets two instances live on a node at a time, with sockets of their own
//! names. The record belongs to one of them, by a lock on `lock`. The next one stands by, by
//! a lock on `successor`, and is not known to the kubelet, which would call the newest.
//! When the holder is told to end, it writes so into `lock`. The successor then binds its
//! sockets and registers: calls wait in its DRA socket's queue, which the kernel keeps.
//! The holder sees `successor` free, withdraws its own registration, ends its calls and
//! lets the record go, and the successor serves whoever waits.

use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tonic::transport::Server;
use tracing::{info, warn};

use super::running::Running;
use super::{Config, KubeletApi, StartError};
use crate::attachment::record::{RecordError, Store, boot_id};
use crate::dra::{ANNOUNCED, CLASSIC_VERSIONS, RegistrationService};
use crate::event::OwnState;
use crate::socket::{self, Listener, SocketError};

/// How often locks are tried: the kernel tells nobody when one becomes free.
const LOOK: Duration = Duration::from_millis(20);

/// What the kubelet sees of an instance: bound when it is time to be known, which may be
/// before there is anybody to serve.
pub(super) struct Front {
    own: OwnState,
    registered: watch::Sender<Option<Result<(), String>>>,
    dra: Option<Listener>,
    registration: Option<Running>,
}

impl Front {
    /// Nothing is bound yet. `registered` learns what the kubelet makes of the instance.
    pub(super) fn new(
        own: &OwnState,
        registered: watch::Sender<Option<Result<(), String>>>,
    ) -> Self {
        Self {
            own: own.clone(),
            registered,
            dra: None,
            registration: None,
        }
    }

    /// The DRA socket, bound, where connections wait for whoever accepts them.
    pub(super) fn dra(&mut self, config: &Config) -> Result<Listener, SocketError> {
        match self.dra.take() {
            Some(bound) => Ok(bound),
            None => socket::bind(&config.dra_socket()),
        }
    }

    /// The service by which the kubelet gets to know the instance.
    pub(super) fn registration(mut self, config: &Config) -> Result<Running, SocketError> {
        match self.registration.take() {
            Some(running) => Ok(running),
            None => self.register(config),
        }
    }

    fn register(&self, config: &Config) -> Result<Running, SocketError> {
        let service = RegistrationService::server(
            config.driver_name.clone(),
            config.dra_socket().display().to_string(),
            match config.kubelet_api {
                KubeletApi::Current => &ANNOUNCED,
                KubeletApi::V1alpha3 => &CLASSIC_VERSIONS,
            },
            self.registered.clone(),
            self.own.clone(),
        );
        Running::new(&self.own).and(
            "registration",
            Server::builder().add_service(service),
            &config.registration_socket(),
        )
    }

    /// Lets the kubelet know the instance and call it, though nobody answers yet.
    fn open(&mut self, config: &Config) -> Result<(), SocketError> {
        if self.registration.is_none() {
            self.dra = Some(socket::bind(&config.dra_socket())?);
            self.registration = Some(self.register(config)?);
        }
        Ok(())
    }
}

/// Waits until the record is this instance's: however long the holder lives, since it serves
/// the node meanwhile.
pub(super) async fn stand_by(config: &Config, front: &mut Front) -> Result<Store, StartError> {
    let mut successor = None;
    let mut said = false;
    loop {
        match Store::open(&config.state_dir, &config.driver_name, &boot_id()) {
            Err(RecordError::InUse { .. }) => {}
            opened => return Ok(opened?),
        }
        if successor.is_none() {
            let file = open(&config.state_dir)?;
            // Of several, one is next.
            successor = file.try_lock().is_ok().then_some(file);
        }
        if successor.is_some() && !said {
            info!(driver = %config.driver_name, "stands by until the instance before it ends");
            said = true;
        }
        if let Some(lock) = &successor
            && Store::is_left(&config.state_dir)
        {
            front.open(config)?;
            if front.registered.borrow().is_some() {
                // One instance comes for one that goes; who goes waits for the lock.
                if let Err(error) =
                    Store::clear_left(&config.state_dir).and_then(|()| lock.unlock())
                {
                    warn!(%error, "the instance before leaves later than it could");
                }
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Tells a successor, if one stands by, that it is time, and waits until the kubelet knows
/// it; at most until `deadline`.
pub(super) async fn leave(config: &Config, store: &Store, deadline: Instant) {
    let begun = store.leave().and_then(|()| {
        open(&config.state_dir).map_err(|error| io::Error::other(error.to_string()))
    });
    let successor = match begun {
        Ok(file) => file,
        Err(error) => {
            warn!(%error, "a successor will not be known before the record is free");
            return;
        }
    };
    while let Err(fs::TryLockError::WouldBlock) = successor.try_lock() {
        if Instant::now() >= deadline {
            warn!("the successor does not register: leaving without it");
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn open(state_dir: &Path) -> Result<fs::File, RecordError> {
    let path = state_dir.join("successor");
    fs::File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| RecordError::Io {
            action: "lock",
            path,
            reason: socket::io_text(&error),
        })
}

/// Removes the sockets of instances that ended without doing so: their names are not
/// used again, and the kubelet would try them for ever. Only where nobody listens.
pub(super) fn sweep(config: &Config) {
    let Ok(entries) = fs::read_dir(&config.plugin_dir) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let middle = name
            .to_str()
            .and_then(|name| name.strip_prefix("dra")?.strip_suffix(".sock"));
        let Some(middle) = middle.filter(|m| m.is_empty() || m.starts_with('-')) else {
            continue;
        };
        let dra = entry.path();
        if dra == config.dra_socket() || !is_dead(&dra) {
            continue;
        }
        let name = format!("{}{middle}-reg.sock", config.driver_name);
        let registration: PathBuf = config.registry_dir.join(name);
        for path in [registration, dra] {
            if is_dead(&path) && fs::remove_file(&path).is_ok() {
                info!(socket = %path.display(), "removed the socket of an instance that is gone");
            }
        }
    }
}

fn is_dead(path: &Path) -> bool {
    UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use super::*;
    use crate::dra::VERSIONS;

    fn config(dir: &Path, instance: &str) -> Config {
        Config {
            instance: Some(instance.into()),
            registry_dir: dir.join("reg"),
            plugin_dir: dir.join("plugin"),
            state_dir: dir.join("state"),
            ..Config::new("node-1")
        }
    }

    fn dir() -> tempfile::TempDir {
        let dir = tempfile::Builder::new().prefix("nd").tempdir_in("/tmp");
        dir.unwrap()
    }

    async fn until(what: impl Fn() -> bool) {
        let seen = async {
            while !what() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), seen)
            .await
            .unwrap();
    }

    /// Whether it has come to its end; it goes on a little when it has not.
    async fn ended<T>(task: &mut (impl Future<Output = T> + Unpin)) -> Option<T> {
        tokio::time::timeout(LOOK * 3, task).await.ok()
    }

    #[tokio::test]
    async fn the_next_is_known_before_the_record_is_free_and_serves_when_it_is() {
        let dir = dir();
        let (old, new) = (config(dir.path(), "old"), config(dir.path(), "new"));
        let store = Store::open(&old.state_dir, &old.driver_name, &boot_id()).unwrap();
        let own = OwnState::new("d", "0.1.0", &VERSIONS);
        let (registered, _) = watch::channel(None);
        let mut front = Front::new(&own, registered.clone());
        let next = new.clone();
        let mut next = tokio::spawn(async move {
            let store = stand_by(&next, &mut front).await.unwrap();
            (store, front)
        });
        let successor = open(&old.state_dir).unwrap();
        until(|| match successor.try_lock() {
            Ok(()) => successor.unlock().is_err(),
            Err(_) => true,
        })
        .await;
        assert!(ended(&mut next).await.is_none());
        assert!(!new.registration_socket().exists(), "nobody leaves yet");

        let deadline = Instant::now() + Duration::from_secs(60);
        let holder = (old.clone(), store.clone());
        let mut leaving = tokio::spawn(async move { leave(&holder.0, &holder.1, deadline).await });
        until(|| new.registration_socket().exists()).await;
        // Whoever calls now waits in the queue.
        let _caller = UnixStream::connect(new.dra_socket()).unwrap();
        assert!(
            ended(&mut leaving).await.is_none(),
            "the kubelet knows nobody"
        );
        registered.send_replace(Some(Ok(())));
        leaving.await.unwrap();
        assert!(!Store::is_left(&old.state_dir), "a third one would come");
        assert!(ended(&mut next).await.is_none(), "the record has an owner");
        drop(store);
        let (_store, mut front) = next.await.unwrap();
        // The same socket, with the caller in its queue.
        front.dra(&new).unwrap().accept().await.unwrap();
        front.registration(&new).unwrap();
    }

    #[tokio::test]
    async fn who_has_no_successor_leaves_at_once() {
        let dir = dir();
        let config = config(dir.path(), "last");
        let store = Store::open(&config.state_dir, &config.driver_name, &boot_id()).unwrap();
        let far = Instant::now() + Duration::from_secs(3600);
        leave(&config, &store, far).await;
        assert!(Store::is_left(&config.state_dir));
        drop(store);
        // The word is of the one who said it.
        let _store = Store::open(&config.state_dir, &config.driver_name, &boot_id()).unwrap();
        assert!(!Store::is_left(&config.state_dir));
    }

    #[tokio::test]
    async fn sockets_of_the_dead_are_removed_and_no_others() {
        let dir = dir();
        let own = config(dir.path(), "own");
        let mut sockets = Vec::new();
        let mut left = |name: &str, path: PathBuf| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
            // One that is dropped leaves its file.
            if !name.ends_with("dead") {
                sockets.push(listener);
            }
        };
        for name in ["dead", "live"] {
            left(name, config(dir.path(), name).dra_socket());
            left(name, config(dir.path(), name).registration_socket());
        }
        left("dead", own.dra_socket());
        left("dead", own.plugin_dir.join("other.sock"));
        left("dead", own.registry_dir.join("other.driver-dead-reg.sock"));
        sweep(&own);
        let mut there = Vec::new();
        for directory in [&own.plugin_dir, &own.registry_dir] {
            let entries = fs::read_dir(directory).unwrap();
            there.extend(entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()));
        }
        there.sort();
        insta::assert_debug_snapshot!(there, @r#"
        [
            "dra-live.sock",
            "dra-own.sock",
            "dra.networking-live-reg.sock",
            "other.driver-dead-reg.sock",
            "other.sock",
        ]
        "#);
    }
}
