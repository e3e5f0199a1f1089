//! Encodings of stored bodies: found, or made while the first client reads.

use std::cell::Cell;
use std::sync::Arc;

use http::{HeaderMap, Method, Response, StatusCode};
use nearside_cache_store::{Fill, Follower, Writer};

use super::super::Proxy;
use super::super::admit::Ask;
use super::super::conditions::not_modified;
use super::super::lookup::Stored;
use super::super::meta::HttpMeta;
use super::super::outcome::Passage;
use super::form::{Form, encoded_key, encoded_meta};
use super::run::{Source, into_fill};
use crate::config::compression::{Coding, Codings};
use crate::exchange::Body;

/// What `Cache-Status` says where a body goes out as it is because too many are being encoded.
pub(super) const BUSY: &str = "encoders-busy";

/// A stored body, or one that is being filled, which is wanted in another form.
struct Original<'a> {
    /// The whole key of its entry.
    key: &'a [u8],
    meta: &'a HttpMeta,
    /// The body's name.
    body: [u8; 16],
    tag: u64,
    length: Option<u64>,
}

/// Where an encoding is to be had. What the body would have been read from comes back where it is not needed.
enum Encoded<S> {
    Stored(Stored, S),
    /// Being made.
    Running(Arc<HttpMeta>, Follower<HttpMeta>),
    /// As many as may are being made.
    Refused(S),
}

impl Ask {
    /// May there be an answer that is offered in some coding?
    pub(in super::super) fn may_be_encoded(&self) -> bool {
        !self.policy().compression.unwrap_or_default().is_empty()
            || self.site.rules.waits(&self.ruling)
    }

    /// The content codings in which an answer is offered.
    pub(super) fn codings_for(&self, status: StatusCode, head: &HeaderMap) -> Codings {
        if !self.site.rules.waits(&self.ruling) {
            return self.policy().compression.unwrap_or_default();
        }
        let ruling = self.ruling_for(status, head);
        let policy = self.site.rules.policy(&ruling);
        policy.compression.unwrap_or_default()
    }

    /// The coding of these that the client gets; none: the bytes as they are.
    pub(super) fn coding_among(&self, may: Codings) -> Option<Coding> {
        // Ranges are of the bytes as they are.
        let transforms = !self.choosing.range && !self.directives.no_transform;
        transforms.then(|| self.accepts.choose(may)).flatten()
    }

    /// The coding in which a stored response goes to this client whole; none: as it is stored.
    fn coding_for(&self, meta: &HttpMeta, length: Option<u64>) -> Option<Coding> {
        if self.accepts == super::Accepts::NOTHING {
            return None;
        }
        let Form::Encodable(may) = meta.form else {
            return None;
        };
        // What is offered was settled when it was stored; what a changed site does not offer any more is not sent.
        let coding =
            self.coding_among(may.among(self.codings_for(meta.status, &meta.head).bits()))?;
        length
            .is_none_or(|length| length >= self.site.compression.min_bytes)
            .then_some(coding)
    }

    /// Does an answer out of `meta` consist of its head?
    fn wants_head_only(&self, meta: &HttpMeta) -> bool {
        self.method == Method::HEAD || self.has_it(meta)
    }

    /// Does the client have it already?
    fn has_it(&self, meta: &HttpMeta) -> bool {
        let since = meta.freshness.response_time;
        self.choosing.conditions && not_modified(&self.headers, meta.status, &meta.head, since)
    }
}

impl Proxy {
    /// Answers from a stored entry, in the form that suits the client. `None` when its body turns out to be lost: the
    /// request is a miss then.
    pub(in super::super) async fn send_entry(
        self: &Arc<Self>,
        ask: &Ask,
        entry: &Stored,
        passage: &Passage,
    ) -> Option<Response<Body>> {
        let Some(coding) = ask.coding_for(entry.meta(), Some(entry.body_bytes())) else {
            return self.send_as_stored(ask, entry, passage).await;
        };
        if let Some(encoded) = self.find_encoded(entry, coding).await
            && let Some(response) = self.send_as_stored(ask, &encoded, passage).await
        {
            return Some(response);
        }
        if ask.wants_head_only(entry.meta()) {
            let meta = encoded_meta(entry.meta(), coding, entry.body_id());
            return Some(self.head(ask, &meta, (None, false), passage).0);
        }
        // Makes sure that the body is there before anything is promised.
        let reader = self.store.read(entry, 0..entry.body_bytes()).await.ok()?;
        let original = Original {
            key: entry.key().whole(),
            meta: entry.meta(),
            body: entry.body_id(),
            tag: entry.tag(),
            length: Some(entry.body_bytes()),
        };
        match self.encode(ask, &original, coding, reader).await {
            Encoded::Running(meta, reader) => {
                Some(self.send_running(ask, &meta, (None, reader), passage))
            }
            Encoded::Stored(encoded, _) => {
                match self.send_as_stored(ask, &encoded, passage).await {
                    Some(response) => Some(response),
                    None => self.send_as_stored(ask, entry, passage).await,
                }
            }
            Encoded::Refused(_) => {
                let passage = passage.with_detail(BUSY);
                self.send_as_stored(ask, entry, &passage).await
            }
        }
    }

