//! What runs before a node belongs to a cluster: sockets, databases, the cluster's part, admin, metrics.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use nearside_cluster::{Cluster, NewMember, Options, Timing, Transport};
use nearside_geo::Atlas;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{chronicle, facts};
use crate::config::settings::{self, Settings};
use crate::config::site::Site;
use crate::view::{Healthy, Publisher, PurgeBook, Views};
use crate::{admin, dns, listen, observe, peer, protect, proxy, upstream};

/// For the others to hear of the last writes, at a stop.
const HEARING_PATIENCE: Duration = Duration::from_secs(2);

/// Counters of every room, registered before the first request.
pub(super) struct Counters {
    pub(super) listen: listen::ListenMetrics,
    pub(super) upstream: upstream::UpstreamMetrics,
    pub(super) protect: protect::ProtectMetrics,
    pub(super) proxy: proxy::ProxyMetrics,
}

/// Everything that runs with or without a membership.
pub(super) struct Ground {
    pub(super) settings: Arc<Settings>,
    pub(super) atlas: Arc<Atlas>,
    pub(super) views: Arc<Views>,
    pub(super) healthy: Arc<Healthy>,
    pub(super) book: Arc<PurgeBook>,
    pub(super) cluster: Cluster,
    pub(super) readiness: Arc<admin::Readiness>,
    pub(super) counters: Mutex<Option<Counters>>,
    /// Bound sockets of the data plane, taken when it starts.
    pub(super) sockets: Mutex<Option<listen::Sockets>>,
    /// Every address that this node listens on: no origin may be one.
    pub(super) own_addresses: Vec<std::net::SocketAddr>,
    /// What the store and others say when somebody asks for metrics.
    pub(super) gauges: Arc<Gauges>,
    /// What serves clients, once it does; the admin API asks it.
    pub(super) proxy: Arc<admin::Running>,
    /// DNS answers from the first view to the very end: a node that stops is a name server still, one that names the
    /// others. Before its first view it knows no zone, and says so (REFUSED), so that resolvers go on at once.
    dns: dns::Serving,
    dns_stop: CancellationToken,
    chronicle: JoinHandle<()>,
    admin: admin::Server,
    metrics: admin::Server,
    peers: Option<peer::PeerServer>,
    /// Tells the others of writes, and hears of theirs.
    pub(super) herald: peer::Herald,
    pub(super) ear: peer::Ear,
    liveness: JoinHandle<()>,
    stop: CancellationToken,
}

/// Samples that appear once the data plane runs.
pub(super) type Gauges = Mutex<Option<Box<dyn Fn() -> Vec<observe::Sample> + Send + Sync>>>;

impl Ground {
    /// Binds every socket, opens the databases and the cluster's folder, and starts what needs no membership.
    ///
    /// # Errors
    /// The first thing that cannot be had. Nothing listens then.
    pub(super) async fn lay(
        settings: Settings,
        own_site: Option<Arc<Site>>,
    ) -> anyhow::Result<Self> {
        let settings = Arc::new(settings);
        let workers = workers();
        let http = listen::Sockets::bind(&settings.listen.http, &settings.listen.https, workers)?;
        let dns = dns::bind(&settings.listen.dns, workers.get())?;
        let admin_sockets = admin::Sockets::bind(&settings)?;
        let metrics_sockets = admin::bind(&settings.listen.metrics, "metrics")?;
        let peer_sockets = admin::bind(&settings.listen.peer, "peer")?;
        let atlas = Arc::new(open_atlas(&settings).await?);
        let views = Arc::new(Views::default());
        let healthy = Arc::new(Healthy::default());
        let book = Arc::new(PurgeBook::default());
        let publisher = Publisher::new(Arc::clone(&views), Arc::clone(&book), own_site);

        let mut metrics = observe::Metrics::new(&settings.name, &settings.region);
        let client = peer::PeerClient::new(settings.peer_route.clone());
        client.register(metrics.registry());
        let client = Arc::new(client);
        let transport = Arc::clone(&client) as Arc<dyn Transport>;
        let cluster = Cluster::start(options(&settings), transport, Arc::new(publisher)).await?;
        let news = peer::NewsMetrics::register(metrics.registry());
        let ear = peer::Ear::new(settings.data_dir.clone(), news.clone());
        let herald = peer::Herald::new(cluster.clone(), client, news);
        let peers = match peer_sockets.is_empty() {
            true => None,
            false => Some(peer::serve(peer_sockets, cluster.clone(), ear.clone())?),
        };

        let registry = metrics.registry();
        let dns_metrics = dns::Metrics::register(registry);
        let admin_metrics = admin::AdminMetrics::register(registry);
        let counters = Counters {
            listen: listen::ListenMetrics::register(registry),
            upstream: upstream::UpstreamMetrics::register(registry),
            protect: protect::ProtectMetrics::register(registry),
            proxy: proxy::ProxyMetrics::register(registry),
        };
        metrics.watch_cluster(cluster.clone());
        metrics.watch_atlas(&atlas);
        let gauges: Arc<Gauges> = Arc::default();
        let read = Arc::clone(&gauges);
        metrics.watch(move || read.lock().as_ref().map(|read| read()).unwrap_or_default());
        metrics.watch(facts::of_process);

        let own_addresses = [
            http.http(),
            http.https(),
            dns.addresses(),
            &settings.listen.peer,
            &settings.listen.metrics,
        ]
        .concat()
        .into_iter()
        .chain(
            settings
                .listen
                .admin
                .iter()
                .filter_map(|address| match address {
                    settings::AdminAddress::Tcp(address) => Some(*address),
                    settings::AdminAddress::Unix(_) => None,
                }),
        )
        .collect();
        let readiness = Arc::new(admin::Readiness::default());
        let phase = Arc::clone(&readiness);
        metrics.watch(move || facts::of_readiness(&phase));
        let proxy: Arc<admin::Running> = Arc::default();
        let control = admin::Control::new(admin::Parts {
            cluster: cluster.clone(),
            settings: Arc::clone(&settings),
            views: Arc::clone(&views),
            healthy: Arc::clone(&healthy),
            atlas: Arc::clone(&atlas),
            readiness: Arc::clone(&readiness),
            proxy: Arc::clone(&proxy),
            metrics: admin_metrics,
        });
        let world = dns::World::new(Arc::clone(&views), Arc::clone(&healthy), Arc::clone(&atlas));
        let (stop, dns_stop) = (CancellationToken::new(), CancellationToken::new());
        Ok(Self {
            chronicle: chronicle::begin(&cluster, stop.clone()),
            liveness: follow_liveness(&cluster, Arc::clone(&healthy), stop.clone()),
            admin: admin::serve(admin_sockets, &control)?,
            metrics: admin::serve_metrics(metrics_sockets, &control, &Arc::new(metrics))?,
            settings,
            atlas,
            views,
            healthy,
            book,
            cluster,
            readiness,
            counters: Mutex::new(Some(counters)),
            sockets: Mutex::new(Some(http)),
            own_addresses,
            dns: dns::serve(
                dns,
                &Arc::new(world),
                &dns_metrics,
                &dns::TcpLimits::default(),
                &dns_stop,
            )?,
            dns_stop,
            gauges,
            proxy,
            peers,
            herald,
            ear,
            stop,
        })
    }

