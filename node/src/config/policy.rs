//! What a site's file says per request: one optional value for each key that may stand in a `[[rule]]` and, for most,
//! in a section of the site as a whole.
//!
//! A key that is added here is laid over, explained and kept from rules where it could not act, all by its one line in
//! the list below; what is left to do is to parse it (`site_file/rule.rs`) and to act on it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::auth::Demand;
use super::compression::Codings;
use super::edits::Edits;
use super::page::Page;
use super::pattern::Pattern;
use super::route::{Redirect, Rewrite};

/// When a key has its say, and so in which rules it may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acts {
    /// When an answer is there, stored or fresh: in every rule.
    WithAnswer,
    /// Before there is an answer: not in a rule that matches by status or type.
    Before,
    /// Before there is an answer, and the origin sees another request for it: as `Before`, and whether a rule that asks
    /// for more than the path applies is part of the cache key, so that its answers are stored apart.
    Shaping,
}

/// A value that a key may have.
pub trait Value: Clone {
    /// As an operator reads it in `explain`.
    fn shown(&self) -> String;

    /// Takes over what a later rule says. Tables of named things may keep what it does not name.
    fn overrule(&mut self, later: &Self) {
        *self = later.clone();
    }
}

impl Value for Duration {
    fn shown(&self) -> String {
        humantime::format_duration(*self).to_string()
    }
}

impl Value for bool {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Value for Box<str> {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl<T: Value> Value for Arc<T> {
    fn shown(&self) -> String {
        T::shown(self)
    }

    fn overrule(&mut self, later: &Self) {
        T::overrule(Self::make_mut(self), later);
    }
}

impl Value for Vec<HeaderName> {
    fn shown(&self) -> String {
        let words: Vec<&str> = self.iter().map(HeaderName::as_str).collect();
        format!("[{}]", words.join(", "))
    }
}

impl Value for Vec<Box<str>> {
    fn shown(&self) -> String {
        format!("[{}]", self.join(", "))
    }
}

impl Value for Vec<Pattern> {
    fn shown(&self) -> String {
        let words: Vec<&str> = self.iter().map(Pattern::as_str).collect();
        format!("[{}]", words.join(", "))
    }
}

/// `ttl`: a freshness lifetime in the response's stead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ttl {
    /// From the response's arrival.
    pub lifetime: Duration,
    /// The rule names the statuses that it is for, so it holds for errors too.
    pub names_status: bool,
}

impl Value for Ttl {
    fn shown(&self) -> String {
        self.lifetime.shown()
    }
}

/// `cache`: whether the cache has a part in a request at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    /// As the standard and the other keys say.
    Standard,
    /// Neither looked up nor stored.
    Bypass,
}

impl Value for Caching {
    fn shown(&self) -> String {
        match self {
            Self::Standard => "standard",
            Self::Bypass => "bypass",
        }
        .to_owned()
    }
}

/// `client_directives`: what a client's `Cache-Control` and `Pragma` are good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientDirectives {
    /// All of RFC 9111 §5.2.1.
    Honour,
    /// What would make the cache ask the origin, or store nothing, counts for nothing.
    Ignore,
}

impl Value for ClientDirectives {
    fn shown(&self) -> String {
        match self {
            Self::Honour => "honour",
            Self::Ignore => "ignore",
        }
        .to_owned()
    }
}

/// A number of bytes; zero switches off what it bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteSize(u64);

impl ByteSize {
    /// Checked where it is read.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// How many.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl Value for ByteSize {
    fn shown(&self) -> String {
        const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        let unit = UNITS
            .iter()
            .find(|(unit, _)| self.0 > 0 && self.0.is_multiple_of(*unit));
        match unit {
            Some((unit, name)) => format!("{} {name}", self.0 / unit),
            None => format!("{} B", self.0),
        }
    }
}

/// A key of a policy as it is explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// As in the site file: `ttl`, `key.query_drop`.
    pub key: &'static str,
    /// When it acts.
    pub acts: Acts,
    /// Its value in words.
    pub value: String,
}

