//! Who the client is: the socket's other end, or what a proxy that we trust says of it.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};
use ipnet::IpNet;

use crate::exchange::in_host;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Is `address` one of the proxies whose word is believed?
pub(super) fn trusted(proxies: &[IpNet], address: IpAddr) -> bool {
    proxies.iter().any(|network| network.contains(&address))
}

/// The client's address behind trusted proxies: the rightmost hop that is not one of them, from `Forwarded`
/// (RFC 7239) or else `X-Forwarded-For`. Everything left of it is the client's own claim. A hop that names no address
/// (`unknown`, `_hidden`) ends the walk at the last one known.
pub(super) fn behind_proxies(proxies: &[IpNet], socket: IpAddr, headers: &HeaderMap) -> IpAddr {
    let mut client = socket;
    let mut walk = |hop: Option<IpAddr>| match hop {
        Some(address) => {
            client = address;
            trusted(proxies, address)
        }
        None => false,
    };
    if headers.contains_key(FORWARDED) {
        for value in headers.get_all(FORWARDED).iter().rev() {
            let value = String::from_utf8_lossy(value.as_bytes());
            for element in split_unquoted(&value, ',').into_iter().rev() {
                if !walk(forwarded_for(element)) {
                    return client;
                }
            }
        }
    } else {
        for value in headers.get_all(X_FORWARDED_FOR).iter().rev() {
            let value = String::from_utf8_lossy(value.as_bytes());
            for hop in value.rsplit(',') {
                if !walk(node_address(hop.trim())) {
                    return client;
                }
            }
        }
    }
    client
}

/// The address in the `for=` pair of one element.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    split_unquoted(element, ';').into_iter().find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        if !name.trim().eq_ignore_ascii_case("for") {
            return None;
        }
        let value = value.trim();
        node_address(
            value
                .strip_prefix('"')
                .and_then(|value| value.strip_suffix('"'))
                .unwrap_or(value),
        )
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
        let proxies = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        behind_proxies(&proxies, "10.0.0.1".parse().unwrap(), &headers).to_string()
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
}
