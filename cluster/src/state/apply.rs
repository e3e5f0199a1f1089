//! The state machine: a pure function of the log.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::change::{Change, Command, NewDocument, NewMember, Refusal};
use super::document::Document;
use super::member::{Member, NodeId};
use super::purge::{Purge, PurgeScope, SitePurges};
use super::token::JoinToken;
use super::{Recent, Stamp, State};

/// Members at most. Beyond, edges hang off relays.
const MEMBERS_MAX: usize = 1000;
/// Sites and zones at most, each.
const DOCUMENTS_MAX: usize = 10_000;
/// Bytes of one document at most.
const TEXT_BYTES_MAX: usize = 256 * 1024;
/// Documents in one change at most.
const DOCUMENTS_PER_CHANGE_MAX: usize = 256;
/// Bytes of text in one change at most, so that a few of them fit into one message.
const CHANGE_BYTES_MAX: usize = 2 << 20;
/// Bytes of all sites, or of all zones, with their histories: a snapshot carries them all.
const DOCUMENTS_BYTES_MAX: usize = 64 << 20;
/// Hosts of one site at most.
const HOSTS_MAX: usize = 1000;
/// Join tokens at most.
const TOKENS_MAX: usize = 1000;
/// Bytes of a purge identity at most.
const URL_BYTES_MAX: usize = 8 * 1024;
/// Bytes of a tag at most: what an entry may carry.
const TAG_BYTES_MAX: usize = 1024;
/// Sites with purges, removed ones included, before the oldest removed ones melt into the cluster's floor.
const PURGED_SITES_MAX: usize = 2 * DOCUMENTS_MAX;

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The log index at which it was applied first.
    pub index: u64,
    /// Why it was refused, if it was.
    pub refusal: Option<Refusal>,
}

/// The state with what only its own transitions need.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub(crate) state: State,
    pub(crate) recent: Recent,
}

impl Machine {
    /// The state as of now.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Applies the command at `index`. The flag says whether it was new: a repeated command changes nothing and gets
    /// the outcome of its first application.
    pub fn apply(&mut self, index: u64, command: &Command) -> (Outcome, bool) {
        self.state.applied = index;
        if let Some(outcome) = self.recent.outcome(&command.id) {
            return (outcome.clone(), false);
        }
        self.state.time_ms = self.state.time_ms.max(command.time_ms);
        let outcome = Outcome {
            index,
            refusal: change(&mut self.state, index, &command.change).err(),
        };
        self.recent.remember(command.id, outcome.clone());
        (outcome, true)
    }

    /// Passes over an entry that changes nothing but the index.
    pub fn pass(&mut self, index: u64) {
        self.state.applied = index;
    }

    /// Takes over who votes, as of the membership entry at `index`.
    pub fn vote(&mut self, index: u64, voters: &BTreeSet<NodeId>) {
        self.state.applied = index;
        for member in self.state.members.values_mut() {
            member.voter = voters.contains(&member.id);
        }
    }
}

/// Every arm either changes the state or refuses before it touched anything.
fn change(state: &mut State, index: u64, change: &Change) -> Result<(), Refusal> {
    match change {
        Change::ClusterMade {
            cluster,
            ca_certificate,
            ca_key_sealed,
            founder,
        } => {
            if !state.members.is_empty() {
                return Err(Refusal::Invalid("the cluster is made already".into()));
            }
            state.stamp = Stamp {
                cluster: *cluster,
                epoch: 1,
            };
            state.ca_certificate.clone_from(ca_certificate);
            state.ca_key_sealed.clone_from(ca_key_sealed);
            let mut founder = member(NodeId::FOUNDER, founder);
            founder.voter = true;
            state.members.insert(founder.id, founder);
            Ok(())
        }
        Change::MemberJoined {
            token,
            secret_hash,
            member,
            replaces,
        } => join(state, index, token, secret_hash, member, *replaces),
        Change::MemberUpdated { id, member } => update(state, *id, member),
        Change::MemberRemoved { id } => {
            if state.members.len() == 1 && state.members.contains_key(id) {
                return Err(Refusal::Invalid("the last member cannot be removed".into()));
            }
            match state.members.remove(id) {
                Some(_) => Ok(()),
                None => Err(unknown("member", id)),
            }
        }
        Change::DrainSet { id, draining } => match state.members.get_mut(id) {
            Some(member) => {
                member.draining = *draining;
                Ok(())
            }
            None => Err(unknown("member", id)),
        },
        Change::SitesApplied { documents, author } => {
            check_documents("site", &state.sites, documents)?;
            check_hosts(&state.sites, documents)?;
            set_documents(&mut state.sites, index, state.time_ms, documents, author);
            Ok(())
        }
        Change::SiteRemoved {
            name,
            expected_revision,
            author: _,
        } => {
            remove_document("site", &mut state.sites, name, *expected_revision)?;
            let mut tombstone = SitePurges::default();
            tombstone.add(&PurgeScope::All, index, false);
            state.purges.insert(name.clone(), Arc::new(tombstone));
            melt_old_tombstones(state);
            Ok(())
        }
        Change::ZonesApplied { documents, author } => {
            check_documents("zone", &state.zones, documents)?;
            set_documents(&mut state.zones, index, state.time_ms, documents, author);
            Ok(())
        }
        Change::ZoneRemoved {
            name,
            expected_revision,
            author: _,
        } => remove_document("zone", &mut state.zones, name, *expected_revision),
        Change::Purged(purge) => purge_site(state, index, purge),
        Change::JoinTokenMade(token) => make_token(state, token),
        Change::JoinTokenRevoked { id } => match state.join_tokens.remove(id) {
            Some(_) => Ok(()),
            None => Err(unknown("join token", id)),
        },
    }
}

