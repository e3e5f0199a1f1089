//! New connections to origins.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
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
use super::outgoing::Outgoing;

/// Fields in the head of a response.
const RESPONSE_FIELDS_MAX: usize = 256;
/// Bytes in the head of a response.
const RESPONSE_HEAD_BYTES_MAX: usize = 128 * 1024;
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
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// TLS as one connection needs it.
pub(super) struct Tls {
    pub(super) config: Arc<ClientConfig>,
    pub(super) server_name: ServerName<'static>,
}

/// A fresh connection.
pub(super) struct Dialled {
    pub(super) sender: SendRequest<Outgoing>,
    pub(super) remote: IpAddr,
}

/// Connects to one of `addresses`, in their order, TLS included, within `timeout`.
pub(super) async fn dial(
    addresses: &[IpAddr],
    port: u16,
    tls: Option<Tls>,
    timeout: Duration,
    tasks: &TaskTracker,
) -> Result<Dialled, UpstreamErrorKind> {
    let deadline = Instant::now() + timeout;
    let (stream, remote) = connect(addresses, port, deadline).await?;
    let sender = match tls {
        None => converse(stream, tasks).await?,
        Some(tls) => {
            let handshake = TlsConnector::from(tls.config).connect(tls.server_name, stream);
            let stream = tokio::time::timeout_at(deadline, handshake)
                .await
                .map_err(|_| UpstreamErrorKind::ConnectTimeout)?
                .map_err(|error| tls_error(&error))?;
            converse(stream, tasks).await?
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

/// HTTP/1.1 over a connected stream. The connection's task ends with its last sender or body.
async fn converse<S>(
    stream: S,
    tasks: &TaskTracker,
) -> Result<SendRequest<Outgoing>, UpstreamErrorKind>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_headers(RESPONSE_FIELDS_MAX)
        .max_header_size(RESPONSE_HEAD_BYTES_MAX)
        // A proxy mends both on the way, or refuses the answer (RFC 9112 §5.1, §5.2).
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| UpstreamErrorKind::Connect)?;
    tasks.spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "connection to an origin ended");
        }
    });
    Ok(sender)
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