/// The list of keys: `field: type, "key in the file", when it acts;`.
macro_rules! policy {
    ($($(#[$doc:meta])* $field:ident: $type:ty, $key:literal, $acts:ident;)*) => {
        /// What is said per request. None: nothing is said.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Policy {
            $($(#[$doc])* pub $field: Option<$type>,)*
        }

        impl Policy {
            /// Lays a later rule over: key by key it wins.
            pub fn lay_over(&mut self, later: &Self) {
                $(match (&mut self.$field, &later.$field) {
                    (_, None) => {}
                    (Some(mine), Some(theirs)) => mine.overrule(theirs),
                    (mine @ None, theirs) => mine.clone_from(theirs),
                })*
            }

            /// The keys that are said, in the order of the list.
            #[must_use]
            pub fn said(&self) -> Vec<Said> {
                let mut said = Vec::new();
                $(if let Some(value) = &self.$field {
                    said.push(Said {
                        key: $key,
                        acts: Acts::$acts,
                        value: value.shown(),
                    });
                })*
                said
            }
        }
    };
}

policy! {
    /// Freshness lifetime in the response's stead.
    ttl: Ttl, "ttl", WithAnswer;
    /// The least freshness lifetime, for the answers that `ttl` is for.
    ttl_min: Ttl, "ttl_min", WithAnswer;
    /// The greatest freshness lifetime, whoever says more.
    ttl_max: Duration, "ttl_max", WithAnswer;
    /// Freshness lifetime of errors that give none themselves. Counts when an answer is stored.
    negative_ttl: Duration, "negative_ttl", WithAnswer;
    /// Whether the cache has a part in it.
    cache: Caching, "cache", Before;
    /// RFC 5861, where the response does not say.
    stale_while_revalidate: Duration, "stale_while_revalidate", WithAnswer;
    /// RFC 5861, where the response does not say: how long past freshness a stored response may answer for a broken
    /// origin. Zero: not at all.
    stale_if_error: Duration, "stale_if_error", WithAnswer;
    /// Whether a client's `Cache-Control` can make the cache ask the origin.
    client_directives: ClientDirectives, "client_directives", Before;
    /// The content codings in which answers are offered, the best first; none: as the origin made them.
    compression: Codings, "compression", WithAnswer;
    /// What is done to the fields of requests to origins, after everything else.
    origin_headers: Arc<Edits>, "headers.origin", Shaping;
    /// What is done to the fields of answers to clients, after everything else.
    client_headers: Arc<Edits>, "headers.client", WithAnswer;
    /// What a request has to bring.
    auth: Demand, "auth", Before;
    /// The client is sent elsewhere.
    redirect: Arc<Redirect>, "redirect", Before;
    /// The origin sees another path.
    rewrite: Arc<Rewrite>, "rewrite", Shaping;
    /// What Host says to an origin that would else see the client's.
    host: Box<str>, "host", Shaping;
    /// What stands in the stead of an error.
    error_page: Arc<Page>, "error_page", WithAnswer;
    /// The size of the slices in which large objects are fetched and stored.
    slice: ByteSize, "slice", Before;
    /// How much content of a QUERY is read, and in the key.
    query_content: ByteSize, "query_content", Before;
    /// Query parameters that neither key nor origin see; `utm_*` stands for a prefix.
    query_drop: Arc<Vec<Pattern>>, "key.query_drop", Before;
    /// Query parameters that key and origin see; all others go.
    query_keep: Arc<Vec<Pattern>>, "key.query_keep", Before;
    /// Query parameters are put in the order of their names, for key and origin.
    query_sort: bool, "key.query_sort", Before;
    /// Request fields that are in the key, and reach the origin as they are.
    key_headers: Arc<Vec<HeaderName>>, "key.headers", Before;
    /// Cookies that are in the key, and the only ones that the origin sees of a request that may be answered from the
    /// cache.
    key_cookies: Arc<Vec<Box<str>>>, "key.cookies", Before;
    /// The device's class is in the key, and told to the origin.
    key_device: bool, "key.device", Before;
    /// The client's country is in the key, and told to the origin.
    key_country: bool, "key.country", Before;
}

impl Policy {
    /// True when nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Is more in the key than the URL?
    #[must_use]
    pub fn divides(&self) -> bool {
        self.key_headers
            .as_ref()
            .is_some_and(|names| !names.is_empty())
            || self.key_cookies.is_some()
            || self.key_device == Some(true)
            || self.key_country == Some(true)
    }

    /// The request fields that are in the key.
    #[must_use]
    pub fn keyed_fields(&self) -> &[HeaderName] {
        self.key_headers.as_ref().map_or(&[], |names| &names[..])
    }

    /// Is the cache told to keep out?
    #[must_use]
    pub fn bypasses(&self) -> bool {
        self.cache == Some(Caching::Bypass)
    }

    /// All that is said, in one line: what fingerprints are made of.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = String::new();
        for said in self.said() {
            // Writing into memory does not fail.
            if write!(line, "{}={};", said.key, said.value).is_err() {
                break;
            }
        }
        line
    }
}
