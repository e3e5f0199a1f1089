//! What writer and followers of one fill share.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::FillEnd;
use crate::chunk::CHUNK_BYTES;
use crate::disk::{Disk, Place};
use crate::key::{FillId, Key};
use crate::stats::FillCounts;

/// Bounds of a fill.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) whole_max_bytes: u64,
    pub(crate) fills_bytes: u64,
    pub(crate) disk_body_max_bytes: u64,
    pub(crate) window_bytes: u64,
    pub(crate) laggard_patience: Duration,
    pub(crate) write_deadline: Duration,
}

/// A follower's place in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seat {
    Free,
    At(u64),
    /// Failed for holding the others back.
    Failed,
}

/// How a fill ended.
#[derive(Clone, Debug)]
pub(crate) enum End {
    Complete,
    Broken(FillEnd),
}

/// What a follower at some place gets.
pub(crate) enum Next {
    Piece(Bytes),
    /// The window has moved past: the bytes are on the disk, up to here.
    OnDisk(u64),
    Wait,
    Finished,
    Broken(FillEnd),
}

pub(crate) struct State<M> {
    head: Option<(Arc<M>, Option<u64>)>,
    /// Pieces in memory with the offsets at which they begin, without gaps.
    pieces: VecDeque<(u64, Bytes)>,
    /// Offset of the first byte in memory.
    start: u64,
    written: u64,
    /// Up to here the body can be read back from the disk.
    stored_to: u64,
    end: Option<End>,
    seats: Vec<Seat>,
    /// True from the first follower on.
    followed: bool,
}

impl<M> State<M> {
    fn new() -> Self {
        Self {
            head: None,
            pieces: VecDeque::new(),
            start: 0,
            written: 0,
            stored_to: 0,
            end: None,
            seats: Vec::new(),
            followed: false,
        }
    }

    pub(crate) fn in_memory(&self) -> u64 {
        self.written - self.start
    }

    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    fn push(&mut self, piece: Bytes) {
        let begin = self.written;
        self.written += piece.len() as u64;
        self.pieces.push_back((begin, piece));
    }

    /// Puts a sealed chunk in the place of the pieces it was made of, so that the buffers they came in can go.
    fn seal(&mut self, payload: Bytes) {
        let begin = self.written - payload.len() as u64;
        while self.pieces.back().is_some_and(|(at, _)| *at >= begin) {
            self.pieces.pop_back();
        }
        self.pieces.push_back((begin, payload));
    }

    fn slowest(&self) -> Option<u64> {
        self.seats
            .iter()
            .filter_map(|seat| match seat {
                Seat::At(at) => Some(*at),
                _ => None,
            })
            .min()
    }

    fn followers(&self) -> usize {
        self.seats
            .iter()
            .filter(|seat| matches!(seat, Seat::At(_)))
            .count()
    }

    /// Drops from the front what is over the window and can be had otherwise: from the disk while the body is stored, so
    /// that newcomers find all of it; and where it is not, what every follower has or finds on the disk.
    fn trim(&mut self, window_bytes: u64, storing: bool) {
        let free_to = if storing {
            self.stored_to
        } else {
            self.stored_to.max(self.slowest().unwrap_or(self.written))
        };
        while self.in_memory() > window_bytes {
            match self.pieces.front() {
                Some((begin, piece)) if begin + piece.len() as u64 <= free_to => {
                    self.start = begin + piece.len() as u64;
                    self.pieces.pop_front();
                }
                _ => break,
            }
        }
    }

    fn next(&self, at: u64) -> Next {
        if let Some(End::Broken(end)) = &self.end {
            return Next::Broken(end.clone());
        }
        if at >= self.written {
            return match &self.end {
                Some(_) => Next::Finished,
                None => Next::Wait,
            };
        }
        if at < self.start {
            return Next::OnDisk(self.stored_to);
        }
        let index = self.pieces.partition_point(|(begin, _)| *begin <= at) - 1;
        let (begin, piece) = &self.pieces[index];
        let skip = usize::try_from(at - begin).expect("an offset within a piece fits");
        Next::Piece(piece.slice(skip..))
    }
}

/// A fill that runs, or that followers still read.
pub(crate) struct Running<M> {
    pub(crate) key: Key,
    pub(crate) tag: u64,
    pub(crate) fill: FillId,
    pub(crate) limits: Limits,
    pub(crate) disk: Option<Arc<Disk>>,
    state: Mutex<State<M>>,
    /// A chunk could not be written: the body is never complete on disk.
    disk_failed: AtomicBool,
    /// Bytes, a head or an end came.
    changed: Notify,
    /// A follower moved on or left, or the disk took a chunk.
    room: Notify,
    counts: Arc<FillCounts>,
}

impl<M> Running<M> {
    pub(crate) fn new(
        key: Key,
        tag: u64,
        limits: Limits,
        disk: Option<Arc<Disk>>,
        counts: Arc<FillCounts>,
    ) -> Self {
        counts.running.add(1);
        Self {
            key,
            tag,
            fill: FillId::random(),
            limits,
            disk,
            state: Mutex::new(State::new()),
            disk_failed: AtomicBool::new(false),
            changed: Notify::new(),
            room: Notify::new(),
            counts,
        }
    }

    pub(crate) fn counts(&self) -> &FillCounts {
        &self.counts
    }

