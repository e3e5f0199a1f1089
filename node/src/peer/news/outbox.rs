//! What one other node has not heard yet: bounded, each target once.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::Batch;
use crate::proxy::Invalidation;

/// Targets that wait at most, and their bytes.
const TARGETS_MAX: usize = 4096;
const BYTES_MAX: usize = 1 << 20;
/// Targets in one batch at most, and their bytes; one that is longer goes alone.
const BATCH_TARGETS_MAX: usize = 512;
const BATCH_BYTES_MAX: usize = 256 << 10;

/// What became of news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// They wait.
    Queued,
    /// The same wait already.
    Coalesced,
    /// There was no room: a site is told as a whole now.
    Widened,
}

/// See above.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    targets: HashSet<Arc<Invalidation>>,
    bytes: usize,
    sites: BTreeSet<Box<str>>,
}

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.targets.is_empty() && self.sites.is_empty()
    }

    /// Targets and sites that wait.
    pub(super) fn len(&self) -> usize {
        self.targets.len() + self.sites.len()
    }

    pub(super) fn put(&mut self, news: &Arc<Invalidation>) -> Put {
        if self.sites.contains(&news.site) || !self.targets.insert(Arc::clone(news)) {
            return Put::Coalesced;
        }
        self.bytes += weight(news);
        let mut put = Put::Queued;
        while self.targets.len() > TARGETS_MAX || self.bytes > BYTES_MAX {
            self.widen();
            put = Put::Widened;
        }
        put
    }

    /// Tells the site with the most bytes as a whole, so that one site's writes do not take another's entries.
    fn widen(&mut self) {
        let mut shares: HashMap<&str, usize> = HashMap::new();
        for news in &self.targets {
            *shares.entry(&news.site).or_default() += weight(news);
        }
        let largest = shares
            .into_iter()
            .max_by_key(|(site, bytes)| (*bytes, *site));
        let Some(site) = largest.map(|(site, _)| Box::<str>::from(site)) else {
            return;
        };
        self.add_site(site);
    }

    fn add_site(&mut self, site: Box<str>) {
        let bytes = &mut self.bytes;
        self.targets.retain(|news| {
            let keep = news.site != site;
            if !keep {
                *bytes -= weight(news);
            }
            keep
        });
        self.sites.insert(site);
    }

    /// What goes next; empty when nothing waits.
    pub(super) fn take(&mut self) -> Batch {
        let sites = std::mem::take(&mut self.sites).into_iter().collect();
        let mut bytes = 0;
        let mut targets = Vec::new();
        for news in &self.targets {
            let after = bytes + weight(news);
            if targets.len() == BATCH_TARGETS_MAX || bytes > 0 && after > BATCH_BYTES_MAX {
                break;
            }
            bytes = after;
            targets.push(Arc::clone(news));
        }
        for news in &targets {
            self.targets.remove(news);
        }
        self.bytes -= bytes;
        Batch { targets, sites }
    }

    /// Takes back what was not heard.
    pub(super) fn put_back(&mut self, batch: Batch) -> Put {
        let mut put = Put::Queued;
        for site in batch.sites {
            self.add_site(site);
        }
        for news in &batch.targets {
            if self.put(news) == Put::Widened {
                put = Put::Widened;
            }
        }
        put
    }
}

/// What news count for, with what holds them.
fn weight(news: &Invalidation) -> usize {
    const HOLDER_BYTES: usize = 100;
    news.site.len() + news.authority.len() + news.target.len() + HOLDER_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(site: &str, target: String) -> Arc<Invalidation> {
        Arc::new(Invalidation {
            site: site.into(),
            authority: "h".into(),
            target: target.into(),
        })
    }

    #[test]
    fn a_target_waits_once_and_again_after_it_left() {
        let mut outbox = Outbox::default();
        let a = news("s", "/a".into());
        assert_eq!(outbox.put(&a), Put::Queued);
        assert_eq!(outbox.put(&news("s", "/a".into())), Put::Coalesced);
        let batch = outbox.take();
        assert_eq!(batch.targets, [Arc::clone(&a)]);
        assert!(outbox.is_empty() && outbox.bytes == 0);
        // Another write while the batch travels: the batch may have been heard before it.
        assert_eq!(outbox.put(&a), Put::Queued);
        outbox.put_back(batch);
        assert_eq!(outbox.len(), 1);
        assert_eq!(outbox.take().targets.len(), 1);
        assert!(outbox.take().is_empty());
    }

    #[test]
    fn when_it_is_full_the_largest_site_is_told_as_a_whole() {
        let mut outbox = Outbox::default();
        outbox.put(&news("small", "/a".into()));
        let mut widened = 0;
        for number in 0..TARGETS_MAX + 10 {
            if outbox.put(&news("large", format!("/{number}"))) == Put::Widened {
                widened += 1;
            }
        }
        assert_eq!(widened, 1);
        assert_eq!(outbox.len(), 2, "one target and one site");
        assert_eq!(outbox.put(&news("large", "/x".into())), Put::Coalesced);
        let batch = outbox.take();
        assert_eq!(batch.sites, ["large".into()]);
        assert_eq!(batch.targets, [news("small", "/a".into())]);
        assert!(outbox.is_empty() && outbox.bytes == 0);
        // It was not heard: the site waits again, and takes what came since.
        outbox.put(&news("large", "/y".into()));
        outbox.put_back(batch);
        assert_eq!((outbox.targets.len(), outbox.sites.len()), (1, 1));
        assert_eq!(outbox.put(&news("large", "/x".into())), Put::Coalesced);
    }

    #[test]
    fn bytes_are_bounded_too_and_batches_are_small() {
        let mut outbox = Outbox::default();
        let long = "x".repeat(16 << 10);
        let mut sent = 0;
        for number in 0..60 {
            outbox.put(&news("s", format!("/{number}/{long}")));
        }
        assert!(outbox.sites.is_empty() && outbox.bytes <= BYTES_MAX);
        loop {
            let batch = outbox.take();
            if batch.is_empty() {
                break;
            }
            let bytes: usize = batch.targets.iter().map(|news| weight(news)).sum();
            assert!(bytes <= BATCH_BYTES_MAX);
            sent += batch.targets.len();
        }
        assert_eq!((sent, outbox.bytes), (60, 0));
        let huge = news("s", "x".repeat(2 * BATCH_BYTES_MAX));
        outbox.put(&huge);
        assert_eq!(outbox.take().targets, [huge]);
        for number in 0..100 {
            outbox.put(&news("s", format!("/{number}/{long}")));
        }
        assert_eq!(outbox.sites.len(), 1);
    }
}
