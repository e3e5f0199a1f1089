//! `[listen]` and `[advertise]`: what this node binds, and what others are told of it.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::address;
use super::error::ConfigError;
use super::raw;
use super::settings::{AdminAddress, Advertise, Listen};
use super::text::Text;
use super::units::List;

pub(super) fn listen(raw: raw::Listen, source: &Text<'_>) -> Result<Listen, ConfigError> {
    let http = addresses(raw.http, 8080, "listen.http", source)?;
    let https = addresses(raw.https, 8443, "listen.https", source)?;
    let dns = addresses(raw.dns, 8053, "listen.dns", source)?;
    let peer = addresses(raw.peer, 7443, "listen.peer", source)?;
    let metrics = match raw.metrics {
        None => vec![SocketAddr::from(([127, 0, 0, 1], 9180))],
        some => addresses(some, 9180, "listen.metrics", source)?,
    };
    let admin = raw
        .admin
        .unwrap_or_else(|| List(vec!["unix:/run/nearside/admin.sock".to_owned()]))
        .0;
    let admin = admin.iter().enumerate().map(|(index, written)| {
        let key = format!("listen.admin.{index}");
        match written.strip_prefix("unix:") {
            Some("") => Err(source.wrong(&key, "\"unix:\" lacks the path of the socket")),
            Some(path) => Ok(AdminAddress::Unix(path.into())),
            None => address::socket_address(written)
                .map(AdminAddress::Tcp)
                .map_err(|what| {
                    source
                        .wrong(&key, what)
                        .hint("or a socket as \"unix:/run/nearside/admin.sock\"")
                }),
        }
    });
    let trusted = raw.trusted_proxies.unwrap_or_default().0;
    let trusted = trusted.iter().enumerate().map(|(index, network)| {
        address::network(network)
            .map_err(|what| source.wrong(&format!("listen.trusted_proxies.{index}"), what))
    });
    let proxy_protocol = raw.proxy_protocol.unwrap_or(false);
    if proxy_protocol && trusted.len() == 0 {
        let what = "`proxy_protocol` says what connections from `trusted_proxies` begin with, and there are none";
        return Err(source
            .wrong("listen.proxy_protocol", what)
            .hint("name the proxies, as trusted_proxies = [\"10.0.0.0/8\"]"));
    }
    let listen = Listen {
        proxy_protocol,
        admin: admin.collect::<Result<_, _>>()?,
        trusted_proxies: trusted.collect::<Result<_, _>>()?,
        http,
        https,
        dns,
        peer,
        metrics,
    };
    no_port_twice(&listen, source)?;
    Ok(listen)
}

/// The list as written, or every address of this machine at `port`.
fn addresses(
    list: Option<List>,
    port: u16,
    key: &str,
    source: &Text<'_>,
) -> Result<Vec<SocketAddr>, ConfigError> {
    let Some(List(list)) = list else {
        return Ok(vec![
            SocketAddr::from(([0; 4], port)),
            SocketAddr::from(([0_u16; 8], port)),
        ]);
    };
    let list = list.iter().enumerate().map(|(index, written)| {
        address::socket_address(written)
            .map_err(|what| source.wrong(&format!("{key}.{index}"), what))
    });
    list.collect()
}

/// One TCP port of one address is bound once. (DNS takes TCP too.)
fn no_port_twice(listen: &Listen, source: &Text<'_>) -> Result<(), ConfigError> {
    let admin = listen.admin.iter().filter_map(|address| match address {
        AdminAddress::Tcp(address) => Some(address),
        AdminAddress::Unix(_) => None,
    });
    let all = [
        ("http", listen.http.iter().collect::<Vec<_>>()),
        ("https", listen.https.iter().collect()),
        ("dns", listen.dns.iter().collect()),
        ("peer", listen.peer.iter().collect()),
        ("metrics", listen.metrics.iter().collect()),
        ("admin", admin.collect()),
    ];
    let mut taken: Vec<(&str, SocketAddr)> = Vec::new();
    for (key, addresses) in all {
        for address in addresses {
            if address.port() == 0 {
                continue;
            }
            if let Some((other, _)) = taken.iter().find(|(_, bound)| bound == address) {
                return Err(source.wrong(
                    &format!("listen.{key}"),
                    format!("`listen.{key}` and `listen.{other}` both want {address}"),
                ));
            }
            taken.push((key, *address));
        }
    }
    Ok(())
}

/// Over TCP the admin API needs a token, and (until it speaks TLS) stays on this machine.
pub(super) fn check_admin(
    listen: &Listen,
    token: bool,
    source: &Text<'_>,
) -> Result<(), ConfigError> {
    for (index, address) in listen.admin.iter().enumerate() {
        let AdminAddress::Tcp(address) = address else {
            continue;
        };
        let key = format!("listen.admin.{index}");
        if !address.ip().is_loopback() {
            let what = format!(
                "{address} is not supported yet for the admin API: beyond this machine it would need TLS"
            );
            return Err(source
                .wrong(&key, what)
                .hint("write a loopback address, or reach the Unix socket by ssh"));
        }
        if !token {
            return Err(source
                .wrong(
                    &key,
                    format!("the admin API at {address} needs a token, also on loopback"),
                )
                .hint("set `token_file` in [admin]"));
        }
    }
    Ok(())
}

pub(super) fn advertise(
    raw: raw::Advertise,
    listen: &Listen,
    source: &Text<'_>,
) -> Result<Advertise, ConfigError> {
    let ipv4 = raw.ipv4.map(|text| {
        text.parse().map_err(|_| {
            source.wrong(
                "advertise.ipv4",
                format!("\"{text}\" is not an IPv4 address"),
            )
        })
    });
    let ipv6 = raw.ipv6.map(|text| {
        text.parse().map_err(|_| {
            source.wrong(
                "advertise.ipv6",
                format!("\"{text}\" is not an IPv6 address"),
            )
        })
    });
    let (ipv4, ipv6) = (ipv4.transpose()?, ipv6.transpose()?);
    let peer = match raw.peer {
        Some(text) => Some(
            address::host_and_port(&text).map_err(|what| source.wrong("advertise.peer", what))?,
        ),
        None => implied_peer(ipv4, ipv6, listen),
    };
    Ok(Advertise { ipv4, ipv6, peer })
}

/// How others reach our peer listener when the file does not say: at the address it is bound to, or at the one we
/// advertise to clients.
fn implied_peer(ipv4: Option<Ipv4Addr>, ipv6: Option<Ipv6Addr>, listen: &Listen) -> Option<String> {
    let bound = listen
        .peer
        .iter()
        .find(|bound| !bound.ip().is_unspecified());
    let port = listen.peer.first()?.port();
    bound
        .copied()
        .or(ipv4.map(|ip| SocketAddr::from((ip, port))))
        .or(ipv6.map(|ip| SocketAddr::from((ip, port))))
        .map(|address| address.to_string())
}
