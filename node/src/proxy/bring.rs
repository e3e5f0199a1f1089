//! What the cache has not: brought by a fill that others may follow, by following one, or for one client alone.

use std::sync::Arc;
use std::time::Instant;

use http::{Method, StatusCode};
use http_body::Body as _;
use nearside_cache_store::{Fill, FillEnd, Follower};

use super::admit::{Ask, Turned};
use super::answer::{Answered, Errand};
use super::fetch::{Fetched, Job, on_interim, towards_origin, with_body};
use super::fill::{Led, Place};
use super::lookup::Stored;
use super::meta::HttpMeta;
use super::onward;
use super::outcome::{Fwd, Outcome, Own, Passage, Refusal};
use super::ports::Unanswered;
use super::{Proxy, headers, tags, vary};
use crate::exchange::Body;
use crate::view::PurgeVerdict;

impl Proxy {
    /// Leads a fill, or follows one.
    pub(super) async fn go_together(self: &Arc<Self>, errand: Errand<'_>) -> Option<Answered> {
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
                    Ok(Led::Storing {
                        personal,
                        elsewhere,
                        said,
                        origin,
                    }) => {
                        if let Some(elsewhere) = elsewhere {
                            reader = elsewhere;
                        }
                        let meta = match reader.head().await {
                            Ok(meta) => meta,
                            Err(FillEnd::Declined) => return None,
                            // Its body broke off so soon that the client has seen nothing of it yet.
                            Err(FillEnd::Failed(reason)) => {
                                let unanswered = Unanswered {
                                    status: StatusCode::BAD_GATEWAY,
                                    reason,
                                };
                                return Some(self.unanswered(&errand, &unanswered).await);
                            }
                        };
                        let passage = Passage {
                            stored: true,
                            fwd_status: Some(said),
                            origin: Some(origin),
                            ..errand.passage(Outcome::Miss)
                        };
                        let source = (reader.length(), reader);
                        let mut response =
                            self.send_fill(errand.ask, &meta, source, &passage).await;
                        headers::add(response.headers_mut(), &personal);
                        Some((response, passage))
                    }
                    Ok(Led::Unshared {
                        response,
                        refusal,
                        origin,
                    }) => Some(self.unshared(&errand, response, refusal, origin)),
                    Ok(Led::Freshened {
                        entry,
                        personal,
                        origin,
                    }) => self.freshened(&errand, &entry, personal, origin).await,
                    Ok(Led::Broken { response, origin }) => {
                        Some(self.broken(&errand, response, origin).await)
                    }
                    Ok(Led::Unanswered(unanswered)) => {
                        Some(self.unanswered(&errand, &unanswered).await)
                    }
                    // The fill ended without a word: its task was dropped as the node stops.
                    Err(_) => Some(self.lost(&errand)),
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
                let ruling = ask.ruling_for(meta.status, &meta.head);
                let policy = ask.site.rules.policy(&ruling);
                let for_us = vary::matches(&meta.selection, &ask.headers)
                    && meta.freshness.shareable(meta.status, policy, ask.now)
                    && self.is_valid(ask, meta.request_time);
                if !for_us {
                    return Some(self.go_alone(errand).await);
                }
                let passage = Passage {
                    fwd_status: Some(meta.status),
                    collapsed: true,
                    ..errand.passage(Outcome::Miss)
                };
                let source = (follower.length(), follower);
                let response = self.send_fill(ask, &meta, source, &passage).await;
                Some((response, passage))
            }
            // Freshened by a 304, or not for sharing: the next look tells which.
            Err(FillEnd::Declined) => None,
            Err(FillEnd::Failed(reason)) => {
                let unanswered = Unanswered {
                    status: StatusCode::BAD_GATEWAY,
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
    pub(super) async fn go_alone(self: &Arc<Self>, errand: Errand<'_>) -> Answered {
        let job = errand.job(true);
        let fetched = self.fetch(&job).await;
        match fetched {
            Fetched::Storable {
                meta,
                personal,
                body,
                length,
                said,
                origin,
            } => {
                let tag = errand.fill_index;
                let place = self.right_place(errand.ask, &errand.place, &meta).await;
                let Fill::Lead(writer) = self.store.fill(&place.key, None, |_| false, tag) else {
                    // Nobody is joined, so a writer is what comes.
                    return self.lost(&errand);
                };
                let reader = writer.reader();
                let passage = Passage {
                    stored: true,
                    fwd_status: Some(said),
                    origin: Some(origin),
                    ..errand.passage(Outcome::Miss)
                };
                // The writer is told of the length only when its body is begun.
                let source = (length, reader);
                let mut response = self.send_fill(errand.ask, &meta, source, &passage).await;
                headers::add(response.headers_mut(), &personal);
                self.store_late(job, place, *meta, body, length, writer);
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
                self.forget_gone(&job, response.status(), refusal);
                self.unshared(&errand, response, refusal, origin)
            }
            Fetched::NotModified { now, origin } => {
                let Some((stored, _)) = &errand.stored else {
                    return self.lost(&errand);
                };
                let personal = now.personal.clone();
                let entry = self.freshen(&job, stored, *now, &errand.place).await;
                match self.freshened(&errand, &entry, personal, origin).await {
                    Some(answered) => answered,
                    None => {
                        self.pass(errand.ask, Body::Empty, Refusal::Busy, errand.request_id)
                            .await
                    }
                }
            }
            Fetched::Head {
                response,
                now,
                origin,
            } => {
                if let Some((stored, _)) = &errand.stored {
                    match now {
                        Some(now) => drop(self.freshen(&job, stored, *now, &errand.place).await),
                        None => self.store.remove(stored.key()),
                    }
                }
                self.unshared(&errand, response, Refusal::Method, origin)
            }
            Fetched::Broken { response, origin } => self.broken(&errand, response, origin).await,
            Fetched::Unanswered(unanswered) => self.unanswered(&errand, &unanswered).await,
        }
    }

    /// What cannot be, or only as the node stops: a fill that ended without a word.
    fn lost(&self, errand: &Errand<'_>) -> Answered {
        let passage = errand.passage(Outcome::Own(Own::NoOrigin));
        self.turn(errand, Turned::new(Own::NoOrigin), passage)
    }

    /// Brings a stale entry up to date without anyone waiting. Whoever comes second finds a fill running and leaves it
    /// at that.
    pub(super) fn revalidate_in_background(
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
                method: match ask.query {
                    Some(_) => ask.method.clone(),
                    None => Method::GET,
                },
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
                rest: None,
                fwd: Fwd::Stale,
                fill_index,
            };
            let job = Job {
                // Its client has been answered.
                interim: None,
                // An error is no news for readers that are served stale for now.
                covered: true,
                ..errand.job(false)
            };
            drop(self.lead(job, place, writer, permit));
        }
    }

