//! Asking other nodes.
//!
//! HTTP/2, so that one connection to each node carries everything at once and is always warm: a purge never waits
//! for a handshake, and a question that waits for its answer holds up no other. The whole state travels on a second
//! connection, which may be busy for long. Pings find a connection that a cut link left half open.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use nearside_cluster::{
    Identity, PeerAddress, PeerKind, PeerRequest, StrangerKind, Transport, TransportError,
};
use parking_lot::{Mutex, RwLock};
use prometheus_client::registry::Registry;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, ClientBuilder, StatusCode};
use tokio::sync::watch;

use super::metrics::PeerMetrics;
use super::tls::{Identities, TlsError, member_config, stranger_config};
use super::{MEMBER_PATH, STRANGER_PATH};

/// For a connection to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Between pings, also on an idle connection, and how long one may take.
const PING_EVERY: Duration = Duration::from_secs(1);
const PING_TIMEOUT: Duration = Duration::from_secs(2);
/// Largest answer that is read, bytes. Answers are small; the whole state only ever travels in a question.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Largest reason of a refusal that is kept, bytes.
const REASON_BYTES_MAX: usize = 500;
/// The name in the URL of a stranger's question; TLS does not check it, the CA's hash is what counts.
const STRANGER_HOST: &str = "stranger.nearside";

/// The clients that show one identity.
#[derive(Clone)]
struct Clients {
    of: Arc<Identity>,
    /// Everything that is small.
    control: Client,
    /// The whole state.
    bulk: Client,
}

/// Asks other nodes over TLS: the cluster's [`Transport`].
pub struct PeerClient {
    /// `[peer.route]`: node name → what to dial in place of what it advertises.
    routes: BTreeMap<String, String>,
    dial: Arc<DialBook>,
    identities: RwLock<Option<Identities>>,
    clients: Mutex<Option<Clients>>,
    metrics: PeerMetrics,
}

/// Name in a certificate → `host:port` to dial.
#[derive(Default)]
struct DialBook(RwLock<HashMap<String, String>>);

impl DialBook {
    fn note(&self, name: &str, address: &str) {
        if self.0.read().get(name).is_none_or(|known| known != address) {
            self.0.write().insert(name.to_owned(), address.to_owned());
        }
    }
}

/// Resolves node names by the book, and the address found there by the system, anew for each connection.
struct BookResolver(Arc<DialBook>);

