//! Answering other nodes.

use std::any::Any;
use std::net::TcpListener;
use std::time::Duration;

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::dev::{Extensions, ServerHandle};
use actix_web::rt::net::TcpStream;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use nearside_cluster::{
    Cluster, HandleError, Identity, NodeId, PeerKind, PeerRequest, StrangerKind,
};
use rustls::pki_types::CertificateDer;
use tokio::task::JoinHandle;

use super::news::{self, Deaf, Ear};
use super::tls::{TlsError, server_config};
use super::{MEMBER_PATH, STRANGER_PATH};

/// Threads that answer; the work is the cluster's, these only wait.
const WORKERS: usize = 2;
/// Connections at once per thread.
const CONNECTIONS_MAX: usize = 2048;
/// Largest question of a member, bytes: the whole state.
const MEMBER_BYTES_MAX: usize = 256 << 20;
/// Largest batch of news, bytes; a sender's are smaller.
const NEWS_BYTES_MAX: usize = 4 << 20;
/// Largest question of a stranger, bytes.
const STRANGER_BYTES_MAX: usize = 64 << 10;
/// Longest a stranger's question may take to be answered: a joining waits for an election.
const STRANGER_PATIENCE: Duration = Duration::from_secs(20);
/// For a TLS handshake, and for a request's head.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Flow control windows, bytes: the state crosses an ocean in a few round trips.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// For answers that are being given when the server stops, seconds.
const STOP_PATIENCE_S: u64 = 1;

/// The certificate a connection was opened with; absent: a stranger's.
#[derive(Clone)]
struct CallerCertificate(CertificateDer<'static>);

/// A running server.
pub struct PeerServer {
    handle: ServerHandle,
    task: JoinHandle<std::io::Result<()>>,
}

impl PeerServer {
    /// Answers what is being asked, takes no more, and ends.
    pub async fn stop(self) {
        self.handle.stop(true).await;
        match self.task.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the peer server failed"),
            Err(error) => tracing::error!(%error, "the peer server panicked"),
        }
    }
}

/// Answers on these sockets, for as long as the node lives.
pub fn serve(
    sockets: Vec<TcpListener>,
    cluster: Cluster,
    ear: Ear,
) -> Result<PeerServer, ServeError> {
    let tls = server_config(cluster.identity())?;
    let mut server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(cluster.clone()))
            .app_data(web::Data::new(ear.clone()))
            .service(
                web::resource(format!("{MEMBER_PATH}{}", news::KIND))
                    .app_data(web::PayloadConfig::new(NEWS_BYTES_MAX))
                    .route(web::post().to(hear)),
            )
            .service(
                web::resource(format!("{MEMBER_PATH}{{kind}}"))
                    .app_data(web::PayloadConfig::new(MEMBER_BYTES_MAX))
                    .route(web::post().to(member)),
            )
            .service(
                web::resource(format!("{STRANGER_PATH}{{kind}}"))
                    .app_data(web::PayloadConfig::new(STRANGER_BYTES_MAX))
                    .route(web::post().to(stranger)),
            )
            .route("/hello", web::get().to(hello))
    })
    .workers(WORKERS)
    .max_connections(CONNECTIONS_MAX)
    .tls_handshake_timeout(HANDSHAKE_TIMEOUT)
    .client_request_timeout(HANDSHAKE_TIMEOUT)
    .h2_initial_window_size(STREAM_WINDOW_BYTES)
    .h2_initial_connection_window_size(CONNECTION_WINDOW_BYTES)
    .tcp_nodelay(true)
    .shutdown_timeout(STOP_PATIENCE_S)
    .disable_signals()
    .on_connect(note_caller);
    for socket in sockets {
        socket.set_nonblocking(true).map_err(ServeError::Socket)?;
        server = server
            .listen_rustls_0_23(socket, tls.clone())
            .map_err(ServeError::Socket)?;
    }
    let server = server.run();
    Ok(PeerServer {
        handle: server.handle(),
        task: tokio::spawn(server),
    })
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A socket cannot be served.
    #[error("cannot serve peers: {0}")]
    Socket(std::io::Error),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Keeps the certificate with the connection: verified by TLS, read at each question, as who is a member may change.