    /// Passes a request through that the cache has no part in, streaming both ways.
    pub(super) async fn pass(
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
        let body = match &ask.query {
            Some(query) => query.body(),
            None if body.is_end_stream() => Body::Empty,
            None => body,
        };
        let mut request = with_body(towards_origin(ask, &self.node, &self.cdn_id), body);
        if let Some(interim) = &ask.client.interim {
            request
                .extensions_mut()
                .insert(on_interim(interim.ticket()));
        }
        let trailers = ask.trailers();
        onward::say(ask, &trailers, &mut request);
        match self.upstream.fetch(&ask.site, request).await {
            Ok(mut answer) => {
                let status = answer.response.status();
                // Said to caches, here as elsewhere.
                tags::take(answer.response.headers_mut(), &ask.site.cache.tags);
                self.invalidate(ask, status, answer.response.headers())
                    .await;
                let passage = Passage {
                    fwd_status: Some(status),
                    origin: Some(answer.origin),
                    ..passage
                };
                let named = trailers.names_of(&answer.response);
                let mut response = self.pass_on(ask, answer.response, &passage);
                onward::to_one_client(&mut response, named);
                if status == StatusCode::SWITCHING_PROTOCOLS {
                    headers::switch(response.headers_mut());
                }
                (response, passage)
            }
            Err(unanswered) => self.no_origin(ask, request_id, passage, &unanswered),
        }
    }
}
