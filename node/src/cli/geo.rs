//! `nearside geo`.

use clap::Subcommand;
use nearside_geo::Atlas;

use super::arguments::Global;
use super::client::{Client, segment};
use super::failure::Failure;
use super::output;
use crate::admin::api::{GeoAnswer, PlaceReport};

/// Verbs of `geo`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say where an address is, as far as the node's databases know; without a node, as far as the embedded one does
    Lookup {
        /// The address, or a network
        address: String,
    },
}

pub(super) async fn run(command: Command, global: &Global) -> anyhow::Result<()> {
    let Command::Lookup { address } = command;
    let client = crate::config::client_network(&address).map_err(Failure::Usage)?;
    let path = format!("/api/v1/geo?address={}", segment(&address));
    let answer = match Client::new(global)?.get(&path).await {
        Ok(answer) => answer,
        Err(error) => match error.downcast::<Failure>()? {
            Failure::Unreachable(_) => {
                output::note("no node answers here, so the embedded database was asked");
                let atlas = embedded()?;
                GeoAnswer {
                    place: crate::dns::locate(&atlas, client.addr()),
                    address,
                    databases: atlas.description(),
                }
            }
            other => return Err(other.into()),
        },
    };
    if global.json {
        return output::json(&answer);
    }
    output::text(&format!(
        "{} is {}\nas {} is; asked: {}\n",
        answer.address,
        place(&answer.place),
        answer.place.network,
        answer.databases
    ))
}

/// The databases in this program.
pub(super) fn embedded() -> anyhow::Result<Atlas> {
    Atlas::embedded().map_err(|error| Failure::failed(error.to_string()))
}

/// A place on one line: `in GB, 51.50 -0.10 (by country, ±200 km)`.
pub(super) fn place(place: &PlaceReport) -> String {
    let mut parts = Vec::new();
    if let Some(country) = &place.country {
        parts.push(format!("in {country}"));
    }
    if let (Some(latitude), Some(longitude)) = (place.latitude, place.longitude) {
        parts.push(format!("{latitude:.2} {longitude:.2}"));
    }
    let accuracy = place.accuracy_km.map(|km| format!(", ±{km:.0} km"));
    let accuracy = accuracy.unwrap_or_default();
    if parts.is_empty() {
        return format!("nowhere known ({}{accuracy})", place.known);
    }
    format!("{} ({}{accuracy})", parts.join(", "), place.known)
}
