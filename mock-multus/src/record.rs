//! Plugins that answer as macvlan with host-local, static or no IPAM answer, and remember
//! what they made: without a kernel, or with links that it makes.

mod args;
mod chain;
mod fixed;
mod host_local;
mod kernel;
mod link;
mod macvlan;
mod range;
mod skel;
mod state;

#[cfg(test)]
mod recordings;

use std::net::IpAddr;

use ipnet::IpNet;
use ndra_core::cni::CniError;
use serde_json::Value;

pub(crate) use chain::describe;
pub use chain::{PluginFailure, RecordFailure};
pub(crate) use macvlan::parse_mac;
pub(crate) use state::Netns;
pub use state::{Allocation, Interface, State};

/// Which node is played.
#[derive(Clone, Debug)]
pub struct RecordConfig {
    /// The node's own links. The first has the default route, and is the master where a
    /// configuration names none.
    pub links: Vec<String>,
}

impl Default for RecordConfig {
    /// A node with `eth0`.
    fn default() -> Self {
        Self {
            links: vec!["eth0".into()],
        }
    }
}

/// The plugins, and the node they work on. Clones share the node.
///
/// Network namespaces are paths: a namespace exists while its path does, and takes its
/// interfaces along when it goes.
#[derive(Clone, Debug, Default)]
pub struct Record {
    wire: Wire,
    state: State,
}

/// Who makes links.
#[derive(Clone, Debug)]
enum Wire {
    /// Nobody: they are remembered.
    Played(RecordConfig),
    /// The kernel, in the namespace that this process is in.
    Kernel,
}

impl Default for Wire {
    fn default() -> Self {
        Self::Played(RecordConfig::default())
    }
}

/// The environment of one plugin run.
#[derive(Clone, Copy, Debug)]
pub struct PluginCall<'a> {
    /// `CNI_COMMAND`.
    pub command: &'a str,
    /// `CNI_CONTAINERID`.
    pub container_id: &'a str,
    /// `CNI_NETNS`.
    pub netns: &'a str,
    /// `CNI_IFNAME`.
    pub if_name: &'a str,
    /// `CNI_ARGS`.
    pub args: &'a str,
}

/// Where the texts of the plugins say that they looked for others.
const CNI_PATH: &str = "/opt/cni/bin";

impl Record {
    /// Plugins on a node with `config`'s links, where `state` is what happened before.
    pub fn new(config: RecordConfig, state: State) -> Self {
        let wire = Wire::Played(config);
        Self { wire, state }
    }

    /// Plugins whose links the kernel makes, on the node whose network namespace this
    /// process is in. Addresses are kept in `state` as elsewhere.
    pub fn kernel(state: State) -> Self {
        let wire = Wire::Kernel;
        Self { wire, state }
    }

    /// What the plugins made so far. Give it to a successor, as a node outlives its daemons.
    pub fn state(&self) -> State {
        self.state.clone()
    }

    /// Runs one plugin as a process would: environment and standard input in, what it
    /// prints out (`None` where it prints nothing).
    pub fn run(
        &self,
        plugin: &str,
        call: &PluginCall<'_>,
        stdin: &[u8],
    ) -> Result<Option<Value>, CniError> {
        if !matches!(plugin, "macvlan" | "host-local" | "static") {
            return Err(internal(not_found(plugin)));
        }
        skel::run(self, plugin, call, stdin)
    }
}

/// What an IPAM plugin answers to ADD.
#[derive(Debug)]
struct IpamResult {
    ips: Vec<(IpNet, Option<IpAddr>)>,
    /// As the configuration has them.
    routes: Value,
}

/// An IPAM plugin behind macvlan. Errors are its `msg`.
trait Ipam {
    fn add(&mut self, config: &Value, call: &PluginCall<'_>) -> Result<IpamResult, String>;
    fn check(&mut self, config: &Value, call: &PluginCall<'_>) -> Result<(), String>;
    fn del(&mut self, config: &Value, call: &PluginCall<'_>) -> Result<(), String>;
}

/// What libcni and plugins that delegate say of a plugin that is not installed.
fn not_found(plugin: &str) -> String {
    format!("failed to find plugin {plugin:?} in path [{CNI_PATH}]")
}

/// An error without a code of its own.
fn internal(msg: impl Into<String>) -> CniError {
    CniError {
        code: 999,
        msg: msg.into(),
        details: String::new(),
    }
}
