//! Parts of objects: 206 answers and bodies that broke off, stored beside the complete object, used for requests that
//! they hold all bytes of, and completed by asking for what is missing (RFC 9111 §3.3, §3.4).
//!
//! Each part is an entry of its own, under the key of its object and the offset of its first byte; the directory of the
//! URL lists them ([`held`]). They are of one object where they have the same strong tag and speak of the same length.
//! Nothing is copied when a part comes: an answer is put together out of as many as it takes ([`assembly`]), and the
//! newest of them says what its fields are and how long it is fresh. Parts that are all there is become the object.

mod assembly;
mod held;
mod rest;
mod span;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_RANGE, RANGE};
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::BodyExt as _;
use nearside_cache_store::{Broken, Fill, Key};

pub(super) use assembly::{Asker, Assembly, Step};
pub(super) use held::{Held, add, object_of};
pub(super) use rest::{Joined, Rest};
pub(super) use span::{Span, is_part, strong_tag};

use super::admit::Ask;
use super::encode::{self, Form};
use super::fill::Place;
use super::freshen;
use super::lookup::Stored;
use super::meta::HttpMeta;
use super::outcome::Passage;
use super::range::{Part, content_range, part};
use super::vary::{self, Directory};
use super::{Proxy, headers, range};
use crate::exchange::Body;
use crate::view::PurgeVerdict;

/// The usable parts of one object, for one request.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    /// The newest: its fields are those of the object.
    pub(super) lead: Stored,
    pub(super) purge: PurgeVerdict,
    pub(super) total_bytes: u64,
    held: Vec<(Stored, Range<u64>)>,
}

impl Parts {
    pub(super) fn ranges(&self) -> Vec<Range<u64>> {
        self.held.iter().map(|(_, range)| range.clone()).collect()
    }

    /// Bytes of the object out of the part of this number, which holds them.
    fn step(&self, number: usize, range: &Range<u64>) -> Step {
        let (entry, span) = &self.held[number];
        let within = range.start - span.start..range.end - span.start;
        Step::Stored(Arc::clone(entry), within)
    }

    /// The steps to a range; none where not all of it is held.
    pub(super) fn steps(&self, range: &Range<u64>) -> Option<Vec<Step>> {
        let pieces = held::divide(&self.ranges(), range);
        pieces
            .iter()
            .map(|piece| Some(self.step(piece.part?, &piece.range)))
            .collect()
    }

    /// The metadata that the complete object would have.
    fn object(&self) -> HttpMeta {
        let mut meta = self.lead.meta().clone();
        meta.status = StatusCode::OK;
        meta.head.remove(CONTENT_RANGE);
        meta
    }

    /// The ranges of the object that a request is about; none where it has none of them.
    fn wanted(&self, ask: &Ask) -> Option<Vec<Range<u64>>> {
        let (status, length) = (StatusCode::OK, self.total_bytes);
        match part(
            &ask.method,
            &ask.headers,
            status,
            &self.lead.meta().head,
            length,
        ) {
            Part::Whole => Some(std::iter::once(0..length).collect()),
            Part::Bytes(range) => Some(vec![range]),
            Part::Several(ranges) => Some(ranges),
            Part::Unsatisfiable => None,
        }
    }
}

/// What parts are good for.
#[derive(Debug)]
pub(super) enum Use {
    /// They hold all that is asked for.
    Answer(Stored, PurgeVerdict),
    /// They are completed.
    Complete(Arc<Rest>),
    Nothing,
}

impl Use {
    /// Decides. Requests for a range far inside the object get that range, all others make the object complete.
    pub(super) fn of(parts: Parts, ask: &Ask, far_in: bool) -> Self {
        let Some(wanted) = parts.wanted(ask) else {
            return Self::Nothing;
        };
        let ranges = parts.ranges();
        if wanted.iter().all(|wanted| held::hold(&ranges, wanted)) {
            return Self::Answer(Arc::clone(&parts.lead), parts.purge);
        }
        if !freshen::may_be_asked_about(&ask.headers, parts.lead.meta()) {
            return Self::Nothing;
        }
        let wanted = match &wanted[..] {
            [range] if far_in => range.clone(),
            _ => 0..parts.total_bytes,
        };
        Rest::new(parts, wanted).map_or(Self::Nothing, |rest| Self::Complete(Arc::new(rest)))
    }
}

