//! A world to ask, and questions made by the library: an encoder and decoder that is not ours.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsOption};
use hickory_proto::rr::{Name, RData, RecordType};
use nearside_geo::{Atlas, Point};

use super::answer::{Reply, Transport, answer};
use super::catalog::Catalog;
use super::world::Snapshot;
use crate::config::{site_file, zone_file};
use crate::view::{NodeView, View};

pub(super) const ZONE: &str = r#"
name = "edge.example.net"
nameservers = { ns1 = "lon1", ns2 = "nyc1" }
ttl = { min = "20s", max = "60s" }
[[record]]
name = "@"
type = "TXT"
value = "v=spf1 -all"
[[record]]
name = "@"
type = "MX"
value = "10 mail.example.org"
[[record]]
name = "fixed"
type = "A"
value = "192.0.2.1"
[[record]]
name = "fixed"
type = "A"
value = "192.0.2.2"
ttl = "30s"
[[record]]
name = "alias"
type = "CNAME"
value = "pool.edge.example.net"
[[record]]
name = "away"
type = "CNAME"
value = "www.example.org"
[[record]]
name = "lost"
type = "CNAME"
value = "nothing.edge.example.net"
[[record]]
name = "ring1"
type = "CNAME"
value = "ring2.edge.example.net"
[[record]]
name = "ring2"
type = "CNAME"
value = "ring1.edge.example.net"
[[record]]
name = "*.wild"
type = "TXT"
value = "any"
[[record]]
name = "deep.below"
type = "TXT"
value = "there"
"#;

const SITE: &str = r#"
name = "shop"
hosts = ["shop.edge.example.net", "www.shop.example", "*.apps.edge.example.net", "fixed.edge.example.net"]
[[origin]]
url = "http://192.0.2.80"
"#;

pub(super) fn atlas() -> Arc<Atlas> {
    static ATLAS: LazyLock<Arc<Atlas>> =
        LazyLock::new(|| Arc::new(Atlas::embedded().expect("embedded")));
    Arc::clone(&ATLAS)
}

/// Five nodes in three regions; all have IPv4, those with an even id have IPv6 too.
pub(super) fn nodes() -> Vec<NodeView> {
    let node = |id: u8, name: &str, region: &str, latitude, longitude| NodeView {
        id: id.into(),
        name: name.into(),
        region: region.into(),
        point: Point::new(latitude, longitude),
        ipv4: Some([198, 51, 100, id].into()),
        ipv6: id
            .is_multiple_of(2)
            .then(|| [0x2001, 0xdb8, 0, 0, 0, 0, 0, id.into()].into()),
        draining: false,
    };
    vec![
        node(1, "lon1", "eu", 51.5, -0.1),
        node(2, "fra1", "eu", 50.1, 8.7),
        node(3, "nyc1", "us", 40.7, -74.0),
        node(4, "sfo1", "us", 37.8, -122.4),
        node(5, "sgp1", "ap", 1.35, 103.8),
    ]
}

pub(super) fn view_of(nodes: Vec<NodeView>) -> View {
    let mut zone = zone_file::parse(ZONE, "zone").expect("a zone");
    zone.revision = 42;
    let site = site_file::parse(SITE, "site").expect("a site");
    View::new(7, vec![Arc::new(site)], vec![Arc::new(zone)], nodes)
}

pub(super) fn world_of(nodes: Vec<NodeView>, healthy: impl IntoIterator<Item = u64>) -> Snapshot {
    Snapshot {
        catalog: Arc::new(Catalog::compile(Arc::new(view_of(nodes)))),
        healthy: Arc::new(healthy.into_iter().collect::<BTreeSet<_>>()),
        atlas: atlas(),
    }
}

pub(super) fn world() -> Snapshot {
    world_of(nodes(), 1..=5)
}

/// A question, and who asks it.
#[derive(Clone)]
pub(super) struct Ask {
    pub(super) message: Message,
    pub(super) client: IpAddr,
    pub(super) transport: Transport,
}

impl Ask {
    /// From Germany, over UDP, without EDNS.
    pub(super) fn new(name: &str, kind: RecordType) -> Self {
        let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
        let name = Name::from_ascii(name).expect("a name");
        message.add_query(Query::query(name, kind));
        Self {
            message,
            client: "85.214.132.117".parse().expect("an address"),
            transport: Transport::Udp,
        }
    }

    pub(super) fn from(mut self, client: &str) -> Self {
        self.client = client.parse().expect("an address");
        self
    }

    pub(super) fn tcp(mut self) -> Self {
        self.transport = Transport::Tcp;
        self
    }

    pub(super) fn edns(mut self, payload: u16) -> Self {
        let edns = self.message.edns.get_or_insert_with(Edns::new);
        edns.set_max_payload(payload);
        self
    }

    pub(super) fn subnet(mut self, address: &str, source: u8) -> Self {
        let edns = self.message.edns.get_or_insert_with(Edns::new);
        let address = address.parse().expect("an address");
        let network = ipnet::IpNet::new(address, source).expect("a prefix");
        let subnet = ClientSubnet::new(network.trunc().addr(), source, 0);
        edns.options_mut().insert(EdnsOption::Subnet(subnet));
        self
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.message.to_vec().expect("a message")
    }

    pub(super) fn reply(&self, world: &Snapshot) -> Reply {
        answer(&self.bytes(), self.transport, self.client, world).expect("a reply")
    }

    pub(super) fn ask(&self, world: &Snapshot) -> Message {
        Message::from_vec(&self.reply(world).bytes).expect("a reply that the library reads")
    }
}

/// Last numbers of the addresses in the answer section: the ids of the nodes above.
pub(super) fn ids(message: &Message) -> Vec<u16> {
    let addresses = message
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::A(address) => Some(address.0.octets()[3].into()),
            RData::AAAA(address) => Some(address.0.segments()[7]),
            _ => None,
        });
    addresses.collect()
}

/// The scope of the client subnet in a reply.
pub(super) fn scope(message: &Message) -> Option<u8> {
    let edns = message.edns.as_ref()?;
    let (_, option) = edns.options().as_ref().first()?;
    match option {
        EdnsOption::Subnet(subnet) => Some(subnet.scope_prefix()),
        _ => None,
    }
}
