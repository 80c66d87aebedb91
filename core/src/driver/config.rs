//! Everything that can be set: paths, sockets, names and time-outs, checked against each other.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::attachment::Times;
use crate::claim::Defaults;
use crate::cni::{self, ConfigFrom};
use crate::devices::{Pattern, Rules, Source};
use crate::socket;

/// Who calls the CNI plugins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cni {
    /// The Multus daemon behind this socket.
    Multus {
        /// `/run/multus/multus.sock`.
        socket: PathBuf,
    },
    /// The driver itself.
    Exec,
}

/// What the kubelet and the API server speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KubeletApi {
    /// DRAPlugin v1 and v1beta1, with `resource.k8s.io/v1`: Kubernetes 1.34 and newer.
    #[default]
    Current,
    /// `v1alpha3.Node`, with `resource.k8s.io/v1alpha2`: Kubernetes 1.29 and 1.30. A
    /// controller of the driver's own allocates; devices are not published, and what became
    /// of them has no place in the API.
    V1alpha3,
}

/// Where the devices come from that a node offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceSource {
    /// So many devices that each mean one virtual interface on the uplink; no interface is
    /// looked at.
    Slots(usize),
    /// The node's interfaces.
    Interfaces {
        /// Where they are found.
        source: Source,
        /// See [`Rules::include`].
        include: Vec<Pattern>,
        /// See [`Rules::exclude`].
        exclude: Vec<Pattern>,
        /// See [`Rules::share`].
        share: Vec<Pattern>,
        /// How many attachments a shared interface takes at the same time.
        attachments: usize,
    },
}

/// The settings of one driver on one node.
#[derive(Clone, Debug)]
pub struct Config {
    /// The driver's name: in DeviceClass, ResourceSlice and registration; also the CDI vendor.
    pub driver_name: String,
    /// The node's name, as the Node object has it; also the pool's.
    pub node_name: String,
    /// Tells this instance from others of the driver on the node: the pod's UID. Its sockets
    /// for the kubelet carry it, and it stands by while another holds the record, as long as
    /// that takes. `None` for one instance at a time.
    pub instance: Option<String>,
    /// How to reach the API server; `None` takes the pod's service account.
    pub kubeconfig: Option<PathBuf>,
    /// What the kubelet and the API server speak.
    pub kubelet_api: KubeletApi,
    /// Where the kubelet looks for registration sockets.
    pub registry_dir: PathBuf,
    /// Where the driver's DRA socket lies.
    pub plugin_dir: PathBuf,
    /// Where the record lies. It must outlive the driver's container.
    pub state_dir: PathBuf,
    /// Where the runtime reads CDI specs.
    pub cdi_dir: PathBuf,
    /// The hook program, as a path on the host.
    pub hook_path: PathBuf,
    /// Arguments before the hook's own.
    pub hook_args: Vec<String>,
    /// Where the hook calls. The same for every instance: it stands in CDI specs on disk.
    pub callback_socket: PathBuf,
    /// Where events are served.
    pub events_socket: PathBuf,
    /// Where probes ask for the driver's health; `None` opens no port.
    pub health: Option<SocketAddr>,
    /// Where Prometheus scrapes; `None` opens no port.
    pub metrics: Option<SocketAddr>,
    /// The runtime's CRI socket.
    pub cri_socket: PathBuf,
    /// Who calls the CNI plugins.
    pub cni: Cni,
    /// Where CNI plugins are, for calls without Multus.
    pub cni_path: Vec<PathBuf>,
    /// Where Multus keeps results, so that a DEL without it finds and removes them.
    pub cni_cache_dir: PathBuf,
    /// The node's interface that default attachments use.
    pub uplink: String,
    /// Which devices the node offers.
    pub devices: DeviceSource,
    /// CNI plugin types that claims' configurations may name; empty allows all.
    pub allow_cni_types: BTreeSet<String>,
    /// Write files by which programs in containers find their interfaces (KEP-5304).
    pub device_metadata: bool,
    /// Refuse CNI configurations in claims; only a DeviceClass may carry them.
    pub class_config_only: bool,
    /// When the runtime kills the hook.
    pub hook_kill_after: Duration,
    /// How long the hook tries.
    pub hook_timeout: Duration,
    /// How long one CNI ADD or DEL may take.
    pub cni_timeout: Duration,
    /// How long a call to the runtime may take.
    pub cri_timeout: Duration,
    /// How long reading a claim may take, retries included.
    pub api_timeout: Duration,
    /// How often DEL is tried before a pod is let go.
    pub del_attempts: u32,
    /// How long all DELs of one claim may take at unprepare.
    pub release_timeout: Duration,
    /// How often orphans are tried again.
    pub orphan_retry: Duration,
    /// How often claims are sought that the kubelet forgot.
    pub forgotten_check: Duration,
    /// How long calls under way may take at the end, and how long a successor waits.
    pub stop_timeout: Duration,
    /// How many past events are kept for late watchers.
    pub event_ring: usize,
}

