//! A packet as a question: parsed strictly, once.
//!
//! Our own reader in place of the library's, for three reasons: a malformed option must be answered and not only
//! refused (RFC 6891, 7871), the question must be echoed byte for byte (its case is a resolver's defence against
//! forgery), and nothing is allocated for a packet that anyone may send.

use super::name::WireName;
use super::subnet::Subnet;

/// Size of a header (RFC 1035 §4.1.1).
pub(super) const HEADER_BYTES: usize = 12;

/// Record and query types that this server treats specially (IANA numbers).
pub(super) mod kind {
    pub(crate) const A: u16 = 1;
    pub(crate) const NS: u16 = 2;
    pub(crate) const CNAME: u16 = 5;
    pub(crate) const SOA: u16 = 6;
    pub(crate) const HINFO: u16 = 13;
    pub(crate) const MX: u16 = 15;
    pub(crate) const TXT: u16 = 16;
    pub(crate) const AAAA: u16 = 28;
    pub(crate) const OPT: u16 = 41;
    pub(crate) const HTTPS: u16 = 65;
    pub(crate) const TKEY: u16 = 249;
    pub(crate) const TSIG: u16 = 250;
    pub(crate) const IXFR: u16 = 251;
    pub(crate) const AXFR: u16 = 252;
    pub(crate) const ANY: u16 = 255;
}

/// The Internet, the one class there is.
pub(super) const CLASS_IN: u16 = 1;

/// The client-subnet option (RFC 7871).
pub(super) const OPTION_SUBNET: u16 = 8;

/// What a header says that a reply must repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) id: u16,
    pub(super) opcode: u8,
    pub(super) recursion_desired: bool,
    pub(super) checking_disabled: bool,
}

/// What came in.
#[expect(
    clippy::large_enum_variant,
    reason = "the large one is the common one, and a box would be an allocation for each packet"
)]
pub(super) enum Parsed<'p> {
    /// Not a query: whatever is answered could start a loop between two servers.
    Silence,
    /// A kind of message that this server does not have.
    OtherOpcode(Header),
    /// A query that cannot be read.
    Malformed(Header),
    /// A query.
    Query(Query<'p>),
}

/// One question, with what its sender can take.
pub(super) struct Query<'p> {
    pub(super) header: Header,
    /// The question as it came, type and class included: echoed as it is.
    pub(super) question: &'p [u8],
    pub(super) name: WireName,
    pub(super) kind: u16,
    pub(super) class: u16,
    pub(super) edns: Option<Edns>,
}

/// The sender's OPT record (RFC 6891).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edns {
    /// Largest UDP payload that the sender takes, bytes.
    pub(super) payload: u16,
    pub(super) version: u8,
    pub(super) dnssec_ok: bool,
    /// Options are read for version 0 only.
    pub(super) subnet: Result<Option<Subnet>, Malformed>,
}

/// Bytes that break a rule of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Reads a packet.
pub(super) fn parse(packet: &[u8]) -> Parsed<'_> {
    let Some(&[a, b, flags, more, ref counts @ ..]) = packet.first_chunk::<HEADER_BYTES>() else {
        return Parsed::Silence;
    };
    if flags & 0x80 != 0 {
        return Parsed::Silence;
    }
    let header = Header {
        id: u16::from_be_bytes([a, b]),
        opcode: (flags >> 3) & 0x0f,
        recursion_desired: flags & 1 != 0,
        checking_disabled: more & 0x10 != 0,
    };
    if header.opcode != 0 {
        return Parsed::OtherOpcode(header);
    }
    let count = |n: usize| u16::from_be_bytes([counts[2 * n], counts[2 * n + 1]]);
    // RFC 9619: one question, no more.
    if count(0) != 1 {
        return Parsed::Malformed(header);
    }
    let others = u32::from(count(1)) + u32::from(count(2));
    read(packet, header, others, count(3)).map_or(Parsed::Malformed(header), Parsed::Query)
}

fn read(packet: &[u8], header: Header, others: u32, additional: u16) -> Option<Query<'_>> {
    let (name, end) = WireName::read(packet, HEADER_BYTES)?;
    let question = packet.get(HEADER_BYTES..end + 4)?;
    let mut rest = Reader { packet, at: end };
    let (kind, class) = (rest.u16()?, rest.u16()?);
    let mut edns = None;
    for _ in 0..others {
        // An OPT record belongs into the additional section alone.
        (rest.record()?.kind != kind::OPT).then_some(())?;
    }
    for _ in 0..additional {
        let record = rest.record()?;
        if record.kind != kind::OPT {
            continue;
        }
        // RFC 6891 §6.1.1: under the root, and only one.
        if !record.root || edns.is_some() {
            return None;
        }
        edns = Some(opt(&record));
    }
    (rest.at == packet.len()).then_some(())?;
    Some(Query {
        header,
        question,
        name,
        kind,
        class,
        edns,
    })
}

fn opt(record: &Record<'_>) -> Edns {
    let [_extended_rcode, version, flags, _] = record.ttl;
    let subnet = match version {
        0 => options(record.data),
        _ => Ok(None),
    };
    Edns {
        payload: record.class,
        version,
        dnssec_ok: flags & 0x80 != 0,
        subnet,
    }
}

/// Walks the options; those that are not known are passed over.
fn options(data: &[u8]) -> Result<Option<Subnet>, Malformed> {
    let mut options = Reader {
        packet: data,
        at: 0,
    };
    let mut subnet = None;
    while options.at < data.len() {
        let code = options.u16().ok_or(Malformed)?;
        let length = options.u16().ok_or(Malformed)?;
        let value = options.take(length.into()).ok_or(Malformed)?;
        if code == OPTION_SUBNET && subnet.replace(Subnet::parse(value)?).is_some() {
            return Err(Malformed);
        }
    }
    Ok(subnet)
}

struct Record<'p> {
    root: bool,
    kind: u16,
    class: u16,
    ttl: [u8; 4],
    data: &'p [u8],
}

struct Reader<'p> {
    packet: &'p [u8],
    at: usize,
}

impl<'p> Reader<'p> {
    fn take(&mut self, bytes: usize) -> Option<&'p [u8]> {
        let taken = self.packet.get(self.at..self.at + bytes)?;
        self.at += bytes;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        let bytes = self.take(2)?;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// Passes over a name, and says whether it was the root. Pointers are not followed: the name does not matter.
    fn skip_name(&mut self) -> Option<bool> {
        let start = self.at;
        loop {
            let length = self.take(1)?[0];
            match length {
                0 => return Some(self.at == start + 1),
                1..=63 => self.take(length.into())?,
                0xc0..=0xff => return self.take(1).map(|_| false),
                _ => return None,
            };
        }
    }

    fn record(&mut self) -> Option<Record<'p>> {
        let root = self.skip_name()?;
        let (kind, class) = (self.u16()?, self.u16()?);
        let ttl = self.take(4)?;
        let length = self.u16()?;
        Some(Record {
            root,
            kind,
            class,
            ttl: [ttl[0], ttl[1], ttl[2], ttl[3]],
            data: self.take(length.into())?,
        })
    }
}
