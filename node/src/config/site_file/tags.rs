//! `[cache] tags`: which fields of an answer carry tags; and `purge_from`: whose PURGE requests are done.

use http::header::{self, HeaderName};
use ipnet::IpNet;

use super::super::address;
use super::super::error::ConfigError;
use super::super::raw;
use super::super::site::{TagField, TagSettings};
use super::super::text::Text;
use super::super::units::OneOrMore;

/// Fields that carry tags at most.
const TAG_FIELDS_MAX: usize = 8;
/// Fields that answers need for something else, so that they can be no tags.
const NO_TAGS: [HeaderName; 7] = [
    header::AGE,
    header::CACHE_CONTROL,
    header::CONTENT_LENGTH,
    header::DATE,
    header::ETAG,
    header::SET_COOKIE,
    header::VARY,
];

/// `tags = { … }`.
pub(super) fn tags(raw: raw::CacheTags, source: &Text<'_>) -> Result<TagSettings, ConfigError> {
    let mut settings = TagSettings {
        send: raw.send,
        ..TagSettings::default()
    };
    let Some(names) = raw.fields else {
        return Ok(settings);
    };
    if names.0.len() > TAG_FIELDS_MAX {
        let what = format!("more than {TAG_FIELDS_MAX} fields with tags");
        return Err(source.wrong("cache.tags.fields", what));
    }
    settings.fields = Vec::with_capacity(names.0.len());
    for (index, text) in names.0.iter().enumerate() {
        let at = format!("cache.tags.fields.{index}");
        let name = match HeaderName::try_from(text.as_str()) {
            Ok(name) if !NO_TAGS.contains(&name) => name,
            _ => {
                let what = format!(
                    "\"{text}\" cannot carry tags; write a response field like \"Cache-Tag\""
                );
                return Err(source.wrong(&at, what));
            }
        };
        let field = TagField::new(name);
        if settings.fields.contains(&field) {
            return Err(source.wrong(&at, format!("the field {text} is listed twice")));
        }
        settings.fields.push(field);
    }
    Ok(settings)
}

const NETWORKS_MAX: usize = 256;

/// Networks of clients that may do what others may not, under the key `at`.
pub(super) fn networks(
    at: &str,
    raw: Option<OneOrMore>,
    source: &Text<'_>,
) -> Result<Vec<IpNet>, ConfigError> {
    let entries = raw.unwrap_or_default().0;
    if entries.len() > NETWORKS_MAX {
        let what = format!("more than {NETWORKS_MAX} networks");
        return Err(source.wrong(at, what));
    }
    let network = |(index, entry): (usize, &String)| {
        address::network(entry).map_err(|what| source.wrong(&format!("{at}.{index}"), what))
    };
    entries.iter().enumerate().map(network).collect()
}
