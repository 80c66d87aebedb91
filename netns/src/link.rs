//! What a link is, and what one that is to be made must be told.

/// A link as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address; empty when it has none.
    pub mac: Vec<u8>,
    /// The largest packet.
    pub mtu: u32,
    /// Whether it is up.
    pub up: bool,
    /// The number of the link that it is made on, in that link's namespace.
    pub parent: Option<u32>,
    /// What the kernel calls its kind: `veth`, `macvlan`, `bridge` …; empty for hardware.
    pub kind: String,
    /// The mode of a macvlan link, as the kernel numbers it.
    pub macvlan: Option<u32>,
}

/// A macvlan link to be made.
#[derive(Clone, Debug)]
pub struct MacVlan<'a> {
    /// Its name.
    pub name: &'a str,
    /// The number of the link that it is made on.
    pub master: u32,
    /// `bridge`, `private`, `vepa` or `passthru`.
    pub mode: &'a str,
    /// Its hardware address; the kernel chooses where there is none.
    pub mac: Option<[u8; 6]>,
    /// Its largest packet; the master's where there is none.
    pub mtu: Option<u32>,
}
