//! Large objects in slices: fetched from the origin in aligned ranges, each stored by itself, so that a range deep in a
//! film costs the slices it lies in, and an object may be larger than what is stored in one piece.
//!
//! What is known of the object (its fields, tag, length and freshness) is an entry of its own; it is what is looked up,
//! found fresh or asked about. Slices are named by the tag too, and read only beside an entry that names it: an answer is
//! of one version, or breaks off. Whoever wants a slice that is being fetched follows that fetch.
//!
//! An origin without ranges, or without a strong tag, answers with the whole, and that is stored as ever.

mod body;
mod object;

use std::sync::Arc;
use std::time::Instant;

use http::{Method, Response, StatusCode};
use nearside_cache_store::{Fill, FillEnd, Follower, Writer};
use tokio::sync::oneshot;

use self::body::{Slices, Step};
use self::object::{Object, slice_ask, whole};
pub(super) use self::object::{about_key, is_about, take_as_whole};
use super::admit::Ask;
use super::answer::{Answered, Errand, circumstances};
use super::fetch::{Fetched, Job};
use super::fill::Place;
use super::lookup::Stored;
use super::meta::HttpMeta;
use super::outcome::{Fwd, Outcome, Passage, Refusal};
use super::parts::{Span, strong_tag};
use super::ports::Unanswered;
use super::respond::Content;
use super::reuse::Reuse;
use super::{Proxy, headers, range, vary};
use crate::exchange::Body;
use crate::view::PurgeVerdict;

/// What `Cache-Status` says where a site wants slices and its origin gives the whole.
const NOT_SLICED: &str = "not-sliced";

/// Where a request goes that might be answered in slices.
pub(super) enum Way {
    /// To its end.
    Answered(Box<Answered>),
    /// Back: there is more to be found by now.
    Look,
    /// On, as if there were no slices.
    Usual,
}

/// What came of asking an origin what an object is.
enum Told {
    /// It is in slices; what was stored of it was found good, or the origin's answer is new.
    Known {
        about: Stored,
        said: StatusCode,
    },
    /// It comes whole.
    Whole {
        reader: Follower<HttpMeta>,
        meta: Box<HttpMeta>,
        length: Option<u64>,
        personal: http::HeaderMap,
        origin: Box<str>,
    },
    Unshared {
        response: Response<Body>,
        refusal: Refusal,
        origin: Box<str>,
    },
    Broken {
        response: Response<Body>,
        origin: Box<str>,
    },
    Unanswered(Unanswered),
    /// Asked for whole, it may be something better.
    Again,
}

/// Back to look again, where what was known of slices counts no more.
fn look(errand: &mut Errand<'_>) -> Way {
    errand.stored = None;
    Way::Look
}

/// May those who waited share what was told?
fn shareable(ask: &Ask, meta: &HttpMeta) -> bool {
    let ruling = ask.ruling_for(meta.status, &meta.head);
    let policy = ask.site.rules.policy(&ruling);
    meta.freshness.shareable(meta.status, policy, ask.now)
}

impl Ask {
    /// The size of the slices in which this request's object is fetched, where it is. Those that nobody else may share
    /// go to the origin as they are.
    pub(super) fn slice_bytes(&self) -> Option<u64> {
        let size = self.policy().slice?.bytes();
        // The content of a query goes with each request.
        (size > 0 && self.query.is_none() && (self.joins_others() || self.method == Method::HEAD))
            .then_some(size)
    }
}

