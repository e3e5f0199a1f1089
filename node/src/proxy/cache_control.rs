//! `Cache-Control` of requests and responses, parsed (RFC 9111 §5.2).
//!
//! The field is written by people and frameworks, so it comes in several lines, in any case, with quoted arguments,
//! empty elements, duplicates and nonsense. Where two readings are possible the one that caches less is taken:
//! duplicates count as the smallest, an age that is no number counts as zero, and one beyond 2³¹ as 2³¹ (§1.2.2).

use http::HeaderMap;
use http::header::{CACHE_CONTROL, HeaderName, PRAGMA};

use super::targeted;
use crate::config::site::SetCookie;

/// Ages saturate here (RFC 9111 §1.2.2), in seconds.
pub(super) const AGE_MAX_S: u64 = 1 << 31;

/// A directive that stands bare or names fields: `no-cache`, `no-cache="Set-Cookie"`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Scope {
    /// The directive is absent.
    #[default]
    Absent,
    /// It is about these fields only.
    Fields(Vec<HeaderName>),
    /// It is about the whole response.
    Whole,
}

/// The directives this cache acts on, of a request or of a response. Times are in seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CacheControl {
    /// §5.2.1.5, §5.2.2.5.
    pub no_store: bool,
    /// §5.2.1.4, §5.2.2.4.
    pub no_cache: Scope,
    /// §5.2.2.7.
    pub private: Scope,
    /// §5.2.2.9.
    pub public: bool,
    /// §5.2.2.2.
    pub must_revalidate: bool,
    /// §5.2.2.8.
    pub proxy_revalidate: bool,
    /// §5.2.2.3.
    pub must_understand: bool,
    /// §5.2.1.6, §5.2.2.6.
    pub no_transform: bool,
    /// §5.2.1.1, §5.2.2.1.
    pub max_age: Option<u64>,
    /// §5.2.2.10.
    pub s_maxage: Option<u64>,
    /// RFC 5861 §3.
    pub stale_while_revalidate: Option<u64>,
    /// RFC 5861 §4.
    pub stale_if_error: Option<u64>,
    /// §5.2.1.3.
    pub min_fresh: Option<u64>,
    /// §5.2.1.2; without an argument any staleness is accepted: [`AGE_MAX_S`].
    pub max_stale: Option<u64>,
    /// §5.2.1.7.
    pub only_if_cached: bool,
    /// RFC 8246.
    pub immutable: bool,
    /// They come from a field for CDNs, which makes `Cache-Control` and `Expires` moot (RFC 9213 §2.2).
    pub targeted: bool,
}

impl CacheControl {
    /// Takes out what of a request makes a cache ask the origin, or keep nothing. What a client accepts (`max-stale`,
    /// `stale-if-error`) and `only-if-cached` spare the origin, and stay.
    pub(super) fn force_nothing(&mut self) {
        self.no_cache = Scope::Absent;
        self.no_store = false;
        self.max_age = None;
        self.min_fresh = None;
    }

    /// What a response says to this cache: in the first targeted field that says something, else in `Cache-Control`.
    #[must_use]
    pub(super) fn of_response(headers: &HeaderMap) -> Self {
        targeted::directives(headers).unwrap_or_else(|| Self::of_field(headers, &CACHE_CONTROL))
    }

    /// What the lines of one field say, in the grammar of `Cache-Control`.
    #[must_use]
    pub(super) fn of_field(headers: &HeaderMap, name: &HeaderName) -> Self {
        let mut directives = Self::default();
        for line in headers.get_all(name) {
            directives.read(line.as_bytes());
        }
        directives
    }

    /// What a request says. `Pragma: no-cache` counts where there is no `Cache-Control` (§5.4).
    #[must_use]
    pub(super) fn of_request(headers: &HeaderMap) -> Self {
        let directives = Self::of_field(headers, &CACHE_CONTROL);
        if headers.contains_key(CACHE_CONTROL) || !headers.contains_key(PRAGMA) {
            return directives;
        }
        let mut pragma = Self::default();
        for line in headers.get_all(PRAGMA) {
            pragma.read(line.as_bytes());
        }
        Self {
            no_cache: pragma.no_cache,
            ..directives
        }
    }

    /// Fields that must not be stored although the response may: those that `private` and `no-cache` name.
    #[must_use]
    pub(super) fn narrowed(&self) -> Vec<HeaderName> {
        let mut names = Vec::new();
        for scope in [&self.private, &self.no_cache] {
            if let Scope::Fields(fields) = scope {
                names.extend(fields.iter().cloned());
            }
        }
        names
    }

    /// May an answer to a request with credentials be stored (§3.5)?
    #[must_use]
    pub(super) fn allows_credentials(&self) -> bool {
        self.public || self.s_maxage.is_some() || self.must_revalidate
    }

    /// May a cookie be stored with the answer that sets it?
    #[must_use]
    pub(super) fn lets_cookies_in(&self, policy: SetCookie) -> bool {
        match policy {
            SetCookie::Standard => true,
            SetCookie::Explicit => self.public || self.s_maxage.is_some() || self.targeted,
            SetCookie::Strip | SetCookie::Bypass => false,
        }
    }

