//! Cache directives meant for CDNs (RFC 9213): `Nearside-CDN-Cache-Control`, `CDN-Cache-Control`, and the older
//! `Surrogate-Control` for origins that still send it.
//!
//! The first two are dictionaries of structured fields. One that is empty or does not parse is as good as absent: then
//! the next one counts, at last `Cache-Control`. One that counts makes `Cache-Control` and `Expires` moot (§2.2).

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

use super::cache_control::{Argument, CacheControl, element_end};

/// The target list, most specific first.
const TARGETS: [HeaderName; 2] = [
    HeaderName::from_static("nearside-cdn-cache-control"),
    HeaderName::from_static("cdn-cache-control"),
];

/// From the Edge Architecture Specification; older than RFC 9213, and in the grammar of `Cache-Control`.
pub(super) const SURROGATE_CONTROL: HeaderName = HeaderName::from_static("surrogate-control");

/// What the first targeted field that says something says; none where no such field is.
#[must_use]
pub(super) fn directives(headers: &HeaderMap) -> Option<CacheControl> {
    TARGETS
        .iter()
        .find_map(|name| structured(headers, name))
        .or_else(|| surrogate(headers))
}

/// All lines of a field as one dictionary.
fn structured(headers: &HeaderMap, name: &HeaderName) -> Option<CacheControl> {
    if !headers.contains_key(name) {
        return None;
    }
    let lines: Vec<&[u8]> = headers
        .get_all(name)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    let dictionary: Dictionary = Parser::new(&lines.join(&b", "[..])).parse().ok()?;
    if dictionary.is_empty() {
        return None;
    }
    let mut directives = CacheControl {
        targeted: true,
        ..CacheControl::default()
    };
    for (name, member) in &dictionary {
        let name = name.as_str().as_bytes();
        // Parameters have no meaning here (§2.1). No directive has a list for its value.
        let ListEntry::Item(item) = member else {
            directives.take(name, Some(Argument(b"")));
            continue;
        };
        match &item.bare_item {
            BareItem::Boolean(false) => {}
            BareItem::Boolean(true) => directives.take(name, None),
            BareItem::Integer(number) => {
                // A negative number is no delta-seconds, and reads as stale.
                directives.take(name, Some(Argument(number.to_string().as_bytes())));
            }
            BareItem::String(text) if !takes_seconds(name) => {
                directives.take(name, Some(Argument(text.as_str().as_bytes())));
            }
            BareItem::Token(text) if !takes_seconds(name) => {
                directives.take(name, Some(Argument(text.as_str().as_bytes())));
            }
            // A value of another type than the directive has is no lifetime, and no leave either.
            _ => directives.take(name, Some(Argument(b""))),
        }
    }
    Some(directives)
}

/// Directives whose argument is an integer, so that a string that looks like one does not count (§2.1).
fn takes_seconds(name: &[u8]) -> bool {
    [
        &b"max-age"[..],
        b"s-maxage",
        b"stale-while-revalidate",
        b"stale-if-error",
    ]
    .contains(&name)
}

/// `Surrogate-Control`, where it speaks of storing at all: often it is there for `content="ESI/1.0"` only.
///
/// What is addressed to a surrogate by name (`max-age=60;name`) is not for us. The time behind a plus
/// (`max-age=60+600`) is the one for which it may be sent stale while it is asked for anew.
fn surrogate(headers: &HeaderMap) -> Option<CacheControl> {
    let mut directives = CacheControl {
        targeted: true,
        ..CacheControl::default()
    };
    let mut speaks = false;
    for line in headers.get_all(SURROGATE_CONTROL) {
        let mut rest = line.as_bytes();
        while !rest.is_empty() {
            let end = element_end(rest);
            let element = rest[..end].trim_ascii();
            rest = rest.get(end + 1..).unwrap_or_default();
            if element.contains(&b';') {
                continue;
            }
            let mut halves = element.splitn(2, |byte| *byte == b'=');
            let name = halves.next().unwrap_or_default();
            let argument = halves.next();
            if name.eq_ignore_ascii_case(b"no-store") {
                directives.no_store = true;
                speaks = true;
            } else if name.eq_ignore_ascii_case(b"max-age") {
                let mut times = argument.unwrap_or_default().splitn(2, |byte| *byte == b'+');
                directives.take(b"max-age", times.next().map(Argument));
                if let Some(more) = times.next() {
                    directives.take(b"stale-while-revalidate", Some(Argument(more)));
                }
                speaks = true;
            }
        }
    }
    speaks.then_some(directives)
}

