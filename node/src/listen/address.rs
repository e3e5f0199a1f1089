//! Who the client is: the socket's other end, or what a proxy that we trust says of it.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};
use ipnet::IpNet;

use crate::exchange::in_host;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Is `address` one of the proxies whose word is believed?
pub(super) fn trusted(proxies: &[IpNet], address: IpAddr) -> bool {
    proxies.iter().any(|network| network.contains(&address))
}

/// What trusted proxies say of a request's client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) address: IpAddr,
    /// Did the client come by https? None where nothing is said.
    pub(super) https: Option<bool>,
}

/// The client behind trusted proxies: the rightmost hop that is not one of them, from `Forwarded` (RFC 7239), else
/// `X-Forwarded-For`, else `X-Real-IP`. Everything left of it is the client's own claim. A hop that names no address
/// (`unknown`, `_hidden`) ends the walk at the last one known.
///
/// The scheme is what the proxy said that the client spoke to: `proto` of the same element, or the member of
/// `X-Forwarded-Proto` at the same place from the right.
pub(super) fn told(proxies: &[IpNet], peer: IpAddr, headers: &HeaderMap) -> Told {
    if headers.contains_key(FORWARDED) {
        return by_forwarded(proxies, peer, headers);
    }
    let mut address = peer;
    let (mut hops, mut known) = (0, false);
    'walk: for line in lines_from_the_last(headers, &X_FORWARDED_FOR) {
        for hop in line.rsplit(',') {
            (hops, known) = (hops + 1, true);
            match node_address(hop.trim()) {
                Some(hop) => address = hop,
                None => break 'walk,
            }
            if !trusted(proxies, address) {
                break 'walk;
            }
        }
    }
    if !known && let Some(real) = lines_from_the_last(headers, &X_REAL_IP).next() {
        address = node_address(real.trim()).unwrap_or(address);
    }
    let mut https = None;
    'schemes: for line in lines_from_the_last(headers, &X_FORWARDED_PROTO) {
        for scheme in line.rsplit(',') {
            https = is_https(scheme);
            hops -= 1;
            if hops <= 0 {
                break 'schemes;
            }
        }
    }
    Told { address, https }
}

fn by_forwarded(proxies: &[IpNet], peer: IpAddr, headers: &HeaderMap) -> Told {
    let mut told = Told {
        address: peer,
        https: None,
    };
    for line in lines_from_the_last(headers, &FORWARDED) {
        for element in split_unquoted(&line, ',').into_iter().rev() {
            told.https = parameter(element, "proto").and_then(is_https);
            match parameter(element, "for").and_then(node_address) {
                Some(address) => told.address = address,
                None => return told,
            }
            if !trusted(proxies, told.address) {
                return told;
            }
        }
    }
    told
}

fn lines_from_the_last<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = Cow<'a, str>> {
    let lines = headers.get_all(name).iter().rev();
    lines.map(|line| String::from_utf8_lossy(line.as_bytes()))
}

/// Is this scheme the secured one? None for what is no scheme of HTTP.
fn is_https(scheme: &str) -> Option<bool> {
    let scheme = scheme.trim();
    let is = |name: &str| scheme.eq_ignore_ascii_case(name);
    if is("https") || is("wss") {
        Some(true)
    } else if is("http") || is("ws") {
        Some(false)
    } else {
        None
    }
}

/// The value of a parameter of one element of `Forwarded`.
fn parameter<'a>(element: &'a str, wanted: &str) -> Option<&'a str> {
    split_unquoted(element, ';').into_iter().find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        if !name.trim().eq_ignore_ascii_case(wanted) {
            return None;
        }
        let value = value.trim();
        let bare = value
            .strip_prefix('"')
            .and_then(|value| value.strip_suffix('"'));
        Some(bare.unwrap_or(value))
    })
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn node_address(text: &str) -> Option<IpAddr> {
    let address = text
        .parse::<IpAddr>()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
        .or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok())?;
    Some(address.to_canonical())
}

/// Splits at `separator` outside of quoted strings.
fn split_unquoted(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut from, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, character) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if quoted && character == '\\' {
            escaped = true;
        } else if character == '"' {
            quoted = !quoted;
        } else if character == separator && !quoted {
            parts.push(&text[from..at]);
            from = at + separator.len_utf8();
        }
    }
    parts.push(&text[from..]);
    parts
}

