//! Looks at the frames of an HTTP/2 connection as they come: where a header block begins and ends, and how many frames
//! there are that carry nothing.
//!
//! The library reads a block only when it is whole, so nobody above would see one that comes byte by byte. Lengths are
//! followed, contents are not looked at.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::pulse::Pulse;

const PREFACE_BYTES: usize = 24;
const FRAME_HEAD_BYTES: usize = 9;
/// RFC 9113 §6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

#[derive(Debug)]
pub(super) struct FrameWatch<S> {
    inner: S,
    pulse: Rc<Pulse>,
    frames: Frames,
}

impl<S> FrameWatch<S> {
    pub(super) fn new(inner: S, pulse: Rc<Pulse>) -> Self {
        Self {
            inner,
            pulse,
            frames: Frames::default(),
        }
    }
}

/// Where in the stream of frames we are.
#[derive(Debug)]
struct Frames {
    /// Bytes to come that are not looked at: the preface, a frame's payload.
    skip: usize,
    head: [u8; FRAME_HEAD_BYTES],
    head_bytes: usize,
    /// The frame whose payload is skipped ends a header block.
    ends_block: bool,
    in_block: bool,
    /// Frames since the last look that carry no request and no content, and make no room for any.
    idle: u32,
}

impl Default for Frames {
    fn default() -> Self {
        Self {
            skip: PREFACE_BYTES,
            head: [0; FRAME_HEAD_BYTES],
            head_bytes: 0,
            ends_block: false,
            in_block: false,
            idle: 0,
        }
    }
}

impl Frames {
    fn look(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if self.skip > 0 {
                return;
            }
            self.end_frame();
            let taken = bytes.len().min(FRAME_HEAD_BYTES - self.head_bytes);
            let (part, rest) = bytes.split_at(taken);
            self.head[self.head_bytes..self.head_bytes + taken].copy_from_slice(part);
            self.head_bytes += taken;
            bytes = rest;
            if self.head_bytes == FRAME_HEAD_BYTES {
                self.begin_frame();
            }
        }
    }

    fn begin_frame(&mut self) {
        let [high, middle, low, kind, flags, ..] = self.head;
        self.head_bytes = 0;
        self.skip = u32::from_be_bytes([0, high, middle, low]) as usize;
        match kind {
            HEADERS | CONTINUATION => {
                self.in_block = true;
                self.ends_block = flags & END_HEADERS != 0;
            }
            DATA | WINDOW_UPDATE => {}
            _ => self.idle += 1,
        }
        if self.skip == 0 {
            self.end_frame();
        }
    }

    fn end_frame(&mut self) {
        if self.ends_block {
            (self.ends_block, self.in_block) = (false, false);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FrameWatch<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.inner).poll_read(cx, buf);
        let received = &buf.filled()[before..];
        if !received.is_empty() {
            self.frames.look(received);
            self.pulse.block(self.frames.in_block);
            let idle = std::mem::take(&mut self.frames.idle);
            if idle > 0 {
                self.pulse.idle_frames(idle);
            }
        }
        poll
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FrameWatch<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags, 0, 0, 0, 1]);
        frame.resize(FRAME_HEAD_BYTES + payload, 0xff);
        frame
    }

    #[test]
    fn blocks_are_followed_however_they_are_cut() {
        let bytes = [
            vec![b'P'; PREFACE_BYTES],
            frame(4, 0, 18),
            frame(HEADERS, END_HEADERS, 100),
            frame(DATA, 0, 5000),
            frame(6, 0, 8),
            frame(HEADERS, 0, 10),
            frame(CONTINUATION, 0, 0),
            frame(CONTINUATION, END_HEADERS, 0),
            frame(WINDOW_UPDATE, 0, 4),
            frame(HEADERS, 0, 10),
        ];
        let whole = bytes.concat();
        for size in [1, 2, 9, 10, 1000, whole.len()] {
            let mut frames = Frames::default();
            let mut opened = 0;
            for piece in whole.chunks(size) {
                let before = frames.in_block;
                frames.look(piece);
                opened += u32::from(frames.in_block && !before);
            }
            assert!(frames.in_block);
            assert_eq!(frames.idle, 2, "by {size}");
            if size == 1 {
                assert_eq!(opened, 3);
            }
            frames.look(&frame(CONTINUATION, END_HEADERS, 3));
            assert!(!frames.in_block);
        }
    }
}
