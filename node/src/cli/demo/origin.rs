//! The demo's origins: a small shop that counts who asks, on the program's own listener.
//!
//! `/film…` is large and comes slowly, so that many clients can ask for it while the first answer still flows. Every
//! other path is a page that names its edition; `POST /.demo/publish` makes the next edition, `/.demo/requests` says how
//! often each path was asked for.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::Interrupt;
use crate::config::settings::Limits;
use crate::exchange::{Body, Client, Handle};
use crate::listen::{ListenMetrics, Setup, Sockets, serve};

/// The film: this many pieces of this size, one every so often: 1 MiB in 0.6 s.
const FILM_PIECES: usize = 32;
const FILM_PIECE_BYTES: usize = 32 * 1024;
const FILM_PACE: Duration = Duration::from_millis(20);
/// Paths that are counted; the rest are served and forgotten.
const COUNTED_PATHS_MAX: usize = 10_000;

/// `nearside demo origin`, for the demo and docker-compose.yml.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// What the origin calls itself in X-Origin
    #[arg(long)]
    name: String,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
}

/// Serves the shop until a signal ends it.
pub(super) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut interrupt = Interrupt::new()?;
    let mut limits = Limits::default();
    // All of its clients are nodes, which on one machine share an address.
    limits.connections_per_client = limits.connections;
    let setup = Setup {
        sockets: Sockets::bind(&[arguments.listen], &[], NonZeroUsize::MIN)?,
        limits,
        trusted_proxies: Vec::new(),
        proxy_protocol: false,
        certificates: None,
        metrics: ListenMetrics::default(),
        grace: Duration::from_secs(1),
    };
    let drain = CancellationToken::new();
    let serving = serve(setup, Arc::new(Shop::new(arguments.name)), &drain)?;
    interrupt.wait().await;
    drain.cancel();
    serving.done().await;
    Ok(())
}

/// The shop.
struct Shop {
    name: String,
    edition: AtomicU64,
    requests: Mutex<BTreeMap<String, u64>>,
}

impl Shop {
    fn new(name: String) -> Self {
        Self {
            name,
            edition: AtomicU64::new(1),
            requests: Mutex::new(BTreeMap::new()),
        }
    }

    fn answer(&self, request: &Request<Body>) -> Response<Body> {
        let path = request.uri().path();
        match path {
            "/healthz" => page(StatusCode::OK, "no-store", "well\n"),
            "/.demo/requests" => {
                let counts = serde_json::to_string(&*self.requests.lock()).unwrap_or_default();
                page(StatusCode::OK, "no-store", counts)
            }
            "/.demo/publish" if request.method() == Method::POST => {
                let edition = self.edition.fetch_add(1, Ordering::Relaxed) + 1;
                page(StatusCode::OK, "no-store", format!("{edition}\n"))
            }
            _ if request.method() != Method::GET && request.method() != Method::HEAD => page(
                StatusCode::METHOD_NOT_ALLOWED,
                "no-store",
                "only GET and HEAD\n",
            ),
            _ => self.goods(path, request),
        }
    }

    fn goods(&self, path: &str, request: &Request<Body>) -> Response<Body> {
        self.count(path);
        let edition = self.edition.load(Ordering::Relaxed);
        let tag = format!("\"edition-{edition}\"");
        let known = request.headers().get(IF_NONE_MATCH);
        let mut response = if known.is_some_and(|value| value.as_bytes() == tag.as_bytes()) {
            page(StatusCode::NOT_MODIFIED, "public, max-age=600", "")
        } else if path.starts_with("/film") {
            let mut response = page(StatusCode::OK, "public, max-age=600", "");
            *response.body_mut() = film();
            response
        } else {
            let text = format!("{path}, edition {edition}, made in {}\n", self.name);
            page(StatusCode::OK, "public, max-age=600", text)
        };
        if let Ok(tag) = tag.parse() {
            response.headers_mut().insert(ETAG, tag);
        }
        response
    }

    fn count(&self, path: &str) {
        let mut requests = self.requests.lock();
        if let Some(count) = requests.get_mut(path) {
            *count += 1;
        } else if requests.len() < COUNTED_PATHS_MAX {
            requests.insert(path.to_owned(), 1);
        }
    }
}

impl Handle for Shop {
    async fn handle(self: Arc<Self>, _: Arc<Client>, request: Request<Body>) -> Response<Body> {
        let mut response = self.answer(&request);
        if let Ok(name) = self.name.parse() {
            response.headers_mut().insert("x-origin", name);
        }
        response
    }
}

fn page(status: StatusCode, cache_control: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, http::HeaderValue::from_static(cache_control));
    let plain = http::HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(CONTENT_TYPE, plain);
    response
}

/// The bytes of the film, the same each time: piece after piece, at its pace.
fn film() -> Body {
    let pieces = stream::iter(0..FILM_PIECES).then(|number| async move {
        tokio::time::sleep(FILM_PACE).await;
        let letter = b'a' + u8::try_from(number % 26).unwrap_or(0);
        Ok(Frame::data(Bytes::from(vec![letter; FILM_PIECE_BYTES])))
    });
    Body::stream(StreamBody::new(pieces))
}

/// How long the film is, in bytes.
pub(super) const FILM_BYTES: usize = FILM_PIECES * FILM_PIECE_BYTES;

#[cfg(test)]
mod tests {
    use super::{FILM_BYTES, Shop, film};
    use crate::exchange::Body;
    use http::{Method, Request, StatusCode};
    use http_body_util::BodyExt;

    fn ask(shop: &Shop, method: Method, path: &str, known: Option<&str>) -> http::Response<Body> {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(known) = known {
            request = request.header("if-none-match", known);
        }
        shop.answer(&request.body(Body::Empty).expect("a request"))
    }

    #[tokio::test]
    async fn a_published_edition_changes_page_and_tag() {
        let shop = Shop::new("paris".to_owned());
        let first = ask(&shop, Method::GET, "/news", None);
        assert_eq!(first.headers()["etag"], "\"edition-1\"");
        let same = ask(&shop, Method::GET, "/news", Some("\"edition-1\""));
        assert_eq!(same.status(), StatusCode::NOT_MODIFIED);
        ask(&shop, Method::POST, "/.demo/publish", None);
        let second = ask(&shop, Method::GET, "/news", Some("\"edition-1\""));
        let body = second
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();
        assert_eq!(body, "/news, edition 2, made in paris\n");
        let counts = ask(&shop, Method::GET, "/.demo/requests", None);
        let counts = counts
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();
        assert_eq!(counts, "{\"/news\":3}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_film_has_the_length_it_should() {
        let bytes = film().collect().await.expect("a film").to_bytes();
        assert_eq!(bytes.len(), FILM_BYTES);
    }
}
