//! The zones of a view as tables of names: what exists, what is steered, what is answered as written.
//!
//! Compiled once per view, so that a question costs a few hash lookups. Record data is encoded here and only copied
//! later.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::rr::rdata::{HINFO, MX, SOA, TXT};
use hickory_proto::rr::{Name, RData};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};

use super::name::{WireName, ancestors};
use super::query::kind;
use crate::config::zone::{Zone, ZoneData, ZoneRecord};
use crate::view::View;

/// The name under each zone that is steered whatever sites there are: other hosts CNAME to it.
const POOL: &str = "pool";

/// How often a secondary would ask, retry and give up: customary values. There are no secondaries; all nodes are equal.
const SOA_REFRESH_S: i32 = 3600;
const SOA_RETRY_S: i32 = 600;
const SOA_EXPIRE_S: i32 = 604_800;

/// All zones of one view.
#[derive(Debug)]
pub struct Catalog {
    view: Arc<View>,
    zones: HashMap<Box<[u8]>, ZoneTable>,
    /// The one answer to ANY (RFC 8482).
    pub(super) any: Box<[u8]>,
}

/// One zone's names.
#[derive(Debug)]
pub(super) struct ZoneTable {
    pub(super) name: Box<str>,
    pub(super) apex: Box<[u8]>,
    pub(super) soa: Box<[u8]>,
    /// Lifetime of negative answers: they go with steering, which may put a name there any time.
    pub(super) negative_ttl: u32,
    /// Lifetime of steered addresses.
    pub(super) steered_ttl: u32,
    ttl_max: u32,
    names: HashMap<Box<[u8]>, Entry>,
}

/// What stands under one name. An entry without anything is a name that only has names below it (RFC 8020).
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// Records of one type each.
    pub(super) sets: Vec<Set>,
    /// The name this one is an alias of.
    pub(super) alias: Option<(Box<[u8]>, u32)>,
    /// Its addresses are the nearest nodes.
    pub(super) steered: bool,
}

/// Records of one type, with one lifetime (RFC 2181 §5.2).
#[derive(Debug)]
pub(super) struct Set {
    pub(super) kind: u16,
    pub(super) ttl: u32,
    pub(super) data: Vec<Box<[u8]>>,
}

impl Catalog {
    /// Makes the tables for a view.
    #[must_use]
    pub fn compile(view: Arc<View>) -> Self {
        let tables = view.zones.iter().filter_map(|zone| {
            let table = ZoneTable::new(zone, &view)?;
            Some((table.apex.clone(), table))
        });
        let mut catalog = Self {
            zones: tables.collect(),
            any: encoded(&RData::HINFO(HINFO::new("RFC8482".into(), String::new())))
                .unwrap_or_default(),
            view: Arc::clone(&view),
        };
        for host in view.sites.iter().flat_map(|site| &site.hosts) {
            if let Some(name) = WireName::parse(host)
                && let Some(zone) = catalog.zone_mut(name.as_bytes())
            {
                zone.steer(name.as_bytes());
            }
        }
        catalog
    }

    /// The view these tables were made from.
    #[must_use]
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// The zone that a name belongs to: the one with the longest apex.
    pub(super) fn zone(&self, name: &[u8]) -> Option<&ZoneTable> {
        ancestors(name).find_map(|apex| self.zones.get(apex))
    }

    fn zone_mut(&mut self, name: &[u8]) -> Option<&mut ZoneTable> {
        let apex = ancestors(name).find(|apex| self.zones.contains_key(*apex))?;
        self.zones.get_mut(apex)
    }
}

impl ZoneTable {
    fn new(zone: &Zone, view: &View) -> Option<Self> {
        let apex = WireName::parse(&zone.name)?;
        let (ttl_min, ttl_max) = (seconds(zone.ttl_min), seconds(zone.ttl_max));
        let nameservers = nameservers(zone, view);
        let first = nameservers.first().map_or("@", |(label, _)| label);
        let soa = RData::SOA(SOA::new(
            host(first, zone)?,
            host("hostmaster", zone)?,
            #[expect(clippy::cast_possible_truncation, reason = "serials wrap (RFC 1982)")]
            {
                zone.revision as u32
            },
            SOA_REFRESH_S,
            SOA_RETRY_S,
            SOA_EXPIRE_S,
            ttl_min,
        ));
        let mut table = Self {
            name: zone.name.clone(),
            apex: apex.as_bytes().into(),
            soa: encoded(&soa)?,
            negative_ttl: ttl_min.min(ttl_max),
            steered_ttl: ttl_min,
            ttl_max,
            names: HashMap::new(),
        };
        table.add(apex.as_bytes(), kind::SOA, ttl_max, table.soa.clone());
        for (label, addresses) in nameservers {
            let name = WireName::under(label, &zone.name)?;
            table.add(apex.as_bytes(), kind::NS, ttl_max, name.as_bytes().into());
            for address in addresses {
                table.add_address(name.as_bytes(), address);
            }
        }
        for record in &zone.records {
            // A record that cannot be encoded was refused when the zone was applied.
            let _: Option<()> = table.add_record(record, zone);
        }
        let pool = WireName::under(POOL, &zone.name)?;
        table.steer(pool.as_bytes());
        Some(table)
    }

