//! A site's rules as written.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

use super::auth::Demand;
use super::content::{Headers, Page, Redirect, Rewrite};
use super::site::Codings;
use crate::config::units::{OneOrMore, Size, Span};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct CacheKey {
    pub(in crate::config) query_drop: Option<OneOrMore>,
    pub(in crate::config) query_keep: Option<OneOrMore>,
    pub(in crate::config) query_sort: Option<bool>,
    pub(in crate::config) headers: Option<OneOrMore>,
    pub(in crate::config) cookies: Option<OneOrMore>,
    pub(in crate::config) device: Option<bool>,
    pub(in crate::config) country: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Rule {
    #[serde(default, rename = "match")]
    pub(in crate::config) matches: Match,
    pub(in crate::config) ttl: Option<Span>,
    pub(in crate::config) ttl_min: Option<Span>,
    pub(in crate::config) ttl_max: Option<Span>,
    pub(in crate::config) negative_ttl: Option<Span>,
    pub(in crate::config) client_directives: Option<ClientDirectives>,
    pub(in crate::config) cache: Option<RuleCache>,
    pub(in crate::config) stale_while_revalidate: Option<Span>,
    pub(in crate::config) stale_if_error: Option<Span>,
    pub(in crate::config) slice: Option<Size>,
    pub(in crate::config) query_content: Option<Size>,
    pub(in crate::config) compression: Option<Codings>,
    #[serde(default)]
    pub(in crate::config) headers: Headers,
    pub(in crate::config) auth: Option<Demand>,
    pub(in crate::config) redirect: Option<Redirect>,
    pub(in crate::config) rewrite: Option<Rewrite>,
    pub(in crate::config) host: Option<String>,
    pub(in crate::config) error_page: Option<Page>,
    #[serde(default)]
    pub(in crate::config) key: CacheKey,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Match {
    pub(in crate::config) path: Option<OneOrMore>,
    pub(in crate::config) method: Option<OneOrMore>,
    pub(in crate::config) status: Option<Statuses>,
    pub(in crate::config) header: BTreeMap<String, FieldTest>,
    pub(in crate::config) content_type: Option<OneOrMore>,
}

/// `true`, `false`, a pattern or a list of them.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "write true, false, a pattern such as \"*json*\", or a list of patterns"
)]
pub(in crate::config) enum FieldTest {
    Present(bool),
    Like(OneOrMore),
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum RuleCache {
    Bypass,
    Standard,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum ClientDirectives {
    Honour,
    Ignore,
}

/// Statuses: `404`, `"404"`, `"5xx"`, `"500-599"`, or a list of such.
#[derive(Debug, Default)]
pub(in crate::config) struct Statuses(pub(in crate::config) Vec<RangeInclusive<u16>>);

/// Final statuses: what comes before is never matched.
const FINAL: RangeInclusive<u16> = 200..=599;

fn number(code: i64) -> Result<u16, String> {
    u16::try_from(code)
        .ok()
        .filter(|code| FINAL.contains(code))
        .ok_or_else(|| format!("{code} is not the status of an answer; those are 200 to 599"))
}

/// One entry of such a list.
pub(in crate::config) fn statuses(text: &str) -> Result<RangeInclusive<u16>, String> {
    let wrong = || format!("\"{text}\" is not a status; write it like 404, \"5xx\" or \"500-599\"");
    if let Some(class) = text.strip_suffix("xx") {
        return match class {
            "2" | "3" | "4" | "5" => {
                let first = class.parse::<u16>().map_err(|_| wrong())? * 100;
                Ok(first..=first + 99)
            }
            _ => Err(wrong()),
        };
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let code = |text: &str| number(text.trim().parse().map_err(|_| wrong())?);
    let (first, last) = (code(first)?, code(last)?);
    if first > last {
        return Err(format!("\"{text}\" ends before it begins"));
    }
    Ok(first..=last)
}

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Statuses;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a status such as 404, \"5xx\" or \"500-599\", or a list of such")
            }

            fn visit_i64<E: Error>(self, code: i64) -> Result<Statuses, E> {
                let code = number(code).map_err(E::custom)?;
                Ok(Statuses(vec![code..=code]))
            }

            fn visit_u64<E: Error>(self, code: u64) -> Result<Statuses, E> {
                self.visit_i64(i64::try_from(code).unwrap_or(i64::MAX))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Statuses, E> {
                Ok(Statuses(vec![statuses(text).map_err(E::custom)?]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Statuses, A::Error> {
                let mut ranges = Vec::new();
                while let Some(Statuses(more)) = list.next_element()? {
                    ranges.extend(more);
                }
                Ok(Statuses(ranges))
            }
        }

        deserializer.deserialize_any(Read)
    }
}
