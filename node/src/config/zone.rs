//! A DNS zone as the server uses it: checked, complete. `zone_file` makes it from the operator's TOML.

use std::time::Duration;

/// A zone that the cluster answers for.
#[derive(Debug)]
pub struct Zone {
    /// The apex, lower case, without the final dot.
    pub name: Box<str>,
    /// Name server's label (under the apex, as `ns1`) and the node that stands behind it.
    pub nameservers: Vec<(Box<str>, Box<str>)>,
    /// Shortest lifetime of a steered answer.
    pub ttl_min: Duration,
    /// Longest lifetime of a steered answer.
    pub ttl_max: Duration,
    /// What is answered as written.
    pub records: Vec<ZoneRecord>,
    /// The log index of the change that made this version: the SOA's serial.
    pub revision: u64,
}

/// A static record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneRecord {
    /// Owner, relative to the apex; `@` is the apex.
    pub name: Box<str>,
    /// Kind and value.
    pub data: ZoneData,
    /// Lifetime; none: the zone's `ttl_max`.
    pub ttl: Option<Duration>,
}

/// Kinds of static records. More come with the DNS issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ZoneData {
    /// An IPv4 address.
    A(std::net::Ipv4Addr),
    /// An IPv6 address.
    Aaaa(std::net::Ipv6Addr),
    /// An alias: a full name without the final dot.
    Cname(Box<str>),
    /// Text, in strings of at most 255 bytes.
    Txt(Box<str>),
    /// Preference and exchange.
    Mx(u16, Box<str>),
}
