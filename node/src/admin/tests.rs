//! The API over its real sockets, with a real cluster of one node behind it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use nearside_cluster::{
    Change, Cluster, NewMember, Observer, Options, PeerAddress, PeerRequest, State, StrangerKind,
    Timing, Transport, TransportError,
};
use nearside_geo::Atlas;
use prometheus_client::registry::Registry;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Control, Parts, Phase, Readiness, Server, Sockets, serve};
use crate::config::{node_file, site_file};
use crate::view::{Healthy, NodeView, View, Views};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A node that has no peers reaches none.
struct Alone;

#[async_trait]
impl Transport for Alone {
    async fn call(
        &self,
        target: &PeerAddress,
        _: PeerRequest,
        _: Duration,
    ) -> Result<Bytes, TransportError> {
        Err(nobody(&target.name))
    }

    async fn call_as_stranger(
        &self,
        address: &str,
        _: Option<[u8; 32]>,
        _: StrangerKind,
        _: Bytes,
        _: Duration,
    ) -> Result<Bytes, TransportError> {
        Err(nobody(address))
    }
}

fn nobody(peer: &str) -> TransportError {
    TransportError::Unreachable {
        peer: peer.to_owned(),
        why: "there is nobody else".to_owned(),
    }
}

/// Puts what was agreed into force, as the program does.
struct Compiler(Arc<Views>);

impl Observer for Compiler {
    fn restored(&self, state: &Arc<State>) {
        let sites = state.sites.values().map(|document| {
            let mut site = site_file::parse(&document.text, &document.name).unwrap();
            site.revision = document.revision;
            Arc::new(site)
        });
        let nodes = state.members.values().map(|member| NodeView {
            id: member.id.0,
            name: member.name.as_str().into(),
            region: member.region.as_str().into(),
            point: None,
            ipv4: member.ipv4,
            ipv6: member.ipv6,
            draining: member.draining,
        });
        let (sites, nodes) = (sites.collect(), nodes.collect());
        let view = View::new(state.applied, sites, Vec::new(), nodes);
        self.0.store(Arc::new(view));
    }

    fn applied(&self, _: u64, _: Option<&Change>, state: &Arc<State>) {
        self.restored(state);
    }
}

struct Node {
    folder: TempDir,
    cluster: Cluster,
    readiness: Arc<Readiness>,
    server: Server,
    tcp: SocketAddr,
}

impl Node {
    async fn start() -> Self {
        let _in_place = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        std::fs::write(&token, format!("{TOKEN}\n")).unwrap();
        let tcp = free_port();
        let text = format!(
            "[node]\nname = \"lon1\"\nregion = \"eu\"\n[listen]\nhttp = [\"127.0.0.1:8080\"]\n\
             admin = [\"unix:{0}/admin.sock\", \"{tcp}\"]\n[admin]\ntoken_file = \"{0}/token\"\n\
             [advertise]\nipv4 = \"127.0.0.1\"\n",
            folder.path().display()
        );
        let settings = Arc::new(node_file::parse(&text, "n.toml", []).unwrap());
        let views = Arc::new(Views::default());
        let options = Options {
            dir: folder.path().join("data"),
            member: NewMember {
                name: settings.name.clone(),
                region: settings.region.clone(),
                ipv4: settings.advertise.ipv4,
                peer: "127.0.0.1:7443".to_owned(),
                version: "test".to_owned(),
                ..NewMember::default()
            },
            join: Vec::new(),
            timing: Timing::REGIONAL,
        };
        let compiler = Arc::new(Compiler(Arc::clone(&views)));
        let cluster = Cluster::start(options, Arc::new(Alone), compiler).await;
        let cluster = cluster.unwrap();
        let healthy = Arc::new(Healthy::default());
        healthy.store(BTreeSet::from([1]));
        let readiness = Arc::new(Readiness::default());
        let control = Control::new(Parts {
            cluster: cluster.clone(),
            settings: Arc::clone(&settings),
            views,
            healthy,
            atlas: Arc::new(Atlas::embedded().unwrap()),
            readiness: Arc::clone(&readiness),
            proxy: Arc::default(),
            metrics: super::AdminMetrics::register(&mut Registry::default()),
        });
        let server = serve(Sockets::bind(&settings).unwrap(), &control).unwrap();
        Self {
            folder,
            cluster,
            readiness,
            server,
            tcp,
        }
    }

