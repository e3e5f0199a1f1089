//! Bytes through an encoder, on the fills' runtime: a bounded number of bodies at a time, and none of them for long
//! without letting others have the thread.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http_body::Frame;
use http_body_util::BodyExt as _;
use nearside_cache_store::{BodyReader, Follower, Writer};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::super::meta::HttpMeta;
use super::encoder::Encoder;
use crate::config::compression::{Coding, Compression};
use crate::exchange::{Body, BodyError};

/// Bodies that may be on their way through encoders at once. An encoder holds up to some MiB, and they all want the
/// same few cores: beyond this, a body is sent as it is.
const AT_ONCE_MAX: usize = 64;
/// An encoder is given so much before others get the thread.
const STEP_BYTES: usize = 16 << 10;

/// Who may encode.
#[derive(Debug)]
pub(in super::super) struct Encoders {
    permits: Arc<Semaphore>,
    made: Counter,
    refused: Counter,
}

/// One body's leave to be encoded.
pub(super) struct Permit {
    encoder: Encoder,
    _held: OwnedSemaphorePermit,
}

impl Encoders {
    /// Counters are those of bodies encoded, and of bodies sent as they are because as many as may were being encoded.
    pub(in super::super) fn new(made: Counter, refused: Counter) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(AT_ONCE_MAX)),
            made,
            refused,
        }
    }

    /// Leave to encode a body of that length, if it is known. None when as many as may are being encoded.
    pub(super) fn permit(
        &self,
        site: &Compression,
        coding: Coding,
        length: Option<u64>,
    ) -> Option<Permit> {
        let Ok(held) = Arc::clone(&self.permits).try_acquire_owned() else {
            self.refused.inc();
            return None;
        };
        match Encoder::new(coding, site.level(coding), length) {
            Ok(encoder) => {
                self.made.inc();
                Some(Permit {
                    encoder,
                    _held: held,
                })
            }
            Err(error) => {
                tracing::error!(coding = coding.name(), %error, "cannot make an encoder");
                None
            }
        }
    }

    /// Takes every leave there is, for a test of what happens then.
    #[cfg(test)]
    pub(in super::super) fn exhaust(&self) -> OwnedSemaphorePermit {
        let all = u32::try_from(AT_ONCE_MAX).unwrap();
        Arc::clone(&self.permits)
            .try_acquire_many_owned(all)
            .unwrap()
    }
}

/// Where a stored body is read from.
pub(super) enum Source {
    Entry(BodyReader),
    Fill(Follower<HttpMeta>),
}

impl From<BodyReader> for Source {
    fn from(reader: BodyReader) -> Self {
        Self::Entry(reader)
    }
}

impl From<Follower<HttpMeta>> for Source {
    fn from(follower: Follower<HttpMeta>) -> Self {
        Self::Fill(follower)
    }
}

impl Source {
    async fn next(&mut self) -> Option<Result<Bytes, String>> {
        match self {
            Self::Entry(reader) => Some(reader.next().await?.map_err(|error| error.to_string())),
            Self::Fill(follower) => Some(follower.next().await?.map_err(|error| error.to_string())),
        }
    }
}

/// Encodes a stored body into a fill.
pub(super) async fn into_fill(mut permit: Permit, mut source: Source, mut to: Writer<HttpMeta>) {
    let encoder = &mut permit.encoder;
    loop {
        let next = match source.next().now_or_never() {
            Some(next) => next,
            // Nothing is there right now: what was taken so far must not wait for it.
            None => match encoder.flush() {
                Ok(out) => {
                    if let Some(out) = out
                        && to.write(out).await.is_err()
                    {
                        return;
                    }
                    source.next().await
                }
                Err(error) => return to.fail(error.to_string()),
            },
        };
        let piece = match next {
            None => break,
            Some(Err(reason)) => return to.fail(reason),
            Some(Ok(piece)) => piece,
        };
        for step in piece.chunks(STEP_BYTES) {
            let out = match encoder.write(step) {
                Ok(out) => out,
                Err(error) => return to.fail(error.to_string()),
            };
            // An error says that the fill has failed, and knows it.
            if let Some(out) = out
                && to.write(out).await.is_err()
            {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
    let last = match permit.encoder.finish() {
        Ok(last) => last,
        Err(error) => return to.fail(error.to_string()),
    };
    if to.write(last).await.is_ok()
        && let Err(error) = to.finish()
    {
        tracing::debug!(%error, "an encoding was not kept");
    }
}

/// What an encoded body is sent through on its way to one client.
pub(super) type Pieces = mpsc::Sender<Result<Frame<Bytes>, BodyError>>;

/// Encodes a body for one client. Ends when the client has gone; trailers go on as they are.
pub(super) async fn into_pieces(permit: Permit, mut body: Body, to: Pieces) {
    if let Err(error) = encode_pieces(permit, &mut body, &to).await {
        // The client may have gone, who is the only one to tell.
        drop(to.send(Err(error)).await);
    }
}

async fn encode_pieces(mut permit: Permit, body: &mut Body, to: &Pieces) -> Result<(), BodyError> {
    let encoder = &mut permit.encoder;
    let mut trailers = None;
    loop {
        let next = match body.frame().now_or_never() {
            Some(next) => next,
            None => {
                send(to, encoder.flush().map_err(broken)?).await?;
                tokio::select! {
                    next = body.frame() => next,
                    () = to.closed() => return Err(gone()),
                }
            }
        };
        let Some(frame) = next else { break };
        match frame?.into_data() {
            Ok(piece) => {
                for step in piece.chunks(STEP_BYTES) {
                    send(to, encoder.write(step).map_err(broken)?).await?;
                    tokio::task::yield_now().await;
                }
            }
            Err(frame) => trailers = Some(frame),
        }
    }
    send(to, Some(permit.encoder.finish().map_err(broken)?)).await?;
    match trailers {
        Some(trailers) => to.send(Ok(trailers)).await.map_err(|_| gone()),
        None => Ok(()),
    }
}

async fn send(to: &Pieces, piece: Option<Bytes>) -> Result<(), BodyError> {
    match piece {
        Some(piece) if !piece.is_empty() => {
            to.send(Ok(Frame::data(piece))).await.map_err(|_| gone())
        }
        _ => Ok(()),
    }
}

fn broken(error: io::Error) -> BodyError {
    BodyError::Store(error.to_string())
}

fn gone() -> BodyError {
    BodyError::Client("the client has gone".to_owned())
}
