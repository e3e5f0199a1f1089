//! `redirect`, `rewrite` and `host` of rules; HSTS.

use std::sync::Arc;

use http::{HeaderValue, StatusCode};

use super::super::error::ConfigError;
use super::super::raw;
use super::super::route::{Redirect, Rewrite, Substitution};
use super::super::text::Text;

/// Longest expression or target.
const TEXT_MAX_BYTES: usize = 2000;

/// Bytes that can stand in a target as they are.
fn sendable(text: &str) -> bool {
    text.len() <= TEXT_MAX_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic())
}

pub(super) fn redirect(
    at: &str,
    raw: raw::Redirect,
    source: &Text<'_>,
) -> Result<Arc<Redirect>, ConfigError> {
    let to = format!("{at}.to");
    if !sendable(&raw.to)
        || !["/", "https://", "http://"]
            .iter()
            .any(|begin| raw.to.starts_with(begin))
        || raw.to.starts_with("//")
    {
        let what = format!("a client cannot be sent to \"{}\"", raw.to);
        return Err(source
            .wrong(&to, what)
            .hint("write a path, or a URL with its scheme, without spaces"));
    }
    let host_from_path = raw
        .to
        .split_once("://")
        .is_some_and(|(_, rest)| rest.split('/').next().unwrap_or_default().contains('$'));
    if host_from_path {
        let what = format!("\"{}\" lets the client's path choose the host", raw.to);
        return Err(source
            .wrong(&to, what)
            .hint("write the host out, with a `/` behind it"));
    }
    let status = match raw.status.unwrap_or(302) {
        301 => StatusCode::MOVED_PERMANENTLY,
        302 => StatusCode::FOUND,
        303 => StatusCode::SEE_OTHER,
        307 => StatusCode::TEMPORARY_REDIRECT,
        308 => StatusCode::PERMANENT_REDIRECT,
        other => {
            let what = format!("{other} is not the status of a redirect");
            return Err(source
                .wrong(&format!("{at}.status"), what)
                .hint("write 301, 302, 303, 307 or 308"));
        }
    };
    Ok(Arc::new(Redirect {
        by_path: match &raw.from {
            Some(from) => Some(substitution(at, from, &raw.to, source)?),
            None => None,
        },
        to: raw.to.into(),
        status,
        keeps_query: raw.query.unwrap_or(true),
    }))
}

fn substitution(
    at: &str,
    from: &str,
    to: &str,
    source: &Text<'_>,
) -> Result<Substitution, ConfigError> {
    if from.len() > TEXT_MAX_BYTES {
        let what = format!("`from` is longer than {TEXT_MAX_BYTES} bytes");
        return Err(source.wrong(&format!("{at}.from"), what));
    }
    Substitution::new(from, to).map_err(|what| {
        let key = if what.starts_with(&format!("\"{to}\"")) {
            "to"
        } else {
            "from"
        };
        source.wrong(&format!("{at}.{key}"), what)
    })
}

pub(super) fn rewrite(
    at: &str,
    raw: raw::Rewrite,
    source: &Text<'_>,
) -> Result<Arc<Rewrite>, ConfigError> {
    let raw::Rewrite {
        from,
        to,
        strip_prefix,
        add_prefix,
    } = raw;
    let good_path = |key: &str, path: &str| {
        if sendable(path) && path.starts_with(['/', '$']) && !path.contains(['?', '#']) {
            return Ok(());
        }
        let what = format!("\"{path}\" is not a path");
        Err(source
            .wrong(&format!("{at}.{key}"), what)
            .hint("begin it with \"/\", and leave the query out: it stays as it is"))
    };
    let prefixes = strip_prefix.is_some() || add_prefix.is_some();
    match (from, to) {
        (Some(from), Some(to)) if !prefixes => {
            good_path("to", &to)?;
            Ok(Arc::new(Rewrite::ByPath(substitution(at, &from, &to, source)?)))
        }
        (None, None) if prefixes => {
            let prefix = |key: &str, written: Option<String>| match written {
                Some(prefix) => {
                    good_path(key, &prefix)?;
                    Ok(prefix.trim_end_matches('/').into())
                }
                None => Ok(Box::default()),
            };
            Ok(Arc::new(Rewrite::Prefix {
                strip: prefix("strip_prefix", strip_prefix)?,
                add: prefix("add_prefix", add_prefix)?,
            }))
        }
        _ => Err(source
            .wrong(at, "`rewrite` is not complete")
            .hint("write `{ from = \"^/a/(.*)$\", to = \"/$1\" }`, or `strip_prefix`, `add_prefix` or both")),
    }
}

/// `Strict-Transport-Security` (RFC 6797 §6.1).
pub(super) fn hsts(raw: &raw::Hsts, source: &Text<'_>) -> Result<HeaderValue, ConfigError> {
    /// What lists of preloaded hosts ask for.
    const PRELOAD_MIN_S: u64 = 31_536_000;
    let seconds = raw.max_age.0.as_secs();
    if raw.preload && (seconds < PRELOAD_MIN_S || !raw.include_subdomains) {
        let what = "`preload` needs `include_subdomains` and a `max_age` of a year";
        return Err(source.wrong("tls.hsts.preload", what));
    }
    let mut text = format!("max-age={seconds}");
    if raw.include_subdomains {
        text.push_str("; includeSubDomains");
    }
    if raw.preload {
        text.push_str("; preload");
    }
    HeaderValue::from_str(&text).map_err(|_| source.wrong("tls.hsts", "it cannot be sent"))
}
