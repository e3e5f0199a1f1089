//! Fills: fetches that outlive the client that began them, and that any number of readers follow.
//!
//! They run on the runtime that owns the origin pools. Their number is bounded; beyond it requests are passed through.
//! What the leader's client needs to know is sent to it as a [`Led`], at the moment the head is known.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt as _;
use nearside_cache_store::{Fill, Finished, Follower, Key, Writer};
use tokio::sync::oneshot;

use super::Proxy;
use super::fetch::{Fetched, Job};
use super::freshen::Freshened;
use super::lookup::Stored;
use super::meta::HttpMeta;
use super::outcome::Refusal;
use super::ports::Unanswered;
use super::variants::fields_of;
use crate::exchange::Body;

/// What a leader's own client is told.
#[derive(Debug)]
pub(super) enum Led {
    /// The answer is being stored; read it as a follower does.
    Storing {
        /// Fields for this client only.
        personal: HeaderMap,
        /// Where to read it, when that is not where the fill was begun.
        elsewhere: Option<Follower<HttpMeta>>,
        /// What the origin answered with.
        said: StatusCode,
        origin: Box<str>,
    },
    /// The answer is for this client only.
    Unshared {
        response: Response<Body>,
        refusal: Refusal,
        origin: Box<str>,
    },
    /// What was stored is still good.
    Freshened {
        entry: Stored,
        /// Fields for this client only.
        personal: HeaderMap,
        origin: Box<str>,
    },
    /// The origin is broken.
    Broken {
        response: Response<Body>,
        origin: Box<str>,
    },
    /// Nobody answered.
    Unanswered(Unanswered),
}

/// Where an answer goes if it may be stored.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) primary: Key,
    pub(super) key: Key,
}

impl Proxy {
    /// Starts a fill that is led by this request, on the fills' runtime. The receiver hears of the head; dropping it
    /// does not stop the fill.
    pub(super) fn lead(
        self: &Arc<Self>,
        job: Job,
        place: Place,
        writer: Writer<HttpMeta>,
        permit: tokio::sync::OwnedSemaphorePermit,
    ) -> oneshot::Receiver<Led> {
        let (tell, told) = oneshot::channel();
        let proxy = Arc::clone(self);
        let fill = async move {
            proxy.run_fill(job, place, writer, tell).await;
            drop(permit);
        };
        self.fill_tasks.spawn_on(fill, &self.fills);
        told
    }

    async fn run_fill(
        &self,
        job: Job,
        place: Place,
        mut writer: Writer<HttpMeta>,
        tell: oneshot::Sender<Led>,
    ) {
        self.metrics.fills.inc();
        let fetched = self.fetch(&job).await;
        let led = match fetched {
            Fetched::Storable {
                meta,
                personal,
                body,
                length,
                said,
                origin,
            } => {
                let right = self.right_place(&job.ask, &place, &meta).await;
                let mut elsewhere = None;
                self.note_shareable(&job, &right, &meta);
                self.note_variant(&right, &meta, job.stored.as_ref()).await;
                if right.key != place.key
                    && let Fill::Lead(moved) =
                        self.store.fill(&right.key, None, |_| false, job.fill_index)
                {
                    elsewhere = Some(moved.reader());
                    // Those who wait here look again, and know then by what it is chosen.
                    std::mem::replace(&mut writer, moved).decline();
                }
                let asked = meta.request_time;
                let part = as_part(&meta);
                writer.head(*meta, length);
                let led = Led::Storing {
                    personal,
                    elsewhere,
                    said,
                    origin,
                };
                tell_leader(tell, led);
                self.write_body(&job, &right, writer, body, part, asked)
                    .await;
                return;
            }
            Fetched::NotModified { now, origin } => match &job.stored {
                Some(stored) => {
                    self.note_shareable(&job, &place, &now.meta);
                    let personal = now.personal.clone();
                    let entry = self.freshen(&job, stored, *now, &place).await;
                    // Followers look again, and find it fresh.
                    writer.decline();
                    Led::Freshened {
                        entry,
                        personal,
                        origin,
                    }
                }
                None => return,
            },
            // Fills ask by GET.
            Fetched::Head {
                response, origin, ..
            } => Led::Unshared {
                response,
                refusal: Refusal::Method,
                origin,
            },
            Fetched::Unshared {
                response,
                refusal,
                origin,
            } => {
                if !matches!(refusal, Refusal::RequestNoStore | Refusal::Authorization) {
                    self.marks.set_solo(place.key.whole(), Instant::now());
                }
                self.forget_gone(&job, response.status(), refusal);
                writer.decline();
                Led::Unshared {
                    response,
                    refusal,
                    origin,
                }
            }
            Fetched::Broken { response, origin } => {
                writer.fail(format!("{origin} answered {}", response.status().as_u16()));
                Led::Broken { response, origin }
            }
            Fetched::Unanswered(unanswered) => {
                writer.fail(Arc::clone(&unanswered.reason));
                Led::Unanswered(unanswered)
            }
        };
        tell_leader(tell, led);
    }

