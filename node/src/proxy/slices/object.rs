//! An object that is stored in slices, and where each of them is read.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_RANGE, ETAG, HeaderValue, RANGE};
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;
use nearside_cache_store::{BodyReader, Fill, FillEnd, Follower, Key, Writer};

use super::super::admit::Ask;
use super::super::encode::Form;
use super::super::fetch::{Fetched, Job};
use super::super::lookup::Stored;
use super::super::meta::HttpMeta;
use super::super::parts::{Span, strong_tag};
use super::super::{Proxy, conditions, headers};
use crate::exchange::{Body, BodyError};
use crate::view::PurgeVerdict;

/// An object in slices: one version of it, told by its strong tag.
pub(super) struct Object {
    pub(super) proxy: Arc<Proxy>,
    pub(super) ask: Arc<Ask>,
    /// The primary key, under which the slices have theirs.
    pub(super) primary: Key,
    pub(super) slice_bytes: u64,
    pub(super) total_bytes: u64,
    pub(super) tag: HeaderValue,
    pub(super) fill_index: u64,
}

/// Where a slice is read.
pub(super) enum Source {
    Stored(BodyReader),
    /// It is arriving.
    Arriving(Follower<HttpMeta>),
}

impl Source {
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        match self {
            Self::Stored(reader) => {
                let piece = reader.next().await?;
                Some(piece.map_err(|error| BodyError::Store(error.to_string())))
            }
            Self::Arriving(follower) => {
                let piece = follower.next().await?;
                Some(piece.map_err(|end| BodyError::Upstream(end.to_string())))
            }
        }
    }
}

/// The key of what is known of an object in slices: its fields, its tag and its length, with an empty body.
#[must_use]
pub(in crate::proxy) fn about_key(primary: &[u8]) -> Vec<u8> {
    [primary, b"\0slices"].concat()
}

/// Does this key belong to what is known of an object in slices?
#[must_use]
pub(in crate::proxy) fn is_about(key: &[u8]) -> bool {
    key.ends_with(b"\0slices")
}

/// The key of a slice. The tag is in it: another version of the object has other slices.
fn slice_key(primary: &[u8], slice_bytes: u64, number: u64, tag: &[u8]) -> Vec<u8> {
    let (size, number) = (slice_bytes.to_be_bytes(), number.to_be_bytes());
    [primary, b"\0slice", &size, &number, tag].concat()
}

/// The request that brings a slice, or the beginning of one: the client's without its own conditions and ranges.
pub(super) fn slice_ask(ask: &Ask, range: &Range<u64>) -> Arc<Ask> {
    let mut ask = Ask::clone(ask);
    ask.method = http::Method::GET;
    conditions::remove(&mut ask.headers);
    let text = format!("bytes={}-{}", range.start, range.end - 1);
    headers::set(&mut ask.headers, RANGE, &text);
    ask.choosing.range = true;
    ask.choosing.conditions = false;
    Arc::new(ask)
}

/// An answer for a slice that holds all there is is as good as one for the whole.
pub(in crate::proxy) fn take_as_whole(response: &mut Response<Body>) {
    let all =
        Span::of_answer(response.headers()).is_some_and(|span| span.range == (0..span.total_bytes));
    if all && response.status() == StatusCode::PARTIAL_CONTENT {
        *response.status_mut() = StatusCode::OK;
        response.headers_mut().remove(CONTENT_RANGE);
    }
}

/// The metadata that the object has whole, from that of a slice.
#[must_use]
pub(super) fn whole(meta: &HttpMeta) -> HttpMeta {
    let mut meta = meta.clone();
    meta.status = StatusCode::OK;
    meta.form = Form::Plain;
    meta.head.remove(CONTENT_RANGE);
    meta
}

impl Object {
    /// Out of what is known of it.
    pub(super) fn new(
        proxy: &Arc<Proxy>,
        ask: &Ask,
        about: &HttpMeta,
        slice_bytes: u64,
    ) -> Option<Self> {
        let span = Span::of_answer(&about.head)?;
        Some(Self {
            proxy: Arc::clone(proxy),
            ask: Arc::new(Ask::clone(ask)),
            primary: proxy.store.key(ask.primary()),
            slice_bytes,
            total_bytes: span.total_bytes,
            tag: about.head.get(ETAG)?.clone(),
            fill_index: proxy.purges.applied(),
        })
    }

    /// The bytes of the object that a slice holds.
    pub(super) fn range(&self, number: u64) -> Range<u64> {
        let start = number.saturating_mul(self.slice_bytes);
        start..start.saturating_add(self.slice_bytes).min(self.total_bytes)
    }

    fn is_slice(&self, number: u64, meta: &HttpMeta) -> bool {
        let expected = Span {
            range: self.range(number),
            total_bytes: self.total_bytes,
        };
        strong_tag(&meta.head) == Some(self.tag.as_bytes())
            && Span::of_answer(&meta.head) == Some(expected)
    }

    pub(super) fn key(&self, number: u64) -> Key {
        let (primary, tag) = (self.primary.whole(), self.tag.as_bytes());
        let whole = slice_key(primary, self.slice_bytes, number, tag);
        self.proxy.store.key(whole)
    }

