//! `nearside route`: where a client would be sent; and, without any node, the same for lists.

use std::io::BufRead as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use nearside_geo::{Atlas, Candidate, Point};
use serde::Serialize;

use super::arguments::Global;
use super::client::{Client, segment};
use super::failure::Failure;
use super::output::{self, Cell, Table};
use crate::admin::api::{Location, Route};
use crate::admin::ordered;

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
    async fn route(&self, address: &str, host: Option<&str>) -> anyhow::Result<Route> {
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
    nodes: Vec<ListedNode>,
}

#[derive(Debug, PartialEq)]
struct ListedNode {
    name: String,
    region: String,
    point: Option<Point>,
}

/// Nodes of one list at most.
const NODES_MAX: usize = 100_000;

impl List {
    fn read(file: &Path) -> anyhow::Result<Self> {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(file)
            .map_err(|error| Failure::failed(format!("{name}: cannot be read: {error}")))?;
        Ok(Self {
            atlas: super::geo::embedded()?,
            nodes: nodes(&text, &name).map_err(Failure::Failed)?,
        })
    }

    fn route(&self, address: &str) -> anyhow::Result<Route> {
        let ip: IpAddr = crate::config::client_address(address).map_err(Failure::Failed)?;
        let place = self.atlas.locate(ip);
        let candidates: Vec<Candidate<'_>> = self
            .nodes
            .iter()
            .map(|node| Candidate {
                name: &node.name,
                region: &node.region,
                point: node.point,
                healthy: true,
                draining: false,
            })
            .collect();
        Ok(Route {
            address: address.to_owned(),
            host: None,
            site: None,
            nodes: ordered(&place, &candidates),
            place: Location::from(&place),
        })
    }
}

/// `name,region,latitude,longitude` a line; a head, empty lines and lines that begin with # are passed over; a node
/// without coordinates has two empty fields.
fn nodes(text: &str, file: &str) -> Result<Vec<ListedNode>, String> {
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
        nodes.push(ListedNode {
            name: name.to_owned(),
            region: region.to_owned(),
            point,
        });
    }
    if nodes.is_empty() {
        return Err(format!(
            "{file}: no node in it; write lines of name,region,latitude,longitude"
        ));
    }
    Ok(nodes)
}

fn told(route: &Route) -> String {
    let mut text = format!("{} is {}\n", route.address, super::geo::place(&route.place));
    if let (Some(host), Some(site)) = (&route.host, &route.site) {
        text.push_str(&format!("{host} is of the site {site}\n"));
    }
    let mut table = Table::new(["", "NODE", "REGION", "DISTANCE", "WHY"]);
    for (index, node) in route.nodes.iter().enumerate() {
        table.row([
            Cell::from(index + 1),
            Cell::from(&node.name),
            Cell::from(&node.region),
            Cell::or_dash(node.distance_km.map(|km| format!("{km:.0} km"))),
            Cell::from(&node.reason),
        ]);
    }
    text.push_str(&table.render());
    text
}

fn shortly(route: &Route) -> String {
    match route.nodes.first() {
        None => format!("{}: no node", route.address),
        Some(node) => {
            let distance = node.distance_km.map(|km| format!(", {km:.0} km"));
            let distance = distance.unwrap_or_default();
            format!(
                "{}: {}{distance} ({})",
                route.address, node.name, node.reason
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
