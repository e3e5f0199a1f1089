//! How long a connection may stay as it is.
//!
//! One value per connection, shared by its stream, its service and its replies; all on one core, so plain cells. They
//! note what happens; the connection's one timer asks for the deadline that follows. Nothing here sets a timer per
//! request: a kept-alive connection that answers a thousand requests a second touches its timer once a minute.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

/// The three patiences.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) head: Duration,
    pub(super) idle: Duration,
    pub(super) progress: Duration,
}

/// Why a connection is ended by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// Nothing was asked for a while. Not the client's fault.
    Idle,
    /// A head did not end in time.
    Head,
    /// The client took no byte of a response for too long.
    Write,
    /// More HTTP/2 streams reset by the client than are tolerated.
    Resets,
    /// More HTTP/2 frames that carry nothing than are tolerated.
    Flood,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No request is open.
    Idle,
    /// The first bytes of a head have come.
    Head,
    /// At least one request is open.
    Serving,
}

#[derive(Debug)]
pub(super) struct Pulse {
    patience: Patience,
    phase: Cell<Phase>,
    since: Cell<Instant>,
    /// Since when the socket takes no byte.
    write_blocked: Cell<Option<Instant>>,
    streams: Cell<u32>,
    /// Replies whose piece was taken but that were not asked for the next one: HTTP/2 streams without window.
    waiting: RefCell<Vec<(u64, Instant)>>,
    next_stream: Cell<u64>,
    /// Leaky count of streams that the client gave up.
    resets: Cell<usize>,
    resets_max: usize,
    /// Since when an HTTP/2 header block is being received.
    block: Cell<Option<Instant>>,
    /// Leaky count of frames that carry nothing, and when it last leaked.
    idle_frames: Cell<(u32, Instant)>,
    flooded: Cell<bool>,
}

/// So many frames that carry nothing may come at once, and so many per second for ever: far more than any client's
/// pings and settings.
const IDLE_FRAMES_MAX: u32 = 2000;
const IDLE_FRAMES_PER_SECOND: u32 = 100;

impl Pulse {
    pub(super) fn new(patience: Patience, resets_max: usize) -> Self {
        Self {
            patience,
            phase: Cell::new(Phase::Idle),
            since: Cell::new(Instant::now()),
            write_blocked: Cell::new(None),
            streams: Cell::new(0),
            waiting: RefCell::default(),
            next_stream: Cell::new(0),
            resets: Cell::new(0),
            resets_max,
            block: Cell::new(None),
            idle_frames: Cell::new((0, Instant::now())),
            flooded: Cell::new(false),
        }
    }

    /// Is a header block of HTTP/2 being received, after the bytes that have just come?
    pub(super) fn block(&self, open: bool) {
        match (open, self.block.get()) {
            (true, None) => self.block.set(Some(Instant::now())),
            (false, Some(_)) => self.block.set(None),
            _ => {}
        }
    }

    /// Frames of HTTP/2 came that carry nothing.
    pub(super) fn idle_frames(&self, frames: u32) {
        let (count, since) = self.idle_frames.get();
        let mut count = count.saturating_add(frames);
        let mut leaked_at = since;
        // The clock is looked at only when it matters.
        if count > IDLE_FRAMES_MAX {
            leaked_at = Instant::now();
            let seconds = (leaked_at - since).as_secs_f64();
            let leaked = seconds * f64::from(IDLE_FRAMES_PER_SECOND);
            count = (f64::from(count) - leaked).max(0.0) as u32;
            self.flooded.set(count > IDLE_FRAMES_MAX);
        }
        self.idle_frames.set((count, leaked_at));
    }

    /// Bytes came (HTTP/1 only: HTTP/2 has pings and window updates between requests).
    pub(super) fn received(&self) {
        if self.phase.get() == Phase::Idle {
            self.phase.set(Phase::Head);
            self.since.set(Instant::now());
        }
    }

    /// Is no request open, and none begun?
    pub(super) fn is_idle(&self) -> bool {
        self.phase.get() == Phase::Idle
    }

    /// A request came and was answered at once: idle from now.
    pub(super) fn answered(&self) {
        self.since.set(Instant::now());
    }

    /// Is a head being received?
    pub(super) fn in_head(&self) -> bool {
        self.phase.get() == Phase::Head
    }

    /// A request is handed to the handler. Returns its number on this connection.
    pub(super) fn opened(&self) -> u64 {
        self.streams.set(self.streams.get() + 1);
        self.phase.set(Phase::Serving);
        let number = self.next_stream.get();
        self.next_stream.set(number + 1);
        number
    }

    /// A response has been handed over whole, or was given up.
    pub(super) fn closed(&self, stream: u64, whole: bool) {
        self.moving(stream);
        if whole {
            self.resets.set(self.resets.get().saturating_sub(1));
        } else {
            self.resets.set(self.resets.get() + 1);
        }
        let open = self.streams.get().saturating_sub(1);
        self.streams.set(open);
        if open == 0 {
            self.phase.set(Phase::Idle);
            self.since.set(Instant::now());
        }
    }

    /// A reply gave a piece and now waits until the client has room for the next.
    pub(super) fn waits(&self, stream: u64) {
        self.waiting.borrow_mut().push((stream, Instant::now()));
    }

