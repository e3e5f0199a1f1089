//! Why no answer came, whose side failed, and whether asking again is safe.

use std::fmt;

use crate::exchange::BodyError;

/// A fetch without an answer. Its text names the origin as the operator does, never its address.
#[derive(Clone, Debug)]
pub struct UpstreamError {
    /// Whose side failed.
    pub side: Side,
    /// True when no origin can have acted on the request: it may be sent again whatever its method.
    pub retry_safe: bool,
    /// What failed.
    pub kind: UpstreamErrorKind,
    /// The last origin that was asked, by its name.
    pub origin: Option<Box<str>>,
    /// Origins that were asked.
    pub attempts: u32,
}

/// Whose side failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The origin, or the network towards it.
    Origin,
    /// The client, whose content broke off or came too slowly.
    Client,
    /// Ours: a setting that cannot work.
    Us,
}

/// What failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum UpstreamErrorKind {
    /// The name has no address now.
    #[error("its name does not resolve")]
    Resolve,
    /// Every address is one that no origin may have.
    #[error("its name resolves only to addresses that no origin may have")]
    Forbidden,
    /// No connection: refused, unreachable.
    #[error("it refuses connections or cannot be reached")]
    Connect,
    /// No connection within `connect_timeout`.
    #[error("it did not accept a connection in time")]
    ConnectTimeout,
    /// As many requests are at it as may be.
    #[error("it has as many requests as it may have")]
    Full,
    /// TLS failed: certificate, name, protocol.
    #[error("TLS with it failed: {0}")]
    Tls(String),
    /// The connection ended before the response's head.
    #[error("it closed the connection before it answered")]
    Reset,
    /// No head, or no progress with the request, within `response_timeout`.
    #[error("it did not answer in time")]
    HeadTimeout,
    /// What came is not HTTP.
    #[error("its answer is malformed")]
    Malformed,
    /// The request's own content failed.
    #[error(transparent)]
    Content(BodyError),
    /// The request cannot be sent as HTTP/1.1.
    #[error("the request cannot be sent")]
    Request,
}

impl UpstreamErrorKind {
    /// Whose side this is.
    #[must_use]
    pub fn side(&self) -> Side {
        match self {
            Self::Content(_) => Side::Client,
            Self::Request | Self::Forbidden => Side::Us,
            _ => Side::Origin,
        }
    }

    /// True for a deadline that passed (504 rather than 502).
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::ConnectTimeout | Self::HeadTimeout)
    }

    /// True when nothing of the request can have reached an origin.
    pub(super) fn before_sending(&self) -> bool {
        matches!(
            self,
            Self::Resolve
                | Self::Forbidden
                | Self::Connect
                | Self::ConnectTimeout
                | Self::Tls(_)
                | Self::Full
                | Self::Request
        )
    }

    /// The label in metrics and logs.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Forbidden => "forbidden",
            Self::Connect => "connect",
            Self::ConnectTimeout => "connect_timeout",
            Self::Tls(_) => "tls",
            Self::Full => "full",
            Self::Reset => "reset",
            Self::HeadTimeout => "timeout",
            Self::Malformed => "malformed",
            Self::Content(_) => "client",
            Self::Request => "request",
        }
    }
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(origin) => write!(f, "{origin}: {}", self.kind),
            None => write!(f, "no origin: {}", self.kind),
        }
    }
}

impl std::error::Error for UpstreamError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.kind)
    }
}