/// Is this `uri-host [ ":" port ]` (RFC 9110 §7.2)? Stricter than the grammar: a registered name must be of letters,
/// digits, `-`, `.` and `_`, which is all that DNS can hold and that can be compared safely.
pub(super) fn valid_host(host: &[u8]) -> bool {
    let end = if host.first() == Some(&b'[') {
        let Some(end) = host.iter().position(|byte| *byte == b']') else {
            return false;
        };
        let literal = std::str::from_utf8(&host[1..end]);
        if !literal.is_ok_and(|literal| literal.parse::<std::net::Ipv6Addr>().is_ok()) {
            return false;
        }
        end + 1
    } else {
        let end = host.iter().position(|byte| !in_host(*byte));
        let end = end.unwrap_or(host.len());
        if end == 0 || end > 255 {
            return false;
        }
        end
    };
    match &host[end..] {
        [] | [b':'] => true,
        [b':', port @ ..] => {
            port.iter().all(u8::is_ascii_digit)
                && std::str::from_utf8(port).is_ok_and(|port| port.parse::<u16>().is_ok())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fields: &[(&'static str, &str)]) -> String {
        told_by(fields).address.to_string()
    }

    fn told_by(fields: &[(&'static str, &str)]) -> Told {
        let proxies = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        told(&proxies, "10.0.0.1".parse().unwrap(), &headers)
    }

    #[test]
    fn the_rightmost_hop_that_is_not_a_proxy_is_the_client() {
        assert_eq!(check(&[]), "10.0.0.1");
        assert_eq!(check(&[("x-forwarded-for", "192.0.2.7")]), "192.0.2.7");
        // A client's own claim stands left of what our proxies added.
        assert_eq!(
            check(&[("x-forwarded-for", "198.51.100.1, 192.0.2.7, 10.9.9.9")]),
            "192.0.2.7"
        );
        assert_eq!(
            check(&[
                ("x-forwarded-for", "198.51.100.1"),
                ("x-forwarded-for", "192.0.2.7, 10.2.3.4")
            ]),
            "192.0.2.7"
        );
        assert_eq!(
            check(&[("x-forwarded-for", "192.0.2.7, unknown, 10.2.3.4")]),
            "10.2.3.4"
        );
        assert_eq!(
            check(&[("x-forwarded-for", "::ffff:192.0.2.7")]),
            "192.0.2.7"
        );
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_says_and_goes_first() {
        assert_eq!(
            check(&[
                ("x-forwarded-for", "198.51.100.1"),
                (
                    "forwarded",
                    "for=192.0.2.9;proto=https, For=\"[fd00::1]:47\";by=_x"
                )
            ]),
            "192.0.2.9"
        );
        assert_eq!(
            check(&[("forwarded", "by=\"a,for=192.0.2.1\";for=\"[2001:db8::5]\"")]),
            "2001:db8::5"
        );
        assert_eq!(check(&[("forwarded", "for=_hidden")]), "10.0.0.1");
    }

    #[test]
    fn the_oldest_way_counts_where_nothing_else_is_said() {
        assert_eq!(check(&[("x-real-ip", "192.0.2.3")]), "192.0.2.3");
        assert_eq!(check(&[("x-real-ip", "nobody")]), "10.0.0.1");
        let both = [("x-real-ip", "192.0.2.3"), ("x-forwarded-for", "192.0.2.7")];
        assert_eq!(check(&both), "192.0.2.7");
        // Some CDN's own field may come from any client of a proxy that does not know it.
        assert_eq!(check(&[("cf-connecting-ip", "192.0.2.3")]), "10.0.0.1");
    }

    #[test]
    fn the_scheme_is_that_of_the_hop_that_is_the_client() {
        let https = |fields: &[(&'static str, &str)]| told_by(fields).https;
        assert_eq!(https(&[]), None);
        assert_eq!(https(&[("x-forwarded-proto", "https")]), Some(true));
        assert_eq!(https(&[("x-forwarded-proto", "gopher")]), None);
        let one = ("x-forwarded-for", "198.51.100.1, 192.0.2.7");
        let two = ("x-forwarded-for", "198.51.100.1, 192.0.2.7, 10.2.3.4");
        for (hops, schemes, expected) in [
            (one, "https", Some(true)),
            (one, "https, http", Some(false)),
            (two, "http", Some(false)),
            (two, "https, http", Some(true)),
            (two, "http, https, http", Some(true)),
        ] {
            let told = https(&[hops, ("x-forwarded-proto", schemes)]);
            assert_eq!(told, expected, "{hops:?} {schemes}");
        }
        let chain = "for=1.1.1.1;proto=http, for=192.0.2.9;proto=https, for=10.0.0.5;proto=http";
        assert_eq!(https(&[("forwarded", chain)]), Some(true));
        assert_eq!(https(&[("forwarded", "for=_x;proto=HTTPS")]), Some(true));
    }
}
