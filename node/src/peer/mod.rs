//! stub
use nearside_cluster::*;
use std::collections::BTreeMap;
pub struct PeerClient;
impl PeerClient {
    pub fn new(_: BTreeMap<String, String>) -> Self {
        Self
    }
}
#[async_trait::async_trait]
impl Transport for PeerClient {
    async fn call(
        &self,
        t: &PeerAddress,
        _: PeerRequest,
        _: std::time::Duration,
    ) -> Result<bytes::Bytes, TransportError> {
        Err(TransportError::Unreachable {
            peer: t.name.clone(),
            why: "stub".into(),
        })
    }
    async fn call_as_stranger(
        &self,
        a: &str,
        _: Option<[u8; 32]>,
        _: StrangerKind,
        _: bytes::Bytes,
        _: std::time::Duration,
    ) -> Result<bytes::Bytes, TransportError> {
        Err(TransportError::Unreachable {
            peer: a.into(),
            why: "stub".into(),
        })
    }
}
pub struct PeerServer;
impl PeerServer {
    pub async fn stop(self) {}
}
pub fn serve(_: Vec<std::net::TcpListener>, _: Cluster) -> anyhow::Result<PeerServer> {
    Ok(PeerServer)
}
