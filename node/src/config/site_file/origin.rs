//! `[[origin]]` and `[origins]`.

use std::net::IpAddr;
use std::time::Duration;

use super::super::address;
use super::super::error::ConfigError;
use super::super::node_file::point;
use super::super::raw;
use super::super::site::{
    HealthCheck, HostHeader, Origin, OriginProtocol, forbidden_origin_address,
};
use super::super::text::Text;
use super::super::units::Span;
use super::balance::limits;
use super::label;

pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

const ORIGINS_MAX: usize = 64;

pub(super) fn origins(
    written: &[raw::Origin],
    defaults: &raw::Origins,
    source: &Text<'_>,
) -> Result<Vec<Origin>, ConfigError> {
    if written.is_empty() {
        return Err(source
            .wrong("origin", "the site has no origin")
            .hint("add [[origin]] with url = \"https://…\""));
    }
    if written.len() > ORIGINS_MAX {
        return Err(source.wrong("origin", format!("more than {ORIGINS_MAX} origins")));
    }
    let mut origins: Vec<Origin> = Vec::with_capacity(written.len());
    for (index, raw) in written.iter().enumerate() {
        let origin = origin(index, raw, defaults, source)?;
        if origins.iter().any(|other| other.name == origin.name) {
            let what = format!("two origins are named \"{}\"", origin.name);
            return Err(source.wrong(&format!("origin.{index}.name"), what));
        }
        origins.push(origin);
    }
    if origins.iter().all(|origin| origin.backup) {
        let what = "every origin is a backup; at least one must not be";
        return Err(source.wrong("origin.0.backup", what));
    }
    Ok(origins)
}

fn origin(
    index: usize,
    raw: &raw::Origin,
    defaults: &raw::Origins,
    source: &Text<'_>,
) -> Result<Origin, ConfigError> {
    let at = format!("origin.{index}");
    let (tls, host, port) =
        origin_url(&raw.url).map_err(|what| source.wrong(&format!("{at}.url"), what))?;
    let name = match &raw.name {
        Some(name) => {
            label(name).map_err(|what| source.wrong(&format!("{at}.name"), what))?;
            name.clone()
        }
        None => format!("origin{}", index + 1),
    };
    let weight = match raw.weight.unwrap_or(1) {
        weight @ 1..=1_000_000 => weight as u32,
        weight => {
            let what = format!("`weight` cannot be {weight}; write 1 to 1000000");
            return Err(source.wrong(&format!("{at}.weight"), what));
        }
    };
    // What the origin says itself, else what [origins] says: with where it stands, for errors.
    let own = |section: &str, is_own: bool| {
        if is_own {
            format!("{at}.{section}")
        } else {
            format!("origins.{section}")
        }
    };
    let host_header = raw.host.as_ref().or(defaults.host.as_ref());
    let host_header = match host_header.map(String::as_str) {
        None | Some("client") => HostHeader::Client,
        Some("origin") => HostHeader::Origin,
        Some(name) => HostHeader::Name(
            address::host_name(name)
                .map_err(|what| source.wrong(&own("host", raw.host.is_some()), what))?
                .into(),
        ),
    };
    let health = match raw.health.as_ref().or(defaults.health.as_ref()) {
        Some(health) => Some(health_check(
            health,
            &own("health", raw.health.is_some()),
            source,
        )?),
        None => None,
    };
    let tls_ca = match raw.tls.as_ref().or(defaults.tls.as_ref()) {
        Some(settings) => authority(settings, &own("tls", raw.tls.is_some()), source)?,
        None => None,
    };
    let time = |own: Option<Span>, default: Option<Span>, fallback: Duration, key: &str| match own
        .or(default)
    {
        Some(Span(Duration::ZERO)) => {
            Err(source.wrong(key, format!("`{key}` must be longer than nothing")))
        }
        Some(Span(time)) => Ok(time),
        None => Ok(fallback),
    };
    Ok(Origin {
        name: name.into(),
        tls,
        host: host.into(),
        port,
        region: raw.region.as_deref().map(Into::into),
        point: point(source, &at, raw.latitude, raw.longitude)?,
        weight,
        backup: raw.backup,
        protocol: match raw.protocol.or(defaults.protocol) {
            None | Some(raw::OriginProtocol::Http1) => OriginProtocol::Http1,
            Some(raw::OriginProtocol::H2) => OriginProtocol::Http2,
            Some(raw::OriginProtocol::Auto) => OriginProtocol::Auto,
        },
        limits: limits(raw, defaults, &own, source)?,
        host_header,
        health,
        tls_ca,
        connect_timeout: time(
            raw.connect_timeout,
            defaults.connect_timeout,
            CONNECT_TIMEOUT,
            &own("connect_timeout", raw.connect_timeout.is_some()),
        )?,
        response_timeout: time(
            raw.response_timeout,
            defaults.response_timeout,
            RESPONSE_TIMEOUT,
            &own("response_timeout", raw.response_timeout.is_some()),
        )?,
    })
}