impl Proxy {
    /// The usable parts that a directory lists for a request: those that its variant has.
    pub(super) async fn parts(
        &self,
        ask: &Ask,
        primary: &Key,
        directory: &Directory,
    ) -> Option<Parts> {
        if directory.parts.is_empty() || ask.method == Method::HEAD {
            return None;
        }
        let base = primary.whole().clone();
        let variants = directory.keys(&base, &ask.headers).map(Bytes::from);
        for object in std::iter::once(base.clone()).chain(variants) {
            let of_it = directory.parts.iter().filter(|held| held.object == object);
            let mut found: Option<Parts> = None;
            for held in of_it {
                let Some(entry) = self.store.lookup(&self.store.key(held.key())).await else {
                    continue;
                };
                let Some((entry, purge)) = self.usable(ask, entry) else {
                    continue;
                };
                let meta = entry.meta();
                let span = Span {
                    range: held.first..held.end,
                    total_bytes: held.total,
                };
                let is_it = Span::of_answer(&meta.head) == Some(span.clone())
                    && strong_tag(&meta.head) == Some(&held.tag)
                    && vary::matches(&meta.selection, &ask.headers);
                if !is_it {
                    continue;
                }
                let parts = found.get_or_insert_with(|| Parts {
                    lead: Arc::clone(&entry),
                    purge,
                    total_bytes: span.total_bytes,
                    held: Vec::new(),
                });
                let newest = parts.lead.meta().freshness.response_time;
                if meta.freshness.response_time > newest {
                    (parts.lead, parts.purge) = (Arc::clone(&entry), purge);
                }
                parts.held.push((entry, span.range));
            }
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// Answers out of parts, with the fields of `lead`, which is one of them or was until now.
    pub(super) async fn send_parts(
        &self,
        ask: &Ask,
        lead: &Stored,
        passage: &Passage,
    ) -> Option<Response<Body>> {
        let primary = self.store.key(ask.primary());
        let directory = self.directory(&primary).await;
        let span = Span::of_answer(&lead.meta().head)?;
        let mut parts = Parts {
            lead: Arc::clone(lead),
            purge: PurgeVerdict::Usable,
            total_bytes: span.total_bytes,
            held: vec![(Arc::clone(lead), span.range)],
        };
        if let Some(found) = self.parts(ask, &primary, &directory).await {
            let same = strong_tag(&found.lead.meta().head) == strong_tag(&lead.meta().head)
                && found.total_bytes == parts.total_bytes;
            if same {
                parts.held.extend(found.held);
            }
        }
        let meta = parts.object();
        let (mut response, steps) = self.head_of_parts(ask, &meta, &parts, passage)?;
        let mut assembly = Assembly::new(self.store.clone(), steps, None, None);
        *response.body_mut() = match assembly.in_memory() {
            Some(body) => body,
            None if assembly.is_sound().await => assembly.into_body(),
            None => return None,
        };
        Some(response)
    }

    /// Notes a part that has just been stored, and makes the object of parts that are all there is.
    pub(super) async fn note_part(&self, place: &Place, meta: &HttpMeta, body_max_bytes: u64) {
        let (Some(span), Some(tag)) = (Span::of_answer(&meta.head), strong_tag(&meta.head)) else {
            return;
        };
        let new = Held {
            object: object_of(place.key.whole()),
            first: span.range.start,
            end: span.range.end,
            total: span.total_bytes,
            tag: Bytes::copy_from_slice(tag),
        };
        let mut ranges = Vec::new();
        let noted = self
            .change_directory(&place.primary, |directory| {
                let gone = add(&mut directory.parts, new.clone());
                let of_it = directory
                    .parts
                    .iter()
                    .filter(|held| held.object == new.object);
                ranges = of_it.map(|held| held.first..held.end).collect();
                Some(gone)
            })
            .await;
        for held in noted.into_iter().flatten() {
            if held.key() != place.key.whole()[..] {
                self.store.remove(&self.store.key(held.key()));
            }
        }
        if held::hold(&ranges, &(0..span.total_bytes)) && span.total_bytes <= body_max_bytes {
            self.complete(place, &new).await;
        }
    }

    /// Forgets the parts of an object that is stored whole now.
    pub(super) async fn drop_parts(&self, primary: &Key, object: &Bytes) {
        let gone = self
            .change_directory(primary, |directory| {
                let mine = |held: &mut Held| held.object == *object;
                let gone: Vec<_> = directory.parts.extract_if(.., mine).collect();
                (!gone.is_empty()).then_some(gone)
            })
            .await;
        for held in gone.into_iter().flatten() {
            self.store.remove(&self.store.key(held.key()));
        }
    }

    /// Stores the object that parts make up.
    async fn complete(&self, place: &Place, newest: &Held) {
        let directory = self.directory(&place.primary).await;
        let mut held = Vec::new();
        for part in directory
            .parts
            .iter()
            .filter(|held| held.object == newest.object)
        {
            let Some(entry) = self.store.lookup(&self.store.key(part.key())).await else {
                continue;
            };
            let is_it = Span::of_answer(&entry.meta().head)
                .is_some_and(|span| span.range == (part.first..part.end));
            if is_it && strong_tag(&entry.meta().head) == Some(&newest.tag) {
                held.push((entry, part.first..part.end));
            }
        }
        let by_time = |(entry, _): &&(Stored, _)| entry.meta().freshness.response_time;
        let Some((lead, _)) = held.iter().max_by_key(by_time).cloned() else {
            return;
        };
        let parts = Parts {
            lead,
            purge: PurgeVerdict::Usable,
            total_bytes: newest.total,
            held,
        };
        let Some(steps) = parts.steps(&(0..newest.total)) else {
            return;
        };
        let meta = parts.object();
        let whole = Place {
            primary: place.primary.clone(),
            key: self.store.key(newest.object.clone()),
        };
        self.note_variant(&whole, &meta, None).await;
        let Fill::Lead(mut writer) = self
            .store
            .fill(&whole.key, None, |_| false, meta.fill_index)
        else {
            return;
        };
        writer.head(meta, Some(newest.total));
        let mut body = Assembly::new(self.store.clone(), steps, None, None).into_body();
        while let Some(frame) = body.frame().await {
            let Some(piece) = frame.ok().and_then(|frame| frame.into_data().ok()) else {
                return;
            };
            if writer.write(piece).await.is_err() {
                return;
            }
        }
        match writer.finish() {
            Ok(_) => self.drop_parts(&place.primary, &newest.object).await,
            Err(error) => tracing::debug!(%error, "parts were not joined"),
        }
    }

    /// Keeps the beginning of a body that broke off, as a part that can be completed: where the object has a strong tag
    /// and a known length, and what came is still in memory.
    pub(super) async fn keep_beginning(
        &self,
        place: &Place,
        broken: Broken<HttpMeta>,
        body_max_bytes: u64,
    ) {
        let Broken { meta, length, body } = broken;
        let came = body.iter().map(|piece| piece.len() as u64).sum::<u64>();
        let (first, total_bytes, object) = match meta.status {
            StatusCode::OK => match length {
                Some(length) => (0, length, place.key.whole().clone()),
                None => return,
            },
            StatusCode::PARTIAL_CONTENT => match Span::of_answer(&meta.head) {
                Some(span) => (
                    span.range.start,
                    span.total_bytes,
                    object_of(place.key.whole()),
                ),
                None => return,
            },
            _ => return,
        };
        if strong_tag(&meta.head).is_none() || came == 0 || first + came > total_bytes {
            return;
        }
        let stored = meta;
        let mut meta = HttpMeta::clone(&stored);
        meta.status = StatusCode::PARTIAL_CONTENT;
        // Parts are sent as they are, and say what the origin said.
        encode::unmark(&mut meta.head, &stored);
        meta.form = Form::Plain;
        let text = content_range(&(first..first + came), total_bytes);
        headers::set(&mut meta.head, CONTENT_RANGE, &text);
        let key = self.store.key(held::part_key(&object, first));
        let Fill::Lead(mut writer) = self.store.fill(&key, None, |_| false, meta.fill_index) else {
            return;
        };
        let place = Place {
            primary: place.primary.clone(),
            key,
        };
        writer.head(meta.clone(), Some(came));
        for piece in body {
            if writer.write(piece).await.is_err() {
                return;
            }
        }
        if writer.finish().is_ok() {
            self.note_variant(&place, &meta, None).await;
            self.note_part(&place, &meta, body_max_bytes).await;
        }
    }

    /// The key of the part that an answer is.
    pub(super) fn part_key(&self, object: &[u8], answer: &HeaderMap) -> Option<Key> {
        let first = Span::of_answer(answer)?.range.start;
        Some(self.store.key(held::part_key(object, first)))
    }
}

/// Is a request for one range, and that range far inside what may be a large object?
pub(super) fn asks_far_in(ask: &Ask) -> bool {
    /// A range that begins behind this is asked for by itself where nothing is stored, in bytes: its reader would wait
    /// for all that comes before it.
    const FAR_IN_BYTES: u64 = 1 << 20;
    ask.choosing.range
        && ask.headers.contains_key(RANGE)
        && range::begin(&ask.headers)
            .is_some_and(|begin| begin.is_none_or(|first| first >= FAR_IN_BYTES))
}
