//! What purges make unusable.
//!
//! A purge is a log entry; an entry of the cache carries its *fill index*, what this node had applied when its fetch
//! from the origin began. The entry is unusable once a purge that matches it has a greater index. No call goes from
//! here to the store: purge is data, compared on lookup.
//!
//! The tables are the replicated state's own, shared and swapped whole, so this node holds neither more purges than
//! the cluster agreed to keep nor fewer. A hit takes no lock, and compares one number while no purge of its site is
//! newer than the entry; only then is the URL looked up.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use nearside_cluster::{Marks, SitePurges};

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

/// One site's purges, and the greatest index among them.
#[derive(Clone, Debug, Default)]
struct SiteBook {
    newest: u64,
    purges: Arc<SitePurges>,
}

impl SiteBook {
    fn new(purges: &Arc<SitePurges>) -> Self {
        let urls = purges
            .urls
            .values()
            .map(|marks| newest(*marks))
            .max()
            .unwrap_or(0);
        Self {
            newest: newest(purges.floor).max(urls),
            purges: Arc::clone(purges),
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Book {
    sites: HashMap<Box<str>, SiteBook>,
    /// Entries of any site filled below this are gone.
    floor: u64,
    /// The greatest index of any site's purges.
    newest: u64,
}

/// All purges that still matter, by site.
#[derive(Debug, Default)]
pub struct PurgeBook {
    book: ArcSwap<Book>,
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

    /// Takes over one site's purges as the state has them.
    pub fn set_site(&self, site: &str, purges: &Arc<SitePurges>) {
        let entry = SiteBook::new(purges);
        self.book.rcu(|book| {
            let mut book = Book::clone(book);
            book.newest = book.newest.max(entry.newest);
            book.sites.insert(site.into(), entry.clone());
            book
        });
    }

    /// Takes over a whole state's purges, at once.
    pub fn set_all<'a>(
        &self,
        sites: impl Iterator<Item = (&'a str, &'a Arc<SitePurges>)>,
        floor: u64,
    ) {
        let sites: HashMap<_, _> = sites
            .map(|(site, purges)| (site.into(), SiteBook::new(purges)))
            .collect();
        let newest = sites.values().map(|site| site.newest).max().unwrap_or(0);
        self.book.store(Arc::new(Book {
            sites,
            floor,
            newest,
        }));
    }

    /// Purges one URL (`host/path?query`), all its variants, on this node alone.
    pub fn purge_url(&self, site: &str, url: &str, index: u64, soft: bool) {
        self.change(site, |purges| {
            raise(purges.urls.entry(url.to_owned()).or_default(), index, soft)
        });
    }

    /// Purges everything of a site, on this node alone.
    pub fn purge_site(&self, site: &str, index: u64, soft: bool) {
        self.change(site, |purges| raise(&mut purges.floor, index, soft));
    }

    /// May an entry (or a running fill) with this fill index be used?
    #[must_use]
    pub fn verdict(&self, identity: Identity<'_>, fill_index: u64) -> PurgeVerdict {
        let book = self.book.load();
        if fill_index < book.floor {
            return PurgeVerdict::Gone;
        }
        if book.newest <= fill_index {
            return PurgeVerdict::Usable;
        }
        let Some(site) = book.sites.get(identity.site) else {
            return PurgeVerdict::Usable;
        };
        if site.newest <= fill_index {
            return PurgeVerdict::Usable;
        }
        let all = site.purges.floor;
        let url = site
            .purges
            .urls
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

    fn change(&self, site: &str, change: impl Fn(&mut SitePurges)) {
        let mut purges = self
            .book
            .load()
            .sites
            .get(site)
            .map(|site| SitePurges::clone(&site.purges))
            .unwrap_or_default();
        change(&mut purges);
        self.set_site(site, &Arc::new(purges));
    }
}

fn newest(marks: Marks) -> u64 {
    marks.hard.max(marks.soft)
}

fn raise(marks: &mut Marks, index: u64, soft: bool) {
    let slot = if soft {
        &mut marks.soft
    } else {
        &mut marks.hard
    };
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
