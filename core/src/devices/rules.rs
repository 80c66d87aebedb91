//! Which interfaces are offered, and for what.

use super::{Interface, Pattern, Usage};

/// Kinds of made interfaces that are offered without being asked for: an administrator
/// makes them, whereas network plugins make veths, tunnels and bridges.
const OFFERED_KINDS: [&str; 3] = ["bond", "team", "vlan"];

/// Kinds that are of use for what is put on them.
const SHARED_KINDS: [&str; 4] = ["bond", "bridge", "team", "vlan"];

/// What the administrator says of the node's interfaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Only these are offered, of whatever kind they are; empty offers hardware, bonds
    /// and VLANs.
    pub include: Vec<Pattern>,
    /// These are not offered, whatever else is said of them.
    pub exclude: Vec<Pattern>,
    /// These are for sharing where they would be offered as a whole.
    pub share: Vec<Pattern>,
    /// The uplink by name; every interface with a default route is one as well.
    pub uplink: String,
}

impl Rules {
    /// What an interface is offered for; `None` for not at all.
    pub fn usage(&self, interface: &Interface) -> Option<Usage> {
        let any = |patterns: &[Pattern]| patterns.iter().any(|one| one.matches(&interface.name));
        if interface.name == "lo" || any(&self.exclude) {
            return None;
        }
        let named = any(&self.include);
        if !self.include.is_empty() && !named {
            return None;
        }
        if self.is_uplink(interface) {
            return Some(Usage::Shared);
        }
        let made = interface.kind.as_deref();
        if !named {
            // A port belongs to its bridge or bond.
            let ordinary = made.is_none_or(|kind| OFFERED_KINDS.contains(&kind));
            if !ordinary || interface.port_of.is_some() {
                return None;
            }
        }
        let shared = made.is_some_and(|kind| SHARED_KINDS.contains(&kind)) || any(&self.share);
        Some(if shared { Usage::Shared } else { Usage::Whole })
    }

    /// Whether the node reaches the world by it.
    pub fn is_uplink(&self, interface: &Interface) -> bool {
        interface.default_route || interface.name == self.uplink
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str, kind: Option<&str>) -> Interface {
        Interface {
            name: name.into(),
            kind: kind.map(str::to_owned),
            ..Interface::default()
        }
    }

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn rules() -> Rules {
        Rules {
            uplink: "eth0".into(),
            ..Rules::default()
        }
    }

    #[test]
    fn hardware_is_whole_what_an_administrator_made_is_shared() {
        let rules = rules();
        assert_eq!(rules.usage(&interface("eth1", None)), Some(Usage::Whole));
        for kind in OFFERED_KINDS {
            let made = interface("x", Some(kind));
            assert_eq!(rules.usage(&made), Some(Usage::Shared), "{kind}");
        }
        for kind in ["bridge", "veth", "vxlan", "dummy", "tun", "macvlan"] {
            assert_eq!(rules.usage(&interface("x", Some(kind))), None, "{kind}");
        }
        assert_eq!(rules.usage(&interface("lo", None)), None);
    }

    #[test]
    fn the_uplink_is_for_sharing_only() {
        let mut rules = rules();
        rules.include = patterns(&["eth*"]);
        assert_eq!(rules.usage(&interface("eth0", None)), Some(Usage::Shared));
        let by_route = Interface {
            default_route: true,
            ..interface("eth5", None)
        };
        assert_eq!(rules.usage(&by_route), Some(Usage::Shared));
        // In kind the node's uplink is one end of a cable.
        assert_eq!(
            rules.usage(&interface("eth0", Some("veth"))),
            Some(Usage::Shared)
        );
    }

    #[test]
    fn rules_decide() {
        let mut rules = rules();
        rules.include = patterns(&["d*"]);
        rules.exclude = patterns(&["d2"]);
        rules.share = patterns(&["d3"]);
        let dummy = |name| interface(name, Some("dummy"));
        assert_eq!(rules.usage(&dummy("d1")), Some(Usage::Whole));
        assert_eq!(rules.usage(&dummy("d2")), None);
        assert_eq!(rules.usage(&dummy("d3")), Some(Usage::Shared));
        assert_eq!(rules.usage(&interface("eth1", None)), None);
        rules.exclude = patterns(&["*"]);
        assert_eq!(rules.usage(&interface("eth0", None)), None);
    }

    #[test]
    fn a_bridge_is_offered_by_name_and_shared() {
        let mut rules = rules();
        rules.include = patterns(&["br*"]);
        let bridge = interface("br0", Some("bridge"));
        assert_eq!(rules.usage(&bridge), Some(Usage::Shared));
    }

    #[test]
    fn a_port_is_offered_only_by_name() {
        let mut rules = rules();
        let port = Interface {
            port_of: Some("bond0".into()),
            ..interface("eth2", None)
        };
        assert_eq!(rules.usage(&port), None);
        rules.include = patterns(&["eth2"]);
        assert_eq!(rules.usage(&port), Some(Usage::Whole));
    }
}
