//! Purges: a URL, a prefix, a tag or a site → a change of the cluster, and who has applied it.

use std::sync::Arc;
use std::time::Instant;

use nearside_cluster::{Change, Purge, PurgeScope};

use super::api::{Outcome, PurgeRequest, Purged};
use super::control::{Control, author, named};
use super::error::AdminError;
use crate::config::site::Site;
use crate::proxy::key::{host_of_url, identity_of_url, prefix_of};

impl Control {
    /// Makes older entries unusable, everywhere.
    pub(super) async fn purge(&self, request: PurgeRequest) -> Result<Purged, AdminError> {
        let (site, scope) = self.scope(&request)?;
        let author = author(request.options.author.clone());
        let submitted = Instant::now();
        let committed = self
            .parts
            .cluster
            .propose(Change::Purged(Purge {
                site: site.clone(),
                scope: scope.clone(),
                soft: request.soft,
                author: author.clone(),
            }))
            .await?;
        let committed_ms = submitted.elapsed().as_secs_f64() * 1e3;
        let receipts = self.receipts(&committed, &request.options).await;
        self.parts.metrics.purged(committed_ms, &receipts);
        let missing = named(&receipts, Outcome::Missing);
        let (mut url, mut prefix, mut tag) = (None, None, None);
        match scope {
            PurgeScope::All => {}
            PurgeScope::Url(identity) => url = Some(identity),
            PurgeScope::Prefix(begin) => prefix = Some(begin),
            PurgeScope::Tag(name) => tag = Some(name),
        }
        tracing::info!(
            site,
            url,
            prefix,
            tag,
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
            prefix,
            tag,
            soft: request.soft,
            committed_ms: (committed_ms * 100.0).round() / 100.0,
            missing,
            down: named(&receipts, Outcome::Down),
            receipts,
        })
    }

    /// What is to be purged.
    fn scope(&self, request: &PurgeRequest) -> Result<(String, PurgeScope), AdminError> {
        let PurgeRequest {
            url,
            site,
            prefix,
            tag,
            ..
        } = request;
        let scope = match (url, site, prefix, tag) {
            (Some(url), None, None, None) => {
                let (site, identity) = self.identity(url)?;
                return Ok((site.name.to_string(), PurgeScope::Url(identity)));
            }
            (None, Some(_), None, None) => PurgeScope::All,
            (None, Some(_), Some(prefix), None) => {
                PurgeScope::Prefix(prefix_of(prefix).ok_or_else(|| {
                    AdminError::Malformed(format!(
                        "\"{prefix}\" is not a prefix; write the begin of a path like \"/blog/\", or of a URL \
                         without its scheme like \"shop.example/blog/\", without a \"*\" at its end"
                    ))
                })?)
            }
            (None, Some(_), None, Some(tag)) if tag.trim().is_empty() => {
                return Err(AdminError::Malformed("a tag is not empty".to_owned()));
            }
            (None, Some(_), None, Some(tag)) => PurgeScope::Tag(tag.trim().to_owned()),
            _ => {
                return Err(AdminError::Malformed(
                    "a purge names either a `url`, or a `site` with nothing, a `prefix` or a `tag` beside it"
                        .to_owned(),
                ));
            }
        };
        let site = site.clone().unwrap_or_default();
        Ok((site, scope))
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