fn note_caller(connection: &dyn Any, extensions: &mut Extensions) {
    let Some(stream) = connection.downcast_ref::<TlsStream<TcpStream>>() else {
        return;
    };
    let (_, tls) = stream.get_ref();
    if let Some([certificate, ..]) = tls.peer_certificates() {
        extensions.insert(CallerCertificate(certificate.clone().into_owned()));
    }
}

/// The caller's id in this node's cluster.
fn caller(request: &HttpRequest, cluster: &Cluster) -> Option<NodeId> {
    let certificate = request.conn_data::<CallerCertificate>()?;
    let own = cluster.identity().borrow().clone()?;
    Identity::id_in(&own.cluster, &certificate.0)
}

async fn member(
    request: HttpRequest,
    kind: web::Path<String>,
    body: web::Bytes,
    cluster: web::Data<Cluster>,
) -> HttpResponse {
    let Some(caller) = caller(&request, &cluster) else {
        return HttpResponse::Unauthorized().body("a certificate of this cluster is needed");
    };
    let Some(kind) = PeerKind::named(&kind) else {
        return HttpResponse::NotFound().body("no such question");
    };
    respond(cluster.handle(caller, PeerRequest { kind, body }).await)
}

/// Members only, as the cluster knows them; the certificate of one that was removed lives on for a while.
async fn hear(
    request: HttpRequest,
    body: web::Bytes,
    cluster: web::Data<Cluster>,
    ear: web::Data<Ear>,
) -> HttpResponse {
    let Some(caller) = caller(&request, &cluster) else {
        return HttpResponse::Unauthorized().body("a certificate of this cluster is needed");
    };
    if !cluster.state().members.contains_key(&caller) {
        return HttpResponse::Forbidden().body(format!("node {caller} is not a member"));
    }
    match ear.hear(&body).await {
        Ok(()) => HttpResponse::Ok().finish(),
        Err(error @ Deaf::Malformed(_)) => HttpResponse::BadRequest().body(error.to_string()),
        Err(error) => HttpResponse::ServiceUnavailable().body(error.to_string()),
    }
}

async fn stranger(
    kind: web::Path<String>,
    body: web::Bytes,
    cluster: web::Data<Cluster>,
) -> HttpResponse {
    let Some(kind) = StrangerKind::named(&kind) else {
        return HttpResponse::NotFound().body("no such question");
    };
    let answer = cluster.handle_stranger(kind, body);
    match tokio::time::timeout(STRANGER_PATIENCE, answer).await {
        Ok(answer) => respond(answer),
        Err(_) => HttpResponse::GatewayTimeout().body("no answer in time"),
    }
}

async fn hello(cluster: web::Data<Cluster>) -> HttpResponse {
    let cluster = cluster
        .identity()
        .borrow()
        .as_ref()
        .map(|identity| hex::encode(identity.cluster));
    HttpResponse::Ok().json(serde_json::json!({ "member": cluster.is_some(), "cluster": cluster }))
}

fn respond(answer: Result<web::Bytes, HandleError>) -> HttpResponse {
    match answer {
        Ok(answer) => HttpResponse::Ok()
            .content_type("application/octet-stream")
            .body(answer),
        Err(error) => {
            let mut response = match &error {
                HandleError::NotAMember { .. } => HttpResponse::Forbidden(),
                HandleError::Malformed(_) => HttpResponse::BadRequest(),
                HandleError::Outside | HandleError::Unavailable(_) => {
                    HttpResponse::ServiceUnavailable()
                }
            };
            response.body(error.to_string())
        }
    }
}