fn unknown(kind: &str, name: impl ToString) -> Refusal {
    Refusal::Unknown {
        kind: kind.into(),
        name: name.to_string(),
    }
}

fn member(id: NodeId, new: &NewMember) -> Member {
    Member {
        id,
        name: new.name.clone(),
        region: new.region.clone(),
        latitude: new.latitude,
        longitude: new.longitude,
        ipv4: new.ipv4,
        ipv6: new.ipv6,
        peer: new.peer.clone(),
        voter: false,
        draining: false,
        version: new.version.clone(),
    }
}

fn join(
    state: &mut State,
    index: u64,
    token_id: &str,
    secret_hash: &[u8; 32],
    new: &NewMember,
    replaces: Option<NodeId>,
) -> Result<(), Refusal> {
    let refused = |why: &str| Refusal::TokenRefused {
        token: token_id.to_owned(),
        why: why.to_owned(),
    };
    let now_ms = state.time_ms;
    match state.join_tokens.get(token_id) {
        None => return Err(refused("is unknown: used up, revoked or expired")),
        Some(token) if token.secret_hash != *secret_hash => return Err(refused("is wrong")),
        Some(token) if token.expires_ms <= now_ms => return Err(refused("has expired")),
        Some(token) if token.uses_left == 0 => return Err(refused("is used up")),
        Some(_) => {}
    }
    if new.name.is_empty() {
        return Err(Refusal::Invalid("a member needs a name".into()));
    }
    let namesake = state.member_named(&new.name).map(|member| member.id);
    match namesake {
        Some(id) if replaces != Some(id) => {
            return Err(Refusal::NameTaken {
                name: new.name.clone(),
                id,
            });
        }
        None if state.members.len() >= MEMBERS_MAX => {
            return Err(too_many("members", MEMBERS_MAX));
        }
        _ => {}
    }
    if let Some(id) = namesake {
        state.members.remove(&id);
    }
    if let Some(token) = state.join_tokens.get_mut(token_id) {
        token.uses_left -= 1;
    }
    let id = NodeId(index);
    state.members.insert(id, member(id, new));
    Ok(())
}

fn update(state: &mut State, id: NodeId, new: &NewMember) -> Result<(), Refusal> {
    if let Some(namesake) = state.member_named(&new.name)
        && namesake.id != id
    {
        return Err(Refusal::NameTaken {
            name: new.name.clone(),
            id: namesake.id,
        });
    }
    let Some(old) = state.members.get_mut(&id) else {
        return Err(unknown("member", id));
    };
    *old = Member {
        voter: old.voter,
        draining: old.draining,
        ..member(id, new)
    };
    Ok(())
}

fn too_many(what: &str, limit: usize) -> Refusal {
    Refusal::TooMany {
        what: what.into(),
        limit: limit as u64,
    }
}

fn check_documents(
    kind: &str,
    existing: &BTreeMap<String, Arc<Document>>,
    documents: &[NewDocument],
) -> Result<(), Refusal> {
    if documents.is_empty() {
        return Err(Refusal::Invalid(format!("no {kind} was given")));
    }
    if documents.len() > DOCUMENTS_PER_CHANGE_MAX {
        return Err(too_many(
            &format!("{kind}s in one change"),
            DOCUMENTS_PER_CHANGE_MAX,
        ));
    }
    let mut names = BTreeSet::new();
    for document in documents {
        let name = &document.name;
        if name.is_empty() {
            return Err(Refusal::Invalid(format!("a {kind} needs a name")));
        }
        if !names.insert(name) {
            return Err(Refusal::Invalid(format!(
                "{kind} \"{name}\" is given twice"
            )));
        }
        if document.text.len() > TEXT_BYTES_MAX {
            return Err(too_many(
                &format!("bytes of {kind} \"{name}\""),
                TEXT_BYTES_MAX,
            ));
        }
        if document.hosts.len() > HOSTS_MAX {
            return Err(too_many(&format!("hosts of {kind} \"{name}\""), HOSTS_MAX));
        }
        let actual = existing.get(name).map_or(0, |document| document.revision);
        check_revision(kind, name, document.expected_revision, actual)?;
    }
    let given: usize = documents.iter().map(|new| new.text.len()).sum();
    if given > CHANGE_BYTES_MAX {
        return Err(too_many(
            &format!("bytes of {kind}s in one change"),
            CHANGE_BYTES_MAX,
        ));
    }
    let held: usize = existing.values().map(|old| old.bytes()).sum();
    if held + given > DOCUMENTS_BYTES_MAX {
        return Err(too_many(
            &format!("bytes of {kind}s with their histories"),
            DOCUMENTS_BYTES_MAX,
        ));
    }
    let added = names
        .iter()
        .filter(|name| !existing.contains_key(name.as_str()))
        .count();
    if existing.len() + added > DOCUMENTS_MAX {
        return Err(too_many(&format!("{kind}s"), DOCUMENTS_MAX));
    }
    Ok(())
}

