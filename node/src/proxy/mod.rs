//! The phases of a request, from its head to its last byte.
//!
//! In the order in which a request meets them:
//!
//! * [`admit`]: host → site → guard → normalised target ([`key`], [`apart`]); [`headers`]: what ends at this hop.
//! * [`auth`]: what the site demands of who asks.
//! * [`query`]: the content of QUERY, which is in the key.
//! * [`lookup`]: the stored response, by primary key and [`vary`]; purges and [`marks`] may have taken it away.
//! * [`reuse`]: fresh, stale or to be asked about ([`freshness`], [`cache_control`]).
//! * [`at_once`]: the shortest way, for plain requests and what is whole and fresh in memory.
//! * [`answer`]: which way to go; [`bring`]: leading, following or going alone, and [`endings`] where that fails.
//! * [`onward`]: what a request that is passed through says of its hop.
//! * [`fetch`]: asking upstream; [`storable`], [`freshen`]: judging what it said, and under which [`tags`]; [`fill`]:
//!   bringing it into the store while readers follow; [`parts`] of objects, [`slices`] of large ones.
//! * [`invalidate`]: what writes make unusable; [`purging`]: requests to purge.
//! * [`encode`]: content codings, made once for each stored body.
//! * [`respond`]: heads, [`body`]: bodies, with [`conditions`], [`range`] and [`cache_status`]; [`outcome`]: its story.
//! * [`explain`]: what would become of a request, by the same phases.
//! * [`prefetch`]: a request of the operator, for what clients will ask for.
//! * [`dress`]: what the site does to answers on their way out.
//! * [`finish`]: the last byte; counting it ([`metrics`]) and telling the access log.
//!
//! Pure: `key`, `apart`, `headers`, `cache_control`, `targeted`, `date`, `freshness`, `freshen`, `storable`, `vary`,
//! `conditions`, `range`, `reuse`, `cache_status`, `outcome`, `tags`. [`meta`] is what the store keeps for us, [`ports`]
//! what we need of the neighbours.

mod admit;
mod answer;
mod apart;
mod at_once;
mod auth;
mod body;
mod bring;
mod cache_control;
mod cache_status;
mod conditions;
mod date;
mod deception;
mod dress;
mod encode;
mod endings;
mod explain;
mod fetch;
mod fill;
mod finish;
mod freshen;
mod freshness;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod headers;
mod invalidate;
pub mod key;
#[cfg(test)]
mod laws;
mod lookalikes;
mod lookup;
mod marks;
mod meta;
mod metrics;
mod onward;
mod outcome;
mod parts;
mod ports;
mod prefetch;
mod purging;
mod query;
mod range;
mod respond;
mod reuse;
mod slices;
mod storable;
mod tags;
mod targeted;
#[cfg(test)]
mod tests;
mod variants;
mod vary;

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Instant, SystemTime};

use futures_util::future::Either;
use http::{HeaderValue, Request, Response};
use nearside_cache_store::Store;
use tokio::runtime::Handle as Runtime;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

pub use auth::Secrets;
pub use auth::signed;
pub use encode::Form;
pub use explain::{
    Explanation, KeyInForce, KeyReport, NextHop, Question, RuleReport, StoredReport, Unanswerable,
};
pub use meta::HttpMeta;
pub use metrics::ProxyMetrics;
pub use outcome::{LABELS, Outcome, Passage};
pub use ports::{
    Alone, Answer, Invalidation, Neighbours, NotPurged, Purging, Unanswered, Upstream,
};
pub use prefetch::{PrefetchResult, Prefetched};

use crate::exchange::{Body, Client, Handle, PlainHead};
use crate::observe::access::AccessLog;
use crate::protect::Protect;
use crate::view::{PurgeBook, Views};
use admit::Ask;
use auth::{Passwords, Refused, Words};
use encode::Encoders;
use finish::Receipt;
use marks::Marks;
use outcome::Own;

/// What the proxy is made of. Everything is shared with others; the proxy owns none of it alone.
pub struct Parts<U> {
    /// This node's name: in `Via` and `Cache-Status`.
    pub node: Box<str>,
    /// Our identifier in `CDN-Loop`, the same on all nodes of a cluster, and of no other CDN.
    pub cdn_id: Box<str>,
    /// The port that `redirect_http` sends clients to.
    pub https_port: u16,
    /// The view in force.
    pub views: Arc<Views>,
    /// Purges, at the latest index.
    pub purges: Arc<PurgeBook>,
    /// The cache.
    pub store: Store<HttpMeta>,
    /// Who answers misses.
    pub upstream: Arc<U>,
    /// Who hears of writes.
    pub neighbours: Arc<dyn Neighbours>,
    /// Who guards the door.
    pub protect: Arc<Protect>,
    /// The files that demands are checked by.
    pub secrets: Secrets,
    /// The multi-thread runtime on which origins are asked. Fills outlive their clients, so they cannot live on the
    /// core that accepted a connection.
    pub fills: Runtime,
    /// Fills at once; beyond it requests are passed through without waiting for each other.
    pub fills_max: usize,
    /// Counters.
    pub metrics: ProxyMetrics,
    /// Access records.
    pub access: AccessLog,
}

