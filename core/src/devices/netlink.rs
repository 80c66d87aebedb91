//! The node's links and default routes by netlink, and word of their changes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use futures::channel::mpsc::UnboundedReceiver;
use futures::{StreamExt, TryStreamExt};
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{
    InfoBridge, InfoData, InfoVlan, LinkAttribute, LinkInfo, LinkMessage, State,
};
use rtnetlink::packet_route::route::{RouteAttribute, RouteHeader, RouteMessage, RouteType};
use rtnetlink::sys::SocketAddr;
use rtnetlink::{Handle, MulticastGroup, RouteMessageBuilder, new_multicast_connection};
use tokio_util::task::AbortOnDropHandle;

use super::{Bridge, Interface, Vlan};

type Message = (NetlinkMessage<RouteNetlinkMessage>, SocketAddr);

/// A socket in the network namespace that the process is in.
pub(super) struct Kernel {
    handle: Handle,
    messages: UnboundedReceiver<Message>,
    /// Links with a default route, by number. A full table can have a million routes: it is
    /// read again only when a default route came or went.
    defaults: Option<BTreeSet<u32>>,
    _connection: AbortOnDropHandle<()>,
}

impl Kernel {
    pub(super) fn open() -> io::Result<Self> {
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
        ];
        let (connection, handle, messages) = new_multicast_connection(&groups)?;
        Ok(Self {
            handle,
            messages,
            defaults: None,
            _connection: AbortOnDropHandle::new(tokio::spawn(connection)),
        })
    }

    /// Returns when something changed. May be dropped and called again.
    pub(super) async fn changed(&mut self) -> io::Result<()> {
        loop {
            let Some((message, _)) = self.messages.next().await else {
                return Err(io::Error::other("the netlink socket was closed"));
            };
            let NetlinkPayload::InnerMessage(message) = message.payload else {
                continue;
            };
            match message {
                RouteNetlinkMessage::NewLink(_) | RouteNetlinkMessage::DelLink(_) => return Ok(()),
                RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route)
                    if route.header.destination_prefix_length == 0 =>
                {
                    self.defaults = None;
                    return Ok(());
                }
                _ => {}
            }
        }
    }

    /// What may have been missed is looked at again, too: the kernel drops messages when
    /// nobody reads them fast enough.
    pub(super) fn forget(&mut self) {
        self.defaults = None;
    }

    /// Every link with its number.
    pub(super) async fn list(&mut self) -> io::Result<Vec<(u32, Interface)>> {
        let links: Vec<LinkMessage> = self
            .handle
            .link()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(io_error)?;
        let defaults = match &self.defaults {
            Some(known) => known.clone(),
            None => {
                let found = self.default_routes().await?;
                self.defaults = Some(found.clone());
                found
            }
        };
        let names: BTreeMap<u32, &str> = links
            .iter()
            .filter_map(|link| Some((link.header.index, name(link)?)))
            .collect();
        let found = links.iter().filter_map(|link| {
            let index = link.header.index;
            let mut interface = interface(link, &names)?;
            interface.default_route = defaults.contains(&index);
            Some((index, interface))
        });
        Ok(found.collect())
    }

    async fn default_routes(&self) -> io::Result<BTreeSet<u32>> {
        let all = [
            RouteMessageBuilder::<std::net::Ipv4Addr>::new().build(),
            RouteMessageBuilder::<std::net::Ipv6Addr>::new().build(),
        ];
        let mut found = BTreeSet::new();
        for query in all {
            let mut routes = self.handle.route().get(query).execute();
            while let Some(route) = routes.try_next().await.map_err(io_error)? {
                found.extend(targets(&route));
            }
        }
        Ok(found)
    }
}

/// The links that a default route of the main table leads to.
fn targets(route: &RouteMessage) -> Vec<u32> {
    let header = &route.header;
    let table = route
        .attributes
        .iter()
        .find_map(|one| match one {
            RouteAttribute::Table(table) => Some(*table),
            _ => None,
        })
        .unwrap_or(header.table.into());
    if header.destination_prefix_length != 0
        || header.kind != RouteType::Unicast
        || table != u32::from(RouteHeader::RT_TABLE_MAIN)
    {
        return Vec::new();
    }
    let mut found = Vec::new();
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(index) => found.push(*index),
            RouteAttribute::MultiPath(hops) => {
                found.extend(hops.iter().map(|hop| hop.interface_index));
            }
            _ => {}
        }
    }
    found
}

fn name(link: &LinkMessage) -> Option<&str> {
    link.attributes.iter().find_map(|one| match one {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

fn interface(link: &LinkMessage, names: &BTreeMap<u32, &str>) -> Option<Interface> {
    let named = |index: u32| names.get(&index).map(|name| (*name).to_owned());
    let mut found = Interface {
        name: name(link)?.to_owned(),
        state: "unknown".into(),
        ..Interface::default()
    };
    let (mut parent, mut elsewhere) = (None, false);
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::Address(mac) if mac.len() == 6 => {
                let bytes: Vec<String> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
                found.mac = Some(bytes.join(":"));
            }
            LinkAttribute::Mtu(mtu) => found.mtu = *mtu,
            LinkAttribute::OperState(state) => found.state = words(*state).into(),
            LinkAttribute::Controller(index) => found.port_of = named(*index),
            LinkAttribute::Link(index) => parent = Some(*index),
            LinkAttribute::LinkNetNsId(_) => elsewhere = true,
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    match info {
                        LinkInfo::Kind(kind) => found.kind = Some(kind.to_string()),
                        LinkInfo::Data(InfoData::Vlan(data)) => {
                            let id = data.iter().find_map(|one| match one {
                                InfoVlan::Id(id) => Some(*id),
                                _ => None,
                            });
                            found.vlan = id.map(|id| Vlan { id, parent: None });
                        }
                        LinkInfo::Data(InfoData::Bridge(data)) => {
                            let vlan_filtering = data
                                .iter()
                                .any(|one| matches!(one, InfoBridge::VlanFiltering(true)));
                            found.bridge = Some(Bridge { vlan_filtering });
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    if let Some(vlan) = &mut found.vlan {
        // A number of another namespace means another link.
        vlan.parent = parent.filter(|_| !elsewhere).and_then(named);
    }
    Some(found)
}

/// As `/sys/class/net/NAME/operstate` has it.
fn words(state: State) -> &'static str {
    match state {
        State::NotPresent => "notpresent",
        State::Down => "down",
        State::LowerLayerDown => "lowerlayerdown",
        State::Testing => "testing",
        State::Dormant => "dormant",
        State::Up => "up",
        _ => "unknown",
    }
}

fn io_error(error: rtnetlink::Error) -> io::Error {
    match error {
        // The kernel's number is negative here.
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests;
