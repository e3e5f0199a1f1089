//! Client subnet in DNS queries (RFC 7871): who is really asking, as far as the resolver tells.
//!
//! What an answer's *scope* promises is that everyone inside it would have got the same. It is the prefix of the place
//! that decided, as long as that is: a database's networks do not overlap, so neither do the scopes. One that is longer
//! than what the resolver sent says that it should send more (§7.2.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::query::{Malformed, OPTION_SUBNET};

/// A client subnet option that keeps the rules of its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subnet {
    family: u16,
    source: u8,
    octets: [u8; 16],
    /// How many of the octets are on the wire: as few as hold `source` bits.
    used: usize,
}

impl Subnet {
    /// §6: a known family, as many octets as the prefix needs, no bit set beyond it, and a scope of zero.
    pub(super) fn parse(value: &[u8]) -> Result<Self, Malformed> {
        let [f0, f1, source, scope, address @ ..] = value else {
            return Err(Malformed);
        };
        let family = u16::from_be_bytes([*f0, *f1]);
        let bits = match family {
            // Some clients opt out with no family at all.
            0 => 0,
            1 => 32,
            2 => 128,
            _ => return Err(Malformed),
        };
        let used = usize::from(source.div_ceil(8));
        if *scope != 0 || *source > bits || address.len() != used {
            return Err(Malformed);
        }
        let beyond = match source % 8 {
            0 => 0,
            inside => 0xff_u8 >> inside,
        };
        if address.last().is_some_and(|last| last & beyond != 0) {
            return Err(Malformed);
        }
        let mut octets = [0; 16];
        octets[..used].copy_from_slice(address);
        Ok(Self {
            family,
            source: *source,
            octets,
            used,
        })
    }

    /// The address to look up; none where the client opted out (a source of zero bits).
    pub(super) fn address(&self) -> Option<IpAddr> {
        if self.source == 0 {
            return None;
        }
        let [a, b, c, d, ..] = self.octets;
        Some(match self.family {
            1 => Ipv4Addr::new(a, b, c, d).into(),
            _ => Ipv6Addr::from(self.octets).into(),
        })
    }

    /// Size of the option on the wire.
    pub(super) fn option_bytes(&self) -> usize {
        2 + 2 + 4 + self.used
    }

    /// Writes the option back with the scope that the answer is good for.
    pub(super) fn write(&self, scope: u8, out: &mut Vec<u8>) {
        out.extend_from_slice(&OPTION_SUBNET.to_be_bytes());
        // At most 4 + 16.
        out.extend_from_slice(&[0, 4 + self.source.div_ceil(8)]);
        out.extend_from_slice(&self.family.to_be_bytes());
        out.extend_from_slice(&[self.source, scope]);
        out.extend_from_slice(&self.octets[..self.used]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_options_come_back_byte_for_byte() {
        for (value, address) in [
            (&[0, 1, 24, 0, 81, 2, 69][..], Some("81.2.69.0")),
            (&[0, 1, 32, 0, 81, 2, 69, 160], Some("81.2.69.160")),
            (&[0, 1, 20, 0, 81, 2, 0x40], Some("81.2.64.0")),
            (&[0, 2, 32, 0, 0x2a, 2, 0x80, 0x71], Some("2a02:8071::")),
            (&[0, 1, 0, 0], None),
            (&[0, 2, 0, 0], None),
            (&[0, 0, 0, 0], None),
        ] {
            let subnet = Subnet::parse(value).expect("good");
            assert_eq!(subnet.address().map(|a| a.to_string()).as_deref(), address);
            let mut out = Vec::new();
            subnet.write(0, &mut out);
            assert_eq!(out.len(), subnet.option_bytes());
            assert_eq!(&out[4..], value);
            assert_eq!(&out[..4], [0, 8, 0, value.len() as u8]);
        }
    }

    #[test]
    fn broken_options_are_malformed() {
        for value in [
            &[][..],
            &[0, 1, 24],
            &[0, 1, 24, 0, 81, 2],
            &[0, 1, 24, 0, 81, 2, 69, 0],
            &[0, 1, 33, 0, 81, 2, 69, 160, 0],
            &[0, 1, 20, 0, 81, 2, 69],
            &[0, 1, 24, 24, 81, 2, 69],
            &[0, 3, 24, 0, 81, 2, 69],
            &[0, 0, 8, 0, 1],
            &[
                0, 2, 129, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 0,
            ],
        ] {
            assert_eq!(Subnet::parse(value), Err(Malformed), "{value:?}");
        }
    }
}