/// An origin's URL: scheme, host and port, and nothing that the client's own request line says already.
pub(super) fn origin_url(text: &str) -> Result<(bool, String, u16), String> {
    let example = "write it like \"https://o1.shop.example\"";
    let url = url::Url::parse(text)
        .map_err(|error| format!("\"{text}\" is not a URL ({error}); {example}"))?;
    let tls = match url.scheme() {
        "http" => false,
        "https" => true,
        other => {
            return Err(format!(
                "\"{text}\": the scheme {other} is not one for origins; {example}"
            ));
        }
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err("an origin's URL carries no user and password".to_owned());
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err(format!(
            "\"{text}\": a path is not supported in an origin's URL, the client's is used; {example}"
        ));
    }
    let (host, literal) = match url.host() {
        Some(url::Host::Domain(name)) => (address::host_name(name)?, None),
        Some(url::Host::Ipv4(ip)) => (ip.to_string(), Some(IpAddr::V4(ip))),
        Some(url::Host::Ipv6(ip)) => (ip.to_string(), Some(IpAddr::V6(ip))),
        None => return Err(format!("\"{text}\" names no host; {example}")),
    };
    if literal.is_some_and(forbidden_origin_address) {
        return Err(format!(
            "{host} cannot be an origin: link-local, unspecified and multicast addresses are never asked"
        ));
    }
    match url.port_or_known_default() {
        Some(port @ 1..) => Ok((tls, host, port)),
        _ => Err(format!("\"{text}\": an origin's port cannot be 0")),
    }
}

fn health_check(
    raw: &raw::Health,
    at: &str,
    source: &Text<'_>,
) -> Result<HealthCheck, ConfigError> {
    let path_is_good =
        raw.path.starts_with('/') && raw.path.parse::<http::uri::PathAndQuery>().is_ok();
    if !path_is_good {
        let what = format!(
            "the health check's path \"{}\" must begin with \"/\"",
            raw.path
        );
        return Err(source.wrong(&format!("{at}.path"), what));
    }
    let check = HealthCheck {
        path: raw.path.as_str().into(),
        interval: raw.interval.map_or(Duration::from_secs(5), |span| span.0),
        timeout: raw.timeout.map_or(Duration::from_secs(2), |span| span.0),
        fall: raw.fall.unwrap_or(2),
        rise: raw.rise.unwrap_or(2),
    };
    let long_enough = Duration::from_millis(100);
    for (key, time) in [("interval", check.interval), ("timeout", check.timeout)] {
        if time < long_enough {
            let what = format!("the health check's `{key}` must be at least 100ms");
            return Err(source.wrong(&format!("{at}.{key}"), what));
        }
    }
    for (key, count) in [("fall", check.fall), ("rise", check.rise)] {
        if !(1..=100).contains(&count) {
            let what = format!("the health check's `{key}` must be 1 to 100");
            return Err(source.wrong(&format!("{at}.{key}"), what));
        }
    }
    Ok(check)
}

fn authority(
    raw: &raw::OriginTls,
    at: &str,
    source: &Text<'_>,
) -> Result<Option<Box<str>>, ConfigError> {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject as _;

    if raw.client_certificate.is_some() {
        let what = "`client_certificate` is not supported yet";
        return Err(source.wrong(&format!("{at}.client_certificate"), what));
    }
    let Some(ca) = &raw.ca else { return Ok(None) };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(ca.as_bytes()).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(Some(ca.as_str().into())),
        _ => {
            let what = "`ca` is not a certificate in PEM form, which begins with \"-----BEGIN CERTIFICATE-----\"";
            Err(source.wrong(&format!("{at}.ca"), what))
        }
    }
}
