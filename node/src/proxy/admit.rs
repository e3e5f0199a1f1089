//! The first phases of a request: whose it is, whether it is let in, what it asks for.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode, Version};

use super::auth::signed::{self, Signature};
use super::cache_control::{CacheControl, Scope};
use super::conditions;
use super::encode::Accepts;
use super::headers::Choosing;
use super::key::{Authority, Target};
use super::onward::Onward;
use super::outcome::{Own, Refusal};
use super::purging::is_purge;
use super::query::Query;
use super::{Proxy, apart, headers, key};
use crate::config::policy::{ClientDirectives, Policy};
use crate::config::rule::Ruling;
use crate::config::site::Site;
use crate::exchange::Client;
use crate::protect::Verdict;
use crate::view::{Identity, View};

/// A request that was let in, with all that later phases decide from. The view in it is pinned: the request never
/// sees half a change.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) site: Arc<Site>,
    pub(super) client: Arc<Client>,
    pub(super) method: Method,
    pub(super) version: Version,
    /// The client's fields, without what ends at this hop.
    pub(super) headers: HeaderMap,
    /// Which of them choose or bar what is stored.
    pub(super) choosing: Choosing,
    pub(super) directives: CacheControl,
    /// The content codings that the client takes; nothing where the site makes none.
    pub(super) accepts: Accepts,
    /// What the URL was signed with; its parameters are not in the target.
    pub(super) signature: Option<Arc<Signature>>,
    pub(super) authority: Authority,
    pub(super) target: Target,
    /// Purge identity: `host/path?query`.
    pub(super) url: String,
    pub(super) ruling: Ruling,
    /// What it says of its own connection.
    pub(super) onward: Onward,
    /// What is in the key beside the URL; empty for most.
    pub(super) apart: Vec<u8>,
    /// The content of a query, once it is read.
    pub(super) query: Option<Arc<Query>>,
    pub(super) now: SystemTime,
}

impl Ask {
    /// That of the target URI.
    pub(super) fn scheme(&self) -> &'static str {
        if self.client.tls { "https" } else { "http" }
    }

    /// What purges match the request by; its tags are the answer's.
    pub(super) fn identity(&self) -> Identity<'_> {
        Identity {
            site: &self.site.name,
            url: &self.url,
            tags: None,
        }
    }

    /// The primary key.
    pub(super) fn primary(&self) -> Vec<u8> {
        let (site, tls) = (&self.site.name, self.client.tls);
        let mut key = key::primary(site, tls, &self.authority, &self.target, &self.apart);
        if let Some(query) = &self.query {
            query.extend(&mut key);
        }
        key
    }

    /// What is in force, as far as the request tells.
    pub(super) fn policy(&self) -> &Policy {
        self.site.rules.policy(&self.ruling)
    }

    /// What is in force for an answer.
    pub(super) fn ruling_for(&self, status: StatusCode, headers: &HeaderMap) -> Ruling {
        self.site.rules.at_response(&self.ruling, status, headers)
    }

    /// Path and query as the origin sees them: the client's, unless a rule says otherwise. The key is the client's URL.
    pub(super) fn origin_target(&self) -> PathAndQuery {
        let given = self.target.path_and_query();
        let rewritten = self.policy().rewrite.as_ref().and_then(|rewrite| {
            let mut text = key::remove_dot_segments(&rewrite.of(self.target.path())?);
            if let Some(query) = self.target.query() {
                text.push('?');
                text.push_str(query);
            }
            // What a rule is made of can be sent, and so can what clients ask for.
            text.parse().ok()
        });
        rewritten.unwrap_or_else(|| given.clone())
    }

    /// Why the cache has no part in this request; none when it has.
    pub(super) fn bypass(&self, has_content: bool) -> Option<Refusal> {
        if self.onward.switches {
            Some(Refusal::Upgrade)
        } else if self.takes_query() {
            Some(Refusal::Content)
        } else if self.method != Method::GET && self.method != Method::HEAD && self.query.is_none()
        {
            Some(Refusal::Method)
        } else if has_content {
            Some(Refusal::Content)
        } else if self.policy().bypasses() {
            Some(Refusal::Rule)
        } else if self.in_development() {
            Some(Refusal::Development)
        } else if self.choosing.conditions && conditions::needs_origin(&self.headers) {
            Some(Refusal::Precondition)
        } else {
            None
        }
    }

    fn in_development(&self) -> bool {
        let until = self.site.cache.development_until;
        until.is_some_and(|until| self.now < until)
    }

    /// May the request wait for another's fetch, and others for its own? Not where its answer is for it alone, nor
    /// where it wants one that was made after it asked.
    pub(super) fn joins_others(&self) -> bool {
        (self.method == Method::GET || self.query.is_some())
            && !self.directives.no_store
            && self.directives.no_cache == Scope::Absent
            && !self.headers.contains_key(AUTHORIZATION)
    }
}

/// A request that we answer by ourselves.
#[derive(Clone, Debug)]
pub(super) struct Turned {
    pub(super) own: Own,
    pub(super) site: Option<Arc<Site>>,
    /// Another status than the usual one of its kind.
    pub(super) status: Option<StatusCode>,
    /// Seconds for `Retry-After`.
    pub(super) retry_after_s: Option<u64>,
    /// For `Location`.
    pub(super) location: Option<String>,
    /// For `WWW-Authenticate`.
    pub(super) challenge: Option<HeaderValue>,
}

impl Turned {
    pub(super) const fn new(own: Own) -> Self {
        Self {
            own,
            site: None,
            status: None,
            retry_after_s: None,
            location: None,
            challenge: None,
        }
    }

