//! A queue between async callers and the store's own threads.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Jobs in order, at most `jobs_max` of them. Closing lets the threads finish what is queued.
pub(crate) struct Queue<T> {
    jobs_max: usize,
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    jobs: VecDeque<T>,
    closed: bool,
}

/// What a thread finds.
pub(crate) enum Taken<T> {
    Job(T),
    /// Nothing came for a while.
    Idle,
    Closed,
}

impl<T> Queue<T> {
    pub(crate) fn new(jobs_max: usize) -> Self {
        Self {
            jobs_max,
            state: Mutex::new(State {
                jobs: VecDeque::new(),
                closed: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// Gives the job back when there is no room, or nobody works any more.
    pub(crate) fn push(&self, job: T) -> Result<(), T> {
        let mut state = self.state.lock();
        if state.closed || state.jobs.len() >= self.jobs_max {
            return Err(job);
        }
        state.jobs.push_back(job);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// The next job; waits for one.
    pub(crate) fn take(&self, patience: Duration) -> Taken<T> {
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Taken::Job(job);
            }
            if state.closed {
                return Taken::Closed;
            }
            if self.changed.wait_for(&mut state, patience).timed_out()
                && state.jobs.is_empty()
                && !state.closed
            {
                return Taken::Idle;
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.state.lock().jobs.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.state.lock().jobs.len()
    }

    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }
}
