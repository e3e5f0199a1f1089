//! The proxy end to end: a real store on a real folder, real origins' pools, a scripted origin on a loopback socket.

mod auth;
mod caching;
mod combined;
mod dressing;
mod encoding;
mod explain;
mod fills;
mod hits;
mod messages;
mod parts;
mod passing;
mod queries;
mod rules;
mod slices;
mod stale;
mod standards;
mod tags;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use nearside_cache_store::{Options, Store};
use nearside_cluster::PurgeScope;
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::{Parts, Proxy, ProxyMetrics, Secrets};
use crate::config::site_file;
use crate::exchange::{Body, BodyError, Client, Handle};
use crate::observe::access::AccessLog;
use crate::protect::{Protect, ProtectMetrics};
use crate::upstream::{Origins, Setup, UpstreamMetrics};
use crate::view::{PurgeBook, View, Views};

/// A request as the origin saw it.
#[derive(Clone, Debug)]
struct Seen {
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Bytes,
}

type Script = Arc<dyn Fn(Seen) -> BoxFuture<'static, Response<Body>> + Send + Sync>;

/// An origin that does as its script says, and remembers what it was asked.
struct Origin {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    script: Arc<Mutex<Script>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Origin {
    async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let script = Arc::new(Mutex::new(script));
        let (noted, shared) = (Arc::clone(&seen), Arc::clone(&script));
        let accepting = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (noted, shared) = (Arc::clone(&noted), Arc::clone(&shared));
                connections.spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        let (noted, script) = (Arc::clone(&noted), Arc::clone(&*shared.lock()));
                        async move {
                            let (parts, body) = request.into_parts();
                            let seen = Seen {
                                method: parts.method,
                                target: parts.uri.to_string(),
                                headers: parts.headers,
                                body: body.collect().await.unwrap().to_bytes(),
                            };
                            noted.lock().push(seen.clone());
                            Ok::<_, Infallible>(script(seen).await)
                        }
                    });
                    let http = hyper::server::conn::http1::Builder::new();
                    // A script that breaks a body off ends its connection with an error.
                    drop(http.serve_connection(TokioIo::new(socket), service).await);
                });
            }
        });
        Self {
            address,
            seen,
            script,
            accepting,
        }
    }

    fn count(&self) -> usize {
        self.seen.lock().len()
    }

    fn last(&self) -> Seen {
        self.seen.lock().last().unwrap().clone()
    }

    fn now_does(&self, script: Script) {
        *self.script.lock() = script;
    }

    /// Closes the socket and every connection.
    async fn die(&mut self) {
        self.accepting.abort();
        drop((&mut self.accepting).await);
    }
}

/// What a client got.
#[derive(Debug)]
struct Got {
    status: StatusCode,
    headers: HeaderMap,
    /// The bytes, or why they broke off.
    body: Result<Bytes, String>,
}

impl Got {
    fn text(&self) -> &str {
        std::str::from_utf8(self.body.as_ref().unwrap()).unwrap()
    }

    fn cache_status(&self) -> &str {
        self.field("cache-status")
    }