    /// A slice from this offset of the object on, and whether it was stored: else it is fetched now, once for all who
    /// want it at this time.
    pub(super) async fn open(&self, offset: u64) -> Result<(Source, bool), BodyError> {
        let number = offset / self.slice_bytes;
        let range = self.range(number);
        let key = self.key(number);
        let proxy = &self.proxy;
        let within = offset - range.start..range.end - range.start;
        if let Some(entry) = proxy.store.lookup(&key).await
            && let Some((entry, _)) = proxy.usable(&self.ask, entry)
            && self.is_slice(number, entry.meta())
            && let Ok(reader) = proxy.store.read(&entry, within.clone()).await
        {
            return Ok((Source::Stored(reader), true));
        }
        let identity = self.ask.identity();
        let joins = |tag| proxy.purges.verdict(identity, tag) == PurgeVerdict::Usable;
        let mut follower = match proxy.store.fill(&key, None, joins, self.fill_index) {
            Fill::Stored(entry) => {
                let reader = proxy.store.read(&entry, within).await;
                let reader = reader.map_err(|error| BodyError::Store(error.to_string()))?;
                return Ok((Source::Stored(reader), true));
            }
            Fill::Follow(follower) => {
                proxy.metrics.collapsed.inc();
                follower
            }
            Fill::Lead(writer) => {
                let follower = writer.reader();
                self.bring(number, writer)?;
                follower
            }
        };
        match follower.head().await {
            Ok(meta) if self.is_slice(number, &meta) => {
                follower.skip_to(within.start);
                Ok((Source::Arriving(follower), false))
            }
            Ok(_) => Err(BodyError::Upstream("a slice of another object".to_owned())),
            Err(FillEnd::Declined) => Err(BodyError::Upstream("a slice is refused".to_owned())),
            Err(FillEnd::Failed(reason)) => Err(BodyError::Upstream(reason.to_string())),
        }
    }

    /// Begins to fetch a slice.
    fn bring(&self, number: u64, writer: Writer<HttpMeta>) -> Result<(), BodyError> {
        let Ok(permit) = Arc::clone(&self.proxy.fill_permits).try_acquire_owned() else {
            writer.fail("as many fetches are running as may");
            let busy = "as many fetches are running as may".to_owned();
            return Err(BodyError::Upstream(busy));
        };
        let proxy = Arc::clone(&self.proxy);
        let object = Self {
            proxy: Arc::clone(&proxy),
            ask: Arc::clone(&self.ask),
            primary: self.primary.clone(),
            tag: self.tag.clone(),
            ..*self
        };
        let fill = async move {
            object.fetch(number, writer).await;
            drop(permit);
        };
        proxy.fill_tasks.spawn_on(fill, &proxy.fills);
        Ok(())
    }

    async fn fetch(&self, number: u64, mut writer: Writer<HttpMeta>) {
        self.proxy.metrics.fills.inc();
        let job = Job {
            ask: slice_ask(&self.ask, &self.range(number)),
            stored: None,
            rest: None,
            fill_index: self.fill_index,
            keeps_conditions: true,
            sliced: true,
            interim: None,
            covered: false,
        };
        match self.proxy.fetch(&job).await {
            Fetched::Storable {
                meta, body, length, ..
            } if self.is_slice(number, &meta) => {
                writer.head(*meta, length);
                write(writer, body).await;
            }
            Fetched::Storable { .. } | Fetched::Unshared { .. } => {
                // The next answer begins with asking anew what the object is.
                let about = about_key(self.primary.whole());
                self.proxy.store.remove(&self.proxy.store.key(about));
                writer.fail("the object has changed, or its origin has no ranges of it any more");
            }
            Fetched::Unanswered(unanswered) => writer.fail(unanswered.reason),
            Fetched::Broken { response, .. } => {
                writer.fail(format!(
                    "the origin answered {}",
                    response.status().as_u16()
                ));
            }
            // Neither was asked about anything stored.
            Fetched::NotModified { .. } | Fetched::Head { .. } => writer.decline(),
        }
    }
}

/// Brings the body of a slice into the store.
pub(super) async fn write(mut writer: Writer<HttpMeta>, mut body: Body) {
    while let Some(frame) = body.frame().await {
        match frame {
            Err(error) => return writer.fail(error.to_string()),
            Ok(frame) => {
                let Ok(piece) = frame.into_data() else {
                    continue;
                };
                if let Err(error) = writer.write(piece).await {
                    tracing::debug!(%error, "a slice broke off");
                    return;
                }
            }
        }
    }
    if let Err(error) = writer.finish() {
        tracing::debug!(%error, "a slice broke off");
    }
}

/// What is known of an object, as an entry.
pub(super) fn about(writer: Writer<HttpMeta>, meta: &HttpMeta) -> Option<Stored> {
    let mut writer = writer;
    writer.head(meta.clone(), Some(0));
    match writer.finish() {
        Ok(nearside_cache_store::Finished::InMemory(entry)) => Some(entry),
        _ => None,
    }
}
