//! A fill: one writer brings a body from elsewhere, any number of followers read it as it arrives.
//!
//! The writer appends; each follower has a place of its own in the body and reads on from there at its own pace, also
//! after the writer has finished. What a fill holds in memory is bounded:
//!
//! * a body of up to 1/64 of the memory bound is kept whole and becomes an entry of the memory tier;
//! * a larger one is cut into chunks that go to disk, and only a window of it stays in memory. A follower behind the
//!   window reads the chunks back from the disk, so it neither slows the others nor holds memory;
//! * where the disk does not take it, the window moves with the slowest follower and the writer waits for it. One that
//!   makes no progress for `laggard_patience` while another waits for bytes is failed, visibly. Without any follower
//!   left, such a fill has no purpose and the writer is told.
//!
//! A writer that is dropped fails its fill, and followers see it.

mod follower;
mod state;
mod writer;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::entry::Entry;
use crate::key::Key;
use crate::meta::Meta;

pub use follower::Follower;
pub(crate) use state::{Limits, Running};
pub use writer::{Broken, Finished, WriteError, Writer};

/// Why a follower gets nothing more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FillEnd {
    /// The answer is not to be shared: each reader has to ask for itself.
    #[error("the answer is not to be shared")]
    Declined,
    /// The fill broke off, for this reason.
    #[error("the fill broke off: {0}")]
    Failed(Arc<str>),
}

/// What [`crate::Store::fill`] gives.
#[derive(Debug)]
pub enum Fill<M: Meta> {
    /// Nobody fetches this: the caller does, and must finish, decline or fail.
    Lead(Writer<M>),
    /// Somebody fetches this already.
    Follow(Follower<M>),
    /// Somebody's fetch ended between the caller's lookup and now, and left this entry.
    Stored(Arc<Entry<M>>),
}

const STRIPES: usize = 64;

/// Fills by the hash of their key.
pub(crate) type Stripe<M> = HashMap<u128, Arc<Running<M>>>;

/// The running fills that can be joined, by key. Each is owned by its writer, which takes it out at its end.
pub(crate) struct Registry<M: Meta> {
    stripes: Box<[Mutex<Stripe<M>>]>,
}

impl<M: Meta> Registry<M> {
    pub(crate) fn new() -> Self {
        Self {
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
        }
    }

    /// The fills whose keys fall together with this one, locked.
    pub(crate) fn stripe(&self, key: &Key) -> MutexGuard<'_, Stripe<M>> {
        self.stripes[(key.hash() % STRIPES as u128) as usize].lock()
    }

    /// Takes this very fill out; one that has replaced it stays.
    pub(crate) fn remove(&self, fill: &Arc<Running<M>>) {
        let mut stripe = self.stripe(&fill.key);
        if stripe
            .get(&fill.key.hash())
            .is_some_and(|running| Arc::ptr_eq(running, fill))
        {
            stripe.remove(&fill.key.hash());
        }
    }
}
