//! A CRI runtime with CDI and OCI hooks, in containerd's and CRI-O's manner, without containers.
//!
//! [`Runtime::start`] serves `runtime.v1.RuntimeService` on a unix socket. A sandbox is a
//! record and a network namespace, or a file that stands for one; a container is a record and,
//! while the OCI runtime would know it, a bundle directory with a `config.json`. What the
//! callers and the hooks see is what containerd 2.3 with runc 1.5, or CRI-O 1.36 with crun,
//! would show them: CDI injection, the moment at which hooks run, their stdin, the words of
//! errors, the verbose info.
//!
//! What differs from the real things, and why:
//!
//! - **pid**: there is no init process. Every pid (OCI state, verbose info, `/proc/PID/ns/…`
//!   in specs) is that of the process that runs the mock, because it lives long enough.
//! - **Hook environment**: a hook without `env` gets an empty environment. runc and crun
//!   hand on their own, whatever that is; a hook must not count on it.
//! - **Hook time-out**: the hook's whole process group is killed, not its leader alone, so
//!   that nothing stays behind.
//! - **createContainer hooks** run on the host with the (empty) rootfs as working
//!   directory; startContainer and poststart hooks are not run, there is no container for
//!   them.
//! - **poststop failures** are logged and change nothing.
//! - **Exit code by request**: a container whose CRI annotations hold
//!   [`EXIT_CODE_ANNOTATION`] exits with that code as soon as it has started.
//! - **Memory only**: a new instance starts empty; what an instance made on disk goes with it.

mod annotations;
mod bundle;
mod cdi;
mod container;
mod cut;
mod fault;
mod flavor;
mod go_json;
mod hook;
mod info;
mod lifecycle;
mod names;
mod network;
mod oci_state;
mod query;
mod runtime;
mod sandbox;
mod service;
mod spec;
mod stage;
mod state;
mod words;

pub use container::EXIT_CODE_ANNOTATION;
pub use fault::{Faults, Point};
pub use flavor::{Flavor, UnknownFlavor};
pub use network::Namespaces;
pub use runtime::{Config, ControlError, Runtime, StartError};
pub use state::{ContainerInfo, ContainerState, SandboxInfo};