impl Proxy {
    /// Answers in slices, where that is the way.
    pub(super) async fn answer_in_slices(
        self: &Arc<Self>,
        errand: &mut Errand<'_>,
        slice_bytes: u64,
    ) -> Way {
        let ask = errand.ask;
        let key = self.store.key(about_key(errand.place.primary.whole()));
        if self.marks.is_solo(key.whole(), Instant::now()) {
            return Way::Usual;
        }
        let known = self.store.lookup(&key).await;
        let known = known.filter(|entry| vary::matches(&entry.meta().selection, &ask.headers));
        let known = known.and_then(|entry| self.usable(ask, entry));
        if let Some((about, purge)) = &known {
            let meta = about.meta();
            let ruling = ask.ruling_for(meta.status, &meta.head);
            let at = circumstances(ask, &ruling, meta.status, *purge);
            let found = match meta.freshness.reuse(at) {
                Reuse::Fresh { ttl_s } => Some((Outcome::Hit, ttl_s)),
                Reuse::AcceptedStale { ttl_s } => Some((Outcome::Stale, ttl_s)),
                Reuse::WhileRevalidate { ttl_s } => {
                    self.ask_in_background(errand, about, *purge, slice_bytes);
                    Some((Outcome::Stale, ttl_s.min(0)))
                }
                Reuse::Revalidate { .. } => None,
            };
            if let Some((outcome, ttl_s)) = found {
                let passage = Passage {
                    ttl_s: Some(ttl_s),
                    ..Passage::new(outcome)
                };
                let sent = self.send_slices(ask, about, passage, slice_bytes).await;
                return sent.map_or(Way::Look, |sent| Way::Answered(Box::new(sent)));
            }
            errand.fwd = Fwd::Stale;
        }
        if ask.method == Method::HEAD || ask.directives.only_if_cached {
            return Way::Usual;
        }
        errand.stored = known;
        let joins = |tag| self.purges.verdict(ask.identity(), tag) == PurgeVerdict::Usable;
        let seen = errand.stored.as_ref().map(|(about, _)| about);
        let mut fill = self.store.fill(&key, seen, joins, errand.fill_index);
        if let Fill::Follow(follower) = &mut fill {
            self.metrics.collapsed.inc();
            match follower.head().await {
                Ok(meta) if shareable(ask, &meta) => {
                    // It has no body; at its end it can be found.
                    while let Some(Ok(_)) = follower.next().await {}
                    return look(errand);
                }
                Err(FillEnd::Declined) => return look(errand),
                // As with whole objects, what must be asked about each time is asked about by each.
                Ok(_) => fill = self.store.fill(&key, None, |_| false, errand.fill_index),
                Err(FillEnd::Failed(reason)) => {
                    let status = StatusCode::BAD_GATEWAY;
                    let unanswered = Unanswered { status, reason };
                    return Way::Answered(Box::new(self.unanswered(errand, &unanswered).await));
                }
            }
        }
        let told = match fill {
            Fill::Lead(writer) => self.ask_about(errand, slice_bytes, writer),
            Fill::Stored(_) | Fill::Follow(_) => return look(errand),
        };
        let told = match told {
            Some(told) => told.await.unwrap_or(Told::Again),
            None => Told::Again,
        };
        match self.told(errand, told, slice_bytes).await {
            Some(answered) => Way::Answered(Box::new(answered)),
            None => look(errand),
        }
    }

    async fn told(
        self: &Arc<Self>,
        errand: &mut Errand<'_>,
        told: Told,
        slice_bytes: u64,
    ) -> Option<Answered> {
        match told {
            Told::Known { about, said } => {
                let validated = said == StatusCode::NOT_MODIFIED;
                let outcome = if validated {
                    Outcome::Revalidated
                } else {
                    Outcome::Miss
                };
                let passage = Passage {
                    fwd_status: Some(said),
                    stored: !validated,
                    ..errand.passage(outcome)
                };
                self.send_slices(errand.ask, &about, passage, slice_bytes)
                    .await
            }
            Told::Whole {
                reader,
                meta,
                length,
                personal,
                origin,
            } => {
                let passage = Passage {
                    stored: true,
                    fwd_status: Some(meta.status),
                    origin: Some(origin),
                    ..errand.passage(Outcome::Miss)
                };
                let passage = match meta.status {
                    StatusCode::OK => passage.with_detail(NOT_SLICED),
                    _ => passage,
                };
                let source = (length, reader);
                let mut response = self.send_fill(errand.ask, &meta, source, &passage).await;
                headers::add(response.headers_mut(), &personal);
                Some((response, passage))
            }
            Told::Unshared {
                response,
                refusal,
                origin,
            } => Some(self.unshared(errand, response, refusal, origin)),
            Told::Broken { response, origin } => Some(self.broken(errand, response, origin).await),
            Told::Unanswered(unanswered) => Some(self.unanswered(errand, &unanswered).await),
            Told::Again => None,
        }
    }

