//! The replicated state compiled for the data plane: the border between control and data.
//!
//! A request pins one [`View`] and never sees half a change. Purges live beside it in the [`PurgeBook`] and are
//! checked at the latest index, not the pinned one. Health is an observation: see [`Healthy`].

mod compile;
mod purges;
mod tags;

use std::collections::{BTreeSet, HashMap};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use nearside_geo::Point;

pub use compile::Publisher;
pub use nearside_cluster::Stamp;
pub use purges::{Checked, Identity, PurgeBook, PurgeVerdict};
pub use tags::TagSet;

use crate::config::site::Site;
use crate::config::zone::Zone;

/// Everything the data plane knows of what the cluster agreed on.
#[derive(Debug, Default)]
pub struct View {
    /// The log index this was compiled from.
    pub generation: u64,
    /// Sites, in the order of their names.
    pub sites: Vec<Arc<Site>>,
    /// Exact host → index into `sites`.
    hosts: HashMap<Box<str>, usize>,
    /// Parent of a `*.` host → index into `sites`.
    wildcards: HashMap<Box<str>, usize>,
    /// The site that takes any Host (`serve`).
    any_host: Option<usize>,
    /// Zones, in the order of their names.
    pub zones: Vec<Arc<Zone>>,
    /// Members, in the order of their ids.
    pub nodes: Vec<NodeView>,
}

/// A member, as steering sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeView {
    /// Its id in the cluster.
    pub id: u64,
    /// Its name.
    pub name: Box<str>,
    /// Its region.
    pub region: Box<str>,
    /// Where it stands.
    pub point: Option<Point>,
    /// What A answers say.
    pub ipv4: Option<Ipv4Addr>,
    /// What AAAA answers say.
    pub ipv6: Option<Ipv6Addr>,
    /// Being emptied by the operator: last choice.
    pub draining: bool,
}

impl View {
    /// Compiles sites, zones and nodes into a view.
    #[must_use]
    pub fn new(
        generation: u64,
        sites: Vec<Arc<Site>>,
        zones: Vec<Arc<Zone>>,
        nodes: Vec<NodeView>,
    ) -> Self {
        let mut view = Self {
            generation,
            sites,
            zones,
            nodes,
            ..Self::default()
        };
        for (index, site) in view.sites.iter().enumerate() {
            if site.any_host {
                view.any_host = Some(index);
            }
            for host in &site.hosts {
                match host.strip_prefix("*.") {
                    Some(parent) => view.wildcards.insert(parent.into(), index),
                    None => view.hosts.insert(host.clone(), index),
                };
            }
        }
        view
    }

    /// The site a host belongs to: exact first, then `*.parent`, then the one that takes any host.
    /// `host` is lower case and without port.
    #[must_use]
    pub fn site(&self, host: &str) -> Option<&Arc<Site>> {
        let index = self
            .hosts
            .get(host)
            .or_else(|| {
                if self.wildcards.is_empty() {
                    return None;
                }
                host.split_once('.')
                    .and_then(|(_, parent)| self.wildcards.get(parent))
            })
            .copied()
            .or(self.any_host)?;
        self.sites.get(index)
    }

    /// The site of this name.
    #[must_use]
    pub fn site_named(&self, name: &str) -> Option<&Arc<Site>> {
        let at = self
            .sites
            .binary_search_by(|site| (*site.name).cmp(name))
            .ok()?;
        self.sites.get(at)
    }
}

/// The view that is in force, swapped whole.
#[derive(Debug, Default)]
pub struct Views(ArcSwap<View>);

impl Views {
    /// Starts with `view`.
    #[must_use]
    pub fn new(view: View) -> Self {
        Self(ArcSwap::from_pointee(view))
    }

    /// The view in force now.
    #[must_use]
    pub fn load(&self) -> Arc<View> {
        self.0.load_full()
    }

    /// The same for a moment's look, without a reference that all workers would count at one place.
    #[must_use]
    pub fn glance(&self) -> arc_swap::Guard<Arc<View>> {
        self.0.load()
    }

    /// Puts a new view in force.
    pub fn store(&self, view: Arc<View>) {
        self.0.store(view);
    }
}

/// Which nodes are believed to be up. An observation, never replicated.
#[derive(Debug, Default)]
pub struct Healthy(ArcSwap<BTreeSet<u64>>);

impl Healthy {
    /// The ids that are believed to be up.
    #[must_use]
    pub fn load(&self) -> Arc<BTreeSet<u64>> {
        self.0.load_full()
    }

    /// Replaces the belief.
    pub fn store(&self, ids: BTreeSet<u64>) {
        self.0.store(Arc::new(ids));
    }
}
