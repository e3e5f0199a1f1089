//! Joining, from both sides.
//!
//! The joiner checks that the other end belongs to the cluster (the token carries the CA's hash) before it says the
//! secret. Whichever member it reaches proposes the joining, so the leader decides and the log index becomes the id;
//! and signs the certificate itself, since every member can open the CA's key.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::member::Membership;
use super::wire::{JoinAnswer, JoinQuestion};
use super::{Inner, now_ms};
use crate::identity::{Authority, ClusterKey, IdentityError, Token, hash_of};
use crate::raft::{decode, encode};
use crate::{
    Change, Command, JoinError, NodeId, ProposeError, Refusal, StartError, State, StrangerKind,
};

/// How long one member may take to let a node in: it may have to wait for an election.
const JOIN_PATIENCE: Duration = Duration::from_secs(15);

impl Inner {
    pub(crate) async fn join(self: &Arc<Self>, text: &str) -> Result<NodeId, JoinError> {
        let token = Token::parse(text)?;
        let _becoming = self.becoming.lock().await;
        if let Some(membership) = self.member() {
            return Err(JoinError::AlreadyMember {
                cluster: hex::encode(membership.cluster),
            });
        }
        let failed = |error: IdentityError| JoinError::Start(StartError::Identity(error));
        let key = self.files.node_key().map_err(failed)?;
        let question = JoinQuestion {
            command: self.files.join_command().map_err(failed)?,
            token: token.id.clone(),
            secret: token.secret,
            signing_request: key.signing_request().map_err(failed)?,
            member: self.options.member.clone(),
        };
        let body: Bytes = encode(&question)
            .map_err(|error| JoinError::Refused(error.to_string()))?
            .into();
        let welcome = self.ask_to_join(&token, &body).await?;
        let JoinAnswer::Welcome {
            id,
            certificate,
            ca_certificate,
            cluster_key,
        } = welcome
        else {
            return Err(JoinError::Refused("it gave no certificate".into()));
        };
        let cluster_key = ClusterKey::from_bytes(&cluster_key)
            .ok_or_else(|| JoinError::Refused("it gave no key".into()))?;
        if hash_of(&ca_certificate) != token.ca_hash {
            return Err(JoinError::Refused("its CA is not the token's".into()));
        }
        self.files
            .save(&certificate, &ca_certificate, &cluster_key)
            .map_err(failed)?;
        self.files.forget_join_command().map_err(failed)?;
        let (identity, cluster_key) = self.files.load().map_err(failed)?.ok_or_else(|| {
            JoinError::Refused("the certificate it gave cannot be read back".into())
        })?;
        self.take_part(identity, cluster_key).await?;
        Ok(id)
    }

    /// Asks each known address once, until one says yes or no.
    async fn ask_to_join(&self, token: &Token, body: &Bytes) -> Result<JoinAnswer, JoinError> {
        let mut tried = 0;
        let mut last = "no address is known".to_owned();
        let mut addresses: Vec<&String> = Vec::new();
        for address in token.addresses.iter().chain(&self.options.join) {
            if *address != self.options.member.peer && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        for address in addresses {
            tried += 1;
            let answer = self
                .transport
                .call_as_stranger(
                    address,
                    Some(token.ca_hash),
                    StrangerKind::Join,
                    body.clone(),
                    JOIN_PATIENCE,
                )
                .await;
            match answer.map(|answer| decode::<JoinAnswer>(&answer)) {
                Ok(Ok(JoinAnswer::Refused(why))) => {
                    // The cluster remembers its answer to this attempt; the next one is another.
                    if let Err(error) = self.files.forget_join_command() {
                        tracing::warn!(%error, "a refused attempt is not forgotten");
                    }
                    return Err(JoinError::Refused(why));
                }
                Ok(Ok(JoinAnswer::NotNow(why))) => last = format!("{address}: {why}"),
                Ok(Ok(welcome)) => return Ok(welcome),
                Ok(Err(error)) => last = format!("{address}: {error}"),
                Err(error) => last = error.to_string(),
            }
        }
        Err(JoinError::Unavailable { tried, last })
    }

    /// Answers a joiner.
    pub(crate) async fn let_in(
        &self,
        membership: &Membership,
        question: &JoinQuestion,
    ) -> JoinAnswer {
        let state = self.applied.state();
        let authority = match membership.authority(&state) {
            Ok(authority) => authority,
            Err(error) => return JoinAnswer::NotNow(error.to_string()),
        };
        // A request that cannot be signed must not cost an id.
        if let Err(error) = sign(&authority, NodeId(0), question) {
            return JoinAnswer::Refused(error.to_string());
        }
        let index = match self.propose_joining(&state, question).await {
            Ok(index) => index,
            Err(ProposeError::Refused(refusal)) => return JoinAnswer::Refused(refusal.to_string()),
            Err(error) => return JoinAnswer::NotNow(error.to_string()),
        };
        let id = NodeId(index);
        match sign(&authority, id, question) {
            Ok(certificate) => JoinAnswer::Welcome {
                id,
                certificate,
                ca_certificate: authority.certificate().to_vec(),
                cluster_key: *membership.cluster_key.bytes(),
            },
            Err(error) => JoinAnswer::NotNow(error.to_string()),
        }
    }

    /// The log index of the joining. A member of the same name gives way if it is down: its log is gone, or it
    /// would not be joining.
    async fn propose_joining(
        &self,
        state: &State,
        question: &JoinQuestion,
    ) -> Result<u64, ProposeError> {
        let joining = |id, replaces| Command {
            id,
            time_ms: now_ms(),
            change: Change::MemberJoined {
                token: question.token.clone(),
                secret_hash: hash_of(&question.secret),
                member: question.member.clone(),
                replaces,
            },
        };
        let refused = match self.propose_command(joining(question.command, None)).await {
            Err(ProposeError::Refused(Refusal::NameTaken { name, id })) => (name, id),
            outcome => return Ok(outcome?.index),
        };
        let (name, namesake) = refused;
        let liveness = self.liveness.borrow().clone();
        let is_down = liveness.trusted && !liveness.healthy.contains(&namesake);
        if !is_down || !state.members.contains_key(&namesake) {
            return Err(Refusal::NameTaken { name, id: namesake }.into());
        }
        // Another command, derived, so that a repeated attempt is recognised here too.
        let mut derived = [0; 16];
        let mut seed = question.command.to_vec();
        seed.extend(namesake.0.to_be_bytes());
        derived.copy_from_slice(&hash_of(&seed)[..16]);
        let committed = self
            .propose_command(joining(derived, Some(namesake)))
            .await?;
        tracing::info!(
            name,
            old = namesake.0,
            new = committed.index,
            "a member was replaced"
        );
        Ok(committed.index)
    }
}

fn sign(
    authority: &Authority,
    id: NodeId,
    question: &JoinQuestion,
) -> Result<Vec<u8>, IdentityError> {
    let certificate = authority.sign_request(id, &question.signing_request, SystemTime::now())?;
    Ok(certificate.to_vec())
}
