//! `PURGE` requests, as plugins of content systems send them, from those whom the site lets purge.
//!
//! ```text
//! PURGE /path?query                          that URL at the request's host, all its variants
//! PURGE /path*                               what begins so at the request's host
//! PURGE /path.*  X-Purge-Method: regex       the same, as some plugins write it; other patterns are refused
//! PURGE /…       Cache-Tag: a, b             what carries one of these tags (or the site's other fields for tags)
//!       X-Soft-Purge: 1                      stale instead of gone; Fastly-Soft-Purge, too
//! ```
//!
//! They never reach an origin. The answer comes when the cluster has agreed and the purge is in force here; the other
//! nodes apply it as they hear of it, as with any purge.

use futures_util::future::join_all;
use http::header::HeaderName;
use http::{HeaderMap, Method};
use serde_json::{Value, json};

use super::admit::Ask;
use super::answer::Answered;
use super::outcome::{Outcome, Own, Passage};
use super::ports::{NotPurged, Purging};
use super::{Proxy, tags};
use crate::config::site::TagSettings;

/// Tags of one request at most: each is an entry of the log.
const TAGS_MAX: usize = 64;

/// Requests that wait for the cluster at most; more are asked to come again.
pub(super) const PURGES_MAX: usize = 64;

const X_PURGE_METHOD: HeaderName = HeaderName::from_static("x-purge-method");
const SOFT: [HeaderName; 2] = [
    HeaderName::from_static("x-soft-purge"),
    HeaderName::from_static("fastly-soft-purge"),
];

/// Is this a request to purge? The name is no registered method (RFC 9110 §16.1), and any cache's.
#[must_use]
pub(super) fn is_purge(method: &Method) -> bool {
    method.as_str() == "PURGE"
}

impl Proxy {
    /// Answers a request to purge.
    pub(super) async fn purging(&self, ask: &Ask) -> Answered {
        let (own, said) = self.purge_for(ask).await;
        self.metrics.purged(own);
        let passage = Passage::new(Outcome::Own(own));
        (self.own_json(own, &said), passage)
    }

    async fn purge_for(&self, ask: &Ask) -> (Own, Value) {
        let from = &ask.site.cache.purge_from;
        if from.is_empty() {
            let what = "this site takes no PURGE requests";
            return (Own::NoPurge, json!({ "error": what }));
        }
        let address = ask.client.address.to_canonical();
        if !from.iter().any(|network| network.contains(&address)) {
            let what = "this client may not purge";
            return (Own::Denied, json!({ "error": what }));
        }
        let settings = &ask.site.cache.tags;
        let (wanted, soft) = match wanted(&ask.headers, &ask.url, settings) {
            Ok(wanted) => wanted,
            Err(what) => return (Own::BadRequest, json!({ "error": what })),
        };
        let Ok(_turn) = self.purge_turns.try_acquire() else {
            let what = "too many PURGE requests at once";
            return (Own::NoQuorum, json!({ "error": what }));
        };
        let author = format!("PURGE from {address}");
        let site = &*ask.site.name;
        let purges = wanted.iter().map(|what| {
            self.neighbours
                .purge(site, what.clone(), soft, author.clone())
        });
        let mut purged = Vec::with_capacity(wanted.len());
        for (what, index) in wanted.iter().zip(join_all(purges).await) {
            let (kind, name) = match what {
                Purging::Url(url) => ("url", url),
                Purging::Prefix(prefix) => ("prefix", prefix),
                Purging::Tag(tag) => ("tag", tag),
            };
            match index {
                Ok(index) => purged.push(json!({ kind: name, "index": index })),
                Err(NotPurged::Refused(what)) => {
                    return (Own::BadRequest, json!({ "error": what }));
                }
                Err(NotPurged::Unavailable(what)) => {
                    return (Own::NoQuorum, json!({ "error": what }));
                }
            }
        }
        (
            Own::Purged,
            json!({ "site": site, "purged": purged, "soft": soft }),
        )
    }
}

