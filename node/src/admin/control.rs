//! The API without HTTP: questions are answered from what this node holds, changes are proposed to the cluster.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nearside_cluster::{Change, Cluster, Committed, Member, NodeId};
use nearside_geo::Atlas;

use super::api::{
    Drain, MadeToken, MemberFacts, Members, NewToken, NodeStatus, Outcome, Receipt, TokenFacts,
    Tokens, Wait, WriteOptions, Written,
};
use super::error::AdminError;
use super::explain::Running;
use super::metrics::AdminMetrics;
use super::readiness::{Phase, Readiness};
use crate::config::settings::Settings;
use crate::view::{Healthy, Views};

/// How long a write waits for the other nodes when the request does not say, and at most.
const WAIT: Duration = Duration::from_secs(10);
const WAIT_MAX: Duration = Duration::from_secs(300);
/// How long a join token lives when the request does not say, and at most.
const TOKEN_TTL: Duration = Duration::from_secs(3600);
const TOKEN_TTL_MAX: Duration = Duration::from_secs(30 * 86_400);
/// Longest author that is kept.
const AUTHOR_MAX: usize = 64;

/// What the API speaks for.
pub struct Parts {
    /// This node's part in the cluster.
    pub cluster: Cluster,
    /// This node's settings.
    pub settings: Arc<Settings>,
    /// What the data plane serves.
    pub views: Arc<Views>,
    /// Who is believed to be up.
    pub healthy: Arc<Healthy>,
    /// Where addresses are.
    pub atlas: Arc<Atlas>,
    /// Whether this node may get traffic.
    pub readiness: Arc<Readiness>,
    /// What serves clients, while it does.
    pub proxy: Arc<Running>,
    /// What is counted.
    pub metrics: AdminMetrics,
}

/// The API without HTTP. Cheap to clone.
#[derive(Clone)]
pub struct Control {
    pub(super) parts: Arc<Parts>,
    started: Instant,
}

