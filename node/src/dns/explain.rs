//! Where a client would go, and why: the same functions that answer, with their reasons written out.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use nearside_geo::{Atlas, Place, PlaceSource};
use serde::{Deserialize, Serialize};

use super::answer::standing;
use super::catalog::Catalog;
use super::name::WireName;
use super::steer::choose;
use crate::view::{NodeView, View};

/// A place, for people and machines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlaceReport {
    /// ISO 3166 code.
    pub country: Option<String>,
    /// Degrees north.
    pub latitude: Option<f64>,
    /// Degrees east.
    pub longitude: Option<f64>,
    /// How far off that typically is, km.
    pub accuracy_km: Option<f32>,
    /// Everyone in here has the same place.
    pub network: IpNet,
    /// How it is known, in words.
    pub known: String,
    /// The database that answered: its file, or `embedded`.
    pub database: Option<String>,
}

/// Every node in order, for one client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteReport {
    /// The client, as asked.
    pub client: IpNet,
    /// The host, as asked.
    pub host: Option<String>,
    /// The zone that answers for the host; none: no zone of this cluster does, or no host was asked.
    pub zone: Option<String>,
    /// False if the host is in a zone but answered as written there.
    pub steered: bool,
    /// Lifetime of the answer, seconds.
    pub ttl_seconds: Option<u32>,
    /// Where the client is.
    pub place: PlaceReport,
    /// The prefix length that a resolver is told the answer is good for (RFC 7871).
    pub ecs_scope: u8,
    /// The log index of the view that decided.
    pub generation: u64,
    /// True while no node is believed to be healthy, so that all are answered.
    pub fail_open: bool,
    /// The best first.
    pub nodes: Vec<RouteNode>,
}

/// A node in its place of the order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteNode {
    /// Its name.
    pub name: String,
    /// Its region.
    pub region: String,
    /// Great-circle distance from the client's place, km.
    pub distance_km: Option<f64>,
    /// Part of the DNS answer?
    pub answered: bool,
    /// Why it stands here.
    pub reason: String,
    /// What A says.
    pub ipv4: Option<Ipv4Addr>,
    /// What AAAA says.
    pub ipv6: Option<Ipv6Addr>,
}

/// Where an address is.
#[must_use]
pub fn locate(atlas: &Atlas, address: IpAddr) -> PlaceReport {
    report(atlas, &atlas.locate(address))
}

/// Where clients of a network would be sent. Works on any view: the live one, or one made of a list of nodes.
///
/// Nodes that advertise no address are listed last, since no answer can name them; unless none does, as in a list of
/// nodes that are only planned: then the order is what is asked for.
#[must_use]
pub fn route(
    catalog: &Catalog,
    healthy: &BTreeSet<u64>,
    atlas: &Atlas,
    client: IpNet,
    host: Option<&str>,
) -> RouteReport {
    let view: &View = catalog.view();
    let place = atlas.locate(client.addr());
    let reachable = |node: &NodeView| node.ipv4.is_some() || node.ipv6.is_some();
    let planned = !view.nodes.iter().any(reachable);
    let choice = choose(view, healthy, &place, |node| planned || reachable(node));
    let name = host.and_then(WireName::parse);
    let standing = name
        .as_ref()
        .and_then(|name| standing(catalog, name.as_bytes()));
    let named = |node: &NodeView| RouteNode {
        name: node.name.to_string(),
        region: node.region.to_string(),
        distance_km: node
            .point
            .zip(place.point)
            .map(|(to, from)| from.distance_km(to)),
        answered: false,
        reason: "advertises no address".into(),
        ipv4: node.ipv4,
        ipv6: node.ipv6,
    };
    let ranked = choice.order.iter().map(|ranked| RouteNode {
        answered: choice.answered.contains(&ranked.index),
        reason: ranked.reason.to_string(),
        ..named(&view.nodes[ranked.index])
    });
    let silent = view
        .nodes
        .iter()
        .filter(|node| !planned && !reachable(node));
    let nodes = ranked.chain(silent.map(named));
    RouteReport {
        client,
        host: host.map(str::to_owned),
        zone: standing.map(|(zone, _)| zone.name.to_string()),
        steered: host.is_none() || standing.is_some_and(|(_, steered)| steered),
        ttl_seconds: standing.map(|(zone, _)| zone.steered_ttl),
        ecs_scope: if choice.place_matters {
            place.network.prefix_len()
        } else {
            0
        },
        place: report(atlas, &place),
        generation: view.generation,
        fail_open: choice.fail_open,
        nodes: nodes.collect(),
    }
}

fn report(atlas: &Atlas, place: &Place) -> PlaceReport {
    let database = match place.source {
        PlaceSource::Coordinates { database }
        | PlaceSource::CountryCentre { database }
        | PlaceSource::Country { database } => atlas.database(database),
        PlaceSource::Special { .. } | PlaceSource::Given | PlaceSource::Unknown => None,
    };
    PlaceReport {
        country: place.country.map(|country| country.to_string()),
        latitude: place.point.map(|point| point.latitude),
        longitude: place.point.map(|point| point.longitude),
        accuracy_km: place.accuracy_km,
        network: place.network,
        known: place.source.to_string(),
        database: database.map(|about| about.name.clone()),
    }
}

#[cfg(test)]
mod tests;
