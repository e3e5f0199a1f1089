//! `[cache]`: what holds for the whole site, and what of it rules may say otherwise.

use std::sync::Arc;
use std::time::Duration;

use super::super::error::ConfigError;
use super::super::pattern::Pattern;
use super::super::policy::Policy;
use super::super::raw;
use super::super::site::{CacheSettings, SetCookie};
use super::super::text::Text;

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
    let mut base = Policy {
        stale_if_error: Some(
            raw.stale_if_error
                .map_or(Duration::from_secs(86_400), |span| span.0),
        ),
        stale_while_revalidate: raw.stale_while_revalidate.map(|span| span.0),
        ..Policy::default()
    };
    key("cache.key", raw.key, &mut base, source)?;
    let settings = CacheSettings {
        set_cookie: match raw.set_cookie {
            Some(raw::SetCookie::Explicit) | None => SetCookie::Explicit,
            Some(raw::SetCookie::Standard) => SetCookie::Standard,
            Some(raw::SetCookie::Strip) => SetCookie::Strip,
            Some(raw::SetCookie::Bypass) => SetCookie::Bypass,
        },
        strict: false,
        body_max_bytes: raw
            .body_max
            .map_or(CacheSettings::default().body_max_bytes, |size| size.0),
    };
    Ok((settings, base))
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
