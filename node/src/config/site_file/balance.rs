//! `balance`, `hash_by`, `sticky_cookie` and the limits of origins.

use http::HeaderName;

use super::super::error::ConfigError;
use super::super::raw;
use super::super::site::{Balance, HashBy, OriginLimits};
use super::super::text::Text;

/// Which of equally near origins is asked.
pub(super) fn balance(raw: &raw::Origins, source: &Text<'_>) -> Result<Balance, ConfigError> {
    let by = raw.hash_by.as_deref();
    match (raw.balance, by) {
        (Some(raw::Balance::Hash), by) => {
            let by = hash_by(by.unwrap_or("client"));
            let by = by.map_err(|what| source.wrong("origins.hash_by", what))?;
            Ok(Balance::Hash(by))
        }
        (_, Some(_)) => {
            let what =
                "`hash_by` says what `balance = \"hash\"` hashes; without that it does nothing";
            Err(source.wrong("origins.hash_by", what))
        }
        (None | Some(raw::Balance::Random), None) => Ok(Balance::Random),
        (Some(raw::Balance::LeastConnections), None) => Ok(Balance::LeastConnections),
    }
}

fn hash_by(written: &str) -> Result<HashBy, String> {
    match written.split_once(':') {
        None if written == "client" => Ok(HashBy::Client),
        None if written == "path" => Ok(HashBy::Path),
        Some(("header", name)) => HeaderName::try_from(name)
            .map(HashBy::Field)
            .map_err(|_| format!("`hash_by`: \"{name}\" is not the name of a field")),
        Some(("cookie", name)) => cookie_name("hash_by", name).map(HashBy::Cookie),
        _ => Err(format!(
            "`hash_by` cannot be \"{written}\"; write \"client\", \"path\", \"header:NAME\" or \"cookie:NAME\""
        )),
    }
}

/// The cookie that binds a client to an origin.
pub(super) fn sticky_cookie(
    raw: &raw::Origins,
    source: &Text<'_>,
) -> Result<Option<Box<str>>, ConfigError> {
    let Some(name) = &raw.sticky_cookie else {
        return Ok(None);
    };
    let name = cookie_name("sticky_cookie", name);
    name.map(Some)
        .map_err(|what| source.wrong("origins.sticky_cookie", what))
}

/// A token (RFC 6265 §4.1.1).
fn cookie_name(key: &str, name: &str) -> Result<Box<str>, String> {
    let of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if (1..=64).contains(&name.len()) && name.bytes().all(of_token) {
        Ok(name.into())
    } else {
        Err(format!(
            "`{key}`: \"{name}\" is not the name of a cookie; write 1 to 64 letters, digits, `-` or `_`"
        ))
    }
}

/// What an origin may have at once. `own` tells where a key stands, for errors.
pub(super) fn limits(
    raw: &raw::Origin,
    defaults: &raw::Origins,
    own: &dyn Fn(&str, bool) -> String,
    source: &Text<'_>,
) -> Result<OriginLimits, ConfigError> {
    let fallback = OriginLimits::default();
    let count = |key: &str, its: Option<u32>, all: Option<u32>| match its.or(all) {
        Some(0) => {
            let what = format!("`{key}` must be at least 1: with none the origin is never asked");
            Err(source.wrong(&own(key, its.is_some()), what))
        }
        count => Ok(count.map(|count| count as usize)),
    };
    let queue_max = raw.queue_max.or(defaults.queue_max);
    let queue_timeout = raw.queue_timeout.or(defaults.queue_timeout);
    let limits = OriginLimits {
        requests_max: count("requests_max", raw.requests_max, defaults.requests_max)?,
        connections_max: count(
            "connections_max",
            raw.connections_max,
            defaults.connections_max,
        )?,
        queue_max: queue_max.map_or(fallback.queue_max, |max| max as usize),
        queue_timeout: queue_timeout.map_or(fallback.queue_timeout, |span| span.0),
    };
    let unlimited = limits.requests_max.is_none() && limits.connections_max.is_none();
    for (key, its, there) in [
        ("queue_max", raw.queue_max.is_some(), queue_max.is_some()),
        (
            "queue_timeout",
            raw.queue_timeout.is_some(),
            queue_timeout.is_some(),
        ),
    ] {
        if unlimited && there {
            let what = format!("`{key}` does nothing without `requests_max` or `connections_max`");
            return Err(source.wrong(&own(key, its), what));
        }
    }
    Ok(limits)
}
