//! A client that says exactly what it is told to say, and tells everything that came back: also how a body broke.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use crate::Authority;
use crate::content::{CONTENT_FIELD, content_fault};

/// A client of the lab gives up after this.
const PATIENCE: Duration = Duration::from_secs(20);

/// One request, on a connection of its own.
#[derive(Clone, Debug)]
pub struct Request {
    method: Method,
    host: String,
    path: String,
    target: Option<SocketAddr>,
    fields: Vec<(String, String)>,
    body: Bytes,
    tls: Option<(rustls::ClientConfig, String)>,
    h2: bool,
    source: Option<IpAddr>,
    preface: Bytes,
    patience: Duration,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Got {
    /// 0 when there was no response.
    pub status: u16,
    /// As the response says it.
    pub version: Version,
    /// All fields.
    pub headers: HeaderMap,
    /// What arrived of the body.
    pub body: Bytes,
    /// Why the exchange ended before its end, if it did: visible to any client.
    pub broken: Option<String>,
    /// From the first byte sent to the response's head.
    pub head_after: Duration,
    /// To the end.
    pub took: Duration,
}

impl Got {
    fn nothing(reason: String, start: Instant) -> Self {
        Self {
            status: 0,
            version: Version::HTTP_11,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            broken: Some(reason),
            head_after: start.elapsed(),
            took: start.elapsed(),
        }
    }

    /// A field's text; several lines are joined by `, `.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<String> {
        field(&self.headers, name)
    }

    /// `Cache-Status`, or nothing.
    #[must_use]
    pub fn cache_status(&self) -> String {
        self.field("cache-status").unwrap_or_default()
    }

    /// Was it served from the cache (RFC 9211: `hit`)?
    #[must_use]
    pub fn is_hit(&self) -> bool {
        self.cache_status()
            .split([';', ','])
            .any(|part| part.trim() == "hit")
    }

    /// What is wrong with a response that should carry the lab's content for `path`; a visibly broken one is at
    /// fault too.
    #[must_use]
    pub fn content_fault(&self, path: &str) -> Option<String> {
        if let Some(broken) = &self.broken {
            return Some(format!("broken: {broken}"));
        }
        if self.status != 200 {
            return Some(format!("status {}", self.status));
        }
        content_fault(path, self.field(CONTENT_FIELD).as_deref(), &self.body)
    }

    /// Itself, when it carries the right content.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn sound(self, path: &str) -> Self {
        if let Some(fault) = self.content_fault(path) {
            panic!("{path}: {fault}; {:?} {:?}", self.status, self.headers);
        }
        self
    }

    /// The version that the content says it has.
    #[must_use]
    pub fn content_version(&self) -> Option<u64> {
        self.field(CONTENT_FIELD)?.split(';').nth(1)?.parse().ok()
    }
}

impl Request {
    /// GET `path` of `host`.
    #[must_use]
    pub fn get(host: &str, path: &str) -> Self {
        Self::new(Method::GET, host, path)
    }

    /// Any method.
    #[must_use]
    pub fn new(method: Method, host: &str, path: &str) -> Self {
        Self {
            method,
            host: host.to_owned(),
            path: path.to_owned(),
            target: None,
            fields: Vec::new(),
            body: Bytes::new(),
            tls: None,
            h2: false,
            source: None,
            preface: Bytes::new(),
            patience: PATIENCE,
        }
    }

    /// Where to send it.
    #[must_use]
    pub fn to(mut self, target: SocketAddr) -> Self {
        self.target = Some(target);
        self
    }

    /// One more field.
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// From a client with this address, as a trusted proxy would say it.
    #[must_use]
    pub fn from(self, client: IpAddr) -> Self {
        self.field("x-forwarded-for", &client.to_string())
    }

    /// From another loopback address, which nobody trusts.
    #[must_use]
    pub fn source(mut self, address: IpAddr) -> Self {
        self.source = Some(address);
        self
    }

    /// Behind these bytes, which come first of all, also before TLS.
    #[must_use]
    pub fn behind(mut self, preface: impl Into<Bytes>) -> Self {
        self.preface = preface.into();
        self
    }

