//! What would become of a request, and why: the same phases as for a client's, without asking anybody, without counting
//! and without moving anything in the store.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, Uri};
use nearside_cache_store::Key;
use serde::{Deserialize, Serialize};

use super::admit::{Ask, Turned};
use super::answer::circumstances;
use super::auth::Refused;
use super::cache_status::with_key;
use super::headers::CACHE_STATUS;
use super::key::Target;
use super::lookup::Stored;
use super::outcome::{Fwd, Own, Refusal};
use super::purging::is_purge;
use super::reuse::{Because, Reuse};
use super::variants::rank;
use super::{Proxy, apart, headers, vary};
use crate::config::auth::Demand;
use crate::config::rule::Ruling;
use crate::config::site::Site;
use crate::exchange::{Body, Client};
use crate::view::PurgeVerdict;

/// A request that is asked about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// `https://host/path?query`; without a scheme https is meant.
    pub url: String,
    /// GET where it is absent.
    #[serde(default)]
    pub method: Option<String>,
    /// The client's address; none: this node's own loopback address.
    #[serde(default)]
    pub from: Option<IpAddr>,
    /// Request fields: name and value.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
}

/// What would become of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The node that was asked.
    pub node: String,
    /// The log index of the view that it answers from.
    pub generation: u64,
    /// The method.
    pub method: String,
    /// The URL in its normal form.
    pub url: String,
    /// The site that it belongs to.
    pub site: Option<String>,
    /// The log index of the change that made this version of the site; 0 for `serve`.
    pub revision: Option<u64>,
    /// `hit`, `stale`, `revalidate`, `miss`, `bypass`, or `own` for an answer of the node itself.
    pub verdict: String,
    /// Why, in words.
    pub because: String,
    /// Where the cache looks; none where it does not.
    pub key: Option<KeyReport>,
    /// What a purge finds it by.
    pub purge_identity: Option<String>,
    /// What is stored, usable or not.
    pub stored: Option<StoredReport>,
    /// Every key of the site file in force.
    pub in_force: Vec<KeyInForce>,
    /// Rules that match as far as the request tells, and wait for an answer's status or type.
    pub waiting: Vec<RuleReport>,
    /// Who would be asked, in order.
    pub next: Vec<NextHop>,
    /// Where a redirect goes.
    pub location: Option<String>,
}

/// The cache key, part by part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyReport {
    /// The site.
    pub site: String,
    /// `http` or `https`.
    pub scheme: String,
    /// `host` or `host:port`.
    pub authority: String,
    /// Path and query, normalised, without what the site drops.
    pub target: String,
    /// What the site wants apart: kind and value.
    pub apart: Vec<(String, String)>,
}

/// A stored response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredReport {
    /// Its status.
    pub status: u16,
    /// Its media type.
    pub content_type: Option<String>,
    /// Bytes of its body.
    pub body_bytes: u64,
    /// Seconds since the origin made it.
    pub age_s: u64,
    /// Seconds of freshness left under the rules in force; negative when stale.
    pub ttl_s: i64,
    /// `memory` or `disk`.
    pub tier: String,
    /// What purges and writes say of it: `usable`, `stale`, `gone`.
    pub purge: String,
    /// What purges by tag find it by.
    pub tags: Vec<String>,
    /// What it was chosen by: request field and value.
    pub variant: Vec<(String, Option<String>)>,
}

/// A key of the site file in force, and who says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyInForce {
    /// As in the file.
    pub key: String,
    /// Its value.
    pub value: String,
    /// The rule that says it; none: a section of the site, or a default.
    pub rule: Option<RuleReport>,
}

/// A rule of the site file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleReport {
    /// Its number, from one.
    pub number: usize,
    /// Its line.
    pub line: usize,
}

/// An origin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextHop {
    /// Its name, never its address.
    pub origin: String,
    /// Is it believed to answer?
    pub healthy: bool,
}

/// A question that cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unanswerable(String);

