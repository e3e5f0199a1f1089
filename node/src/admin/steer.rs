//! Where a client would go, and where an address is: the same questions that DNS asks, for people.

use std::net::IpAddr;

use nearside_geo::{Candidate, Place, rank};

use super::api::{GeoAnswer, Location, Route, RouteNode};
use super::control::Control;
use super::error::AdminError;

impl Control {
    /// Every node in the order in which this client would be sent there.
    pub(super) fn route(&self, address: &str, host: Option<&str>) -> Result<Route, AdminError> {
        let ip = client(address)?;
        let view = self.parts.views.load();
        let site = match host {
            None => None,
            Some(host) => {
                let host = host.to_ascii_lowercase();
                let site = view.site(host.trim_end_matches('.'));
                let site = site.ok_or_else(|| {
                    AdminError::Unknown(format!(
                        "no site has the host {host}; see `nearside site list`"
                    ))
                })?;
                Some(site.name.to_string())
            }
        };
        let place = self.parts.atlas.locate(ip);
        let healthy = self.parts.healthy.load();
        let candidates: Vec<Candidate<'_>> = view
            .nodes
            .iter()
            .map(|node| Candidate {
                name: &node.name,
                region: &node.region,
                point: node.point,
                healthy: healthy.contains(&node.id),
                draining: node.draining,
            })
            .collect();
        Ok(Route {
            address: address.to_owned(),
            host: host.map(str::to_owned),
            site,
            nodes: ordered(&place, &candidates),
            place: Location::from(&place),
        })
    }

    /// Where an address is.
    pub(super) fn geo(&self, address: &str) -> Result<GeoAnswer, AdminError> {
        let ip = client(address)?;
        Ok(GeoAnswer {
            address: address.to_owned(),
            place: Location::from(&self.parts.atlas.locate(ip)),
            databases: self.parts.atlas.description(),
        })
    }
}

/// The candidates in their order for a place, with the reasons in words.
pub(crate) fn ordered(place: &Place, candidates: &[Candidate<'_>]) -> Vec<RouteNode> {
    let ranked = rank(place, candidates).into_iter().filter_map(|ranked| {
        let candidate = candidates.get(ranked.index)?;
        Some(RouteNode {
            name: candidate.name.to_owned(),
            region: candidate.region.to_owned(),
            distance_km: ranked.distance_km.map(|km| (km * 10.0).round() / 10.0),
            reason: ranked.reason.to_string(),
        })
    });
    ranked.collect()
}

impl From<&Place> for Location {
    fn from(place: &Place) -> Self {
        Self {
            country: place.country.map(|country| country.to_string()),
            latitude: place.point.map(|point| point.latitude),
            longitude: place.point.map(|point| point.longitude),
            accuracy_km: place.accuracy_km,
            network: place.network.to_string(),
            source: place.source.to_string(),
        }
    }
}

/// An address, or a network as resolvers send it (`198.51.100.0/24`): its first address stands for it.
fn client(text: &str) -> Result<IpAddr, AdminError> {
    crate::config::client_address(text).map_err(AdminError::Malformed)
}
