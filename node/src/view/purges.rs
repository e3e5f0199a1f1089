//! What purges make unusable.
//!
//! A purge is a log entry; an entry of the cache carries its *fill index*, what this node had applied when its fetch
//! from the origin began. The entry is unusable once a purge that matches it has a greater index. No call goes from
//! here to the store: purge is data, compared on lookup.
//!
//! A hit pays one atomic load while no purge of its site is newer than the entry. Only then are the tables asked,
//! under a sharded lock that readers share.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::RwLock;

/// Which history an index belongs to: a cluster, and its epoch (which `recover` and `restore` raise).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// The cluster's random id.
    pub cluster: [u8; 16],
    /// Raised when history may have been rewritten.
    pub epoch: u64,
}

/// What purges match an entry by, apart from its cache key.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// The site's name.
    pub site: &'a str,
    /// The normalised URL of the resource without what the key adds: `host/path?query`.
    pub url: &'a str,
}

/// What the book says of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PurgeVerdict {
    /// No matching purge is newer.
    Usable,
    /// A soft purge is newer: usable only as a stale entry is.
    Stale,
    /// A hard purge is newer: as if it were not there.
    Gone,
}

/// A hard and a soft index.
#[derive(Clone, Copy, Debug, Default)]
struct Pair {
    hard: u64,
    soft: u64,
}

#[derive(Debug, Default)]
struct SitePurges {
    /// The greatest index of any purge of this site.
    newest: AtomicU64,
    all: RwLock<Pair>,
    urls: RwLock<HashMap<Box<str>, Pair>>,
}

/// All purges that still matter, by site. Shared by everyone; never swapped.
#[derive(Debug, Default)]
pub struct PurgeBook {
    sites: ArcSwap<HashMap<Box<str>, Arc<SitePurges>>>,
    applied: AtomicU64,
}

impl PurgeBook {
    /// The index up to which every change is visible here: the fill index of a fetch that begins now.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.applied.load(Ordering::Acquire)
    }

    /// Says that every change up to `index` is visible. Called after the purge itself, so that no fetch can claim an
    /// index whose purge it might have missed.
    pub fn advance(&self, index: u64) {
        self.applied.fetch_max(index, Ordering::AcqRel);
    }

    /// Purges one URL (`host/path?query`), all its variants.
    pub fn purge_url(&self, site: &str, url: &str, index: u64, soft: bool) {
        let purges = self.of(site);
        raise(
            purges.urls.write().entry(url.into()).or_default(),
            index,
            soft,
        );
        purges.newest.fetch_max(index, Ordering::AcqRel);
    }

    /// Purges everything of a site.
    pub fn purge_site(&self, site: &str, index: u64, soft: bool) {
        let purges = self.of(site);
        raise(&mut purges.all.write(), index, soft);
        purges.newest.fetch_max(index, Ordering::AcqRel);
    }

    /// May an entry (or a running fill) with this fill index be used?
    #[must_use]
    pub fn verdict(&self, identity: Identity<'_>, fill_index: u64) -> PurgeVerdict {
        let sites = self.sites.load();
        let Some(purges) = sites.get(identity.site) else {
            return PurgeVerdict::Usable;
        };
        if purges.newest.load(Ordering::Acquire) <= fill_index {
            return PurgeVerdict::Usable;
        }
        let all = *purges.all.read();
        let url = purges
            .urls
            .read()
            .get(identity.url)
            .copied()
            .unwrap_or_default();
        if all.hard.max(url.hard) > fill_index {
            PurgeVerdict::Gone
        } else if all.soft.max(url.soft) > fill_index {
            PurgeVerdict::Stale
        } else {
            PurgeVerdict::Usable
        }
    }

    fn of(&self, site: &str) -> Arc<SitePurges> {
        if let Some(purges) = self.sites.load().get(site) {
            return Arc::clone(purges);
        }
        self.sites.rcu(|sites| {
            let mut sites = HashMap::clone(sites);
            sites.entry(site.into()).or_default();
            sites
        });
        Arc::clone(&self.sites.load()[site])
    }
}

fn raise(pair: &mut Pair, index: u64, soft: bool) {
    let slot = if soft { &mut pair.soft } else { &mut pair.hard };
    *slot = (*slot).max(index);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_gone_once_a_matching_purge_is_newer() {
        let book = PurgeBook::default();
        let page = Identity {
            site: "shop",
            url: "shop.example/a",
        };
        let other = Identity {
            site: "shop",
            url: "shop.example/b",
        };
        assert_eq!(book.verdict(page, 0), PurgeVerdict::Usable);
        book.purge_url("shop", "shop.example/a", 5, false);
        assert_eq!(book.verdict(page, 4), PurgeVerdict::Gone);
        assert_eq!(book.verdict(page, 5), PurgeVerdict::Usable);
        assert_eq!(book.verdict(other, 4), PurgeVerdict::Usable);
        book.purge_site("shop", 7, true);
        assert_eq!(book.verdict(other, 6), PurgeVerdict::Stale);
        assert_eq!(book.verdict(page, 4), PurgeVerdict::Gone);
        assert_eq!(book.verdict(page, 7), PurgeVerdict::Usable);
    }
}
