//! Real sockets on loopback against a small handler.

mod drain;
mod express;
mod http1;
mod http2;
mod introduction;
mod tls;
mod tunnel;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::settings::Limits;
use crate::exchange::{Body, BodyError, Client, Handle, PlainHead};

/// Answers by path: `/echo` the content, `/who` the client's address, `/host` the Host, `/big` many pieces, `/wait`
/// after a while, `/early` after two interim responses, `/ws` by a tunnel, `/keep` when it has noted how the content
/// ended, anything else `ok`.
#[derive(Default)]
pub(super) struct Echo {
    pub(super) begun: parking_lot::Mutex<String>,
    /// Whether it was whole.
    pub(super) ended: parking_lot::Mutex<Option<bool>>,
}

pub(super) const BIG_PIECES: usize = 2048;
const PIECE: [u8; 16 * 1024] = [b'x'; 16 * 1024];
pub(super) const WAIT: Duration = Duration::from_millis(500);

impl Handle for Echo {
    async fn handle(
        self: Arc<Self>,
        client: Arc<Client>,
        request: Request<Body>,
    ) -> Response<Body> {
        match request.uri().path() {
            "/echo" => match request.into_body().collect().await {
                Ok(body) => Response::new(body.to_bytes().into()),
                Err(error) => {
                    let status = match error {
                        BodyError::TooSlow => StatusCode::REQUEST_TIMEOUT,
                        BodyError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
                        _ => StatusCode::BAD_REQUEST,
                    };
                    let mut response = Response::new(Body::from(error.to_string()));
                    *response.status_mut() = status;
                    response
                }
            },
            "/keep" => {
                // On a task of its own: it goes on when nobody waits for the answer.
                let mut body = request.into_body();
                let keeping = tokio::spawn(async move {
                    let whole = loop {
                        match body.frame().await {
                            Some(Ok(frame)) => {
                                let data = frame.into_data().unwrap_or_default();
                                self.begun.lock().push_str(&String::from_utf8_lossy(&data));
                            }
                            Some(Err(_)) => break false,
                            None => break true,
                        }
                    };
                    *self.ended.lock() = Some(whole);
                });
                keeping.await.unwrap();
                Response::new(Body::Empty)
            }
            "/who" => Response::new(Body::from(client.address.to_string())),
            "/host" => {
                let host = request.headers().get(http::header::HOST);
                let host = host.map_or("none", |host| host.to_str().unwrap());
                Response::new(Body::from(format!("{host} {}", request.uri())))
            }
            "/big" => Response::new(Body::pieces(vec![Bytes::from_static(&PIECE); BIG_PIECES])),
            "/endless" => std::future::pending().await,
            "/wait" => {
                tokio::time::sleep(WAIT).await;
                Response::new(Body::from("waited"))
            }
            "/early" => {
                if let Some(line) = &client.interim {
                    let late = line.ticket();
                    let mut fields = HeaderMap::new();
                    fields.insert("link", HeaderValue::from_static("</a>"));
                    late.tell(StatusCode::EARLY_HINTS, fields.clone());
                    tokio::time::sleep(WAIT / 10).await;
                    late.tell(StatusCode::PROCESSING, HeaderMap::new());
                    // One that comes after the final response is for nobody.
                    drop(tokio::spawn(async move {
                        tokio::time::sleep(WAIT / 10).await;
                        late.tell(StatusCode::EARLY_HINTS, fields);
                    }));
                    tokio::task::yield_now().await;
                }
                Response::new(Body::from("early"))
            }
            "/ws" | "/deaf" => tunnel::switch(&request),
            _ => Response::new(Body::from("ok")),
        }
    }

    /// `/now` and `/now/big`: told from other ways by their content.
    fn at_once(&self, _: &Client, head: &PlainHead<'_>, out: &mut Vec<u8>) -> Option<Body> {
        let (body, length) = match head.target {
            "/now" => (Body::from("at once"), 7),
            "/now/big" => {
                let pieces = vec![Bytes::from_static(&PIECE); BIG_PIECES];
                (Body::pieces(pieces), BIG_PIECES * PIECE.len())
            }
            _ => return None,
        };
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        out.extend_from_slice(format!("content-length: {length}\r\n\r\n").as_bytes());
        Some(body)
    }
}

