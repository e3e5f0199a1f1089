//! The answer to one packet: pure, from one snapshot.

use std::net::IpAddr;

use nearside_geo::{Atlas, Place, PlaceSource};

use super::catalog::{Catalog, Entry, Set, ZoneTable};
use super::metrics::Outcome;
use super::name::ancestors;
use super::query::{CLASS_IN, HEADER_BYTES, Header, Parsed, Query, kind, parse};
use super::steer::{Choice, choose};
use super::world::Snapshot;
use super::writer::{Closing, Owner, Section, UDP_PAYLOAD_MAX, UDP_PAYLOAD_MIN, Writer, rcode};

/// Most aliases followed inside our own zones for one question; a circle ends here.
const ALIASES_MAX: usize = 8;

/// What a packet came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams: short, and their sender may be forged.
    Udp,
    /// A connection, with a length before each message.
    Tcp,
}

/// What goes back.
#[derive(Debug)]
pub struct Reply {
    /// The message, without TCP's length.
    pub bytes: Vec<u8>,
    /// The type that was asked for; 0 where no question could be read.
    pub kind: u16,
    /// What became of it.
    pub outcome: Outcome,
    /// It did not fit, and says so.
    pub truncated: bool,
    /// Nobody was believed to be healthy.
    pub fail_open: bool,
}

/// Answers a packet from `client`; none if silence is the only safe answer.
#[must_use]
pub fn answer(
    packet: &[u8],
    transport: Transport,
    client: IpAddr,
    world: &Snapshot,
) -> Option<Reply> {
    match parse(packet) {
        Parsed::Silence => None,
        Parsed::OtherOpcode(header) => Some(bare(header, rcode::NOT_IMP, Outcome::NotImp)),
        Parsed::Malformed(header) => Some(bare(header, rcode::FORM_ERR, Outcome::FormErr)),
        Parsed::Query(query) => Some(Answering::new(&query, client, world).run(transport)),
    }
}

/// A reply that is only a header: the question was not understood.
fn bare(header: Header, rcode: u16, outcome: Outcome) -> Reply {
    let closing = Closing {
        rcode,
        authoritative: false,
        edns: None,
        scope: 0,
        bytes_max: HEADER_BYTES,
    };
    let (bytes, truncated) = Writer::new(header, &[]).finish(&closing);
    Reply {
        bytes,
        kind: 0,
        outcome,
        truncated,
        fail_open: false,
    }
}

struct Answering<'a> {
    query: &'a Query<'a>,
    client: IpAddr,
    world: &'a Snapshot,
    writer: Writer,
    authoritative: bool,
    scope: u8,
    fail_open: bool,
}

impl<'a> Answering<'a> {
    fn new(query: &'a Query<'a>, client: IpAddr, world: &'a Snapshot) -> Self {
        Self {
            query,
            client,
            world,
            writer: Writer::new(query.header, query.question),
            authoritative: false,
            scope: 0,
            fail_open: false,
        }
    }

    fn run(mut self, transport: Transport) -> Reply {
        let outcome = self.respond();
        let edns = self.query.edns.as_ref();
        let bytes_max = match (transport, edns) {
            (Transport::Tcp, _) => u16::MAX,
            (Transport::Udp, None) => UDP_PAYLOAD_MIN,
            (Transport::Udp, Some(edns)) => edns.payload.clamp(UDP_PAYLOAD_MIN, UDP_PAYLOAD_MAX),
        };
        let (bytes, truncated) = self.writer.finish(&Closing {
            rcode: code(outcome),
            authoritative: self.authoritative,
            edns,
            scope: self.scope,
            bytes_max: bytes_max.into(),
        });
        Reply {
            bytes,
            kind: self.query.kind,
            outcome,
            truncated,
            fail_open: self.fail_open,
        }
    }

    fn respond(&mut self) -> Outcome {
        let query = self.query;
        if let Some(edns) = &query.edns {
            if edns.version != 0 {
                return Outcome::BadVers;
            }
            if edns.subnet.is_err() {
                return Outcome::FormErr;
            }
        }
        match query.kind {
            kind::OPT | kind::TKEY | kind::TSIG => return Outcome::FormErr,
            // Transfers come with a later issue; until then they are not for anyone.
            kind::AXFR | kind::IXFR => return Outcome::Refused,
            _ if query.class != CLASS_IN => return Outcome::Refused,
            _ => {}
        }
        self.resolve()
    }

    /// Follows aliases as long as they stay in our zones, and answers for the last name (RFC 1034 §4.3.2).
    fn resolve(&mut self) -> Outcome {
        let catalog: &'a Catalog = &self.world.catalog;
        let asked: &'a [u8] = self.query.name.as_bytes();
        let mut name = asked;
        for hop in 0..ALIASES_MAX {
            let Some(zone) = catalog.zone(name) else {
                break;
            };
            self.authoritative = true;
            let owner = match hop {
                0 => Owner::Asked(0),
                _ => Owner::Name(name),
            };
            let Some(entry) = zone.find(name) else {
                self.soa(zone, name, hop);
                return Outcome::NxDomain;
            };
            match &entry.alias {
                Some((target, ttl)) if !matches!(self.query.kind, kind::CNAME | kind::ANY) => {
                    self.writer
                        .record(Section::Answer, owner, kind::CNAME, *ttl, target);
                    name = target;
                }
                _ => {
                    let before = self.writer.answers();
                    self.answer(zone, entry, owner);
                    if self.writer.answers() > before {
                        return Outcome::Answer;
                    }
                    self.soa(zone, name, hop);
                    return Outcome::NoData;
                }
            }
        }
        match self.authoritative {
            true => Outcome::Answer,
            false => Outcome::Refused,
        }
    }

