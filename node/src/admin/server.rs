//! The sockets of the API and of `/metrics`, and who stops them.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpResponse, HttpServer, web};
use tokio::task::JoinHandle;

use super::control::Control;
use super::guard::{Guard, Token, check};
use super::{routes, socket};
use crate::config::settings::{AdminAddress, Settings};
use crate::observe::Metrics;

/// Why a listener did not start: one line.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct ServeError(String);

/// Connections at once on one listener. People and scrapers are few.
const CONNECTIONS_MAX: usize = 256;
/// From a connection's first byte to the end of its head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests that run may go on once the server stops, seconds.
const STOP_TIMEOUT_S: u64 = 5;

/// Bound sockets of the admin API.
#[derive(Debug, Default)]
pub struct Sockets {
    unix: Vec<UnixListener>,
    tcp: Vec<TcpListener>,
    token: Option<Token>,
}

impl Sockets {
    /// Binds what `[listen] admin` says, and reads `[admin] token_file` where it is needed.
    ///
    /// # Errors
    /// An address that cannot be bound, or a token that cannot be read.
    pub fn bind(settings: &Settings) -> Result<Self, ServeError> {
        let mut sockets = Self::default();
        for address in &settings.listen.admin {
            match address {
                AdminAddress::Unix(path) => {
                    sockets.unix.push(socket::bind(path).map_err(ServeError)?);
                }
                AdminAddress::Tcp(address) => sockets.tcp.push(tcp(*address, "admin")?),
            }
        }
        if !sockets.tcp.is_empty() {
            let file = settings.admin_token_file.as_deref();
            let file = file.ok_or_else(|| {
                ServeError("the admin API over TCP needs [admin] token_file".to_owned())
            })?;
            sockets.token = Some(Token::read(file).map_err(ServeError)?);
        }
        Ok(sockets)
    }
}

/// Binds listeners that actix serves: `what` is their name under `[listen]`.
///
/// # Errors
/// An address that cannot be bound.
pub fn bind(addresses: &[SocketAddr], what: &str) -> Result<Vec<TcpListener>, ServeError> {
    let sockets = addresses.iter().map(|address| tcp(*address, what));
    sockets.collect()
}

fn tcp(address: SocketAddr, what: &str) -> Result<TcpListener, ServeError> {
    use socket2::{Domain, Protocol, Socket, Type};

    let bound = || {
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            // An address of one family is that: the other one is listed beside it.
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(128)?;
        Ok(socket.into())
    };
    bound().map_err(|error: std::io::Error| {
        ServeError(format!(
            "cannot bind {address} for [listen] {what}: {error}"
        ))
    })
}

/// Running listeners.
#[derive(Debug, Default)]
pub struct Server {
    running: Vec<(ServerHandle, JoinHandle<std::io::Result<()>>)>,
}

impl Server {
    /// Takes no more requests, lets those that run finish for some seconds, and joins every task.
    pub async fn stop(self) {
        for (handle, _) in &self.running {
            handle.stop(true).await;
        }
        for (_, task) in self.running {
            if let Ok(Err(error)) = task.await {
                tracing::warn!(%error, "an admin listener ended badly");
            }
        }
    }

    fn add(&mut self, server: actix_web::dev::Server) {
        let handle = server.handle();
        self.running.push((handle, tokio::spawn(server)));
    }
}

/// Serves the admin API on bound sockets.
///
/// # Errors
/// A socket that cannot be used.
pub fn serve(sockets: Sockets, control: &Control) -> Result<Server, ServeError> {
    let mut running = Server::default();
    if !sockets.unix.is_empty() {
        running.add(server(control, &Guard::Socket, sockets.unix, Vec::new())?);
    }
    if let Some(token) = sockets.token {
        running.add(server(
            control,
            &Guard::Token(token),
            Vec::new(),
            sockets.tcp,
        )?);
    }
    Ok(running)
}

fn server(
    control: &Control,
    guard: &Guard,
    unix: Vec<UnixListener>,
    tcp: Vec<TcpListener>,
) -> Result<actix_web::dev::Server, ServeError> {
    let control = web::Data::new(control.clone());
    let guard = web::Data::new(guard.clone());
    let mut server = HttpServer::new(move || {
        App::new()
            .app_data(control.clone())
            .app_data(guard.clone())
            .wrap(from_fn(check))
            .configure(routes::all)
    })
    .workers(1)
    .max_connections(CONNECTIONS_MAX)
    .client_request_timeout(HEAD_TIMEOUT)
    .shutdown_timeout(STOP_TIMEOUT_S)
    .disable_signals();
    for listener in unix {
        server = server.listen_uds(listener).map_err(unusable)?;
    }
    for listener in tcp {
        server = server.listen(listener).map_err(unusable)?;
    }
    Ok(server.run())
}

/// Serves `/metrics`, and `/healthz` and `/readyz` beside it, on bound sockets.
///
/// # Errors
/// A socket that cannot be used.
pub fn serve_metrics(
    sockets: Vec<TcpListener>,
    control: &Control,
    metrics: &Arc<Metrics>,
) -> Result<Server, ServeError> {
    let mut running = Server::default();
    if sockets.is_empty() {
        return Ok(running);
    }
    let control = web::Data::new(control.clone());
    let metrics = web::Data::from(Arc::clone(metrics));
    let mut server = HttpServer::new(move || {
        App::new()
            .app_data(control.clone())
            .app_data(metrics.clone())
            .configure(routes::probes)
            .route("/metrics", web::get().to(exposition))
    })
    .workers(1)
    .max_connections(CONNECTIONS_MAX)
    .client_request_timeout(HEAD_TIMEOUT)
    .shutdown_timeout(STOP_TIMEOUT_S)
    .disable_signals();
    for listener in sockets {
        server = server.listen(listener).map_err(unusable)?;
    }
    running.add(server.run());
    Ok(running)
}

async fn exposition(metrics: web::Data<Metrics>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(crate::observe::EXPOSITION)
        .body(metrics.exposition())
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that map_err wants"
)]
fn unusable(error: std::io::Error) -> ServeError {
    ServeError(format!("a listener of ours cannot be used: {error}"))
}