    /// Runs a change of the state and keeps the count of bytes held by fills true.
    fn change<T>(&self, change: impl FnOnce(&mut State<M>) -> T) -> T {
        let mut state = self.state.lock();
        let before = state.in_memory();
        let value = change(&mut state);
        let after = state.in_memory();
        self.counts.running_bytes.add(after.saturating_sub(before));
        self.counts.running_bytes.take(before.saturating_sub(after));
        value
    }

    /// True while a newcomer could read the body from its first byte on.
    pub(crate) fn joinable(&self) -> bool {
        let state = self.state.lock();
        state.start <= state.stored_to && !matches!(state.end, Some(End::Broken(_)))
    }

    pub(crate) fn set_head(&self, meta: M, length: Option<u64>) {
        self.change(|state| state.head = Some((Arc::new(meta), length)));
        self.changed.notify_waiters();
    }

    pub(crate) fn head(&self) -> Option<(Arc<M>, Option<u64>)> {
        self.state.lock().head.clone()
    }

    /// The head, or how the fill ended before one came; none while it may still come.
    pub(crate) fn head_or_end(&self) -> Option<Result<Arc<M>, FillEnd>> {
        let state = self.state.lock();
        match (&state.head, &state.end) {
            (_, Some(End::Broken(end))) => Some(Err(end.clone())),
            (Some((meta, _)), _) => Some(Ok(meta.clone())),
            (None, _) => None,
        }
    }

    pub(crate) fn push(&self, piece: Bytes) {
        self.change(|state| state.push(piece));
        self.changed.notify_waiters();
    }

    pub(crate) fn seal(&self, payload: Bytes) {
        self.state.lock().seal(payload);
    }

    pub(crate) fn written(&self) -> u64 {
        self.state.lock().written()
    }

    /// Ends the fill; only the first end counts. Says whether this was it.
    pub(crate) fn end(&self, end: End) -> bool {
        let first = self.change(|state| {
            let first = state.end.is_none();
            if first {
                state.end = Some(end);
            }
            first
        });
        self.changed.notify_waiters();
        first
    }

    /// The disk took the body up to here, or failed to.
    pub(crate) fn stored(&self, to: Option<u64>) {
        match to {
            Some(to) => self.state.lock().stored_to = to,
            None => self.disk_failed.store(true, Ordering::Release),
        }
        self.room.notify_one();
    }

    pub(crate) fn disk_failed(&self) -> bool {
        self.disk_failed.load(Ordering::Acquire)
    }

    /// Where a follower behind the window reads: the chunks that the disk took so far.
    pub(crate) fn place(&self, stored_to: u64) -> Place {
        Place {
            fill: self.fill,
            length: stored_to,
            chunk_bytes: CHUNK_BYTES as u32,
        }
    }

    /// Says whether the window has room, after dropping what can go.
    pub(crate) fn has_room(&self, storing: bool) -> Room {
        self.change(|state| {
            if !storing && state.followed && state.followers() == 0 {
                return Room::Unwanted;
            }
            state.trim(self.limits.window_bytes, storing);
            if state.in_memory() <= self.limits.window_bytes {
                Room::Free
            } else {
                Room::Full
            }
        })
    }

    pub(crate) fn room(&self) -> &Notify {
        &self.room
    }

    pub(crate) fn changed(&self) -> &Notify {
        &self.changed
    }

    /// Fails the followers that hold the window back, if there are others who wait for bytes.
    pub(crate) fn fail_laggards(&self) -> bool {
        let failed = self.change(|state| {
            let written = state.written;
            if !state.seats.contains(&Seat::At(written)) {
                return 0;
            }
            let mut failed = 0;
            for seat in &mut state.seats {
                if matches!(seat, Seat::At(at) if written - (*at).min(written) > self.limits.window_bytes / 2) {
                    *seat = Seat::Failed;
                    failed += 1;
                }
            }
            failed
        });
        self.counts.laggards_failed.add(failed);
        self.changed.notify_waiters();
        failed > 0
    }

    pub(crate) fn sit(&self) -> usize {
        let mut state = self.state.lock();
        state.followed = true;
        match state.seats.iter().position(|seat| *seat == Seat::Free) {
            Some(free) => {
                state.seats[free] = Seat::At(0);
                free
            }
            None => {
                state.seats.push(Seat::At(0));
                state.seats.len() - 1
            }
        }
    }

    pub(crate) fn move_to(&self, seat: usize, at: u64) {
        let mut state = self.state.lock();
        if let Seat::At(place) = &mut state.seats[seat] {
            *place = at;
        }
        drop(state);
        self.room.notify_one();
    }

    pub(crate) fn leave(&self, seat: usize) {
        self.state.lock().seats[seat] = Seat::Free;
        self.room.notify_one();
    }

    /// What the follower in this seat reads next; a piece moves its place on.
    pub(crate) fn next(&self, seat: usize, at: u64) -> Next {
        let mut state = self.state.lock();
        if state.seats[seat] == Seat::Failed {
            return Next::Broken(FillEnd::Failed("the reader held the others back".into()));
        }
        let next = state.next(at);
        if let Next::Piece(piece) = &next {
            state.seats[seat] = Seat::At(at + piece.len() as u64);
            drop(state);
            self.room.notify_one();
        }
        next
    }
}

impl<M> Drop for Running<M> {
    fn drop(&mut self) {
        self.counts
            .running_bytes
            .take(self.state.get_mut().in_memory());
    }
}

/// Whether a writer may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Free,
    Full,
    /// There were followers, and none is left.
    Unwanted,
}
