//! What answers are made from, as it stands now.

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_swap::ArcSwap;
use nearside_geo::Atlas;
use parking_lot::Mutex;

use super::catalog::Catalog;
use crate::view::{Healthy, Views};

/// The live inputs: view, health, databases. Each changes by itself; a [`Snapshot`] pins them for one answer.
#[derive(Debug)]
pub struct World {
    views: Arc<Views>,
    healthy: Arc<Healthy>,
    atlas: ArcSwap<Atlas>,
    /// Made from a view; made again when the view has changed.
    catalog: ArcSwap<Catalog>,
    /// Held by the one who makes it again. The others wait those milliseconds rather than answer from an old view.
    compiling: Mutex<()>,
}

/// One consistent look at the world.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Zones and names, and the view they were made from.
    pub catalog: Arc<Catalog>,
    /// Ids of the nodes that are believed to be up.
    pub healthy: Arc<BTreeSet<u64>>,
    /// Where addresses are.
    pub atlas: Arc<Atlas>,
}

impl World {
    /// Over the live view and health.
    #[must_use]
    pub fn new(views: Arc<Views>, healthy: Arc<Healthy>, atlas: Arc<Atlas>) -> Self {
        let catalog = Catalog::compile(views.load());
        Self {
            views,
            healthy,
            atlas: ArcSwap::new(atlas),
            catalog: ArcSwap::from_pointee(catalog),
            compiling: Mutex::new(()),
        }
    }

    /// Everything as it is now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            catalog: self.catalog(),
            healthy: self.healthy.load(),
            atlas: self.atlas.load_full(),
        }
    }

    /// Takes other databases from the next answer on.
    pub fn replace_atlas(&self, atlas: Arc<Atlas>) {
        self.atlas.store(atlas);
    }

    fn catalog(&self) -> Arc<Catalog> {
        let view = self.views.load();
        let current = self.catalog.load_full();
        if Arc::ptr_eq(current.view(), &view) {
            return current;
        }
        let _guard = self.compiling.lock();
        let view = self.views.load();
        let current = self.catalog.load_full();
        if Arc::ptr_eq(current.view(), &view) {
            return current;
        }
        let fresh = Arc::new(Catalog::compile(view));
        self.catalog.store(Arc::clone(&fresh));
        fresh
    }
}
