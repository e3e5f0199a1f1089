//! The key: what of a request decides which stored object answers it.
//!
//! A URL is normalised once, and the same bytes make the key and the request that the origin sees. So a client cannot
//! spell one URL two ways and have the origin take one meaning while the cache files it under the other.
//!
//! What is in the key: site, scheme, host with port, path, query without the dropped parameters, and what the site wants
//! apart ([`super::apart`]). What is in the purge identity: host without port, path and that query, so that one purge
//! reaches http, https and every variant.

use std::cell::Cell;
use std::fmt::Write as _;

use http::Uri;
use http::header::HOST;
use http::uri::PathAndQuery;

use crate::config::rule::Rules;
use crate::exchange::in_host;

/// Why a request names no resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// No Host field and no authority.
    #[error("no host")]
    NoHost,
    /// Several Host fields, or one that is no `host[:port]`.
    #[error("bad host")]
    BadHost,
    /// A path that cannot be normalised.
    #[error("bad path")]
    BadPath,
}

/// The authority of a request: lower case, without a final dot, without the scheme's default port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// `host` or `host:port`.
    text: String,
    /// Length of `host` in it.
    host_len: usize,
}

impl Authority {
    /// Finds the authority a request is for: the target's own when it has one (absolute form and HTTP/2, RFC 9112
    /// §3.2.2), else the one Host field.
    pub fn of_request(
        uri: &Uri,
        headers: &http::HeaderMap,
        tls: bool,
    ) -> Result<Self, TargetError> {
        if let Some(authority) = uri.authority() {
            return Self::parse(authority.as_str(), tls);
        }
        let mut lines = headers.get_all(HOST).iter();
        let host = lines.next().ok_or(TargetError::NoHost)?;
        if lines.next().is_some() {
            return Err(TargetError::BadHost);
        }
        let host = std::str::from_utf8(host.as_bytes()).map_err(|_| TargetError::BadHost)?;
        Self::parse(host, tls)
    }

    /// Parses `host[:port]`.
    pub fn parse(text: &str, tls: bool) -> Result<Self, TargetError> {
        let (host, port) = split_port(text)?;
        let mut text = String::with_capacity(text.len());
        if host.starts_with('[') {
            let inner = host
                .strip_prefix('[')
                .and_then(|host| host.strip_suffix(']'));
            let address: std::net::Ipv6Addr = inner
                .and_then(|inner| inner.parse().ok())
                .ok_or(TargetError::BadHost)?;
            write!(text, "[{address}]").map_err(|_| TargetError::BadHost)?;
        } else {
            let host = host.strip_suffix('.').unwrap_or(host);
            let empty_label = host.starts_with('.') || host.ends_with('.') || host.contains("..");
            if host.is_empty() || host.len() > 253 || empty_label || !host.bytes().all(in_host) {
                return Err(TargetError::BadHost);
            }
            text.push_str(host);
            text.make_ascii_lowercase();
        }
        let host_len = text.len();
        match port {
            Some(port) if port != if tls { 443 } else { 80 } => {
                text.push(':');
                text.push_str(itoa::Buffer::new().format(port));
            }
            _ => {}
        }
        Ok(Self { text, host_len })
    }

    /// `host[:port]`, as the Host field towards the origin says it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host alone.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.text[..self.host_len]
    }
}

fn split_port(text: &str) -> Result<(&str, Option<u16>), TargetError> {
    let after_brackets = match text.as_bytes().first() {
        Some(b'[') => text.rfind(']').map_or(0, |at| at + 1),
        // A bracket elsewhere is in no host, whatever is cut off behind it.
        _ => 0,
    };
    let found = memchr::memchr(b':', &text.as_bytes()[after_brackets..]);
    let Some(colon) = found.map(|at| at + after_brackets) else {
        return Ok((text, None));
    };
    let (host, port) = (&text[..colon], &text[colon + 1..]);
    if port.is_empty() {
        return Ok((host, None));
    }
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(TargetError::BadHost);
    }
    Ok((host, Some(port.parse().map_err(|_| TargetError::BadHost)?)))
}

/// A normalised path and query: what the key holds and the origin is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    path_and_query: PathAndQuery,
}

