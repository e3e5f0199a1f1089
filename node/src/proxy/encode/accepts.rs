//! `Accept-Encoding` (RFC 9110 §12.5.3): what a client takes, and what of it is chosen.

use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

use crate::config::compression::{Coding, Codings};

/// The weight of a coding that is named without one, in thousandths.
const FULL: u16 = 1000;

/// What a client takes of the codings that we make. Weights in thousandths; zero: it does not take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Accepts {
    weights: [u16; 3],
    /// None where the field leaves it open: identity is then taken, and anything else rather.
    identity: Option<u16>,
}

const fn taking(zstd: u16, br: u16, gzip: u16) -> Accepts {
    Accepts {
        weights: [zstd, br, gzip],
        identity: None,
    }
}

impl Accepts {
    /// Nothing but the bytes as they are: what a request without the field gets.
    pub(crate) const NOTHING: Self = taking(0, 0, 0);

    /// Reads the field's lines. What browsers and common clients send is known by sight.
    #[must_use]
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut lines = headers.get_all(ACCEPT_ENCODING).iter();
        let Some(first) = lines.next() else {
            return Self::NOTHING;
        };
        let more = lines.next();
        if more.is_none() {
            match first.as_bytes() {
                b"gzip, deflate, br, zstd" => return taking(FULL, FULL, FULL),
                b"gzip, deflate, br" | b"br, gzip" | b"gzip, br" => return taking(0, FULL, FULL),
                b"gzip" | b"gzip, deflate" | b"gzip,deflate" => return taking(0, 0, FULL),
                b"identity" => return Self::NOTHING,
                _ => {}
            }
        }
        let all = [first].into_iter().chain(more).chain(lines);
        Self::read(all.map(|line| line.as_bytes()))
    }

    fn read<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut named: [Option<u16>; 3] = [None; 3];
        let (mut identity, mut any) = (None, None);
        for element in lines.flat_map(|line| line.split(|byte| *byte == b',')) {
            let mut parts = element.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            let name = parts.next().unwrap_or_default();
            // An element whose weight cannot be read says nothing that could be relied on.
            let Some(weight) = weight(parts) else {
                continue;
            };
            if name == b"*" {
                any = Some(weight);
            } else if name.eq_ignore_ascii_case(b"identity") {
                identity = Some(weight);
            } else if name.eq_ignore_ascii_case(b"x-gzip") {
                named[Coding::Gzip as usize] = Some(weight);
            } else if let Some(coding) = Coding::ALL
                .into_iter()
                .find(|coding| name.eq_ignore_ascii_case(coding.name().as_bytes()))
            {
                named[coding as usize] = Some(weight);
            }
        }
        Self {
            weights: named.map(|weight| weight.or(any).unwrap_or(0)),
            identity,
        }
    }

    /// The best of what is offered: by the client's weights first, by the order of the offer where those are equal.
    /// None where the bytes as they are please the client better, or nothing else does.
    #[must_use]
    pub(crate) fn choose(self, offered: Codings) -> Option<Coding> {
        let mut best: Option<(u16, Coding)> = None;
        for coding in offered.iter() {
            let weight = self.weights[coding as usize];
            if weight > best.map_or(0, |(best, _)| best) {
                best = Some((weight, coding));
            }
        }
        let (weight, coding) = best?;
        self.identity
            .is_none_or(|identity| weight >= identity)
            .then_some(coding)
    }

    /// The field as the origin gets it: one spelling for all that mean the same, so that an origin that encodes by
    /// itself makes few variants. Only what an edge could hand on is named.
    #[must_use]
    pub(crate) const fn normal(self) -> &'static str {
        match self.weights {
            [0, 0, 0] => "identity",
            [0, 0, _] => "gzip",
            [0, _, 0] => "br",
            [_, 0, 0] => "zstd",
            [0, _, _] => "gzip, br",
            [_, 0, _] => "gzip, zstd",
            [_, _, 0] => "br, zstd",
            [_, _, _] => "gzip, br, zstd",
        }
    }
}

/// The weight among an element's parameters, in thousandths; none when it is no weight (§12.4.2).
fn weight<'a>(parameters: impl Iterator<Item = &'a [u8]>) -> Option<u16> {
    let mut weight = FULL;
    for parameter in parameters {
        if let Some(value) = parameter
            .strip_prefix(b"q=")
            .or_else(|| parameter.strip_prefix(b"Q="))
        {
            weight = thousandths(value)?;
        }
    }
    Some(weight)
}

