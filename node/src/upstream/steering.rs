//! Towards which origin one request leans, before health and place are looked at.

use http::Request;

use super::affinity::{self, cookie, hashed, is_secure, take};
use super::select::Among;
use super::table::{OriginState, SiteOrigins};
use crate::config::site::{Balance, Origin, Site};
use crate::exchange::{Body, ForThisClient};

/// What is known of a request before an origin is chosen for it.
#[derive(Debug)]
pub(super) struct Steering {
    /// How one of equally near origins is chosen.
    pub(super) among: Among,
    /// The origin that the client's cookie names. Asked first while it is healthy, wherever it stands.
    pub(super) home: Option<usize>,
    hash: Option<u64>,
    /// What the cookie says, but for its value.
    sticky: Option<Sticky>,
}

#[derive(Debug)]
struct Sticky {
    name: Box<str>,
    secure: bool,
}

impl Steering {
    /// Takes our cookie out of the request, and looks at what the site hashes.
    pub(super) fn of(site: &Site, origins: &SiteOrigins, request: &mut Request<Body>) -> Self {
        let (among, hash) = match &site.balance {
            Balance::Random => (Among::Chance, None),
            Balance::LeastConnections => (Among::LeastOpen, None),
            Balance::Hash(by) => match hashed(by, request.uri(), request.headers()) {
                Some(hash) => (Among::Rank, Some(hash)),
                None => (Among::Chance, None),
            },
        };
        let mut home = None;
        let sticky = site.sticky_cookie.as_ref().map(|name| {
            let mark = take(request.headers_mut(), name);
            let mut states = origins.origins.iter();
            home = mark.and_then(|mark| states.position(|state| *state.mark == *mark));
            Sticky {
                name: name.clone(),
                secure: is_secure(request.headers()),
            }
        });
        Self {
            among,
            home,
            hash,
            sticky,
        }
    }

    /// How much an origin is the one for this request.
    pub(super) fn rank(&self, origin: &Origin) -> f64 {
        self.hash.map_or(0.0, |hash| {
            affinity::rank(hash, &origin.name, origin.weight)
        })
    }

    /// What binds the client to the origin that has answered; none where it was bound to it before.
    pub(super) fn cookie(&self, index: usize, state: &OriginState) -> Option<ForThisClient> {
        let sticky = self.sticky.as_ref()?;
        if self.home == Some(index) {
            return None;
        }
        cookie(&sticky.name, &state.mark, sticky.secure).map(ForThisClient)
    }
}
