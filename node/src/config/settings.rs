//! The node file, checked and complete.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use nearside_geo::Point;

/// Everything the program needs to know before it binds a port.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `[node] name`.
    pub name: String,
    /// `[node] region`.
    pub region: String,
    /// `[node] latitude`, `longitude`.
    pub point: Option<Point>,
    /// Listeners.
    pub listen: Listen,
    /// What others are told of us.
    pub advertise: Advertise,
    /// The cluster.
    pub cluster: ClusterSettings,
    /// `[peer.route]`: node name → address to dial in place of the one it advertises.
    pub peer_route: BTreeMap<String, String>,
    /// `[data] dir`.
    pub data_dir: PathBuf,
    /// `[data] secrets`: files that sites name.
    pub secrets_dir: PathBuf,
    /// The cache.
    pub cache: CacheBounds,
    /// `[certificates.NAME]`: chain and key files.
    pub certificates: BTreeMap<String, CertificateFiles>,
    /// `[geo] databases`; empty: the embedded one.
    pub geo_databases: Vec<PathBuf>,
    /// `[admin] token_file`: the token that the admin API wants over TCP.
    pub admin_token_file: Option<PathBuf>,
    /// `[log]`.
    pub log: LogSettings,
    /// `[limits]`.
    pub limits: Limits,
}

/// Sockets to bind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listen {
    /// Plain HTTP/1.1.
    pub http: Vec<SocketAddr>,
    /// HTTP/1.1 and HTTP/2 over TLS.
    pub https: Vec<SocketAddr>,
    /// DNS, UDP and TCP on each.
    pub dns: Vec<SocketAddr>,
    /// Other nodes.
    pub peer: Vec<SocketAddr>,
    /// The admin API.
    pub admin: Vec<AdminAddress>,
    /// `/metrics`.
    pub metrics: Vec<SocketAddr>,
    /// Whose word about their clients is believed: forwarding fields, and the PROXY protocol.
    pub trusted_proxies: Vec<IpNet>,
    /// Connections from `trusted_proxies` begin with a PROXY header.
    pub proxy_protocol: bool,
}

/// Where the admin API listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// A Unix socket, mode 0600; no token.
    Unix(PathBuf),
    /// TCP; a token on every request.
    Tcp(SocketAddr),
}

/// What others are told of us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advertise {
    /// A answers.
    pub ipv4: Option<Ipv4Addr>,
    /// AAAA answers.
    pub ipv6: Option<Ipv6Addr>,
    /// `host:port` of our peer listener.
    pub peer: Option<String>,
}

/// `[cluster]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSettings {
    /// `host:port` of members to join through.
    pub join: Vec<String>,
    /// Raft's clock.
    pub timing: Timing,
}

/// How patient Raft is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timing {
    /// Heartbeat 300 ms, election 0.8–1.4 s.
    #[default]
    Regional,
    /// Heartbeat 1 s, election 2.5–4 s.
    Global,
}

/// `[cache]`, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheBounds {
    /// Folder of the disk tier.
    pub dir: PathBuf,
    /// Bound of the memory tier.
    pub memory_max_bytes: u64,
    /// Bound of the folder.
    pub disk_max_bytes: u64,
    /// What is kept free for others.
    pub disk_free_min_bytes: u64,
}

/// A certificate on this node's disk (PEM).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// Leaf first.
    pub chain: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// System log: `error`, `warn`, `info`, `debug`, `trace`, or a filter in `tracing`'s syntax.
    pub level: String,
    /// Where access lines go; none: nowhere.
    pub access: AccessLog,
}

/// Access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// Not written.
    Off,
    /// JSON lines to standard output.
    Json,
    /// One short human line per request (terminals).
    Human,
}

/// `[limits]`: each with a default that a careful operator would pick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Client connections at once, all listeners of this node together.
    pub connections: usize,
    /// Client connections at once from one address (IPv6: one /64).
    pub connections_per_client: usize,
    /// Whole head of a request, bytes.
    pub header_bytes: usize,
    /// Fields in a request's head.
    pub header_fields: usize,
    /// Body of a request, bytes.
    pub body_bytes: u64,
    /// From the first byte of a head to its end; also an idle keep-alive connection's TLS handshake.
    pub head_timeout: Duration,
    /// Between requests on a kept-alive connection.
    pub idle_timeout: Duration,
    /// Longest wait for the next piece of a request body, or for the client to take the next piece of a response.
    pub progress_timeout: Duration,
    /// HTTP/2 streams at once per connection.
    pub h2_streams: u32,
    /// HTTP/2 resets by the client that are tolerated before the connection ends.
    pub h2_resets: usize,
    /// WebSocket connections at once.
    pub tunnels: usize,
    /// Longest time in which nothing passes a WebSocket connection, either way.
    pub tunnel_idle_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            connections_per_client: 256,
            header_bytes: 32 * 1024,
            header_fields: 100,
            body_bytes: 1 << 30,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            progress_timeout: Duration::from_secs(30),
            h2_streams: 128,
            h2_resets: 64,
            tunnels: 10_000,
            tunnel_idle_timeout: Duration::from_secs(300),
        }
    }
}
