//! The made-up pod network: addresses of 10.88.0.0/16, and namespaces, which are the kernel's
//! or files that stand for them.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::Flavor;

/// The gateway, as the first address of the range.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 1);

/// Addresses in use. Handed out in turn, so that a freed one rests before it comes again.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    used: BTreeSet<u16>,
    last: u16,
}

impl Pool {
    /// The next free address; `None` when all are in use.
    pub(crate) fn take(&mut self) -> Option<Ipv4Addr> {
        // .0.0 is the network, .0.1 the gateway, .255.255 the broadcast.
        const FIRST: u16 = 2;
        const LAST: u16 = u16::MAX - 1;
        for _ in FIRST..=LAST {
            self.last = if (FIRST..LAST).contains(&self.last) {
                self.last + 1
            } else {
                FIRST
            };
            if self.used.insert(self.last) {
                let [high, low] = self.last.to_be_bytes();
                return Some(Ipv4Addr::new(10, 88, high, low));
            }
        }
        None
    }

    /// Takes an address back.
    pub(crate) fn give_back(&mut self, address: Ipv4Addr) {
        let [_, _, high, low] = address.octets();
        self.used.remove(&u16::from_be_bytes([high, low]));
    }
}

/// What a pod's network namespace is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Namespaces {
    /// A file that stands for one.
    #[default]
    Files,
    /// The kernel's, held by a mount. This process must be where it may make them.
    Kernel,
}

impl Namespaces {
    fn make(self, path: &Path) -> io::Result<()> {
        match self {
            Self::Files => {
                let mut file = std::fs::OpenOptions::new();
                file.write(true).create_new(true).open(path).map(drop)
            }
            Self::Kernel => ndra_netns::create(path).map_err(io::Error::other),
        }
    }

    /// One that is gone is no error.
    fn remove(self, path: &Path) -> io::Result<()> {
        match self {
            Self::Files => match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
            Self::Kernel => ndra_netns::remove(path).map_err(io::Error::other),
        }
    }
}

/// A pod's network namespace, under an unguessable name, as the runtimes' mounts are. It
/// goes when this is closed or dropped.
#[derive(Debug)]
pub(crate) struct Network {
    kind: Namespaces,
    path: PathBuf,
    address: Ipv4Addr,
    open: bool,
}

impl Network {
    /// Makes the namespace in `dir`, which exists.
    pub(crate) fn open(
        kind: Namespaces,
        flavor: Flavor,
        dir: &Path,
        address: Ipv4Addr,
    ) -> io::Result<Self> {
        let id = uuid::Uuid::new_v4();
        let path = dir.join(match flavor {
            Flavor::Containerd => format!("cni-{id}"),
            Flavor::Crio => id.to_string(),
        });
        kind.make(&path)?;
        Ok(Self {
            kind,
            path,
            address,
            open: true,
        })
    }

    /// Removes it; again is no error.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        if !self.open {
            return Ok(());
        }
        self.kind.remove(&self.path)?;
        self.open = false;
        Ok(())
    }

    /// Where the file is or was.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The pod's address, while the namespace is there.
    pub(crate) fn address(&self) -> Option<Ipv4Addr> {
        self.open.then_some(self.address)
    }

    /// The address that was taken from the pool.
    pub(crate) fn taken(&self) -> Ipv4Addr {
        self.address
    }

    /// Whether the namespace is gone.
    pub(crate) fn closed(&self) -> bool {
        !self.open
    }

    /// The CNI result as containerd keeps it.
    pub(crate) fn cni_result(&self) -> Value {
        let [a, b, c, d] = self.address.octets();
        let mac = format!("0a:58:{a:02x}:{b:02x}:{c:02x}:{d:02x}");
        let host_mac = format!("0e:58:{a:02x}:{b:02x}:{c:02x}:{d:02x}");
        let veth = format!("veth{a:02x}{b:02x}{c:02x}{d:02x}");
        let interface = |configs: Value, mac: &str, sandbox: &Path| json!({ "IPConfigs": configs, "Mac": mac, "Sandbox": sandbox, "PciID": "", "SocketPath": "" });
        json!({
            "Interfaces": {
                "eth0": interface(
                    json!([{ "IP": self.address, "Gateway": GATEWAY }]), &mac, &self.path
                ),
                "lo": interface(
                    json!([{ "IP": "127.0.0.1", "Gateway": "" }, { "IP": "::1", "Gateway": "" }]),
                    "00:00:00:00:00:00",
                    &self.path,
                ),
                veth: interface(Value::Null, &host_mac, Path::new("")),
            },
            "DNS": [{}, {}],
            "Routes": null,
        })
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(path = %self.path.display(), %error, "network namespace stays behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_unique_until_given_back() {
        let mut pool = Pool::default();
        let all: BTreeSet<_> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!(all.len(), 65_533);
        assert!(!all.contains(&GATEWAY) && !all.contains(&Ipv4Addr::new(10, 88, 255, 255)));
        let one = Ipv4Addr::new(10, 88, 7, 7);
        pool.give_back(one);
        assert_eq!(pool.take(), Some(one));
        assert_eq!(pool.take(), None);
    }

    #[test]
    fn the_file_goes_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let network =
            Network::open(Namespaces::Files, Flavor::Containerd, dir.path(), GATEWAY).unwrap();
        let path = network.path().to_owned();
        assert!(path.exists());
        drop(network);
        assert!(!path.exists());
    }
}
