//! Scripted origins on loopback.

mod balance;
mod dns;
mod exchange;
mod expect;
mod failover;
mod health;
mod http2;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::Handle;

use super::fetch::Setup;
use super::*;
use crate::config::site::{HostHeader, Origin, OriginLimits, OriginProtocol, Site};
use crate::exchange::{Body, BodyError};
use crate::view::{View, Views};

/// What a scripted origin does with a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    /// Sends this and keeps the connection.
    Send(&'static str),
    /// Sends this and closes.
    SendAndClose(&'static str),
    /// Sends this and then nothing more.
    SendAndStall(&'static str),
}

pub(super) const OK: Act = Act::Send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
pub(super) const BUSY: Act =
    Act::Send("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy");
pub(super) const CLOSE: Act = Act::SendAndClose("");
pub(super) const STALL: Act = Act::SendAndStall("");

type Script = Arc<dyn Fn(usize, &str) -> Act + Send + Sync>;

/// A server that follows its script: given the number of the request, counted over all connections, and its text.
#[derive(Clone)]
pub(super) struct Scripted {
    pub(super) address: SocketAddr,
    pub(super) connections: Arc<AtomicUsize>,
    pub(super) requests: Arc<Mutex<Vec<String>>>,
    script: Script,
}

impl Scripted {
    pub(super) async fn new(script: impl Fn(usize, &str) -> Act + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1:0", script).await
    }

    pub(super) async fn at(
        address: &str,
        script: impl Fn(usize, &str) -> Act + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let origin = Self::idle(listener.local_addr().unwrap(), script);
        let accepting = origin.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                accepting.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(accepting.clone().converse(stream));
            }
        });
        origin
    }

    pub(super) fn idle(
        address: SocketAddr,
        script: impl Fn(usize, &str) -> Act + Send + Sync + 'static,
    ) -> Self {
        Self {
            address,
            connections: Arc::default(),
            requests: Arc::default(),
            script: Arc::new(script),
        }
    }

    pub(super) async fn converse(self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut received = Vec::new();
        loop {
            while !is_whole(&received) {
                match stream.read_buf(&mut received).await {
                    Ok(0) | Err(_) => return,
                    Ok(_) => {}
                }
            }
            let text = String::from_utf8_lossy(&std::mem::take(&mut received)).into_owned();
            let number = {
                let mut requests = self.requests.lock();
                requests.push(text.clone());
                requests.len() - 1
            };
            let (text, then) = match (self.script)(number, &text) {
                Act::Send(text) => (text, 0),
                Act::SendAndClose(text) => (text, 1),
                Act::SendAndStall(text) => (text, 2),
            };
            if stream.write_all(text.as_bytes()).await.is_err() {
                return;
            }
            match then {
                0 => {}
                1 => return,
                _ => std::future::pending::<()>().await,
            }
        }
    }

    pub(super) fn asked(&self) -> usize {
        self.requests.lock().len()
    }

    pub(super) fn last(&self) -> String {
        self.requests.lock().last().unwrap().clone()
    }
}

fn is_whole(received: &[u8]) -> bool {
    let text = String::from_utf8_lossy(received);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let head = head.to_lowercase();
    if head.contains("transfer-encoding: chunked") {
        return body.ends_with("0\r\n\r\n");
    }
    let length = head.split("content-length: ").nth(1);
    let length = length.map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
    body.len() >= length
}

/// An address where nobody listens.
pub(super) async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

pub(super) fn origin(name: &str, address: SocketAddr) -> Origin {
    Origin {
        name: name.into(),
        tls: false,
        host: address.ip().to_string().into(),
        port: address.port(),
        region: None,
        point: None,
        weight: 1,
        backup: false,
        protocol: OriginProtocol::Http1,
        limits: OriginLimits::default(),
        host_header: HostHeader::Client,
        health: None,
        tls_ca: None,
        connect_timeout: Duration::from_secs(2),
        response_timeout: Duration::from_millis(500),
    }
}

pub(super) fn site(origins: Vec<Origin>) -> Arc<Site> {
    Arc::new(Site {
        name: "shop".into(),
        hosts: vec!["shop.example".into()],
        origins,
        revision: 1,
        ..Site::default()
    })
}

pub(super) fn origins() -> Arc<Origins> {
    origins_beside(&[])
}

pub(super) fn origins_beside(listeners: &[SocketAddr]) -> Arc<Origins> {
    let setup = Setup {
        region: "eu".to_owned(),
        point: None,
        listeners: listeners.to_vec(),
        metrics: UpstreamMetrics::default(),
        secret: [7; 32],
    };
    Origins::new(setup, Arc::new(Views::default())).unwrap()
}

pub(super) fn request(method: Method, path: &str, body: Body) -> Request<Body> {
    let request = Request::builder().method(method).uri(path);
    request.header("host", "shop.example").body(body).unwrap()
}

/// Fetches and reads the body: `status body from origin`.
pub(super) async fn ask(origins: &Origins, site: &Arc<Site>, method: Method) -> String {
    let replay = Replay::of(&method);
    match origins
        .fetch(site, request(method, "/x", Body::Empty), replay)
        .await
    {
        Ok(answer) => {
            let status = answer.response.status();
            let body = answer
                .response
                .into_body()
                .collect()
                .await
                .unwrap()
                .to_bytes();
            let body = String::from_utf8(body.to_vec()).unwrap();
            format!("{} {body} from {}", status.as_u16(), answer.origin)
        }
        Err(error) => format!("{error}"),
    }
}

/// Polls a fact until it holds.
pub(super) async fn eventually(what: &str, mut fact: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !fact().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