impl Question {
    /// The request and its client. The scheme says whether it comes over TLS.
    pub(super) fn request(&self) -> Result<(Arc<Client>, Request<()>, bool), Unanswerable> {
        let wrong = |what: String| Unanswerable(what);
        let url = match self.url.contains("://") {
            true => self.url.clone(),
            false => format!("https://{}", self.url),
        };
        let no_url = || {
            wrong(format!(
                "\"{}\" is not a URL; write it like \"https://shop.example/path?query\"",
                self.url
            ))
        };
        let uri: Uri = url
            .split('#')
            .next()
            .unwrap_or_default()
            .parse()
            .map_err(|_| no_url())?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(no_url()),
        };
        let authority = uri.authority().ok_or_else(no_url)?.clone();
        let method = self.method.as_deref().unwrap_or("GET");
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_| wrong(format!("\"{method}\" is not a method")))?;
        let mut request = Request::new(());
        *request.method_mut() = method;
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| no_url())?;
        request.headers_mut().insert(HOST, host);
        for (name, value) in &self.headers {
            let field: HeaderName = name
                .parse()
                .map_err(|_| wrong(format!("\"{name}\" is not a field name")))?;
            let value = HeaderValue::from_str(value)
                .map_err(|_| wrong(format!("the value of {field} cannot be sent")))?;
            if field == HOST {
                return Err(wrong("the host is the URL's".to_owned()));
            }
            request.headers_mut().append(field, value);
        }
        *request.uri_mut() = uri;
        let address = self.from.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let client = Client {
            address,
            socket: SocketAddr::new(address, 0),
            local: SocketAddr::new(address, 0),
            tls,
            server_name: None,
            interim: None,
        };
        Ok((Arc::new(client), request, tls))
    }
}

impl Proxy {
    /// Tells what would become of a request.
    ///
    /// # Errors
    /// A question that is no request.
    pub async fn explain(&self, question: &Question) -> Result<Explanation, Unanswerable> {
        let (client, request, tls) = question.request()?;
        let (parts, ()) = request.into_parts();
        let view = self.views.load();
        let mut told = Explanation {
            node: self.node.to_string(),
            generation: view.generation,
            method: parts.method.to_string(),
            url: parts.uri.to_string(),
            site: None,
            revision: None,
            verdict: "own".to_owned(),
            because: String::new(),
            key: None,
            purge_identity: None,
            stored: None,
            in_force: Vec::new(),
            waiting: Vec::new(),
            next: Vec::new(),
            location: None,
        };
        let protect = Arc::clone(&self.protect);
        let guard = |site: &_, client, _| protect.foresee(site, client);
        let times = (Instant::now(), SystemTime::now());
        let asked = parts.clone();
        let admitted = match self.admit_past(&view, client, parts, times, guard) {
            Ok(ask) => match ask.policy().auth {
                // Both are checked on this node; nobody else is asked.
                Some(Demand::Signed | Demand::Basic) => {
                    let checked = self.authenticate(Arc::new(ask)).await;
                    checked.map_err(|refused| match refused {
                        Refused::ByUs(turned) => turned,
                        Refused::ByServer(_) => Turned::new(Own::Refused),
                    })
                }
                _ => Ok(Arc::new(ask)),
            },
            Err(turned) => Err(turned),
        };
        let ask = match admitted {
            Ok(ask) => ask,
            Err(turned) => {
                if let Some(site) = &turned.site {
                    told.site = Some(site.name.to_string());
                    told.revision = Some(site.revision);
                    told.say_of_turned(site, asked, times.1);
                }
                told.because = of_own(turned.own);
                told.location = turned.location;
                return Ok(told);
            }
        };
        let scheme = if tls { "https" } else { "http" };
        let (authority, target) = (ask.authority.as_str(), ask.target.path_and_query());
        told.url = format!("{scheme}://{authority}{target}");
        told.site = Some(ask.site.name.to_string());
        told.revision = Some(ask.site.revision);
        told.purge_identity = Some(ask.url.clone());
        told.next = self.upstream.outlook(&ask.site);
        self.judge(&ask, &mut told).await;
        Ok(told)
    }

