//! New connections to origins.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_util::task::TaskTracker;

use super::error::UpstreamErrorKind;
use super::load::Berth;
use super::outgoing::Outgoing;
use super::shared::STREAMS_MAX;

/// Bytes in the head of a response.
const RESPONSE_HEAD_BYTES_MAX: usize = 128 * 1024;
/// HTTP/2: what one response may have on its way to a client who does not read.
const H2_STREAM_WINDOW_BYTES: u32 = 128 * 1024;
/// HTTP/2: content of one request that waits for the origin.
const H2_SEND_BUFFER_BYTES: usize = 128 * 1024;
/// HTTP/2: many requests hang on one connection, so one that is dead is noticed while requests are open.
const H2_PING_EVERY: Duration = Duration::from_secs(20);
const H2_PING_TIMEOUT: Duration = Duration::from_secs(10);
/// An address that does not answer gives way to the next after this, at the earliest.
const ADDRESS_PATIENCE: Duration = Duration::from_millis(300);

/// Roots of trust, by where they come from.
#[derive(Debug, Default)]
pub(super) struct Roots {
    system: OnceLock<Result<Arc<ClientConfig>, String>>,
}

impl Roots {
    /// TLS towards an origin whose certificate is signed by a root of this system. Read once, when first needed.
    pub(super) fn system(&self) -> Result<Arc<ClientConfig>, UpstreamErrorKind> {
        self.system
            .get_or_init(|| {
                let loaded = rustls_native_certs::load_native_certs();
                for error in &loaded.errors {
                    tracing::warn!(%error, "a root certificate of this system cannot be read");
                }
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(loaded.certs);
                if roots.is_empty() {
                    return Err("this system has no root certificates".to_owned());
                }
                client_config(roots)
            })
            .clone()
            .map_err(UpstreamErrorKind::Tls)
    }

    /// TLS towards an origin whose certificate is signed by the authority in `pem`.
    pub(super) fn from_pem(pem: &str) -> Result<Arc<ClientConfig>, UpstreamErrorKind> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            certificate
                .map_err(|error| error.to_string())
                .and_then(|certificate| roots.add(certificate).map_err(|error| error.to_string()))
                .map_err(|error| {
                    UpstreamErrorKind::Tls(format!("its authority is unusable: {error}"))
                })?;
        }
        client_config(roots).map_err(UpstreamErrorKind::Tls)
    }
}

fn client_config(roots: RootCertStore) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = Speak::Http1.alpn();
    Ok(Arc::new(config))
}

/// TLS as one connection needs it.
#[derive(Clone)]
pub(super) struct Tls {
    pub(super) config: Arc<ClientConfig>,
    pub(super) server_name: ServerName<'static>,
}

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speak {
    Http1,
    Http2,
    /// What TLS agrees on.
    Either,
}

impl Speak {
    /// What TLS offers (RFC 7301).
    pub(super) fn alpn(self) -> Vec<Vec<u8>> {
        match self {
            Self::Http1 => vec![b"http/1.1".to_vec()],
            Self::Http2 => vec![b"h2".to_vec()],
            Self::Either => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        }
    }
}

/// A fresh connection's sender.
pub(super) enum Sender {
    Http1(http1::SendRequest<Outgoing>),
    /// With how many requests the origin takes at once.
    Http2(http2::SendRequest<Outgoing>, Arc<AtomicUsize>),
}

/// A fresh connection.
pub(super) struct Dialled {
    pub(super) sender: Sender,
    pub(super) remote: IpAddr,
}

/// Runs the tasks of a connection on the runtime that made it.
#[derive(Clone)]
struct Tasks(TaskTracker);

impl<F: Future + Send + 'static> Executor<F> for Tasks
where
    F::Output: Send,
{
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}

