//! `nearside cluster`.

use std::time::Duration;

use clap::Subcommand;

use super::arguments::Global;
use super::client::Client;
use super::output;
use crate::admin::api::NodeStatus;

/// Verbs of `cluster`.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Command {
    /// Make a cluster of this node: once, on one node; the others join it
    Init,
}

/// Making a cluster asks every join address first.
const INIT_WAITS: Duration = Duration::from_secs(30);

pub(super) async fn run(command: Command, global: &Global) -> anyhow::Result<()> {
    let Command::Init = command;
    let client = Client::new(global)?;
    let body = serde_json::json!({});
    let status: NodeStatus = client
        .post("/api/v1/cluster/init", &body, INIT_WAITS)
        .await?;
    if global.json {
        return output::json(&status);
    }
    let cluster = status.cluster.cluster.as_deref().unwrap_or("?");
    output::line(&format!(
        "{} made the cluster {cluster}; let others join with `nearside join-token new`",
        status.cluster.name
    ))
}
