//! `[cache]`: what holds for the whole site, and what of it rules may say otherwise.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderName;

use super::super::error::ConfigError;
use super::super::pattern::Pattern;
use super::super::policy::{ByteSize, ClientDirectives, Policy, Ttl};
use super::super::raw;
use super::super::site::{CacheSettings, SetCookie};
use super::super::text::Text;
use super::super::units::{Size, Span};

/// The section, and the part of it that is the site's policy.
pub(super) fn cache(
    raw: raw::SiteCache,
    source: &Text<'_>,
) -> Result<(CacheSettings, Policy), ConfigError> {
    if raw.consistency == Some(raw::Consistency::Strict) {
        let what = "`consistency = \"strict\"` is not supported yet";
        return Err(source
            .wrong("cache.consistency", what)
            .hint("write \"available\""));
    }
    bounds("cache", raw.ttl_min, raw.ttl_max, source)?;
    let mut base = Policy {
        ttl_min: raw.ttl_min.map(|span| Ttl {
            lifetime: span.0,
            names_status: false,
        }),
        ttl_max: raw.ttl_max.map(|span| span.0),
        negative_ttl: raw.negative_ttl.map(|span| span.0),
        client_directives: raw.client_directives.map(client_directives),
        stale_if_error: Some(
            raw.stale_if_error
                .map_or(Duration::from_secs(86_400), |span| span.0),
        ),
        stale_while_revalidate: raw.stale_while_revalidate.map(|span| span.0),
        ..Policy::default()
    };
    base.slice = slice("cache", raw.slice, source)?;
    base.query_content = query_content("cache", raw.query_content, source)?;
    key("cache.key", raw.key, &mut base, source)?;
    let settings = CacheSettings {
        set_cookie: match raw.set_cookie {
            Some(raw::SetCookie::Explicit) | None => SetCookie::Explicit,
            Some(raw::SetCookie::Standard) => SetCookie::Standard,
            Some(raw::SetCookie::Strip) => SetCookie::Strip,
            Some(raw::SetCookie::Bypass) => SetCookie::Bypass,
        },
        strict: false,
        development_until: match raw.development_until {
            Some(until) => Some(moment(&until).map_err(|what| {
                source
                    .wrong("cache.development_until", what)
                    .hint("write it like 2026-11-24T12:00:00Z, without quotes")
            })?),
            None => None,
        },
        body_max_bytes: raw
            .body_max
            .map_or(CacheSettings::default().body_max_bytes, |size| size.0),
        tags: super::tags::tags(raw.tags, source)?,
        purge_from: super::tags::networks("cache.purge_from", raw.purge_from, source)?,
        status_key_for: super::tags::networks("cache.status_key_for", raw.status_key_for, source)?,
    };
    Ok((settings, base))
}

pub(super) fn client_directives(raw: raw::ClientDirectives) -> ClientDirectives {
    match raw {
        raw::ClientDirectives::Honour => ClientDirectives::Honour,
        raw::ClientDirectives::Ignore => ClientDirectives::Ignore,
    }
}

/// `slice`, in `[cache]` or in a rule: small enough that a slice can be kept in memory, large enough that it is worth a
/// request.
pub(super) fn slice(
    at: &str,
    size: Option<Size>,
    source: &Text<'_>,
) -> Result<Option<ByteSize>, ConfigError> {
    const LEAST: u64 = 64 << 10;
    const MOST: u64 = 1 << 30;
    match size.map(|size| size.0) {
        Some(bytes) if bytes != 0 && !(LEAST..=MOST).contains(&bytes) => Err(source
            .wrong(
                &format!("{at}.slice"),
                "a slice has 64 KiB at least and 1 GiB at most",
            )
            .hint("write \"8 MiB\", or \"0 B\" for no slices")),
        bytes => Ok(bytes.map(ByteSize::new)),
    }
}

/// `query_content`, in `[cache]` or in a rule. It is held in memory while the request is.
pub(super) fn query_content(
    at: &str,
    size: Option<Size>,
    source: &Text<'_>,
) -> Result<Option<ByteSize>, ConfigError> {
    const MOST: u64 = 1 << 20;
    match size.map(|size| size.0) {
        Some(bytes) if bytes > MOST => Err(source
            .wrong(
                &format!("{at}.query_content"),
                "the content of a query is held in memory: 1 MiB at most",
            )
            .hint("write \"64 KiB\", or \"0 B\" to pass queries through")),
        bytes => Ok(bytes.map(ByteSize::new)),
    }
}

/// A floor above the ceiling would say nothing that anybody could mean.
pub(super) fn bounds(
    at: &str,
    min: Option<Span>,
    max: Option<Span>,
    source: &Text<'_>,
) -> Result<(), ConfigError> {
    match (min, max) {
        (Some(min), Some(max)) if min.0 > max.0 => {
            Err(source.wrong(&format!("{at}.ttl_min"), "`ttl_min` is more than `ttl_max`"))
        }
        _ => Ok(()),
    }
}