/// What a request wants purged, and whether softly. `url` is its purge identity.
fn wanted(
    headers: &HeaderMap,
    url: &str,
    settings: &TagSettings,
) -> Result<(Vec<Purging>, bool), String> {
    let soft = SOFT.iter().any(|name| {
        headers
            .get(name)
            .is_some_and(|value| is_yes(value.as_bytes()))
    });
    let mut tags: Vec<String> = Vec::new();
    let mut names_tags = false;
    for field in &settings.fields {
        for line in headers.get_all(&field.name) {
            names_tags = true;
            let line = std::str::from_utf8(line.as_bytes())
                .map_err(|_| format!("{} is not UTF-8", field.name))?;
            for tag in tags::split(line, field.by_commas) {
                if !tags.iter().any(|known| known == tag) {
                    tags.push(tag.to_owned());
                }
            }
        }
    }
    if tags.len() > TAGS_MAX {
        return Err(format!("more than {TAGS_MAX} tags"));
    }
    if names_tags {
        // An empty list must not become a purge of the URL that the request happens to name.
        return match tags.is_empty() {
            true => Err("a field for tags without a tag".to_owned()),
            false => Ok((tags.into_iter().map(Purging::Tag).collect(), soft)),
        };
    }
    Ok((vec![by_url(headers, url)?], soft))
}

fn by_url(headers: &HeaderMap, url: &str) -> Result<Purging, String> {
    let method = match headers.get(X_PURGE_METHOD) {
        Some(value) => value.to_str().unwrap_or("?").trim(),
        None => "",
    };
    let regex = method.eq_ignore_ascii_case("regex");
    if regex {
        return match url.strip_suffix(".*") {
            Some(begin) if !begin.contains(['*', '+', '(', '[', '{', '|', '\\', '^', '$']) => {
                Ok(Purging::Prefix(begin.to_owned()))
            }
            _ => Err("of patterns only those that end with \".*\" are known".to_owned()),
        };
    }
    let known = ["", "exact", "default", "single"];
    if !known.iter().any(|known| method.eq_ignore_ascii_case(known)) {
        return Err(format!(
            "X-Purge-Method \"{method}\" is not known; write exact or regex"
        ));
    }
    Ok(match url.strip_suffix('*') {
        Some(begin) => Purging::Prefix(begin.to_owned()),
        None => Purging::Url(url.to_owned()),
    })
}

fn is_yes(value: &[u8]) -> bool {
    value == b"1" || value.eq_ignore_ascii_case(b"true")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn check(
        url: &str,
        fields: &[(&'static str, &'static str)],
        expected: Result<(Vec<Purging>, bool), &str>,
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let got = wanted(&headers, url, &TagSettings::default());
        match (got, expected) {
            (Err(said), Err(words)) => assert!(said.contains(words), "{said}"),
            (got, expected) => {
                assert_eq!(got, expected.map_err(str::to_owned), "{url} {fields:?}");
            }
        }
    }

    #[test]
    fn a_request_names_a_url_a_prefix_or_tags() {
        let url = |text: &str| vec![Purging::Url(text.into())];
        let prefix = |text: &str| vec![Purging::Prefix(text.into())];
        let tags = |names: &[&str]| {
            names
                .iter()
                .map(|tag| Purging::Tag((*tag).into()))
                .collect()
        };
        check("h/a?b", &[], Ok((url("h/a?b"), false)));
        check("h/a", &[("x-soft-purge", "1")], Ok((url("h/a"), true)));
        check("h/a", &[("x-soft-purge", "0")], Ok((url("h/a"), false)));
        check("h/a", &[("fastly-soft-purge", "1")], Ok((url("h/a"), true)));
        check("h/a*", &[], Ok((prefix("h/a"), false)));
        check("h/*", &[], Ok((prefix("h/"), false)));
        let regex = ("x-purge-method", "regex");
        check("h/.*", &[regex], Ok((prefix("h/"), false)));
        check("h/a.*", &[regex], Ok((prefix("h/a"), false)));
        check("h/a", &[regex], Err(".*"));
        check("h/(a|b).*", &[regex], Err(".*"));
        check(
            "h/a",
            &[("x-purge-method", "exact")],
            Ok((url("h/a"), false)),
        );
        check("h/a", &[("x-purge-method", "ban")], Err("ban"));
        let fields = [("cache-tag", "a, b"), ("xkey", "c a")];
        check("h/", &fields, Ok((tags(&["a", "b", "c"]), false)));
        check("h/", &[("surrogate-key", " ")], Err("without a tag"));
    }
}
