//! What purges make unusable.
//!
//! A purge is a log entry; an entry of the cache carries its *fill index*, what this node had applied when its fetch
//! from the origin began. The entry is unusable once a purge that matches it has a greater index. No call goes from
//! here to the store: purge is data, compared on lookup.
//!
//! The tables are the replicated state's own, shared and swapped whole, so this node holds neither more purges than
//! the cluster agreed to keep nor fewer. A hit takes no lock, and compares two numbers while no purge is newer than the
//! entry or than the last look at it ([`Checked`]); only then are its URL, its prefixes and its tags looked up.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use nearside_cluster::{Marks, PurgeScope, SitePurges};

use super::tags::TagSet;

/// What purges match an entry by, apart from its cache key.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// The site's name.
    pub site: &'a str,
    /// The normalised URL of the resource without what the key adds: `host/path?query`.
    pub url: &'a str,
    /// None: not known yet, so a purge of any tag may be one of it.
    pub tags: Option<&'a TagSet>,
}

/// Up to which purge an entry in memory was found to be usable. Not part of what it is: a copy has been checked by
/// nobody.
#[derive(Debug, Default)]
pub struct Checked(AtomicU64);

impl Clone for Checked {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Checked {
    fn eq(&self, _: &Self) -> bool {
        true
    }
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

/// One site's purges, and the greatest index among them, and of each kind.
#[derive(Clone, Debug, Default)]
struct SiteBook {
    newest: u64,
    newest_url: u64,
    newest_prefix: u64,
    newest_tag: u64,
    purges: Arc<SitePurges>,
}

impl SiteBook {
    fn new(purges: &Arc<SitePurges>) -> Self {
        let newest = |kind: &BTreeMap<String, Marks>| {
            let marks = kind.values().map(|marks| marks.newest());
            marks.max().unwrap_or(0)
        };
        let (url, prefix) = (newest(&purges.urls), newest(&purges.prefixes));
        let tag = newest(&purges.tags);
        Self {
            newest: purges.floor.newest().max(url).max(prefix).max(tag),
            newest_url: url,
            newest_prefix: prefix,
            newest_tag: tag,
            purges: Arc::clone(purges),
        }
    }

    /// The greatest indexes of the purges that match, as far as they are newer than the fill.
    fn matching(&self, identity: Identity<'_>, fill_index: u64) -> Marks {
        let purges = &self.purges;
        let mut all = purges.floor;
        if self.newest_url > fill_index
            && let Some(marks) = purges.urls.get(identity.url)
        {
            all = greater(all, *marks);
        }
        if self.newest_prefix > fill_index {
            let path = identity.url.find('/').map_or("", |at| &identity.url[at..]);
            for (prefix, marks) in &purges.prefixes {
                let of = if prefix.starts_with('/') {
                    path
                } else {
                    identity.url
                };
                if of.starts_with(&**prefix) {
                    all = greater(all, *marks);
                }
            }
        }
        if self.newest_tag > fill_index {
            match identity.tags {
                Some(tags) if !tags.every => {
                    for marks in tags.iter().filter_map(|tag| purges.tags.get(tag)) {
                        all = greater(all, *marks);
                    }
                }
                _ => {
                    for marks in purges.tags.values() {
                        all = greater(all, *marks);
                    }
                }
            }
        }
        all
    }
}

fn greater(one: Marks, other: Marks) -> Marks {
    Marks {
        hard: one.hard.max(other.hard),
        soft: one.soft.max(other.soft),
    }
}

/// All purges that still matter, by site.
///
/// Changed by one thread, which applies the log. A site's book is in place before `newest` tells of it, so that whoever
/// has read `newest` finds everything up to it.
#[derive(Debug, Default)]
pub struct PurgeBook {
    sites: ArcSwap<HashMap<Box<str>, Arc<ArcSwap<SiteBook>>>>,
    /// Entries of any site filled below this are gone.
    floor: AtomicU64,
    /// The greatest index of any site's purges.
    newest: AtomicU64,
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