fn thousandths(value: &[u8]) -> Option<u16> {
    let (whole, rest) = value.split_first()?;
    let digits = match rest.split_first() {
        None => &[][..],
        Some((b'.', digits)) if digits.len() <= 3 => digits,
        Some(_) => return None,
    };
    let mut fraction = 0;
    for place in 0..3 {
        let digit = digits.get(place).copied().unwrap_or(b'0');
        fraction = fraction * 10 + u16::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?);
    }
    match whole {
        b'0' => Some(fraction),
        b'1' if fraction == 0 => Some(FULL),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn of(lines: &[&'static str]) -> Accepts {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT_ENCODING, HeaderValue::from_static(line));
        }
        Accepts::of(&headers)
    }

    #[test]
    fn the_client_chooses_and_the_site_breaks_ties() {
        let all = Codings::all();
        for (lines, chosen) in [
            (&[][..], None),
            (&[""], None),
            (&["gzip, deflate, br, zstd"], Some(Coding::Zstd)),
            (&["gzip, deflate, br"], Some(Coding::Br)),
            (&["gzip, deflate"], Some(Coding::Gzip)),
            (&["GZIP"], Some(Coding::Gzip)),
            (&["x-gzip"], Some(Coding::Gzip)),
            (&["deflate"], None),
            (&["identity"], None),
            (&["*"], Some(Coding::Zstd)),
            (&["*;q=0"], None),
            (&["gzip;q=0, *"], Some(Coding::Zstd)),
            (&["*;q=0, br"], Some(Coding::Br)),
            (&["zstd;q=0.5, br;q=0.7, gzip ; q=0.6"], Some(Coding::Br)),
            (&["zstd;q=0.001"], Some(Coding::Zstd)),
            (&["zstd;q=0, br;q=0, gzip;q=0"], None),
            (&["identity, gzip;q=0.5"], None),
            (&["identity;q=0.5, gzip;q=0.5"], Some(Coding::Gzip)),
            (&["identity;q=0, gzip;q=0.1"], Some(Coding::Gzip)),
            (&["gzip;q=1.0", "br;Q=0.9"], Some(Coding::Gzip)),
            (&["gzip;q=2"], None),
            (&["gzip;q=0.1234"], None),
            (&["gzip;q="], None),
            (&["gzip;q=1.5, br"], Some(Coding::Br)),
            (&[", ,gzip,,"], Some(Coding::Gzip)),
        ] {
            assert_eq!(of(lines).choose(all), chosen, "{lines:?}");
        }
        let gzip_first: Codings = [Coding::Gzip, Coding::Zstd].into_iter().collect();
        assert_eq!(of(&["zstd, gzip"]).choose(gzip_first), Some(Coding::Gzip));
        assert_eq!(of(&["br"]).choose(gzip_first), None);
        assert_eq!(of(&["br"]).choose(Codings::NONE), None);
    }

    #[test]
    fn what_is_known_by_sight_reads_the_same() {
        for line in [
            "gzip, deflate, br, zstd",
            "gzip, deflate, br",
            "br, gzip",
            "gzip, br",
            "gzip",
            "gzip, deflate",
            "gzip,deflate",
        ] {
            let read = Accepts::read([line.as_bytes()].into_iter());
            assert_eq!(of(&[line]), read, "{line}");
        }
        assert_eq!(of(&["identity"]).choose(Codings::all()), None);
        assert_eq!(of(&["identity"]).normal(), "identity");
    }

    #[test]
    fn what_means_the_same_is_asked_for_alike() {
        for (line, normal) in [
            ("gzip, deflate, br, zstd", "gzip, br, zstd"),
            ("zstd,br;q=0.2,gzip", "gzip, br, zstd"),
            ("br, gzip;q=0.3", "gzip, br"),
            ("deflate, gzip", "gzip"),
            ("deflate", "identity"),
            ("*", "gzip, br, zstd"),
        ] {
            assert_eq!(of(&[line]).normal(), normal, "{line}");
        }
    }

    proptest! {
        #[test]
        fn whatever_stands_there_is_read(line in "[ -~]{0,60}") {
            let read = Accepts::read([line.as_bytes()].into_iter());
            // What goes to the origin means no more than what came.
            let again = Accepts::read([read.normal().as_bytes()].into_iter());
            for coding in Coding::ALL {
                let (asked, given) = (read.weights[coding as usize], again.weights[coding as usize]);
                prop_assert_eq!(asked > 0, given > 0);
            }
        }
    }
}
