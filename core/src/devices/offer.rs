//! The node's devices as ResourceSlices carry them.

use std::collections::BTreeMap;

use k8s_openapi::api::resource::v1::{
    CapacityRequestPolicy, CapacityRequestPolicyRange, Device, DeviceAttribute, DeviceCapacity,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{Devices, NodeDevice, SLOT, Usage, name};

/// The capacity of a shared device of which each attachment takes one.
pub const MAX_ATTACHMENTS: &str = "maxAttachments";

/// The capacity of a shared device that a claim may ask a part of, in bit/s.
const BANDWIDTH: &str = "bandwidth";

/// The API's limit for a string attribute. The server counts bytes.
const MAX_TEXT: usize = 64;

/// What is published, for a server that knows consumable capacity and for one that does not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Offer {
    /// Shared interfaces are one device each, which many claims may have (KEP-5075).
    pub sharing: Vec<Device>,
    /// Shared interfaces are many devices of one claim each.
    pub plain: Vec<Device>,
}

impl Offer {
    /// The same for every server.
    pub fn fixed(devices: Vec<Device>) -> Self {
        Self {
            sharing: devices.clone(),
            plain: devices,
        }
    }

    /// The offer of interfaces. A shared one takes `attachments` at the same time.
    pub fn of(devices: &Devices, attachments: usize) -> Self {
        let mut offer = Self::default();
        for device in devices.iter() {
            let attributes = attributes(device, devices.is_uplink(&device.interface.name));
            let named = |name: String| Device {
                name,
                attributes: Some(attributes.clone()),
                ..Device::default()
            };
            let whole = named(device.name.clone());
            match device.usage {
                Usage::Whole => {
                    offer.sharing.push(whole.clone());
                    offer.plain.push(whole);
                }
                Usage::Shared => {
                    offer.sharing.push(Device {
                        allow_multiple_allocations: Some(true),
                        capacity: Some(capacity(device, attachments)),
                        ..whole
                    });
                    let parts = 0..attachments;
                    let parts = parts.map(|number| named(name::part(&device.name, number)));
                    offer.plain.extend(parts);
                }
            }
        }
        offer
    }
}

fn capacity(device: &NodeDevice, attachments: usize) -> BTreeMap<String, DeviceCapacity> {
    let one = || Quantity("1".into());
    let attachments = DeviceCapacity {
        value: Quantity(attachments.to_string()),
        request_policy: Some(CapacityRequestPolicy {
            default: Some(one()),
            valid_values: Some(vec![one()]),
            valid_range: None,
        }),
    };
    let mut capacity = BTreeMap::from([(MAX_ATTACHMENTS.to_owned(), attachments)]);
    // A claim that asks for bandwidth gets no interface that does not know its own.
    if let Some(speed) = device.interface.speed {
        let none = || Quantity("0".into());
        let bandwidth = DeviceCapacity {
            value: Quantity(bits(speed)),
            request_policy: Some(CapacityRequestPolicy {
                // Who asks for none shares what is left.
                default: Some(none()),
                valid_range: Some(CapacityRequestPolicyRange {
                    min: none(),
                    ..CapacityRequestPolicyRange::default()
                }),
                valid_values: None,
            }),
        };
        capacity.insert(BANDWIDTH.to_owned(), bandwidth);
    }
    capacity
}

/// A speed in Mbit/s as the server would write it: otherwise it looks changed.
fn bits(speed: u32) -> String {
    match speed {
        speed if speed % 1_000_000 == 0 => format!("{}T", speed / 1_000_000),
        speed if speed % 1000 == 0 => format!("{}G", speed / 1000),
        speed => format!("{speed}M"),
    }
}

/// At most 32 attributes and capacities are allowed, and these are 18 and 2.
fn attributes(device: &NodeDevice, uplink: bool) -> BTreeMap<String, DeviceAttribute> {
    let interface = &device.interface;
    let mut found = BTreeMap::new();
    let mut put = |name: &str, value: Option<DeviceAttribute>| {
        if let Some(value) = value {
            found.insert(name.to_owned(), value);
        }
    };
    let words = |text: &Option<String>| text.as_deref().and_then(text_attribute);
    put(
        "type",
        text_attribute(match device.usage {
            Usage::Shared => "virtual",
            Usage::Whole => "whole",
        }),
    );
    // Only there: a class that asks for it gets the node's own way out.
    if uplink {
        put("uplink", text_attribute(&interface.name));
    }
    put("name", text_attribute(&interface.name));
    put(
        "kind",
        text_attribute(interface.kind.as_deref().unwrap_or("device")),
    );
    put("driver", words(&interface.driver));
    put("mac", words(&interface.mac));
    put("mtu", int(interface.mtu));
    put("state", text_attribute(&interface.state));
    put("speed", interface.speed.and_then(int));
    put("defaultRoute", flag(interface.default_route));
    put("numaNode", interface.numa_node.and_then(int));
    put("portOf", words(&interface.port_of));
    if let Some(vlan) = &interface.vlan {
        put("vlanId", int(vlan.id));
        put("vlanParent", words(&vlan.parent));
    }
    if let Some(bridge) = &interface.bridge {
        put("bridgeVlanFiltering", flag(bridge.vlan_filtering));
    }
    put(
        "resource.kubernetes.io/pciBusID",
        words(&interface.pci_bus_id),
    );
    put(
        "resource.kubernetes.io/pcieRoot",
        words(&interface.pcie_root),
    );
    found
}

