//! A site of a scenario's own on the cluster that scenarios share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use nearside_tests::{Got, Lab, Node, Origin, Request};

/// The shared cluster, one site with its own host, and its one origin.
pub(crate) struct Stage {
    pub(crate) lab: &'static Lab,
    pub(crate) origin: Origin,
    pub(crate) site: String,
    pub(crate) host: String,
}

impl Stage {
    /// A site with the defaults.
    pub(crate) async fn new() -> Self {
        Self::with("").await
    }

    /// A site with more in its file.
    pub(crate) async fn with(more: &str) -> Self {
        let lab = Lab::shared().await;
        let origin = Origin::start().await;
        let site = fresh_name();
        let host = format!("{site}.example");
        let text = site_file(&site, &host, &[&origin.url()], more);
        lab.apply("site", &site, &text).await;
        Self {
            lab,
            origin,
            site,
            host,
        }
    }

    /// The node that most scenarios ask.
    pub(crate) fn node(&self) -> &Arc<Node> {
        self.lab.node("lon1")
    }

    /// A GET of `path`, to be sent to that node.
    pub(crate) fn get(&self, path: &str) -> Request {
        self.node().get(&self.host, path)
    }

    /// Asks for `path`, and takes nothing but the right bytes.
    pub(crate) async fn fetch(&self, path: &str) -> Got {
        self.get(path).send().await.sound(path)
    }

    /// `http://HOST/PATH`, as `purge` takes it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.host)
    }
}

/// A name that no other scenario of this process uses.
pub(crate) fn fresh_name() -> String {
    static SITES: AtomicU32 = AtomicU32::new(1);
    format!("site{}", SITES.fetch_add(1, Ordering::Relaxed))
}

/// A site file with these origins. `more` comes at its end, as tables.
pub(crate) fn site_file(name: &str, host: &str, origins: &[&str], more: &str) -> String {
    let origins: String = origins
        .iter()
        .map(|url| format!("[[origin]]\nurl = \"{url}\"\n"))
        .collect();
    format!("name = \"{name}\"\nhosts = [\"{host}\"]\n{origins}{more}\n")
}
