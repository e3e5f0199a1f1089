//! The site file → [`Site`].

use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::address;
use super::error::ConfigError;
use super::node_file::point;
use super::raw;
use super::site::{
    CacheSettings, HealthCheck, HostHeader, Origin, ProtectSettings, Rate, Rule, SetCookie, Site,
    TlsSettings, forbidden_origin_address,
};
use super::text::Text;
use super::units::Span;

/// Most of what a site's file may hold, so that no one file can weigh down every node.
const HOSTS_MAX: usize = 1000;
const ORIGINS_MAX: usize = 64;
const RULES_MAX: usize = 1000;
const DENY_MAX: usize = 10_000;

/// Checks a site's file. `name` is what the operator calls the text: a file, or where it came from.
///
/// The site's revision is 0; whoever takes it from the cluster sets it.
///
/// # Errors
/// The first thing that is wrong, with its line.
pub fn parse(text: &str, name: &str) -> Result<Site, ConfigError> {
    let source = Text::new(name, text);
    let raw: raw::SiteFile = source.parse()?;
    label(&raw.name).map_err(|what| source.wrong("name", what))?;
    if let Some(pin) = raw.steering.pins.keys().next() {
        let what = "`steering.pins` is not supported yet";
        return Err(source.wrong(&format!("steering.pins.{pin}"), what));
    }
    Ok(Site {
        hosts: hosts(&raw.hosts.0, &source)?,
        any_host: false,
        origins: origins(&raw.origin, &raw.origins, &source)?,
        cache: cache(raw.cache, &source)?,
        rules: rules(raw.rule, &source)?,
        tls: tls(raw.tls),
        origin_headers: origin_headers(&raw.headers, &source)?,
        protect: protect(raw.protect, &source)?,
        name: raw.name.into(),
        revision: 0,
    })
}

