//! What is right by itself and wrong together: two sites with one name or host, an origin that is this node.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use crate::config::settings::Settings;
use crate::config::site::Site;

/// Sites that are set together, each with what its file is called. The cluster checks them against those it has.
pub(crate) fn sites<'a>(
    sites: impl IntoIterator<Item = (&'a str, &'a Site)>,
) -> Result<(), String> {
    let mut names: HashMap<&str, &str> = HashMap::new();
    let mut hosts: HashMap<&str, &str> = HashMap::new();
    for (file, site) in sites {
        if let Some(other) = names.insert(&site.name, file) {
            return Err(format!(
                "{file}: the site \"{}\" is in {other} too",
                site.name
            ));
        }
        for host in &site.hosts {
            if let Some(other) = hosts.insert(host, file) {
                return Err(format!(
                    "{file}: the host {host} belongs to the site in {other} too; a host belongs to one site"
                ));
            }
        }
    }
    Ok(())
}

/// An origin by address that is one of this node's own listeners would be asked in a circle. Names are checked once
/// they are resolved, by whoever resolves them.
pub(crate) fn own_listener(site: &Site, settings: &Settings) -> Result<(), String> {
    let listen = &settings.listen;
    let bound = listen.http.iter().chain(&listen.https);
    let bound: Vec<SocketAddr> = bound.copied().collect();
    for origin in &site.origins {
        let Ok(ip) = origin.host.parse::<IpAddr>() else {
            continue;
        };
        let advertised = settings.advertise.ipv4.map(IpAddr::V4) == Some(ip)
            || settings.advertise.ipv6.map(IpAddr::V6) == Some(ip);
        let ours = bound.iter().any(|bound| {
            let any = bound.ip().is_unspecified() && (ip.is_loopback() || advertised);
            bound.port() == origin.port && (bound.ip() == ip || any)
        });
        if ours {
            return Err(format!(
                "the origin {ip}:{} is this node's own listener; name the server behind it",
                origin.port
            ));
        }
    }
    Ok(())
}