    /// What is at a name.
    pub(super) fn find(&self, name: &[u8]) -> Option<&Entry> {
        if let Some(entry) = self.names.get(name) {
            return Some(entry);
        }
        // RFC 4592: only the star under the closest name that exists.
        let encloser = ancestors(name).find(|ancestor| self.names.contains_key(*ancestor))?;
        let star = WireName::star(encloser)?;
        self.names.get(star.as_bytes())
    }

    /// The set of one type at a name that exists as such: glue.
    pub(super) fn set(&self, name: &[u8], kind: u16) -> Option<&Set> {
        let sets = &self.names.get(name)?.sets;
        sets.iter().find(|set| set.kind == kind)
    }

    /// Lets a name be steered, unless the operator wrote addresses or an alias for it: what is written wins.
    fn steer(&mut self, name: &[u8]) {
        let entry = self.entry(name);
        let addresses = |set: &Set| matches!(set.kind, kind::A | kind::AAAA);
        if entry.alias.is_none() && !entry.sets.iter().any(addresses) {
            entry.steered = true;
        }
    }

    fn add_record(&mut self, record: &ZoneRecord, zone: &Zone) -> Option<()> {
        let name = WireName::under(&record.name, &zone.name)?;
        let ttl = record.ttl.map_or(self.ttl_max, seconds);
        let (kind, data) = match &record.data {
            ZoneData::A(address) => (kind::A, Box::from(address.octets())),
            ZoneData::Aaaa(address) => (kind::AAAA, Box::from(address.octets())),
            ZoneData::Cname(target) => {
                let target = WireName::parse(target)?;
                if name.as_bytes() != &*self.apex {
                    self.entry(name.as_bytes()).alias = Some((target.as_bytes().into(), ttl));
                }
                return Some(());
            }
            ZoneData::Txt(text) => {
                let strings = text.as_bytes().chunks(255).collect();
                (kind::TXT, encoded(&RData::TXT(TXT::from_bytes(strings)))?)
            }
            ZoneData::Mx(preference, exchange) => {
                let exchange = Name::from_ascii(format!("{exchange}.")).ok()?;
                (
                    kind::MX,
                    encoded(&RData::MX(MX::new(*preference, exchange)))?,
                )
            }
        };
        self.add(name.as_bytes(), kind, ttl, data);
        Some(())
    }

    fn add_address(&mut self, name: &[u8], address: IpAddr) {
        let ttl = self.ttl_max;
        match address {
            IpAddr::V4(v4) => self.add(name, kind::A, ttl, v4.octets().into()),
            IpAddr::V6(v6) => self.add(name, kind::AAAA, ttl, v6.octets().into()),
        }
    }

    /// Adds a record to its set; the set's lifetime is the shortest of its records'.
    fn add(&mut self, name: &[u8], kind: u16, ttl: u32, data: Box<[u8]>) {
        if u16::try_from(data.len()).is_err() {
            return;
        }
        let entry = self.entry(name);
        match entry.sets.iter_mut().find(|set| set.kind == kind) {
            Some(set) => {
                set.ttl = set.ttl.min(ttl);
                if !set.data.contains(&data) {
                    set.data.push(data);
                }
            }
            None => entry.sets.push(Set {
                kind,
                ttl,
                data: vec![data],
            }),
        }
    }

    /// The entry of a name; the names between it and the apex exist from then on too.
    fn entry(&mut self, name: &[u8]) -> &mut Entry {
        for between in ancestors(name).skip(1) {
            if between.len() < self.apex.len() || self.names.contains_key(between) {
                break;
            }
            self.names.insert(between.into(), Entry::default());
        }
        self.names.entry(name.into()).or_default()
    }
}

/// The name servers that can be reached: label, and the addresses of the node behind it. A node that is no longer a
/// member, or has no address, is left out; health does not matter here, since resolvers try the others by themselves
/// and a set that changes with every blip would only spoil their caches.
fn nameservers<'z>(zone: &'z Zone, view: &View) -> Vec<(&'z str, Vec<IpAddr>)> {
    let of = |node: &str| -> Vec<IpAddr> {
        let Some(node) = view.nodes.iter().find(|member| &*member.name == node) else {
            return Vec::new();
        };
        let v4 = node.ipv4.map(IpAddr::from);
        v4.into_iter().chain(node.ipv6.map(IpAddr::from)).collect()
    };
    let all: Vec<_> = zone
        .nameservers
        .iter()
        .map(|(label, node)| (&**label, of(node)))
        .collect();
    let reachable = |(_, addresses): &&(&str, Vec<IpAddr>)| !addresses.is_empty();
    match all.iter().any(|server| reachable(&server)) {
        true => all.iter().filter(reachable).cloned().collect(),
        false => all,
    }
}

fn host(label: &str, zone: &Zone) -> Option<Name> {
    let name = match label {
        "@" => format!("{}.", zone.name),
        label => format!("{label}.{}.", zone.name),
    };
    Name::from_ascii(name).ok()
}

/// Record data on the wire, names in full: it is copied to wherever it is needed.
fn encoded(data: &RData) -> Option<Box<[u8]>> {
    let mut bytes = Vec::new();
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    data.emit(&mut encoder).ok()?;
    Some(bytes.into())
}

/// RFC 2181 §8: lifetimes have 31 bits.
fn seconds(ttl: Duration) -> u32 {
    u32::try_from(ttl.as_secs().min(0x7fff_ffff)).unwrap_or(0)
}
