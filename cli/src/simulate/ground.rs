//! Where a run takes place: in namespaces of its own, or where nothing of the kernel is
//! needed.

use std::path::Path;

use ndra_netns::Mount;

use super::lane::NetworkKind;
use super::{Args, Cni, Netns, home};
use crate::failure::Failure;
use crate::problem::{Place, Problem};

/// Where host-local keeps addresses when a configuration does not say.
pub(super) const ADDRESSES: &str = "/var/lib/cni";

/// Where plugins look for what the administrator of a host allows them.
const SETTINGS: &str = "/etc/cni";

/// Moves this process to where the run takes place, and says who makes interfaces there. To
/// be called before any thread is started.
pub(super) fn enter(args: &Args) -> Result<NetworkKind, Failure> {
    let plugins = || NetworkKind::Exec(std::env::split_paths(&args.cni_path).collect());
    if let Some(socket) = &args.cri {
        // The runtime's namespaces are those of its node.
        home::enter(socket)?;
        return Ok(match args.cni {
            None | Some(Cni::Kernel) => NetworkKind::Kernel,
            Some(Cni::Exec) => plugins(),
            Some(Cni::Record) => NetworkKind::Record,
        });
    }
    let wanted = match (args.netns, args.cni) {
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
        (_, Some(Cni::Exec)) => plugins(),
    };
    if args.netns == Netns::Auto
        && let Err(why) = ndra_netns::probe()
    {
        if args.cni.is_some() {
            return Err(Failure::run(
                why.to_string(),
                "leave --cni out to play the network",
            ));
        }
        eprintln!("the pods' network is played: {why}");
        return Ok(NetworkKind::Record);
    }
    let mounts = match &wanted {
        NetworkKind::Exec(path) => own_files(path)?,
        _ => Vec::new(),
    };
    ndra_netns::isolate(&mounts).map_err(|why| {
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
fn own_files(path: &[std::path::PathBuf]) -> Result<Vec<Mount>, Failure> {
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
