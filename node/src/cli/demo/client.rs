//! The people of the demo: they ask a node's DNS for an address, in the name of a network, and follow it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsOption};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::plan::{HOST, Ports};

/// Longest wait for one DNS answer; a lost packet is asked for again.
const DNS_TIMEOUT: Duration = Duration::from_secs(1);
const DNS_TRIES: usize = 3;
/// Longest wait for one response.
const HTTP_TIMEOUT: Duration = Duration::from_secs(20);

/// Asks `server` for the addresses of `host`, as a resolver does for a client in `client`'s network (RFC 7871: a /24).
pub(super) async fn resolve(
    server: SocketAddr,
    host: &str,
    client: IpAddr,
) -> Result<Vec<Ipv4Addr>> {
    let mut last = None;
    for _ in 0..DNS_TRIES {
        match timeout(DNS_TIMEOUT, ask(server, host, client)).await {
            Ok(Ok(addresses)) => return Ok(addresses),
            Ok(Err(error)) => last = Some(error),
            Err(_) => last = Some(anyhow::anyhow!("no DNS answer from {server} in time")),
        }
    }
    Err(last.unwrap_or_else(|| anyhow::anyhow!("{server} was never asked")))
}

async fn ask(server: SocketAddr, host: &str, client: IpAddr) -> Result<Vec<Ipv4Addr>> {
    let (network, length) = match client {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            (IpAddr::V4(Ipv4Addr::new(a, b, c, 0)), 24)
        }
        IpAddr::V6(_) => (client, 128),
    };
    let mut edns = Edns::new();
    edns.set_max_payload(1232);
    edns.options_mut()
        .insert(EdnsOption::Subnet(ClientSubnet::new(network, length, 0)));
    let mut query = Message::query();
    let id = query.metadata.id;
    query.add_query(Query::query(
        Name::from_str(&format!("{host}."))?,
        RecordType::A,
    ));
    query.set_edns(edns);

    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    socket.connect(server).await?;
    socket.send(&query.to_vec()?).await?;
    let mut packet = vec![0; 1232];
    let length = socket
        .recv(&mut packet)
        .await
        .with_context(|| format!("nobody answers DNS at {server}"))?;
    let answer = Message::from_vec(&packet[..length])?;
    if answer.metadata.id != id {
        bail!("an answer to another question");
    }
    if answer.metadata.response_code != ResponseCode::NoError {
        bail!("{server} answers {}", answer.metadata.response_code);
    }
    let addresses = answer
        .answers
        .iter()
        .filter_map(|record| match record.data {
            RData::A(address) => Some(address.0),
            _ => None,
        });
    Ok(addresses.collect())
}

/// One response, read to its end.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) status: u16,
    /// Who answered, and how: the last entry of Cache-Status (RFC 9211).
    pub(super) cache_status: String,
    /// The origin that made the body, by its own word.
    pub(super) origin: String,
    pub(super) body: Bytes,
    /// From sending the request to the whole body.
    pub(super) took: Duration,
}

impl Fetched {
    /// True when the node had it.
    pub(super) fn is_hit(&self) -> bool {
        self.cache_status
            .split(';')
            .any(|parameter| parameter.trim() == "hit")
    }

    /// The body as text.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A client that believes what DNS told it: the site's host is at this one address. Each has connections of its own.
#[derive(Clone, Debug)]
pub(super) struct Web {
    client: reqwest::Client,
    port: u16,
}

impl Web {
    /// HTTPS to the node at `address`, trusting only the demo's authority.
    pub(super) fn to(address: Ipv4Addr, ports: Ports, ca_pem: &[u8]) -> Result<Self> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([reqwest::Certificate::from_pem(ca_pem)?])
            .resolve(HOST, SocketAddr::from((address, ports.https)))
            .timeout(HTTP_TIMEOUT)
            .build()?;
        Ok(Self {
            client,
            port: ports.https,
        })
    }

    /// GET of a path.
    pub(super) async fn get(&self, path: &str) -> Result<Fetched> {
        let start = Instant::now();
        let url = format!("https://{HOST}:{}{path}", self.port);
        let response = self.client.get(url).send().await?;
        let status = response.status().as_u16();
        let field = |name: &str| {
            let value = response.headers().get(name);
            value
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
                .to_owned()
        };
        let statuses = field("cache-status");
        let cache_status = statuses.rsplit(',').next().unwrap_or_default().trim();
        let (cache_status, origin) = (cache_status.to_owned(), field("x-origin"));
        let body = response.bytes().await?;
        Ok(Fetched {
            status,
            cache_status,
            origin,
            body,
            took: start.elapsed(),
        })
    }
}