/// A moment that a TOML date-time names; it needs all three parts, as a time without an offset is another one on each
/// node.
fn moment(written: &toml::value::Datetime) -> Result<SystemTime, String> {
    let incomplete = || format!("{written} is no moment: it needs a date, a time and an offset");
    let (Some(date), Some(time), Some(offset)) = (written.date, written.time, written.offset)
    else {
        return Err(incomplete());
    };
    let offset_minutes = match offset {
        toml::value::Offset::Z => 0,
        toml::value::Offset::Custom { minutes } => i64::from(minutes),
    };
    let days = days_since_1970(
        i64::from(date.year),
        i64::from(date.month),
        i64::from(date.day),
    );
    let minutes = i64::from(time.hour) * 60 + i64::from(time.minute) - offset_minutes;
    let second = i64::from(time.second.unwrap_or(0));
    let seconds = u64::try_from(days * 86_400 + minutes * 60 + second).map_err(|_| incomplete())?;
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// Days from 1970-01-01 to a date of the Gregorian calendar, which begins its years with March so that the leap day
/// comes last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719_468
}

/// `key = { … }`, in `[cache]` or in a rule.
pub(super) fn key(
    at: &str,
    raw: raw::CacheKey,
    policy: &mut Policy,
    source: &Text<'_>,
) -> Result<(), ConfigError> {
    if let Some(names) = raw.query_drop {
        let names = parameters(&format!("{at}.query_drop"), names.0, source)?;
        policy.query_drop = Some(Arc::new(names));
    }
    if let Some(names) = raw.query_keep {
        let names = parameters(&format!("{at}.query_keep"), names.0, source)?;
        policy.query_keep = Some(Arc::new(names));
    }
    policy.query_sort = raw.query_sort;
    if let Some(names) = raw.headers {
        let names = fields(&format!("{at}.headers"), &names.0, source)?;
        policy.key_headers = Some(Arc::new(names));
    }
    if let Some(names) = raw.cookies {
        let names = cookies(&format!("{at}.cookies"), names.0, source)?;
        policy.key_cookies = Some(Arc::new(names));
    }
    policy.key_device = raw.device;
    policy.key_country = raw.country;
    Ok(())
}

/// Request fields that may be in the key.
fn fields(at: &str, names: &[String], source: &Text<'_>) -> Result<Vec<HeaderName>, ConfigError> {
    few(at, names.len(), source)?;
    let mut fields: Vec<HeaderName> = Vec::with_capacity(names.len());
    for (index, written) in names.iter().enumerate() {
        let wrong = |what: String| source.wrong(&format!("{at}.{index}"), what);
        let name = super::rule::field_name(written).map_err(wrong)?;
        match name.as_str() {
            "forwarded" | "x-forwarded-for" | "via" | "cdn-loop" => {
                let what =
                    format!("the field {name} is the proxy's own, and another for each client");
                return Err(wrong(what));
            }
            "x-http-method" | "x-http-method-override" | "x-method-override" => {
                return Err(wrong(format!(
                    "the field {name} never reaches an origin with GET"
                )));
            }
            "range"
            | "if-range"
            | "if-match"
            | "if-none-match"
            | "if-modified-since"
            | "if-unmodified-since"
            | "cache-control"
            | "pragma" => {
                let what =
                    format!("the field {name} is for the cache itself, it chooses no answer");
                return Err(wrong(what));
            }
            "cookie" => {
                let what = "the whole field cookie would give every visitor a copy".to_owned();
                return Err(wrong(what).hint("name the cookies in `cookies`"));
            }
            _ => {}
        }
        fields.push(name);
    }
    fields.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    fields.dedup();
    Ok(fields)
}

/// Names of cookies (RFC 6265 §4.1.1: tokens).
fn cookies(at: &str, names: Vec<String>, source: &Text<'_>) -> Result<Vec<Box<str>>, ConfigError> {
    few(at, names.len(), source)?;
    for (index, name) in names.iter().enumerate() {
        // The names of fields are tokens too.
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            let what = format!("\"{name}\" is not the name of a cookie");
            return Err(source.wrong(&format!("{at}.{index}"), what));
        }
    }
    let mut names: Vec<Box<str>> = names.into_iter().map(Into::into).collect();
    names.sort();
    names.dedup();
    Ok(names)
}

/// So that no key grows without bounds.
fn few(at: &str, count: usize, source: &Text<'_>) -> Result<(), ConfigError> {
    const MAX: usize = 16;
    if count > MAX {
        return Err(source.wrong(at, format!("more than {MAX} entries")));
    }
    Ok(())
}

/// Names of query parameters, or prefixes of such.
fn parameters(
    at: &str,
    names: Vec<String>,
    source: &Text<'_>,
) -> Result<Vec<Pattern>, ConfigError> {
    if let Some(index) = names
        .iter()
        .position(|name| name.is_empty() || name.trim_end_matches('*').contains('*'))
    {
        let what = format!(
            "\"{}\" names no query parameter; write a name, or a prefix like \"utm_*\"",
            names[index]
        );
        return Err(source.wrong(&format!("{at}.{index}"), what));
    }
    Ok(names.iter().map(|name| Pattern::new(name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_the_same_everywhere() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:60Z", 951_868_800),
            ("2026-11-24T12:00:00Z", 1_795_521_600),
            ("2026-11-24T13:30:00+01:30", 1_795_521_600),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ] {
            let written = text.parse().unwrap();
            let expected = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(moment(&written), Ok(expected), "{text}");
        }
        for text in [
            "2026-11-24",
            "12:00:00",
            "2026-11-24T12:00:00",
            "1969-12-31T23:00:00Z",
        ] {
            assert!(moment(&text.parse().unwrap()).is_err(), "{text}");
        }
    }
}
