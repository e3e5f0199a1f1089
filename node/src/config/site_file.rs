//! The site file → [`Site`].

mod auth;
mod balance;
mod cache;
mod compression;
mod develop;
mod headers;
mod origin;
mod page;
mod protect;
mod route;
mod rule;
mod tags;

pub use develop::develop;

use super::address;
use super::error::ConfigError;
use super::policy::Policy;
use super::raw;
use super::rule::Rules;
use super::site::{HostHeader, Origin, OriginLimits, OriginProtocol, Site, TlsSettings};
use super::text::Text;

/// Most of what a site's file may hold, so that no one file can weigh down every node.
const HOSTS_MAX: usize = 1000;

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
    let (cache, mut base) = cache::cache(raw.cache, &source)?;
    let compression = compression::compression(raw.compression, &mut base, &source)?;
    headers::headers("headers", raw.headers, &mut base, &source)?;
    let auth = auth::auth(&raw.name, raw.auth, &mut base, &source)?;
    let rules = rule::rules(base, raw.rule, &source)?;
    if let Some(demand) = rules.base().auth {
        auth::is_met(demand, &auth, "auth.require", &source)?;
    }
    for (index, rule) in rules.all().iter().enumerate() {
        if let Some(demand) = rule.then.auth {
            auth::is_met(demand, &auth, &format!("rule.{index}.auth"), &source)?;
        }
    }
    let error_pages = page::error_pages(raw.error_pages, &source)?;
    let tls = tls(raw.tls, &source)?;
    let says = |policy: &Policy| policy.client_headers.is_some() || policy.error_page.is_some();
    let dresses = !error_pages.0.is_empty()
        || tls.hsts.is_some()
        || says(rules.base())
        || rules.all().iter().any(|rule| says(&rule.then));
    Ok(Site {
        hosts: hosts(&raw.hosts.0, &source)?,
        any_host: false,
        origins: origin::origins(&raw.origin, &raw.origins, &source)?,
        balance: balance::balance(&raw.origins, &source)?,
        sticky_cookie: balance::sticky_cookie(&raw.origins, &source)?,
        cache,
        compression,
        rules,
        tls,
        auth,
        error_pages,
        maintenance: page::maintenance(raw.maintenance, &source)?,
        dresses,
        protect: protect::protect(raw.protect, &source)?,
        name: raw.name.into(),
        revision: 0,
    })
}

/// A site that takes any Host, with the given origins and every default: what `serve` runs without a file.
///
/// # Errors
/// An origin that is not a URL, or not one that may be asked.
pub fn any_host(origins: &[String]) -> Result<Site, ConfigError> {
    let source = Text::new("--origin", "");
    let (cache, mut base) = cache::cache(raw::SiteCache::default(), &source)?;
    let compression = compression::compression(raw::Compression::default(), &mut base, &source)?;
    let mut site = Site {
        name: "serve".into(),
        any_host: true,
        cache,
        compression,
        rules: Rules::new(base, Vec::new()),
        ..Site::default()
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
            origin::origin_url(&url).map_err(|what| ConfigError::unlocated("--origin", what))?;
        site.origins.push(Origin {
            name: format!("origin{}", index + 1).into(),
            tls,
            host: host.into(),
            port,
            region: None,
            point: None,
            weight: 1,
            backup: false,
            protocol: OriginProtocol::Http1,
            limits: OriginLimits::default(),
            host_header: HostHeader::Client,
            health: None,
            tls_ca: None,
            connect_timeout: origin::CONNECT_TIMEOUT,
            response_timeout: origin::RESPONSE_TIMEOUT,
        });
    }
    Ok(site)
}

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

/// `certificate = "auto"` is the default in words: among the node's certificates, the one that fits the name the
/// client asks for.
fn tls(raw: raw::SiteTls, source: &Text<'_>) -> Result<TlsSettings, ConfigError> {
    Ok(TlsSettings {
        certificate: raw
            .certificate
            .filter(|name| name != "auto")
            .map(Into::into),
        redirect_http: raw.redirect_http,
        hsts: match &raw.hsts {
            Some(raw) => Some(route::hsts(raw, source)?),
            None => None,
        },
    })
}

#[cfg(test)]
mod content_tests;
#[cfg(test)]
mod tests;
