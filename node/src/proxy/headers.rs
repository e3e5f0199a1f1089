//! Which fields travel on: from the client to the origin, from the origin into the store, from either to the client.
//!
//! Three things are kept apart. Hop-by-hop fields end at us (RFC 9110 §7.6.1). Forwarding fields are ours to write:
//! what a client put there is replaced (§7.6.3, RFC 7239), as anything that shapes the origin's answer without being
//! in the key could be stored for everyone. And some fields may be sent but not stored (RFC 9111 §3.1).

use std::net::IpAddr;
use std::time::SystemTime;

use http::header::{
    AGE, ALT_SVC, CONNECTION, CONTENT_LENGTH, DATE, EXPECT, FORWARDED, HOST, HeaderName,
    HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    VIA,
};
use http::{HeaderMap, Method, Version};

use super::query::is_query;
use super::targeted::SURROGATE_CONTROL;
use super::vary::Vary;
use crate::exchange::{Client, RawField};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const PROXY_AUTHENTICATION_INFO: HeaderName = HeaderName::from_static("proxy-authentication-info");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
/// RFC 8586.
pub(super) const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");
/// RFC 9211.
pub(super) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Fields that concern one connection only.
static HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HTTP2_SETTINGS,
];

/// Fields by which frameworks let a client restate where it came from or what it asked for. They are in no key, so
/// they do not reach the origin from a client.
fn restates(name: &str) -> bool {
    matches!(
        name,
        "x-forwarded-server"
            | "x-forwarded-port"
            | "x-forwarded-prefix"
            | "x-forwarded-scheme"
            | "x-forwarded-ssl"
            | "x-forwarded-path"
            | "x-forwarded-uri"
            | "x-forwarded-protocol"
            | "x-forwarded"
            | "x-host"
            | "x-http-host-override"
            | "x-original-host"
            | "x-original-url"
            | "x-original-uri"
            | "x-rewrite-url"
            | "x-rewrite-uri"
            | "x-override-url"
            | "x-request-uri"
            | "x-http-destinationurl"
            | "x-proxy-url"
            | "x-script-name"
            | "x-backend-host"
            | "x-envoy-original-path"
            | "base-url"
            | "x-url-scheme"
            | "x-scheme"
            | "x-proto"
            | "front-end-https"
            | "x-real-ip"
            | "x-client-ip"
            | "true-client-ip"
            | "cf-connecting-ip"
            | "fastly-client-ip"
            // CGI makes HTTP_PROXY of it, by which programs choose a proxy of their own.
            | "proxy"
    )
}

/// Fields by which a client of a cacheable method could make the origin run another one.
pub(super) const METHOD_OVERRIDES: [&str; 3] = [
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
];

/// How much of a request field, as the origin sees it, comes from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// The client's, unchanged.
    ByClient,
    /// The same for all requests of one key: in the key itself, or not sent at all.
    ByKey,
    /// By us, another for each client: an answer that varies on it is for one client only.
    PerClient,
}

/// Who writes a field that an answer may vary on.
#[must_use]
pub(super) fn written(name: &HeaderName) -> Written {
    if [X_FORWARDED_FOR, FORWARDED, VIA, CDN_LOOP].contains(name) {
        return Written::PerClient;
    }
    let by_key = [HOST, X_FORWARDED_HOST, X_FORWARDED_PROTO, EXPECT].contains(name)
        || HOP_BY_HOP.contains(name)
        || restates(name.as_str())
        || METHOD_OVERRIDES.contains(&name.as_str());
    if by_key {
        Written::ByKey
    } else {
        Written::ByClient
    }
}