    /// Asks the origin what the object is by asking for the slice that the request begins in. Goes on without the
    /// client. None where as many fetches are running as may.
    fn ask_about(
        self: &Arc<Self>,
        errand: &Errand<'_>,
        slice_bytes: u64,
        writer: Writer<HttpMeta>,
    ) -> Option<oneshot::Receiver<Told>> {
        let Ok(permit) = Arc::clone(&self.fill_permits).try_acquire_owned() else {
            writer.decline();
            return None;
        };
        let ask = errand.ask;
        let begin = match (range::begin(&ask.headers), &errand.stored) {
            (Some(Some(first)), _) => first,
            (Some(None), Some((about, _))) => {
                let span = Span::of_answer(&about.meta().head);
                // The slice in which the last byte is: most suffixes are short.
                span.map_or(0, |span| span.total_bytes - 1)
            }
            _ => 0,
        };
        let number = begin / slice_bytes;
        let start = number.saturating_mul(slice_bytes);
        let wanted = start..start.saturating_add(slice_bytes);
        let job = Job {
            ask: slice_ask(ask, &wanted),
            sliced: true,
            interim: None,
            ..errand.job(true)
        };
        let (tell, told) = oneshot::channel();
        let (proxy, place) = (Arc::clone(self), errand.place.clone());
        let asking = async move {
            proxy
                .run_asking(job, place, (number, slice_bytes), writer, tell)
                .await;
            drop(permit);
        };
        self.fill_tasks.spawn_on(asking, &self.fills);
        Some(told)
    }

    async fn run_asking(
        self: &Arc<Self>,
        job: Job,
        place: Place,
        (number, slice_bytes): (u64, u64),
        writer: Writer<HttpMeta>,
        tell: oneshot::Sender<Told>,
    ) {
        self.metrics.fills.inc();
        let about_key = about_key(place.primary.whole());
        let not_sliced = || self.marks.set_solo(&about_key, Instant::now());
        let told = match self.fetch(&job).await {
            Fetched::NotModified { now, .. } => match &job.stored {
                Some(stored) => {
                    let about = self.freshen(&job, stored, *now, &place).await;
                    writer.decline();
                    let said = StatusCode::NOT_MODIFIED;
                    Told::Known { about, said }
                }
                None => Told::Again,
            },
            Fetched::Storable {
                meta,
                body,
                length,
                said,
                personal,
                origin,
            } => {
                let object = Object::new(self, &job.ask, &meta, slice_bytes);
                let slice = object.filter(|_| meta.status == StatusCode::PARTIAL_CONTENT);
                if let Some(object) = slice {
                    let asked_for = Span::of_answer(&meta.head)
                        .is_some_and(|span| span.range == object.range(number));
                    if !asked_for || strong_tag(&meta.head).is_none() {
                        not_sliced();
                        writer.decline();
                        drop(tell.send(Told::Again));
                        return;
                    }
                    let Fill::Lead(mut slice) =
                        self.store
                            .fill(&object.key(number), None, |_| false, job.fill_index)
                    else {
                        return;
                    };
                    slice.head((*meta).clone(), length);
                    // The slice can be followed before anyone learns of the object.
                    let known = object::about(writer, &meta);
                    let told = known.map_or(Told::Again, |about| Told::Known { about, said });
                    drop(tell.send(told));
                    object::write(slice, body).await;
                    return;
                }
                let place = self.right_place(&job.ask, &place, &meta).await;
                let joins = |_| false;
                let Fill::Lead(whole) = self.store.fill(&place.key, None, joins, job.fill_index)
                else {
                    return;
                };
                not_sliced();
                let told = Told::Whole {
                    reader: whole.reader(),
                    meta: meta.clone(),
                    length,
                    personal,
                    origin,
                };
                self.store_late(job, place, *meta, body, length, whole);
                // Those who wait here look again, and find the fill.
                writer.decline();
                told
            }
            Fetched::Unshared {
                response,
                refusal,
                origin,
            } => {
                let status = response.status();
                not_sliced();
                writer.decline();
                let of_no_use = status == StatusCode::PARTIAL_CONTENT
                    || status == StatusCode::RANGE_NOT_SATISFIABLE && number == 0;
                if of_no_use {
                    Told::Again
                } else {
                    Told::Unshared {
                        response,
                        refusal,
                        origin,
                    }
                }
            }
            Fetched::Broken { response, origin } => {
                writer.fail(format!("{origin} answered {}", response.status().as_u16()));
                Told::Broken { response, origin }
            }
            Fetched::Unanswered(unanswered) => {
                writer.fail(Arc::clone(&unanswered.reason));
                Told::Unanswered(unanswered)
            }
            // Slices are asked for by GET.
            Fetched::Head { .. } => Told::Again,
        };
        // The client may have gone.
        drop(tell.send(told));
    }

