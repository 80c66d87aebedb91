//! What of the node is real in a run, and what is played: chosen once, before anything
//! starts.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::Flavor;
use super::parts::Endpoint;
use crate::problem::{Place, Problem};

/// One choice for every part of the node that comes in more than one kind.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    pub(crate) runtime: RuntimeKind,
    pub(crate) multus: MultusKind,
    pub(crate) network: NetworkKind,
}

/// Who starts containers.
#[derive(Clone, Debug)]
pub(crate) enum RuntimeKind {
    /// The mock, behaving like this runtime.
    Played(Flavor),
    /// A real one that runs already.
    Found(Box<Endpoint>),
}

/// Who answers the delegate API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MultusKind {
    /// The mock.
    Played,
    /// The real thick daemon, which is this program.
    Real(PathBuf),
}

/// The word for the mock.
const PLAYED: &str = "played";

impl MultusKind {
    /// What `--multus` asks for. A bare name is looked up on PATH.
    pub(crate) fn find(wanted: &Path) -> Result<Self, Problem> {
        if wanted == Path::new(PLAYED) {
            return Ok(Self::Played);
        }
        let bare = !wanted.as_os_str().as_encoded_bytes().contains(&b'/');
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = match bare {
            true => std::env::split_paths(&path)
                .map(|directory| directory.join(wanted))
                .find(|file| is_program(file)),
            false => Some(wanted.to_owned()).filter(|file| is_program(file)),
        };
        let found = found.and_then(|file| file.canonicalize().ok());
        found.map(Self::Real).ok_or_else(|| {
            let what = match bare {
                true => "no such program on PATH",
                false => "is not a program that can be run",
            };
            Problem::new(
                Place::file(format!("--multus {}", wanted.display())),
                what,
                "name the thick daemon, multus-daemon of Multus 4.3 or newer, by its path; \
                 `scripts/real-tools multus` installs it, and `--multus played` does without",
            )
        })
    }
}

fn is_program(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Who makes interfaces, and in which network namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NetworkKind {
    /// Nobody: what plugins would do is recorded, and files stand for namespaces.
    Record,
    /// The kernel, asked by the played plugins, in namespaces of the pods' own.
    Kernel,
    /// Real plugins from these directories, in namespaces of the pods' own.
    Exec(Vec<PathBuf>),
}

impl NetworkKind {
    /// Whether pods have namespaces of the kernel's.
    pub(crate) fn real(&self) -> bool {
        *self != Self::Record
    }
}

impl Lane {
    /// For the head of a report: the runtime, then Multus with its network.
    pub(crate) fn words(&self) -> [String; 2] {
        let runtime = match &self.runtime {
            RuntimeKind::Played(flavor) => flavor.to_string(),
            RuntimeKind::Found(endpoint) => endpoint.words(),
        };
        let network = match self.network {
            NetworkKind::Record => "recorded",
            NetworkKind::Kernel => "kernel links",
            NetworkKind::Exec(_) => "CNI plugins",
        };
        let multus = match self.multus {
            MultusKind::Played => format!("Multus ({network})"),
            MultusKind::Real(_) => format!("real Multus ({network})"),
        };
        [runtime, multus]
    }
}
