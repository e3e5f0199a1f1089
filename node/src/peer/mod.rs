//! What nodes ask of each other, over mutual TLS: actix-web answers, reqwest asks.
//!
//! ```text
//! POST /v1/member/{kind}     callers with a certificate of the cluster: Raft, liveness, forwarded changes, receipts
//! POST /v1/member/news       the same callers: what writes have made unusable there (see [`news`])
//! POST /v1/stranger/{kind}   callers without: hello (are you a member?) and join
//! GET  /hello                the same as hello, in JSON, for people and health checks
//! ```
//!
//! A node is called by the name in its certificate, `node-ID.CLUSTER.nearside`, whatever address is dialled: so TLS
//! itself checks that the right node answers, on every connection. In the other direction the server reads the
//! caller's id from its certificate and hands it to the cluster, which knows who is a member.
//!
//! # How to start, init, join and stop
//!
//! ```text
//! let peers = Arc::new(PeerClient::new(settings.peer_route.clone()));
//! let cluster = Cluster::start(options, peers, observer).await?;      // observer hears of the last state in here
//! let server = peer::serve(sockets, cluster.clone(), ear)?;           // std::net::TcpListeners, bound already
//! …  cluster.init().await? on `cluster init`, cluster.join(token).await? with a token (retry while Unavailable)
//! server.stop().await;                                                // no more questions from others
//! cluster.stop().await;
//! ```

mod client;
mod metrics;
mod news;
mod server;
#[cfg(test)]
mod tests;
mod tls;

pub use client::PeerClient;
pub use news::{Ear, Herald, NewsMetrics};
pub use server::{PeerServer, ServeError, serve};
pub use tls::TlsError;

/// Where members are asked; the kind follows.
const MEMBER_PATH: &str = "/v1/member/";
/// Where strangers ask; the kind follows.
const STRANGER_PATH: &str = "/v1/stranger/";
