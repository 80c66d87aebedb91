//! What sysfs knows of an interface and netlink does not: driver, speed, and where the
//! hardware sits.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Component, Path};

use super::Interface;

/// More than any attribute read here has, in bytes.
const MAX_TEXT: u64 = 256;

/// Adds what `root` (usually `/sys`) says of an interface with this number and address. A
/// sysfs that was mounted for another network namespace shows that one's interfaces: what
/// does not agree with netlink is not believed.
pub(super) fn complete(root: &Path, index: u32, interface: &mut Interface) {
    // No path from an unchecked name.
    if !crate::cni::is_if_name(&interface.name) {
        return;
    }
    let dir = root.join("class/net").join(&interface.name);
    let same_index = number(&dir.join("ifindex")) == Some(i64::from(index));
    let same_mac =
        text(&dir.join("address")).as_deref() == Some(interface.mac.as_deref().unwrap_or_default());
    if !same_index || !same_mac {
        return;
    }
    // -1 for an interface that does not know.
    interface.speed = number(&dir.join("speed"))
        .and_then(|speed| u32::try_from(speed).ok())
        .filter(|speed| (1..=100_000_000).contains(speed));
    let device = dir.join("device");
    interface.driver = fs::read_link(device.join("driver"))
        .ok()
        .and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
    let Ok(place) = fs::canonicalize(&device) else {
        return;
    };
    // A virtio NIC hangs below its PCI function, which is what has a place.
    interface.numa_node = place
        .ancestors()
        .take(4)
        .find_map(|above| number(&above.join("numa_node")))
        .filter(|node| *node >= 0);
    let parts: Vec<&str> = place
        .components()
        .filter_map(|part| match part {
            Component::Normal(part) => part.to_str(),
            _ => None,
        })
        .collect();
    interface.pci_bus_id = parts
        .iter()
        .rev()
        .find(|part| is_bus_id(part))
        .map(|part| (*part).to_owned());
    if interface.pci_bus_id.is_some() {
        interface.pcie_root = parts
            .iter()
            .find(|part| is_root(part))
            .map(|part| (*part).to_owned());
    }
}

/// `0000:3b:00.0`: domain, bus, device and function.
fn is_bus_id(text: &str) -> bool {
    let hex = |text: &str, len: usize| {
        text.len() == len && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let Some((place, function)) = text.split_once('.') else {
        return false;
    };
    let parts: Vec<&str> = place.split(':').collect();
    matches!(parts.as_slice(), [domain, bus, device]
        if (hex(domain, 4) || hex(domain, 5) || hex(domain, 8)) && hex(bus, 2) && hex(device, 2))
        && matches!(function.as_bytes(), [b'0'..=b'7'])
}

/// `pci0000:3a`: a root complex, as KEP-4381 names it.
fn is_root(text: &str) -> bool {
    let Some((domain, bus)) = text.strip_prefix("pci").and_then(|id| id.split_once(':')) else {
        return false;
    };
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    (4..=8).contains(&domain.len()) && hex(domain) && bus.len() == 2 && hex(bus)
}

fn text(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    let file = File::open(path).ok()?;
    file.take(MAX_TEXT).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    Some(text.trim().to_owned())
}

fn number(path: &Path) -> Option<i64> {
    text(path)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A sysfs with one virtio NIC.
    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let function = root
            .path()
            .join("devices/pci0000:3a/0000:3a:01.0/0000:3b:00.0");
        let net = function.join("virtio0/net/eth1");
        fs::create_dir_all(&net).unwrap();
        fs::create_dir_all(root.path().join("class/net")).unwrap();
        fs::create_dir_all(root.path().join("bus/virtio/drivers/virtio_net")).unwrap();
        symlink(&net, root.path().join("class/net/eth1")).unwrap();
        symlink(function.join("virtio0"), net.join("device")).unwrap();
        let driver = root.path().join("bus/virtio/drivers/virtio_net");
        symlink(driver, function.join("virtio0/driver")).unwrap();
        for (file, text) in [
            ("ifindex", "7\n"),
            ("address", "02:00:00:00:00:01\n"),
            ("speed", "25000\n"),
        ] {
            fs::write(net.join(file), text).unwrap();
        }
        fs::write(function.join("numa_node"), "1\n").unwrap();
        root
    }

    fn eth1() -> Interface {
        Interface {
            name: "eth1".into(),
            mac: Some("02:00:00:00:00:01".into()),
            ..Interface::default()
        }
    }

    #[test]
    fn a_nic_is_found_where_it_sits() {
        let root = tree();
        let mut interface = eth1();
        complete(root.path(), 7, &mut interface);
        assert_eq!(
            interface,
            Interface {
                driver: Some("virtio_net".into()),
                speed: Some(25000),
                pci_bus_id: Some("0000:3b:00.0".into()),
                pcie_root: Some("pci0000:3a".into()),
                numa_node: Some(1),
                ..eth1()
            }
        );
    }

    #[test]
    fn another_namespaces_sysfs_is_not_believed() {
        let root = tree();
        let mut interface = eth1();
        complete(root.path(), 8, &mut interface);
        assert_eq!(interface, eth1());
        let mut other = Interface {
            mac: Some("02:00:00:00:00:02".into()),
            ..eth1()
        };
        let before = other.clone();
        complete(root.path(), 7, &mut other);
        assert_eq!(other, before);
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let root = tree();
        let net = root.path().join("class/net/eth1");
        fs::write(net.join("speed"), "-1\n").unwrap();
        fs::write(net.join("device/../numa_node"), "-1\n").unwrap();
        let mut interface = eth1();
        complete(root.path(), 7, &mut interface);
        assert_eq!((interface.speed, interface.numa_node), (None, None));
        // A name that would lead elsewhere is no path.
        let mut hostile = Interface {
            name: "../../class/net/eth1".into(),
            ..eth1()
        };
        let before = hostile.clone();
        complete(root.path(), 7, &mut hostile);
        assert_eq!(hostile, before);
    }

    #[test]
    fn addresses_have_a_form() {
        assert!(is_bus_id("0000:3b:00.0") && is_bus_id("10000:e1:00.7"));
        for other in [
            "0000:3b:00",
            "0000:3b:00.8",
            "pci0000:3a",
            "virtio0",
            "3b:00.0",
        ] {
            assert!(!is_bus_id(other), "{other}");
        }
        assert!(is_root("pci0000:3a") && !is_root("0000:3a:00.0") && !is_root("pci0000:3"));
    }
}
