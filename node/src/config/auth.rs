//! Who may have what a site publishes: what a rule demands, and by what it is checked.
//!
//! Secrets are never in a site's file, which every node keeps in its log: the file names files that lie on each node
//! (`[data] secrets`).

use http::HeaderValue;

use super::policy::Value;

/// What a request has to bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Nothing.
    Nothing,
    /// A signed URL: `[auth.signed]`.
    Signed,
    /// A user's name and password: `[auth.basic]`.
    Basic,
}

impl Value for Demand {
    fn shown(&self) -> String {
        match self {
            Self::Nothing => "none",
            Self::Signed => "signed",
            Self::Basic => "basic",
        }
        .to_owned()
    }
}

/// By what demands are checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthSettings {
    /// Signed URLs.
    pub signed: Option<Signed>,
    /// Names and passwords.
    pub basic: Option<Basic>,
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