    /// The verdict, and what it is made from.
    async fn judge(&self, ask: &Ask, told: &mut Explanation) {
        let rules = &ask.site.rules;
        if is_purge(&ask.method) {
            told.verdict = "purge".to_owned();
            let words = if ask.site.cache.purge_from.is_empty() {
                of_own(Own::NoPurge)
            } else {
                "the site does the PURGE requests of the networks in cache.purge_from".to_owned()
            };
            told.because = words;
            return;
        }
        if let Some(refusal) = ask.bypass(false) {
            told.verdict = "bypass".to_owned();
            told.because = of_bypass(refusal).to_owned();
            told.say_in_force(ask, &ask.ruling);
            return;
        }
        told.key = Some(KeyReport::of(ask));
        let (found, fwd) = self.look(ask).await;
        let Some((entry, tier)) = found else {
            told.verdict = "miss".to_owned();
            told.because = match fwd {
                Fwd::VaryMiss => {
                    "what is stored was chosen by other values of the fields it varies on"
                }
                _ => "nothing is stored under this key",
            }
            .to_owned();
            if ask.directives.only_if_cached {
                told.verdict = "own".to_owned();
                told.because = of_own(Own::OnlyIfCached);
            }
            told.say_in_force(ask, &ask.ruling);
            told.say_waiting(ask);
            return;
        };
        let meta = entry.meta();
        let ruling = ask.ruling_for(meta.status, &meta.head);
        let policy = rules.policy(&ruling);
        told.say_in_force(ask, &ruling);
        let usable = self.usable(ask, Arc::clone(&entry));
        let ttl_s = meta.freshness.ttl_s(meta.status, policy, ask.now);
        told.stored = Some(StoredReport {
            status: meta.status.as_u16(),
            content_type: (meta.head.get(CONTENT_TYPE))
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
            body_bytes: entry.body_bytes(),
            age_s: meta.freshness.age_s(ask.now),
            ttl_s,
            tier: tier.to_owned(),
            purge: match usable {
                None => "gone",
                Some((_, PurgeVerdict::Stale)) => "stale",
                Some(_) => "usable",
            }
            .to_owned(),
            tags: meta.tags.iter().map(str::to_owned).collect(),
            variant: (meta.selection.iter())
                .map(|(name, value)| {
                    let value = value.as_deref().map(String::from_utf8_lossy);
                    (name.to_string(), value.map(std::borrow::Cow::into_owned))
                })
                .collect(),
        });
        let Some((_, purge)) = usable else {
            told.verdict = "miss".to_owned();
            told.because = "what is stored was purged, or a write has made it invalid".to_owned();
            return;
        };
        let reuse = meta
            .freshness
            .reuse(circumstances(ask, &ruling, meta.status, purge));
        let (verdict, because) = match reuse {
            Reuse::Fresh { ttl_s } => ("hit", format!("fresh for {ttl_s} s more")),
            Reuse::AcceptedStale { ttl_s } => {
                let stale_s = ttl_s.unsigned_abs();
                (
                    "stale",
                    format!("stale for {stale_s} s, which the client accepts (max-stale)"),
                )
            }
            Reuse::WhileRevalidate { ttl_s } => {
                let stale_s = ttl_s.min(0).unsigned_abs();
                let because = format!(
                    "stale for {stale_s} s, sent while the origin is asked (stale-while-revalidate)"
                );
                ("stale", because)
            }
            Reuse::Revalidate {
                because: Because::Request,
            } => ("revalidate", "the request wants it validated".to_owned()),
            Reuse::Revalidate {
                because: Because::Stale,
            } if purge == PurgeVerdict::Stale => {
                ("revalidate", "a soft purge has made it stale".to_owned())
            }
            Reuse::Revalidate {
                because: Because::Stale,
            } if ttl_s > 0 => (
                "revalidate",
                "the response wants to be validated each time (no-cache)".to_owned(),
            ),
            Reuse::Revalidate {
                because: Because::Stale,
            } => (
                "revalidate",
                format!("stale for {} s", ttl_s.unsigned_abs()),
            ),
        };
        (told.verdict, told.because) = (verdict.to_owned(), because);
        let asks = verdict == "revalidate";
        if asks && ask.directives.only_if_cached {
            told.verdict = "own".to_owned();
            told.because = of_own(Own::OnlyIfCached);
        }
    }

    /// What a request would find, purged or not, and in which tier.
    async fn look(&self, ask: &Ask) -> (Option<(Stored, &'static str)>, Fwd) {
        if ask.site.rules.divides() {
            self.recall_writes(ask).await;
        }
        let primary = self.store.key(ask.primary());
        let mut fwd = Fwd::Miss;
        if let Some(found) = self.look_at(&primary).await {
            if vary::matches(&found.0.meta().selection, &ask.headers) {
                return (Some(found), fwd);
            }
            fwd = Fwd::VaryMiss;
        }
        let directory = self.directory(&primary).await;
        let mut best = None;
        for whole in directory.keys(primary.whole(), &ask.headers) {
            fwd = Fwd::VaryMiss;
            let Some(found) = self.look_at(&self.store.key(whole)).await else {
                continue;
            };
            let meta = found.0.meta();
            if !vary::matches(&meta.selection, &ask.headers) {
                continue;
            }
            let usable = self.usable(ask, Arc::clone(&found.0)).is_some();
            let rank = (usable, rank(meta));
            if best.as_ref().is_none_or(|(best, _)| rank > *best) {
                best = Some((rank, found));
            }
        }
        (best.map(|(_, found)| found), fwd)
    }

    async fn look_at(&self, key: &Key) -> Option<(Stored, &'static str)> {
        if let Some(entry) = self.store.peek(key) {
            return Some((entry, "memory"));
        }
        Some((self.store.look(key).await?, "disk"))
    }
}

impl KeyReport {
    fn of(ask: &Ask) -> Self {
        Self {
            site: ask.site.name.to_string(),
            scheme: if ask.client.tls { "https" } else { "http" }.to_owned(),
            authority: ask.authority.as_str().to_owned(),
            target: ask.target.path_and_query().to_string(),
            apart: apart::told(&ask.apart),
        }
    }
}

impl std::fmt::Display for KeyReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} {} {} {}",
            self.site, self.scheme, self.authority, self.target
        )?;
        for (kind, value) in &self.apart {
            write!(f, ", {kind}={value}")?;
        }
        Ok(())
    }
}

