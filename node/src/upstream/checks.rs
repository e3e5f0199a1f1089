//! Active checks: one task per origin that asks for them, following the view.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, CONNECTION, HOST, USER_AGENT};
use http::{HeaderValue, Request};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::authority::{own_host, server_name};
use super::dial::{Sender, Tls, dial};
use super::error::UpstreamErrorKind;
use super::fetch::Origins;
use super::outgoing::{Outgoing, for_http1, for_http2};
use super::table::OriginState;
use crate::config::site::{HealthCheck, HostHeader, Origin, Site};
use crate::exchange::Body;
use crate::view::View;

/// How often the view is looked at for changes of sites.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);
/// How often idle connections are looked through.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// Runs the checks of all sites, and closes connections that were idle for too long.
pub struct HealthChecker {
    origins: Arc<Origins>,
}

/// A running check, stopped when dropped.
struct Check {
    site: Arc<Site>,
    _stop: tokio_util::sync::DropGuard,
}

impl HealthChecker {
    /// Checks the origins of the view that `origins` follows.
    #[must_use]
    pub fn new(origins: Arc<Origins>) -> Self {
        Self { origins }
    }

    /// Runs until `stop`. Returns when every check has ended.
    pub async fn run(self, stop: CancellationToken) {
        let mut seen: Option<Arc<View>> = None;
        let mut checks: HashMap<u64, Check> = HashMap::new();
        let mut tasks = JoinSet::new();
        let mut follow = tokio::time::interval(FOLLOW_EVERY);
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = sweep.tick() => self.origins.sweep(),
                Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a health check ended");
                    }
                }
                _ = follow.tick() => {
                    let view = self.origins.views.load();
                    if !seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &view)) {
                        self.follow(&view, &mut checks, &mut tasks);
                        seen = Some(view);
                    }
                }
            }
        }
        drop(checks);
        tasks.shutdown().await;
    }

    /// Starts what is new or changed, stops what is gone.
    fn follow(&self, view: &View, checks: &mut HashMap<u64, Check>, tasks: &mut JoinSet<()>) {
        let names: Vec<&str> = view.sites.iter().map(|site| &*site.name).collect();
        self.origins.table.keep(&names);
        let mut wanted = HashMap::new();
        for site in &view.sites {
            let states = self.origins.table.of(site);
            for (index, state) in states.origins.iter().enumerate() {
                match &site.origins[index].health {
                    Some(_) => {
                        wanted.insert(state.id, (Arc::clone(site), index, Arc::clone(state)));
                    }
                    None => state.health.unchecked(),
                }
            }
        }
        checks.retain(|id, check| {
            wanted
                .get(id)
                .is_some_and(|(site, ..)| Arc::ptr_eq(site, &check.site))
        });
        for (id, (site, index, state)) in wanted {
            checks.entry(id).or_insert_with(|| {
                let stop = CancellationToken::new();
                let (origins, stopped) = (Arc::clone(&self.origins), stop.clone());
                let watched = Arc::clone(&site);
                tasks.spawn(async move {
                    let endless = watch(&origins, &watched, index, &state);
                    tokio::select! {
                        () = stopped.cancelled() => {}
                        () = endless => {}
                    }
                });
                Check {
                    site,
                    _stop: stop.drop_guard(),
                }
            });
        }
    }
}

async fn watch(origins: &Origins, site: &Site, index: usize, state: &OriginState) {
    let origin = &site.origins[index];
    let Some(check) = &origin.health else {
        return;
    };
    loop {
        let asked = ask(origins, site, origin, state, check);
        let result = tokio::time::timeout(check.timeout, asked).await;
        let why = match &result {
            Ok(Ok(true)) => None,
            Ok(Ok(false)) => Some("its status is not the one of a healthy origin".to_owned()),
            Ok(Err(kind)) => Some(kind.to_string()),
            Err(_) => Some("it did not answer in time".to_owned()),
        };
        if let Some(why) = &why {
            tracing::debug!(site = %site.name, origin = %origin.name, why, "check failed");
        }
        state.checked(why.as_deref(), check.fall, check.rise);
        tokio::time::sleep(check.interval).await;
    }
}

/// One check on a connection of its own: a kept one would not notice that no new ones are accepted.
async fn ask(
    origins: &Origins,
    site: &Site,
    origin: &Origin,
    state: &OriginState,
    check: &HealthCheck,
) -> Result<bool, UpstreamErrorKind> {
    let host = check_host(site, origin);
    let route = state.route(&origins.names).await?;
    let speak = state.speak();
    let tls = match state.tls(&origins.roots, speak)? {
        None => None,
        Some(config) => Some(Tls {
            config,
            server_name: server_name(origin, &host)?,
        }),
    };
    let (addresses, port) = (&route.addresses, origin.port);
    let how = (tls, speak);
    // Beside what the limits allow: a check says nothing of an origin if it waits in a queue of ours.
    let kept = (&origins.tasks, state.load.berth_beside());
    let dialled = dial(addresses, port, how, check.timeout, kept).await?;
    let (body, _) = Outgoing::new(Body::Empty, false);
    let mut request = Request::get(&*check.path)
        .header(HOST, &*host)
        .header(USER_AGENT, HeaderValue::from_static("nearside-health"))
        .header(ACCEPT, HeaderValue::from_static("*/*"))
        .body(body)
        .map_err(|_| UpstreamErrorKind::Request)?;
    let response = match dialled.sender {
        Sender::Http1(mut sender) => {
            for_http1(&mut request, None, false);
            let close = HeaderValue::from_static("close");
            request.headers_mut().insert(CONNECTION, close);
            sender.send_request(request).await
        }
        Sender::Http2(mut sender, _) => {
            for_http2(&mut request, None, origin.tls).map_err(|_| UpstreamErrorKind::Request)?;
            sender.send_request(request).await
        }
    };
    let status = response.map_err(|_| UpstreamErrorKind::Reset)?.status();
    Ok(status.is_success() || status.is_redirection())
}

/// The Host of a check: the site's first plain host where clients choose it.
fn check_host(site: &Site, origin: &Origin) -> String {
    match &origin.host_header {
        HostHeader::Name(name) => name.to_string(),
        HostHeader::Client => {
            let mut hosts = site.hosts.iter();
            let plain = hosts.find(|host| !host.starts_with("*."));
            plain.unwrap_or(&origin.host).to_string()
        }
        HostHeader::Origin => own_host(origin),
    }
}