/// Connects to one of `addresses`, in their order, TLS included, within `timeout`.
pub(super) async fn dial(
    addresses: &[IpAddr],
    port: u16,
    (tls, speak): (Option<Tls>, Speak),
    timeout: Duration,
    (tasks, berth): (&TaskTracker, Berth),
) -> Result<Dialled, UpstreamErrorKind> {
    let deadline = Instant::now() + timeout;
    let (stream, remote) = connect(addresses, port, deadline).await?;
    let sender = match tls {
        None => converse(stream, speak == Speak::Http2, tasks, berth).await?,
        Some(tls) => {
            let handshake = TlsConnector::from(tls.config).connect(tls.server_name, stream);
            let stream = tokio::time::timeout_at(deadline, handshake)
                .await
                .map_err(|_| UpstreamErrorKind::ConnectTimeout)?
                .map_err(|error| tls_error(&error))?;
            let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            if speak == Speak::Http2 && !h2 {
                let what = "it does not offer HTTP/2";
                return Err(UpstreamErrorKind::Tls(what.to_owned()));
            }
            converse(stream, h2, tasks, berth).await?
        }
    };
    Ok(Dialled { sender, remote })
}

/// The first address that accepts. Each but the last gets half of the time that is left.
async fn connect(
    addresses: &[IpAddr],
    port: u16,
    deadline: Instant,
) -> Result<(TcpStream, IpAddr), UpstreamErrorKind> {
    let mut failed = UpstreamErrorKind::Connect;
    for (index, &address) in addresses.iter().enumerate() {
        let now = Instant::now();
        let left = deadline.saturating_duration_since(now);
        let patience = if index + 1 == addresses.len() {
            left
        } else {
            left.min((left / 2).max(ADDRESS_PATIENCE))
        };
        if left.is_zero() {
            return Err(UpstreamErrorKind::ConnectTimeout);
        }
        let connecting = TcpStream::connect(SocketAddr::new(address, port));
        match tokio::time::timeout(patience, connecting).await {
            Ok(Ok(stream)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "cannot set TCP_NODELAY towards an origin");
                }
                return Ok((stream, address));
            }
            Ok(Err(error)) => {
                tracing::debug!(%address, port, %error, "an origin's address refused");
                failed = UpstreamErrorKind::Connect;
            }
            Err(_) => failed = UpstreamErrorKind::ConnectTimeout,
        }
    }
    Err(failed)
}

/// HTTP over a connected stream. The connection's task ends with its last sender or body.
async fn converse<S>(
    stream: S,
    h2: bool,
    tasks: &TaskTracker,
    berth: Berth,
) -> Result<Sender, UpstreamErrorKind>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    if h2 {
        return converse_h2(stream, tasks, berth).await;
    }
    let (sender, connection) = http1::Builder::new()
        // At most 100 fields, hyper's own default: any other number costs an allocation per response.
        .max_header_size(RESPONSE_HEAD_BYTES_MAX)
        // A proxy mends both on the way, or refuses the answer (RFC 9112 §5.1, §5.2).
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| UpstreamErrorKind::Connect)?;
    tasks.spawn(async move {
        let _open = berth;
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "connection to an origin ended");
        }
    });
    Ok(Sender::Http1(sender))
}

async fn converse_h2<S>(
    stream: S,
    tasks: &TaskTracker,
    berth: Berth,
) -> Result<Sender, UpstreamErrorKind>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, mut connection) = http2::Builder::new(Tasks(tasks.clone()))
        .timer(TokioTimer::new())
        .initial_stream_window_size(H2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(H2_STREAM_WINDOW_BYTES * STREAMS_MAX as u32)
        .max_send_buf_size(H2_SEND_BUFFER_BYTES)
        .max_header_list_size(RESPONSE_HEAD_BYTES_MAX as u32)
        .keep_alive_interval(H2_PING_EVERY)
        .keep_alive_timeout(H2_PING_TIMEOUT)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| UpstreamErrorKind::Connect)?;
    let takes = Arc::new(AtomicUsize::new(connection.current_max_send_streams()));
    let told = Arc::clone(&takes);
    tasks.spawn(async move {
        let _open = berth;
        let ended = poll_fn(|cx| {
            let polled = Pin::new(&mut connection).poll(cx);
            // The origin may change its mind at any time.
            told.store(connection.current_max_send_streams(), Ordering::Relaxed);
            polled
        });
        if let Err(error) = ended.await {
            tracing::debug!(%error, "connection to an origin ended");
        }
    });
    Ok(Sender::Http2(sender, takes))
}

fn tls_error(error: &io::Error) -> UpstreamErrorKind {
    match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    {
        Some(error) => UpstreamErrorKind::Tls(error.to_string()),
        None => UpstreamErrorKind::Connect,
    }
}