    /// Stores an answer that was fetched for one client and turns out to be storable. The returned follower is that
    /// client's.
    pub(super) fn store_late(
        self: &Arc<Self>,
        job: Job,
        place: Place,
        meta: HttpMeta,
        body: Body,
        length: Option<u64>,
        mut writer: Writer<HttpMeta>,
    ) {
        let proxy = Arc::clone(self);
        let fill = async move {
            proxy.metrics.fills.inc();
            proxy.note_shareable(&job, &place, &meta);
            proxy.note_variant(&place, &meta, job.stored.as_ref()).await;
            let (part, asked) = (as_part(&meta), meta.request_time);
            writer.head(meta, length);
            proxy
                .write_body(&job, &place, writer, body, part, asked)
                .await;
        };
        self.fill_tasks.spawn_on(fill, &self.fills);
    }

    /// Brings the body into the store. A body that breaks off is never stored as complete, and its readers see it break.
    /// Nor does one stay that a write has made unusable since it was `asked` for: its mark may be pushed out later. `part`
    /// is the metadata where it is a part.
    async fn write_body(
        &self,
        job: &Job,
        place: &Place,
        mut writer: Writer<HttpMeta>,
        mut body: Body,
        part: Option<HttpMeta>,
        asked: SystemTime,
    ) {
        let max_bytes = job.ask.site.cache.body_max_bytes;
        let mut written_bytes = 0_u64;
        while let Some(frame) = body.frame().await {
            match frame {
                Err(error) => {
                    tracing::debug!(site = &*job.ask.site.name, %error, "fill broke off");
                    if let Some(broken) = writer.break_off_with(error.to_string())
                        && self.is_valid(&job.ask, asked)
                    {
                        self.keep_beginning(place, broken, max_bytes).await;
                    }
                    return;
                }
                Ok(frame) => {
                    let Ok(piece) = frame.into_data() else {
                        continue;
                    };
                    written_bytes += piece.len() as u64;
                    if let Err(error) = writer.write(piece).await {
                        tracing::debug!(site = &*job.ask.site.name, %error, "fill broke off");
                        return;
                    }
                }
            }
        }
        match writer.finish() {
            Ok(Finished::InMemory(_) | Finished::OnDisk) if !self.is_valid(&job.ask, asked) => {
                self.store.remove(&place.key);
            }
            // Its length was not known before, and is more than the site wants stored.
            Ok(Finished::InMemory(_) | Finished::OnDisk) if written_bytes > max_bytes => {
                self.store.remove(&place.key);
            }
            Ok(Finished::InMemory(_) | Finished::OnDisk) => match part {
                Some(part) => self.note_part(place, &part, max_bytes).await,
                None => self.drop_parts(&place.primary, place.key.whole()).await,
            },
            Ok(Finished::Nowhere) => {}
            Err(error) => {
                tracing::debug!(site = &*job.ask.site.name, %error, "fill broke off");
            }
        }
    }

    /// Puts into the store what an origin's word has made of a response. What may not stay is good for the one who
    /// asked, and gone; so is what would be looked for elsewhere, as it is chosen by other fields now.
    pub(super) async fn freshen(
        &self,
        job: &Job,
        stored: &Stored,
        now: Freshened,
        place: &Place,
    ) -> Stored {
        let chosen_otherwise = fields_of(&now.meta) != fields_of(stored.meta());
        let entry = self.store.touch(stored, now.meta, job.fill_index);
        let mut stays = now.stays;
        if stays && chosen_otherwise {
            let right = self.right_place(&job.ask, place, entry.meta()).await;
            stays = right.key == *stored.key();
            if stays {
                self.note_variant(&right, entry.meta(), None).await;
            }
        }
        if !stays {
            self.store.remove(stored.key());
        }
        entry
    }

    /// What the origin says is not there any more is not sent stale later, when the origin is not there to say so.
    pub(super) fn forget_gone(&self, job: &Job, status: StatusCode, refusal: Refusal) {
        let is_gone = matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE);
        let for_all = !matches!(refusal, Refusal::RequestNoStore | Refusal::Authorization);
        if let Some(stored) = &job.stored
            && is_gone
            && for_all
        {
            self.store.remove(stored.key());
        }
    }

    /// Remembers whether readers of this key should wait for each other.
    fn note_shareable(&self, job: &Job, place: &Place, meta: &HttpMeta) {
        let now = Instant::now();
        let ruling = job.ask.ruling_for(meta.status, &meta.head);
        let policy = job.ask.site.rules.policy(&ruling);
        if meta
            .freshness
            .shareable(meta.status, policy, meta.freshness.response_time)
        {
            self.marks.clear_solo(place.key.whole(), now);
        } else {
            self.marks.set_solo(place.key.whole(), now);
        }
    }
}

/// The metadata of a response that is a part.
fn as_part(meta: &HttpMeta) -> Option<HttpMeta> {
    (meta.status == StatusCode::PARTIAL_CONTENT).then(|| meta.clone())
}

/// The client may have gone; the fill goes on without it.
fn tell_leader(tell: oneshot::Sender<Led>, led: Led) {
    drop(tell.send(led));
}
