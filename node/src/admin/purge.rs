//! Purges: a URL or a site → a change of the cluster, and who has applied it.

use std::sync::Arc;
use std::time::Instant;

use nearside_cluster::{Change, Purge, PurgeScope};

use super::api::{Outcome, PurgeRequest, Purged};
use super::control::{Control, author, named};
use super::error::AdminError;
use crate::config::site::Site;
use crate::proxy::key::{host_of_url, identity_of_url};

impl Control {
    /// Makes older entries unusable, everywhere.
    pub(super) async fn purge(&self, request: PurgeRequest) -> Result<Purged, AdminError> {
        let (site, url) = match (&request.url, &request.site) {
            (Some(url), None) => {
                let (site, identity) = self.identity(url)?;
                (site.name.to_string(), Some(identity))
            }
            (None, Some(site)) => (site.clone(), None),
            _ => {
                return Err(AdminError::Malformed(
                    "a purge names either a `url` or a `site`".to_owned(),
                ));
            }
        };
        let author = author(request.options.author.clone());
        let submitted = Instant::now();
        let committed = self
            .parts
            .cluster
            .propose(Change::Purged(Purge {
                site: site.clone(),
                scope: match &url {
                    Some(identity) => PurgeScope::Url(identity.clone()),
                    None => PurgeScope::All,
                },
                soft: request.soft,
                author: author.clone(),
            }))
            .await?;
        let committed_ms = submitted.elapsed().as_secs_f64() * 1e3;
        let receipts = self.receipts(&committed, &request.options).await;
        self.parts.metrics.purged(committed_ms, &receipts);
        let missing = named(&receipts, Outcome::Missing);
        tracing::info!(
            site,
            url,
            soft = request.soft,
            author,
            index = committed.index,
            missing = (!missing.is_empty()).then(|| missing.join(" ")),
            "a purge was made"
        );
        Ok(Purged {
            index: committed.index,
            site,
            url,
            soft: request.soft,
            committed_ms: (committed_ms * 100.0).round() / 100.0,
            missing,
            down: named(&receipts, Outcome::Down),
            receipts,
        })
    }

    /// The site a URL belongs to, and what purges match its entries by. The proxy owns how a URL is normalised.
    fn identity(&self, url: &str) -> Result<(Arc<Site>, String), AdminError> {
        let malformed = || {
            AdminError::Malformed(format!(
                "\"{url}\" is not a URL; write it like \"https://shop.example/path?query\""
            ))
        };
        let view = self.parts.views.load();
        let host = host_of_url(url).ok_or_else(malformed)?;
        let site = view.site(&host).ok_or_else(|| {
            AdminError::Unknown(format!(
                "no site has the host {host}; see `nearside site list`"
            ))
        })?;
        let identity = identity_of_url(url, &site.rules).ok_or_else(malformed)?;
        Ok((Arc::clone(site), identity))
    }
}
