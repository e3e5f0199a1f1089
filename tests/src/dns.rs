//! Questions to a node's DNS, as a resolver near a client would ask them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, ensure};
use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// A resolver's first wait.
const PATIENCE: Duration = Duration::from_secs(2);
/// What we say we can take over UDP.
const PAYLOAD_BYTES: u16 = 1232;

/// One question.
#[derive(Clone, Debug)]
pub struct DnsRequest {
    name: String,
    kind: RecordType,
    client: Option<(IpAddr, u8)>,
    edns: bool,
}

/// One answer.
#[derive(Clone, Debug)]
pub struct DnsReply {
    /// All of it.
    pub message: Message,
    /// As it came, bytes.
    pub length: usize,
}

impl DnsRequest {
    /// Asks for `kind` of `name`.
    #[must_use]
    pub fn new(name: &str, kind: RecordType) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            client: None,
            edns: true,
        }
    }

    /// Asks for A.
    #[must_use]
    pub fn a(name: &str) -> Self {
        Self::new(name, RecordType::A)
    }

    /// On behalf of a client: its network as RFC 7871 recommends (/24, /56).
    #[must_use]
    pub fn from(mut self, client: IpAddr) -> Self {
        self.client = Some((client, if client.is_ipv4() { 24 } else { 56 }));
        self
    }

    /// As an old resolver would: without EDNS.
    #[must_use]
    pub fn plain(mut self) -> Self {
        self.edns = false;
        self
    }

    /// Asks over UDP.
    ///
    /// # Errors
    /// When nothing, or something else, comes back in time.
    pub async fn udp(&self, server: SocketAddr) -> anyhow::Result<DnsReply> {
        let (id, packet) = self.packet()?;
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        socket.connect(server).await?;
        socket.send(&packet).await?;
        let mut buffer = vec![0; 65_535];
        let length = tokio::time::timeout(PATIENCE, socket.recv(&mut buffer))
            .await
            .context("no answer over UDP")??;
        reply(id, &buffer[..length])
    }

    /// Asks over TCP.
    ///
    /// # Errors
    /// When nothing, or something else, comes back in time.
    pub async fn tcp(&self, server: SocketAddr) -> anyhow::Result<DnsReply> {
        let (id, packet) = self.packet()?;
        let exchange = async {
            let mut stream = TcpStream::connect(server).await?;
            let length = u16::try_from(packet.len())?;
            stream
                .write_all(&[&length.to_be_bytes()[..], &packet].concat())
                .await?;
            let length = stream.read_u16().await?;
            let mut buffer = vec![0; usize::from(length)];
            stream.read_exact(&mut buffer).await?;
            reply(id, &buffer)
        };
        tokio::time::timeout(PATIENCE, exchange)
            .await
            .context("no answer over TCP")?
    }

    fn packet(&self) -> anyhow::Result<(u16, Vec<u8>)> {
        let mut message = Message::query();
        let mut name = Name::from_ascii(&self.name)?;
        name.set_fqdn(true);
        message.add_query(Query::query(name, self.kind));
        if self.edns {
            let mut edns = Edns::new();
            edns.set_max_payload(PAYLOAD_BYTES);
            if let Some((address, prefix)) = self.client {
                let subnet = ClientSubnet::new(address, prefix, 0);
                edns.options_mut().insert(EdnsOption::Subnet(subnet));
            }
            message.set_edns(edns);
        }
        Ok((message.metadata.id, message.to_vec()?))
    }
}

fn reply(id: u16, bytes: &[u8]) -> anyhow::Result<DnsReply> {
    let message = Message::from_vec(bytes)?;
    ensure!(message.metadata.id == id, "an answer to another question");
    Ok(DnsReply {
        message,
        length: bytes.len(),
    })
}

impl DnsReply {
    /// A and AAAA in the answer section, in order.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.message
            .answers
            .iter()
            .filter_map(|record| match &record.data {
                RData::A(address) => Some(IpAddr::V4(address.0)),
                RData::AAAA(address) => Some(IpAddr::V6(address.0)),
                _ => None,
            })
            .collect()
    }

    /// The response code.
    #[must_use]
    pub fn code(&self) -> ResponseCode {
        self.message.metadata.response_code
    }

    /// The client subnet of the answer: its network, what was asked, and how far the answer holds.
    #[must_use]
    pub fn subnet(&self) -> Option<ClientSubnet> {
        match self.message.edns.as_ref()?.option(EdnsCode::Subnet)? {
            EdnsOption::Subnet(subnet) => Some(*subnet),
            _ => None,
        }
    }
}
