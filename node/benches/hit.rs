//! What a hit in memory costs, and of what: the key, the lookup, freshness, the shortest way from a plain head to the
//! bytes of an answer (`at-once`), and the whole from request to response (where `head` is a hit without a body, and
//! `not-modified` one without its fields).
//!
//! `cargo bench -p nearside-node --bench hit`. Times are of the machine; `docs/decisions/0700` has instructions.

use std::hint::black_box;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderValue, Method, Request, Response};
use http_body_util::BodyExt as _;
use nearside_cache_store::{Options, Store};
use nearside_node::config::site::Site;
use nearside_node::config::site_file;
use nearside_node::exchange::{Body, Client, Handle, PlainHead, RawField};
use nearside_node::observe::access::AccessLog;
use nearside_node::protect::{Protect, ProtectMetrics};
use nearside_node::proxy::key::{Authority, Target, primary};
use nearside_node::proxy::{Answer, HttpMeta, Parts, Proxy, ProxyMetrics, Unanswered, Upstream};
use nearside_node::view::{PurgeBook, View, Views};
use prometheus_client::registry::Registry;

/// Answers once per object; after that the cache does.
struct Origin;

#[async_trait]
impl Upstream for Origin {
    async fn fetch(&self, _: &Arc<Site>, _: Request<Body>) -> Result<Answer, Unanswered> {
        let mut response = Response::new(Body::from("x".repeat(1024)));
        for (name, value) in [
            ("server", "origin"),
            ("content-type", "application/octet-stream"),
            ("cache-control", "public, max-age=86400"),
            ("etag", "\"5f3e-400\""),
            ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ] {
            let value = HeaderValue::from_static(value);
            response.headers_mut().insert(name, value);
        }
        Ok(Answer {
            response,
            origin: "origin".into(),
        })
    }
}

fn request(method: &Method, fields: &[(&'static str, &'static str)]) -> Request<Body> {
    let mut request = Request::new(Body::Empty);
    *request.method_mut() = method.clone();
    *request.uri_mut() = http::Uri::from_static("/assets/app.js?v=17");
    let host = HeaderValue::from_static("shop.example");
    request.headers_mut().insert("host", host);
    for (name, value) in fields {
        let value = HeaderValue::from_static(value);
        request.headers_mut().insert(*name, value);
    }
    request
}

fn client() -> Arc<Client> {
    Arc::new(Client {
        address: [192, 0, 2, 1].into(),
        socket: ([192, 0, 2, 1], 4000).into(),
        local: ([127, 0, 0, 1], 80).into(),
        tls: false,
        server_name: None,
        interim: None,
    })
}

fn proxy(store: &Store<HttpMeta>, site: &Arc<Site>, fills: tokio::runtime::Handle) -> Arc<Proxy> {
    let view = View::new(1, vec![Arc::clone(site)], Vec::new(), Vec::new());
    let mut registry = Registry::default();
    Arc::new(Proxy::new(Parts {
        node: "lon1".into(),
        cdn_id: "nearside-bench".into(),
        https_port: 443,
        views: Arc::new(Views::new(view)),
        purges: Arc::<PurgeBook>::default(),
        store: store.clone(),
        upstream: Arc::new(Origin),
        neighbours: Arc::new(nearside_node::proxy::Alone),
        protect: Arc::new(Protect::new(
            Arc::new(|_| None),
            ProtectMetrics::register(&mut registry),
        )),
        secrets: nearside_node::proxy::Secrets::new("secrets".into()),
        fills,
        fills_max: 16,
        metrics: ProxyMetrics::register(&mut registry),
        access: AccessLog::off(),
    }))
}

fn hit(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options::new(folder.path(), 64 << 20, 256 << 20);
    let store = Store::open(options, [0; 24]).expect("a store");
    let text =
        "name = \"shop\"\nhosts = [\"shop.example\"]\n[[origin]]\nurl = \"http://127.0.0.1:1\"\n";
    let site = Arc::new(site_file::parse(text, "bench").expect("a site"));
    let proxy = proxy(&store, &site, runtime.handle().clone());
    let client = client();
    let answer = |request| Arc::clone(&proxy).handle(Arc::clone(&client), request);
    runtime.block_on(async {
        let first = answer(request(&Method::GET, &[])).await;
        first.into_body().collect().await.expect("a body");
    });

    let uri = http::Uri::from_static("/assets/app.js?v=17");
    let key = || {
        let authority = Authority::parse("shop.example", false).expect("an authority");
        let target = Target::normalise(&uri, &site.rules).expect("a target");
        primary(&site.name, false, &authority, &target, &[])
    };
    criterion.bench_function("key", |bencher| bencher.iter(|| black_box(key())));
    let whole = key();
    criterion.bench_function("lookup", |bencher| {
        bencher.iter(|| black_box(store.peek_whole(black_box(&whole))).expect("an entry"));
    });
    let entry = store.peek_whole(&whole).expect("an entry");
    criterion.bench_function("freshness", |bencher| {
        let (meta, policy) = (entry.meta(), site.rules.base());
        bencher.iter(|| {
            let now = SystemTime::now();
            let left_s = meta.freshness.ttl_s(meta.status, policy, now);
            black_box((left_s, meta.freshness.age_s(now)))
        });
    });
    // Head writing and all that comes before it, of a plain request: the shortest way to a hit.
    for (name, fields) in [
        ("at-once", &[][..]),
        (
            "at-once-not-modified",
            &[RawField {
                name: "If-None-Match",
                value: b"\"5f3e-400\"",
            }],
        ),
    ] {
        let head = PlainHead {
            target: "/assets/app.js?v=17",
            host: "shop.example",
            fields,
        };
        let mut out = Vec::new();
        criterion.bench_function(&format!("hit/{name}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                proxy.at_once(&client, &head, &mut out).expect("a hit")
            });
        });
    }
    for (name, method, fields) in [
        ("whole", Method::GET, &[][..]),
        ("head", Method::HEAD, &[]),
        (
            "not-modified",
            Method::GET,
            &[("if-none-match", "\"5f3e-400\"")],
        ),
        ("range", Method::GET, &[("range", "bytes=0-99")]),
    ] {
        criterion.bench_function(&format!("hit/{name}"), |bencher| {
            bencher.iter(|| {
                let answer = answer(request(&method, fields));
                // Never pends: it is in memory.
                futures_util::FutureExt::now_or_never(answer).expect("a hit")
            });
        });
    }
}

criterion_group!(benches, hit);
criterion_main!(benches);
