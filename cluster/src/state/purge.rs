//! Purges, and how their number stays bounded.
//!
//! An entry of the cache is unusable once a purge that matches it has a greater index than the entry's fill index.
//! Per site the state holds one pair of marks for everything of the site, its *floor*, and one per purged URL. When
//! there are too many URLs the older half is absorbed by the floor: that costs the site some entries that nobody
//! purged, but never the cluster its memory, and never lets a purged entry live.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// URLs per site that are kept apart before the floor absorbs the older half.
pub(crate) const URLS_MAX: usize = 4096;

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

    fn newest(self) -> u64 {
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
}

impl SitePurges {
    pub(crate) fn add(&mut self, scope: &PurgeScope, index: u64, soft: bool) {
        match scope {
            PurgeScope::All => {
                self.floor.raise(index, soft);
                if !soft {
                    self.urls.clear();
                }
            }
            PurgeScope::Url(url) => {
                self.urls.entry(url.clone()).or_default().raise(index, soft);
                if self.urls.len() > URLS_MAX {
                    self.absorb_older_half();
                }
            }
        }
    }

    fn absorb_older_half(&mut self) {
        let mut newest: Vec<u64> = self.urls.values().map(|marks| marks.newest()).collect();
        newest.sort_unstable();
        let median = newest[newest.len() / 2];
        let floor = &mut self.floor;
        self.urls.retain(|_, marks| {
            let keep = marks.newest() > median;
            if !keep {
                floor.hard = floor.hard.max(marks.hard);
                floor.soft = floor.soft.max(marks.soft);
            }
            keep
        });
    }
}
