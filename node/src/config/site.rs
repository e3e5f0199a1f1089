//! A site as the data plane uses it: checked, complete, every default filled in.
//! `site_file` turns the operator's TOML into this, and is the only maker.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use ipnet::IpNet;
use nearside_geo::Point;

use super::auth::AuthSettings;
use super::compression::Compression;
use super::page::{ErrorPages, Maintenance};
use super::rule::Rules;

/// What one operator publishes under some hosts.
#[derive(Debug, Default)]
pub struct Site {
    /// The name, unique in the cluster: lower-case letters, digits and hyphens.
    pub name: Box<str>,
    /// Host names, lower case, without port. `*.example.org` stands for one more label in front.
    pub hosts: Vec<Box<str>>,
    /// True for the one site of `serve`: whatever Host is asked for belongs to it.
    pub any_host: bool,
    /// At least one; in the order of the file.
    pub origins: Vec<Origin>,
    /// Which of those that are equally near is asked.
    pub balance: Balance,
    /// The cookie that binds a client to the origin that answered it.
    pub sticky_cookie: Option<Box<str>>,
    /// How responses are cached.
    pub cache: CacheSettings,
    /// What is said per request: for the whole site, and by rules.
    pub rules: Rules,
    /// How responses are compressed, where they are.
    pub compression: Compression,
    /// The client side of TLS.
    pub tls: TlsSettings,
    /// By what demands are checked.
    pub auth: AuthSettings,
    /// Pages in the stead of errors.
    pub error_pages: ErrorPages,
    /// The site is being worked on.
    pub maintenance: Option<Maintenance>,
    /// Something is done to answers on their way out: by pages, by HSTS, or by fields that a rule or the site changes.
    pub dresses: bool,
    /// Who is kept out.
    pub protect: ProtectSettings,
    /// The log index of the change that made this version; 0 for `serve`.
    pub revision: u64,
}

/// One server that holds the truth for a site.
#[derive(Debug)]
pub struct Origin {
    /// How logs, metrics and status call it: the file's `name`, else `origin1`, `origin2`… (never the address).
    pub name: Box<str>,
    /// `https` towards it?
    pub tls: bool,
    /// The name to resolve, or the address.
    pub host: Box<str>,
    /// TCP port.
    pub port: u16,
    /// Region it stands in, if the file says so.
    pub region: Option<Box<str>>,
    /// Where it stands, if the file says so.
    pub point: Option<Point>,
    /// Share among equally near origins; at least 1.
    pub weight: u32,
    /// Asked only when no other origin is healthy.
    pub backup: bool,
    /// How it is spoken to.
    pub protocol: OriginProtocol,
    /// What the Host field says.
    pub host_header: HostHeader,
    /// What it may have at once, on each node.
    pub limits: OriginLimits,
    /// Active checks; none: only passive notice.
    pub health: Option<HealthCheck>,
    /// Certificate authority that signs this origin (PEM); none: the system's roots.
    pub tls_ca: Option<Box<str>>,
    /// Deadline for a connection, TLS included.
    pub connect_timeout: Duration,
    /// Deadline for the head of the response, and between two pieces of its body.
    pub response_timeout: Duration,
}

/// What an origin may have at once, on one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OriginLimits {
    /// Requests, until their responses have been read; none: any number.
    pub requests_max: Option<usize>,
    /// Connections, busy or idle; none: any number.
    pub connections_max: Option<usize>,
    /// Requests that wait for either.
    pub queue_max: usize,
    /// Longest such wait.
    pub queue_timeout: Duration,
}

impl Default for OriginLimits {
    fn default() -> Self {
        Self {
            requests_max: None,
            connections_max: None,
            queue_max: 100,
            queue_timeout: Duration::from_secs(5),
        }
    }
}

/// Which of equally near origins is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// By chance, in proportion to weights.
    #[default]
    Random,
    /// The one with the fewest open requests for its weight.
    LeastConnections,
    /// Always the same one for the same value, while it is healthy.
    Hash(HashBy),
}

/// What is hashed of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashBy {
    /// The client's address.
    Client,
    /// The path, without query.
    Path,
    /// A request field.
    Field(http::HeaderName),
    /// A cookie of the client.
    Cookie(Box<str>),
}

/// What is spoken with an origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OriginProtocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2, over TLS and without.
    Http2,
    /// Over TLS whatever of the two the origin chooses, without TLS HTTP/1.1.
    Auto,
}

