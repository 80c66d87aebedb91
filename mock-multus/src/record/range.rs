//! Address ranges of host-local: read, checked, and walked in its order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde_json::Value;

use crate::go_json::wrong_kind;

/// Addresses of one subnet, both ends included.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Range {
    pub(super) start: IpAddr,
    pub(super) end: IpAddr,
    pub(super) subnet: IpNet,
    pub(super) gateway: IpAddr,
}

/// Ranges of one family; an ADD takes one address of every set.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RangeSet(pub(super) Vec<Range>);

impl Range {
    /// Reads `subnet`, `rangeStart`, `rangeEnd` and `gateway`; `None` without a subnet.
    pub(super) fn read(json: &Value) -> Result<Option<Unchecked>, String> {
        Ok(Some(Unchecked {
            subnet: match json.get("subnet") {
                None | Some(Value::Null) => None,
                Some(Value::String(text)) => Some(cidr(text)?),
                Some(other) => {
                    return Err(format!(
                        "json: cannot unmarshal {} into Go value of type string",
                        crate::go_json::kind(other)
                    ));
                }
            },
            start: address(json, "rangeStart")?,
            end: address(json, "rangeEnd")?,
            gateway: address(json, "gateway")?,
        })
        .filter(|range| *range != Unchecked::default()))
    }

    pub(super) fn contains(&self, ip: IpAddr) -> bool {
        self.subnet.contains(&ip) && self.start <= ip && ip <= self.end
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.start.is_ipv4() == other.start.is_ipv4()
            && (self.contains(other.start)
                || self.contains(other.end)
                || other.contains(self.start)
                || other.contains(self.end))
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.start, self.end)
    }
}

/// A range as written, before defaults.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Unchecked {
    pub(super) subnet: Option<IpNet>,
    start: Option<IpAddr>,
    end: Option<IpAddr>,
    gateway: Option<IpAddr>,
}

impl Unchecked {
    fn check(self) -> Result<Range, String> {
        let Some(subnet) = self.subnet else {
            return Err("IP <nil> not v4 nor v6".into());
        };
        if subnet.prefix_len() > subnet.max_prefix_len() - 2 {
            return Err(format!("Network {subnet} too small to allocate from"));
        }
        if subnet.addr() != subnet.network() {
            return Err(format!(
                "Network has host bits set. For a subnet mask of length {} the network address is {}",
                subnet.prefix_len(),
                subnet.network()
            ));
        }
        let first = next(subnet.network());
        let range = Range {
            start: self.start.unwrap_or(first),
            end: self.end.unwrap_or_else(|| last(&subnet)),
            gateway: self.gateway.unwrap_or(first),
            subnet,
        };
        // The start is looked at before the end is known to the check.
        let open = Range {
            end: self.end.unwrap_or_else(|| subnet.broadcast()),
            ..range.clone()
        };
        if self.start.is_some() && !open.contains(range.start) {
            return Err(format!(
                "RangeStart {} not in network {subnet}",
                range.start
            ));
        }
        if self.end.is_some() && !range.contains(range.end) {
            return Err(format!("RangeEnd {} not in network {subnet}", range.end));
        }
        Ok(range)
    }
}

impl RangeSet {
    pub(super) fn check(set: Vec<Unchecked>) -> Result<Self, String> {
        let mut ranges: Vec<Range> = Vec::new();
        for range in set {
            ranges.push(range.check()?);
        }
        let Some(first) = ranges.first() else {
            return Err("empty range set".into());
        };
        if ranges
            .iter()
            .any(|r| r.start.is_ipv4() != first.start.is_ipv4())
        {
            return Err("mixed address families".into());
        }
        for (index, one) in ranges.iter().enumerate() {
            if let Some(other) = ranges[index + 1..].iter().find(|r| one.overlaps(r)) {
                return Err(format!("subnets {one} and {other} overlap"));
            }
        }
        Ok(Self(ranges))
    }

    pub(super) fn range_for(&self, ip: IpAddr) -> Option<&Range> {
        self.0.iter().find(|range| range.contains(ip))
    }

    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.0
            .iter()
            .any(|one| other.0.iter().any(|two| one.overlaps(two)))
    }

    /// Every address once, gateways left out: from the one after `last_reserved` round to
    /// it, or from the start when that lies elsewhere.
    pub(super) fn walk(&self, last_reserved: Option<IpAddr>) -> Walk<'_> {
        let after = last_reserved.and_then(|ip| {
            let index = self.0.iter().position(|range| range.contains(ip))?;
            Some((index, ip))
        });
        Walk {
            set: self,
            at: after,
            begun_at: None,
        }
    }
}

impl std::fmt::Display for RangeSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ranges: Vec<String> = self.0.iter().map(Range::to_string).collect();
        f.write_str(&ranges.join(","))
    }
}

/// See [`RangeSet::walk`].
pub(super) struct Walk<'a> {
    set: &'a RangeSet,
    at: Option<(usize, IpAddr)>,
    begun_at: Option<IpAddr>,
}

impl<'a> Iterator for Walk<'a> {
    type Item = (IpAddr, &'a Range);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (index, ip) = match self.at {
                None => (0, self.set.0.first()?.start),
                Some((index, ip)) if ip == self.set.0.get(index)?.end => {
                    let index = (index + 1) % self.set.0.len();
                    (index, self.set.0.get(index)?.start)
                }
                Some((index, ip)) => (index, next(ip)),
            };
            self.at = Some((index, ip));
            match self.begun_at {
                Some(begin) if begin == ip => return None,
                Some(_) => {}
                None => self.begun_at = Some(ip),
            }
            let range = self.set.0.get(index)?;
            if ip != range.gateway {
                return Some((ip, range));
            }
        }
    }
}

