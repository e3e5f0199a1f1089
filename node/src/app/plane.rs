//! The data plane: what runs once there is a view. Store, origins, proxy; then the sockets that clients know.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use nearside_cache_store::{Options as StoreOptions, Store};
use nearside_cluster::Stamp;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use super::ground::{Gauges, Ground, workers};
use crate::admin::Phase;
use crate::config::settings::{AccessLog as AccessForm, Settings};
use crate::observe::access::{AccessLog, Form};
use crate::proxy::{HttpMeta, Parts, Proxy, Secrets};
use crate::view::Views;
use crate::{listen, protect, upstream};

/// Fills at once. Each holds a bounded window of bytes; beyond this, requests pass through without a fill.
const FILLS_MAX: usize = 4096;
/// How long the others may take to hear that this node leaves.
const HEARING: Duration = Duration::from_secs(1);
/// How long fills without readers may go on at a stop.
const FILLS_PATIENCE: Duration = Duration::from_secs(5);

/// How long the access log may take for its last lines, and between two looks whether it has.
const ACCESS_PATIENCE: Duration = Duration::from_secs(2);
const ACCESS_POLL: Duration = Duration::from_millis(5);

/// The running data plane.
pub(super) struct Plane {
    proxy: Arc<Proxy>,
    store: Store<HttpMeta>,
    views: Arc<Views>,
    certificates: Option<Arc<listen::Certificates>>,
    http: listen::Serving,
    /// What asks the store and the access log for metrics; it holds both.
    gauges: Arc<Gauges>,
    /// Where the admin API finds the proxy.
    running: Arc<crate::admin::Running>,
    checks: tokio::task::JoinHandle<()>,
    access: Option<std::thread::JoinHandle<()>>,
    /// Where origins are asked. Fills outlive the client and the core that began them.
    fills: Runtime,
    /// Ends listeners; open requests go on.
    drain: CancellationToken,
    /// Ends what serves requests, after them.
    stop: CancellationToken,
}

impl Plane {
    /// Starts everything that serves clients, and says that the node is ready.
    ///
    /// # Errors
    /// The store, a certificate or a thread that cannot be had.
    pub(super) async fn start(ground: &Ground) -> anyhow::Result<Self> {
        let settings = &ground.settings;
        let taken = ground
            .counters
            .lock()
            .take()
            .zip(ground.sockets.lock().take());
        let (counters, sockets) =
            taken.ok_or_else(|| anyhow!("the data plane was started twice"))?;
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());

        let store = open_store(settings, ground.cluster.state().stamp).await?;
        let fills = Builder::new_multi_thread()
            .worker_threads(workers().get())
            .thread_name("fill")
            .enable_all()
            .build()?;
        let origins = {
            let _entered = fills.enter();
            let setup = upstream::Setup {
                region: settings.region.clone(),
                point: settings.point,
                listeners: ground.own_addresses.clone(),
                metrics: counters.upstream,
                secret: ground
                    .cluster
                    .secret_for("origins")
                    .unwrap_or_else(rand::random),
            };
            upstream::Origins::new(setup, Arc::clone(&ground.views))?
        };
        let checks =
            fills.spawn(upstream::HealthChecker::new(Arc::clone(&origins)).run(stop.clone()));
        let atlas = Arc::clone(&ground.atlas);
        let country = move |address| {
            atlas
                .locate(address)
                .country
                .and_then(|country| country.as_str().as_bytes().try_into().ok())
        };
        let protect = protect::Protect::new(Arc::new(country), counters.protect);
        let (access, access_thread) = access_log(&settings.log.access)?;
        let proxy = Arc::new(Proxy::new(Parts {
            node: settings.name.as_str().into(),
            cdn_id: cdn_id(ground.cluster.state().stamp).into(),
            https_port: settings
                .listen
                .https
                .first()
                .map_or(443, std::net::SocketAddr::port),
            views: Arc::clone(&ground.views),
            purges: Arc::clone(&ground.book),
            store: store.clone(),
            upstream: origins,
            neighbours: Arc::new(ground.herald.clone()),
            protect: Arc::new(protect),
            secrets: Secrets::new(settings.secrets_dir.clone()),
            fills: fills.handle().clone(),
            fills_max: FILLS_MAX,
            metrics: counters.proxy,
            access: access.clone(),
        }));

        ground.ear.open(&proxy).await?;