impl Proxy {
    /// Tells the key in our member of `Cache-Status` where the site shows it to this client. It speaks of cookies and
    /// fields that others must not see, and of how the cache is laid out, so nobody gets it unasked.
    pub(super) fn show_key(&self, ask: &Ask, response: &mut Response<Body>) {
        let networks = &ask.site.cache.status_key_for;
        if networks.is_empty() {
            return;
        }
        let client = ask.client.address.to_canonical();
        if !networks.iter().any(|network| network.contains(&client)) || ask.bypass(false).is_some()
        {
            return;
        }
        // Ours is the last.
        let lines = response.headers_mut().iter_mut();
        let last = lines.filter(|(name, _)| **name == CACHE_STATUS).last();
        if let Some((_, member)) = last
            && let Ok(text) = member.to_str()
            && let Ok(shown) =
                HeaderValue::from_str(&with_key(text, &KeyReport::of(ask).to_string()))
        {
            *member = shown;
        }
    }
}

impl Explanation {
    /// What is in force for a request that came no further than the door.
    fn say_of_turned(&mut self, site: &Site, mut asked: Parts, now: SystemTime) {
        let Ok(target) = Target::normalise(&asked.uri, &site.rules) else {
            return;
        };
        headers::remove_hop_by_hop(&mut asked.headers);
        let rules = &site.rules;
        let ruling = rules.at_request(&asked.method, target.path(), &asked.headers);
        self.say(site, &ruling, now);
    }

    fn say_in_force(&mut self, ask: &Ask, ruling: &Ruling) {
        self.say(&ask.site, ruling, ask.now);
    }

    fn say(&mut self, site: &Site, ruling: &Ruling, now: SystemTime) {
        let in_force = site.rules.explain(ruling).into_iter();
        self.in_force = in_force
            .map(|said| KeyInForce {
                key: said.key.to_owned(),
                value: said.value,
                rule: said.rule.map(|(number, line)| RuleReport { number, line }),
            })
            .collect();
        let development = site.cache.development_until;
        if let Some(until) = development.filter(|until| now < *until) {
            self.in_force.push(KeyInForce {
                key: "development_until".to_owned(),
                value: humantime::format_rfc3339_seconds(until).to_string(),
                rule: None,
            });
        }
    }

    fn say_waiting(&mut self, ask: &Ask) {
        let waiting = ask.site.rules.waiting(&ask.ruling).into_iter();
        self.waiting = waiting
            .map(|(number, line)| RuleReport { number, line })
            .collect();
    }
}

fn of_bypass(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Method => "the method is for the origin",
        Refusal::Rule => "a rule says cache = \"bypass\"",
        Refusal::Development => "the site is in development mode",
        Refusal::Precondition => "the request has a condition that only the origin may judge",
        other => other.word(),
    }
}

pub(super) fn of_own(own: Own) -> String {
    let words = match own {
        Own::BadRequest => "400: the host or the path is none",
        Own::Misdirected => "421: no site here has this host",
        Own::Denied => "403: the client is on the site's list",
        Own::Limited => "429: the client asks too often",
        Own::Redirect => "the client is sent elsewhere: to https, or by a rule's `redirect`",
        Own::Refused => "the server that the site asks about each request said no",
        Own::Unsigned => "403: the site wants signed URLs",
        Own::Unauthorized => "401: the site wants a name and a password",
        Own::AuthUnavailable => "503: what a demand is checked by cannot be had",
        Own::Maintenance => {
            "503: the site is being worked on, and the client is not in `maintenance.allow`"
        }
        Own::Loop => "508: the request came through here before",
        Own::OnlyIfCached => "504: the request wants nothing but what is stored (only-if-cached)",
        Own::NoOrigin => "502: no origin answers",
        Own::Purged => "200: it is purged",
        Own::NoPurge => "405: the site takes no PURGE requests",
        Own::NoQuorum => "503: the cluster could not agree on the purge",
    };
    words.to_owned()
}
