//! The interface behind an allocated device, and the network that fits on it.
//!
//! The scheduler counts who is on which interface. A network on another one than the
//! allocated would make its books wrong, and one that takes the node's uplink away would
//! cut the node off.

use serde_json::{Map, Value};

use super::Defaults;
use super::problem::Problem;
use crate::cni::ConfigList;
use crate::devices::{Devices, NodeDevice, SLOT, Usage};
use crate::shown::{plain, quoted};

/// The plugin that moves an interface of the node into a pod.
const HOST_DEVICE: &str = "host-device";

/// Keys by which that plugin finds its interface.
const HOST_DEVICE_KEYS: [&str; 4] = ["device", "hwaddr", "kernelpath", "pciBusID"];

/// What is under an attachment.
pub(super) enum Ground<'a> {
    /// A slot: any interface, by name the uplink.
    Slot {
        uplink: &'a str,
        devices: Option<&'a Devices>,
    },
    /// An interface.
    Device {
        device: &'a NodeDevice,
        uplink: bool,
    },
}

impl<'a> Ground<'a> {
    /// What an allocated device means. `None` when the node does not have it.
    pub(super) fn find(defaults: &'a Defaults, device: &str) -> Option<Self> {
        let uplink = &defaults.uplink;
        let Some(devices) = defaults.devices.as_deref() else {
            return Some(Self::Slot {
                uplink,
                devices: None,
            });
        };
        if let Some(device) = devices.find(device) {
            return Some(Self::Device {
                device,
                uplink: devices.is_uplink(&device.interface.name),
            });
        }
        // Allocated when the driver offered slots.
        let number = device.strip_prefix(SLOT)?;
        let plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        plain.then_some(Self::Slot {
            uplink,
            devices: Some(devices),
        })
    }

    /// The network of a claim that asks for none.
    pub(super) fn network(&self) -> ConfigList {
        match self {
            Self::Slot { uplink, .. } => ConfigList::macvlan(uplink),
            Self::Device { device, .. } => match device.usage {
                Usage::Shared => ConfigList::macvlan(&device.interface.name),
                Usage::Whole => ConfigList::host_device(&device.interface.name),
            },
        }
    }

    /// Puts a network that stands at `path` on the device. Every plugin of it: where the first
    /// one makes no interface, as one for addresses does not, a later one may.
    pub(super) fn fit(&self, mut network: ConfigList, path: &str) -> Result<ConfigList, Problem> {
        let many = network.plugins.len() > 1;
        for (index, plugin) in network.plugins.iter_mut().enumerate() {
            if let Some((message, mend)) = self.put(plugin) {
                let place = match many {
                    true => format!("{path}.plugins[{index}]"),
                    false => path.to_owned(),
                };
                return Err(Problem::new(place, message, mend));
            }
        }
        Ok(network)
    }

    /// Puts one plugin on the device, or says why not.
    fn put(&self, plugin: &mut Map<String, Value>) -> Option<Wrong> {
        let kind = text(plugin, "type").unwrap_or_default().to_owned();
        match self {
            Self::Slot { uplink, devices } => slot(plugin, &kind, uplink, *devices),
            Self::Device { device, uplink } => match (kind.as_str(), device.usage) {
                (HOST_DEVICE, Usage::Shared) => Some(taken_as_a_whole(device, *uplink)),
                ("macvlan", Usage::Shared) if is_passthru(plugin) => {
                    Some(taken_by_passthru(device, *uplink))
                }
                (HOST_DEVICE, Usage::Whole) => host_device(plugin, device),
                ("macvlan" | "ipvlan" | "vlan", _) => on_top(plugin, "master", device),
                ("bridge", _) if device.interface.bridge.is_some() => {
                    on_top(plugin, "bridge", device)
                }
                _ => None,
            },
        }
    }
}

/// What is wrong, and what to do.
type Wrong = (String, String);

fn text<'a>(plugin: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    let text = plugin.get(key)?.as_str()?;
    (!text.is_empty()).then_some(text)
}

/// In this mode the kernel hands everything that comes to the interface below to the one above,
/// in the pod.
fn is_passthru(macvlan: &Map<String, Value>) -> bool {
    text(macvlan, "mode") == Some("passthru")
}

