//! Links, addresses and routes of the namespace that a thread is in, by netlink.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use futures::TryStreamExt;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use rtnetlink::packet_route::link::{
    InfoData, InfoMacVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, MacVlanMode,
};
use rtnetlink::packet_route::route::RouteAttribute;
use rtnetlink::{Handle, LinkMacVlan, LinkUnspec, LinkVeth, RouteMessageBuilder};
use tokio::runtime::Runtime;

use crate::{Link, MacVlan};

/// A blocking netlink socket. Not to be used on a thread that serves a runtime.
pub struct Links {
    runtime: Runtime,
    handle: Handle,
}

impl Links {
    /// Opens a socket in the namespace that the calling thread is in.
    pub fn open() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        let entered = runtime.enter();
        let (connection, handle, _) = rtnetlink::new_connection()?;
        runtime.spawn(connection);
        drop(entered);
        Ok(Self { runtime, handle })
    }

    fn wait<T>(&self, work: impl Future<Output = Result<T, rtnetlink::Error>>) -> io::Result<T> {
        self.runtime.block_on(work).map_err(|error| match error {
            // The kernel's number is negative here.
            rtnetlink::Error::NetlinkError(message) => message.to_io(),
            other => io::Error::other(other),
        })
    }

    /// Every link, in the order of their numbers.
    pub fn list(&self) -> io::Result<Vec<Link>> {
        let messages: Vec<LinkMessage> =
            self.wait(self.handle.link().get().execute().try_collect())?;
        Ok(messages.iter().map(Link::of).collect())
    }

    /// The link of this name, if there is one.
    pub fn find(&self, name: &str) -> io::Result<Option<Link>> {
        let found = self.list()?.into_iter().find(|link| link.name == name);
        Ok(found)
    }

    fn index(&self, name: &str) -> io::Result<u32> {
        let found = self.find(name)?.map(|link| link.index);
        found.ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("there is no link {name}"))
        })
    }

    /// Makes both ends of a cable.
    pub fn add_veth(&self, name: &str, peer: &str) -> io::Result<()> {
        let message = LinkVeth::new(name, peer).build();
        self.wait(self.handle.link().add(message).execute())
    }

    /// Makes a macvlan link; straight into the namespace `netns` where one is given.
    pub fn add_macvlan(
        &self,
        wanted: &MacVlan<'_>,
        netns: Option<&impl std::os::fd::AsRawFd>,
    ) -> io::Result<()> {
        let mode = match wanted.mode {
            "bridge" => MacVlanMode::Bridge,
            "private" => MacVlanMode::Private,
            "vepa" => MacVlanMode::Vepa,
            "passthru" => MacVlanMode::Passthrough,
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        };
        let mut message = LinkMacVlan::new(wanted.name, wanted.master, mode);
        if let Some(mac) = wanted.mac {
            message = message.address(mac.to_vec());
        }
        if let Some(mtu) = wanted.mtu {
            message = message.mtu(mtu);
        }
        if let Some(netns) = netns {
            message = message.setns_by_fd(netns.as_raw_fd());
        }
        self.wait(self.handle.link().add(message.build()).execute())
    }

    /// Sets a link up.
    pub fn up(&self, name: &str) -> io::Result<()> {
        let message = LinkUnspec::new_with_index(self.index(name)?).up();
        self.wait(self.handle.link().change(message.build()).execute())
    }

    /// Sets a link down.
    pub fn down(&self, name: &str) -> io::Result<()> {
        let message = LinkUnspec::new_with_index(self.index(name)?).down();
        self.wait(self.handle.link().change(message.build()).execute())
    }

    /// Gives a link another name.
    pub fn rename(&self, name: &str, to: &str) -> io::Result<()> {
        let message = LinkUnspec::new_with_index(self.index(name)?);
        let message = message.name(to).build();
        self.wait(self.handle.link().change(message).execute())
    }

    /// Deletes a link.
    pub fn delete(&self, name: &str) -> io::Result<()> {
        let index = self.index(name)?;
        self.wait(self.handle.link().del(index).execute())
    }

    /// Gives a link an address.
    pub fn add_address(&self, name: &str, address: IpAddr, prefix: u8) -> io::Result<()> {
        let index = self.index(name)?;
        self.wait(self.handle.address().add(index, address, prefix).execute())
    }

    /// Addresses of a link, in the order in which it got them. Those that IPv6 links give
    /// themselves are left out.
    pub fn addresses(&self, name: &str) -> io::Result<Vec<(IpAddr, u8)>> {
        let index = self.index(name)?;
        let request = self.handle.address().get().set_link_index_filter(index);
        let messages: Vec<_> = self.wait(request.execute().try_collect())?;
        let mut found = Vec::new();
        for message in messages {
            let address = message.attributes.iter().find_map(|one| match one {
                AddressAttribute::Address(address) => Some(*address),
                _ => None,
            });
            // The interface's own end, where the other is another address.
            let local = message.attributes.iter().find_map(|one| match one {
                AddressAttribute::Local(address) => Some(*address),
                _ => None,
            });
            match local.or(address) {
                Some(IpAddr::V6(own)) if own.is_unicast_link_local() => {}
                Some(own) => found.push((own, message.header.prefix_len)),
                None => {}
            }
        }
        Ok(found)
    }

    /// Whether an IPv6 address of the link is still being tried for a double.
    pub fn settling(&self, name: &str) -> io::Result<bool> {
        let index = self.index(name)?;
        let request = self.handle.address().get().set_link_index_filter(index);
        let messages: Vec<_> = self.wait(request.execute().try_collect())?;
        let tentative =
            |message: &AddressMessage| message.header.flags.contains(AddressHeaderFlags::Tentative);
        Ok(messages.iter().any(tentative))
    }

    /// A route over the link; without a gateway to whoever is on it.
    pub fn add_route(
        &self,
        name: &str,
        to: (IpAddr, u8),
        gateway: Option<IpAddr>,
    ) -> io::Result<()> {
        let index = self.index(name)?;
        let route = RouteMessageBuilder::<IpAddr>::new().output_interface(index);
        let built = match route.destination_prefix(to.0, to.1) {
            Ok(route) => match gateway {
                Some(gateway) => route.gateway(gateway),
                None => Ok(route),
            },
            Err(error) => Err(error),
        };
        let route = built.map_err(|error| io::Error::other(error.to_string()))?;
        self.wait(self.handle.route().add(route.build()).execute())
    }

    /// The default route.
    pub fn add_default_route(&self, name: &str, gateway: Ipv4Addr) -> io::Result<()> {
        let index = self.index(name)?;
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .output_interface(index)
            .gateway(gateway)
            .build();
        self.wait(self.handle.route().add(route).execute())
    }

    /// The number of the link that the IPv4 default route leads to.
    pub fn default_route(&self) -> io::Result<Option<u32>> {
        let all = RouteMessageBuilder::<Ipv4Addr>::new().build();
        let routes: Vec<_> = self.wait(self.handle.route().get(all).execute().try_collect())?;
        Ok(routes
            .iter()
            .filter(|route| {
                route.header.address_family == AddressFamily::Inet
                    && route.header.destination_prefix_length == 0
            })
            .find_map(|route| {
                route.attributes.iter().find_map(|one| match one {
                    RouteAttribute::Oif(index) => Some(*index),
                    _ => None,
                })
            }))
    }
}

impl Link {
    fn of(message: &LinkMessage) -> Self {
        let mut link = Self {
            index: message.header.index,
            name: String::new(),
            mac: Vec::new(),
            mtu: 0,
            up: message.header.flags.contains(LinkFlags::Up),
            parent: None,
            kind: String::new(),
            macvlan: None,
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Address(mac) => link.mac.clone_from(mac),
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::Link(index) => link.parent = Some(*index),
                LinkAttribute::LinkInfo(infos) => {
                    for info in infos {
                        match info {
                            LinkInfo::Kind(kind) => link.kind = kind.to_string(),
                            LinkInfo::Data(InfoData::MacVlan(data)) => {
                                link.macvlan = data.iter().find_map(|one| match one {
                                    InfoMacVlan::Mode(mode) => Some((*mode).into()),
                                    _ => None,
                                });
                            }
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        link
    }
}
