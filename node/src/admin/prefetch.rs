//! Prefetching, some URLs at a time.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream;

use super::api::{PREFETCH_AT_ONCE_MAX, PREFETCH_URLS_MAX, Prefetch, PrefetchReport};
use super::control::Control;
use super::error::AdminError;
use crate::config::site::Site;

impl Control {
    /// Fetches URLs of a site through this node's cache, and says what became of each, in their order.
    pub(super) async fn prefetch(&self, request: Prefetch) -> Result<PrefetchReport, AdminError> {
        let proxy = self.proxy()?;
        let at_once = request.concurrency.unwrap_or(8);
        if !(1..=PREFETCH_AT_ONCE_MAX).contains(&at_once) {
            return Err(AdminError::Malformed(format!(
                "a prefetch has 1 to {PREFETCH_AT_ONCE_MAX} requests at once, not {at_once}"
            )));
        }
        if request.urls.len() > PREFETCH_URLS_MAX {
            return Err(AdminError::Malformed(format!(
                "more than {PREFETCH_URLS_MAX} URLs in one request; send the rest in others"
            )));
        }
        let view = self.parts.views.load();
        let site = view.site_named(&request.site).ok_or_else(|| {
            AdminError::Unknown(format!(
                "there is no site \"{}\"; see `nearside site list`",
                request.site
            ))
        })?;
        let scheme = match self.parts.settings.listen.https.is_empty() {
            true => "http",
            false => "https",
        };
        let fetches = request.urls.into_iter().map(|url| {
            let (proxy, site) = (Arc::clone(&proxy), Arc::clone(site));
            let headers = &request.headers;
            async move {
                let whole = whole(&site, scheme, &url);
                let mut fetched = proxy.prefetch(&site.name, &whole, headers).await;
                fetched.url = url;
                fetched
            }
        });
        let results = stream::iter(fetches).buffered(at_once).collect().await;
        Ok(PrefetchReport {
            node: self.parts.settings.name.clone(),
            results,
        })
    }
}

/// The URL in whole: a path is one of the site's first host that is no pattern.
fn whole(site: &Site, scheme: &str, url: &str) -> String {
    if url.contains("://") {
        return url.to_owned();
    }
    let host = site.hosts.iter().find(|host| !host.starts_with("*."));
    match host {
        Some(host) if url.starts_with('/') => format!("{scheme}://{host}{url}"),
        _ => format!("{scheme}://{url}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::site_file;

    #[test]
    fn a_path_is_of_the_sites_first_whole_host() {
        let text = "name = \"shop\"\nhosts = [\"*.shop.example\", \"shop.example\"]\n[[origin]]\nurl = \"http://o.example\"\n";
        let site = site_file::parse(text, "test").unwrap();
        for (url, whole_url) in [
            ("/a?b", "https://shop.example/a?b"),
            ("http://x.shop.example/a", "http://x.shop.example/a"),
            ("x.shop.example/a", "https://x.shop.example/a"),
        ] {
            assert_eq!(whole(&site, "https", url), whole_url);
        }
    }
}