impl Config {
    /// The settings of a cluster's node, for the node of this name.
    pub fn new(node_name: impl Into<String>) -> Self {
        Self {
            driver_name: "dra.networking".into(),
            node_name: node_name.into(),
            instance: None,
            kubeconfig: None,
            kubelet_api: KubeletApi::Current,
            registry_dir: "/var/lib/kubelet/plugins_registry".into(),
            plugin_dir: "/var/lib/kubelet/plugins/dra.networking".into(),
            state_dir: "/var/lib/ndra".into(),
            cdi_dir: "/var/run/cdi".into(),
            hook_path: "/opt/ndra/bin/ndra-hook".into(),
            hook_args: Vec::new(),
            callback_socket: "/run/ndra/hook.sock".into(),
            events_socket: "/run/ndra/events.sock".into(),
            health: None,
            metrics: None,
            cri_socket: "/run/containerd/containerd.sock".into(),
            cni: Cni::Multus {
                socket: "/run/multus/multus.sock".into(),
            },
            cni_path: vec!["/opt/cni/bin".into()],
            cni_cache_dir: "/var/lib/cni/multus".into(),
            uplink: "eth0".into(),
            devices: DeviceSource::Interfaces {
                source: Source::Kernel {
                    sysfs: "/sys".into(),
                },
                include: Vec::new(),
                exclude: Vec::new(),
                share: Vec::new(),
                attachments: 64,
            },
            allow_cni_types: cni::Policy::types(cni::DEFAULT_TYPES),
            class_config_only: false,
            device_metadata: true,
            hook_kill_after: Duration::from_secs(30),
            hook_timeout: Duration::from_secs(25),
            cni_timeout: Duration::from_secs(20),
            cri_timeout: Duration::from_secs(5),
            api_timeout: Duration::from_secs(10),
            del_attempts: 3,
            release_timeout: Duration::from_secs(30),
            orphan_retry: Duration::from_secs(30),
            forgotten_check: Duration::from_secs(300),
            stop_timeout: Duration::from_secs(20),
            event_ring: 8192,
        }
    }

    /// Where the DRA service listens.
    pub fn dra_socket(&self) -> PathBuf {
        self.plugin_dir.join(format!("dra{}.sock", self.suffix()))
    }

    /// Where the kubelet finds the driver.
    pub fn registration_socket(&self) -> PathBuf {
        self.registry_dir
            .join(format!("{}{}-reg.sock", self.driver_name, self.suffix()))
    }

    /// Kubernetes' own library for drivers names sockets so.
    fn suffix(&self) -> String {
        self.instance
            .as_ref()
            .map(|instance| format!("-{instance}"))
            .unwrap_or_default()
    }

    pub(super) fn user_agent(&self) -> String {
        format!("ndra/{} ({})", env!("CARGO_PKG_VERSION"), self.driver_name)
    }

    pub(super) fn defaults(&self) -> Defaults {
        Defaults {
            uplink: self.uplink.clone(),
            devices: None,
        }
    }

    /// The rules for interfaces, where these are the devices.
    pub(super) fn rules(&self) -> Option<Rules> {
        match &self.devices {
            DeviceSource::Slots(_) => None,
            DeviceSource::Interfaces {
                include,
                exclude,
                share,
                ..
            } => Some(Rules {
                include: include.clone(),
                exclude: exclude.clone(),
                share: share.clone(),
                uplink: self.uplink.clone(),
            }),
        }
    }

    pub(super) fn policy(&self) -> cni::Policy {
        cni::Policy {
            allowed_types: self.allow_cni_types.clone(),
            config_from: if self.class_config_only {
                ConfigFrom::ClassOnly
            } else {
                ConfigFrom::ClassOrClaim
            },
        }
    }

    pub(super) fn times(&self) -> Times {
        Times {
            cni: self.cni_timeout,
            del_attempts: self.del_attempts,
            release: self.release_timeout,
        }
    }