/// An IP address with its prefix length, host bits kept.
pub(super) fn cidr(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .map_err(|_| format!("invalid CIDR address: {text}"))
}

fn address(json: &Value, key: &str) -> Result<Option<IpAddr>, String> {
    match json.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => text
            .parse()
            .map(|ip: IpAddr| Some(ip.to_canonical()))
            .map_err(|_| format!("invalid IP address: {text}")),
        Some(other) => Err(wrong_kind(other, &format!("Range.{key}"), "net.IP")),
    }
}

fn next(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => Ipv4Addr::from(u32::from(ip).wrapping_add(1)).into(),
        IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip).wrapping_add(1)).into(),
    }
}

/// The last address that is given out; an IPv4 subnet keeps its broadcast address.
fn last(subnet: &IpNet) -> IpAddr {
    match subnet.broadcast() {
        IpAddr::V4(ip) => Ipv4Addr::from(u32::from(ip).wrapping_sub(1)).into(),
        v6 @ IpAddr::V6(_) => v6,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(json: Value) -> Result<RangeSet, String> {
        let ranges = json.as_array().unwrap().iter();
        let read: Result<Vec<_>, String> = ranges
            .map(|range| Ok(Range::read(range)?.unwrap_or_default()))
            .collect();
        RangeSet::check(read?)
    }

    fn walked(set: &RangeSet, last: Option<&str>) -> Vec<String> {
        set.walk(last.map(|ip| ip.parse().unwrap()))
            .map(|(ip, _)| ip.to_string())
            .collect()
    }

    #[test]
    fn every_address_comes_once() {
        let small = set(json!([{"subnet": "10.1.1.0/29"}])).unwrap();
        assert_eq!(small.to_string(), "10.1.1.1-10.1.1.6");
        let whole = ["10.1.1.2", "10.1.1.3", "10.1.1.4", "10.1.1.5", "10.1.1.6"];
        assert_eq!(walked(&small, None), whole);
        let around = ["10.1.1.5", "10.1.1.6", "10.1.1.2", "10.1.1.3", "10.1.1.4"];
        assert_eq!(walked(&small, Some("10.1.1.4")), around);
        assert_eq!(walked(&small, Some("10.9.9.9")), whole);
        let only_gateway = set(json!([
            {"subnet": "10.1.1.0/24", "rangeStart": "10.1.1.9", "rangeEnd": "10.1.1.9", "gateway": "10.1.1.9"}
        ]));
        assert!(walked(&only_gateway.unwrap(), None).is_empty());
    }

    #[test]
    fn ranges_of_a_set_follow_each_other() {
        let two = set(json!([
            {"subnet": "10.1.1.0/24", "rangeStart": "10.1.1.10", "rangeEnd": "10.1.1.11"},
            {"subnet": "10.1.2.0/30", "gateway": "10.1.2.2"}
        ]))
        .unwrap();
        assert_eq!(two.to_string(), "10.1.1.10-10.1.1.11,10.1.2.1-10.1.2.2");
        assert_eq!(walked(&two, None), ["10.1.1.10", "10.1.1.11", "10.1.2.1"]);
        assert_eq!(
            walked(&two, Some("10.1.2.1")),
            ["10.1.1.10", "10.1.1.11", "10.1.2.1"]
        );
        let v6 = set(json!([{"subnet": "fd00::/126"}])).unwrap();
        assert_eq!(walked(&v6, None), ["fd00::2", "fd00::3"]);
    }

    #[test]
    fn bad_ranges_are_refused() {
        let refused = |json: Value| set(json).unwrap_err();
        insta::assert_snapshot!(refused(json!([{"subnet": "10.1.1.300/24"}])), @"invalid CIDR address: 10.1.1.300/24");
        insta::assert_snapshot!(refused(json!([{"subnet": "10.1.1.5/24"}])), @"Network has host bits set. For a subnet mask of length 24 the network address is 10.1.1.0");
        insta::assert_snapshot!(refused(json!([{"subnet": "10.1.1.0/31"}])), @"Network 10.1.1.0/31 too small to allocate from");
        insta::assert_snapshot!(refused(json!([{"subnet": "10.1.1.0/24", "rangeStart": "10.2.1.1"}])), @"RangeStart 10.2.1.1 not in network 10.1.1.0/24");
        insta::assert_snapshot!(refused(json!([{"subnet": "10.1.1.0/24", "rangeEnd": "10.2.1.1"}])), @"RangeEnd 10.2.1.1 not in network 10.1.1.0/24");
        insta::assert_snapshot!(refused(json!([{"subnet": "10.1.1.0/24", "gateway": "x"}])), @"invalid IP address: x");
        insta::assert_snapshot!(refused(json!([])), @"empty range set");
        insta::assert_snapshot!(refused(json!([{}])), @"IP <nil> not v4 nor v6");
        insta::assert_snapshot!(refused(json!([{"subnet": "10.1.1.0/24"}, {"subnet": "fd00::/64"}])), @"mixed address families");
        insta::assert_snapshot!(refused(json!([{"subnet": "10.1.1.0/24"}, {"subnet": "10.1.0.0/16"}])), @"subnets 10.1.1.1-10.1.1.254 and 10.1.0.1-10.1.255.254 overlap");
    }
}