fn text_attribute(text: &str) -> Option<DeviceAttribute> {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = text.get(..end).filter(|text| !text.is_empty())?;
    Some(DeviceAttribute {
        string: Some(text.to_owned()),
        ..DeviceAttribute::default()
    })
}

fn int(value: impl Into<i64>) -> Option<DeviceAttribute> {
    Some(DeviceAttribute {
        int: Some(value.into()),
        ..DeviceAttribute::default()
    })
}

fn flag(value: bool) -> Option<DeviceAttribute> {
    Some(DeviceAttribute {
        bool: Some(value),
        ..DeviceAttribute::default()
    })
}

/// Devices `slot-0` to `slot-(n-1)`, each meaning one virtual interface on `uplink`: for
/// tests, and for nodes whose interfaces shall not be looked at.
pub fn slots(n: usize, uplink: &str) -> Vec<Device> {
    (0..n)
        .map(|i| Device {
            name: format!("{SLOT}{i}"),
            attributes: Some(
                [("type", "virtual"), ("uplink", uplink)]
                    .into_iter()
                    .filter_map(|(name, text)| Some((name.to_owned(), text_attribute(text)?)))
                    .collect(),
            ),
            ..Device::default()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Bridge, Interface, Vlan};
    use super::*;

    fn device(usage: Usage, interface: Interface) -> NodeDevice {
        NodeDevice {
            name: super::super::device_name(&interface.name),
            interface,
            usage,
            away: false,
        }
    }

    fn node() -> Devices {
        let uplink = Interface {
            name: "eth0".into(),
            driver: Some("virtio_net".into()),
            mac: Some("02:00:00:00:00:01".into()),
            mtu: 1500,
            state: "up".into(),
            speed: Some(10_000),
            default_route: true,
            ..Interface::default()
        };
        let nic = Interface {
            name: "ens1f0".into(),
            driver: Some("mlx5_core".into()),
            mtu: 9000,
            state: "down".into(),
            pci_bus_id: Some("0000:3b:00.0".into()),
            pcie_root: Some("pci0000:3a".into()),
            numa_node: Some(1),
            ..Interface::default()
        };
        let vlan = Interface {
            name: "eth0.100".into(),
            kind: Some("vlan".into()),
            vlan: Some(Vlan {
                id: 100,
                parent: Some("eth0".into()),
            }),
            ..Interface::default()
        };
        let bridge = Interface {
            name: "br0".into(),
            kind: Some("bridge".into()),
            bridge: Some(Bridge {
                vlan_filtering: true,
            }),
            ..Interface::default()
        };
        Devices::new(
            [
                device(Usage::Shared, uplink),
                device(Usage::Whole, nic),
                device(Usage::Shared, vlan),
                device(Usage::Shared, bridge),
            ],
            ["eth0".to_owned()],
        )
    }

    #[test]
    fn interfaces_say_what_they_are() {
        let offer = Offer::of(&node(), 2);
        let pretty = serde_json::to_string_pretty(&offer.sharing).unwrap();
        insta::assert_snapshot!(pretty);
    }

    #[test]
    fn without_consumable_capacity_a_shared_interface_is_many_devices() {
        let plain = Offer::of(&node(), 2).plain;
        let names: Vec<&str> = plain.iter().map(|device| device.name.as_str()).collect();
        insta::assert_snapshot!(names.join(" "), @"br0--0 br0--1 ens1f0 eth0--0 eth0--1 if-657468302e313030--0 if-657468302e313030--1");
        let shared =
            |one: &Device| one.allow_multiple_allocations.is_some() || one.capacity.is_some();
        assert!(!plain.iter().any(shared));
        for device in &plain {
            assert!(node().find(&device.name).is_some(), "{}", device.name);
        }
        assert!(node().find("ens1f0--0").is_none(), "it has no parts");
    }

    #[test]
    fn speeds_are_written_as_the_server_writes_them() {
        let shown = [10, 1000, 2500, 400_000, 1_000_000].map(bits);
        assert_eq!(shown, ["10M", "1G", "2500M", "400G", "1T"]);
    }

    #[test]
    fn hostile_text_is_cut_to_what_the_api_takes() {
        let interface = Interface {
            name: "x".into(),
            driver: Some("é".repeat(40)),
            state: String::new(),
            ..Interface::default()
        };
        let found = attributes(&device(Usage::Whole, interface), false);
        let driver = found["driver"].string.clone().unwrap();
        assert_eq!(driver.len(), 64);
        assert!(!found.contains_key("state"));
    }
}