impl Target {
    /// Normalises (RFC 3986 §6.2.2): percent-encodings in upper case, unreserved characters decoded, dot segments
    /// removed, bytes that have no place in a URL encoded; then drops the parameters the site does not care for.
    /// Empty segments stay, as their meaning is the origin's.
    pub fn normalise(uri: &Uri, rules: &Rules) -> Result<Self, TargetError> {
        let (path, query) = (uri.path(), uri.query());
        if is_settled(path, query, rules)
            && let Some(given) = uri.path_and_query()
            // `http://host?query` has none, although `path()` says "/".
            && given.as_str().starts_with('/')
        {
            // The common case: nothing to change, nothing to allocate.
            return Ok(Self {
                path_and_query: given.clone(),
            });
        }
        let mut text = if path == "*" {
            String::from("*")
        } else {
            let path = if path.is_empty() { "/" } else { path };
            let mut decoded = String::with_capacity(path.len());
            normalise_escapes(path.as_bytes(), &mut decoded);
            remove_dot_segments(&decoded)
        };
        let of_query = rules.of_query(&text);
        let mut kept: Vec<String> = Vec::new();
        for parameter in query.into_iter().flat_map(|query| query.split('&')) {
            let mut normal = String::with_capacity(parameter.len());
            normalise_escapes(parameter.as_bytes(), &mut normal);
            // What a dropped parameter leaves behind is nothing; an empty query of the client's is one (RFC 3986 §6.2.3).
            let left_empty = kept.is_empty() && normal.is_empty() && !of_query.changes_nothing();
            if !left_empty && of_query.keeps(name_of(&normal)) {
                kept.push(normal);
            }
        }
        if of_query.sorts() {
            // Several of one name stay in their order, which may mean something.
            kept.sort_by(|a, b| name_of(a).cmp(name_of(b)));
        }
        let mut separator = '?';
        for parameter in &kept {
            text.push(separator);
            text.push_str(parameter);
            separator = '&';
        }
        let path_and_query = text.parse().map_err(|_| TargetError::BadPath)?;
        Ok(Self { path_and_query })
    }

    /// Path and query.
    #[must_use]
    pub fn path_and_query(&self) -> &PathAndQuery {
        &self.path_and_query
    }

    /// The path alone.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path_and_query.path()
    }

    /// The query, without its `?`.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.path_and_query.query()
    }

    /// The purge identity's URL: `host/path?query`.
    #[must_use]
    pub fn identity(&self, host: &str) -> String {
        let mut identity = String::with_capacity(host.len() + self.path_and_query.as_str().len());
        identity.push_str(host);
        identity.push_str(self.path_and_query.as_str());
        identity
    }
}

fn name_of(parameter: &str) -> &str {
    parameter.split('=').next().unwrap_or_default()
}

/// Are path and query what normalising would make of them?
fn is_settled(path: &str, query: Option<&str>, rules: &Rules) -> bool {
    path.starts_with('/')
        && is_normal(path.as_bytes())
        && !has_dot_segment(path)
        && query.is_none_or(|query| {
            is_normal(query.as_bytes()) && rules.of_query(path).changes_nothing()
        })
}

/// The same of a target in one piece.
#[must_use]
pub(super) fn target_is_settled(target: &str, rules: &Rules) -> bool {
    match memchr::memchr(b'?', target.as_bytes()) {
        None => is_settled(target, None, rules),
        Some(at) => is_settled(&target[..at], Some(&target[at + 1..]), rules),
    }
}

/// The host of a URL that an operator wrote (`https://host/path?query`, or without a scheme), in the form in which
/// sites are found. `None` when it is no such URL.
#[must_use]
pub fn host_of_url(url: &str) -> Option<String> {
    let (authority, _) = split_url(url);
    Some(Authority::parse(authority, true).ok()?.host().to_owned())
}

/// The purge identity of such a URL, by the same normalisation as for requests, so that the two meet.
#[must_use]
pub fn identity_of_url(url: &str, rules: &Rules) -> Option<String> {
    let (authority, tail) = split_url(url);
    let authority = Authority::parse(authority, true).ok()?;
    let tail = if tail.starts_with('/') {
        tail.to_owned()
    } else {
        format!("/{tail}")
    };
    let target = Target::normalise(&tail.parse().ok()?, rules).ok()?;
    Some(target.identity(authority.host()))
}

/// The begin of purge identities that an operator wrote: of their paths (`/blog/`), or of one host's
/// (`shop.example/blog/`). Spelled as requests are, but for dot segments, which a prefix has none of. `None` when it is
/// neither, or meant as a pattern.
#[must_use]
pub fn prefix_of(text: &str) -> Option<String> {
    let (authority, path) = text.split_at(text.find('/')?);
    if authority.ends_with(':')
        || path.ends_with('*')
        || path.contains('#')
        || has_dot_segment(path)
    {
        return None;
    }
    let mut prefix = match authority {
        "" => String::new(),
        _ => Authority::parse(authority, true).ok()?.host().to_owned(),
    };
    normalise_escapes(path.as_bytes(), &mut prefix);
    Some(prefix)
}

