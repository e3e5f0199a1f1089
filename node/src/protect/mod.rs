//! Who is kept out: a verdict per request, before anything is looked up.
//!
//! A site without `[protect]` costs two looks at empty lists. Nothing here is shared by all cores but the rates' table,
//! and that only for sites with a rate, a shard per client.

mod fences;
mod metrics;
mod rates;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use metrics::ProtectMetrics;

use crate::config::site::Site;
use fences::Fences;
use rates::Rates;

/// Tells the country of an address, where it is known.
pub type LocateCountry = Arc<dyn Fn(IpAddr) -> Option<[u8; 2]> + Send + Sync>;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Pass,
    /// 403.
    Deny(Denied),
    /// 429.
    Slow {
        /// When the client may ask again: `Retry-After`, rounded up to seconds.
        retry_after: Duration,
    },
}

/// Which list a client is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// `deny = ["198.51.100.0/24"]`.
    Network,
    /// `deny = ["country:XX"]`.
    Country,
}

/// The lists and rates of all sites.
pub struct Protect {
    country: LocateCountry,
    fences: Fences,
    rates: Rates,
    metrics: ProtectMetrics,
}

impl Protect {
    /// `country` is asked only for sites that deny countries, or store answers apart by them.
    #[must_use]
    pub fn new(country: LocateCountry, metrics: ProtectMetrics) -> Self {
        Self {
            country,
            fences: Fences::default(),
            rates: Rates::new(Instant::now()),
            metrics,
        }
    }

    /// The country of a client, where it is known.
    #[must_use]
    pub fn country(&self, client: IpAddr) -> Option<[u8; 2]> {
        (self.country)(client.to_canonical())
    }

    /// What the lists would say of a request. Nothing is counted, so what a rate would say is not known.
    #[must_use]
    pub fn foresee(&self, site: &Arc<Site>, client: IpAddr) -> Verdict {
        match self.denied(site, client.to_canonical()) {
            Some(denied) => Verdict::Deny(denied),
            None => Verdict::Pass,
        }
    }

    fn denied(&self, site: &Arc<Site>, client: IpAddr) -> Option<Denied> {
        let settings = &site.protect;
        if !settings.deny_networks.is_empty() && self.fences.contains(site, client) {
            return Some(Denied::Network);
        }
        if !settings.deny_countries.is_empty()
            && let Some(country) = (self.country)(client)
            && settings.deny_countries.contains(&country)
        {
            return Some(Denied::Country);
        }
        None
    }

    /// The verdict on a request of `client` to `site`. Counts against the client's rate when it passes the lists.
    #[must_use]
    pub fn verdict(&self, site: &Arc<Site>, client: IpAddr, now: Instant) -> Verdict {
        let settings = &site.protect;
        let client = client.to_canonical();
        if let Some(denied) = self.denied(site, client) {
            match denied {
                Denied::Network => self.metrics.network.inc(),
                Denied::Country => self.metrics.country.inc(),
            };
            return Verdict::Deny(denied);
        }
        if let Some(rate) = settings.rate
            && let Err(retry_after) = self.rates.admit(&site.name, client, rate, now)
        {
            self.metrics.rate.inc();
            return Verdict::Slow { retry_after };
        }
        Verdict::Pass
    }
}

#[cfg(test)]
mod tests;
