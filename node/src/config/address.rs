//! Names and addresses, parsed with an error that shows what one looks like.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

/// An address and port; the error says what it should look like.
pub(super) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!(
            "\"{text}\" is not an address with a port; write it like \"0.0.0.0:8080\" or \"[::]:8080\""
        )
    })
}

/// `host:port`, where the host is a name or an address (IPv6 in brackets).
pub(super) fn host_and_port(text: &str) -> Result<String, String> {
    let good = text.rsplit_once(':').is_some_and(|(host, port)| {
        let port_is_good = port.parse::<u16>().is_ok_and(|port| port != 0);
        let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let host_is_good = match bracketed {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => host_name(host).is_ok(),
        };
        port_is_good && host_is_good
    });
    if good {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "\"{text}\" is not a host with a port; write it like \"lon1.example.net:7443\""
        ))
    }
}

/// A host name in lower case and without the final dot: labels of letters, digits and hyphens (underscores are seen
/// in the wild, and harm nobody), RFC 1123 section 2.1 in length.
pub(super) fn host_name(text: &str) -> Result<String, String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let label_is_good = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if !name.is_empty() && name.len() <= 253 && name.split('.').all(label_is_good) {
        return Ok(name);
    }
    let why = if !text.is_ascii() {
        "write it in its ASCII form, which begins with \"xn--\""
    } else if text.contains("://") || text.contains('/') {
        "write the name only, without scheme and path"
    } else if text.contains(':') {
        "write the name only, without a port"
    } else {
        "write it like \"www.shop.example\""
    };
    Err(format!("\"{text}\" is not a host name; {why}"))
}

/// A network, or one address. Bits beyond the prefix are dropped.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .map(|network| network.trunc())
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| {
            format!("\"{text}\" is not a network; write it like \"198.51.100.0/24\" or \"2001:db8::/32\"")
        })
}

/// A client: its address, or its network as resolvers send it (`198.51.100.0/24`).
///
/// # Errors
/// What one looks like.
pub fn client_network(text: &str) -> Result<IpNet, String> {
    let alone = text.parse::<IpAddr>().map(IpNet::from);
    alone.or_else(|_| text.parse::<IpNet>()).map_err(|_| {
        format!(
            "\"{text}\" is not an address; write it like \"198.51.100.7\", \"2001:db8::7\" or \"198.51.100.0/24\""
        )
    })
}