/// Authority, and path with query; scheme and fragment go.
fn split_url(url: &str) -> (&str, &str) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split('#').next().unwrap_or_default();
    rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()))
}

/// The whole primary key, compared byte for byte on lookup. The separator cannot occur in any part before `apart`, which
/// is what [`super::apart`] has made, and empty for most.
#[must_use]
pub fn primary(
    site: &str,
    tls: bool,
    authority: &Authority,
    target: &Target,
    apart: &[u8],
) -> Vec<u8> {
    with_primary(site, tls, authority, target, apart, <[u8]>::to_vec)
}

/// The same where it is only looked at: made in a buffer that the thread keeps.
pub fn with_primary<R>(
    site: &str,
    tls: bool,
    authority: &Authority,
    target: &Target,
    apart: &[u8],
    look: impl FnOnce(&[u8]) -> R,
) -> R {
    with_parts(
        site,
        tls,
        authority.as_str(),
        target.path_and_query().as_str(),
        apart,
        look,
    )
}

/// The same of an authority and a target that need no normalising any more.
pub(super) fn with_parts<R>(
    site: &str,
    tls: bool,
    authority: &str,
    target: &str,
    apart: &[u8],
    look: impl FnOnce(&[u8]) -> R,
) -> R {
    thread_local! {
        static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }
    let mut key = BUFFER.take();
    key.clear();
    key.extend_from_slice(site.as_bytes());
    key.extend_from_slice(if tls { b"\0https\0" } else { b"\0http\0" });
    key.extend_from_slice(authority.as_bytes());
    key.push(0);
    key.extend_from_slice(target.as_bytes());
    if !apart.is_empty() {
        key.extend_from_slice(b"\0apart");
        key.extend_from_slice(apart);
    }
    let looked = look(&key);
    BUFFER.set(key);
    looked
}

const fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Bytes that may stand in a path or query as they are.
fn allowed(byte: u8) -> bool {
    static YES: [bool; 256] = {
        let mut yes = [false; 256];
        let mut byte = 0_u8;
        while byte < 128 {
            yes[byte as usize] = unreserved(byte);
            byte += 1;
        }
        let others = b"!$&'()*+,;=:@/?";
        let mut at = 0;
        while at < others.len() {
            yes[others[at] as usize] = true;
            at += 1;
        }
        yes
    };
    YES[usize::from(byte)]
}

fn is_normal(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| allowed(*byte))
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

fn normalise_escapes(bytes: &[u8], out: &mut String) {
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        let escaped = (byte == b'%')
            .then(|| Some(hex(*bytes.get(at + 1)?)? << 4 | hex(*bytes.get(at + 2)?)?))
            .flatten();
        match escaped {
            Some(decoded) if unreserved(decoded) => out.push(char::from(decoded)),
            Some(decoded) => encode(decoded, out),
            None if allowed(byte) => out.push(char::from(byte)),
            None => encode(byte, out),
        }
        at += if escaped.is_some() { 3 } else { 1 };
    }
}

