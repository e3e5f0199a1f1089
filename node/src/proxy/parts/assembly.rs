//! A body put together out of stored parts, and of what is asked of the origin where bytes are missing.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http::header::{HeaderValue, RANGE};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use nearside_cache_store::{BodyReader, Store};

use super::span::{Span, strong_tag};
use crate::exchange::{Body, BodyError};
use crate::proxy::admit::Ask;
use crate::proxy::conditions;
use crate::proxy::fetch::towards_origin;
use crate::proxy::lookup::Stored;
use crate::proxy::meta::HttpMeta;
use crate::proxy::ports::Upstream;

/// One step of a body.
#[derive(Debug)]
pub(in crate::proxy) enum Step {
    /// What stands between parts of a multipart body.
    Text(Bytes),
    /// Bytes of a stored body.
    Stored(Stored, Range<u64>),
    /// Bytes of the object that are to come from the origin.
    Missing(Range<u64>),
}

/// Asks the origin for ranges of an object that has a name.
pub(in crate::proxy) struct Asker {
    pub(in crate::proxy) upstream: Arc<dyn Upstream>,
    pub(in crate::proxy) ask: Arc<Ask>,
    pub(in crate::proxy) node: Box<str>,
    pub(in crate::proxy) cdn_id: Box<str>,
    pub(in crate::proxy) tag: HeaderValue,
    pub(in crate::proxy) total_bytes: u64,
}

impl Asker {
    async fn fetch(&self, range: &Range<u64>) -> Result<Body, BodyError> {
        let mut request = towards_origin(&self.ask, &self.node, &self.cdn_id);
        ask_for(request.headers_mut(), range, &self.tag);
        let answer = self.upstream.fetch(&self.ask.site, request).await;
        let answer = answer.map_err(|error| BodyError::Upstream(error.to_string()))?;
        let (status, fields) = (answer.response.status(), answer.response.headers());
        let expected = Span {
            range: range.clone(),
            total_bytes: self.total_bytes,
        };
        let fits = status == StatusCode::PARTIAL_CONTENT
            && strong_tag(fields) == Some(self.tag.as_bytes())
            && Span::of_answer(fields) == Some(expected);
        if !fits {
            let text = format!("the object has changed, or a range is refused ({status})");
            return Err(BodyError::Upstream(text));
        }
        Ok(answer.response.into_body())
    }
}

/// Asks for a range, unless the object is another one by now (RFC 9110 §13.1.5).
pub(in crate::proxy) fn ask_for(
    request: &mut http::HeaderMap,
    range: &Range<u64>,
    tag: &HeaderValue,
) {
    conditions::remove(request);
    let text = format!("bytes={}-{}", range.start, range.end - 1);
    crate::proxy::headers::set(request, RANGE, &text);
    request.insert(http::header::IF_RANGE, tag.clone());
}

/// What is left of the body.
pub(in crate::proxy) struct Assembly {
    store: Store<HttpMeta>,
    steps: VecDeque<Step>,
    reader: Option<BodyReader>,
    /// What arrives from the origin, and the bytes that are still to come of it.
    arriving: Option<(Body, u64)>,
    /// The answer for the first range that is missing, which was asked for before anything was sent.
    first: Option<Body>,
    asker: Option<Asker>,
}

impl Assembly {
    pub(in crate::proxy) fn new(
        store: Store<HttpMeta>,
        steps: Vec<Step>,
        first: Option<Body>,
        asker: Option<Asker>,
    ) -> Self {
        Self {
            store,
            steps: steps.into(),
            reader: None,
            arriving: None,
            first,
            asker,
        }
    }

    /// Makes sure that the first stored bytes can be read; false where they are lost.
    pub(in crate::proxy) async fn is_sound(&mut self) -> bool {
        let leading = self
            .steps
            .iter()
            .position(|step| !matches!(step, Step::Text(_)));
        match leading {
            Some(0) => {}
            // A head of a part comes first: it is looked whether its bytes are there all the same.
            Some(at) => {
                let Some(Step::Stored(entry, range)) = self.steps.get(at) else {
                    return true;
                };
                return self.store.read(entry, range.clone()).await.is_ok();
            }
            None => return true,
        }
        if !matches!(self.steps.front(), Some(Step::Stored(..))) {
            return true;
        }
        let Some(Step::Stored(entry, range)) = self.steps.pop_front() else {
            return true;
        };
        match self.store.read(&entry, range).await {
            Ok(reader) => {
                self.reader = Some(reader);
                true
            }
            Err(_) => false,
        }
    }

    /// All of it out of memory, where it is there.
    pub(in crate::proxy) fn in_memory(&self) -> Option<Body> {
        let mut out = Vec::new();
        for step in &self.steps {
            match step {
                Step::Text(text) => out.push(text.clone()),
                Step::Stored(entry, range) => {
                    crate::proxy::body::cut(entry.body()?, range.clone(), &mut out);
                }
                Step::Missing(_) => return None,
            }
        }
        Some(Body::pieces(out))
    }

    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        loop {
            if let Some(reader) = &mut self.reader {
                if let Some(piece) = reader.next().await {
                    return Some(piece.map_err(|error| BodyError::Store(error.to_string())));
                }
                self.reader = None;
            }
            if let Some((body, left)) = &mut self.arriving {
                match next_of(body, left).await {
                    Some(piece) => return Some(piece),
                    None => self.arriving = None,
                }
            }
            match self.steps.pop_front()? {
                Step::Text(text) => return Some(Ok(text)),
                Step::Stored(entry, range) => match self.store.read(&entry, range).await {
                    Ok(reader) => self.reader = Some(reader),
                    Err(error) => return Some(Err(BodyError::Store(error.to_string()))),
                },
                Step::Missing(range) => {
                    let body = match (self.first.take(), &self.asker) {
                        (Some(first), _) => Ok(first),
                        (None, Some(asker)) => asker.fetch(&range).await,
                        (None, None) => Err(BodyError::Store("a part is missing".to_owned())),
                    };
                    match body {
                        Ok(body) => self.arriving = Some((body, range.end - range.start)),
                        Err(error) => return Some(Err(error)),
                    }
                }
            }
        }
    }

    /// As a body. It has to be read on a runtime on which origins may be asked.
    pub(in crate::proxy) fn into_body(self) -> Body {
        Body::stream(StreamBody::new(futures_util::stream::unfold(
            Some(self),
            |assembly| async move {
                let mut assembly = assembly?;
                match assembly.next().await? {
                    Ok(piece) => Some((Ok(Frame::data(piece)), Some(assembly))),
                    Err(error) => Some((Err(error), None)),
                }
            },
        )))
    }
}

/// The next bytes of an answer that must have exactly so many; none at its end.
async fn next_of(body: &mut Body, left: &mut u64) -> Option<Result<Bytes, BodyError>> {
    loop {
        match body.frame().await {
            None if *left == 0 => return None,
            None => return Some(Err(BodyError::Upstream("a range is too short".to_owned()))),
            Some(Err(error)) => return Some(Err(error)),
            Some(Ok(frame)) => {
                let Ok(piece) = frame.into_data() else {
                    continue;
                };
                if piece.is_empty() {
                    continue;
                }
                let Some(rest) = left.checked_sub(piece.len() as u64) else {
                    return Some(Err(BodyError::Upstream("a range is too long".to_owned())));
                };
                *left = rest;
                return Some(Ok(piece));
            }
        }
    }
}
