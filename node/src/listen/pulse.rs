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
}

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
        }
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