fn encode(byte: u8, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

fn has_dot_segment(path: &str) -> bool {
    path.contains("/.") && path.split('/').any(|segment| matches!(segment, "." | ".."))
}

/// RFC 3986 §5.2.4 for an absolute path.
pub(super) fn remove_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut open = false;
    for segment in path.strip_prefix('/').unwrap_or(path).split('/') {
        open = match segment {
            "." => true,
            ".." => {
                kept.pop();
                true
            }
            other => {
                kept.push(other);
                false
            }
        };
    }
    let mut out = String::with_capacity(path.len());
    for segment in &kept {
        out.push('/');
        out.push_str(segment);
    }
    if open || out.is_empty() {
        out.push('/');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::config::pattern::Pattern;
    use crate::config::policy::Policy;

    fn rules(query_drop: &[&str]) -> Rules {
        let names = query_drop.iter().map(|name| Pattern::new(name)).collect();
        let base = Policy {
            query_drop: Some(Arc::new(names)),
            ..Policy::default()
        };
        Rules::new(base, Vec::new())
    }

    fn normal(uri: &str, query_drop: &[&str]) -> String {
        let target = Target::normalise(&uri.parse().unwrap(), &rules(query_drop)).unwrap();
        target.path_and_query().as_str().to_owned()
    }

    #[test]
    fn prefixes_are_spelled_as_requests_are() {
        for (text, prefix) in [
            ("/", Some("/")),
            ("/blog/", Some("/blog/")),
            ("/%7euser/ä", Some("/~user/%C3%A4")),
            ("/search?q=", Some("/search?q=")),
            ("Shop.Example:443/a", Some("shop.example/a")),
            ("shop.example", None),
            ("https://shop.example/a", None),
            ("/blog/*", None),
            ("/a/../b", None),
            ("", None),
        ] {
            assert_eq!(prefix_of(text).as_deref(), prefix, "{text}");
        }
    }

    #[test]
    fn one_url_has_one_spelling() {
        for (given, expected) in [
            ("/", "/"),
            ("/a/b?x=1", "/a/b?x=1"),
            ("/%61%2fb", "/a%2Fb"),
            ("/a/../b/./c", "/b/c"),
            ("/a/%2e%2E/b", "/b"),
            ("/../../etc", "/etc"),
            ("/a/..", "/"),
            ("/a/b/.", "/a/b/"),
            ("//a//b", "//a//b"),
            ("/a|b", "/a%7Cb"),
            ("/a\\b", "/a%5Cb"),
            ("/100%", "/100%25"),
            ("/a?", "/a?"),
            ("/%61?&b", "/a?&b"),
            ("/a?b&&c", "/a?b&&c"),
            ("/a?x=%7e%3d", "/a?x=~%3D"),
            ("/a?q=../x", "/a?q=../x"),
            ("http://host.example/a?b", "/a?b"),
            ("http://host.example", "/"),
            ("http://host.example?b", "/?b"),
        ] {
            assert_eq!(normal(given, &[]), expected, "{given}");
        }
    }

    #[test]
    fn normalising_twice_changes_nothing() {
        for given in ["/%2525", "/a/%2e%2e/%252e", "/x?%3f=%26&a=%", "//../a"] {
            let once = normal(given, &[]);
            assert_eq!(normal(&once, &[]), once, "{given}");
        }
    }

    #[test]
    fn dropped_parameters_are_in_neither_key_nor_request() {
        let dropped = ["utm_*", "fbclid"];
        for (given, expected) in [
            ("/a?utm_source=x&b=1&fbclid=2", "/a?b=1"),
            ("/a?utm_source=x", "/a"),
            ("/a?utm%5fsource=x&c", "/a?c"),
            ("/a?b=utm_x", "/a?b=utm_x"),
        ] {
            assert_eq!(normal(given, &dropped), expected, "{given}");
        }
    }

    #[test]
    fn hosts_are_lower_case_without_default_port() {
        for (text, tls, expected) in [
            ("Shop.Example", true, Ok("shop.example")),
            ("shop.example.", true, Ok("shop.example")),
            ("shop.example:443", true, Ok("shop.example")),
            ("shop.example:443", false, Ok("shop.example:443")),
            ("shop.example:80", false, Ok("shop.example")),
            ("shop.example:", false, Ok("shop.example")),
            ("127.0.0.1:8080", false, Ok("127.0.0.1:8080")),
            ("[2001:DB8::1]:8080", false, Ok("[2001:db8::1]:8080")),
            ("", false, Err(TargetError::BadHost)),
            ("a b", false, Err(TargetError::BadHost)),
            ("user@host", false, Err(TargetError::BadHost)),
            ("host:99999", false, Err(TargetError::BadHost)),
            ("..", false, Err(TargetError::BadHost)),
            ("a..b", false, Err(TargetError::BadHost)),
            (".a", false, Err(TargetError::BadHost)),
            ("host:80:80", false, Err(TargetError::BadHost)),
            ("a/b", false, Err(TargetError::BadHost)),
            ("[::1", false, Err(TargetError::BadHost)),
        ] {
            let parsed = Authority::parse(text, tls);
            assert_eq!(
                parsed.as_ref().map(Authority::as_str),
                expected.as_ref().copied(),
                "{text}"
            );
        }
    }

    #[test]
    fn a_purged_url_meets_the_requests_for_it() {
        let settings = rules(&["utm_*"]);
        for url in [
            "https://Shop.example/a/../b?utm_x=1&c=2#frag",
            "http://shop.example:80/b?c=2",
            "shop.example/b?c=2",
        ] {
            assert_eq!(host_of_url(url).unwrap(), "shop.example", "{url}");
            let identity = identity_of_url(url, &settings).unwrap();
            assert_eq!(identity, "shop.example/b?c=2", "{url}");
        }
        let bare = identity_of_url("shop.example", &settings).unwrap();
        assert_eq!(bare, "shop.example/");
        assert_eq!(identity_of_url("https:///x", &settings), None);
    }
}
