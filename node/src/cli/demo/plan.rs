//! What the demo is made of: five nodes in three regions, two origins, clients in nine countries. Data only.

use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};

use anyhow::{Result, bail};
use nearside_geo::Point;

/// The zone that the nodes answer for.
pub(super) const ZONE: &str = "edge.example";
/// The one site's name and host; the host lies under the zone, so that DNS steers it.
pub(super) const SITE: &str = "shop";
pub(super) const HOST: &str = "shop.edge.example";

/// A node to start.
#[derive(Clone, Copy, Debug)]
pub(super) struct NodePlan {
    pub(super) name: &'static str,
    pub(super) city: &'static str,
    pub(super) region: &'static str,
    pub(super) point: Point,
    pub(super) address: Ipv4Addr,
}

/// An origin to start.
#[derive(Clone, Copy, Debug)]
pub(super) struct OriginPlan {
    pub(super) name: &'static str,
    pub(super) region: &'static str,
    pub(super) point: Point,
    pub(super) address: Ipv4Addr,
}

/// Somebody who asks: a real address, and the country that the embedded database knows for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientPlan {
    pub(super) address: IpAddr,
    pub(super) code: &'static str,
    pub(super) country: &'static str,
}

const fn point(latitude: f64, longitude: f64) -> Point {
    Point {
        latitude,
        longitude,
    }
}

const fn node(
    name: &'static str,
    city: &'static str,
    region: &'static str,
    point: Point,
    last: u8,
) -> NodePlan {
    NodePlan {
        name,
        city,
        region,
        point,
        address: Ipv4Addr::new(127, 0, 0, last),
    }
}

const fn client(address: [u8; 4], code: &'static str, country: &'static str) -> ClientPlan {
    let [a, b, c, d] = address;
    ClientPlan {
        address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        code,
        country,
    }
}

/// The first one makes the cluster.
pub(super) const NODES: [NodePlan; 5] = [
    node("lon1", "London", "eu", point(51.5, -0.1), 11),
    node("fra1", "Frankfurt", "eu", point(50.1, 8.7), 12),
    node("nyc1", "New York", "us", point(40.7, -74.0), 13),
    node("sfo1", "San Francisco", "us", point(37.8, -122.4), 14),
    node("sin1", "Singapore", "ap", point(1.35, 103.8), 15),
];

/// An ocean apart.
pub(super) const ORIGINS: [OriginPlan; 2] = [
    OriginPlan {
        name: "paris",
        region: "eu",
        point: point(48.9, 2.4),
        address: Ipv4Addr::new(127, 0, 0, 21),
    },
    OriginPlan {
        name: "ashburn",
        region: "us",
        point: point(39.0, -77.5),
        address: Ipv4Addr::new(127, 0, 0, 22),
    },
];

/// The first one is moved when its node dies.
pub(super) const CLIENTS: [ClientPlan; 9] = [
    client([81, 2, 69, 160], "GB", "United Kingdom"),
    client([88, 198, 0, 1], "DE", "Germany"),
    client([197, 248, 0, 1], "KE", "Kenya"),
    client([128, 97, 27, 37], "US", "United States"),
    client([132, 248, 10, 2], "MX", "Mexico"),
    client([200, 160, 0, 8], "BR", "Brazil"),
    client([14, 139, 34, 1], "IN", "India"),
    client([133, 11, 0, 1], "JP", "Japan"),
    client([1, 128, 0, 1], "AU", "Australia"),
];

/// The ports that all nodes share, so that an address from DNS is all that a client needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) http: u16,
    pub(super) https: u16,
    pub(super) dns: u16,
    pub(super) peer: u16,
    pub(super) metrics: u16,
    pub(super) origin: u16,
}

impl Ports {
    /// The usual ports, moved up until every address of the demo has all of them free.
    pub(super) fn free() -> Result<Self> {
        if TcpListener::bind((NODES[1].address, 0)).is_err() {
            bail!(
                "this system has no address {}: the demo needs 127.0.0.11–15, .21 and .22 (on macOS: \
                 sudo ifconfig lo0 alias ADDRESS up, for each), or use docker-compose.yml",
                NODES[1].address
            );
        }
        (0..50)
            .map(|step| Self::moved_by(step * 10))
            .find(|ports| ports.are_free())
            .ok_or_else(|| {
                anyhow::anyhow!("no free ports on 127.0.0.11–15: 8080 and 50 more are taken")
            })
    }

    fn moved_by(offset: u16) -> Self {
        Self {
            http: 8080 + offset,
            https: 8443 + offset,
            dns: 8053 + offset,
            peer: 7443 + offset,
            metrics: 9180 + offset,
            origin: 9000 + offset,
        }
    }

    fn are_free(self) -> bool {
        let tcp = [self.http, self.https, self.dns, self.peer, self.metrics];
        let nodes = NODES.iter().all(|node| {
            tcp.iter()
                .all(|port| TcpListener::bind((node.address, *port)).is_ok())
                && UdpSocket::bind((node.address, self.dns)).is_ok()
        });
        nodes
            && ORIGINS
                .iter()
                .all(|origin| TcpListener::bind((origin.address, self.origin)).is_ok())
    }
}

/// The nearest of `nodes` to a point by great circle, and how far it is, in km.
pub(super) fn nearest<'a>(
    from: Point,
    nodes: impl Iterator<Item = &'a NodePlan>,
) -> Option<(&'a NodePlan, f64)> {
    nodes
        .map(|node| (node, from.distance_km(node.point)))
        .min_by(|left, right| left.1.total_cmp(&right.1))
}

#[cfg(test)]
mod tests {
    use super::{NODES, nearest, point};

    #[test]
    fn the_nearest_node_is_the_nearest_by_great_circle() {
        let kyoto = point(35.0, 135.8);
        let (node, distance_km) = nearest(kyoto, NODES.iter()).expect("there are nodes");
        assert_eq!(node.name, "sin1");
        assert!((4900.0..5100.0).contains(&distance_km), "{distance_km}");
        let without = NODES.iter().filter(|node| node.name != "sin1");
        assert_eq!(
            nearest(kyoto, without).map(|(node, _)| node.name),
            Some("sfo1")
        );
    }
}
