//! A reply being written: sections in order, then cut to what the other side can take.
//!
//! Names that end like the question point into it, so that they come back in the case they were asked in.

use super::query::{CLASS_IN, Edns, HEADER_BYTES, Header};

/// Largest UDP payload sent or offered, bytes: passes every path without fragments (DNS Flag Day 2020).
pub(super) const UDP_PAYLOAD_MAX: u16 = 1232;

/// What a client without EDNS takes over UDP (RFC 1035 §4.2.1). Also room enough for any question and OPT alone.
pub(super) const UDP_PAYLOAD_MIN: u16 = 512;

/// Response codes, with the upper bits that live in the OPT record.
pub(super) mod rcode {
    pub(crate) const NO_ERROR: u16 = 0;
    pub(crate) const FORM_ERR: u16 = 1;
    pub(crate) const NX_DOMAIN: u16 = 3;
    pub(crate) const NOT_IMP: u16 = 4;
    pub(crate) const REFUSED: u16 = 5;
    pub(crate) const BAD_VERS: u16 = 16;
}

/// Whose record it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Owner<'a> {
    /// The question's name without its first so many bytes.
    Asked(usize),
    /// This name.
    Name(&'a [u8]),
}

/// A part of a message that holds records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Answer,
    Authority,
    Additional,
}

/// A reply in the making. Records are added section by section, in the order of [`Section`].
pub(super) struct Writer {
    bytes: Vec<u8>,
    header: Header,
    question_end: usize,
    /// End of what may not be left out without saying so.
    required_end: usize,
    questions: u16,
    counts: [u16; 3],
}

/// Everything about a reply that is not in a section.
pub(super) struct Closing<'a> {
    pub(super) rcode: u16,
    pub(super) authoritative: bool,
    /// The sender's, if it knows EDNS: then the reply has an OPT record too.
    pub(super) edns: Option<&'a Edns>,
    /// What the answer is good for, should the client subnet be echoed.
    pub(super) scope: u8,
    pub(super) bytes_max: usize,
}

impl Writer {
    /// Starts a reply that repeats the question; an empty one for a message whose question could not be read.
    pub(super) fn new(header: Header, question: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(UDP_PAYLOAD_MIN.into());
        bytes.extend_from_slice(&[0; HEADER_BYTES]);
        bytes.extend_from_slice(question);
        let end = bytes.len();
        Self {
            bytes,
            header,
            question_end: end,
            required_end: end,
            questions: u16::from(!question.is_empty()),
            counts: [0; 3],
        }
    }

    pub(super) fn record(
        &mut self,
        section: Section,
        owner: Owner<'_>,
        kind: u16,
        ttl: u32,
        data: &[u8],
    ) {
        match owner {
            // A question is at most 255 bytes, so the pointer fits its 14 bits.
            Owner::Asked(skipped) => {
                let at = u16::try_from(HEADER_BYTES + skipped).unwrap_or(0x0fff);
                self.bytes.extend_from_slice(&(0xc000 | at).to_be_bytes());
            }
            Owner::Name(name) => self.bytes.extend_from_slice(name),
        }
        // Compiled record data is at most 64 KiB: `Catalog` leaves out what is longer.
        let length = u16::try_from(data.len()).unwrap_or(0);
        self.bytes.extend_from_slice(&kind.to_be_bytes());
        self.bytes.extend_from_slice(&CLASS_IN.to_be_bytes());
        self.bytes.extend_from_slice(&ttl.to_be_bytes());
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(&data[..length.into()]);
        self.counts[section as usize] += 1;
        if section != Section::Additional {
            self.required_end = self.bytes.len();
        }
    }

    pub(super) fn answers(&self) -> u16 {
        self.counts[Section::Answer as usize]
    }

    /// Cuts to size, adds OPT and header. What is only helpful is left out silently; where the answer itself does not
    /// fit, none of it is sent and TC says so (RFC 2181 §9). The flag tells the caller.
    pub(super) fn finish(mut self, closing: &Closing<'_>) -> (Vec<u8>, bool) {
        let room = closing.bytes_max.saturating_sub(opt_bytes(closing.edns));
        if self.bytes.len() > room {
            self.bytes.truncate(self.required_end);
            self.counts[Section::Additional as usize] = 0;
        }
        let truncated = self.bytes.len() > room;
        if truncated {
            self.bytes.truncate(self.question_end);
            self.counts = [0; 3];
        }
        if let Some(edns) = closing.edns {
            self.opt(edns, closing);
        }
        self.head(closing, truncated);
        (self.bytes, truncated)
    }

    fn opt(&mut self, edns: &Edns, closing: &Closing<'_>) {
        let [upper, lower] = (closing.rcode >> 4).to_be_bytes();
        debug_assert_eq!(upper, 0, "extended response codes have 12 bits");
        let flags = if edns.dnssec_ok { 0x80 } else { 0 };
        let subnet = edns.subnet.ok().flatten();
        let options = subnet.map_or(0, |subnet| subnet.option_bytes());
        self.bytes.extend_from_slice(&[0, 0, 41]);
        self.bytes.extend_from_slice(&UDP_PAYLOAD_MAX.to_be_bytes());
        self.bytes.extend_from_slice(&[lower, 0, flags, 0]);
        // At most 24 bytes of options.
        let options = u16::try_from(options).unwrap_or(0);
        self.bytes.extend_from_slice(&options.to_be_bytes());
        if let Some(subnet) = subnet {
            subnet.write(closing.scope, &mut self.bytes);
        }
        self.counts[Section::Additional as usize] += 1;
    }

    fn head(&mut self, closing: &Closing<'_>, truncated: bool) {
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        let header = self.header;
        let flags = 0x80
            | header.opcode << 3
            | bit(closing.authoritative, 0x04)
            | bit(truncated, 0x02)
            | bit(header.recursion_desired, 0x01);
        let [_, code] = (closing.rcode & 0x0f).to_be_bytes();
        let more = bit(header.checking_disabled, 0x10) | code;
        let [a, b] = header.id.to_be_bytes();
        self.bytes[..4].copy_from_slice(&[a, b, flags, more]);
        let counts = [
            self.questions,
            self.counts[0],
            self.counts[1],
            self.counts[2],
        ];
        for (room, count) in self.bytes[4..HEADER_BYTES].chunks_exact_mut(2).zip(counts) {
            room.copy_from_slice(&count.to_be_bytes());
        }
    }
}

fn opt_bytes(edns: Option<&Edns>) -> usize {
    edns.map_or(0, |edns| {
        let subnet = edns.subnet.ok().flatten();
        11 + subnet.map_or(0, |subnet| subnet.option_bytes())
    })
}