/// A site that takes any Host, with the given origins and every default: what `serve` runs without a file.
///
/// # Errors
/// An origin that is not a URL, or not one that may be asked.
pub fn any_host(origins: &[String]) -> Result<Site, ConfigError> {
    let mut site = Site {
        name: "serve".into(),
        hosts: Vec::new(),
        any_host: true,
        origins: Vec::new(),
        cache: cache(raw::SiteCache::default(), &Text::new("--origin", ""))?,
        rules: Vec::new(),
        tls: tls(raw::SiteTls::default()),
        origin_headers: Vec::new(),
        protect: ProtectSettings::default(),
        revision: 0,
    };
    for (index, written) in origins.iter().enumerate() {
        let url = match written.parse::<u16>() {
            Ok(port) if port != 0 => format!("http://127.0.0.1:{port}"),
            _ if !written.is_empty() && written.bytes().all(|byte| byte.is_ascii_digit()) => {
                let what = format!("{written} is not a port; ports are 1 to 65535");
                return Err(ConfigError::unlocated("--origin", what));
            }
            _ => written.clone(),
        };
        let (tls, host, port) =
            origin_url(&url).map_err(|what| ConfigError::unlocated("--origin", what))?;
        site.origins.push(Origin {
            name: format!("origin{}", index + 1).into(),
            tls,
            host: host.into(),
            port,
            region: None,
            point: None,
            weight: 1,
            backup: false,
            host_header: HostHeader::Client,
            health: None,
            tls_ca: None,
            connect_timeout: CONNECT_TIMEOUT,
            response_timeout: RESPONSE_TIMEOUT,
        });
    }
    Ok(site)
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

/// Names of sites and origins: they stand in logs, metrics labels and on command lines.
fn label(name: &str) -> Result<(), String> {
    let good = (1..=63).contains(&name.len())
        && name
            .bytes()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-');
    if good {
        Ok(())
    } else {
        Err(format!(
            "the name \"{name}\" must be 1 to 63 lower-case letters, digits and hyphens, such as \"shop\""
        ))
    }
}

fn hosts(written: &[String], source: &Text<'_>) -> Result<Vec<Box<str>>, ConfigError> {
    if written.is_empty() {
        return Err(source.wrong("hosts", "`hosts` is empty: nobody could ask for this site"));
    }
    if written.len() > HOSTS_MAX {
        return Err(source.wrong("hosts", format!("more than {HOSTS_MAX} hosts in one site")));
    }
    let mut hosts: Vec<Box<str>> = Vec::with_capacity(written.len());
    for (index, text) in written.iter().enumerate() {
        let at = format!("hosts.{index}");
        let (star, rest) = match text.strip_prefix("*.") {
            Some(rest) => ("*.", rest),
            None => ("", text.as_str()),
        };
        let name = address::host_name(rest).map_err(|what| source.wrong(&at, what))?;
        let host: Box<str> = format!("{star}{name}").into();
        if hosts.contains(&host) {
            return Err(source.wrong(&at, format!("the host {host} is listed twice")));
        }
        hosts.push(host);
    }
    Ok(hosts)
}

fn origins(
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
fn origin_url(text: &str) -> Result<(bool, String, u16), String> {
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

fn cache(raw: raw::SiteCache, source: &Text<'_>) -> Result<CacheSettings, ConfigError> {
    if raw.consistency == Some(raw::Consistency::Strict) {
        let what = "`consistency = \"strict\"` is not supported yet";
        return Err(source
            .wrong("cache.consistency", what)
            .hint("write \"available\""));
    }
    let query_drop = raw.key.query_drop.unwrap_or_default().0;
    if let Some(index) = query_drop
        .iter()
        .position(|name| name.is_empty() || name.trim_end_matches('*').contains('*'))
    {
        let what = format!(
            "\"{}\" names no query parameter; write a name, or a prefix like \"utm_*\"",
            query_drop[index]
        );
        return Err(source.wrong(&format!("cache.key.query_drop.{index}"), what));
    }
    Ok(CacheSettings {
        stale_if_error: raw
            .stale_if_error
            .map_or(Duration::from_secs(86_400), |s| s.0),
        stale_while_revalidate: raw.stale_while_revalidate.map_or(Duration::ZERO, |s| s.0),
        set_cookie: match raw.set_cookie {
            Some(raw::SetCookie::Explicit) | None => SetCookie::Explicit,
            Some(raw::SetCookie::Standard) => SetCookie::Standard,
            Some(raw::SetCookie::Strip) => SetCookie::Strip,
            Some(raw::SetCookie::Bypass) => SetCookie::Bypass,
        },
        query_drop: query_drop.into_iter().map(Into::into).collect(),
        strict: false,
        body_max_bytes: raw.body_max.map_or(4 << 30, |size| size.0),
    })
}

fn rules(written: Vec<raw::Rule>, source: &Text<'_>) -> Result<Vec<Rule>, ConfigError> {
    if written.len() > RULES_MAX {
        return Err(source.wrong("rule", format!("more than {RULES_MAX} rules")));
    }
    let rules = written.into_iter().enumerate().map(|(index, raw)| {
        let paths = raw.matches.path.unwrap_or_default().0;
        for path in &paths {
            if !path.starts_with(['/', '*']) {
                let what = format!("the path \"{path}\" must begin with \"/\" or \"*\"");
                return Err(source.wrong(&format!("rule.{index}.match.path"), what));
            }
        }
        if raw.ttl.is_none() && raw.cache.is_none() {
            let what = "the rule changes nothing";
            return Err(source
                .wrong(&format!("rule.{index}"), what)
                .hint("give it `ttl = \"…\"` or `cache = \"bypass\"`"));
        }
        Ok(Rule {
            paths: paths.into_iter().map(Into::into).collect(),
            ttl: raw.ttl.map(|span| span.0),
            bypass: raw
                .cache
                .map(|cache| matches!(cache, raw::RuleCache::Bypass)),
        })
    });
    rules.collect()
}

/// `certificate = "auto"` is the default in words: among the node's certificates, the one that fits the name the
/// client asks for.
fn tls(raw: raw::SiteTls) -> TlsSettings {
    TlsSettings {
        certificate: raw
            .certificate
            .filter(|name| name != "auto")
            .map(Into::into),
        redirect_http: raw.redirect_http,
    }
}

fn origin_headers(
    raw: &raw::Headers,
    source: &Text<'_>,
) -> Result<Vec<(HeaderName, HeaderValue)>, ConfigError> {
    let fields = raw.origin.set.iter().map(|(written, value)| {
        let at = format!("headers.origin.set.{written}");
        let name: HeaderName = written
            .parse()
            .map_err(|_| source.wrong(&at, format!("\"{written}\" is not a field name")))?;
        if OURS.contains(&name.as_str()) {
            let what = format!("the field {name} is set by the proxy itself");
            return Err(source.wrong(&at, what));
        }
        let value = match value {
            toml::Value::String(text) => HeaderValue::from_str(text)
                .map_err(|_| source.wrong(&at, format!("the value of {name} cannot be sent")))?,
            toml::Value::Table(table) if table.contains_key("secret") => {
                let what = format!("{name}: `{{ secret = … }}` is not supported yet");
                return Err(source.wrong(&at, what).hint("write the value as a string"));
            }
            _ => return Err(source.wrong(&at, format!("the value of {name} must be a string"))),
        };
        Ok((name, value))
    });
    fields.collect()
}

/// Fields towards origins that only the proxy can fill in rightly.
const OURS: [&str; 13] = [
    "host",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "via",
    "cdn-loop",
    "forwarded",
    "x-forwarded-for",
    "proxy-connection",
];

fn protect(raw: raw::Protect, source: &Text<'_>) -> Result<ProtectSettings, ConfigError> {
    let mut protect = ProtectSettings::default();
    let deny = raw.deny.unwrap_or_default().0;
    if deny.len() > DENY_MAX {
        return Err(source.wrong("protect.deny", format!("more than {DENY_MAX} entries")));
    }
    for (index, entry) in deny.iter().enumerate() {
        let at = format!("protect.deny.{index}");
        let number = entry.strip_prefix("AS").or(entry.strip_prefix("as"));
        if number.is_some_and(|number| number.bytes().all(|c| c.is_ascii_digit())) {
            let what = format!("\"{entry}\": networks by their AS number are not supported yet");
            return Err(source.wrong(&at, what));
        }
        match entry.strip_prefix("country:") {
            Some(code) => match code.as_bytes() {
                [a @ b'A'..=b'Z', b @ b'A'..=b'Z'] => protect.deny_countries.push([*a, *b]),
                _ => {
                    let what = format!(
                        "\"{entry}\" is not a country; write two upper-case letters, like \"country:NO\""
                    );
                    return Err(source.wrong(&at, what));
                }
            },
            None => {
                let network = address::network(entry).map_err(|what| source.wrong(&at, what))?;
                protect.deny_networks.push(network);
            }
        }
    }
    if let Some(rate) = raw.rate {
        let per_second = rate.requests.0;
        let burst = rate.burst.unwrap_or(per_second.ceil() as u32);
        if burst == 0 {
            return Err(source.wrong("protect.rate.burst", "`burst` must be at least 1"));
        }
        protect.rate = Some(Rate { per_second, burst });
    }
    Ok(protect)
}

#[cfg(test)]
mod tests;
