//! From an admitted request to its answer: look up, reuse, or bring what is missing.

use std::sync::Arc;
use std::time::Instant;

use http::{Method, Response};
use http_body::Body as _;
use nearside_cache_store::{Fill, FillEnd, Follower};

use super::admit::{Ask, Turned};
use super::fetch::{Fetched, Job, fetch, towards_origin};
use super::fill::{Led, Place};
use super::lookup::{Found, Stored};
use super::meta::HttpMeta;
use super::outcome::{Fwd, Outcome, Own, Passage, Refusal};
use super::ports::Unanswered;
use super::reuse::{Because, Circumstances, Reuse};
use super::{Proxy, vary};
use crate::exchange::Body;
use crate::view::PurgeVerdict;

/// How often a request looks again because what it waited for ended without being of use to it. After that it goes
/// to the origin by itself.
const LOOKS: usize = 3;

/// An answer, and how it came about.
pub(super) type Answered = (Response<Body>, Passage);

/// A request on its way to the origin, with what may help if that does not answer.
struct Errand<'a> {
    ask: &'a Arc<Ask>,
    request_id: u64,
    place: Place,
    stored: Option<(Stored, PurgeVerdict)>,
    fwd: Fwd,
    fill_index: u64,
}

impl Errand<'_> {
    fn job(&self, keeps_conditions: bool) -> Job {
        Job {
            ask: Arc::clone(self.ask),
            stored: self.stored.as_ref().map(|(entry, _)| Arc::clone(entry)),
            fill_index: self.fill_index,
            keeps_conditions,
        }
    }

    fn passage(&self, outcome: Outcome) -> Passage {
        Passage {
            fwd: Some(self.fwd),
            ..Passage::new(outcome)
        }
    }
}

impl Proxy {
    /// Answers an admitted request.
    pub(super) async fn answer(
        self: &Arc<Self>,
        ask: &Arc<Ask>,
        body: Body,
        request_id: u64,
    ) -> Answered {
        if let Some(refusal) = ask.bypass(!body.is_end_stream()) {
            return self.pass(ask, body, refusal, request_id).await;
        }
        for look in 0..LOOKS {
            let found = self.find(ask).await;
            if let Some(answered) = self
                .answer_found(ask, found, request_id, look + 1 == LOOKS)
                .await
            {
                return answered;
            }
        }
        // The last look goes alone, and only a body lost from disk under it brings us here.
        self.pass(ask, Body::Empty, Refusal::Busy, request_id).await
    }

    /// One look; none when it is worth another.
    async fn answer_found(
        self: &Arc<Self>,
        ask: &Arc<Ask>,
        found: Found,
        request_id: u64,
        alone: bool,
    ) -> Option<Answered> {
        // Before any origin is chosen, so that a purge from here on is newer than what comes.
        let fill_index = self.purges.applied();
        let Found {
            primary,
            key,
            stored,
            mut fwd,
        } = found;
        if let Some((entry, purge)) = &stored {
            let outcome = match entry
                .meta()
                .freshness
                .reuse(circumstances(ask, entry, *purge))
            {
                Reuse::Fresh { ttl_s } => Some((Outcome::Hit, ttl_s)),
                Reuse::AcceptedStale { ttl_s } => Some((Outcome::Stale, ttl_s)),
                Reuse::WhileRevalidate { ttl_s } => {
                    self.revalidate_in_background(ask, &primary, &key, entry, *purge, fill_index);
                    Some((Outcome::Stale, ttl_s.min(0)))
                }
                Reuse::Revalidate {
                    because: Because::Stale,
                } => {
                    fwd = Fwd::Stale;
                    None
                }
                Reuse::Revalidate {
                    because: Because::Request,
                } => {
                    fwd = Fwd::Request;
                    None
                }
            };
            if let Some((outcome, ttl_s)) = outcome {
                let passage = Passage {
                    ttl_s: Some(ttl_s),
                    ..Passage::new(outcome)
                };
                let response = self.send_entry(ask, entry, &passage).await?;
                return Some((response, passage));
            }
        }
        let place = Place { primary, key };
        let errand = Errand {
            ask,
            request_id,
            place,
            stored,
            fwd,
            fill_index,
        };
        if ask.directives.only_if_cached {
            return Some(self.turn(&errand, Turned::new(Own::OnlyIfCached)));
        }
        let alone = alone
            || !ask.joins_others()
            || self.marks.is_solo(errand.place.key.whole(), Instant::now());
        if alone {
            return Some(self.go_alone(errand).await);
        }
        self.go_together(errand).await
    }

