//! `nearside members`, `drain`, `undrain` and `remove`.

use std::time::Duration;

use clap::Args;

use super::arguments::Global;
use super::client::{Client, segment};
use super::output::{self, Cell, Table, Tone};
use crate::admin::api::{Drain, Members, Written};

/// Arguments of `drain` and `undrain`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The node's name, or its id
    pub node: String,
}

/// Arguments of `remove`.
#[derive(Debug, Args)]
pub struct Removal {
    /// The node's name, or its id
    pub node: String,
    /// Also while it is up: it goes on serving what it last knew until it is stopped
    #[arg(long)]
    pub force: bool,
}

const WRITE_WAITS: Duration = Duration::from_secs(20);

pub(super) async fn list(global: &Global) -> anyhow::Result<()> {
    let members: Members = Client::new(global)?.get("/api/v1/members").await?;
    if global.json {
        return output::json(&members);
    }
    if members.members.is_empty() {
        return output::line("no members: this node belongs to no cluster yet");
    }
    output::text(&table(&members))
}

/// The members with what an operator looks for first in front.
pub(super) fn table(members: &Members) -> String {
    let mut table = Table::new([
        "NAME", "REGION", "STATE", "ROLE", "ADDRESS", "PEER", "VERSION", "ID",
    ]);
    for member in &members.members {
        let status = &member.status;
        let state = match (status.healthy, status.draining) {
            (false, _) => Cell::toned(Tone::Bad, "down"),
            (true, true) => Cell::from("draining"),
            (true, false) => Cell::toned(Tone::Good, "up"),
        };
        let role = match (member.leader, status.voter) {
            (true, _) => "leader",
            (false, true) => "voter",
            (false, false) => "learner",
        };
        let addresses = [
            member.ipv4.map(|address| address.to_string()),
            member.ipv6.map(|address| address.to_string()),
        ];
        let addresses: Vec<String> = addresses.into_iter().flatten().collect();
        let addresses = (!addresses.is_empty()).then(|| addresses.join(" "));
        table.row([
            Cell::from(&status.name),
            Cell::from(&status.region),
            state,
            role.into(),
            Cell::or_dash(addresses),
            Cell::from(&status.peer),
            Cell::from(&status.version),
            status.id.into(),
        ]);
    }
    table.render()
}

pub(super) async fn drain(
    arguments: &Arguments,
    draining: bool,
    global: &Global,
) -> anyhow::Result<()> {
    let client = Client::new(global)?;
    let path = format!("/api/v1/members/{}/drain", segment(&arguments.node));
    let written: Written = client.post(&path, &Drain { draining }, WRITE_WAITS).await?;
    if global.json {
        return output::json(&written);
    }
    output::line(&if draining {
        format!(
            "{} gets no more clients while another node is up",
            arguments.node
        )
    } else {
        format!("{} gets clients again", arguments.node)
    })?;
    super::documents::say_missing(&written.missing);
    Ok(())
}

pub(super) async fn remove(arguments: &Removal, global: &Global) -> anyhow::Result<()> {
    let client = Client::new(global)?;
    let force = arguments.force;
    let path = format!("/api/v1/members/{}?force={force}", segment(&arguments.node));
    let written: Written = client.delete(&path, WRITE_WAITS).await?;
    if global.json {
        return output::json(&written);
    }
    output::line(&format!("{} is no member any more", arguments.node))?;
    super::documents::say_missing(&written.missing);
    Ok(())
}
