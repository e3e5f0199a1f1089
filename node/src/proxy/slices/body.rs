//! A body that is read slice after slice, the next one being fetched while one is sent.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::task::JoinHandle;

use super::object::{Object, Source};
use crate::exchange::{Body, BodyError};

/// One step of a body.
pub(super) enum Step {
    /// What stands between parts of a multipart body.
    Text(Bytes),
    /// Bytes of the object.
    Bytes(Range<u64>),
}

/// The slice that is wanted next, from this offset on: one, so that a reader never has more than two under way.
struct Ahead {
    offset: u64,
    opening: Opening,
}

enum Opening {
    Opened(Source),
    Running(JoinHandle<Result<(Source, bool), BodyError>>),
}

/// What is left of the body.
pub(super) struct Slices {
    object: Arc<Object>,
    steps: VecDeque<Step>,
    /// What is read, and how much of it is wanted.
    source: Option<(Source, u64)>,
    ahead: Option<Ahead>,
}

impl Slices {
    /// `first` is the slice that the body begins in.
    pub(super) fn new(object: Arc<Object>, steps: Vec<Step>, first: Option<(u64, Source)>) -> Self {
        Self {
            object,
            steps: steps.into(),
            source: None,
            ahead: first.map(|(offset, source)| Ahead {
                offset,
                opening: Opening::Opened(source),
            }),
        }
    }

    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        loop {
            if let Some((source, left)) = &mut self.source {
                if *left == 0 {
                    self.source = None;
                    continue;
                }
                return Some(match source.next().await {
                    Some(Ok(mut piece)) => {
                        if let Ok(left) = usize::try_from(*left) {
                            piece.truncate(left);
                        }
                        *left -= piece.len() as u64;
                        Ok(piece)
                    }
                    Some(Err(error)) => Err(error),
                    None => Err(BodyError::Store("a slice is too short".to_owned())),
                });
            }
            match self.steps.front_mut()? {
                Step::Text(text) => {
                    let text = std::mem::take(text);
                    self.steps.pop_front();
                    return Some(Ok(text));
                }
                Step::Bytes(range) if range.is_empty() => {
                    self.steps.pop_front();
                }
                Step::Bytes(range) => {
                    let offset = range.start;
                    let slice = self.object.range(offset / self.object.slice_bytes);
                    let end = slice.end.min(range.end);
                    range.start = end;
                    match self.open(offset).await {
                        Ok(source) => self.source = Some((source, end - offset)),
                        Err(error) => return Some(Err(error)),
                    }
                    self.look_ahead();
                }
            }
        }
    }

    async fn open(&mut self, offset: u64) -> Result<Source, BodyError> {
        match self.ahead.take() {
            Some(ahead) if ahead.offset == offset => match ahead.opening {
                Opening::Opened(source) => Ok(source),
                Opening::Running(task) => match task.await {
                    Ok(opened) => opened.map(|(source, _)| source),
                    Err(_) => Err(BodyError::Upstream("the node stops".to_owned())),
                },
            },
            _ => self.object.open(offset).await.map(|(source, _)| source),
        }
    }

    /// Begins with the slice that comes next.
    fn look_ahead(&mut self) {
        let next = self.steps.iter().find_map(|step| match step {
            Step::Bytes(range) if !range.is_empty() => Some(range.start),
            _ => None,
        });
        let Some(offset) = next else { return };
        let object = Arc::clone(&self.object);
        let proxy = Arc::clone(&object.proxy);
        let opening = async move { object.open(offset).await };
        self.ahead = Some(Ahead {
            offset,
            opening: Opening::Running(proxy.fill_tasks.spawn_on(opening, &proxy.fills)),
        });
    }

    pub(super) fn into_body(self) -> Body {
        Body::stream(StreamBody::new(futures_util::stream::unfold(
            Some(self),
            |slices| async move {
                let mut slices = slices?;
                match slices.next().await? {
                    Ok(piece) => Some((Ok(Frame::data(piece)), Some(slices))),
                    Err(error) => Some((Err(error), None)),
                }
            },
        )))
    }
}
