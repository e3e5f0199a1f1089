//! Who would be asked, for people who want to know before anybody is.

use std::sync::Arc;
use std::time::Instant;

use super::fetch::{OriginStatus, Origins};
use super::select::{Among, Choice, choose};
use crate::config::site::Site;

impl Origins {
    /// A site's origins in the order in which they would be asked now; among equally good ones, which share by weight,
    /// as the file has them. Changes nothing.
    #[must_use]
    pub fn outlook(&self, site: &Arc<Site>) -> Vec<OriginStatus> {
        let now = Instant::now();
        let origins = self.table.of(site);
        let healthy: Vec<bool> = (origins.origins.iter())
            .map(|state| state.health.is_up(now))
            .collect();
        let mut tried = vec![false; site.origins.len()];
        let mut order = Vec::with_capacity(tried.len());
        while let Some(index) = self.first(site, &healthy, &tried) {
            tried[index] = true;
            order.push(OriginStatus {
                name: site.origins[index].name.clone(),
                healthy: healthy[index],
            });
        }
        order
    }

    fn first(&self, site: &Site, healthy: &[bool], tried: &[bool]) -> Option<usize> {
        let choices: Vec<Choice<'_>> = (site.origins.iter().zip(healthy).zip(tried))
            .map(|((origin, healthy), tried)| Choice {
                region: origin.region.as_deref(),
                point: origin.point,
                weight: origin.weight,
                backup: origin.backup,
                healthy: *healthy,
                full: false,
                tried: *tried,
                open: 0,
                rank: 0.0,
            })
            .collect();
        let view = self.views.load();
        let place = |region: &str| super::fetch::region_point(&view, region);
        choose(&choices, self.here(), place, (Among::Chance, 0))
    }
}