/// Answers requests from the cache, and from upstream what is not there.
pub struct Proxy {
    node: Box<str>,
    cdn_id: Box<str>,
    https_port: u16,
    via: HeaderValue,
    /// The node's name as `Cache-Status` says it.
    name: Box<str>,
    views: Arc<Views>,
    purges: Arc<PurgeBook>,
    store: Store<HttpMeta>,
    upstream: Arc<dyn Upstream>,
    neighbours: Arc<dyn Neighbours>,
    protect: Arc<Protect>,
    secrets: Secrets,
    passwords: Passwords,
    words: Words,
    fills: Runtime,
    fill_permits: Arc<Semaphore>,
    fill_tasks: TaskTracker,
    /// An answer to a query was looked for: from then on writes are remembered beside the entries.
    queries: AtomicBool,
    purge_turns: Semaphore,
    marks: Marks,
    encoders: Encoders,
    metrics: ProxyMetrics,
    access: AccessLog,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl Proxy {
    /// Puts the parts together.
    #[must_use]
    pub fn new<U: Upstream>(parts: Parts<U>) -> Self {
        let via = headers::via(http::Version::HTTP_11, &parts.node);
        Self {
            // A node's name is checked where it is configured; one that could not stand in a field is left out.
            via: HeaderValue::from_str(&via).unwrap_or(HeaderValue::from_static("1.1 nearside")),
            name: cache_status::name(&parts.node),
            node: parts.node,
            cdn_id: parts.cdn_id,
            https_port: parts.https_port,
            views: parts.views,
            purges: parts.purges,
            store: parts.store,
            upstream: parts.upstream,
            neighbours: parts.neighbours,
            protect: parts.protect,
            secrets: parts.secrets,
            passwords: Passwords::default(),
            words: Words::default(),
            fills: parts.fills,
            fill_permits: Arc::new(Semaphore::new(parts.fills_max)),
            fill_tasks: TaskTracker::new(),
            queries: AtomicBool::new(false),
            purge_turns: Semaphore::new(purging::PURGES_MAX),
            marks: Marks::default(),
            encoders: Encoders::new(
                parts.metrics.encoded.clone(),
                parts.metrics.encoders_busy.clone(),
            ),
            metrics: parts.metrics,
            access: parts.access,
        }
    }
}

impl Proxy {
    /// Waits until no fill runs any more: for a drain, after the listeners have closed. The caller bounds the wait.
    pub async fn drained(&self) {
        self.fill_tasks.close();
        self.fill_tasks.wait().await;
    }
}

impl Handle for Proxy {
    fn handle(
        self: Arc<Self>,
        client: Arc<Client>,
        request: Request<Body>,
    ) -> impl Future<Output = Response<Body>> + 'static {
        match self.begin(client, request) {
            Begun::Answered(response) => Either::Left(ready(response)),
            // Boxed, as the room that waiting takes is large, and a hit should not carry it along.
            Begun::Waits(ask, body, receipt) => Either::Right(Box::pin(async move {
                let id = receipt.request_id;
                let (ask, mut response, passage) = match self.authenticate(Arc::clone(&ask)).await {
                    Ok(ask) => {
                        let (response, passage) = self.answer(&ask, body, id).await;
                        (ask, response, passage)
                    }
                    Err(Refused::ByUs(turned)) => {
                        let passage = Passage::new(Outcome::Own(turned.own));
                        let response = self.own(&turned, &ask.method, id, &passage);
                        (ask, response, passage)
                    }
                    Err(Refused::ByServer(response)) => {
                        let passage = Passage::new(Outcome::Own(Own::Refused));
                        (ask, *response, passage)
                    }
                };
                self.dress(&ask, &mut response, &passage, receipt.request_id);
                self.show_key(&ask, &mut response);
                self.finish(*receipt, response, passage)
            })),
        }
    }

    fn at_once(&self, client: &Client, head: &PlainHead<'_>, out: &mut Vec<u8>) -> Option<Body> {
        self.hit_at_once(client, head, out)
    }
}

/// How far a request comes without waiting.
enum Begun {
    /// To its end.
    Answered(Response<Body>),
    /// To where the disk, another request or the origin is waited for.
    Waits(Arc<Ask>, Body, Box<Receipt>),
}

impl Proxy {
    fn begin(&self, client: Arc<Client>, request: Request<Body>) -> Begun {
        let begin = Instant::now();
        let now = SystemTime::now();
        let view = self.views.glance();
        let (parts, body) = request.into_parts();
        let mut receipt = self.receipt(&view, &client, &parts, begin, now);
        let (method, tls) = (parts.method.clone(), client.tls);
        match self.admit(&view, client, parts, (begin, now)) {
            Ok(ask) => {
                receipt.site = Some(Arc::clone(&ask.site));
                match self.hit(&ask, &body) {
                    Some((mut response, passage)) => {
                        self.dress(&ask, &mut response, &passage, receipt.request_id);
                        self.show_key(&ask, &mut response);
                        Begun::Answered(self.finish(receipt, response, passage))
                    }
                    None => Begun::Waits(Arc::new(ask), body, Box::new(receipt)),
                }
            }
            Err(turned) => {
                receipt.site.clone_from(&turned.site);
                let passage = Passage::new(Outcome::Own(turned.own));
                let mut response = self.own(&turned, &method, receipt.request_id, &passage);
                if let Some(site) = &turned.site {
                    self.dress_turned(site, tls, &mut response, &turned, receipt.request_id);
                }
                Begun::Answered(self.finish(receipt, response, passage))
            }
        }
    }
}