    /// Leads a fill, or follows one.
    async fn go_together(self: &Arc<Self>, errand: Errand<'_>) -> Option<Answered> {
        let Ok(permit) = Arc::clone(&self.fill_permits).try_acquire_owned() else {
            return Some(self.go_alone(errand).await);
        };
        let joins = |tag| self.purges.verdict(errand.ask.identity(), tag) == PurgeVerdict::Usable;
        let seen = errand.stored.as_ref().map(|(entry, _)| entry);
        match self
            .store
            .fill(&errand.place.key, seen, joins, errand.fill_index)
        {
            Fill::Stored(_) => None,
            Fill::Follow(follower) => {
                drop(permit);
                self.metrics.collapsed.inc();
                self.follow(errand, follower).await
            }
            Fill::Lead(writer) => {
                let mut reader = writer.reader();
                let told = self.lead(errand.job(false), errand.place.clone(), writer, permit);
                match told.await {
                    Ok(Led::Storing { origin }) => {
                        let meta = reader.head().await.ok()?;
                        let passage = Passage {
                            stored: true,
                            fwd_status: Some(meta.status),
                            origin: Some(origin),
                            ..errand.passage(Outcome::Miss)
                        };
                        Some((self.send_fill(errand.ask, &meta, reader, &passage), passage))
                    }
                    Ok(Led::Unshared {
                        response,
                        refusal,
                        origin,
                    }) => Some(self.unshared(&errand, response, refusal, origin)),
                    Ok(Led::Freshened { entry, origin }) => {
                        self.freshened(&errand, &entry, origin).await
                    }
                    Ok(Led::Broken { response, origin }) => {
                        Some(self.broken(&errand, response, origin).await)
                    }
                    Ok(Led::Unanswered(unanswered)) => {
                        Some(self.unanswered(&errand, &unanswered).await)
                    }
                    // The fill ended without a word: its task was dropped as the node stops.
                    Err(_) => Some(self.turn(&errand, Turned::new(Own::NoOrigin))),
                }
            }
        }
    }

    /// Waits for another's fetch.
    async fn follow(
        self: &Arc<Self>,
        errand: Errand<'_>,
        mut follower: Follower<HttpMeta>,
    ) -> Option<Answered> {
        match follower.head().await {
            Ok(meta) => {
                let ask = errand.ask;
                let for_us = vary::matches(&meta.selection, &ask.headers)
                    && meta.freshness.shareable(meta.status, ask.ruling, ask.now)
                    && self.marks.is_valid(&ask.url, meta.request_time);
                if !for_us {
                    return Some(self.go_alone(errand).await);
                }
                let passage = Passage {
                    fwd_status: Some(meta.status),
                    collapsed: true,
                    ..errand.passage(Outcome::Miss)
                };
                Some((self.send_fill(ask, &meta, follower, &passage), passage))
            }
            // Freshened by a 304, or not for sharing: the next look tells which.
            Err(FillEnd::Declined) => None,
            Err(FillEnd::Failed(reason)) => {
                let unanswered = Unanswered {
                    status: http::StatusCode::BAD_GATEWAY,
                    reason,
                };
                let (response, passage) = self.unanswered(&errand, &unanswered).await;
                Some((
                    response,
                    Passage {
                        collapsed: true,
                        ..passage
                    },
                ))
            }
        }
    }