/// Why a device that is shared cannot be had alone.
fn others_need(device: &NodeDevice, uplink: bool) -> String {
    let name = plain(&device.interface.name);
    match uplink {
        true => format!("{name} is the node's uplink, which every pod of the node needs"),
        false => format!("the allocated device is a share of {name}, which others use"),
    }
}

fn taken_by_passthru(device: &NodeDevice, uplink: bool) -> Wrong {
    let what = others_need(device, uplink);
    (
        format!("macvlan in mode passthru takes all that comes to an interface, and {what}"),
        "use mode bridge, or let the request name a DeviceClass of whole interfaces".into(),
    )
}

fn taken_as_a_whole(device: &NodeDevice, uplink: bool) -> Wrong {
    let what = others_need(device, uplink);
    (
        format!("the plugin host-device takes an interface away from the node, and {what}"),
        "use a plugin that makes an interface on it, such as macvlan, or let the request name a \
         DeviceClass of whole interfaces"
            .into(),
    )
}

fn slot(
    plugin: &Map<String, Value>,
    kind: &str,
    uplink: &str,
    devices: Option<&Devices>,
) -> Option<Wrong> {
    let is_uplink =
        |name: &str| name == uplink || devices.is_some_and(|devices| devices.is_uplink(name));
    // Without one, the plugin takes that with the default route.
    let master = text(plugin, "master").unwrap_or(uplink);
    if kind == "macvlan" && is_passthru(plugin) && is_uplink(master) {
        return Some((
            format!(
                "macvlan in mode passthru would take all that comes to the node's uplink {}",
                plain(master)
            ),
            "use mode bridge, or name another interface".into(),
        ));
    }
    let device = text(plugin, "device").filter(|_| kind == HOST_DEVICE)?;
    is_uplink(device).then(|| {
        (
            format!(
                "the plugin host-device would take the node's uplink {} away from the node",
                plain(device)
            ),
            "name another interface, or use a plugin that makes one on it, such as macvlan".into(),
        )
    })
}

/// The plugin takes the allocated interface, by whatever key; by none, it is told which.
fn host_device(plugin: &mut Map<String, Value>, device: &NodeDevice) -> Option<Wrong> {
    let interface = &device.interface;
    let mut given = false;
    for key in HOST_DEVICE_KEYS {
        let Some(wanted) = text(plugin, key) else {
            continue;
        };
        given = true;
        let same = match key {
            "device" => wanted == interface.name,
            "hwaddr" => interface.mac.as_deref() == Some(&wanted.to_lowercase()[..]),
            "pciBusID" => interface.pci_bus_id.as_deref() == Some(wanted),
            // It names a place in sysfs, in more than one way.
            _ => false,
        };
        if !same {
            return Some(another(key, wanted, &interface.name));
        }
    }
    if !given {
        plugin.insert("device".into(), interface.name.clone().into());
    }
    None
}

/// The plugin makes an interface on the allocated one; where it names none, it is told which.
fn on_top(plugin: &mut Map<String, Value>, key: &str, device: &NodeDevice) -> Option<Wrong> {
    if plugin.get("linkInContainer") == Some(&Value::Bool(true)) {
        return None;
    }
    let name = &device.interface.name;
    match text(plugin, key) {
        None => {
            plugin.insert(key.into(), name.clone().into());
            None
        }
        Some(wanted) if wanted == name => None,
        Some(wanted) => Some(another(key, wanted, name)),
    }
}