/// Takes out what ends at this hop: the fixed fields, and those that `Connection` names. A nomination of a field that
/// frames or addresses the message is not obeyed: it would change what the rest means.
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let speaks_of_itself = |value: &HeaderValue| {
        let word = value.as_bytes();
        word.eq_ignore_ascii_case(b"keep-alive") || word.eq_ignore_ascii_case(b"close")
    };
    let others = |name: &HeaderName| *name != CONNECTION && HOP_BY_HOP.contains(name);
    if headers.get_all(CONNECTION).iter().all(speaks_of_itself) && !headers.keys().any(others) {
        // The common case of HTTP/1 clients: nothing is nominated, nothing else is there.
        headers.remove(CONNECTION);
        return;
    }
    if headers.contains_key(CONNECTION) {
        let nominated: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
            .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
            .filter(|name| *name != HOST && *name != CONTENT_LENGTH)
            .collect();
        for name in nominated {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Which fields a request has of those that have a say in whether a stored response is sent, and in what of it. Most
/// requests have none; then one look at their fields stands for a dozen searches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Choosing {
    /// `Connection`, which may nominate any of the others.
    pub(super) connection: bool,
    /// `CDN-Loop`.
    pub(super) cdn_loop: bool,
    /// `Cache-Control` or `Pragma`.
    pub(super) directives: bool,
    /// Conditions, but `If-Range`, which says nothing without a range.
    pub(super) conditions: bool,
    /// `Range`.
    pub(super) range: bool,
    /// `Accept-Encoding`.
    pub(super) accept_encoding: bool,
}

impl Choosing {
    #[must_use]
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        for name in headers.keys() {
            found.note(name.as_str());
        }
        found
    }

    /// The same of fields as they came, in the client's letters. None when a name is too long to tell.
    #[must_use]
    pub(super) fn of_raw(fields: &[RawField<'_>]) -> Option<Self> {
        let mut found = Self::default();
        for field in fields {
            let mut lower = [0; 40];
            let lower = lower.get_mut(..field.name.len())?;
            lower.copy_from_slice(field.name.as_bytes());
            lower.make_ascii_lowercase();
            found.note(std::str::from_utf8(lower).ok()?);
        }
        Some(found)
    }

    fn note(&mut self, name: &str) {
        match name {
            "connection" => self.connection = true,
            "cdn-loop" => self.cdn_loop = true,
            "cache-control" | "pragma" => self.directives = true,
            "if-match" | "if-none-match" | "if-modified-since" | "if-unmodified-since" => {
                self.conditions = true;
            }
            "range" => self.range = true,
            "accept-encoding" => self.accept_encoding = true,
            _ => {}
        }
    }
}

/// Who we are and where the request came to us, as the origin is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hop<'a> {
    /// This node's pseudonym in `Via` and `Cache-Status`.
    pub node: &'a str,
    /// Our identifier in `CDN-Loop`, the same on every node of a cluster.
    pub cdn_id: &'a str,
    /// The client.
    pub client: &'a Client,
    /// `host[:port]`, normalised.
    pub authority: &'a str,
    /// The version the client spoke.
    pub version: Version,
    /// Fields that are in the key, and so may say to the origin what they like.
    pub keyed: &'a [HeaderName],
}

/// Makes the fields of the request to the origin out of the client's.
///
/// `Host` is set to the client's authority; `upstream` overwrites it where the site wants another.
pub(super) fn towards_origin(headers: &mut HeaderMap, method: &Method, hop: Hop<'_>) {
    remove_hop_by_hop(headers);
    headers.remove(EXPECT);
    let is_keyed = |name: &&HeaderName| hop.keyed.contains(*name);
    let restated: Vec<HeaderName> = headers
        .keys()
        .filter(|name| restates(name.as_str()) && !is_keyed(name))
        .cloned()
        .collect();
    for name in restated {
        headers.remove(name);
    }
    if method == Method::GET || method == Method::HEAD || is_query(method) {
        for name in METHOD_OVERRIDES {
            headers.remove(name);
        }
    }
    let scheme = if hop.client.tls { "https" } else { "http" };
    set(headers, HOST, hop.authority);
    for (name, ours) in [
        (X_FORWARDED_HOST, hop.authority),
        (X_FORWARDED_PROTO, scheme),
    ] {
        if !(hop.keyed.contains(&name) && headers.contains_key(&name)) {
            set(headers, name, ours);
        }
    }
    let (client, socket) = (hop.client.address, hop.client.socket.ip().to_canonical());
    // Behind a trusted proxy the two differ, and both are part of the way.
    if client == socket {
        set(headers, X_FORWARDED_FOR, &client.to_string());
    } else {
        set(headers, X_FORWARDED_FOR, &format!("{client}, {socket}"));
    }
    let mut forwarded = format!(
        "for={};host=\"{}\";proto={scheme}",
        node(client),
        hop.authority
    );
    if client != socket {
        forwarded.push_str(&format!(", for={}", node(socket)));
    }
    set(headers, FORWARDED, &forwarded);
    append(headers, VIA, &via(hop.version, hop.node));
    append(headers, CDN_LOOP, hop.cdn_id);
}

