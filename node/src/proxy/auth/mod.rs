//! Who may have it: asked before anything is looked up, and before the origin hears of the request.
//!
//! * [`signed`]: signed URLs. [`basic`]: names and passwords. [`forward`]: a server's word.
//! * [`secrets`]: the files on this node that both are checked by.
//!
//! A response behind a demand may be shared by all who meet it: each request is checked here first, and what it was
//! checked by (`Authorization`, the signature's parameters) then leaves the request, so that neither the key nor the
//! origin knows of it. That is another case than RFC 9111 §3.5 speaks of, where the origin checks; it is in force again
//! as soon as the origin is given the credentials (`forward = true`).

mod basic;
mod forward;
mod secrets;
pub mod signed;

use std::sync::Arc;

use http::Response;
use http::header::AUTHORIZATION;

use super::Proxy;
use super::admit::{Ask, Turned};
use super::outcome::Own;
use super::purging::is_purge;
use crate::config::auth::Demand;
use crate::exchange::Body;

pub(super) use basic::Passwords;
pub(super) use forward::Words;
pub use secrets::Secrets;

/// Why a request does not pass.
pub(super) enum Refused {
    /// We say so.
    ByUs(Turned),
    /// A server says so, in these words.
    ByServer(Box<Response<Body>>),
}

impl From<Turned> for Refused {
    fn from(turned: Turned) -> Self {
        Self::ByUs(turned)
    }
}

impl Ask {
    /// Is something demanded of this request?
    pub(super) fn is_demanding(&self) -> bool {
        !matches!(self.policy().auth, None | Some(Demand::Nothing))
    }
}

impl Proxy {
    /// Lets a request pass that meets what is demanded of it, without what it was checked by.
    pub(super) async fn authenticate(&self, ask: Arc<Ask>) -> Result<Arc<Ask>, Refused> {
        // PURGE has a list of its own of who may, and never reaches an origin.
        if is_purge(&ask.method) {
            return Ok(ask);
        }
        match ask.policy().auth {
            None | Some(Demand::Nothing) => Ok(ask),
            Some(Demand::Signed) => {
                self.check_signature(&ask).await?;
                Ok(ask)
            }
            Some(Demand::Forward) => self.ask_server(&ask).await,
            Some(Demand::Basic) => {
                self.check_password(&ask).await?;
                let forwards = ask
                    .site
                    .auth
                    .basic
                    .as_ref()
                    .is_some_and(|basic| basic.forwards);
                if forwards {
                    return Ok(ask);
                }
                let mut ask = Ask::clone(&ask);
                ask.headers.remove(AUTHORIZATION);
                Ok(Arc::new(ask))
            }
        }
    }

    async fn check_signature(&self, ask: &Ask) -> Result<(), Turned> {
        let refused = || Turned::at(Own::Unsigned, &ask.site);
        let signed = ask.site.auth.signed.as_ref().ok_or_else(refused)?;
        let signature = ask.signature.as_ref().ok_or_else(refused)?;
        let file = signed
            .keys
            .iter()
            .find(|(id, _)| **id == *signature.key)
            .map(|(_, file)| file)
            .ok_or_else(refused)?;
        let unavailable = || Turned::at(Own::AuthUnavailable, &ask.site);
        let secret = self.secrets.of(file).await.ok_or_else(unavailable)?;
        let host = ask.authority.host();
        if signature.holds(&secret, host, ask.client.address, ask.now) {
            Ok(())
        } else {
            Err(refused())
        }
    }
}