    fn read(&mut self, line: &[u8]) {
        for (name, argument) in Directives(line) {
            self.take(name, argument);
        }
        if ends_in_quotes(line) {
            // Where the missing quote belongs nobody knows; what would forbid something without it does.
            for element in line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                let forbids = [&b"no-store"[..], b"no-cache", b"private"];
                if forbids
                    .iter()
                    .any(|name| element.eq_ignore_ascii_case(name))
                {
                    self.take(element, None);
                }
            }
        }
    }

    /// Adds one directive.
    pub(super) fn take(&mut self, name: &[u8], argument: Option<Argument<'_>>) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("no-store") {
            self.no_store = true;
        } else if is("no-cache") {
            narrow(&mut self.no_cache, argument);
        } else if is("private") {
            narrow(&mut self.private, argument);
        } else if is("public") {
            self.public = true;
        } else if is("must-revalidate") {
            self.must_revalidate = true;
        } else if is("proxy-revalidate") {
            self.proxy_revalidate = true;
        } else if is("must-understand") {
            self.must_understand = true;
        } else if is("no-transform") {
            self.no_transform = true;
        } else if is("max-age") {
            least(&mut self.max_age, seconds(argument));
        } else if is("s-maxage") {
            least(&mut self.s_maxage, seconds(argument));
        } else if is("stale-while-revalidate") {
            least(&mut self.stale_while_revalidate, seconds(argument));
        } else if is("stale-if-error") {
            least(&mut self.stale_if_error, seconds(argument));
        } else if is("min-fresh") {
            let asked = seconds(argument);
            self.min_fresh = Some(self.min_fresh.unwrap_or(0).max(asked));
        } else if is("max-stale") {
            let accepted = argument.map_or(AGE_MAX_S, |argument| seconds(Some(argument)));
            least(&mut self.max_stale, accepted);
        } else if is("only-if-cached") {
            self.only_if_cached = true;
        } else if is("immutable") {
            self.immutable = true;
        }
    }
}

/// A directive's argument: the bytes between quotes, or the token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Argument<'a>(pub(super) &'a [u8]);

/// Splits one field line into directives: `name [ "=" ( token / quoted-string ) ]`, separated by commas that are not
/// inside quotes. A quote that never ends takes the rest of the line.
struct Directives<'a>(&'a [u8]);

impl<'a> Iterator for Directives<'a> {
    type Item = (&'a [u8], Option<Argument<'a>>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.0.is_empty() {
                return None;
            }
            let end = element_end(self.0);
            let element = self.0[..end].trim_ascii();
            self.0 = self.0.get(end + 1..).unwrap_or_default();
            if element.is_empty() {
                continue;
            }
            return Some(match element.iter().position(|byte| *byte == b'=') {
                None => (element, None),
                Some(at) => {
                    // White space around "=" is not in the grammar: the name is still recognised, and an argument
                    // that starts with a space is no number. Neither is one with a quote that never ends.
                    let value = &element[at + 1..];
                    let value = match value {
                        [b'"', inner @ .., b'"'] => inner,
                        bare => bare,
                    };
                    (element[..at].trim_ascii(), Some(Argument(value)))
                }
            });
        }
    }
}

/// Where the first element of a comma-separated list ends. A comma inside quotes ends nothing.
#[must_use]
pub(super) fn element_end(line: &[u8]) -> usize {
    first_comma(line).unwrap_or(line.len())
}

fn first_comma(line: &[u8]) -> Option<usize> {
    let mut quotes = Quotes::default();
    line.iter()
        .position(|byte| !quotes.hold(*byte) && *byte == b',')
}

/// Is there a quote that never ends?
fn ends_in_quotes(line: &[u8]) -> bool {
    let mut quotes = Quotes::default();
    line.contains(&b'"') && line.iter().fold(false, |_, byte| quotes.hold(*byte))
}

/// Follows quoted strings through a line (RFC 9110 §5.6.4).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Quotes {
    quoted: bool,
    escaped: bool,
}

impl Quotes {
    /// Takes the next byte. True where it is inside a quoted string, or begins one.
    pub(super) fn hold(&mut self, byte: u8) -> bool {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.quoted => self.escaped = true,
            b'"' => self.quoted = !self.quoted,
            _ => {}
        }
        self.quoted
    }
}

/// Delta-seconds: saturating, and zero for what is no non-negative integer, so that broken freshness means stale
/// (§4.2.1).
fn seconds(argument: Option<Argument<'_>>) -> u64 {
    argument
        .and_then(|Argument(digits)| delta_seconds(digits))
        .unwrap_or(0)
}

/// RFC 9111 §1.2.2: digits only; anything past 2³¹ is 2³¹.
#[must_use]
pub(super) fn delta_seconds(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0_u64, |sum, digit| {
        sum.saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
            .min(AGE_MAX_S)
    }))
}