    /// True once this node belongs to a cluster.
    pub(super) fn is_member(&self) -> bool {
        self.cluster.identity().borrow().is_some()
    }

    /// Turns clients away until the node may serve.
    pub(super) fn antechamber(&self) -> std::io::Result<listen::Antechamber> {
        match &*self.sockets.lock() {
            Some(sockets) => listen::Antechamber::open(sockets),
            None => Err(std::io::Error::other("the data plane has the sockets")),
        }
    }

    /// Waits until this node belongs to a cluster and has its first state.
    pub(super) async fn member(&self) {
        let mut identity = self.cluster.identity();
        let mut state = self.cluster.watch();
        // Both senders live as long as the cluster, so these waits end in no other way.
        let known = identity.wait_for(Option::is_some).await;
        let id = known
            .ok()
            .and_then(|known| known.as_ref().map(|own| own.id.0));
        // An id is the log index of its admission: what the cluster knew then is the least this node may serve from.
        if let Some(id) = id
            && state
                .wait_for(|state| state.stamp.cluster != [0; 16] && state.applied >= id)
                .await
                .is_ok()
        {
            return;
        }
        std::future::pending().await
    }

    /// Has clients sent elsewhere: by the others, and by this node's own answers.
    pub(super) fn leave(&self) {
        self.stop.cancel();
        self.cluster.leave();
        let own = self
            .cluster
            .identity()
            .borrow()
            .as_ref()
            .map(|identity| identity.id.0);
        let others = self
            .healthy
            .load()
            .iter()
            .copied()
            .filter(|id| Some(*id) != own)
            .collect();
        self.healthy.store(others);
    }

    /// Stops everything here, the cluster last but for the log.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.dns_stop.cancel();
        self.dns.join().await;
        self.metrics.stop().await;
        self.admin.stop().await;
        self.herald.stop(HEARING_PATIENCE).await;
        if let Some(peers) = self.peers {
            peers.stop().await;
        }
        self.cluster.stop().await;
        if self.liveness.await.is_err() || self.chronicle.await.is_err() {
            tracing::error!("a task that follows the cluster panicked");
        }
    }
}

/// One worker per core.
pub(super) fn workers() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

async fn open_atlas(settings: &Settings) -> anyhow::Result<Atlas> {
    let files = settings.geo_databases.clone();
    let open = move || {
        if files.is_empty() {
            Atlas::embedded()
        } else {
            Atlas::open(&files)
        }
    };
    Ok(tokio::task::spawn_blocking(open)
        .await
        .context("the reader of databases panicked")??)
}

fn options(settings: &Settings) -> Options {
    let advertise = &settings.advertise;
    Options {
        dir: settings.data_dir.clone(),
        member: NewMember {
            name: settings.name.clone(),
            region: settings.region.clone(),
            latitude: settings.point.map(|point| point.latitude),
            longitude: settings.point.map(|point| point.longitude),
            ipv4: advertise.ipv4,
            ipv6: advertise.ipv6,
            peer: advertise.peer.clone().unwrap_or_default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        join: settings.cluster.join.clone(),
        timing: match settings.cluster.timing {
            settings::Timing::Regional => Timing::REGIONAL,
            settings::Timing::Global => Timing::GLOBAL,
        },
    }
}

/// Keeps the data plane's belief in step with the cluster's.
fn follow_liveness(
    cluster: &Cluster,
    healthy: Arc<Healthy>,
    stop: CancellationToken,
) -> JoinHandle<()> {
    let mut liveness = cluster.liveness();
    tokio::spawn(async move {
        loop {
            let ids = liveness
                .borrow_and_update()
                .healthy
                .iter()
                .map(|id| id.0)
                .collect();
            healthy.store(ids);
            tokio::select! {
                changed = liveness.changed() => if changed.is_err() { return },
                () = stop.cancelled() => return,
            }
        }
    })
}
