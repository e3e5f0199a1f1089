//! `nearside status`.

use clap::{Args, ValueEnum};

use super::arguments::Global;
use super::client::Client;
use super::failure::Failure;
use super::output::{self, Tone, count, span, toned};
use crate::admin::api::{Members, NodeStatus};
use nearside_cluster::Role;

/// Arguments of `status`.
#[derive(Clone, Copy, Debug, Args)]
pub struct Arguments {
    /// Only the exit code matters: 0 when it holds, 1 with a line that says why not
    #[arg(long, value_name = "WHAT")]
    pub check: Option<Check>,
}

/// What `--check` can ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Check {
    /// The node answers
    Live,
    /// It may get traffic
    Ready,
    /// It is ready, takes part in its cluster, and changes can be made
    Healthy,
}

pub(super) async fn run(arguments: &Arguments, global: &Global) -> anyhow::Result<()> {
    let client = Client::new(global)?;
    let status: NodeStatus = client.get("/api/v1/status").await?;
    if let Some(why) = arguments.check.and_then(|check| failing(check, &status)) {
        return Err(Failure::failed(format!("{}: {why}", status.cluster.name)));
    }
    if global.json {
        return output::json(&status);
    }
    if arguments.check.is_some() {
        return Ok(());
    }
    let members: Members = client.get("/api/v1/members").await?;
    let mut text = summary(&status);
    if !members.members.is_empty() {
        text.push('\n');
        text.push_str(&super::members::table(&members));
    }
    output::text(&text)
}

fn failing(check: Check, status: &NodeStatus) -> Option<String> {
    let not_ready = status
        .not_ready_because
        .as_ref()
        .map(|why| format!("not ready: {why}"));
    match check {
        Check::Live => None,
        Check::Ready => not_ready,
        Check::Healthy => not_ready.or_else(|| {
            let cluster = &status.cluster;
            match cluster.role {
                Role::Outside => Some("belongs to no cluster".to_owned()),
                Role::Halted => Some("its cluster storage failed; see its log".to_owned()),
                _ if !cluster.has_quorum => Some("the cluster has no quorum".to_owned()),
                _ => None,
            }
        }),
    }
}

fn summary(status: &NodeStatus) -> String {
    let cluster = &status.cluster;
    let state = match &status.not_ready_because {
        None => toned(Tone::Good, "ready"),
        Some(why) => toned(Tone::Bad, &format!("not ready: {why}")),
    };
    let first = format!(
        "{} ({}), nearside {}, up {}: {state}\n",
        cluster.name,
        status.region,
        status.version,
        span(status.uptime_ms)
    );
    let Some(id) = &cluster.cluster else {
        let how = "cluster   none yet: `nearside cluster init` makes one, a join token lets this node into another\n";
        return first + how;
    };
    let voters = cluster.members.iter().filter(|it| it.voter).count();
    let up = cluster.members.iter().filter(|it| it.healthy).count();
    let members = count(cluster.members.len(), "member");
    let trusted = if cluster.liveness_trusted {
        ""
    } else {
        " (as last agreed: this node sees no majority)"
    };
    let role = match cluster.role {
        Role::Leader => "leads",
        Role::Follower => "follows",
        Role::Candidate => "asks for votes",
        Role::Learner => "learns",
        Role::Halted => "halted: its storage failed",
        Role::Outside => "outside",
    };
    let quorum = match (cluster.has_quorum, cluster.quorum_age_ms) {
        (true, _) => toned(Tone::Good, "quorum"),
        (false, Some(age)) => toned(
            Tone::Bad,
            &format!("no quorum for {}: no change can be made", span(age)),
        ),
        (false, None) => toned(Tone::Bad, "no quorum: no change can be made"),
    };
    let leader = cluster.leader_name.as_deref().unwrap_or("unknown");
    format!(
        "{first}cluster   {id}, epoch {}, {members}, {voters} voting, {up} up{trusted}\n\
         raft      {role}, leader {leader}, term {}, applied {} of {}, {quorum}\n\
         serves    generation {}, {}, {}\n",
        cluster.epoch,
        cluster.term,
        cluster.applied,
        cluster.last_log,
        status.generation,
        count(status.sites, "site"),
        count(status.zones, "zone"),
    )
}
