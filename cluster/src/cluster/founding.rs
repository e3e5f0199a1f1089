//! `cluster init`: one node becomes a cluster.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::wire::HelloAnswer;
use super::{Inner, now_ms};
use crate::identity::{Authority, ClusterKey, Identity, IdentityError, MakingFile};
use crate::raft::{PeerNode, decode};
use crate::{Change, Command, InitError, NodeId, StrangerKind};

/// How long a join address may take to say whether it is a member.
const HELLO_PATIENCE: Duration = Duration::from_secs(3);

impl Inner {
    pub(crate) async fn init(self: &Arc<Self>) -> Result<(), InitError> {
        let _becoming = self.becoming.lock().await;
        if let Some(membership) = self.member() {
            return Err(InitError::AlreadyMember {
                cluster: hex::encode(membership.cluster),
            });
        }
        self.refuse_beside_a_cluster().await?;
        let failed = |error: IdentityError| InitError::Failed(error.to_string());
        let (making, identity, cluster_key) = self.prepare().map_err(failed)?;
        self.take_part(identity, cluster_key).await?;
        self.found(&making).await.map_err(InitError::Failed)
    }

    /// A second cluster beside the first is what a forgotten token makes.
    async fn refuse_beside_a_cluster(&self) -> Result<(), InitError> {
        for address in &self.options.join {
            if *address == self.options.member.peer {
                continue;
            }
            let answer = self
                .transport
                .call_as_stranger(
                    address,
                    None,
                    StrangerKind::Hello,
                    Bytes::new(),
                    HELLO_PATIENCE,
                )
                .await;
            let hello = match answer {
                Ok(answer) => decode::<HelloAnswer>(&answer).ok(),
                Err(error) => {
                    tracing::debug!(%error, address, "a join address does not answer");
                    None
                }
            };
            if let Some(cluster) = hello.and_then(|hello| hello.cluster) {
                return Err(InitError::JoinAddressAnswers {
                    address: address.clone(),
                    cluster,
                });
            }
        }
        Ok(())
    }

    /// Makes every key and writes every file. What the first log entry will say is written before the node's
    /// certificate, so that a node killed from here on finishes when it starts again.
    fn prepare(&self) -> Result<(MakingFile, Identity, ClusterKey), IdentityError> {
        let cluster: [u8; 16] = rand::random();
        let now = SystemTime::now();
        let key = self.files.node_key()?;
        let cluster_key = ClusterKey::generate()?;
        let authority = Authority::make(cluster, now)?;
        let certificate = authority.sign_own(NodeId::FOUNDER, &key, now)?;
        let making = MakingFile {
            command: rand::random(),
            cluster,
            ca_certificate: authority.certificate().to_vec(),
            ca_key_sealed: authority.key_sealed(&cluster_key)?,
        };
        self.files.set_making(&making)?;
        self.files
            .save(&certificate, authority.certificate(), &cluster_key)?;
        let identity = Identity {
            id: NodeId::FOUNDER,
            cluster,
            certificate,
            ca_certificate: authority.certificate().clone(),
            key_pkcs8: key.pkcs8(),
        };
        Ok((making, identity, cluster_key))
    }

    /// Makes this node the only voter and writes the cluster's first change; harmless when done before.
    pub(crate) async fn found(self: &Arc<Self>, making: &MakingFile) -> Result<(), String> {
        let membership = self.member().ok_or("this node takes no part")?;
        membership
            .raft
            .found(PeerNode {
                name: self.options.member.name.clone(),
                address: self.options.member.peer.clone(),
            })
            .await?;
        let command = Command {
            id: making.command,
            time_ms: now_ms(),
            change: Change::ClusterMade {
                cluster: making.cluster,
                ca_certificate: making.ca_certificate.clone(),
                ca_key_sealed: making.ca_key_sealed.clone(),
                founder: self.options.member.clone(),
            },
        };
        if self.applied.state().members.is_empty() {
            self.propose_command(command)
                .await
                .map_err(|error| error.to_string())?;
        }
        self.files
            .forget_making()
            .map_err(|error| error.to_string())
    }
}