    /// The same out of memory, without waiting; none where something has to be read from disk or encoded first.
    pub(in super::super) fn send_from_memory(
        &self,
        ask: &Ask,
        entry: &Stored,
        passage: &Passage,
    ) -> Option<Response<Body>> {
        let Some(coding) = ask.coding_for(entry.meta(), Some(entry.body_bytes())) else {
            return self.send_as_in_memory(ask, entry, passage);
        };
        if let Some(encoded) = self.peek_encoded(entry, coding) {
            return self.send_as_in_memory(ask, &encoded, passage);
        }
        ask.has_it(entry.meta()).then(|| {
            let meta = encoded_meta(entry.meta(), coding, entry.body_id());
            self.head(ask, &meta, (None, false), passage).0
        })
    }

    /// Answers from a running fill, piece by piece as they arrive, in the form that suits the client.
    pub(in super::super) async fn send_fill(
        self: &Arc<Self>,
        ask: &Ask,
        meta: &HttpMeta,
        (length, follower): (Option<u64>, Follower<HttpMeta>),
        passage: &Passage,
    ) -> Response<Body> {
        let coding = match ask.coding_for(meta, length) {
            Some(coding) if !ask.wants_head_only(meta) => coding,
            Some(coding) => {
                let meta = encoded_meta(meta, coding, follower.body_id());
                return self.head(ask, &meta, (None, false), passage).0;
            }
            None => return self.send_running(ask, meta, (length, follower), passage),
        };
        let key = follower.key().clone();
        let original = Original {
            key: key.whole(),
            meta,
            body: follower.body_id(),
            tag: follower.tag(),
            length,
        };
        match self.encode(ask, &original, coding, follower).await {
            Encoded::Running(meta, reader) => {
                self.send_running(ask, &meta, (None, reader), passage)
            }
            Encoded::Stored(encoded, follower) => {
                match self.send_as_stored(ask, &encoded, passage).await {
                    Some(response) => response,
                    None => self.send_running(ask, meta, (length, follower), passage),
                }
            }
            Encoded::Refused(follower) => {
                let passage = passage.with_detail(BUSY);
                self.send_running(ask, meta, (length, follower), &passage)
            }
        }
    }

    /// The encoding of an entry's body, if it is in memory, with a head that says what the entry says now.
    fn peek_encoded(&self, entry: &Stored, coding: Coding) -> Option<Stored> {
        thread_local! {
            static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
        }
        let mut key = BUFFER.take();
        encoded_key(entry.key().whole(), coding, &mut key);
        let found = self.store.peek_whole(&key);
        BUFFER.set(key);
        self.up_to_date(entry, coding, found?)
    }

    /// The same from memory or disk.
    async fn find_encoded(&self, entry: &Stored, coding: Coding) -> Option<Stored> {
        if let Some(found) = self.peek_encoded(entry, coding) {
            return Some(found);
        }
        let mut key = Vec::new();
        encoded_key(entry.key().whole(), coding, &mut key);
        let found = self.store.lookup(&self.store.key(key)).await?;
        self.up_to_date(entry, coding, found)
    }

    fn up_to_date(&self, entry: &Stored, coding: Coding, found: Stored) -> Option<Stored> {
        let of = entry.body_id();
        if found.meta().form != (Form::Encoded { coding, of }) {
            return None;
        }
        let (now, then) = (entry.meta(), found.meta());
        if now.freshness == then.freshness && now.fill_index == then.fill_index {
            return Some(found);
        }
        // The response was freshened since; the bytes are the same.
        let meta = encoded_meta(now, coding, of);
        Some(self.store.touch(&found, meta, entry.tag()))
    }

    /// Has a body encoded, or follows who does.
    async fn encode<S: Into<Source>>(
        &self,
        ask: &Ask,
        original: &Original<'_>,
        coding: Coding,
        source: S,
    ) -> Encoded<S> {
        let form = Form::Encoded {
            coding,
            of: original.body,
        };
        let mut whole = Vec::new();
        encoded_key(original.key, coding, &mut whole);
        let key = self.store.key(whole);
        // An encoding of an older body must not be taken for what is wanted.
        let seen = self.store.peek(&key);
        let joins = |tag| tag == original.tag;
        match self.store.fill(&key, seen.as_ref(), joins, original.tag) {
            Fill::Stored(entry) if entry.meta().form == form => {
                return Encoded::Stored(entry, source);
            }
            Fill::Follow(mut follower) => {
                // Its leader gives it a head without waiting for anything.
                if let Ok(meta) = follower.head().await
                    && meta.form == form
                {
                    return Encoded::Running(meta, follower);
                }
            }
            Fill::Lead(writer) => {
                return self.lead_encoding(ask, original, coding, source, writer);
            }
            Fill::Stored(_) => {}
        }
        match self.store.fill(&key, None, |_| false, original.tag) {
            Fill::Lead(writer) => self.lead_encoding(ask, original, coding, source, writer),
            // Nobody is joined, so a writer is what comes.
            Fill::Follow(_) | Fill::Stored(_) => Encoded::Refused(source),
        }
    }

    fn lead_encoding<S: Into<Source>>(
        &self,
        ask: &Ask,
        original: &Original<'_>,
        coding: Coding,
        source: S,
        mut writer: Writer<HttpMeta>,
    ) -> Encoded<S> {
        let site = &ask.site.compression;
        let Some(permit) = self.encoders.permit(site, coding, original.length) else {
            writer.decline();
            return Encoded::Refused(source);
        };
        let meta = encoded_meta(original.meta, coding, original.body);
        let reader = writer.reader();
        writer.head(meta.clone(), None);
        let task = into_fill(permit, source.into(), writer);
        self.fill_tasks.spawn_on(task, &self.fills);
        Encoded::Running(Arc::new(meta), reader)
    }
}