    /// The records of a name that is no alias, or whose alias was asked for.
    fn answer(&mut self, zone: &'a ZoneTable, entry: &'a Entry, owner: Owner<'a>) {
        let wanted = self.query.kind;
        match wanted {
            kind::ANY => {
                let any = &self.world.catalog.any;
                self.writer
                    .record(Section::Answer, owner, kind::HINFO, zone.negative_ttl, any);
            }
            kind::CNAME => {
                if let Some((target, ttl)) = &entry.alias {
                    self.writer
                        .record(Section::Answer, owner, wanted, *ttl, target);
                }
            }
            kind::A | kind::AAAA if entry.steered => self.steer(zone, owner),
            _ => {
                let found = entry.sets.iter().find(|set| set.kind == wanted);
                if let Some(set) = found {
                    self.set(Section::Answer, owner, set);
                    if wanted == kind::NS {
                        self.glue(zone, set);
                    }
                }
            }
        }
    }

    fn set(&mut self, section: Section, owner: Owner<'_>, set: &Set) {
        for data in &set.data {
            self.writer.record(section, owner, set.kind, set.ttl, data);
        }
    }

    /// Addresses of the name servers, which nobody can look up elsewhere.
    fn glue(&mut self, zone: &ZoneTable, servers: &Set) {
        for server in &servers.data {
            for kind in [kind::A, kind::AAAA] {
                if let Some(set) = zone.set(server, kind) {
                    self.set(Section::Additional, Owner::Name(server), set);
                }
            }
        }
    }

    fn steer(&mut self, zone: &ZoneTable, owner: Owner<'_>) {
        let (choice, place, by_subnet) = self.choose();
        self.fail_open = choice.fail_open;
        if by_subnet && choice.place_matters {
            self.scope = place.network.prefix_len();
        }
        let view = self.world.catalog.view();
        for node in choice.answered.iter().map(|&index| &view.nodes[index]) {
            let mut write = |data: &[u8]| {
                let ttl = zone.steered_ttl;
                self.writer
                    .record(Section::Answer, owner, self.query.kind, ttl, data);
            };
            match (self.query.kind, node.ipv4, node.ipv6) {
                (kind::A, Some(v4), _) => write(&v4.octets()),
                (kind::AAAA, _, Some(v6)) => write(&v6.octets()),
                _ => {}
            }
        }
    }

    fn choose(&self) -> (Choice, Place, bool) {
        let (place, by_subnet) = whereabouts(self.query, self.client, &self.world.atlas);
        let wanted = self.query.kind;
        let choice = choose(
            self.world.catalog.view(),
            &self.world.healthy,
            &place,
            |node| match wanted {
                kind::A => node.ipv4.is_some(),
                _ => node.ipv6.is_some(),
            },
        );
        (choice, place, by_subnet)
    }

    /// RFC 2308: what is not there, and for how long that may be believed.
    fn soa(&mut self, zone: &'a ZoneTable, name: &[u8], hop: usize) {
        let skipped = name.len() - zone.apex.len();
        let owner = match hop {
            0 => Owner::Asked(skipped),
            _ => Owner::Name(&zone.apex),
        };
        self.writer.record(
            Section::Authority,
            owner,
            kind::SOA,
            zone.negative_ttl,
            &zone.soa,
        );
    }
}

/// Where the one is who will use the answer, and whether the client subnet says so. Who opted out, or whose resolver
/// sent a private address, is taken to be where the resolver is; that answer is then everyone's (scope 0).
fn whereabouts(query: &Query<'_>, client: IpAddr, atlas: &Atlas) -> (Place, bool) {
    let subnet = query
        .edns
        .as_ref()
        .and_then(|edns| edns.subnet.ok().flatten());
    if let Some(address) = subnet.and_then(|subnet| subnet.address()) {
        let place = atlas.locate(address);
        if !matches!(place.source, PlaceSource::Special { .. }) {
            return (place, true);
        }
    }
    (atlas.locate(client), false)
}

fn code(outcome: Outcome) -> u16 {
    match outcome {
        Outcome::Answer | Outcome::NoData => rcode::NO_ERROR,
        Outcome::NxDomain => rcode::NX_DOMAIN,
        Outcome::Refused => rcode::REFUSED,
        Outcome::FormErr => rcode::FORM_ERR,
        Outcome::NotImp => rcode::NOT_IMP,
        Outcome::BadVers => rcode::BAD_VERS,
    }
}

/// The zone that answers for a host, and whether the host is steered there.
pub(super) fn standing<'c>(catalog: &'c Catalog, name: &[u8]) -> Option<(&'c ZoneTable, bool)> {
    let zone = catalog.zone(name)?;
    let steered = zone.find(name).is_some_and(|entry| entry.steered);
    debug_assert!(ancestors(name).any(|ancestor| ancestor == &*zone.apex));
    Some((zone, steered))
}

#[cfg(test)]
mod tests;
