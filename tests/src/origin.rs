//! Scripted origins: real HTTP servers that count what they are asked, answer as told, and can refuse, hang or break
//! off.
//!
//! Without a script, `/c/LENGTH/anything` gives `LENGTH` bytes of [`content`](crate::content()) in the origin's
//! current version, cacheable for an hour, with an entity tag; everything else is 404.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::Authority;
use crate::content::{CONTENT_FIELD, content};
use crate::patience::runtime;

/// Requests remembered; a scenario that asks more reads the count.
const SEEN_MAX: usize = 10_000;

/// How an origin treats the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It answers.
    Up,
    /// Nothing listens; what was open is broken.
    Refusing,
    /// It accepts, reads, and never answers.
    Hanging,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// All fields.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// SNI, when it came over TLS.
    pub server_name: Option<String>,
}

impl Seen {
    /// A field's text; several lines are joined by `, `.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<String> {
        crate::http::field(&self.headers, name)
    }
}

/// What to answer.
#[derive(Clone, Debug)]
pub struct Reply {
    status: StatusCode,
    fields: Vec<(String, String)>,
    body: Bytes,
    head_after: Duration,
    pieces: usize,
    piece_every: Duration,
    reset: bool,
    break_after: Option<usize>,
    chunked: bool,
}

impl Reply {
    /// 200 with `body`, and nothing about caching.
    #[must_use]
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self {
            status: StatusCode::OK,
            fields: Vec::new(),
            body: body.into(),
            head_after: Duration::ZERO,
            pieces: 1,
            piece_every: Duration::ZERO,
            reset: false,
            break_after: None,
            chunked: false,
        }
    }

    /// `length` bytes that prove to be `path` in `version`.
    #[must_use]
    pub fn content(path: &str, version: u64, length: usize) -> Self {
        Self::new(content(path, version, length))
            .field(CONTENT_FIELD, &format!("{path};{version};{length}"))
    }

    /// Another status.
    ///
    /// # Panics
    /// When `status` is none.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = StatusCode::from_u16(status).expect("a status of three digits");
        self
    }

    /// One more field.
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// `Cache-Control`.
    #[must_use]
    pub fn cache_control(self, value: &str) -> Self {
        self.field("cache-control", value)
    }

    /// Waits before the head.
    #[must_use]
    pub fn head_after(mut self, time: Duration) -> Self {
        self.head_after = time;
        self
    }

    /// Sends the body in `pieces`, one `every` so often.
    #[must_use]
    pub fn in_pieces(mut self, pieces: usize, every: Duration) -> Self {
        self.pieces = pieces.max(1);
        self.piece_every = every;
        self
    }

    /// Breaks the connection after so many bytes of the body.
    #[must_use]
    pub fn break_after(mut self, bytes: usize) -> Self {
        self.break_after = Some(bytes);
        self
    }

    /// Closes the connection in place of an answer.
    #[must_use]
    pub fn reset(mut self) -> Self {
        self.reset = true;
        self
    }

    /// Without a length: chunked.
    #[must_use]
    pub fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }
}

type Script = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;
type ReplyBody = http_body_util::combinators::UnsyncBoxBody<Bytes, std::io::Error>;

#[derive(Default)]
struct Shared {
    version: AtomicU64,
    asked: AtomicU64,
    seen: Mutex<Vec<Seen>>,
    scripts: Mutex<HashMap<String, Script>>,
}

/// A running origin.
pub struct Origin {
    /// Where it listens, for as long as it lives.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    mode: watch::Sender<Mode>,
    task: tokio::task::JoinHandle<()>,
    tls: bool,
}

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Origin({})", self.address)
    }
}

