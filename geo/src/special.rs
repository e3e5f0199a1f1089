//! What an address is before any database is asked: a wrapped IPv4 address, or one that belongs to nobody's place.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::Serialize;

/// Ranges that say nothing of a place (IANA special-purpose registries, RFC 6890).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Special {
    /// RFC 1918, RFC 4193, RFC 8215: somebody's inside.
    Private,
    /// This machine.
    Loopback,
    /// RFC 6598: behind a carrier's NAT.
    Cgnat,
    /// RFC 3927, RFC 4291: this link only.
    LinkLocal,
    /// RFC 5737, RFC 3849, RFC 9637: examples.
    Documentation,
    /// RFC 2544, RFC 5180: test networks.
    Benchmarking,
    /// Groups, not hosts.
    Multicast,
    /// Unspecified, reserved, or set aside for protocols.
    Reserved,
}

impl fmt::Display for Special {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Private => "private",
            Self::Loopback => "loopback",
            Self::Cgnat => "carrier NAT",
            Self::LinkLocal => "link-local",
            Self::Documentation => "documentation",
            Self::Benchmarking => "benchmarking",
            Self::Multicast => "multicast",
            Self::Reserved => "reserved",
        })
    }
}

const V4: [(&str, Special); 14] = [
    ("0.0.0.0/8", Special::Reserved),
    ("10.0.0.0/8", Special::Private),
    ("100.64.0.0/10", Special::Cgnat),
    ("127.0.0.0/8", Special::Loopback),
    ("169.254.0.0/16", Special::LinkLocal),
    ("172.16.0.0/12", Special::Private),
    ("192.0.0.0/24", Special::Reserved),
    ("192.0.2.0/24", Special::Documentation),
    ("192.168.0.0/16", Special::Private),
    ("198.18.0.0/15", Special::Benchmarking),
    ("198.51.100.0/24", Special::Documentation),
    ("203.0.113.0/24", Special::Documentation),
    ("224.0.0.0/4", Special::Multicast),
    ("240.0.0.0/4", Special::Reserved),
];

const V6: [(&str, Special); 11] = [
    ("::/128", Special::Reserved),
    ("::1/128", Special::Loopback),
    ("64:ff9b:1::/48", Special::Private),
    ("100::/64", Special::Reserved),
    ("2001:2::/48", Special::Benchmarking),
    ("2001:db8::/32", Special::Documentation),
    ("3fff::/20", Special::Documentation),
    ("fc00::/7", Special::Private),
    ("fe80::/10", Special::LinkLocal),
    ("fec0::/10", Special::Private),
    ("ff00::/8", Special::Multicast),
];

/// Ranges whose addresses carry an IPv4 address, which is asked for in their place.
const TUNNELS: [(&str, Tunnel); 4] = [
    ("::ffff:0:0/96", Tunnel::Tail),
    ("64:ff9b::/96", Tunnel::Tail),
    ("2002::/16", Tunnel::SixToFour),
    ("2001::/32", Tunnel::Teredo),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tunnel {
    /// The last 32 bits: v4-mapped (RFC 4291) and NAT64 (RFC 6052).
    Tail,
    /// Bits 16 to 47 (RFC 3056).
    SixToFour,
    /// The last 32 bits inverted are the client's outer address (RFC 4380).
    Teredo,
}

struct Ranges {
    v4: Vec<(Ipv4Net, Special)>,
    v6: Vec<(Ipv6Net, Special)>,
    tunnels: Vec<(Ipv6Net, Tunnel)>,
}

static RANGES: LazyLock<Ranges> = LazyLock::new(|| Ranges {
    v4: parsed(&V4),
    v6: parsed(&V6),
    tunnels: parsed(&TUNNELS),
});

fn parsed<N: std::str::FromStr, T: Copy>(table: &[(&str, T)]) -> Vec<(N, T)> {
    let one = |(text, what): &(&str, T)| text.parse().ok().map(|net| (net, *what));
    table.iter().filter_map(one).collect()
}

/// An address as the databases are asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unwrapped {
    /// The address that has a place: the inner one of a tunnel.
    pub(crate) address: IpAddr,
    outer: Option<(Ipv6Addr, Tunnel)>,
}

impl Unwrapped {
    pub(crate) fn new(address: IpAddr) -> Self {
        let plain = Self {
            address,
            outer: None,
        };
        let IpAddr::V6(outer) = address else {
            return plain;
        };
        let holds = |(net, _): &&(Ipv6Net, Tunnel)| net.contains(&outer);
        let Some(&(_, tunnel)) = RANGES.tunnels.iter().find(holds) else {
            return plain;
        };
        let bits = u128::from(outer);
        let inner = match tunnel {
            Tunnel::Tail => low32(bits),
            Tunnel::SixToFour => low32(bits >> 80),
            Tunnel::Teredo => !low32(bits),
        };
        Self {
            address: Ipv4Addr::from(inner).into(),
            outer: Some((outer, tunnel)),
        }
    }

