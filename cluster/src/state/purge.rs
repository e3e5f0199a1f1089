//! Purges, and how their number stays bounded.
//!
//! An entry of the cache is unusable once a purge that matches it has a greater index than the entry's fill index.
//! Per site the state holds one pair of marks for everything of the site, its *floor*, and one per purged URL, path
//! prefix and tag. When there are too many of a kind the older half is absorbed by the floor: that costs the site some
//! entries that nobody purged, but never the cluster its memory, and never lets a purged entry live.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// URLs per site that are kept apart before the floor absorbs the older half.
pub(crate) const URLS_MAX: usize = 4096;
/// The same of tags; and of prefixes, each of which is compared with an entry that is checked.
pub(crate) const TAGS_MAX: usize = 4096;
pub(crate) const PREFIXES_MAX: usize = 256;

/// Makes older entries unusable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purge {
    /// The site's name.
    pub site: String,
    /// What of it.
    pub scope: PurgeScope,
    /// Soft: the entries become stale, not gone.
    pub soft: bool,
    /// Who asked.
    pub author: String,
}

/// What of a site a purge matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PurgeScope {
    /// One purge identity, `host/path?query`, with all its variants.
    Url(String),
    /// Everything.
    All,
    /// What begins so: a path beginning with `/`, at any host of the site; or `host/path`. Compared as text, so `/a`
    /// covers `/ab`, too.
    Prefix(String),
    /// What carries this tag.
    Tag(String),
}

/// The greatest index of a hard and of a soft purge; 0: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// Entries filled below are gone.
    pub hard: u64,
    /// Entries filled below are stale.
    pub soft: u64,
}

impl Marks {
    fn raise(&mut self, index: u64, soft: bool) {
        let mark = if soft { &mut self.soft } else { &mut self.hard };
        *mark = (*mark).max(index);
    }

    /// The newer of the two.
    #[must_use]
    pub fn newest(self) -> u64 {
        self.hard.max(self.soft)
    }
}

/// The purges of one site that still matter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SitePurges {
    /// For every entry of the site: purges of all of it, and old URL purges absorbed.
    pub floor: Marks,
    /// By purge identity.
    pub urls: BTreeMap<String, Marks>,
    /// By prefix, of the path or of the purge identity.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub prefixes: BTreeMap<String, Marks>,
    /// By tag.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, Marks>,
}

impl SitePurges {
    /// Adds the purge at `index`.
    pub fn add(&mut self, scope: &PurgeScope, index: u64, soft: bool) {
        let floor = &mut self.floor;
        match scope {
            PurgeScope::All => {
                floor.raise(index, soft);
                if !soft {
                    self.urls.clear();
                    self.prefixes.clear();
                    self.tags.clear();
                }
            }
            PurgeScope::Url(url) => put(&mut self.urls, floor, url, index, soft, URLS_MAX),
            PurgeScope::Prefix(prefix) => {
                put(&mut self.prefixes, floor, prefix, index, soft, PREFIXES_MAX);
            }
            PurgeScope::Tag(tag) => put(&mut self.tags, floor, tag, index, soft, TAGS_MAX),
        }
    }
}

fn put(
    kind: &mut BTreeMap<String, Marks>,
    floor: &mut Marks,
    name: &str,
    index: u64,
    soft: bool,
    max: usize,
) {
    kind.entry(name.to_owned()).or_default().raise(index, soft);
    if kind.len() > max {
        absorb_older_half(kind, floor);
    }
}

fn absorb_older_half(kind: &mut BTreeMap<String, Marks>, floor: &mut Marks) {
    let mut newest: Vec<u64> = kind.values().map(|marks| marks.newest()).collect();
    newest.sort_unstable();
    let median = newest[newest.len() / 2];
    kind.retain(|_, marks| {
        let keep = marks.newest() > median;
        if !keep {
            floor.hard = floor.hard.max(marks.hard);
            floor.soft = floor.soft.max(marks.soft);
        }
        keep
    });
}
