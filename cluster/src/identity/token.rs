//! Join tokens as text: what an operator carries to a new node.

use std::fmt;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{IdentityError, crypto};
use crate::raft::{decode, encode};

/// What every token begins with, so that one is recognised in the wrong place.
const PREFIX: &str = "nearside-join-";

/// Why a token cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is not a token.
    #[error("not a join token: {0}")]
    Malformed(String),
}

/// SHA-256.
#[must_use]
pub fn hash_of(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Lets a node in, and lets the node know whom it talks to before it says the secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Token {
    /// `host:port` of members.
    pub(crate) addresses: Vec<String>,
    /// Public part.
    pub(crate) id: String,
    /// Secret part.
    pub(crate) secret: [u8; 32],
    /// SHA-256 of the CA certificate.
    pub(crate) ca_hash: [u8; 32],
}

impl Token {
    pub(crate) fn generate(
        addresses: Vec<String>,
        ca_certificate: &[u8],
    ) -> Result<Self, IdentityError> {
        let random = SystemRandom::new();
        let (mut id, mut secret) = ([0; 5], [0; 32]);
        random
            .fill(&mut id)
            .and_then(|()| random.fill(&mut secret))
            .map_err(crypto("make a token"))?;
        Ok(Self {
            addresses,
            id: hex::encode(id),
            secret,
            ca_hash: hash_of(ca_certificate),
        })
    }

    pub(crate) fn parse(text: &str) -> Result<Self, TokenError> {
        let malformed = |why: String| TokenError::Malformed(why);
        let text = text.trim();
        let rest = text
            .strip_prefix(PREFIX)
            .ok_or_else(|| malformed(format!("it does not begin with {PREFIX}")))?;
        let bytes = URL_SAFE_NO_PAD
            .decode(rest)
            .map_err(|_| malformed("it is cut or altered".into()))?;
        decode(&bytes).map_err(|error| malformed(error.to_string()))
    }

    pub(crate) fn text(&self) -> Result<String, IdentityError> {
        let bytes = encode(self).map_err(crypto("write a token"))?;
        Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