impl Resolve for BookResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let address = self.0.0.read().get(name.as_str()).cloned();
        Box::pin(async move {
            let address = address.ok_or("no address is known")?;
            let found: Vec<SocketAddr> = tokio::net::lookup_host(address).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

fn builder(tls: rustls::ClientConfig, dial: &Arc<DialBook>) -> ClientBuilder {
    Client::builder()
        .tls_backend_preconfigured(tls)
        .dns_resolver(Arc::new(BookResolver(Arc::clone(dial))))
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .https_only(true)
        .http2_prior_knowledge()
        .http2_keep_alive_interval(PING_EVERY)
        .http2_keep_alive_timeout(PING_TIMEOUT)
        .http2_keep_alive_while_idle(true)
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_TIMEOUT)
}

impl PeerClient {
    /// `routes` is `[peer.route]`.
    #[must_use]
    pub fn new(routes: BTreeMap<String, String>) -> Self {
        Self {
            routes,
            dial: Arc::default(),
            identities: RwLock::new(None),
            clients: Mutex::new(None),
            metrics: PeerMetrics::default(),
        }
    }

    /// Has what is asked counted.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// Asks a member something of this program's own, in small.
    pub(super) async fn ask(
        &self,
        target: &PeerAddress,
        kind: &'static str,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, TransportError> {
        let clients = self.clients_for(target)?;
        let control = clients.control.clone();
        self.ask_with(&control, &clients, target, kind, body, deadline)
            .await
    }

    fn clients_for(&self, target: &PeerAddress) -> Result<Clients, TransportError> {
        self.clients().map_err(|why| TransportError::Unreachable {
            peer: target.name.clone(),
            why,
        })
    }

    async fn ask_with(
        &self,
        client: &Client,
        clients: &Clients,
        target: &PeerAddress,
        kind: &'static str,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, TransportError> {
        let host = Identity::server_name(&clients.of.cluster, target.id);
        let address = self.routes.get(&target.name).unwrap_or(&target.address);
        self.dial.note(&host, address);
        let url = format!("https://{host}{MEMBER_PATH}{kind}");
        let end = ask(client, url, body, deadline, &target.name).await;
        self.metrics.ended(kind, &end);
        end
    }

    /// The clients for the identity in force; made again when it changes.
    fn clients(&self) -> Result<Clients, String> {
        let identity = self
            .identities
            .read()
            .as_ref()
            .and_then(|identities| identities.borrow().clone())
            .ok_or("this node belongs to no cluster yet")?;
        let mut clients = self.clients.lock();
        if let Some(clients) = &*clients
            && Arc::ptr_eq(&clients.of, &identity)
        {
            return Ok(clients.clone());
        }
        let make = || {
            let tls = member_config(&identity).map_err(|error: TlsError| error.to_string())?;
            builder(tls, &self.dial)
                .build()
                .map_err(|error| error.to_string())
        };
        let made = Clients {
            of: Arc::clone(&identity),
            control: make()?,
            bulk: make()?,
        };
        *clients = Some(made.clone());
        Ok(made)
    }
}

/// Every cause in one line: reqwest's own text names none.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

async fn ask(
    client: &Client,
    url: String,
    body: Bytes,
    deadline: Duration,
    peer: &str,
) -> Result<Bytes, TransportError> {
    let lost = |error: reqwest::Error| {
        let (peer, why) = (peer.to_owned(), causes(&error.without_url()));
        TransportError::NoAnswer { peer, why }
    };
    let sent = client.post(url).timeout(deadline).body(body).send().await;
    let mut response = match sent {
        Ok(response) => response,
        Err(error) if error.is_connect() || error.is_builder() => {
            return Err(TransportError::Unreachable {
                peer: peer.to_owned(),
                why: causes(&error.without_url()),
            });
        }
        Err(error) => return Err(lost(error)),
    };
    let status = response.status();
    let limit = if status == StatusCode::OK {
        ANSWER_BYTES_MAX
    } else {
        REASON_BYTES_MAX
    };
    let mut answer = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(lost)? {
        if answer.len() + piece.len() > limit {
            return Err(TransportError::NoAnswer {
                peer: peer.to_owned(),
                why: format!("its answer is longer than {limit} bytes"),
            });
        }
        answer.extend_from_slice(&piece);
    }
    if status == StatusCode::OK {
        return Ok(answer.into());
    }
    Err(TransportError::Refused {
        peer: peer.to_owned(),
        why: format!("{status} {}", String::from_utf8_lossy(&answer)),
    })
}

#[async_trait]
impl Transport for PeerClient {
    fn use_identity(&self, identity: watch::Receiver<Option<Arc<Identity>>>) {
        *self.identities.write() = Some(identity);
    }

    async fn call(
        &self,
        target: &PeerAddress,
        request: PeerRequest,
        deadline: Duration,
    ) -> Result<Bytes, TransportError> {
        let clients = self.clients_for(target)?;
        let client = match request.kind {
            PeerKind::Snapshot => &clients.bulk,
            _ => &clients.control,
        };
        let kind = request.kind.name();
        self.ask_with(client, &clients, target, kind, request.body, deadline)
            .await
    }

    async fn call_as_stranger(
        &self,
        address: &str,
        ca_hash: Option<[u8; 32]>,
        kind: StrangerKind,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, TransportError> {
        // A connection for this question alone: its trust is that of one token.
        let dial = Arc::new(DialBook::default());
        dial.note(STRANGER_HOST, address);
        let client = stranger_config(ca_hash)
            .map_err(|error| error.to_string())
            .and_then(|tls| builder(tls, &dial).build().map_err(|error| causes(&error)))
            .map_err(|why| TransportError::Unreachable {
                peer: address.to_owned(),
                why,
            })?;
        let url = format!("https://{STRANGER_HOST}{STRANGER_PATH}{}", kind.name());
        ask(&client, url, body, deadline, address).await
    }
}