    pub(super) fn at(own: Own, site: &Arc<Site>) -> Self {
        Self {
            site: Some(Arc::clone(site)),
            ..Self::new(own)
        }
    }
}

impl Proxy {
    /// Host → site → loop, guard, https → target. An error is a response of our own.
    pub(super) fn admit(
        &self,
        view: &View,
        client: Arc<Client>,
        parts: Parts,
        times: (Instant, SystemTime),
    ) -> Result<Ask, Turned> {
        let guard = |site: &Arc<Site>, client, begin| self.protect.verdict(site, client, begin);
        self.admit_past(view, client, parts, times, guard)
    }

    /// The same past another guard.
    pub(super) fn admit_past(
        &self,
        view: &View,
        client: Arc<Client>,
        parts: Parts,
        (begin, now): (Instant, SystemTime),
        guard: impl FnOnce(&Arc<Site>, IpAddr, Instant) -> Verdict,
    ) -> Result<Ask, Turned> {
        let Parts {
            method,
            uri,
            version,
            mut headers,
            extensions,
            ..
        } = parts;
        let authority = Authority::of_request(&uri, &headers, client.tls)
            .map_err(|_| Turned::new(Own::BadRequest))?;
        let site = view
            .site(authority.host())
            .ok_or_else(|| Turned::new(Own::Misdirected))?;
        if let Some(name) = &client.server_name
            && !serves(view, site, name)
        {
            return Err(Turned::at(Own::Misdirected, site));
        }
        match guard(site, client.address, begin) {
            Verdict::Pass => {}
            Verdict::Deny(_) => return Err(Turned::at(Own::Denied, site)),
            Verdict::Slow { retry_after } => {
                // Rounded up: one who comes back on time must not be early.
                let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
                return Err(Turned {
                    retry_after_s: Some(seconds.max(1)),
                    ..Turned::at(Own::Limited, site)
                });
            }
        }
        if let Some(maintenance) = &site.maintenance
            && !maintenance.lets_in(client.address)
        {
            return Err(Turned {
                retry_after_s: maintenance.retry_after_s,
                ..Turned::at(Own::Maintenance, site)
            });
        }
        let mut choosing = Choosing::of(&headers);
        if choosing.cdn_loop && headers::loops(&headers, &self.cdn_id) {
            return Err(Turned::at(Own::Loop, site));
        }
        let (uri, signature) = match &site.auth.signed {
            Some(_) => signed::split(uri),
            None => (uri, None),
        };
        let target =
            Target::normalise(&uri, &site.rules).map_err(|_| Turned::at(Own::BadRequest, site))?;
        // Plugins that purge ask where the pages were made, and follow nothing.
        if site.tls.redirect_http && !client.tls && !is_purge(&method) {
            return Err(Turned {
                location: Some(self.https_url(&authority, &target)),
                ..Turned::at(Own::Redirect, site)
            });
        }
        let mut onward = Onward::default();
        if choosing.connection {
            onward = Onward::of(&headers, &extensions);
            // Before anything is chosen by a field: what `Connection` names never reaches the origin, so it must not
            // choose a variant either.
            headers::remove_hop_by_hop(&mut headers);
            choosing = Choosing::of(&headers);
        }
        let rules = &site.rules;
        let ruling = rules.at_request(&method, target.path(), &headers);
        let mut directives = match choosing.directives {
            true => CacheControl::of_request(&headers),
            false => CacheControl::default(),
        };
        if rules.policy(&ruling).client_directives == Some(ClientDirectives::Ignore) {
            directives.force_nothing();
        }
        let mut ask = Ask {
            ruling,
            apart: Vec::new(),
            query: None,
            url: target.identity(authority.host()),
            choosing,
            directives,
            accepts: Accepts::NOTHING,
            signature: signature.map(Arc::new),
            site: Arc::clone(site),
            client,
            method,
            version,
            headers,
            authority,
            target,
            onward,
            now,
        };
        if ask.site.rules.divides() {
            // A request that the cache has no part in keeps the cookies that it came with.
            let may_be_answered = ask.bypass(false).is_none() || ask.takes_query();
            let address = ask.client.address;
            let country = || self.protect.country(address);
            let (rules, headers) = (&ask.site.rules, &mut ask.headers);
            ask.apart = apart::divide(rules, &ask.ruling, may_be_answered, headers, country);
        }
        if choosing.accept_encoding && ask.may_be_encoded() {
            ask.accepts = Accepts::of(&ask.headers);
            // One spelling for all that mean the same, before anything is chosen by the field: the origin and the key
            // of a variant see this one.
            let normal = HeaderValue::from_static(ask.accepts.normal());
            ask.headers.insert(ACCEPT_ENCODING, normal);
        }
        if !is_purge(&ask.method)
            && let Some(redirect) = &ask.policy().redirect
            && let Some(location) = redirect.location(ask.target.path(), ask.target.query())
        {
            return Err(Turned {
                status: Some(redirect.status),
                location: Some(location),
                ..Turned::at(Own::Redirect, &ask.site)
            });
        }
        Ok(ask)
    }

    fn https_url(&self, authority: &Authority, target: &Target) -> String {
        let path = target.path_and_query();
        match self.https_port {
            443 => format!("https://{}{path}", authority.host()),
            port => format!("https://{}:{port}{path}", authority.host()),
        }
    }
}

/// Does the site that a Host belongs to also stand behind the name that TLS was made for? A certificate that covers
/// several sites would else let a client of one speak to another under the first one's name (RFC 9110 §7.4).
pub(super) fn serves(view: &View, site: &Arc<Site>, server_name: &str) -> bool {
    view.site(server_name)
        .is_some_and(|named| Arc::ptr_eq(named, site))
}
