//! `[error_pages]` and `[maintenance]`.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderValue;

use super::super::address;
use super::super::error::ConfigError;
use super::super::page::{ErrorPages, Maintenance, Page};
use super::super::raw;
use super::super::text::Text;

/// Longest page; every node keeps every site's pages in memory.
const PAGE_MAX_BYTES: usize = 64 << 10;
const PAGES_MAX: usize = 50;
const ALLOW_MAX: usize = 1000;

pub(super) fn error_pages(
    raw: BTreeMap<String, raw::Page>,
    source: &Text<'_>,
) -> Result<ErrorPages, ConfigError> {
    if raw.len() > PAGES_MAX {
        return Err(source.wrong("error_pages", format!("more than {PAGES_MAX} pages")));
    }
    let pages = raw.into_iter().map(|(statuses, raw)| {
        let at = format!("error_pages.{statuses}");
        let range = raw::statuses(&statuses).map_err(|what| source.wrong(&at, what))?;
        if *range.start() < 400 {
            let what = format!("\"{statuses}\" is not the status of an error");
            return Err(source
                .wrong(&at, what)
                .hint("errors are 400 to 599, like \"404\", \"5xx\" or \"502-504\""));
        }
        Ok((range, page(&at, raw, source)?))
    });
    Ok(ErrorPages(pages.collect::<Result<_, _>>()?))
}

/// One page.
pub(super) fn page(at: &str, raw: raw::Page, source: &Text<'_>) -> Result<Arc<Page>, ConfigError> {
    if raw.body.len() > PAGE_MAX_BYTES {
        let what = format!("the page is longer than {} KiB", PAGE_MAX_BYTES >> 10);
        return Err(source.wrong(&format!("{at}.body"), what));
    }
    let kind = raw.kind.as_deref().unwrap_or("text/html; charset=utf-8");
    let content_type = HeaderValue::from_str(kind)
        .ok()
        .filter(|_| kind.contains('/'))
        .ok_or_else(|| {
            let what = format!("\"{kind}\" is not a media type");
            source
                .wrong(&format!("{at}.type"), what)
                .hint("write it like \"text/html; charset=utf-8\"")
        })?;
    Ok(Arc::new(Page {
        body: raw.body.into(),
        content_type,
        intercepts: raw.intercept,
    }))
}

pub(super) fn maintenance(
    raw: Option<raw::Maintenance>,
    source: &Text<'_>,
) -> Result<Option<Maintenance>, ConfigError> {
    let Some(raw) = raw else { return Ok(None) };
    let written = raw.allow.unwrap_or_default().0;
    if written.len() > ALLOW_MAX {
        let what = format!("more than {ALLOW_MAX} networks");
        return Err(source.wrong("maintenance.allow", what));
    }
    let allow = written.iter().enumerate().map(|(index, network)| {
        address::network(network)
            .map_err(|what| source.wrong(&format!("maintenance.allow.{index}"), what))
    });
    let maintenance = Maintenance {
        retry_after_s: raw.retry_after.map(|span| span.0.as_secs().max(1)),
        allow: allow.collect::<Result<_, _>>()?,
        page: match raw.page {
            Some(written) if written.intercept => {
                let what = "`intercept` says nothing here: no origin is asked";
                return Err(source.wrong("maintenance.page.intercept", what));
            }
            Some(written) => Some(page("maintenance.page", written, source)?),
            None => None,
        },
    };
    Ok(raw.enabled.then_some(maintenance))
}
