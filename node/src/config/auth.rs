//! Who may have what a site publishes: what a rule demands, and by what it is checked.
//!
//! Secrets are never in a site's file, which every node keeps in its log: the file names files that lie on each node
//! (`[data] secrets`).

use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue};

use super::policy::Value;
use super::site::Site;

/// What a request has to bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Nothing.
    Nothing,
    /// A signed URL: `[auth.signed]`.
    Signed,
    /// A user's name and password: `[auth.basic]`.
    Basic,
    /// The word of a server: `[auth.forward]`.
    Forward,
}

impl Value for Demand {
    fn shown(&self) -> String {
        match self {
            Self::Nothing => "none",
            Self::Signed => "signed",
            Self::Basic => "basic",
            Self::Forward => "forward",
        }
        .to_owned()
    }
}

/// By what demands are checked.
#[derive(Clone, Debug, Default)]
pub struct AuthSettings {
    /// Signed URLs.
    pub signed: Option<Signed>,
    /// Names and passwords.
    pub basic: Option<Basic>,
    /// A server that is asked.
    pub forward: Option<Forward>,
}

/// A server that is asked about each request.
#[derive(Clone, Debug)]
pub struct Forward {
    /// The server, as a site of one origin: so it is resolved, spoken to and noticed to be down like any.
    pub server: Arc<Site>,
    /// Path and query that it is asked for.
    pub target: PathAndQuery,
    /// For all of it.
    pub timeout: Duration,
    /// Fields of the request that it sees.
    pub send: Vec<HeaderName>,
    /// Fields of its answer that the origin sees, and that are in the key.
    pub copy: Vec<HeaderName>,
}

/// Signed URLs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Keys by the name that a URL calls them by, and their files: several, so that they can be changed one by one.
    pub keys: Vec<(Box<str>, Box<str>)>,
}

/// Names and passwords (RFC 7617).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basic {
    /// What `WWW-Authenticate` says.
    pub challenge: HeaderValue,
    /// The file of users: `name:bcrypt hash` in each line.
    pub users: Box<str>,
    /// The origin gets the credentials too.
    pub forwards: bool,
}