    /// Asks for this client alone, and stores the answer if it may be. The question ends with the client.
    async fn go_alone(self: &Arc<Self>, errand: Errand<'_>) -> Answered {
        let job = errand.job(true);
        let fetched = fetch(&*self.upstream, &self.node, &self.cdn_id, &job).await;
        match fetched {
            Fetched::Storable {
                meta,
                body,
                length,
                origin,
            } => {
                let tag = errand.fill_index;
                let Fill::Lead(writer) = self.store.fill(&errand.place.key, None, |_| false, tag)
                else {
                    // Nobody is joined, so a writer is what comes.
                    return self.turn(&errand, Turned::new(Own::NoOrigin));
                };
                let reader = writer.reader();
                let passage = Passage {
                    stored: true,
                    fwd_status: Some(meta.status),
                    origin: Some(origin),
                    ..errand.passage(Outcome::Miss)
                };
                let response = self.send_fill(errand.ask, &meta, reader, &passage);
                self.store_late(job, errand.place.clone(), *meta, body, length, writer);
                (response, passage)
            }
            Fetched::Unshared {
                response,
                refusal,
                origin,
            } => {
                if errand.ask.joins_others() {
                    self.marks
                        .set_solo(errand.place.key.whole(), Instant::now());
                }
                self.unshared(&errand, response, refusal, origin)
            }
            Fetched::NotModified { meta, origin } => {
                let stored = errand.stored.as_ref().map(|(entry, _)| Arc::clone(entry));
                let Some(stored) = stored else {
                    return self.turn(&errand, Turned::new(Own::NoOrigin));
                };
                let entry = self.store.touch(&stored, *meta, errand.fill_index);
                match self.freshened(&errand, &entry, origin).await {
                    Some(answered) => answered,
                    None => {
                        self.pass(errand.ask, Body::Empty, Refusal::Busy, errand.request_id)
                            .await
                    }
                }
            }
            Fetched::Broken { response, origin } => self.broken(&errand, response, origin).await,
            Fetched::Unanswered(unanswered) => self.unanswered(&errand, &unanswered).await,
        }
    }

    /// Brings a stale entry up to date without anyone waiting. Whoever comes second finds a fill running and leaves it
    /// at that.
    fn revalidate_in_background(
        self: &Arc<Self>,
        ask: &Arc<Ask>,
        primary: &nearside_cache_store::Key,
        key: &nearside_cache_store::Key,
        entry: &Stored,
        purge: PurgeVerdict,
        fill_index: u64,
    ) {
        let Ok(permit) = Arc::clone(&self.fill_permits).try_acquire_owned() else {
            return;
        };
        let joins = |tag| self.purges.verdict(ask.identity(), tag) == PurgeVerdict::Usable;
        if let Fill::Lead(writer) = self.store.fill(key, Some(entry), joins, fill_index) {
            // A HEAD may be what found it stale; the object is fetched all the same.
            let ask = Arc::new(Ask {
                method: Method::GET,
                ..Ask::clone(ask)
            });
            let place = Place {
                primary: primary.clone(),
                key: key.clone(),
            };
            let errand = Errand {
                ask: &ask,
                request_id: 0,
                place: place.clone(),
                stored: Some((Arc::clone(entry), purge)),
                fwd: Fwd::Stale,
                fill_index,
            };
            drop(self.lead(errand.job(false), place, writer, permit));
        }
    }

    /// Passes a request through that the cache has no part in, streaming both ways.
    async fn pass(
        self: &Arc<Self>,
        ask: &Arc<Ask>,
        body: Body,
        refusal: Refusal,
        request_id: u64,
    ) -> Answered {
        let fwd = if refusal == Refusal::Method {
            Fwd::Method
        } else {
            Fwd::Bypass
        };
        let passage = Passage {
            fwd: Some(fwd),
            ..Passage::new(Outcome::Bypass(refusal))
        };
        // A body known to be empty can be sent again to another origin, a stream cannot.
        let body = if body.is_end_stream() {
            Body::Empty
        } else {
            body
        };
        let request = towards_origin(ask, &self.node, &self.cdn_id, body);
        match self.upstream.fetch(&ask.site, request).await {
            Ok(answer) => {
                let status = answer.response.status();
                self.invalidate(ask, status, answer.response.headers())
                    .await;
                let passage = Passage {
                    fwd_status: Some(status),
                    origin: Some(answer.origin),
                    ..passage
                };
                (self.pass_on(answer.response, &passage), passage)
            }
            Err(unanswered) => self.no_origin(ask, request_id, passage, &unanswered),
        }
    }