    /// Turns a network around the inner address into the one around the address as it was asked for.
    pub(crate) fn wrap(&self, network: IpNet) -> IpNet {
        let Some((outer, tunnel)) = self.outer else {
            return network;
        };
        let lead = match tunnel {
            Tunnel::Tail | Tunnel::Teredo => 96,
            Tunnel::SixToFour => 16,
        };
        trunc(outer.into(), lead + network.prefix_len())
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the low half is what is wanted"
)]
fn low32(bits: u128) -> u32 {
    bits as u32
}

/// The network of this length that holds the address; longer than the family allows: the address alone.
pub(crate) fn trunc(address: IpAddr, prefix: u8) -> IpNet {
    IpNet::new(address, prefix).map_or_else(|_| address.into(), |net| net.trunc())
}

/// Is the address (unwrapped) in a special range, and in which?
pub(crate) fn special(address: IpAddr) -> Option<(Special, IpNet)> {
    match address {
        IpAddr::V4(v4) => {
            let found = RANGES.v4.iter().find(|(net, _)| net.contains(&v4));
            found.map(|&(net, what)| (what, net.into()))
        }
        IpAddr::V6(v6) => {
            let found = RANGES.v6.iter().find(|(net, _)| net.contains(&v6));
            found.map(|&(net, what)| (what, net.into()))
        }
    }
}

/// Shrinks a database's network around `address` until it holds no special range and no tunnel: those have other
/// answers than the rest of it, and one network must have one.
pub(crate) fn carve(address: IpAddr, network: IpNet) -> IpNet {
    let holes: &mut dyn Iterator<Item = IpNet> = match address {
        IpAddr::V4(_) => &mut RANGES.v4.iter().map(|&(net, _)| net.into()),
        IpAddr::V6(_) => {
            let tunnels = RANGES.tunnels.iter().map(|&(net, _)| net);
            &mut RANGES
                .v6
                .iter()
                .map(|&(net, _)| net)
                .chain(tunnels)
                .map(IpNet::from)
        }
    };
    let mut network = network;
    for hole in holes {
        while network.contains(&hole) && network.prefix_len() < network.max_prefix_len() {
            network = trunc(address, network.prefix_len() + 1);
        }
    }
    network
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_range_is_read() {
        assert_eq!(RANGES.v4.len(), V4.len());
        assert_eq!(RANGES.v6.len(), V6.len());
        assert_eq!(RANGES.tunnels.len(), TUNNELS.len());
    }

    #[test]
    fn wrapped_addresses_are_unwrapped_and_their_networks_wrapped_again() {
        for (outer, network, wrapped) in [
            (
                "::ffff:81.2.69.160",
                "81.2.69.128/26",
                "::ffff:81.2.69.128/122",
            ),
            (
                "64:ff9b::5102:45a0",
                "81.2.69.128/26",
                "64:ff9b::5102:4580/122",
            ),
            (
                "2002:5102:45a0:1::9",
                "81.2.69.128/26",
                "2002:5102:4580::/42",
            ),
            (
                "2001:0:1:2:3:4:aefd:ba5f",
                "81.2.69.128/26",
                "2001:0:1:2:3:4:aefd:ba40/122",
            ),
        ] {
            let unwrapped = Unwrapped::new(outer.parse().expect("an address"));
            assert_eq!(unwrapped.address.to_string(), "81.2.69.160", "{outer}");
            let network = unwrapped.wrap(network.parse().expect("a network"));
            assert_eq!(network.to_string(), wrapped);
        }
        let plain = Unwrapped::new("2a02::1".parse().expect("an address"));
        assert_eq!(plain.address.to_string(), "2a02::1");
    }

    #[test]
    fn a_network_is_carved_out_of_its_holes() {
        let check = |address: &str, network: &str, carved: &str| {
            let address = address.parse().expect("an address");
            let network = network.parse().expect("a network");
            assert_eq!(carve(address, network).to_string(), carved);
        };
        check("9.255.0.1", "8.0.0.0/6", "8.0.0.0/7");
        check("11.0.0.1", "0.0.0.0/0", "11.0.0.0/8");
        check("81.2.69.160", "81.2.69.160/27", "81.2.69.160/27");
        check("2003::1", "2000::/12", "2003::/16");
    }
}
