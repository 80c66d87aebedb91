//! This process, and all it will start, moves into namespaces of its own.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::inside::here;
use crate::{Links, Mount, Trouble, table};

/// The node's link, on which macvlan interfaces are made.
pub const UPLINK: &str = "eth0";
/// Its other end, the cable's far side.
pub const UPLINK_PEER: &str = "eth0p";
/// The node's own address, of a range that is for documentation.
pub const NODE_ADDRESS: (Ipv4Addr, u8) = (Ipv4Addr::new(192, 0, 2, 2), 24);
/// Where the default route of the node leads. Nobody is there.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// Moves the whole process into new mount and network namespaces, and into a new user
/// namespace where it may not do so without. There it has `lo` and [`UPLINK`], both up, and
/// `mounts` that nobody else sees.
///
/// To be called before the first thread is started: the kernel refuses it afterwards. A
/// process in which it failed half way is of no use; [`crate::probe`] tells beforehand.
pub fn isolate(mounts: &[Mount]) -> Result<(), Trouble> {
    enter()?;
    for one in mounts {
        one.make()?;
    }
    here(|| {
        let links = Links::open()?;
        links.up("lo")?;
        links.add_veth(UPLINK, UPLINK_PEER)?;
        links.up(UPLINK_PEER)?;
        links.up(UPLINK)?;
        let (address, prefix) = NODE_ADDRESS;
        links.add_address(UPLINK, address.into(), prefix)?;
        links.add_default_route(UPLINK, GATEWAY)
    })
    .map_err(Trouble::at("cannot make the node's link eth0"))
}

/// New namespaces, and nothing in them yet.
pub(crate) fn enter() -> Result<(), Trouble> {
    let own = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET;
    let root = nix::unistd::geteuid().is_root();
    match unshare(own) {
        Ok(()) if root => {}
        // Root of a container may lack the privilege, too.
        _ => enter_as_user(own)?,
    }
    private().map_err(Trouble::at("cannot keep mounts to this process"))
}

fn enter_as_user(own: CloneFlags) -> Result<(), Trouble> {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    unshare(own | CloneFlags::CLONE_NEWUSER).map_err(Trouble::at("cannot make namespaces"))?;
    let write = |file: &str, text: String| {
        let path = Path::new("/proc/self").join(file);
        fs::write(&path, text).map_err(Trouble::at(format!("cannot write {}", path.display())))
    };
    // The kernel wants this order.
    write("setgroups", "deny".into())?;
    write("uid_map", format!("0 {uid} 1"))?;
    write("gid_map", format!("0 {gid} 1"))
}

/// Mounts made from now on are seen by this process and its children only.
fn private() -> io::Result<()> {
    propagate(MsFlags::MS_PRIVATE)
}

/// The same, but what the namespace that this one was copied from mounts later is seen here,
/// too, if it [shares](share) its mounts.
pub(crate) fn follow() -> io::Result<()> {
    propagate(MsFlags::MS_SLAVE)
}

/// What is mounted from now on is seen by programs of [`crate::in_mounts`] that run already,
/// as on a node by a pod whose volume has mount propagation `HostToContainer`.
///
/// To be called in namespaces of one's own, or others would see it, too.
pub fn share() -> Result<(), Trouble> {
    propagate(MsFlags::MS_SHARED).map_err(Trouble::at("cannot share mounts with children"))
}

fn propagate(how: MsFlags) -> io::Result<()> {
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | how, none)?;
    Ok(())
}

/// Moves the whole process into mounts of its own, which follow those that it had: what is
/// mounted there later is seen here if it is mounted below a [shared](shares) mount, and
/// nothing that is mounted here is seen there. It has `mounts`, and [shares](share) all.
///
/// To be called before the first thread is started.
pub fn aside(mounts: &[Mount]) -> Result<(), Trouble> {
    let what = "cannot make mounts of its own";
    unshare(CloneFlags::CLONE_NEWNS).map_err(Trouble::at(what))?;
    follow().map_err(Trouble::at(what))?;
    for one in mounts {
        one.make()?;
    }
    share()
}

/// Whether mounts below `path`, which need not exist, reach namespaces copied from this one.
pub fn shares(path: &Path) -> Result<bool, Trouble> {
    let what = "cannot read the list of mounts";
    let there = path.ancestors().find_map(|above| above.canonicalize().ok());
    let table = fs::read_to_string("/proc/self/mountinfo").map_err(Trouble::at(what))?;
    Ok(there.is_some_and(|path| table::shares(&table, &path)))
}

impl Mount {
    pub(crate) fn make(&self) -> Result<(), Trouble> {
        let none: Option<&str> = None;
        match self {
            Self::Empty(at) => {
                let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
                let made = mount(Some("tmpfs"), at, Some("tmpfs"), flags, Some("mode=0755"));
                made.map_err(Trouble::at(format!("cannot mount over {}", at.display())))
            }
            Self::Directory(at) => {
                fs::create_dir_all(at).map_err(Trouble::at(format!("cannot make {}", at.display())))
            }
            Self::Bind { from, at } => {
                let what = format!("cannot show {} at {}", from.display(), at.display());
                let made = target(from, at).and_then(|()| {
                    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
                    Ok(mount(Some(from), at, none, flags, none)?)
                });
                made.map_err(Trouble::at(what))
            }
        }
    }
}

/// Makes what is mounted over, of the right kind, unless it is there.
fn target(from: &Path, at: &Path) -> io::Result<()> {
    let kind = fs::metadata(from)?;
    if at.exists() {
        return Ok(());
    }
    if kind.is_dir() {
        return fs::create_dir_all(at);
    }
    if let Some(above) = at.parent() {
        fs::create_dir_all(above)?;
    }
    fs::File::create_new(at).map(drop)
}
