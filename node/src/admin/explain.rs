//! What would become of a request: asked of the proxy, which does nothing for it.

use std::sync::Arc;

use parking_lot::Mutex;

use super::control::Control;
use super::error::AdminError;
use crate::proxy::{Explanation, Proxy, Question};

/// The proxy, while it runs.
pub type Running = Mutex<Option<Arc<Proxy>>>;

impl Control {
    /// What this node would make of a request.
    pub(super) async fn explain(&self, question: Question) -> Result<Explanation, AdminError> {
        let proxy = self.proxy()?;
        let explained = proxy.explain(&question).await;
        explained.map_err(|error| AdminError::Malformed(error.to_string()))
    }

    /// The proxy, if it runs.
    pub(super) fn proxy(&self) -> Result<Arc<Proxy>, AdminError> {
        let proxy = self.parts.proxy.lock().clone();
        proxy.ok_or_else(|| {
            AdminError::Unavailable(
                "this node serves nothing yet, or no more; see `nearside status`".to_owned(),
            )
        })
    }
}
