//! Hears what writes at other nodes have made unusable, and has the proxy forget it.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock, Weak};
use std::time::SystemTime;

use parking_lot::Mutex;

use super::Batch;
use super::floors::Floors;
use super::metrics::{NewsMetrics, RECEIVED};
use crate::proxy::{Invalidation, Proxy};

/// Hears on behalf of a proxy, once there is one. Cheap to clone.
#[derive(Clone)]
pub struct Ear {
    inner: Arc<Inner>,
}

struct Inner {
    folder: PathBuf,
    metrics: NewsMetrics,
    /// The proxy ends when the data plane does; nothing here keeps it.
    behind: OnceLock<(Weak<Proxy>, Arc<Mutex<Floors>>)>,
}

/// Why news were not taken; who sent them tries again.
#[derive(Debug, thiserror::Error)]
pub(in crate::peer) enum Deaf {
    #[error("this node does not serve yet")]
    Early,
    #[error("the news cannot be read: {0}")]
    Malformed(String),
    #[error("cannot remember what was told: {0}")]
    Forgetful(String),
}

impl Ear {
    /// Hears nothing until it is [`Ear::opened`]. What must outlive a restart is kept in `folder`.
    #[must_use]
    pub fn new(folder: PathBuf, metrics: NewsMetrics) -> Self {
        let behind = OnceLock::new();
        Self {
            inner: Arc::new(Inner {
                folder,
                metrics,
                behind,
            }),
        }
    }

    /// Hears for this proxy from now on, and tells it what was heard in earlier lives.
    ///
    /// # Errors
    /// What was heard earlier cannot be read.
    pub async fn open(&self, proxy: &Arc<Proxy>) -> anyhow::Result<()> {
        let folder = self.inner.folder.clone();
        let floors = tokio::task::spawn_blocking(move || Floors::open(&folder)).await??;
        for (site, at) in floors.all() {
            proxy.heard_of_site(site, at);
        }
        let behind = (Arc::downgrade(proxy), Arc::new(Mutex::new(floors)));
        // The data plane starts once.
        let _first = self.inner.behind.set(behind);
        Ok(())
    }

    /// Takes a batch. When this returns, nothing of it is used any more.
    pub(in crate::peer) async fn hear(&self, body: &[u8]) -> Result<(), Deaf> {
        let batch = Batch::decode(body).map_err(Deaf::Malformed)?;
        let (proxy, floors) = self.inner.behind.get().ok_or(Deaf::Early)?;
        let proxy = proxy.upgrade().ok_or(Deaf::Early)?;
        if !batch.sites.is_empty() {
            let at = SystemTime::now();
            for site in &batch.sites {
                proxy.heard_of_site(site, at);
                tracing::info!(
                    site = &**site,
                    "another node had too many writes to tell one by one: all of the site is asked for anew"
                );
            }
            let (floors, sites) = (Arc::clone(floors), batch.sites.clone());
            let kept = tokio::task::spawn_blocking(move || floors.lock().raise(&sites, at)).await;
            match kept {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(Deaf::Forgetful(error.to_string())),
                Err(error) => return Err(Deaf::Forgetful(error.to_string())),
            }
        }
        let news: Vec<Invalidation> = batch
            .targets
            .into_iter()
            .map(Arc::unwrap_or_clone)
            .collect();
        proxy.heard(&news).await;
        let told = news.len() + batch.sites.len();
        self.inner.metrics.count(RECEIVED, told);
        Ok(())
    }
}