fn another(key: &str, wanted: &str, allocated: &str) -> Wrong {
    (
        format!(
            "{key} is {}, but the allocated device is {}",
            quoted(wanted),
            plain(allocated)
        ),
        format!(
            "leave {key} out to take the allocated one, or select the wanted one: \
             device.attributes[DRIVER].name == NAME in a CEL selector of the request or its class"
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::devices::Interface;

    fn defaults() -> Defaults {
        let device = |name: &str, usage| NodeDevice {
            name: name.into(),
            interface: Interface {
                name: name.into(),
                mac: Some("02:00:00:00:00:0a".into()),
                pci_bus_id: Some("0000:3b:00.0".into()),
                ..Interface::default()
            },
            usage,
            away: false,
        };
        let devices = [
            device("eth0", Usage::Shared),
            device("bond0", Usage::Shared),
            device("eth1", Usage::Whole),
        ];
        Defaults {
            devices: Some(Arc::new(Devices::new(devices, ["eth0".to_owned()]))),
            ..Defaults::default()
        }
    }

    fn list(plugin: Value) -> ConfigList {
        serde_json::from_value(json!({ "cniVersion": "1.0.0", "name": "n", "plugins": [plugin] }))
            .unwrap()
    }

    /// The first plugin on a device, or why not.
    fn on(defaults: &Defaults, device: &str, plugin: Value) -> String {
        let Some(ground) = Ground::find(defaults, device) else {
            return "no such device".into();
        };
        match ground.fit(list(plugin), "config") {
            Ok(fits) => Value::Object(fits.plugins[0].clone()).to_string(),
            Err(problem) => problem.to_string(),
        }
    }

    #[test]
    fn the_default_network_is_on_the_device() {
        let defaults = defaults();
        let network = |device: &str| {
            let network = Ground::find(&defaults, device).unwrap().network();
            Value::Object(network.plugins[0].clone()).to_string()
        };
        insta::assert_snapshot!(network("bond0"), @r#"{"type":"macvlan","master":"bond0","mode":"bridge"}"#);
        insta::assert_snapshot!(network("bond0--3"), @r#"{"type":"macvlan","master":"bond0","mode":"bridge"}"#);
        insta::assert_snapshot!(network("eth1"), @r#"{"type":"host-device","device":"eth1"}"#);
        insta::assert_snapshot!(network("slot-7"), @r#"{"type":"macvlan","master":"eth0","mode":"bridge"}"#);
    }

    #[test]
    fn an_uplink_is_never_taken() {
        let defaults = defaults();
        let plugin = || json!({"type": "host-device", "device": "eth0"});
        insta::assert_snapshot!(on(&defaults, "eth0", plugin()), @"config: the plugin host-device takes an interface away from the node, and eth0 is the node's uplink, which every pod of the node needs; use a plugin that makes an interface on it, such as macvlan, or let the request name a DeviceClass of whole interfaces");
        insta::assert_snapshot!(on(&defaults, "slot-0", plugin()), @"config: the plugin host-device would take the node's uplink eth0 away from the node; name another interface, or use a plugin that makes one on it, such as macvlan");
        insta::assert_snapshot!(on(&Defaults::default(), "slot-0", plugin()), @"config: the plugin host-device would take the node's uplink eth0 away from the node; name another interface, or use a plugin that makes one on it, such as macvlan");
        insta::assert_snapshot!(on(&defaults, "eth1", plugin()), @r#"config: device is "eth0", but the allocated device is eth1; leave device out to take the allocated one, or select the wanted one: device.attributes[DRIVER].name == NAME in a CEL selector of the request or its class"#);
        insta::assert_snapshot!(on(&defaults, "bond0", json!({"type": "host-device"})), @"config: the plugin host-device takes an interface away from the node, and the allocated device is a share of bond0, which others use; use a plugin that makes an interface on it, such as macvlan, or let the request name a DeviceClass of whole interfaces");
    }

    #[test]
    fn passthru_is_for_whole_interfaces_alone() {
        let defaults = defaults();
        let plugin = || json!({"type": "macvlan", "mode": "passthru"});
        insta::assert_snapshot!(on(&defaults, "eth0", plugin()), @"config: macvlan in mode passthru takes all that comes to an interface, and eth0 is the node's uplink, which every pod of the node needs; use mode bridge, or let the request name a DeviceClass of whole interfaces");
        insta::assert_snapshot!(on(&defaults, "bond0", plugin()), @"config: macvlan in mode passthru takes all that comes to an interface, and the allocated device is a share of bond0, which others use; use mode bridge, or let the request name a DeviceClass of whole interfaces");
        insta::assert_snapshot!(on(&defaults, "slot-0", plugin()), @"config: macvlan in mode passthru would take all that comes to the node's uplink eth0; use mode bridge, or name another interface");
        insta::assert_snapshot!(on(&defaults, "eth1", plugin()), @r#"{"type":"macvlan","mode":"passthru","master":"eth1"}"#);
        let elsewhere = json!({"type": "macvlan", "mode": "passthru", "master": "eth9"});
        assert_eq!(
            on(&defaults, "slot-0", elsewhere.clone()),
            elsewhere.to_string()
        );
    }

    #[test]
    fn no_plugin_of_a_list_goes_elsewhere() {
        let defaults = defaults();
        let on = |device: &str, plugin: Value| {
            let ground = Ground::find(&defaults, device).unwrap();
            let plugins = json!([{"type": "static"}, plugin]);
            let list = json!({ "cniVersion": "1.0.0", "name": "n", "plugins": plugins });
            match ground.fit(serde_json::from_value(list).unwrap(), "config") {
                Ok(fits) => Value::Object(fits.plugins[1].clone()).to_string(),
                Err(problem) => problem.to_string(),
            }
        };
        insta::assert_snapshot!(on("bond0", json!({"type": "macvlan", "master": "eth1"})), @r#"config.plugins[1]: master is "eth1", but the allocated device is bond0; leave master out to take the allocated one, or select the wanted one: device.attributes[DRIVER].name == NAME in a CEL selector of the request or its class"#);
        insta::assert_snapshot!(on("bond0", json!({"type": "host-device", "device": "eth0"})), @"config.plugins[1]: the plugin host-device takes an interface away from the node, and the allocated device is a share of bond0, which others use; use a plugin that makes an interface on it, such as macvlan, or let the request name a DeviceClass of whole interfaces");
        insta::assert_snapshot!(on("slot-1", json!({"type": "host-device", "device": "eth0"})), @"config.plugins[1]: the plugin host-device would take the node's uplink eth0 away from the node; name another interface, or use a plugin that makes one on it, such as macvlan");
        insta::assert_snapshot!(on("bond0", json!({"type": "tuning", "master": "x"})), @r#"{"type":"tuning","master":"x"}"#);
    }

    #[test]
    fn a_whole_interface_is_found_by_its_keys() {
        let defaults = defaults();
        for plugin in [
            json!({"type": "host-device", "device": "eth1"}),
            json!({"type": "host-device", "hwaddr": "02:00:00:00:00:0A"}),
            json!({"type": "host-device", "pciBusID": "0000:3b:00.0"}),
        ] {
            assert_eq!(on(&defaults, "eth1", plugin.clone()), plugin.to_string());
        }
        insta::assert_snapshot!(on(&defaults, "eth1", json!({"type": "host-device"})), @r#"{"type":"host-device","device":"eth1"}"#);
        insta::assert_snapshot!(on(&defaults, "eth1", json!({"type": "host-device", "kernelpath": "/sys/x"})), @r#"config: kernelpath is "/sys/x", but the allocated device is eth1; leave kernelpath out to take the allocated one, or select the wanted one: device.attributes[DRIVER].name == NAME in a CEL selector of the request or its class"#);
    }

    #[test]
    fn what_is_made_is_made_on_the_allocated_interface() {
        let defaults = defaults();
        insta::assert_snapshot!(on(&defaults, "bond0", json!({"type": "macvlan"})), @r#"{"type":"macvlan","master":"bond0"}"#);
        insta::assert_snapshot!(on(&defaults, "bond0", json!({"type": "ipvlan", "master": "eth0"})), @r#"config: master is "eth0", but the allocated device is bond0; leave master out to take the allocated one, or select the wanted one: device.attributes[DRIVER].name == NAME in a CEL selector of the request or its class"#);
        let inside = json!({"type": "vlan", "master": "net1", "linkInContainer": true});
        assert_eq!(on(&defaults, "bond0", inside.clone()), inside.to_string());
        let other = json!({"type": "bridge", "bridge": "cni1"});
        assert_eq!(on(&defaults, "bond0", other.clone()), other.to_string());
        assert_eq!(on(&defaults, "eth9", other), "no such device");
    }
}
