//! `nearside route`: where a client would be sent; and, without any node, the same for lists.

use std::collections::BTreeSet;
use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use nearside_geo::{Atlas, Point};
use serde::Serialize;

use super::arguments::Global;
use super::client::{Client, segment};
use super::failure::Failure;
use super::output::{self, Cell, Table};
use crate::admin::api::RouteReport;
use crate::dns::{self, Catalog};
use crate::view::{NodeView, View};

/// Arguments of `route`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The client's address, or its network as resolvers send it; - reads addresses from standard input, one a line
    pub address: String,
    /// The host it asks for
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Nodes to choose from in place of the cluster's: CSV lines of name,region,latitude,longitude; no node is asked
    #[arg(long, value_name = "FILE", conflicts_with = "host")]
    pub nodes: Option<PathBuf>,
}

pub(super) async fn run(arguments: &Arguments, global: &Global) -> anyhow::Result<()> {
    let asked = match &arguments.nodes {
        Some(file) => Asked::List(List::read(file)?),
        None => Asked::Cluster(Client::new(global)?),
    };
    let host = arguments.host.as_deref();
    if arguments.address != "-" {
        crate::config::client_network(&arguments.address).map_err(Failure::Usage)?;
        let route = asked.route(&arguments.address, host).await?;
        return if global.json {
            output::json(&route)
        } else {
            output::text(&told(&route))
        };
    }
    let mut failed = 0_usize;
    for line in std::io::stdin().lock().lines() {
        let line = line
            .map_err(|error| Failure::failed(format!("standard input cannot be read: {error}")))?;
        let address = line.trim();
        if address.is_empty() {
            continue;
        }
        match asked.route(address, host).await {
            Ok(route) if global.json => output::json_line(&route)?,
            Ok(route) => output::line(&shortly(&route))?,
            Err(error) => {
                failed += 1;
                if global.json {
                    output::json_line(&NoRoute {
                        address,
                        error: error.to_string(),
                    })?;
                } else {
                    output::note(&error.to_string());
                }
            }
        }
    }
    if failed > 0 {
        return Err(Failure::failed(format!(
            "{failed} of the lines got no answer"
        )));
    }
    Ok(())
}

#[derive(Serialize)]
struct NoRoute<'a> {
    address: &'a str,
    error: String,
}

/// Who is asked.
enum Asked {
    Cluster(Client),
    List(List),
}

impl Asked {
    async fn route(&self, address: &str, host: Option<&str>) -> anyhow::Result<RouteReport> {
        match self {
            Self::Cluster(client) => {
                let host = host.map(|host| format!("&host={}", segment(host)));
                let address = segment(address);
                let path = format!(
                    "/api/v1/route?address={address}{}",
                    host.unwrap_or_default()
                );
                client.get(&path).await
            }
            Self::List(list) => list.route(address),
        }
    }
}

/// Nodes from a file, all of them up, and the embedded databases.
struct List {
    atlas: Atlas,
    catalog: Catalog,
    healthy: BTreeSet<u64>,
}

/// Nodes of one list at most.
const NODES_MAX: usize = 100_000;

impl List {
    fn read(file: &Path) -> anyhow::Result<Self> {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(file)
            .map_err(|error| Failure::failed(format!("{name}: cannot be read: {error}")))?;
        let nodes = nodes(&text, &name).map_err(Failure::Failed)?;
        Ok(Self {
            atlas: super::geo::embedded()?,
            healthy: nodes.iter().map(|node| node.id).collect(),
            catalog: Catalog::compile(Arc::new(View::new(0, Vec::new(), Vec::new(), nodes))),
        })
    }

    fn route(&self, address: &str) -> anyhow::Result<RouteReport> {
        let client = crate::config::client_network(address).map_err(Failure::Usage)?;
        let report = dns::route(&self.catalog, &self.healthy, &self.atlas, client, None);
        Ok(report)
    }
}