    /// Takes over one site's purges as the state has them after the purge of `scope` at `index`. What it costs does not
    /// depend on how many there are.
    pub fn purged(&self, site: &str, scope: &PurgeScope, index: u64, purges: &Arc<SitePurges>) {
        let sites = self.sites.load();
        let Some(book) = sites.get(site) else {
            drop(sites);
            return self.set_site(site, purges);
        };
        let mut new = SiteBook::clone(&book.load());
        let kind = match scope {
            PurgeScope::All => &mut new.newest,
            PurgeScope::Url(_) => &mut new.newest_url,
            PurgeScope::Prefix(_) => &mut new.newest_prefix,
            PurgeScope::Tag(_) => &mut new.newest_tag,
        };
        *kind = index.max(*kind);
        new.newest = index.max(new.newest);
        new.purges = Arc::clone(purges);
        let newest = new.newest;
        book.store(Arc::new(new));
        self.newest.fetch_max(newest, Ordering::AcqRel);
    }

    /// Takes over one site's purges as the state has them.
    fn set_site(&self, site: &str, purges: &Arc<SitePurges>) {
        let new = Arc::new(SiteBook::new(purges));
        let newest = new.newest;
        self.sites.rcu(|sites| {
            let mut sites = HashMap::clone(sites);
            sites.insert(site.into(), Arc::new(ArcSwap::from(Arc::clone(&new))));
            sites
        });
        self.newest.fetch_max(newest, Ordering::AcqRel);
    }

    /// Takes over a whole state's purges, at once.
    pub fn set_all<'a>(
        &self,
        sites: impl Iterator<Item = (&'a str, &'a Arc<SitePurges>)>,
        floor: u64,
    ) {
        let mut newest = 0;
        let sites: HashMap<_, _> = sites
            .map(|(site, purges)| {
                let book = SiteBook::new(purges);
                newest = book.newest.max(newest);
                (site.into(), Arc::new(ArcSwap::from_pointee(book)))
            })
            .collect();
        self.sites.store(Arc::new(sites));
        self.floor.fetch_max(floor, Ordering::AcqRel);
        self.newest.fetch_max(newest, Ordering::AcqRel);
    }

    /// Purges on this node alone.
    pub fn purge(&self, site: &str, scope: &PurgeScope, index: u64, soft: bool) {
        let mut purges = self
            .sites
            .load()
            .get(site)
            .map(|site| SitePurges::clone(&site.load().purges))
            .unwrap_or_default();
        purges.add(scope, index, soft);
        self.purged(site, scope, index, &Arc::new(purges));
    }

    /// May a running fill with this fill index be joined?
    #[must_use]
    pub fn verdict(&self, identity: Identity<'_>, fill_index: u64) -> PurgeVerdict {
        self.look(identity, fill_index, fill_index).0
    }

    /// May an entry with this fill index be used? What was looked up is remembered in `checked`, so that it is looked
    /// up once for each purge.
    #[must_use]
    pub fn verdict_of_entry(
        &self,
        identity: Identity<'_>,
        fill_index: u64,
        checked: &Checked,
    ) -> PurgeVerdict {
        let seen = checked.0.load(Ordering::Relaxed).max(fill_index);
        let (verdict, newest) = self.look(identity, fill_index, seen);
        if verdict == PurgeVerdict::Usable && newest > seen {
            // Another worker may have seen more: then somebody looks once more than needed.
            checked.0.store(newest, Ordering::Relaxed);
        }
        verdict
    }

    /// The verdict, and the newest purge that it knew of. Nothing up to `seen` matches.
    fn look(&self, identity: Identity<'_>, fill_index: u64, seen: u64) -> (PurgeVerdict, u64) {
        // Before the site's book, which then holds all of it.
        let newest = self.newest.load(Ordering::Acquire);
        if fill_index < self.floor.load(Ordering::Acquire) {
            return (PurgeVerdict::Gone, newest);
        }
        if newest <= seen {
            return (PurgeVerdict::Usable, newest);
        }
        let sites = self.sites.load();
        let Some(site) = sites.get(identity.site) else {
            return (PurgeVerdict::Usable, newest);
        };
        let site = site.load();
        if site.newest <= seen {
            return (PurgeVerdict::Usable, newest);
        }
        let marks = site.matching(identity, fill_index);
        let verdict = if marks.hard > fill_index {
            PurgeVerdict::Gone
        } else if marks.soft > fill_index {
            PurgeVerdict::Stale
        } else {
            PurgeVerdict::Usable
        };
        (verdict, newest)
    }
}

#[cfg(test)]
mod tests;