fn check_revision(
    kind: &str,
    name: &str,
    expected: Option<u64>,
    actual: u64,
) -> Result<(), Refusal> {
    match expected {
        Some(expected) if expected != actual => Err(Refusal::RevisionMismatch {
            kind: kind.into(),
            name: name.into(),
            expected,
            actual,
        }),
        _ => Ok(()),
    }
}

/// No host may belong to two sites, counting what this change replaces as already replaced.
fn check_hosts(
    existing: &BTreeMap<String, Arc<Document>>,
    documents: &[NewDocument],
) -> Result<(), Refusal> {
    let replaced: BTreeSet<&str> = documents.iter().map(|new| new.name.as_str()).collect();
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for document in existing.values() {
        if !replaced.contains(document.name.as_str()) {
            for host in &document.hosts {
                owners.insert(host, &document.name);
            }
        }
    }
    for new in documents {
        for host in &new.hosts {
            match owners.insert(host, &new.name) {
                Some(other) if other != new.name => {
                    return Err(Refusal::HostTaken {
                        site: new.name.clone(),
                        other: other.to_owned(),
                        host: host.clone(),
                    });
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn set_documents(
    existing: &mut BTreeMap<String, Arc<Document>>,
    index: u64,
    now_ms: u64,
    documents: &[NewDocument],
    author: &str,
) {
    for new in documents {
        let next = Document {
            name: new.name.clone(),
            hosts: new.hosts.clone(),
            text: new.text.clone(),
            revision: index,
            author: author.to_owned(),
            changed_ms: now_ms,
            history: VecDeque::new(),
        };
        let next = match existing.get(&new.name) {
            Some(old) => old.succeeded_by(next),
            None => next,
        };
        existing.insert(new.name.clone(), Arc::new(next));
    }
}

fn remove_document(
    kind: &str,
    existing: &mut BTreeMap<String, Arc<Document>>,
    name: &str,
    expected_revision: Option<u64>,
) -> Result<(), Refusal> {
    let Some(document) = existing.get(name) else {
        return Err(unknown(kind, name));
    };
    check_revision(kind, name, expected_revision, document.revision)?;
    existing.remove(name);
    Ok(())
}

fn purge_site(state: &mut State, index: u64, purge: &Purge) -> Result<(), Refusal> {
    if !state.sites.contains_key(&purge.site) {
        return Err(unknown("site", &purge.site));
    }
    let (what, length, limit) = match &purge.scope {
        PurgeScope::All => ("", 0, 0),
        PurgeScope::Url(url) => ("bytes of a purged URL", url.len(), URL_BYTES_MAX),
        PurgeScope::Prefix(prefix) => ("bytes of a purged prefix", prefix.len(), URL_BYTES_MAX),
        PurgeScope::Tag(tag) => ("bytes of a purged tag", tag.len(), TAG_BYTES_MAX),
    };
    if length > limit {
        return Err(too_many(what, limit));
    }
    let purges = state.purges.entry(purge.site.clone()).or_default();
    Arc::make_mut(purges).add(&purge.scope, index, purge.soft);
    Ok(())
}

/// Floors of removed sites melt into the cluster's, oldest first, once there are too many.
fn melt_old_tombstones(state: &mut State) {
    while state.purges.len() > PURGED_SITES_MAX {
        let oldest = state
            .purges
            .iter()
            .filter(|(name, _)| !state.sites.contains_key(*name))
            .min_by_key(|(_, purges)| purges.floor.hard)
            .map(|(name, purges)| (name.clone(), purges.floor.hard));
        let Some((name, floor)) = oldest else { return };
        state.purges.remove(&name);
        state.purge_floor = state.purge_floor.max(floor);
    }
}

fn make_token(state: &mut State, token: &JoinToken) -> Result<(), Refusal> {
    let now_ms = state.time_ms;
    state
        .join_tokens
        .retain(|_, token| token.expires_ms > now_ms && token.uses_left > 0);
    if state.join_tokens.len() >= TOKENS_MAX {
        return Err(too_many("join tokens", TOKENS_MAX));
    }
    if state.join_tokens.contains_key(&token.id) {
        return Err(Refusal::Invalid(format!(
            "a join token {} exists",
            token.id
        )));
    }
    state.join_tokens.insert(token.id.clone(), token.clone());
    Ok(())
}