    fn field(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

/// A proxy in front of one origin.
struct Bed {
    proxy: Arc<Proxy>,
    origin: Origin,
    purges: Arc<PurgeBook>,
    store: Store<super::HttpMeta>,
    dir: tempfile::TempDir,
}

impl Bed {
    async fn start(script: Script) -> Self {
        Self::with("", script).await
    }

    /// `settings` is TOML that follows the site's name, host and origin.
    async fn with(settings: &str, script: Script) -> Self {
        let origin = Origin::start(script).await;
        let address = origin.address;
        Self::before(settings, address, origin)
    }

    /// The site's origin is at `address`; `origin` is that of another site.
    fn before(settings: &str, address: SocketAddr, origin: Origin) -> Self {
        let text = format!(
            "name = \"shop\"\nhosts = [\"shop.example\"]\n[[origin]]\nurl = \"http://{address}\"\n{settings}",
        );
        let other = format!(
            "name = \"other\"\nhosts = [\"other.example\"]\n[[origin]]\nurl = \"http://{}\"\n",
            origin.address
        );
        let sites = [text, other].map(|text| Arc::new(site_file::parse(&text, "test").unwrap()));
        let views = Arc::new(Views::new(View::new(
            1,
            sites.to_vec(),
            Vec::new(),
            Vec::new(),
        )));
        let mut registry = Registry::default();
        let setup = Setup {
            region: "eu".to_owned(),
            point: None,
            listeners: Vec::new(),
            metrics: UpstreamMetrics::register(&mut registry),
            secret: [7; 32],
        };
        let dir = tempfile::tempdir().unwrap();
        let options = Options::new(dir.path(), 64 << 20, 256 << 20);
        let store = Store::open(options, [0; 24]).unwrap();
        let purges: Arc<PurgeBook> = Arc::default();
        let proxy = Proxy::new(Parts {
            node: "lon1".into(),
            cdn_id: "nearside-test".into(),
            https_port: 443,
            upstream: Origins::new(setup, Arc::clone(&views)).unwrap(),
            neighbours: Arc::new(super::Alone),
            views,
            purges: Arc::clone(&purges),
            store: store.clone(),
            protect: Arc::new(Protect::new(
                Arc::new(|_| None),
                ProtectMetrics::register(&mut registry),
            )),
            secrets: Secrets::new(dir.path().join("secrets")),
            fills: tokio::runtime::Handle::current(),
            fills_max: 1000,
            metrics: ProxyMetrics::register(&mut registry),
            access: AccessLog::off(),
        });
        Self {
            proxy: Arc::new(proxy),
            origin,
            purges,
            store,
            dir,
        }
    }

    /// Answers, with the body still to come.
    async fn open(&self, request: Request<Body>) -> Response<Body> {
        self.open_as(client(), request).await
    }

    async fn open_as(&self, client: Client, request: Request<Body>) -> Response<Body> {
        let proxy = Arc::clone(&self.proxy);
        let answer = proxy.handle(Arc::new(client), request);
        tokio::time::timeout(PATIENCE, answer).await.unwrap()
    }

    async fn send(&self, request: Request<Body>) -> Got {
        collect(self.open(request).await).await
    }

    async fn get(&self, target: &str) -> Got {
        self.send(get(target, &[])).await
    }

    async fn get_with(&self, target: &str, fields: &[(&'static str, &'static str)]) -> Got {
        self.send(get(target, fields)).await
    }

    /// What the cluster does when it applies a purge of a URL.
    fn purge(&self, target: &str, soft: bool) {
        self.purge_scope(&PurgeScope::Url(format!("shop.example{target}")), soft);
    }

    /// What the cluster does when it applies a purge.
    fn purge_scope(&self, scope: &PurgeScope, soft: bool) {
        let index = self.purges.applied() + 1;
        self.purges.purge("shop", scope, index, soft);
        self.purges.advance(index);
    }
}

/// How long a test waits for a fact.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until something is so.
async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = std::time::Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "{what} did not come to be");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn collect(response: Response<Body>) -> Got {
    let (parts, body) = response.into_parts();
    let body = tokio::time::timeout(PATIENCE, body.collect())
        .await
        .unwrap();
    Got {
        status: parts.status,
        headers: parts.headers,
        body: body
            .map(|body| body.to_bytes())
            .map_err(|error| error.to_string()),
    }
}

fn client() -> Client {
    Client {
        address: "192.0.2.1".parse().unwrap(),
        socket: "192.0.2.1:4000".parse().unwrap(),
        local: "127.0.0.1:80".parse().unwrap(),
        tls: false,
        server_name: None,
        interim: None,
    }
}

fn request(
    method: Method,
    target: &str,
    fields: &[(&'static str, &'static str)],
    body: Body,
) -> Request<Body> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = target.parse().unwrap();
    let headers = request.headers_mut();
    if !fields.iter().any(|(name, _)| *name == "host") {
        headers.insert("host", HeaderValue::from_static("shop.example"));
    }
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_static(value));
    }
    request
}

fn get(target: &str, fields: &[(&'static str, &'static str)]) -> Request<Body> {
    request(Method::GET, target, fields, Body::Empty)
}

/// A script that answers at once.
fn script(answer: impl Fn(&Seen) -> Response<Body> + Send + Sync + 'static) -> Script {
    Arc::new(move |seen| {
        let response = answer(&seen);
        Box::pin(async move { response })
    })
}

/// The same answer each time.
fn always(
    status: u16,
    fields: &'static [(&'static str, &'static str)],
    body: &'static str,
) -> Script {
    script(move |_| reply(status, fields, body))
}

fn reply(
    status: u16,
    fields: &[(&'static str, &'static str)],
    body: impl Into<Body>,
) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in fields {
        response
            .headers_mut()
            .append(*name, HeaderValue::from_static(value));
    }
    response
}

type Pieces = mpsc::UnboundedSender<Result<Bytes, BodyError>>;

/// A body whose pieces the test sends when it wants.
fn by_hand() -> (Pieces, Body) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let frames = tokio_stream::StreamExt::map(
        UnboundedReceiverStream::new(receiver),
        |piece: Result<Bytes, BodyError>| piece.map(Frame::data),
    );
    (sender, Body::stream(StreamBody::new(frames)))
}

/// A script that answers each request with a body by hand, in the order in which the requests come.
fn answers_by_hand(
    fields: &'static [(&'static str, &'static str)],
) -> (Script, mpsc::UnboundedReceiver<Pieces>) {
    let (hands, given) = mpsc::unbounded_channel();
    let script = script(move |_| {
        let (pieces, body) = by_hand();
        hands.send(pieces).unwrap();
        reply(200, fields, body)
    });
    (script, given)
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