    /// Finds what cannot work, before anything is touched.
    pub fn check(&self) -> Result<(), ConfigError> {
        check_name("driver name", &self.driver_name, 63)?;
        check_name("node name", &self.node_name, 253)?;
        if let Some(instance) = &self.instance {
            check_name("instance", instance, 63)?;
        }
        for (flag, path) in [
            ("registry directory", &self.registry_dir),
            ("plugin directory", &self.plugin_dir),
            ("state directory", &self.state_dir),
            ("CDI directory", &self.cdi_dir),
            ("hook path", &self.hook_path),
            ("callback socket", &self.callback_socket),
            ("events socket", &self.events_socket),
            ("CRI socket", &self.cri_socket),
        ] {
            absolute(flag, path)?;
        }
        if let DeviceSource::Interfaces { source, .. } = &self.devices {
            match source {
                Source::Kernel { sysfs } => absolute("sysfs directory", sysfs)?,
                Source::File(file) => absolute("file of interfaces", file)?,
            }
        }
        if let Cni::Multus { socket } = &self.cni {
            absolute("Multus socket", socket)?;
            check_socket("Multus socket", socket)?;
        }
        check_socket("DRA socket", &self.dra_socket())?;
        check_socket("registration socket", &self.registration_socket())?;
        check_socket("callback socket", &self.callback_socket)?;
        check_socket("events socket", &self.events_socket)?;
        check_socket("CRI socket", &self.cri_socket)?;
        if !crate::cni::is_if_name(&self.uplink) {
            return Err(ConfigError::Uplink {
                name: self.uplink.clone(),
            });
        }
        if !self
            .driver_name
            .starts_with(|c: char| c.is_ascii_lowercase())
        {
            return Err(ConfigError::Vendor {
                name: self.driver_name.clone(),
            });
        }
        for (what, value, least, most) in [
            ("the hook's time-out", self.hook_timeout, 1, 600_000),
            (
                "the pause between rounds for orphans",
                self.orphan_retry,
                10,
                u64::MAX,
            ),
            (
                "the pause between looks for forgotten claims",
                self.forgotten_check,
                10,
                u64::MAX,
            ),
            // The kubelet waits 45 s for an answer.
            (
                "the time-out for reading a claim",
                self.api_timeout,
                1,
                40_000,
            ),
            ("the time-out of a release", self.release_timeout, 1, 40_000),
        ] {
            let (least, most) = (Duration::from_millis(least), Duration::from_millis(most));
            if value < least || value > most {
                return Err(ConfigError::Range {
                    what,
                    value,
                    least,
                    most,
                });
            }
        }
        // What waits must outlast what it waits for, or the better message is lost.
        for (outer, longer, inner, shorter) in [
            (
                "the runtime's time-out for the hook",
                // CDI counts in whole seconds.
                Duration::from_secs(self.hook_kill_after.as_secs()),
                "the hook's own",
                self.hook_timeout,
            ),
            (
                "the hook's time-out",
                self.hook_timeout,
                "the time-out of a CNI call",
                self.cni_timeout,
            ),
        ] {
            if longer <= shorter {
                return Err(ConfigError::Nesting {
                    outer,
                    longer,
                    inner,
                    shorter,
                });
            }
        }
        Ok(())
    }
}

/// Settings that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not a name that Kubernetes takes.
    #[error(
        "the {what} {name:?} is not a DNS subdomain of at most {limit} bytes: lower case letters, \
         digits, `-` and `.`, beginning and ending with a letter or digit"
    )]
    Name {
        /// Which name.
        what: &'static str,
        /// Its value.
        name: String,
        /// The longest allowed.
        limit: usize,
    },
    /// A path that depends on where the driver was started.
    #[error("the {what} {} is not an absolute path", path.display())]
    Relative {
        /// Which path.
        what: &'static str,
        /// Its value.
        path: PathBuf,
    },
    /// A socket path that the kernel cannot take.
    #[error("{what}: {reason}")]
    Socket {
        /// Which socket.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// An interface that no kernel has.
    #[error(
        "the uplink {name:?} is not an interface name: 1 to 15 bytes without `/`, `:` or space"
    )]
    Uplink {
        /// Its value.
        name: String,
    },
    /// Not a CDI vendor.
    #[error("the driver name {name:?} must begin with a letter: it is the vendor of CDI devices")]
    Vendor {
        /// Its value.
        name: String,
    },
    /// Too short or too long.
    #[error("{what} is {value:?}, it must be at least {least:?} and at most {most:?}")]
    Range {
        /// Which time.
        what: &'static str,
        /// Its value.
        value: Duration,
        /// The least.
        least: Duration,
        /// The most.
        most: Duration,
    },
    /// A path that cannot be written into JSON.
    #[error("the {what} {} is not UTF-8", path.display())]
    NotUtf8 {
        /// Which path.
        what: &'static str,
        /// Its value.
        path: PathBuf,
    },
    /// Time-outs that do not nest.
    #[error(
        "{outer} ({longer:?}) must be longer than {inner} ({shorter:?}), or its error message \
         never gets out"
    )]
    Nesting {
        /// What waits.
        outer: &'static str,
        /// How long.
        longer: Duration,
        /// What it waits for.
        inner: &'static str,
        /// How long that takes.
        shorter: Duration,
    },
}

