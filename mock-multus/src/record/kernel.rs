//! Links that the kernel makes, by netlink, with errors in the words of the real plugins.

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use ndra_core::cni::CniResult;
use ndra_netns::{Link, Links, MacVlan, here, inside};

use super::link::{Master, Seen, Wanted, exists, shown};
use super::macvlan::any_mac;
use super::state::Netns;

/// How long an IPv6 address may be tried for a double, as in the real plugins.
const SETTLE: Duration = Duration::from_secs(5);

/// Macvlan's modes by the kernel's numbers.
const MODES: [(u32, &str); 4] = [(1, "private"), (2, "vepa"), (4, "bridge"), (8, "passthru")];

/// What Go's netlink library says where the kernel says a number.
fn text(error: &io::Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or_default();
    words.to_lowercase()
}

pub(super) fn master(name: &str) -> Result<Master, String> {
    let found = here(|| {
        let links = Links::open()?;
        if !name.is_empty() {
            return links.find(name);
        }
        let index = links.default_route()?;
        let all = links.list()?;
        Ok(all.into_iter().find(|link| Some(link.index) == index))
    });
    match found.map_err(|error| text(&error))? {
        Some(Link { index, mtu, .. }) => Ok(Master { index, mtu }),
        None if name.is_empty() => Err("no default route interface found".into()),
        None => Err("Link not found".into()),
    }
}

/// Makes an interface straight in the pod's namespace, down. It gets its name there: under
/// it the node may have a link of its own.
pub(super) fn make(master: &Master, wanted: &Wanted<'_>) -> Result<String, String> {
    let path = &wanted.netns.path;
    let netns =
        File::open(path).map_err(|e| format!("failed to open netns {path:?}: {}", text(&e)))?;
    let random = any_mac();
    let first: String = shown(&random).replace(':', "");
    let first = format!("mac{first}");
    let link = MacVlan {
        name: &first,
        master: master.index,
        mode: wanted.mode,
        mac: wanted.mac,
        mtu: wanted.mtu,
    };
    here(|| Links::open()?.add_macvlan(&link, Some(&netns)))
        .map_err(|e| format!("failed to create macvlan: {}", text(&e)))?;
    let named = inside(path, || -> Result<String, String> {
        let links = Links::open().map_err(|e| text(&e))?;
        if let Err(error) = links.rename(&first, wanted.name) {
            let _ = links.delete(&first);
            return Err(match error.kind() {
                io::ErrorKind::AlreadyExists => exists(wanted.name),
                _ => format!(
                    "failed to rename macvlan to {:?}: {}",
                    wanted.name,
                    text(&error)
                ),
            });
        }
        let made = links.find(wanted.name).map_err(|e| text(&e))?;
        made.map(|link| shown(&link.mac)).ok_or_else(|| {
            format!(
                "failed to refetch macvlan {:?}: Link not found",
                wanted.name
            )
        })
    });
    named.map_err(|e| e.to_string())?
}

/// Addresses, then up, then routes, as the real plugins do.
pub(super) fn set_up(netns: &Netns, name: &str, result: &CniResult) -> Result<(), String> {
    let configured = inside(&netns.path, || -> Result<(), String> {
        let links = Links::open().map_err(|e| text(&e))?;
        for ip in &result.ips {
            let (address, prefix) = (ip.address.addr(), ip.address.prefix_len());
            links.add_address(name, address, prefix).map_err(|e| {
                format!(
                    "failed to add IP addr {} to {name:?}: {}",
                    ip.address,
                    text(&e)
                )
            })?;
        }
        links
            .up(name)
            .map_err(|e| format!("failed to set {name:?} UP: {}", text(&e)))?;
        let gateway = |v4: bool| {
            let all = result.ips.iter().filter_map(|ip| ip.gateway);
            { all }.find(|gateway| gateway.is_ipv4() == v4)
        };
        if gateway(false).is_some() {
            settle(&links, name)
                .map_err(|e| format!("failed to settle addresses for {name:?}: {e}"))?;
        }
        for route in &result.routes {
            let to = route.dst;
            let via = route.gw.or_else(|| gateway(to.addr().is_ipv4()));
            links
                .add_route(name, (to.network(), to.prefix_len()), via)
                .map_err(|e| {
                    let via = via.map_or_else(|| "<nil>".into(), |via| via.to_string());
                    let (to, mask) = (to.network(), hex(&to));
                    let why = text(&e);
                    format!(
                        "failed to add route '{{{to} {mask}}} via {via} dev {name} metric 0 (Scope: universe, Table: 0)': {why}"
                    )
                })?;
        }
        Ok(())
    });
    configured.map_err(|e| e.to_string())?
}

/// A mask as Go prints it among other things.
fn hex(net: &IpNet) -> String {
    let bytes = match net.netmask() {
        IpAddr::V4(mask) => mask.octets().to_vec(),
        IpAddr::V6(mask) => mask.octets().to_vec(),
    };
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn settle(links: &Links, name: &str) -> Result<(), String> {
    let end = Instant::now() + SETTLE;
    while links.settling(name).map_err(|e| text(&e))? {
        if Instant::now() > end {
            return Err(format!(
                "link {name} still has tentative addresses after 5 seconds"
            ));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

pub(super) fn see(netns: &Path, name: &str) -> Option<Seen> {
    let (link, addresses) = inside(netns, || -> io::Result<_> {
        let links = Links::open()?;
        let Some(link) = links.find(name)? else {
            return Ok(None);
        };
        Ok(Some((link, links.addresses(name)?)))
    })
    .ok()?
    .ok()??;
    let mode = MODES
        .iter()
        .find(|(number, _)| link.macvlan == Some(*number));
    let ips = addresses.into_iter();
    Some(Seen {
        mac: shown(&link.mac),
        mode: mode.map(|(_, name)| (*name).to_owned()).unwrap_or_default(),
        ips: ips
            .filter_map(|(ip, prefix)| IpNet::new(ip, prefix).ok())
            .collect(),
        up: link.up,
    })
}

pub(super) fn delete(netns: &Netns, name: &str) -> Result<(), String> {
    let deleted = inside(&netns.path, || -> io::Result<()> {
        let links = Links::open()?;
        match links.find(name)? {
            Some(_) => links.delete(name),
            None => Ok(()),
        }
    });
    match deleted {
        Ok(deleted) => deleted.map_err(|e| format!("failed to delete {name:?}: {}", text(&e))),
        // It went with its links.
        Err(_) => Ok(()),
    }
}