    /// A reply was asked for its next piece.
    pub(super) fn moving(&self, stream: u64) {
        let mut waiting = self.waiting.borrow_mut();
        if let Some(at) = waiting.iter().position(|(other, _)| *other == stream) {
            waiting.swap_remove(at);
        }
    }

    /// The socket takes nothing now.
    pub(super) fn write_blocked(&self) {
        if self.write_blocked.get().is_none() {
            self.write_blocked.set(Some(Instant::now()));
        }
    }

    /// The socket took bytes.
    pub(super) fn write_moved(&self) {
        if self.write_blocked.take().is_some() && self.phase.get() == Phase::Idle {
            // The last response was still on its way: idle only from here.
            self.since.set(Instant::now());
        }
    }

    /// What ends this connection next if nothing happens, and when.
    pub(super) fn deadline(&self) -> Option<(Instant, Cut)> {
        if self.resets.get() > self.resets_max {
            return Some((self.since.get(), Cut::Resets));
        }
        if self.flooded.get() {
            return Some((self.since.get(), Cut::Flood));
        }
        let block = self.block.get();
        let block = block.map(|since| (since + self.patience.head, Cut::Head));
        match (block, self.deadline_of_phase()) {
            (Some(block), Some(other)) => Some(if block.0 < other.0 { block } else { other }),
            (block, other) => block.or(other),
        }
    }

    fn deadline_of_phase(&self) -> Option<(Instant, Cut)> {
        let blocked = self.write_blocked.get();
        let stalled = self.waiting.borrow().iter().map(|(_, since)| *since).min();
        let write = match (blocked, stalled) {
            (Some(blocked), Some(stalled)) => Some(blocked.min(stalled)),
            (blocked, stalled) => blocked.or(stalled),
        };
        if let Some(since) = write {
            return Some((since + self.patience.progress, Cut::Write));
        }
        match self.phase.get() {
            Phase::Idle => Some((self.since.get() + self.patience.idle, Cut::Idle)),
            Phase::Head => Some((self.since.get() + self.patience.head, Cut::Head)),
            Phase::Serving => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pulse() -> Pulse {
        Pulse::new(
            Patience {
                head: Duration::from_secs(10),
                idle: Duration::from_secs(75),
                progress: Duration::from_secs(30),
            },
            2,
        )
    }

    fn cut(pulse: &Pulse) -> Option<Cut> {
        pulse.deadline().map(|(_, cut)| cut)
    }

    #[test]
    fn the_deadline_follows_what_the_connection_does() {
        let pulse = pulse();
        assert_eq!(cut(&pulse), Some(Cut::Idle));
        pulse.received();
        assert_eq!(cut(&pulse), Some(Cut::Head));
        let stream = pulse.opened();
        assert_eq!(cut(&pulse), None);
        pulse.write_blocked();
        assert_eq!(cut(&pulse), Some(Cut::Write));
        pulse.closed(stream, true);
        assert_eq!(cut(&pulse), Some(Cut::Write));
        pulse.write_moved();
        assert_eq!(cut(&pulse), Some(Cut::Idle));
    }

    #[test]
    fn a_stream_without_window_is_a_stalled_reader() {
        let pulse = pulse();
        let (slow, quick) = (pulse.opened(), pulse.opened());
        pulse.waits(slow);
        pulse.waits(quick);
        pulse.moving(quick);
        assert_eq!(cut(&pulse), Some(Cut::Write));
        pulse.moving(slow);
        assert_eq!(cut(&pulse), None);
    }

    #[test]
    fn a_header_block_has_its_time_whatever_else_is_open() {
        let pulse = pulse();
        let _stream = pulse.opened();
        assert_eq!(cut(&pulse), None);
        pulse.block(true);
        let (first, _) = pulse.deadline().unwrap();
        pulse.block(true);
        assert_eq!(pulse.deadline(), Some((first, Cut::Head)));
        pulse.block(false);
        assert_eq!(cut(&pulse), None);
    }

    #[test]
    fn frames_that_carry_nothing_are_bounded() {
        let pulse = pulse();
        pulse.idle_frames(IDLE_FRAMES_MAX);
        assert_eq!(cut(&pulse), Some(Cut::Idle));
        // What came long ago is forgiven.
        let earlier = Instant::now() - Duration::from_secs(10);
        pulse.idle_frames.set((IDLE_FRAMES_MAX, earlier));
        pulse.idle_frames(500);
        assert_eq!(cut(&pulse), Some(Cut::Idle));
        pulse.idle_frames(IDLE_FRAMES_MAX);
        assert_eq!(cut(&pulse), Some(Cut::Flood));
    }

    #[test]
    fn resets_are_forgiven_by_answers_and_bounded() {
        let pulse = pulse();
        for whole in [false, false, true, false] {
            let stream = pulse.opened();
            pulse.closed(stream, whole);
        }
        assert_eq!(cut(&pulse), Some(Cut::Idle));
        let stream = pulse.opened();
        pulse.closed(stream, false);
        assert_eq!(cut(&pulse), Some(Cut::Resets));
    }
}