/// DRA driver names have at most 63 bytes (KEP-3063), other names 253.
fn check_name(what: &'static str, name: &str, limit: usize) -> Result<(), ConfigError> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let label = |label: &str| {
        label.starts_with(plain)
            && label.ends_with(plain)
            && label.chars().all(|c| plain(c) || c == '-')
    };
    if name.len() > limit || !name.split('.').all(label) {
        return Err(ConfigError::Name {
            what,
            name: name.chars().take(80).collect(),
            limit,
        });
    }
    Ok(())
}

fn absolute(what: &'static str, path: &Path) -> Result<(), ConfigError> {
    if path.to_str().is_none() {
        return Err(ConfigError::NotUtf8 {
            what,
            path: path.into(),
        });
    }
    if path.is_absolute() {
        return Ok(());
    }
    Err(ConfigError::Relative {
        what,
        path: path.into(),
    })
}

fn check_socket(what: &'static str, path: &Path) -> Result<(), ConfigError> {
    socket::check_path(path).map_err(|error| ConfigError::Socket {
        what,
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::new("node-1");
        change(&mut config);
        config.check().unwrap_err().to_string()
    }

    #[test]
    fn the_cluster_settings_are_sound() {
        assert_eq!(Config::new("node-1").check(), Ok(()));
    }

    #[test]
    fn what_cannot_work_is_named() {
        insta::assert_snapshot!(words(|c| c.driver_name = "../x".into()), @r#"the driver name "../x" is not a DNS subdomain of at most 63 bytes: lower case letters, digits, `-` and `.`, beginning and ending with a letter or digit"#);
        insta::assert_snapshot!(words(|c| c.node_name = String::new()), @r#"the node name "" is not a DNS subdomain of at most 253 bytes: lower case letters, digits, `-` and `.`, beginning and ending with a letter or digit"#);
        insta::assert_snapshot!(words(|c| c.instance = Some("../x".into())), @r#"the instance "../x" is not a DNS subdomain of at most 63 bytes: lower case letters, digits, `-` and `.`, beginning and ending with a letter or digit"#);
        insta::assert_snapshot!(words(|c| c.state_dir = "state".into()), @"the state directory state is not an absolute path");
        insta::assert_snapshot!(words(|c| c.uplink = "eth0:1".into()), @r#"the uplink "eth0:1" is not an interface name: 1 to 15 bytes without `/`, `:` or space"#);
        insta::assert_snapshot!(words(|c| c.driver_name = "1dra".into()), @r#"the driver name "1dra" must begin with a letter: it is the vendor of CDI devices"#);
        insta::assert_snapshot!(words(|c| c.orphan_retry = Duration::ZERO), @"the pause between rounds for orphans is 0ns, it must be at least 10ms and at most 18446744073709551.615s");
        insta::assert_snapshot!(words(|c| c.api_timeout = Duration::from_secs(60)), @"the time-out for reading a claim is 60s, it must be at least 1ms and at most 40s");
        insta::assert_snapshot!(words(|c| c.hook_timeout = Duration::from_secs(30)), @"the runtime's time-out for the hook (30s) must be longer than the hook's own (30s), or its error message never gets out");
        insta::assert_snapshot!(words(|c| c.cni_timeout = Duration::from_secs(25)), @"the hook's time-out (25s) must be longer than the time-out of a CNI call (25s), or its error message never gets out");
        insta::assert_snapshot!(
            words(|c| c.plugin_dir = Path::new("/").join("p".repeat(110))), @"DRA socket: socket path /pppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppp/dra.sock is 120 bytes long, the limit is 107: choose a shorter directory");
    }
}