/// What the Host field (and SNI) towards an origin says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostHeader {
    /// What the client asked for. SNI then is the client's host too.
    Client,
    /// The origin's own name from its URL.
    Origin,
    /// This name.
    Name(Box<str>),
}

/// An active check: GET `path`, 2xx or 3xx in time is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// Path and query.
    pub path: Box<str>,
    /// From the end of one check to the start of the next.
    pub interval: Duration,
    /// For the whole check.
    pub timeout: Duration,
    /// Failures in a row that make it unhealthy.
    pub fall: u32,
    /// Successes in a row that make it healthy again.
    pub rise: u32,
}

/// Caching, as far as it is the same for the whole site.
#[derive(Clone, Debug)]
pub struct CacheSettings {
    /// What a response that sets a cookie needs in order to be stored.
    pub set_cookie: SetCookie,
    /// Until then the cache is bypassed: work on the site is seen at once, and it ends by itself.
    pub development_until: Option<SystemTime>,
    /// `strict` sites revalidate whenever the node is not fresh (a later step).
    pub strict: bool,
    /// Largest body that is stored, in bytes.
    pub body_max_bytes: u64,
    /// How answers are tagged.
    pub tags: TagSettings,
    /// Whose PURGE requests are done; none: nobody's.
    pub purge_from: Vec<IpNet>,
    /// Whose answers tell the cache key in `Cache-Status`.
    pub status_key_for: Vec<IpNet>,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            set_cookie: SetCookie::Explicit,
            development_until: None,
            strict: false,
            body_max_bytes: 4 << 30,
            tags: TagSettings::default(),
            purge_from: Vec::new(),
            status_key_for: Vec::new(),
        }
    }
}

/// Which fields of an answer carry tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagSettings {
    /// The fields, no name twice.
    pub fields: Vec<TagField>,
    /// Clients get them, too.
    pub send: bool,
}

/// A field that carries tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagField {
    /// Its name.
    pub name: http::HeaderName,
    /// Tags are separated by commas; else by white space, as in `Surrogate-Key` and `xkey`.
    pub by_commas: bool,
}

impl TagField {
    /// The field of this name, with the separator that is usual in it.
    #[must_use]
    pub fn new(name: http::HeaderName) -> Self {
        Self {
            by_commas: !matches!(name.as_str(), "surrogate-key" | "xkey"),
            name,
        }
    }
}

impl Default for TagSettings {
    fn default() -> Self {
        let names = ["cache-tag", "surrogate-key", "xkey"];
        Self {
            fields: names
                .map(|name| TagField::new(http::HeaderName::from_static(name)))
                .into(),
            send: false,
        }
    }
}

/// What a response with `Set-Cookie` needs in order to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetCookie {
    /// An explicit word for shared caches: `public` or `s-maxage`.
    Explicit,
    /// RFC 9111: the field does not matter.
    Standard,
    /// Stored without the field.
    Strip,
    /// Never stored.
    Bypass,
}

/// Where a site's certificate comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// A name under `[certificates]` of the node file; none: chosen by SNI among all files.
    pub certificate: Option<Box<str>>,
    /// Plain HTTP is answered with a redirect to https.
    pub redirect_http: bool,
    /// What `Strict-Transport-Security` says, over TLS only.
    pub hsts: Option<http::HeaderValue>,
}

/// Who is kept out of a site.
#[derive(Clone, Debug, Default)]
pub struct ProtectSettings {
    /// Refused networks.
    pub deny_networks: Vec<IpNet>,
    /// Refused countries, ISO 3166 two upper-case letters.
    pub deny_countries: Vec<[u8; 2]>,
    /// Requests that one client may make; none: any number. An IPv6 client is its /64.
    pub rate: Option<Rate>,
    /// What does not fit a path that looks like that of a static file is not stored.
    pub refuses_deception: bool,
}

/// A rate with a burst on top.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Sustained requests per second.
    pub per_second: f64,
    /// Requests at once.
    pub burst: u32,
}

/// The addresses no origin may have, whatever its name resolves to: link-local, unspecified, multicast, broadcast.
/// Our own listeners are checked beside this, by whoever knows them.
#[must_use]
pub fn forbidden_origin_address(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_link_local() || v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast()
        }
        IpAddr::V6(v6) => {
            if let Some(v4) = v6.to_ipv4_mapped() {
                return forbidden_origin_address(IpAddr::V4(v4));
            }
            v6.is_unspecified() || v6.is_multicast() || (v6.segments()[0] & 0xffc0) == 0xfe80
        }
    }
}
