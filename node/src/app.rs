//! Composition root: the one file that sees every part, starts them, and drains them in reverse.

use crate::config::settings::Settings;
use crate::config::site::Site;

/// Runs one node in front of `site`, until a signal ends it.
///
/// # Errors
/// What could not be started, and why.
pub async fn serve(settings: Settings, site: Site) -> anyhow::Result<()> {
    let _ = (settings, site);
    anyhow::bail!("this build cannot serve yet")
}

/// Runs a node of a cluster, until a signal ends it. `token` lets it join one, unless it belongs already.
///
/// # Errors
/// What could not be started, and why.
pub async fn node(settings: Settings, token: Option<String>) -> anyhow::Result<()> {
    let _ = (settings, token);
    anyhow::bail!("this build cannot run a node yet")
}
