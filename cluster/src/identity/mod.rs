//! Who a node is: its key and certificate, the cluster's authority, and the tokens that let nodes in.
//!
//! The CA's certificate and its sealed key are replicated; the *cluster key* that opens the seal and the node's own
//! key are two files of mode 0600, and no other secret is on disk. Every member can thus sign: a joiner's certificate,
//! and its own renewal, without asking anybody.

mod authority;
mod files;
#[cfg(test)]
mod tests;
mod token;

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::state::NodeId;

pub(crate) use authority::{Authority, ClusterKey, NodeKey, is_due};
pub(crate) use files::{Files, MakingFile};
pub(crate) use token::Token;
pub use token::{TokenError, hash_of};

/// This node's proof of membership.
pub struct Identity {
    /// Its id.
    pub id: NodeId,
    /// Its cluster.
    pub cluster: [u8; 16],
    /// Its certificate, signed by the cluster's CA; for both ends of a connection.
    pub certificate: CertificateDer<'static>,
    /// The CA's certificate: the only root that peers are checked against.
    pub ca_certificate: CertificateDer<'static>,
    /// Its private key, PKCS #8.
    pub key_pkcs8: Vec<u8>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("id", &self.id)
            .field("cluster", &hex::encode(self.cluster))
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// The DNS name in a node's certificate: the name to ask TLS for when calling it, which is how its id is checked.
    #[must_use]
    pub fn server_name(cluster: &[u8; 16], id: NodeId) -> String {
        format!("node-{id}.{}.nearside", hex::encode(cluster))
    }

    /// The id in a certificate whose chain was verified already; none when it is not a node's of this cluster.
    #[must_use]
    pub fn id_in(cluster: &[u8; 16], certificate: &[u8]) -> Option<NodeId> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let names = certificate.subject_alternative_name().ok()??;
        names.value.general_names.iter().find_map(|name| {
            let GeneralName::DNSName(name) = name else {
                return None;
            };
            let id = name
                .strip_prefix("node-")?
                .strip_suffix(".nearside")?
                .strip_suffix(&hex::encode(cluster))?
                .strip_suffix('.')?;
            id.parse().ok().map(NodeId)
        })
    }
}

/// Why an identity cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be used.
    #[error("{path} cannot be used: {source}")]
    File {
        /// Which.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file's content is not what it should be.
    #[error("{path}: {why}")]
    Content {
        /// Which.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// Keys or certificates could not be made.
    #[error("cannot {what}: {why}")]
    Crypto {
        /// What was attempted.
        what: &'static str,
        /// What the library said.
        why: String,
    },
}

/// A failure of a cryptographic step, as an error of ours.
pub(crate) fn crypto<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> IdentityError {
    move |error| IdentityError::Crypto {
        what,
        why: error.to_string(),
    }
}