fn least(slot: &mut Option<u64>, value: u64) {
    *slot = Some(slot.map_or(value, |old| old.min(value)));
}

/// Adds one appearance of `private` or `no-cache`. A list of fields narrows the directive only when every name in it
/// is a field name and no bare appearance stands beside it.
fn narrow(scope: &mut Scope, argument: Option<Argument<'_>>) {
    let named = argument.and_then(|Argument(list)| {
        let names: Option<Vec<HeaderName>> = list
            .split(|byte| *byte == b',')
            .map(<[u8]>::trim_ascii)
            .filter(|name| !name.is_empty())
            .map(|name| HeaderName::from_bytes(name).ok())
            .collect();
        names.filter(|names| !names.is_empty())
    });
    match (scope, named) {
        (Scope::Whole, _) => {}
        (Scope::Fields(fields), Some(more)) => fields.extend(more),
        (scope, Some(fields)) => *scope = Scope::Fields(fields),
        (scope, None) => *scope = Scope::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn parse(lines: &[&'static str]) -> CacheControl {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CACHE_CONTROL, HeaderValue::from_static(line));
        }
        CacheControl::of_response(&headers)
    }

    fn fields(names: &[&'static str]) -> Scope {
        Scope::Fields(
            names
                .iter()
                .map(|name| HeaderName::from_static(name))
                .collect(),
        )
    }

    #[test]
    fn ages_saturate_and_nonsense_is_zero() {
        for (line, max_age) in [
            ("max-age=60", Some(60)),
            ("MaX-aGe=60", Some(60)),
            ("max-age=\"60\"", Some(60)),
            ("max-age=\"60", Some(0)),
            ("max-age=60\"", Some(0)),
            ("max-age=\"", Some(0)),
            ("max-age=0060", Some(60)),
            ("max-age=2147483648", Some(AGE_MAX_S)),
            ("max-age=99999999999999999999999999", Some(AGE_MAX_S)),
            ("max-age=-1", Some(0)),
            ("max-age=1.5", Some(0)),
            ("max-age='60'", Some(0)),
            ("max-age=60a", Some(0)),
            ("max-age= 60", Some(0)),
            ("max-age", Some(0)),
            ("max-age=", Some(0)),
            ("max-age=100, max-age=5", Some(5)),
            ("max-age=5, max-age=100", Some(5)),
            (",, ,max-age=7,,", Some(7)),
            ("foo=\"a, max-age=1\", max-age=9", Some(9)),
            ("foo=\"a\\\", max-age=1\", max-age=9", Some(9)),
            ("foo=\"never ends, max-age=1", None),
            ("x-max-age=4", None),
        ] {
            assert_eq!(parse(&[line]).max_age, max_age, "{line}");
        }
    }

    #[test]
    fn what_a_quote_that_never_ends_takes_in_still_forbids() {
        let directives = parse(&["max-age=9, foo=\"bar, No-Store, no-cache"]);
        assert!(directives.no_store && directives.no_cache == Scope::Whole);
        assert_eq!(directives.max_age, Some(9));
        let directives = parse(&["max-age=9, foo=\"bar, no-store\", private=\"a, b\""]);
        assert!(!directives.no_store);
        assert_eq!(directives.private, fields(&["a", "b"]));
    }

    #[test]
    fn several_lines_are_one_list() {
        let directives = parse(&["public", "s-maxage=30, must-revalidate", "s-maxage=20"]);
        assert!(directives.public && directives.must_revalidate);
        assert_eq!(directives.s_maxage, Some(20));
    }

    #[test]
    fn bare_private_beats_named_fields() {
        for (line, private) in [
            ("private", Scope::Whole),
            ("private=\"set-cookie\"", fields(&["set-cookie"])),
            (
                "private=\"Set-Cookie , x-user\"",
                fields(&["set-cookie", "x-user"]),
            ),
            ("private=x-user", fields(&["x-user"])),
            ("private=\"\"", Scope::Whole),
            ("private=\"not a name\"", Scope::Whole),
            ("private=\"a\", private", Scope::Whole),
            ("private, private=\"a\"", Scope::Whole),
            ("public", Scope::Absent),
        ] {
            assert_eq!(parse(&[line]).private, private, "{line}");
        }
    }

    #[test]
    fn pragma_counts_only_without_cache_control() {
        let mut headers = HeaderMap::new();
        headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
        assert_eq!(CacheControl::of_request(&headers).no_cache, Scope::Whole);
        assert_eq!(CacheControl::of_response(&headers).no_cache, Scope::Absent);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=10"));
        assert_eq!(CacheControl::of_request(&headers).no_cache, Scope::Absent);
    }

    #[test]
    fn max_stale_without_an_argument_accepts_any() {
        assert_eq!(parse(&["max-stale"]).max_stale, Some(AGE_MAX_S));
        assert_eq!(parse(&["max-stale=5"]).max_stale, Some(5));
        assert_eq!(parse(&["max-stale=x"]).max_stale, Some(0));
        assert_eq!(parse(&["min-fresh=5, min-fresh=9"]).min_fresh, Some(9));
    }
}