impl Origin {
    /// Plain HTTP on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    /// HTTPS, as `names` of `authority`.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start_tls(authority: &Authority, names: &[&str]) -> Self {
        Self::start_with(Some(authority.server_config(names))).await
    }

    async fn start_with(tls: Option<rustls::ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let shared = Arc::new(Shared::default());
        shared.version.store(1, Ordering::Relaxed);
        let (mode, watched) = watch::channel(Mode::Up);
        let acceptor = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        let task = runtime().spawn(serve(
            listener,
            address,
            acceptor.clone(),
            Arc::clone(&shared),
            watched,
        ));
        Self {
            address,
            shared,
            mode,
            task,
            tls: acceptor.is_some(),
        }
    }

    /// `http://address` or `https://address`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http{}://{}", if self.tls { "s" } else { "" }, self.address)
    }

    /// Changes how it treats the world; a dead one comes back on the same port.
    pub fn set_mode(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Answers `path` (without query) with `reply` from now on.
    pub fn on(&self, path: &str, reply: Reply) {
        self.script(path, move |_| reply.clone());
    }

    /// Answers `path` (without query) by what is asked.
    pub fn script(&self, path: &str, script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) {
        let mut scripts = lock(&self.shared.scripts);
        scripts.insert(path.to_owned(), Arc::new(script));
    }

    /// All unscripted content changes.
    pub fn set_version(&self, version: u64) {
        self.shared.version.store(version, Ordering::Relaxed);
    }

    /// Requests so far.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.shared.asked.load(Ordering::Relaxed)
    }

    /// Requests for one path and query so far (of the first ten thousand).
    #[must_use]
    pub fn asked_for(&self, path: &str) -> usize {
        lock(&self.shared.seen)
            .iter()
            .filter(|seen| seen.path == path)
            .count()
    }

    /// Those requests themselves, oldest first.
    #[must_use]
    pub fn seen(&self, path: &str) -> Vec<Seen> {
        let seen = lock(&self.shared.seen);
        seen.iter()
            .filter(|seen| seen.path == path)
            .cloned()
            .collect()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    mut mode: watch::Receiver<Mode>,
) {
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        let now = *mode.borrow_and_update();
        if now == Mode::Refusing {
            listener = None;
            connections.abort_all();
        } else if listener.is_none() {
            listener = TcpListener::bind(address).await.ok();
        }
        tokio::select! {
            accepted = accept(listener.as_ref()) => {
                if let Some(stream) = accepted {
                    let serving = connection(stream, tls.clone(), Arc::clone(&shared), mode.clone());
                    connections.spawn(serving);
                }
            }
            changed = mode.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> Option<tokio::net::TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.ok().map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

async fn connection(
    stream: tokio::net::TcpStream,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    mode: watch::Receiver<Mode>,
) {
    let answer = |server_name: Option<String>| {
        hyper::service::service_fn(move |request| {
            respond(
                request,
                server_name.clone(),
                Arc::clone(&shared),
                mode.clone(),
            )
        })
    };
    let builder = hyper::server::conn::http1::Builder::new();
    // Errors are the other side going away, which scenarios do on purpose.
    match tls {
        None => drop(
            builder
                .serve_connection(TokioIo::new(stream), answer(None))
                .await,
        ),
        Some(acceptor) => {
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let name = stream.get_ref().1.server_name().map(str::to_owned);
            drop(
                builder
                    .serve_connection(TokioIo::new(stream), answer(name))
                    .await,
            );
        }
    }
}

async fn respond(
    request: Request<Incoming>,
    server_name: Option<String>,
    shared: Arc<Shared>,
    mut mode: watch::Receiver<Mode>,
) -> Result<Response<ReplyBody>, std::io::Error> {
    let (head, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map_err(std::io::Error::other)?
        .to_bytes();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let seen = Seen {
        method: head.method,
        path: path.to_owned(),
        headers: head.headers,
        body,
        server_name,
    };
    shared.asked.fetch_add(1, Ordering::Relaxed);
    {
        let mut all = lock(&shared.seen);
        if all.len() < SEEN_MAX {
            all.push(seen.clone());
        }
    }
    if mode.wait_for(|mode| *mode != Mode::Hanging).await.is_err() {
        return Err(std::io::Error::other("the lab is gone"));
    }
    let script = lock(&shared.scripts).get(head.uri.path()).cloned();
    let reply = match script {
        Some(script) => script(&seen),
        None => unscripted(&seen, shared.version.load(Ordering::Relaxed)),
    };
    tokio::time::sleep(reply.head_after).await;
    response(conditional(&seen, reply), seen.method == Method::HEAD)
}

fn unscripted(seen: &Seen, version: u64) -> Reply {
    let length = seen
        .path
        .strip_prefix("/c/")
        .and_then(|rest| rest.split('/').next()?.parse().ok());
    match length {
        Some(length) => Reply::content(&seen.path, version, length)
            .cache_control("public, max-age=3600")
            .field("etag", &format!("\"{version}-{length}\"")),
        None => Reply::new("not found\n").status(404),
    }
}

/// RFC 9110, 13.1.2: a matching entity tag is 304.
fn conditional(seen: &Seen, reply: Reply) -> Reply {
    let tag = reply
        .fields
        .iter()
        .find(|(name, _)| name == "etag")
        .map(|(_, tag)| tag);
    let matches = match (tag, seen.field("if-none-match")) {
        (Some(tag), Some(asked)) => asked.split(',').any(|one| one.trim() == tag),
        _ => false,
    };
    if matches && reply.status == StatusCode::OK {
        return Reply {
            status: StatusCode::NOT_MODIFIED,
            body: Bytes::new(),
            ..reply
        };
    }
    reply
}

fn response(reply: Reply, head_only: bool) -> Result<Response<ReplyBody>, std::io::Error> {
    if reply.reset {
        return Err(std::io::Error::other("closed on purpose"));
    }
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.fields {
        response = response.header(name, value);
    }
    let bodiless =
        reply.status == StatusCode::NOT_MODIFIED || reply.status == StatusCode::NO_CONTENT;
    if !bodiless && !reply.chunked {
        response = response.header(header::CONTENT_LENGTH, reply.body.len());
    }
    let frames = if head_only || bodiless {
        Vec::new()
    } else {
        frames(&reply)
    };
    let every = reply.piece_every;
    let body = stream::unfold(
        frames.into_iter().enumerate(),
        move |mut frames| async move {
            let (number, frame) = frames.next()?;
            if number > 0 {
                tokio::time::sleep(every).await;
            }
            Some((frame.map(Frame::data), frames))
        },
    );
    response
        .body(StreamBody::new(body).boxed_unsync())
        .map_err(std::io::Error::other)
}

fn frames(reply: &Reply) -> Vec<std::io::Result<Bytes>> {
    let end = reply
        .break_after
        .unwrap_or(usize::MAX)
        .min(reply.body.len());
    let size = reply.body.len().div_ceil(reply.pieces).max(1);
    let mut frames: Vec<std::io::Result<Bytes>> = (0..end)
        .step_by(size)
        .map(|start| Ok(reply.body.slice(start..end.min(start + size))))
        .collect();
    if reply.break_after.is_some() {
        frames.push(Err(std::io::Error::other("broken off on purpose")));
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Request, run};

    #[test]
    fn an_origin_answers_breaks_off_and_dies_as_told() {
        run(async {
            let origin = Origin::start().await;
            let ask = |path: &str| Request::get("any.example", path).to(origin.address);
            let got = ask("/c/1000/x").send().await;
            assert_eq!(got.content_fault("/c/1000/x"), None);
            let tag = got.field("etag").unwrap();
            let got = ask("/c/1000/x").field("if-none-match", &tag).send().await;
            assert_eq!(got.status, 304);

            origin.on(
                "/broken",
                Reply::content("/broken", 1, 500)
                    .in_pieces(5, Duration::ZERO)
                    .break_after(300),
            );
            let got = ask("/broken").send().await;
            assert!(got.broken.is_some() && got.body.len() <= 300, "{got:?}");

            origin.set_mode(Mode::Refusing);
            crate::eventually(
                "the origin is dead",
                Duration::from_secs(5),
                async || match ask("/c/1/x").send().await.broken {
                    Some(_) => Ok(()),
                    None => Err("it answers".to_owned()),
                },
            )
            .await;
            origin.set_mode(Mode::Up);
            crate::eventually("the origin is back", Duration::from_secs(5), async || {
                let got = ask("/c/1/x").send().await;
                if got.status == 200 {
                    Ok(())
                } else {
                    Err(format!("{got:?}"))
                }
            })
            .await;
            assert_eq!(origin.asked_for("/c/1000/x"), 2);
        });
    }
}