        let certificates = if settings.listen.https.is_empty() {
            None
        } else {
            Some(Arc::new(listen::Certificates::load(
                &settings.certificates,
                Arc::clone(&ground.views),
            )?))
        };
        let http = listen::serve(
            listen::Setup {
                sockets,
                limits: settings.limits.clone(),
                trusted_proxies: settings.listen.trusted_proxies.clone(),
                proxy_protocol: settings.listen.proxy_protocol,
                certificates: certificates.clone(),
                metrics: counters.listen,
                grace: super::GRACE,
            },
            Arc::clone(&proxy),
            &drain,
        )?;
        let measured = store.clone();
        let expiring = certificates.clone();
        *ground.gauges.lock() = Some(Box::new(move || {
            let mut samples = super::samples::of_store(&measured.stats());
            samples.extend(super::facts::of_access(&access));
            samples.extend(
                expiring
                    .iter()
                    .flat_map(|held| super::facts::of_certificates(held)),
            );
            samples
        }));
        *ground.proxy.lock() = Some(Arc::clone(&proxy));
        ground.readiness.enter(Phase::Serving);
        tracing::info!(
            node = settings.name,
            generation = ground.views.load().generation,
            "serving"
        );
        Ok(Self {
            proxy,
            store,
            views: Arc::clone(&ground.views),
            certificates,
            http,
            gauges: Arc::clone(&ground.gauges),
            running: Arc::clone(&ground.proxy),
            checks,
            access: access_thread,
            fills,
            drain,
            stop,
        })
    }

    /// Takes certificates from the disk again. What cannot be read leaves the old ones in force.
    pub(super) fn reload(&self, settings: &Settings) {
        let Some(certificates) = &self.certificates else {
            return;
        };
        match certificates.reload(&settings.certificates) {
            Ok(()) => tracing::info!("certificates taken again"),
            Err(error) => {
                let error = format!("{:#}", anyhow::Error::new(error));
                tracing::error!(
                    error,
                    "cannot take certificates again, keeping the old ones"
                )
            }
        }
    }

    /// How long answers that name this node may live in resolvers: steered ones carry a zone's least lifetime, and are
    /// given until the last node has heard of the leaving. Nothing to wait for where no zone is served or there is
    /// nobody else to go to.
    pub(super) fn answer_lifetime(&self) -> Duration {
        let view = self.views.load();
        let zones = view
            .zones
            .iter()
            .map(|zone| zone.ttl_min)
            .max()
            .unwrap_or_default();
        if view.nodes.len() > 1 && !zones.is_zero() {
            zones + HEARING
        } else {
            Duration::ZERO
        }
    }

    /// Stops in reverse: sockets, open requests, checks, the store.
    pub(super) async fn stop(self) {
        self.drain.cancel();
        self.http.done().await;
        if tokio::time::timeout(FILLS_PATIENCE, self.proxy.drained())
            .await
            .is_err()
        {
            tracing::warn!("fills that were still running are given up");
        }
        self.stop.cancel();
        if self.checks.await.is_err() {
            tracing::error!("the health checks ended badly");
        }
        self.store.flush().await;
        // A fill that still runs has no reader left.
        self.fills.shutdown_background();
        drop(self.running.lock().take());
        // Every sender of access records goes with these, so that the writer ends by itself.
        drop(self.gauges.lock().take());
        drop(self.proxy);
        if let Some(access) = self.access {
            written(&access).await;
        }
        let store = self.store;
        if tokio::task::spawn_blocking(move || store.close())
            .await
            .is_err()
        {
            tracing::error!("the closing of the store panicked");
        }
    }
}

/// Waits for the last lines of the access log, for as long as whoever reads them can be expected to take.
async fn written(access: &std::thread::JoinHandle<()>) {
    let deadline = tokio::time::Instant::now() + ACCESS_PATIENCE;
    while !access.is_finished() {
        if tokio::time::Instant::now() >= deadline {
            tracing::warn!("the access log's reader is too slow for its last lines");
            return;
        }
        tokio::time::sleep(ACCESS_POLL).await;
    }
}

async fn open_store(settings: &Settings, stamp: Stamp) -> anyhow::Result<Store<HttpMeta>> {
    let bounds = &settings.cache;
    let mut options = StoreOptions::new(
        bounds.dir.clone(),
        bounds.memory_max_bytes,
        bounds.disk_max_bytes,
    );
    options.disk_free_min_bytes = bounds.disk_free_min_bytes;
    let mut bytes = [0; 24];
    bytes[..16].copy_from_slice(&stamp.cluster);
    bytes[16..].copy_from_slice(&stamp.epoch.to_be_bytes());
    let open = move || Store::open(options, bytes);
    let opened = tokio::task::spawn_blocking(open)
        .await
        .context("the opening of the store panicked")?;
    opened.with_context(|| format!("cannot open the cache in {}", bounds.dir.display()))
}

/// Our identifier in CDN-Loop (RFC 8586): the same on all nodes of a cluster, and of no other.
fn cdn_id(stamp: Stamp) -> String {
    format!("nearside-{}", hex::encode(&stamp.cluster[..6]))
}

fn access_log(
    form: &AccessForm,
) -> anyhow::Result<(AccessLog, Option<std::thread::JoinHandle<()>>)> {
    let form = match form {
        AccessForm::Off => return Ok((AccessLog::off(), None)),
        AccessForm::Json => Form::Json,
        AccessForm::Human => Form::Human { colour: colour() },
    };
    let (log, thread) =
        AccessLog::start(form, std::io::stdout()).context("cannot start the access log")?;
    Ok((log, Some(thread)))
}

fn colour() -> bool {
    use std::io::IsTerminal as _;
    std::io::stdout().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