    /// One that made its cluster.
    async fn founder() -> Self {
        let node = Self::start().await;
        let (status, _) = node
            .send(Method::POST, "/api/v1/cluster/init", &json!({}))
            .await;
        assert_eq!(status, StatusCode::OK);
        node
    }

    async fn stop(self) {
        self.server.stop().await;
        self.cluster.stop().await;
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("admin.sock")
    }

    fn client(&self) -> Client {
        Client::builder()
            .no_proxy()
            .unix_socket(self.socket())
            .build()
            .unwrap()
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let response = self.client().get(url(path)).send().await.unwrap();
        (response.status(), body(response).await)
    }

    async fn send(&self, method: Method, path: &str, json: &Value) -> (StatusCode, Value) {
        let request = self.client().request(method, url(path)).json(json);
        let response = request.send().await.unwrap();
        (response.status(), body(response).await)
    }

    async fn apply(&self, texts: &[(&str, &str)]) -> (StatusCode, Value) {
        let documents: Vec<Value> = texts
            .iter()
            .map(|(file, text)| json!({ "file": file, "text": text }))
            .collect();
        let change = json!({ "documents": documents });
        self.send(Method::POST, "/api/v1/sites", &change).await
    }
}

fn free_port() -> SocketAddr {
    let probe = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    probe.local_addr().unwrap()
}

fn url(path: &str) -> String {
    format!("http://localhost{path}")
}

async fn body(response: reqwest::Response) -> Value {
    let bytes = response.bytes().await.unwrap();
    serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()))
}

