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

    /// Purges on this node alone.
    pub fn purge(&self, site: &str, scope: &PurgeScope, index: u64, soft: bool) {
        let mut purges = self
            .book
            .load()
            .sites
            .get(site)
            .map(|site| SitePurges::clone(&site.purges))
            .unwrap_or_default();
        purges.add(scope, index, soft);
        self.set_site(site, &Arc::new(purges));
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
        let book = self.book.load();
        if fill_index < book.floor {
            return (PurgeVerdict::Gone, book.newest);
        }
        if book.newest <= seen {
            return (PurgeVerdict::Usable, book.newest);
        }
        let verdict = match book.sites.get(identity.site) {
            Some(site) if site.newest > seen => {
                let marks = site.matching(identity, fill_index);
                if marks.hard > fill_index {
                    PurgeVerdict::Gone
                } else if marks.soft > fill_index {
                    PurgeVerdict::Stale
                } else {
                    PurgeVerdict::Usable
                }
            }
            _ => PurgeVerdict::Usable,
        };
        (verdict, book.newest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;

    fn of<'a>(url: &'a str, tags: Option<&'a TagSet>) -> Identity<'a> {
        Identity {
            site: "shop",
            url,
            tags,
        }
    }

    fn tags(names: &[&str]) -> TagSet {
        let names = names.iter().map(|name| (*name).into()).collect();
        TagSet {
            fields: Box::new([(HeaderName::from_static("cache-tag"), names)]),
            every: false,
        }
    }

    fn url(text: &str) -> PurgeScope {
        PurgeScope::Url(text.to_owned())
    }

    fn tag(name: &str) -> PurgeScope {
        PurgeScope::Tag(name.to_owned())
    }

    #[test]
    fn an_entry_is_gone_once_a_matching_purge_is_newer() {
        let book = PurgeBook::default();
        let none = TagSet::default();
        let page = of("shop.example/a", Some(&none));
        let other = of("shop.example/b", Some(&none));
        assert_eq!(book.verdict(page, 0), PurgeVerdict::Usable);
        book.purge("shop", &url("shop.example/a"), 5, false);
        assert_eq!(book.verdict(page, 4), PurgeVerdict::Gone);
        assert_eq!(book.verdict(page, 5), PurgeVerdict::Usable);
        assert_eq!(book.verdict(other, 4), PurgeVerdict::Usable);
        book.purge("shop", &PurgeScope::All, 7, true);
        assert_eq!(book.verdict(other, 6), PurgeVerdict::Stale);
        assert_eq!(book.verdict(page, 4), PurgeVerdict::Gone);
        assert_eq!(book.verdict(page, 7), PurgeVerdict::Usable);
    }

    #[test]
    fn prefixes_are_of_the_path_or_of_one_hosts() {
        let book = PurgeBook::default();
        let none = TagSet::default();
        let verdict = |url, index| book.verdict(of(url, Some(&none)), index);
        book.purge("shop", &PurgeScope::Prefix("/blog/".into()), 5, false);
        book.purge("shop", &PurgeScope::Prefix("de.example/a".into()), 6, true);
        assert_eq!(verdict("shop.example/blog/1?x", 4), PurgeVerdict::Gone);
        assert_eq!(verdict("de.example/blog/", 4), PurgeVerdict::Gone);
        assert_eq!(verdict("shop.example/blog", 4), PurgeVerdict::Usable);
        assert_eq!(verdict("shop.example/blog/1", 5), PurgeVerdict::Usable);
        assert_eq!(verdict("de.example/ab", 5), PurgeVerdict::Stale);
        assert_eq!(verdict("shop.example/ab", 5), PurgeVerdict::Usable);
    }

    #[test]
    fn a_tag_reaches_what_carries_it_and_what_may() {
        let book = PurgeBook::default();
        let (both, one) = (tags(&["news", "article-7"]), tags(&["news"]));
        book.purge("shop", &tag("article-7"), 5, false);
        book.purge("shop", &tag("news"), 4, true);
        assert_eq!(book.verdict(of("a", Some(&both)), 4), PurgeVerdict::Gone);
        assert_eq!(book.verdict(of("a", Some(&one)), 3), PurgeVerdict::Stale);
        assert_eq!(book.verdict(of("a", Some(&one)), 4), PurgeVerdict::Usable);
        let every = TagSet {
            every: true,
            ..TagSet::default()
        };
        assert_eq!(book.verdict(of("a", Some(&every)), 4), PurgeVerdict::Gone);
        assert_eq!(book.verdict(of("a", Some(&every)), 5), PurgeVerdict::Usable);
        // A running fill's tags are not known before its head is.
        assert_eq!(book.verdict(of("a", None), 4), PurgeVerdict::Gone);
        assert_eq!(book.verdict(of("a", None), 5), PurgeVerdict::Usable);
        let untagged = TagSet::default();
        assert_eq!(
            book.verdict(of("a", Some(&untagged)), 0),
            PurgeVerdict::Usable
        );
    }

    #[test]
    fn what_was_checked_is_checked_again_for_the_next_purge_only() {
        let book = PurgeBook::default();
        let (checked, tagged) = (Checked::default(), tags(&["news"]));
        let entry = of("shop.example/a", Some(&tagged));
        let verdict = || book.verdict_of_entry(entry, 1, &checked);
        let seen = || checked.0.load(Ordering::Relaxed);
        assert_eq!((verdict(), seen()), (PurgeVerdict::Usable, 0));
        book.purge("shop", &tag("sports"), 5, false);
        assert_eq!((verdict(), seen()), (PurgeVerdict::Usable, 5));
        book.purge("other", &PurgeScope::All, 8, false);
        assert_eq!((verdict(), seen()), (PurgeVerdict::Usable, 8));
        // Matches again are found though they are older than what was seen of others.
        book.purge("shop", &tag("news"), 9, true);
        assert_eq!((verdict(), seen()), (PurgeVerdict::Stale, 8));
        assert_eq!(verdict(), PurgeVerdict::Stale);
        book.purge("shop", &url("shop.example/a"), 10, false);
        assert_eq!((verdict(), seen()), (PurgeVerdict::Gone, 8));
        // A copy, as a 304 makes it, has been checked by nobody.
        assert_eq!(checked.clone().0.load(Ordering::Relaxed), 0);
    }
}