impl Control {
    /// Speaks for these parts from now on.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self {
            parts: Arc::new(parts),
            started: Instant::now(),
        }
    }

    /// Why this node may not get traffic; none: it may.
    #[must_use]
    pub fn not_ready(&self) -> Option<&'static str> {
        match self.parts.readiness.phase() {
            Phase::Starting => Some("starting"),
            Phase::Draining => Some("draining"),
            Phase::Serving => {
                let view = self.parts.views.load();
                let serves = view.generation > 0 || view.sites.iter().any(|site| site.any_host);
                (!serves).then_some("no view")
            }
        }
    }

    /// The cluster and this node, without asking anybody.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        let view = self.parts.views.load();
        let not_ready = self.not_ready();
        NodeStatus {
            cluster: self.parts.cluster.status(),
            region: self.parts.settings.region.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            ready: not_ready.is_none(),
            not_ready_because: not_ready.map(str::to_owned),
            generation: view.generation,
            sites: view.sites.len(),
            zones: view.zones.len(),
        }
    }

    /// Every member, with what it said of itself.
    #[must_use]
    pub fn members(&self) -> Members {
        let status = self.parts.cluster.status();
        let state = self.parts.cluster.state();
        let leader = status.leader;
        let members = status.members.into_iter().map(|status| {
            let said = state.members.get(&status.id);
            MemberFacts {
                latitude: said.and_then(|member| member.latitude),
                longitude: said.and_then(|member| member.longitude),
                ipv4: said.and_then(|member| member.ipv4),
                ipv6: said.and_then(|member| member.ipv6),
                leader: leader == Some(status.id),
                status,
            }
        });
        Members {
            members: members.collect(),
            liveness_trusted: status.liveness_trusted,
        }
    }

    /// Makes a cluster of this node.
    pub async fn init(&self) -> Result<NodeStatus, AdminError> {
        self.parts.cluster.init().await?;
        Ok(self.status())
    }

    /// Makes a join token.
    pub async fn make_token(&self, request: NewToken) -> Result<MadeToken, AdminError> {
        let ttl = request.ttl_ms.map_or(TOKEN_TTL, Duration::from_millis);
        if ttl.is_zero() || ttl > TOKEN_TTL_MAX {
            return Err(AdminError::Malformed(
                "a join token lives longer than nothing and at most 30d".to_owned(),
            ));
        }
        let uses = request.uses.unwrap_or(1);
        if !(1..=1000).contains(&uses) {
            return Err(AdminError::Malformed(
                "a join token is for 1 to 1000 nodes".to_owned(),
            ));
        }
        let author = author(request.author);
        let token = self.parts.cluster.make_join_token(ttl, uses, &author);
        Ok(MadeToken {
            token: token.await?,
        })
    }

    /// The join tokens, without their secrets.
    #[must_use]
    pub fn tokens(&self) -> Tokens {
        let state = self.parts.cluster.state();
        let tokens = state.join_tokens.values().map(|token| TokenFacts {
            id: token.id.clone(),
            expires_ms: token.expires_ms,
            uses_left: token.uses_left,
            author: token.author.clone(),
        });
        Tokens {
            tokens: tokens.collect(),
        }
    }

    /// Revokes a join token.
    pub async fn revoke_token(&self, id: &str) -> Result<Written, AdminError> {
        let change = Change::JoinTokenRevoked { id: id.to_owned() };
        let names = vec![id.to_owned()];
        self.write(change, names, Vec::new(), &committed()).await
    }

    /// Drains a member, or takes it back.
    pub async fn drain(&self, name: &str, drain: Drain) -> Result<Written, AdminError> {
        let id = self.member(name)?;
        let change = Change::DrainSet {
            id,
            draining: drain.draining,
        };
        let names = vec![name.to_owned()];
        self.write(change, names, Vec::new(), &WriteOptions::default())
            .await
    }

    /// Removes a member for good. One that is up would go on serving its last view, so that is refused unless forced.
    pub async fn remove_member(&self, name: &str, force: bool) -> Result<Written, AdminError> {
        let id = self.member(name)?;
        let up = self.parts.cluster.liveness().borrow().healthy.contains(&id);
        if up && !force {
            return Err(AdminError::Conflict(format!(
                "{name} is up: drain and stop it first, or remove it with --force and stop it then"
            )));
        }
        let change = Change::MemberRemoved { id };
        let names = vec![name.to_owned()];
        self.write(change, names, Vec::new(), &WriteOptions::default())
            .await
    }

    /// The member of that name, or with that id.
    fn member(&self, name: &str) -> Result<NodeId, AdminError> {
        let state = self.parts.cluster.state();
        let by_id = || {
            let id = NodeId(name.parse().ok()?);
            state.members.get(&id)
        };
        match state.member_named(name).or_else(by_id) {
            Some(member) => Ok(member.id),
            None => Err(AdminError::Unknown(no_member(name, state.members.values()))),
        }
    }

    /// Proposes a change, and waits for the others as asked.
    pub(super) async fn write(
        &self,
        change: Change,
        names: Vec<String>,
        warnings: Vec<String>,
        options: &WriteOptions,
    ) -> Result<Written, AdminError> {
        let committed = self.parts.cluster.propose(change).await?;
        let receipts = self.receipts(&committed, options).await;
        Ok(Written {
            index: Some(committed.index),
            names,
            warnings,
            missing: named(&receipts, Outcome::Missing),
            receipts,
        })
    }

    /// What each node says of a change, if that is to be waited for.
    pub(super) async fn receipts(
        &self,
        committed: &Committed,
        options: &WriteOptions,
    ) -> Vec<Receipt> {
        if options.wait == Wait::Committed {
            return Vec::new();
        }
        let timeout = options.timeout_ms.map_or(WAIT, Duration::from_millis);
        let receipts = self
            .parts
            .cluster
            .wait_applied(committed, timeout.min(WAIT_MAX))
            .await;
        receipts.into_iter().map(Receipt::from).collect()
    }

    /// Names of the members, for messages.
    pub(super) fn member_names(&self) -> HashSet<String> {
        let state = self.parts.cluster.state();
        let names = state.members.values().map(|member| member.name.clone());
        names.collect()
    }
}

/// Nothing to wait for beyond the quorum.
fn committed() -> WriteOptions {
    WriteOptions {
        wait: Wait::Committed,
        ..WriteOptions::default()
    }
}

/// The nodes with this outcome.
pub(super) fn named(receipts: &[Receipt], outcome: Outcome) -> Vec<String> {
    let nodes = receipts.iter().filter(|receipt| receipt.outcome == outcome);
    nodes.map(|receipt| receipt.node.clone()).collect()
}

/// An author as it is kept: short, and printable on one line.
pub(super) fn author(said: Option<String>) -> String {
    let said = said.unwrap_or_default();
    let printable = said.chars().filter(|c| !c.is_control());
    let kept: String = printable.take(AUTHOR_MAX).collect();
    if kept.trim().is_empty() {
        "admin".to_owned()
    } else {
        kept
    }
}

fn no_member<'a>(name: &str, members: impl Iterator<Item = &'a Member>) -> String {
    let names: Vec<&str> = members.map(|member| member.name.as_str()).collect();
    match crate::config::nearest(name, names.iter().copied()) {
        Some(meant) => format!("there is no member \"{name}\"; did you mean \"{meant}\"?"),
        None => format!("there is no member \"{name}\"; see `nearside members`"),
    }
}