fn site(name: &str, host: &str) -> String {
    format!(
        "name = \"{name}\"\nhosts = [\"{host}\"]\n[[origin]]\nurl = \"http://127.0.0.1:9000\"\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_alive_at_once_and_ready_once_it_serves() {
    let node = Node::start().await;
    assert_eq!(node.get("/healthz").await.0, StatusCode::OK);
    let (status, why) = node.get("/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(why, "not ready: starting\n");
    node.readiness.enter(Phase::Serving);
    assert_eq!(node.get("/readyz").await.1, "not ready: no view\n");
    let (_, said) = node.get("/api/v1/status").await;
    assert_eq!(
        (&said["role"], &said["name"]),
        (&json!("outside"), &json!("lon1"))
    );
    let (status, refused) = node.apply(&[("a.toml", &site("a", "a.example"))]).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(
        refused["detail"]
            .as_str()
            .unwrap()
            .contains("`nearside cluster init`")
    );

    let (status, _) = node
        .send(Method::POST, "/api/v1/cluster/init", &json!({}))
        .await;
    assert_eq!(status, StatusCode::OK);
    let (status, again) = node
        .send(Method::POST, "/api/v1/cluster/init", &json!({}))
        .await;
    assert_eq!(status, StatusCode::CONFLICT, "{again}");
    assert_eq!(node.get("/readyz").await.0, StatusCode::OK);
    let (_, members) = node.get("/api/v1/members").await;
    assert_eq!(members["members"][0]["name"], "lon1");
    assert_eq!(members["members"][0]["ipv4"], "127.0.0.1");
    node.readiness.enter(Phase::Draining);
    assert_eq!(node.get("/readyz").await.1, "not ready: draining\n");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sites_are_applied_together_or_not_at_all() {
    let node = Node::founder().await;
    let (a, b) = (site("a", "a.example"), site("b", "b.example"));
    let wrong = b.replace("hosts", "hots");
    let (status, refused) = node.apply(&[("a.toml", &a), ("b.toml", &wrong)]).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        refused["detail"],
        "b.toml:2: unknown key `hots`; did you mean `hosts`?"
    );
    assert_eq!(node.get("/api/v1/sites").await.1["documents"], json!([]));

    let same_host = site("b", "a.example");
    let (status, refused) = node.apply(&[("a.toml", &a), ("b.toml", &same_host)]).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        refused["detail"]
            .as_str()
            .unwrap()
            .starts_with("b.toml: the host a.example")
    );

    let (status, written) = node.apply(&[("a.toml", &a), ("b.toml", &b)]).await;
    assert_eq!(status, StatusCode::OK, "{written}");
    assert_eq!(written["names"], json!(["a", "b"]));
    assert_eq!(written["receipts"][0]["outcome"], "applied");
    assert_eq!(written["missing"], json!([]));
    let (status, refused) = node.apply(&[("c.toml", &site("c", "a.example"))]).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(refused["detail"].as_str().unwrap().contains("a.example"));
    let own = site("d", "d.example").replace("9000", "8080");
    let (_, refused) = node.apply(&[("d.toml", &own)]).await;
    assert_eq!(
        refused["detail"],
        "d.toml: the origin 127.0.0.1:8080 is this node's own listener; name the server behind it"
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_is_changed_only_at_the_revision_it_was_read_at() {
    let node = Node::founder().await;
    node.apply(&[("a.toml", &site("a", "a.example"))]).await;
    let response = node
        .client()
        .get(url("/api/v1/sites/a"))
        .send()
        .await
        .unwrap();
    let tag = response.headers()["etag"].clone();
    let put = |tag: &str, text: &str| {
        node.client()
            .put(url("/api/v1/sites/a"))
            .header("If-Match", tag)
            .json(&json!({ "text": text }))
            .send()
    };
    let changed = put(tag.to_str().unwrap(), &site("a", "new.example"))
        .await
        .unwrap();
    assert_eq!(changed.status(), StatusCode::OK);
    let late = put(tag.to_str().unwrap(), &site("a", "late.example"))
        .await
        .unwrap();
    assert_eq!(late.status(), StatusCode::PRECONDITION_FAILED);
    assert_eq!(late.headers()["content-type"], "application/problem+json");
    let other = put("*", &site("b", "b.example")).await.unwrap();
    assert_eq!(other.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let (_, now) = node.get("/api/v1/sites/a").await;
    assert_eq!(now["hosts"], json!(["new.example"]));
    let (status, _) = node
        .send(Method::DELETE, "/api/v1/sites/a", &json!({}))
        .await;
    assert_eq!(status, StatusCode::OK);
    let (status, gone) = node.get("/api/v1/sites/a").await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{gone}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_says_who_applied_it_and_when() {
    let node = Node::founder().await;
    let text = site("a", "a.example") + "[cache]\nkey = { query_drop = [\"utm_*\"] }\n";
    node.apply(&[("a.toml", &text)]).await;
    let purge = async |request: Value| node.send(Method::POST, "/api/v1/purges", &request).await;
    let (status, purged) =
        purge(json!({ "url": "https://A.example/x/../y?utm_source=x&q=1#top" })).await;
    assert_eq!(status, StatusCode::OK, "{purged}");
    assert_eq!(purged["url"], "a.example/y?q=1");
    assert_eq!(purged["receipts"][0]["node"], "lon1");
    assert!(purged["receipts"][0]["ms"].as_f64().unwrap() > 0.0);
    let (_, all) = purge(json!({ "site": "a", "options": { "wait": "committed" } })).await;
    assert!(all["index"].as_u64() > purged["index"].as_u64());
    assert_eq!(all["receipts"], json!([]));
    assert_eq!(
        purge(json!({ "url": "https://b.example/" })).await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        purge(json!({ "site": "nosuch" })).await.0,
        StatusCode::NOT_FOUND
    );
    let (_, tagged) = purge(json!({ "site": "a", "tag": " article-7 ", "soft": true })).await;
    assert_eq!(tagged["tag"], "article-7", "{tagged}");
    assert!(tagged["soft"] == true && tagged["url"].is_null() && tagged["prefix"].is_null());
    let (_, begun) = purge(json!({ "site": "a", "prefix": "A.example/%7ex/" })).await;
    assert_eq!(begun["prefix"], "a.example/~x/", "{begun}");
    for wrong in [
        json!({ "site": "a", "prefix": "blog" }),
        json!({ "site": "a", "prefix": "/blog/*" }),
        json!({ "site": "a", "tag": " " }),
        json!({ "site": "a", "tag": "x", "prefix": "/" }),
        json!({ "url": "https://a.example/", "tag": "x" }),
    ] {
        let (status, said) = purge(wrong.clone()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{wrong} {said}");
    }
    assert_eq!(purge(json!({})).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(
        purge(json!({ "tag": "x" })).await.0,
        StatusCode::BAD_REQUEST
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn join_tokens_are_shown_once_and_can_be_revoked() {
    let node = Node::founder().await;
    let (status, made) = node
        .send(Method::POST, "/api/v1/join-tokens", &json!({ "uses": 2 }))
        .await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let secret = made["token"].as_str().unwrap();
    let (_, list) = node.get("/api/v1/join-tokens").await;
    assert_eq!(list["tokens"][0]["uses_left"], 2);
    assert!(!list.to_string().contains(secret));
    let path = format!(
        "/api/v1/join-tokens/{}",
        list["tokens"][0]["id"].as_str().unwrap()
    );
    assert_eq!(
        node.send(Method::DELETE, &path, &json!({})).await.0,
        StatusCode::OK
    );
    assert_eq!(
        node.send(Method::DELETE, &path, &json!({})).await.0,
        StatusCode::NOT_FOUND
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_and_places_come_with_reasons() {
    let node = Node::founder().await;
    let (status, route) = node.get("/api/v1/route?address=81.2.69.160").await;
    assert_eq!(status, StatusCode::OK, "{route}");
    assert_eq!(route["nodes"][0]["name"], "lon1");
    assert_eq!(route["place"]["country"], "GB");
    let (_, place) = node.get("/api/v1/geo?address=81.2.69.160").await;
    assert_eq!(place["country"], "GB");
    assert_eq!(
        node.get("/api/v1/geo?address=here").await.0,
        StatusCode::BAD_REQUEST
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_page_cannot_use_the_api() {
    let node = Node::start().await;
    let simple = node.client().post(url("/api/v1/cluster/init")).body("{}");
    let simple = simple.send().await.unwrap();
    assert_eq!(simple.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let crossed = node.client().get(url("/api/v1/status"));
    let crossed = crossed.header("Origin", "https://evil.example");
    assert_eq!(
        crossed.send().await.unwrap().status(),
        StatusCode::FORBIDDEN
    );
    assert_eq!(node.get("/api/v2/status").await.0, StatusCode::NOT_FOUND);

    let http = Client::builder().no_proxy().build().unwrap();
    let asked = |path: &str| http.get(format!("http://{}{path}", node.tcp));
    let status = async |request: reqwest::RequestBuilder| request.send().await.unwrap().status();
    assert_eq!(status(asked("/healthz")).await, StatusCode::OK);
    assert_eq!(
        status(asked("/api/v1/status")).await,
        StatusCode::UNAUTHORIZED
    );
    let known = asked("/api/v1/status").bearer_auth(TOKEN);
    assert_eq!(status(known).await, StatusCode::OK);
    let wrong = asked("/api/v1/status").bearer_auth(TOKEN.replace('0', "1"));
    assert_eq!(status(wrong).await, StatusCode::UNAUTHORIZED);
    let rebound = asked("/api/v1/status").bearer_auth(TOKEN);
    let rebound = rebound.header("Host", "evil.example");
    assert_eq!(status(rebound).await, StatusCode::FORBIDDEN);
    node.stop().await;
}
