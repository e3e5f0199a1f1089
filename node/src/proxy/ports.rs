//! What the proxy needs of whoever answers misses, in its own words; and the origins in that role.

use std::sync::Arc;

use async_trait::async_trait;
use http::{Request, Response, StatusCode};

use super::explain::NextHop;
use crate::config::site::Site;
use crate::exchange::{Body, BodyError, MaySwitch};
use crate::upstream::{Origins, Replay, Side, UpstreamError, UpstreamErrorKind};

/// Answers what the cache cannot: the site's origins, later peers.
#[async_trait]
pub trait Upstream: Send + Sync + 'static {
    /// Asks for one request. `Host` is the client's; whoever implements this sets what the chosen origin wants.
    async fn fetch(&self, site: &Arc<Site>, request: Request<Body>) -> Result<Answer, Unanswered>;

    /// Who would be asked for a site's requests now, in order. Asks nobody.
    fn outlook(&self, _site: &Arc<Site>) -> Vec<NextHop> {
        Vec::new()
    }
}

/// What an origin said.
#[derive(Debug)]
pub struct Answer {
    /// The final response.
    pub response: Response<Body>,
    /// The origin's name in the site file.
    pub origin: Box<str>,
}

/// No origin gave an answer.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Unanswered {
    /// What the client is told: 502, 503 or 504; or 4xx when its own body broke off.
    pub status: StatusCode,
    /// For the log; may name origins.
    pub reason: Arc<str>,
}

/// What a write has made unusable (RFC 9111 §4.4): one target of a site, under both schemes and with all its variants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Invalidation {
    /// The site's name.
    pub site: Box<str>,
    /// `host` or `host:port`, as the key holds it.
    pub authority: Box<str>,
    /// Path and query, as the key holds them.
    pub target: Box<str>,
}

/// The other nodes of the cluster, as far as the proxy has something to tell them.
#[async_trait]
pub trait Neighbours: Send + Sync + 'static {
    /// Tells them what a write here has made unusable. Neither waits nor fails: news are delivered as soon as they can
    /// be.
    fn tell(&self, news: Invalidation);

    /// Has them agree on a purge. Returns its index once it is in force on this node.
    async fn purge(
        &self,
        site: &str,
        what: Purging,
        soft: bool,
        author: String,
    ) -> Result<u64, NotPurged>;
}

/// What of a site is to be purged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purging {
    /// A purge identity.
    Url(String),
    /// What begins so.
    Prefix(String),
    /// What carries this tag.
    Tag(String),
}

/// Why something was not purged.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotPurged {
    /// It never will be.
    #[error("{0}")]
    Refused(String),
    /// Not now.
    #[error("{0}")]
    Unavailable(String),
}

/// Nobody to tell.
#[derive(Clone, Copy, Debug)]
pub struct Alone;

#[async_trait]
impl Neighbours for Alone {
    fn tell(&self, _: Invalidation) {}

    async fn purge(&self, _: &str, _: Purging, _: bool, _: String) -> Result<u64, NotPurged> {
        Err(NotPurged::Unavailable("there is no cluster".to_owned()))
    }
}

#[async_trait]
impl Upstream for Origins {
    fn outlook(&self, site: &Arc<Site>) -> Vec<NextHop> {
        let origins = Self::outlook(self, site).into_iter();
        let hops = origins.map(|origin| NextHop {
            origin: origin.name.into(),
            healthy: origin.healthy,
        });
        hops.collect()
    }

    async fn fetch(&self, site: &Arc<Site>, request: Request<Body>) -> Result<Answer, Unanswered> {
        let replay = match request.extensions().get::<MaySwitch>() {
            // What a conversation has begun is not begun anew.
            Some(_) => Replay::Unsent,
            None => Replay::of(request.method()),
        };
        match Self::fetch(self, site, request, replay).await {
            Ok(answer) => Ok(Answer {
                response: answer.response,
                origin: answer.origin,
            }),
            Err(error) => Err(Unanswered {
                status: status_of(&error),
                reason: error.to_string().into(),
            }),
        }
    }
}

/// What the client is told of a fetch without an answer (RFC 9110 §15.6.3, §15.6.5).
fn status_of(error: &UpstreamError) -> StatusCode {
    match (&error.kind, error.side) {
        (UpstreamErrorKind::Content(BodyError::TooLarge { .. }), _) => {
            StatusCode::PAYLOAD_TOO_LARGE
        }
        (UpstreamErrorKind::Content(BodyError::TooSlow), _) => StatusCode::REQUEST_TIMEOUT,
        (UpstreamErrorKind::Full, _) => StatusCode::SERVICE_UNAVAILABLE,
        (_, Side::Client) => StatusCode::BAD_REQUEST,
        (kind, _) if kind.is_timeout() => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_GATEWAY,
    }
}
