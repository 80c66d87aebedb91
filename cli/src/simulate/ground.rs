//! Where a run takes place: in namespaces of its own, or where nothing of the kernel is
//! needed.

use std::path::{Path, PathBuf};

use ndra_netns::Mount;

use super::lane::{MultusKind, NetworkKind};
use super::{Args, Cni, Netns, home};
use crate::failure::Failure;
use crate::problem::{Place, Problem};

/// Where host-local keeps addresses when a configuration does not say.
pub(super) const ADDRESSES: &str = "/var/lib/cni";

/// Where plugins look for what the administrator of a host allows them.
const SETTINGS: &str = "/etc/cni";

/// What was settled before the first thread was started.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(super) network: NetworkKind,
    pub(super) multus: MultusKind,
}

/// Moves this process to where the run takes place, and says who answers the driver and who
/// makes interfaces there. To be called before any thread is started.
pub(super) fn enter(args: &Args) -> Result<Ground, Failure> {
    let multus = MultusKind::find(&args.multus)?;
    let cni = match (&multus, args.cni) {
        (MultusKind::Real(_), None) => Some(Cni::Exec),
        (MultusKind::Real(_), Some(Cni::Kernel | Cni::Record)) => {
            let mend = "leave --cni out, or --multus";
            let what = "the real Multus runs real CNI plugins";
            return Err(Problem::new(Place::file("--cni"), what, mend).into());
        }
        (_, wanted) => wanted,
    };
    let network = match &args.cri {
        Some(socket) => beside(socket, cni, &args.cni_path)?,
        None => apart(args, cni, &multus)?,
    };
    Ok(Ground { network, multus })
}

fn plugins(path: &std::ffi::OsStr) -> Vec<PathBuf> {
    std::env::split_paths(path).collect()
}

/// Where a real runtime lives: its namespaces are those of its node.
fn beside(socket: &Path, cni: Option<Cni>, path: &std::ffi::OsStr) -> Result<NetworkKind, Failure> {
    let network = match cni {
        None | Some(Cni::Kernel) => NetworkKind::Kernel,
        Some(Cni::Exec) => NetworkKind::Exec(plugins(path)),
        Some(Cni::Record) => NetworkKind::Record,
    };
    if !home::enter(socket)? {
        return Ok(network);
    }
    if let NetworkKind::Exec(path) = &network {
        // Addresses of other runs and of the runtime's own network are kept out of sight.
        home::aside(socket, &own_files(path)?)?;
    }
    Ok(network)
}

/// In namespaces of its own, where that is wanted or can be had.
fn apart(args: &Args, cni: Option<Cni>, multus: &MultusKind) -> Result<NetworkKind, Failure> {
    let wanted = match (args.netns, cni) {
        (Netns::Virtual, None | Some(Cni::Record)) | (Netns::Auto, Some(Cni::Record)) => {
            return Ok(NetworkKind::Record);
        }
        (Netns::Virtual, Some(Cni::Kernel | Cni::Exec)) => {
            return Err(refused("leave --netns virtual out"));
        }
        (Netns::Real, Some(Cni::Record)) => {
            return Err(refused(
                "--cni record records and needs none: leave one of them out",
            ));
        }
        (_, None | Some(Cni::Kernel)) => NetworkKind::Kernel,
        (_, Some(Cni::Exec)) => NetworkKind::Exec(plugins(&args.cni_path)),
    };
    if args.netns == Netns::Auto
        && let Err(why) = ndra_netns::probe()
    {
        if cni.is_some() {
            let mend = match multus {
                MultusKind::Played => "leave --cni out to play the network",
                MultusKind::Real(_) => "leave --multus out to play Multus and the network",
            };
            return Err(Failure::run(why.to_string(), mend));
        }
        eprintln!("the pods' network is played: {why}");
        return Ok(NetworkKind::Record);
    }
    let mounts = match &wanted {
        NetworkKind::Exec(path) => own_files(path)?,
        _ => Vec::new(),
    };
    let moved = ndra_netns::isolate(&mounts).and_then(|()| match multus {
        MultusKind::Played => Ok(()),
        // It has mounts of its own, and must see pods' namespaces all the same.
        MultusKind::Real(_) => ndra_netns::share(),
    });
    moved.map_err(|why| {
        Failure::run(
            why.to_string(),
            "--netns virtual needs nothing of the system",
        )
    })?;
    Ok(wanted)
}

fn refused(mend: &str) -> Failure {
    let what = "the kernel's links live in real network namespaces";
    Problem::new(Place::file("--cni"), what, mend).into()
}

/// Real plugins write where only this run sees it.
fn own_files(path: &[PathBuf]) -> Result<Vec<Mount>, Failure> {
    if !path.iter().any(|dir| dir.is_dir()) {
        let shown: Vec<_> = path.iter().map(|dir| dir.display().to_string()).collect();
        return Err(Problem::new(
            Place::file("--cni exec"),
            format!("no directory of CNI plugins is there: {}", shown.join(", ")),
            "install the CNI plugins, or name their directory with --cni-path or CNI_PATH",
        )
        .into());
    }
    let addresses = Path::new(ADDRESSES);
    let mut mounts = match addresses.parent() {
        Some(above) if !addresses.exists() => {
            vec![
                Mount::Empty(above.into()),
                Mount::Directory(addresses.into()),
            ]
        }
        _ => vec![Mount::Empty(addresses.into())],
    };
    // Not everybody may read what the host's administrator wrote there.
    if Path::new(SETTINGS).exists() {
        mounts.push(Mount::Empty(SETTINGS.into()));
    }
    Ok(mounts)
}