#[cfg(test)]
mod tests {
    use super::super::cache_control::Scope;
    use super::*;

    fn read(fields: &[(&'static str, &'static str)]) -> CacheControl {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        CacheControl::of_response(&headers)
    }

    #[test]
    fn the_first_field_that_says_something_counts_alone() {
        let all = [
            ("cache-control", "no-store"),
            ("surrogate-control", "max-age=3"),
            ("cdn-cache-control", "max-age=2"),
            ("nearside-cdn-cache-control", "max-age=1, must-revalidate"),
        ];
        for (count, max_age) in [(4, Some(1)), (3, Some(2)), (2, Some(3)), (1, None)] {
            let directives = read(&all[..count]);
            assert_eq!(directives.max_age, max_age);
            assert_eq!(directives.targeted, count > 1);
            assert_eq!(directives.no_store, count == 1);
            assert_eq!(directives.must_revalidate, count == 4);
        }
    }

    #[test]
    fn what_does_not_parse_is_absent() {
        for broken in [
            "",
            "max-age=1, &&&",
            "MaX-aGe=1",
            "max-age=1,",
            "max-age=\"1",
        ] {
            let directives = read(&[
                ("cdn-cache-control", broken),
                ("cache-control", "max-age=7"),
            ]);
            assert_eq!(directives.max_age, Some(7), "{broken}");
            assert!(!directives.targeted, "{broken}");
        }
    }

    #[test]
    fn values_have_the_types_of_their_directives() {
        for (line, max_age) in [
            ("max-age=60", Some(60)),
            ("max-age=60;foo=bar, unknown=(a b)", Some(60)),
            ("max-age=1, max-age=60", Some(60)),
            ("max-age=\"60\"", Some(0)),
            ("max-age=(60)", Some(0)),
            ("max-age=-60", Some(0)),
            ("max-age=60.5", Some(0)),
            ("max-age", Some(0)),
            ("max-age=999999999999999", Some(1 << 31)),
            ("public", None),
        ] {
            assert_eq!(
                read(&[("cdn-cache-control", line)]).max_age,
                max_age,
                "{line}"
            );
        }
        let directives = read(&[(
            "cdn-cache-control",
            "private=\"x-a\", no-store=?0, no-cache",
        )]);
        assert_eq!(
            directives.private,
            Scope::Fields(vec![HeaderName::from_static("x-a")])
        );
        assert_eq!(directives.no_cache, Scope::Whole);
        assert!(!directives.no_store);
        let lines = [
            ("cdn-cache-control", "max-age=5"),
            ("cdn-cache-control", "no-store"),
        ];
        assert!(read(&lines).no_store);
    }

    #[test]
    fn surrogates_are_told_in_the_older_way_too() {
        let directives = read(&[("surrogate-control", "content=\"ESI/1.0\", max-age=60+600")]);
        assert_eq!(directives.max_age, Some(60));
        assert_eq!(directives.stale_while_revalidate, Some(600));
        assert!(read(&[("surrogate-control", "no-store")]).no_store);
        let quoted = "content=\"a, no-store, b\", max-age=5";
        let directives = read(&[("surrogate-control", quoted)]);
        assert!(!directives.no_store && directives.max_age == Some(5));
        let ours = [
            ("surrogate-control", "max-age=60;other"),
            ("cache-control", "max-age=7"),
        ];
        assert_eq!(read(&ours).max_age, Some(7));
        let silent = [
            ("surrogate-control", "content=\"ESI/1.0\""),
            ("cache-control", "max-age=7"),
        ];
        assert_eq!(read(&silent).max_age, Some(7));
    }
}
