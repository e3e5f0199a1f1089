//! Which keys have a change on its way to the disk.
//!
//! Until a change has been written, the disk still says what was before: a removed entry would come back, an older
//! response would be found again. So a key with a change under way is a miss on disk. What could not even be queued stays
//! noted, and is made good by removing the key's record when there is time; too many of those, and all records go.

use std::collections::HashMap;

use parking_lot::Mutex;

/// Keys that may be noted without a job in the queue.
const LOST_MAX: usize = 16 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Note {
    /// The job with this number will write it.
    Queued(u64),
    /// No job will.
    Lost,
}

/// The notes of one writing thread's keys.
#[derive(Default)]
pub(crate) struct Pending {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    notes: HashMap<u128, Note>,
    lost: usize,
    next: u64,
    /// Everything is to be forgotten; until then everything is a miss.
    all: bool,
}

/// What a writing thread has to make good.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Owed {
    Nothing,
    Keys(Vec<u128>),
    Everything,
}

impl Pending {
    /// True when what the disk says of this key is not to be believed.
    pub(crate) fn covers(&self, hash: u128) -> bool {
        let state = self.state.lock();
        state.all || state.notes.contains_key(&hash)
    }

    /// Notes a change and queues its job under one lock, so that the last one noted is the last one written.
    pub(crate) fn queue(&self, hash: u128, push: impl FnOnce(u64) -> bool) -> bool {
        let mut state = self.state.lock();
        state.next += 1;
        let number = state.next;
        let queued = push(number);
        let note = if queued {
            Note::Queued(number)
        } else {
            Note::Lost
        };
        let before = state.notes.insert(hash, note);
        match (before == Some(Note::Lost), note == Note::Lost) {
            (true, false) => state.lost -= 1,
            (false, true) => state.lost += 1,
            _ => {}
        }
        if state.lost > LOST_MAX {
            state.forget_all();
        }
        queued
    }

    /// The job with this number was done.
    pub(crate) fn done(&self, hash: u128, number: u64) {
        let mut state = self.state.lock();
        if state.notes.get(&hash) == Some(&Note::Queued(number)) {
            state.notes.remove(&hash);
        }
    }

    /// The job with this number failed: the record is to go.
    pub(crate) fn failed(&self, hash: u128, number: u64) {
        let mut state = self.state.lock();
        if state.notes.get(&hash) == Some(&Note::Queued(number)) {
            state.notes.insert(hash, Note::Lost);
            state.lost += 1;
        }
    }

    /// What is to be made good. The notes stay until [`Pending::paid`].
    pub(crate) fn owed(&self) -> Owed {
        let state = self.state.lock();
        if state.all {
            return Owed::Everything;
        }
        if state.lost == 0 {
            return Owed::Nothing;
        }
        let lost = state.notes.iter().filter(|(_, note)| **note == Note::Lost);
        Owed::Keys(lost.map(|(hash, _)| *hash).collect())
    }

    pub(crate) fn paid(&self, owed: &Owed) {
        let mut state = self.state.lock();
        match owed {
            Owed::Nothing => {}
            Owed::Everything => state.all = false,
            Owed::Keys(hashes) => {
                for hash in hashes {
                    if state.notes.get(hash) == Some(&Note::Lost) {
                        state.notes.remove(hash);
                        state.lost -= 1;
                    }
                }
            }
        }
    }
}

impl State {
    fn forget_all(&mut self) {
        self.all = true;
        self.lost = 0;
        self.notes.retain(|_, note| *note != Note::Lost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_change_clears_the_note() {
        let pending = Pending::default();
        let mut numbers = Vec::new();
        for _ in 0..2 {
            assert!(pending.queue(7, |number| {
                numbers.push(number);
                true
            }));
        }
        pending.done(7, numbers[0]);
        assert!(pending.covers(7));
        pending.done(7, numbers[1]);
        assert!(!pending.covers(7));
    }

    #[test]
    fn what_was_not_queued_is_owed_until_paid_or_overtaken() {
        let pending = Pending::default();
        assert!(!pending.queue(1, |_| false));
        assert!(!pending.queue(2, |_| false));
        assert!(pending.queue(2, |_| true));
        let owed = pending.owed();
        assert_eq!(owed, Owed::Keys(vec![1]));
        pending.paid(&owed);
        assert!(!pending.covers(1));
        assert!(pending.covers(2));
        assert_eq!(pending.owed(), Owed::Nothing);
    }

    #[test]
    fn too_many_lost_changes_forget_everything() {
        let pending = Pending::default();
        for hash in 0..=LOST_MAX as u128 {
            pending.queue(hash, |_| false);
        }
        assert_eq!(pending.owed(), Owed::Everything);
        assert!(pending.covers(u128::MAX));
        pending.paid(&Owed::Everything);
        assert!(!pending.covers(3));
    }
}
