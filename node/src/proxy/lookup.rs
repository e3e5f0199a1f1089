//! What the store holds for a request.
//!
//! The primary key may hold one variant itself; the directory beside it leads to the others (see [`super::vary`]).
//! A hit in memory is found without waiting and without a directory.

use std::sync::Arc;
use std::time::SystemTime;

use nearside_cache_store::{Directory as Peeked, Entry, Key};

use super::Proxy;
use super::admit::Ask;
use super::key;
use super::meta::HttpMeta;
use super::outcome::Fwd;
use super::parts::Parts;
use super::vary::{self, Directory};
use crate::view::PurgeVerdict;

/// A stored response, shared.
pub(super) type Stored = Arc<Entry<HttpMeta>>;

/// What was found.
#[derive(Debug)]
pub(super) struct Found {
    /// The primary key: of the directory, and of the first variant.
    pub(super) primary: Key,
    /// The key that a fetch for this request fills.
    pub(super) key: Key,
    /// What matches and was not purged, fresh or not.
    pub(super) stored: Option<(Stored, PurgeVerdict)>,
    /// What is held in part, where nothing is whole.
    pub(super) parts: Option<Parts>,
    /// What `Cache-Status` says if it is nothing.
    pub(super) fwd: Fwd,
}

impl Proxy {
    /// Looks in memory only, at the primary key only: what matches there and was not purged, fresh or not.
    pub(super) fn peek(&self, ask: &Ask) -> Option<(Stored, PurgeVerdict)> {
        let (site, tls) = (&ask.site.name, ask.client.tls);
        let (authority, target) = (&ask.authority, &ask.target);
        let entry = key::with_primary(site, tls, authority, target, &ask.apart, |whole| {
            self.store.peek_whole(whole)
        })?;
        if !vary::matches(&entry.meta().selection, &ask.headers) {
            return None;
        }
        self.usable(ask, entry)
    }

    /// Looks in memory, then on disk.
    pub(super) async fn find(&self, ask: &Ask) -> Found {
        if ask.site.rules.divides() || ask.query.is_some() {
            self.recall_writes(ask).await;
        }
        let primary = self.store.key(ask.primary());
        let at_primary = match self.store.peek(&primary) {
            Some(entry) => Some(entry),
            None => self.store.lookup(&primary).await,
        };
        let mut fwd = Fwd::Miss;
        let mut at_primary_only = false;
        if let Some(entry) = at_primary {
            at_primary_only = vary::matches(&entry.meta().selection, &ask.headers);
            if !at_primary_only {
                fwd = Fwd::VaryMiss;
            } else if let Some(stored) = self.usable(ask, entry) {
                return Found {
                    key: primary.clone(),
                    primary,
                    stored: Some(stored),
                    parts: None,
                    fwd,
                };
            }
        }
        let directory = self.directory(&primary).await;
        let parts = self.parts(ask, &primary, &directory).await;
        if at_primary_only {
            return Found {
                key: primary.clone(),
                primary,
                stored: None,
                parts,
                fwd,
            };
        }
        let (first, best) = self.best_variant(ask, &primary, &directory).await;
        if let Some((key, entry)) = best
            && let Some(stored) = self.usable(ask, entry)
        {
            return Found {
                primary,
                key,
                stored: Some(stored),
                parts: None,
                fwd,
            };
        }
        if first.is_some() {
            fwd = Fwd::VaryMiss;
        }
        let key = first.unwrap_or_else(|| primary.clone());
        Found {
            primary,
            key,
            stored: None,
            parts,
            fwd,
        }
    }

    /// The directory under a primary key; empty when there is none.
    pub(super) async fn directory(&self, primary: &Key) -> Directory {
        let bytes = match self.store.peek_directory(primary) {
            Peeked::Known(bytes) => Some(bytes),
            Peeked::Absent => None,
            Peeked::NotInMemory => self.store.directory(primary).await,
        };
        bytes.map_or_else(Directory::default, |bytes| Directory::decode(&bytes))
    }

    /// The entry with what purges say of it, unless a purge or an invalidation has taken it away.
    pub(super) fn usable(&self, ask: &Ask, entry: Stored) -> Option<(Stored, PurgeVerdict)> {
        let verdict = self.verdict(entry.meta())?;
        let asked = entry.meta().request_time;
        let valid = self.is_valid(ask, asked)
            && (!(ask.site.rules.divides() || ask.query.is_some())
                || self.is_unwritten(ask, asked));
        valid.then_some((entry, verdict))
    }

    /// What purges say of a stored response, unless they have taken it away.
    pub(super) fn verdict(&self, meta: &HttpMeta) -> Option<PurgeVerdict> {
        let verdict = self
            .purges
            .verdict_of_entry(meta.identity(), meta.fill_index, &meta.checked);
        (verdict != PurgeVerdict::Gone).then_some(verdict)
    }

    /// Has no write made unusable what was asked for at this time?
    pub(super) fn is_valid(&self, ask: &Ask, request_time: SystemTime) -> bool {
        self.marks.is_valid(&ask.site.name, &ask.url, request_time)
    }

    /// Changes the directory under a primary key, and gives what the change gave; none where it changed nothing, or lost
    /// against other writers of this URL a few times over.
    pub(super) async fn change_directory<T>(
        &self,
        primary: &Key,
        mut change: impl FnMut(&mut Directory) -> Option<T>,
    ) -> Option<T> {
        for _ in 0..4 {
            let before = self.store.directory(primary).await;
            let mut directory = before
                .as_deref()
                .map_or_else(Directory::default, Directory::decode);
            let changed = change(&mut directory)?;
            if self
                .store
                .set_directory(primary, before.as_deref(), directory.encode())
            {
                return Some(changed);
            }
        }
        None
    }
}