/// Limits that a test need not wait long for.
pub(super) fn quick() -> Limits {
    Limits {
        head_timeout: Duration::from_millis(400),
        idle_timeout: Duration::from_millis(900),
        progress_timeout: Duration::from_millis(500),
        ..Limits::default()
    }
}

/// Running listeners.
pub(super) struct Rig {
    pub(super) http: SocketAddr,
    pub(super) https: Option<SocketAddr>,
    pub(super) metrics: ListenMetrics,
    pub(super) drain: CancellationToken,
    pub(super) echo: Arc<Echo>,
    serving: Option<Serving>,
}

impl Rig {
    pub(super) fn new(limits: Limits) -> Self {
        Self::start(limits, &[], None)
    }

    pub(super) fn start(
        limits: Limits,
        trusted: &[&str],
        certificates: Option<Arc<Certificates>>,
    ) -> Self {
        Self::begin(limits, trusted, false, certificates)
    }

    /// Where 127.0.0.1 is a proxy that introduces its clients.
    pub(super) fn introduced(limits: Limits, certificates: Option<Arc<Certificates>>) -> Self {
        Self::begin(limits, &["127.0.0.1/32"], true, certificates)
    }

    fn begin(
        limits: Limits,
        trusted: &[&str],
        proxy_protocol: bool,
        certificates: Option<Arc<Certificates>>,
    ) -> Self {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let https: &[SocketAddr] = if certificates.is_some() { &[any] } else { &[] };
        let sockets = Sockets::bind(&[any], https, NonZeroUsize::new(2).unwrap()).unwrap();
        let (http, https) = (sockets.http()[0], sockets.https().first().copied());
        let metrics = ListenMetrics::default();
        let drain = CancellationToken::new();
        let setup = Setup {
            sockets,
            limits,
            trusted_proxies: trusted.iter().map(|text| text.parse().unwrap()).collect(),
            proxy_protocol,
            certificates,
            metrics: metrics.clone(),
            grace: Duration::from_secs(2),
        };
        let echo = Arc::<Echo>::default();
        let serving = serve(setup, Arc::clone(&echo), &drain).unwrap();
        Self {
            echo,
            http,
            https,
            metrics,
            drain,
            serving: Some(serving),
        }
    }

    pub(super) async fn connect(&self) -> Wire {
        let stream = TcpStream::connect(self.http).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Wire(stream)
    }

    /// Drains and waits for the end.
    pub(super) async fn stop(mut self) {
        self.drain.cancel();
        self.serving.take().unwrap().done().await;
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.drain.cancel();
    }
}

/// A client that writes what it is told, right or wrong.
pub(super) struct Wire(pub(super) TcpStream);

impl Wire {
    pub(super) async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// One response: its head and as much content as its Content-Length says.
    pub(super) async fn response(&mut self) -> String {
        let mut text = Vec::new();
        loop {
            let head = text.windows(4).position(|window| window == b"\r\n\r\n");
            if let Some(head) = head {
                let fields = String::from_utf8_lossy(&text[..head]).to_lowercase();
                let length = fields.split("content-length: ").nth(1).map_or(0, |rest| {
                    rest.lines()
                        .next()
                        .unwrap()
                        .trim()
                        .parse::<usize>()
                        .unwrap()
                });
                if text.len() >= head + 4 + length {
                    break;
                }
            }
            let mut piece = [0; 4096];
            let read = self.0.read(&mut piece).await.unwrap_or(0);
            if read == 0 {
                break;
            }
            text.extend_from_slice(&piece[..read]);
        }
        String::from_utf8(text).unwrap()
    }

    /// Reads to the end of the connection, which must come in time. Returns what came before.
    pub(super) async fn ended(&mut self, within: Duration) -> usize {
        let mut total = 0;
        let end = async {
            let mut piece = vec![0; 64 * 1024];
            loop {
                match self.0.read(&mut piece).await {
                    Ok(0) | Err(_) => break,
                    Ok(read) => total += read,
                }
            }
        };
        tokio::time::timeout(within, end)
            .await
            .expect("the connection should have ended");
        total
    }
}

/// Polls a fact until it holds.
pub(super) async fn eventually(what: &str, fact: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !fact() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