/// A node identifier of RFC 7239 §6: IPv6 in brackets and quotes.
fn node(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("\"[{address}]\""),
    }
}

/// `Via`'s received-protocol and our pseudonym (RFC 9110 §7.6.3).
#[must_use]
pub(super) fn via(version: Version, node: &str) -> String {
    let version = match version {
        Version::HTTP_09 | Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2.0",
        Version::HTTP_3 => "3.0",
        _ => "1.1",
    };
    format!("{version} {node}")
}

/// True when `CDN-Loop` shows that the request has passed us already (RFC 8586).
#[must_use]
pub(super) fn loops(headers: &HeaderMap, cdn_id: &str) -> bool {
    headers.get_all(CDN_LOOP).iter().any(|line| {
        line.as_bytes().split(|byte| *byte == b',').any(|element| {
            let id = element
                .split(|byte| *byte == b';')
                .next()
                .unwrap_or_default();
            id.trim_ascii().eq_ignore_ascii_case(cdn_id.as_bytes())
        })
    })
}

/// Fields of an answer that go on to the client at once, stored or not.
///
/// An `Alt-Svc` that offers another way leads to the origin's ports, past us: the client should not know them. One that
/// offers none (`clear`) is passed on as any other field. `Surrogate-Control` is for us alone.
pub(super) fn towards_client(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    let offers = |line: &HeaderValue| line.as_bytes().contains(&b'=');
    if headers.get_all(ALT_SVC).iter().any(offers) {
        headers.remove(ALT_SVC);
    }
    headers.remove(SURROGATE_CONTROL);
}

/// What 101 says of the connection it ends (RFC 9110 §7.8), on our hop.
pub(super) fn switch(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// Fields of an answer that are kept (RFC 9111 §3.1): without what belongs to one connection or to proxies, without
/// `Age`, which is computed anew, without the length, which the store knows better, and without `excluded`.
#[must_use]
pub(super) fn to_store(answer: &HeaderMap, excluded: &[HeaderName]) -> HeaderMap {
    let mut kept = answer.clone();
    towards_client(&mut kept);
    for name in [
        &PROXY_AUTHENTICATE,
        &PROXY_AUTHENTICATION_INFO,
        &AGE,
        &CONTENT_LENGTH,
    ] {
        kept.remove(name);
    }
    for name in excluded {
        kept.remove(name);
    }
    kept
}

/// Updates stored fields from a 304 (RFC 9111 §3.2): each field of the answer replaces all of its name, but for those
/// without which the stored bytes cannot be read as they are.
pub(super) fn freshen(stored: &mut HeaderMap, answer: &HeaderMap) {
    let mut update = to_store(answer, &[]);
    for name in [
        http::header::CONTENT_ENCODING,
        http::header::CONTENT_RANGE,
        CACHE_STATUS,
    ] {
        update.remove(name);
    }
    let names: Vec<HeaderName> = update.keys().cloned().collect();
    for name in &names {
        stored.remove(name);
    }
    for name in names {
        for value in update.get_all(&name) {
            stored.append(&name, value.clone());
        }
    }
}

/// What an answer was chosen by, of what the client writes. Anything when it was chosen by what we write for each.
#[must_use]
pub(super) fn chosen_by(answer: &HeaderMap) -> Vary {
    match Vary::of_response(answer) {
        Vary::Fields(fields)
            if fields
                .iter()
                .any(|name| written(name) == Written::PerClient) =>
        {
            Vary::Anything
        }
        Vary::Fields(mut fields) => {
            fields.retain(|name| written(name) == Written::ByClient);
            if fields.is_empty() {
                Vary::Nothing
            } else {
                Vary::Fields(fields)
            }
        }
        other => other,
    }
}

/// Dates an answer that is undated (RFC 9110 §6.6.1).
pub(super) fn set_date(headers: &mut HeaderMap, time: SystemTime) {
    set(headers, DATE, &httpdate::fmt_http_date(time));
}

/// Sets a field to text we wrote. Text that is no field value cannot come from a checked site or address; it would be
/// left out.
pub(super) fn set(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

/// Adds fields beside those that are there.
pub(super) fn add(headers: &mut HeaderMap, more: &HeaderMap) {
    for (name, value) in more {
        headers.append(name, value.clone());
    }
}

/// Adds a line of text we wrote.
pub(super) fn append(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.append(name, value);
    }
}

#[cfg(test)]
mod tests;
