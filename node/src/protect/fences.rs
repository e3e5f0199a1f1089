//! Denied networks, compiled once per version of a site.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use prefix_trie::joint::JointPrefixSet;

use crate::config::site::Site;

/// The denied networks of one version of a site.
struct Fence {
    site: Arc<Site>,
    networks: JointPrefixSet<IpNet>,
}

/// By site; only sites that deny networks are in it.
#[derive(Default)]
pub(super) struct Fences(ArcSwap<HashMap<Box<str>, Arc<Fence>>>);

impl Fences {
    /// Is `address` in a denied network of `site`?
    pub(super) fn contains(&self, site: &Arc<Site>, address: IpAddr) -> bool {
        let fences = self.0.load();
        if let Some(fence) = fences.get(&site.name)
            && Arc::ptr_eq(&fence.site, site)
        {
            return fence.networks.get_lpm(&IpNet::from(address)).is_some();
        }
        self.compile(site)
            .networks
            .get_lpm(&IpNet::from(address))
            .is_some()
    }

    fn compile(&self, site: &Arc<Site>) -> Arc<Fence> {
        let networks = site.protect.deny_networks.iter();
        let fence = Arc::new(Fence {
            site: Arc::clone(site),
            networks: networks.map(|network| network.trunc()).collect(),
        });
        self.0.rcu(|fences| {
            let mut fences = HashMap::clone(fences);
            fences.insert(site.name.clone(), Arc::clone(&fence));
            fences
        });
        fence
    }
}