    fn unshared(
        &self,
        errand: &Errand<'_>,
        response: Response<Body>,
        refusal: Refusal,
        origin: Box<str>,
    ) -> Answered {
        let passage = Passage {
            fwd_status: Some(response.status()),
            origin: Some(origin),
            ..errand.passage(Outcome::Uncacheable(refusal))
        };
        (self.pass_on(response, &passage), passage)
    }

    async fn freshened(
        &self,
        errand: &Errand<'_>,
        entry: &Stored,
        origin: Box<str>,
    ) -> Option<Answered> {
        let meta = entry.meta();
        let ask = Ask {
            now: meta.freshness.response_time,
            ..Ask::clone(errand.ask)
        };
        let passage = Passage {
            fwd_status: Some(http::StatusCode::NOT_MODIFIED),
            ttl_s: Some(meta.freshness.ttl_s(meta.status, ask.ruling, ask.now)),
            origin: Some(origin),
            ..errand.passage(Outcome::Revalidated)
        };
        let response = self.send_entry(&ask, entry, &passage).await?;
        Some((response, passage))
    }

    /// The origin answered 500, 502, 503 or 504: something stale in its place, where that is allowed.
    async fn broken(
        &self,
        errand: &Errand<'_>,
        response: Response<Body>,
        origin: Box<str>,
    ) -> Answered {
        let status = Some(response.status());
        match self.stale_if_error(errand, status).await {
            Some(answered) => answered,
            None => self.unshared(errand, response, Refusal::Status, origin),
        }
    }

    async fn unanswered(&self, errand: &Errand<'_>, unanswered: &Unanswered) -> Answered {
        match self.stale_if_error(errand, None).await {
            Some(answered) => answered,
            None => {
                let passage = errand.passage(Outcome::Own(Own::NoOrigin));
                self.no_origin(errand.ask, errand.request_id, passage, unanswered)
            }
        }
    }

    async fn stale_if_error(
        &self,
        errand: &Errand<'_>,
        fwd_status: Option<http::StatusCode>,
    ) -> Option<Answered> {
        let (entry, purge) = errand.stored.as_ref()?;
        let freshness = entry.meta().freshness;
        if !freshness.stale_if_error(circumstances(errand.ask, entry, *purge)) {
            return None;
        }
        let ttl_s = freshness.ttl_s(entry.meta().status, errand.ask.ruling, errand.ask.now);
        let passage = Passage {
            fwd_status,
            ttl_s: Some(ttl_s),
            ..errand.passage(Outcome::StaleIfError)
        };
        let response = self.send_entry(errand.ask, entry, &passage).await?;
        Some((response, passage))
    }

    fn turn(&self, errand: &Errand<'_>, turned: Turned) -> Answered {
        let passage = errand.passage(Outcome::Own(turned.own));
        let response = self.own(&turned, &errand.ask.method, errand.request_id, &passage);
        (response, passage)
    }

    fn no_origin(
        &self,
        ask: &Ask,
        request_id: u64,
        passage: Passage,
        unanswered: &Unanswered,
    ) -> Answered {
        tracing::debug!(
            site = &*ask.site.name,
            reason = &*unanswered.reason,
            "no origin answered"
        );
        let turned = Turned::new(Own::NoOrigin);
        let passage = Passage {
            outcome: Outcome::Own(Own::NoOrigin),
            ..passage
        };
        let response = self.own_with(
            unanswered.status,
            &turned,
            &ask.method,
            request_id,
            &passage,
        );
        (response, passage)
    }
}

fn circumstances<'a>(ask: &'a Ask, entry: &Stored, purge: PurgeVerdict) -> Circumstances<'a> {
    Circumstances {
        status: entry.meta().status,
        request: &ask.directives,
        site: &ask.site.cache,
        ruling: ask.ruling,
        purge,
        now: ask.now,
    }
}