/// `name,region,latitude,longitude` a line; a head, empty lines and lines that begin with # are passed over; a node
/// without coordinates has two empty fields.
fn nodes(text: &str, file: &str) -> Result<Vec<NodeView>, String> {
    let mut nodes = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        let is_head = index == 0 && line.starts_with("name,");
        if line.is_empty() || line.starts_with('#') || is_head {
            continue;
        }
        let at = index + 1;
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let [name, region, latitude, longitude] = fields[..] else {
            return Err(format!(
                "{file}:{at}: {} fields in place of name,region,latitude,longitude",
                fields.len()
            ));
        };
        let point = match (latitude, longitude) {
            ("", "") => None,
            (latitude, longitude) => {
                let point = latitude.parse().ok().zip(longitude.parse().ok());
                let point = point.and_then(|(latitude, longitude)| Point::new(latitude, longitude));
                Some(point.ok_or_else(|| {
                    format!("{file}:{at}: {latitude},{longitude} is no latitude and longitude")
                })?)
            }
        };
        if nodes.len() == NODES_MAX {
            return Err(format!("{file}: more than {NODES_MAX} nodes"));
        }
        nodes.push(NodeView {
            id: at as u64,
            name: name.into(),
            region: region.into(),
            point,
            ipv4: None,
            ipv6: None,
            draining: false,
        });
    }
    if nodes.is_empty() {
        return Err(format!(
            "{file}: no node in it; write lines of name,region,latitude,longitude"
        ));
    }
    Ok(nodes)
}

fn told(route: &RouteReport) -> String {
    let mut text = format!("{} is {}\n", client(route), super::geo::place(&route.place));
    if let Some(host) = &route.host {
        text.push_str(&match (&route.zone, route.steered) {
            (None, _) => format!("{host} is in no zone of this cluster\n"),
            (Some(zone), false) => {
                format!("{host} is answered as the zone {zone} says, for everybody alike\n")
            }
            (Some(zone), true) => {
                let ttl = route.ttl_seconds.unwrap_or_default();
                format!("{host} is in the zone {zone}, answered for {ttl} s\n")
            }
        });
    }
    if route.fail_open {
        text.push_str("no node is believed to be up, so DNS answers with them all\n");
    }
    let mut table = Table::new(["", "NODE", "REGION", "DISTANCE", "IN DNS", "WHY"]);
    for (index, node) in route.nodes.iter().enumerate() {
        table.row([
            Cell::from(index + 1),
            Cell::from(&node.name),
            Cell::from(&node.region),
            Cell::or_dash(node.distance_km.map(|km| format!("{km:.0} km"))),
            Cell::from(if node.answered { "yes" } else { "-" }),
            Cell::from(&node.reason),
        ]);
    }
    text.push_str(&table.render());
    text
}

/// One address alone stands without its length.
fn client(route: &RouteReport) -> String {
    let client = route.client;
    if client.prefix_len() == client.max_prefix_len() {
        client.addr().to_string()
    } else {
        client.to_string()
    }
}

fn shortly(route: &RouteReport) -> String {
    match route.nodes.first() {
        None => format!("{}: no node", client(route)),
        Some(node) => {
            let distance = node.distance_km.map(|km| format!(", {km:.0} km"));
            let distance = distance.unwrap_or_default();
            format!(
                "{}: {}{distance} ({})",
                client(route),
                node.name,
                node.reason
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_nodes_is_read_strictly() {
        let good =
            "name,region,latitude,longitude\n# London\nlon1, eu, 51.5, -0.1\n\nsomewhere,xx,,\n";
        let read = nodes(good, "n.csv").unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].point, Point::new(51.5, -0.1));
        assert_eq!(read[1].point, None);
        for (text, message) in [
            (
                "lon1,eu,51.5\n",
                "n.csv:1: 3 fields in place of name,region,latitude,longitude",
            ),
            (
                "a,eu,1,2\nb,eu,91,0\n",
                "n.csv:2: 91,0 is no latitude and longitude",
            ),
            (
                "\n",
                "n.csv: no node in it; write lines of name,region,latitude,longitude",
            ),
        ] {
            assert_eq!(nodes(text, "n.csv").unwrap_err(), message);
        }
    }
}