    fn ask_in_background(
        self: &Arc<Self>,
        errand: &Errand<'_>,
        about: &Stored,
        purge: PurgeVerdict,
        slice_bytes: u64,
    ) {
        let joins = |tag| self.purges.verdict(errand.ask.identity(), tag) == PurgeVerdict::Usable;
        if let Fill::Lead(writer) =
            self.store
                .fill(about.key(), Some(about), joins, errand.fill_index)
        {
            let errand = Errand {
                ask: errand.ask,
                request_id: 0,
                place: errand.place.clone(),
                stored: Some((Arc::clone(about), purge)),
                rest: None,
                fwd: Fwd::Stale,
                fill_index: errand.fill_index,
            };
            drop(self.ask_about(&errand, slice_bytes, writer));
        }
    }

    /// Answers with the slices that the request is about. None where the first of them is not to be had.
    pub(super) async fn send_slices(
        self: &Arc<Self>,
        ask: &Ask,
        about: &Stored,
        mut passage: Passage,
        slice_bytes: u64,
    ) -> Option<Answered> {
        let object = Arc::new(Object::new(self, ask, about.meta(), slice_bytes)?);
        let meta = whole(about.meta());
        let length = (Some(object.total_bytes), true);
        let (mut response, content) = self.head(ask, &meta, length, &passage);
        let steps = match content {
            Content::Nothing => return Some((response, passage)),
            Content::Bytes(range) => vec![Step::Bytes(range)],
            Content::Parts(several) => {
                let mut steps = Vec::new();
                for (head, range) in several.parts {
                    steps.extend([Step::Text(head), Step::Bytes(range)]);
                }
                steps.push(Step::Text(several.end));
                steps
            }
        };
        let first = steps.iter().find_map(|step| match step {
            Step::Bytes(range) if !range.is_empty() => Some(range.start),
            _ => None,
        });
        let opened = match first {
            Some(offset) => match object.open(offset).await {
                Ok((source, was_stored)) => Some((offset, source, was_stored)),
                Err(error) => {
                    tracing::debug!(site = &*ask.site.name, %error, "the first slice is not to be had");
                    return None;
                }
            },
            None => None,
        };
        if opened
            .as_ref()
            .is_some_and(|(_, _, was_stored)| !was_stored)
            && passage.fwd.is_none()
        {
            // Known, but not here.
            passage.fwd = Some(Fwd::Partial);
            passage.fwd_status = Some(StatusCode::PARTIAL_CONTENT);
            passage.stored = true;
            passage.outcome = Outcome::Miss;
            self.sign_anew(response.headers_mut(), &passage);
        }
        let first = opened.map(|(offset, source, _)| (offset, source));
        *response.body_mut() = Slices::new(object, steps, first).into_body();
        Some((response, passage))
    }
}
