//! What writes have made unusable, told to the other nodes (RFC 9111 §4.4 across the cluster).
//!
//! Not through the log: clients write as often as they like, and the log is not theirs to fill. Each node keeps an
//! [`Outbox`] per other node, where news of one target are one however often it is written; a [`Herald`] empties it in
//! batches, the next one as soon as the one before it was answered. At the other end an [`Ear`] hands them to the
//! proxy, which treats them like writes of its own.
//!
//! A batch that was not answered is sent again until it is: what a node missed while it was cut off or down it hears
//! when it is back. Where that would be too much to keep, the site with the most of it is told as a whole; nothing is
//! dropped.

mod ear;
mod floors;
mod herald;
mod metrics;
mod outbox;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub(super) use ear::Deaf;
pub use ear::Ear;
pub use herald::Herald;
pub use metrics::NewsMetrics;

use crate::proxy::Invalidation;

/// The kind in the peer API's path.
pub(super) const KIND: &str = "news";
/// First byte of the encoding.
const VERSION: u8 = 1;

/// What travels at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    targets: Vec<Arc<Invalidation>>,
    /// Of which everything is unusable.
    sites: Vec<Box<str>>,
}

/// The encoding's shape: a version byte, and MessagePack.
#[derive(Serialize, Deserialize)]
struct Wire {
    /// Site, authority, path and query.
    targets: Vec<(Box<str>, Box<str>, Box<str>)>,
    sites: Vec<Box<str>>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.targets.is_empty() && self.sites.is_empty()
    }

    fn encode(&self) -> Vec<u8> {
        let parts = |news: &Arc<Invalidation>| {
            let Invalidation {
                site,
                authority,
                target,
            } = &**news;
            (site.clone(), authority.clone(), target.clone())
        };
        let wire = Wire {
            targets: self.targets.iter().map(parts).collect(),
            sites: self.sites.clone(),
        };
        let mut bytes = vec![VERSION];
        // MessagePack of plain data into memory cannot fail; were it to, the other end would refuse the batch.
        if let Ok(body) = rmp_serde::to_vec(&wire) {
            bytes.extend_from_slice(&body);
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let (version, body) = bytes.split_first().ok_or("an empty batch")?;
        if *version != VERSION {
            return Err(format!("a batch of version {version}, not {VERSION}"));
        }
        let wire: Wire = rmp_serde::from_slice(body).map_err(|error| error.to_string())?;
        let news = |(site, authority, target)| {
            Arc::new(Invalidation {
                site,
                authority,
                target,
            })
        };
        Ok(Self {
            targets: wire.targets.into_iter().map(news).collect(),
            sites: wire.sites,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_read_as_it_was_written() {
        let news = Invalidation {
            site: "shop".into(),
            authority: "shop.example:8080".into(),
            target: "/a?b".into(),
        };
        let batch = Batch {
            targets: vec![Arc::new(news)],
            sites: vec!["blog".into()],
        };
        let bytes = batch.encode();
        // The encoding between nodes of different versions: a change here is a new version.
        assert_eq!(
            hex::encode(&bytes),
            "01929193a473686f70b173686f702e6578616d706c653a38303830a42f613f6291a4626c6f67"
        );
        assert_eq!(Batch::decode(&bytes), Ok(batch));
        assert!(Batch::decode(&[]).is_err());
        assert!(Batch::decode(&[9, 0x92]).is_err());
        for cut in 1..bytes.len() {
            assert!(Batch::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }
}
