//! Who a node is: keys, certificates, tokens.

use rustls_pki_types::CertificateDer;

use crate::state::NodeId;

/// This node's proof of membership.
#[derive(Debug)]
pub struct Identity {
    /// Its id.
    pub id: NodeId,
    /// Its cluster.
    pub cluster: [u8; 16],
    /// Its certificate, signed by the cluster's CA.
    pub certificate: CertificateDer<'static>,
    /// The CA's certificate.
    pub ca_certificate: CertificateDer<'static>,
    /// PKCS #8 of its private key.
    pub key_pkcs8: Vec<u8>,
}

/// Why an identity cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be used.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Its content is not what it should be.
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

/// Why a token cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is not a token.
    #[error("not a join token: {0}")]
    Malformed(String),
}