    /// Over TLS, asking for the request's host by SNI and trusting `authority`.
    #[must_use]
    pub fn tls(mut self, authority: &Authority) -> Self {
        let name = self.host.split(':').next().unwrap_or_default().to_owned();
        self.tls = Some((authority.client_config(self.h2), name));
        self
    }

    /// Over HTTP/2 and TLS.
    #[must_use]
    pub fn h2(mut self, authority: &Authority) -> Self {
        self.h2 = true;
        self.tls(authority)
    }

    /// With another name in SNI than in the request. Call it after `tls` or `h2`.
    #[must_use]
    pub fn server_name(mut self, name: &str) -> Self {
        if let Some((_, old)) = &mut self.tls {
            name.clone_into(old);
        }
        self
    }

    /// Gives up earlier or later.
    #[must_use]
    pub fn patience(mut self, time: Duration) -> Self {
        self.patience = time;
        self
    }

    /// Sends it and takes what comes. Never fails: an error is something that came back, too.
    pub async fn send(self) -> Got {
        let start = Instant::now();
        match tokio::time::timeout(self.patience, self.exchange(start)).await {
            Ok(Ok(got)) => got,
            Ok(Err(error)) => Got::nothing(format!("{error:#}"), start),
            Err(_) => Got::nothing("no end within the client's patience".to_owned(), start),
        }
    }

    async fn exchange(mut self, start: Instant) -> anyhow::Result<Got> {
        let target = self.target.ok_or_else(|| anyhow::anyhow!("no target"))?;
        let mut stream = self.connect(target).await?;
        stream.write_all(&self.preface).await?;
        match self.tls.take() {
            None => self.over(stream, "http", start).await,
            Some((config, name)) => {
                let name = rustls::pki_types::ServerName::try_from(name)?;
                let connector = TlsConnector::from(std::sync::Arc::new(config));
                let stream = connector.connect(name, stream).await?;
                self.over(stream, "https", start).await
            }
        }
    }

    async fn connect(&self, target: SocketAddr) -> anyhow::Result<TcpStream> {
        let stream = match self.source {
            None => TcpStream::connect(target).await?,
            Some(source) => {
                let socket = TcpSocket::new_v4()?;
                socket.bind((source, 0).into())?;
                socket.connect(target).await?
            }
        };
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn over<S>(self, stream: S, scheme: &str, start: Instant) -> anyhow::Result<Got>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let uri = if self.h2 {
            format!("{scheme}://{}{}", self.host, self.path)
        } else {
            self.path.clone()
        };
        let mut request = http::Request::builder()
            .method(self.method.clone())
            .uri(uri);
        if !self.h2 {
            request = request.header("host", &self.host);
        }
        for (name, value) in &self.fields {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(self.body.clone()))?;
        let io = TokioIo::new(stream);
        if self.h2 {
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await?;
            let driver = tokio::spawn(connection);
            let got = collect(sender.send_request(request).await?, start).await;
            driver.abort();
            Ok(got)
        } else {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
            let driver = tokio::spawn(connection);
            let got = collect(sender.send_request(request).await?, start).await;
            driver.abort();
            Ok(got)
        }
    }
}

async fn collect(response: http::Response<Incoming>, start: Instant) -> Got {
    let head_after = start.elapsed();
    let (head, mut body) = response.into_parts();
    let (mut pieces, mut broken) = (Vec::new(), None);
    while let Some(frame) = body.frame().await {
        match frame.map(hyper::body::Frame::into_data) {
            Ok(Ok(piece)) => pieces.extend_from_slice(&piece),
            Ok(Err(_trailers)) => {}
            Err(error) => {
                broken = Some(format!("{:#}", anyhow::Error::new(error)));
                break;
            }
        }
    }
    Got {
        status: head.status.as_u16(),
        version: head.version,
        headers: head.headers,
        body: pieces.into(),
        broken,
        head_after,
        took: start.elapsed(),
    }
}

pub(crate) fn field(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines: Vec<String> = headers
        .get_all(name)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}
