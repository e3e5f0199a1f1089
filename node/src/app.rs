//! Composition root: the one file that sees every part, starts them, and drains them in reverse.
//!
//! ```text
//! bind every socket ─ databases ─ cluster (last state, with or without quorum) ─ peers, admin, metrics
//!        └ a member at last? ─ store ─ origins ─ proxy ─ DNS, HTTP ─ ready
//! ```
//!
//! `serve` is the same node with a site of its own: a cluster of one that listens for nobody, so that purges, status
//! and metrics work there as everywhere.

mod chronicle;
mod facts;
mod ground;
mod plane;
mod samples;
mod signals;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nearside_cluster::{Change, Cluster, JoinError, NewDocument};

use crate::admin::Phase;
use crate::config::settings::Settings;
use crate::config::site::Site;
use crate::config::{node_file, waiting_for_restart};
use ground::Ground;
use plane::Plane;
use signals::Signals;

/// How long open requests may go on once a drain has begun. A supervisor's patience must be longer.
const GRACE: Duration = Duration::from_secs(20);
/// Between two tries to join.
const JOIN_PAUSE: Duration = Duration::from_secs(1);

/// Runs one node in front of `site`, until a signal ends it.
///
/// # Errors
/// What could not be started, and why.
pub async fn serve(settings: Settings, site: Site) -> anyhow::Result<()> {
    let mut signals = Signals::listen();
    let site = Arc::new(site);
    let ground = Ground::lay(settings, Some(Arc::clone(&site))).await?;
    let plane = match alone(&ground, &site).await {
        Ok(plane) => plane,
        Err(error) => return given_up(ground, error).await,
    };
    signals.until_stop(|| plane.reload(&ground.settings)).await;
    // Nobody is told: a lone node has no neighbour that could take its clients.
    stop(ground, plane, Duration::ZERO, signals).await;
    Ok(())
}

/// A cluster of one, its site, and its data plane.
async fn alone(ground: &Ground, site: &Site) -> anyhow::Result<Plane> {
    if !ground.is_member() {
        let made = ground.cluster.init().await;
        made.context("cannot set up the data folder")?;
    }
    own_site(&ground.cluster, site).await?;
    Plane::start(ground).await
}

/// Closes in order what runs already, so that the way out is clean, and passes on why.
async fn given_up(ground: Ground, error: anyhow::Error) -> anyhow::Result<()> {
    ground.stop().await;
    Err(error)
}

/// The document that stands for the command line's site, so that purges find it.
async fn own_site(cluster: &Cluster, site: &Site) -> anyhow::Result<()> {
    if cluster.state().sites.contains_key(&*site.name) {
        return Ok(());
    }
    let document = NewDocument {
        name: site.name.to_string(),
        hosts: Vec::new(),
        text: "# made by the command line of `serve`\n".to_owned(),
        expected_revision: None,
    };
    let author = "serve".to_owned();
    let change = Change::SitesApplied {
        documents: vec![document],
        author,
    };
    cluster
        .propose(change)
        .await
        .context("cannot record the site")?;
    Ok(())
}

/// Runs a node of a cluster, until a signal ends it. `file` is where its settings stand, for SIGHUP; `token` lets it
/// join a cluster, unless it belongs already.
///
/// # Errors
/// What could not be started, and why.
pub async fn node(settings: Settings, file: PathBuf, token: Option<String>) -> anyhow::Result<()> {
    let mut signals = Signals::listen();
    let ground = Ground::lay(settings, None).await?;
    let belongs = tokio::select! {
        joined = membership(&ground, token.as_deref()) => joined.map(|()| true),
        () = signals.until_stop(|| tracing::info!("nothing to reload yet")) => Ok(false),
    };
    let plane = match belongs {
        Ok(true) => Plane::start(&ground).await,
        Ok(false) => {
            ground.stop().await;
            return Ok(());
        }
        Err(error) => Err(error),
    };
    let plane = match plane {
        Ok(plane) => plane,
        Err(error) => return given_up(ground, error).await,
    };
    signals.until_stop(|| reload(&file, &ground, &plane)).await;
    let lifetime = plane.answer_lifetime();
    stop(ground, plane, lifetime, signals).await;
    Ok(())
}

/// Waits until this node belongs to a cluster: it did before, its token lets it in, or somebody makes one of it. Who
/// asks it for a site meanwhile is turned away.
async fn membership(ground: &Ground, token: Option<&str>) -> anyhow::Result<()> {
    let antechamber = if ground.is_member() {
        None
    } else {
        tracing::info!(
            token = token.is_some(),
            "belongs to no cluster yet: waits for a token's way in, or for `nearside cluster init`"
        );
        let antechamber = ground.antechamber();
        Some(antechamber.context("cannot turn clients away")?)
    };
    if let Some(token) = token.filter(|_| !ground.is_member()) {
        join(&ground.cluster, token).await?;
    }
    ground.member().await;
    if let Some(antechamber) = antechamber {
        antechamber.close().await;
    }
    Ok(())
}

/// Joins, again and again while members cannot be reached; what they refuse is final.
async fn join(cluster: &Cluster, token: &str) -> anyhow::Result<()> {
    let mut told = false;
    loop {
        match cluster.join(token).await {
            Ok(id) => {
                tracing::info!(%id, "joined the cluster");
                return Ok(());
            }
            Err(JoinError::AlreadyMember { .. }) => return Ok(()),
            Err(error @ (JoinError::Token(_) | JoinError::Refused(_))) => {
                bail!("cannot join: {error}")
            }
            Err(error) => {
                if !told {
                    tracing::warn!(%error, "cannot join yet, trying on");
                    told = true;
                }
                tokio::time::sleep(JOIN_PAUSE).await;
            }
        }
    }
}

/// SIGHUP: reads the node file again, takes what can change without a restart, and names what cannot. A file that is
/// wrong changes nothing.
fn reload(file: &Path, ground: &Ground, plane: &Plane) {
    match node_file::load(file) {
        Ok(written) => {
            plane.reload(&written);
            for key in waiting_for_restart(&ground.settings, &written) {
                tracing::warn!(key, "changed in the node file, and waits for a restart");
            }
        }
        Err(error) => tracing::error!(%error, "the node file is not taken, nothing changes"),
    }
}

/// Leaves DNS, waits until clients' answers have run out, finishes open requests, and closes everything in reverse.
/// A second signal ends all of it at once.
async fn stop(ground: Ground, plane: Plane, answers_live: Duration, mut signals: Signals) {
    ground.readiness.enter(Phase::Draining);
    tracing::info!(wait_s = answers_live.as_secs(), "draining");
    let drained = async {
        ground.leave();
        tokio::time::sleep(answers_live).await;
        plane.stop().await;
        ground.stop().await;
    };
    // Ends the process itself: what drains owns a runtime, which must not be dropped halfway in here.
    let at_once = async {
        signals.stop_again().await;
        tracing::warn!("stopped at once by a second signal");
        std::process::exit(0)
    };
    tokio::select! {
        () = drained => tracing::info!("stopped"),
        () = at_once => {}
    }
}
