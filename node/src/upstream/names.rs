//! From an origin's name to the addresses that may be dialled, for as long as DNS says.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use hickory_resolver::config::{LookupIpStrategy, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{ResolverBuilder, TokioResolver};
use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::error::UpstreamErrorKind;
use crate::config::site::forbidden_origin_address;

/// DNS says shorter: this. Otherwise a TTL of 0 would cost a query per connection.
const TTL_MIN: Duration = Duration::from_secs(1);
/// DNS says longer, or the address is literal: this.
const TTL_MAX: Duration = Duration::from_secs(3600);
/// How long the last good answer serves before DNS is asked again, when DNS does not answer.
const TTL_AFTER_FAILURE: Duration = Duration::from_secs(5);
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);
const QUERY_ATTEMPTS: usize = 2;
/// Names whose last answer is remembered. More than any cluster has origins; when full, new ones are not remembered.
const REMEMBERED_MAX: usize = 4096;

/// Where a name leads, until when.
#[derive(Clone, Debug)]
pub(super) struct Route {
    /// At least one; IPv4 before IPv6.
    pub(super) addresses: Vec<IpAddr>,
    pub(super) valid_until: Instant,
}

/// The resolver, shared by all runtimes.
///
/// Its sockets belong to the runtime it was made on, so lookups run there wherever they are asked.
pub(super) struct Names {
    resolver: TokioResolver,
    home: Handle,
    listeners: Vec<SocketAddr>,
    /// What a name last resolved to, for when DNS does not answer.
    last_good: Mutex<HashMap<Box<str>, Vec<IpAddr>>>,
}

impl Names {
    /// A resolver with the system's configuration. `listeners`: ours, which no origin may be.
    pub(super) fn new(home: Handle, listeners: Vec<SocketAddr>) -> Result<Self, NetError> {
        let builder = TokioResolver::builder_tokio().unwrap_or_else(|error| {
            tracing::warn!(%error, "no usable resolver configuration, only addresses and the hosts file resolve");
            let nobody = ResolverConfig::from_parts(None, Vec::new(), Vec::new());
            TokioResolver::builder_with_config(nobody, TokioRuntimeProvider::default())
        });
        Self::with(builder, home, listeners)
    }

    /// A resolver with another configuration.
    pub(super) fn with(
        mut builder: ResolverBuilder<TokioRuntimeProvider>,
        home: Handle,
        listeners: Vec<SocketAddr>,
    ) -> Result<Self, NetError> {
        let options: &mut ResolverOpts = builder.options_mut();
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.timeout = QUERY_TIMEOUT;
        options.attempts = QUERY_ATTEMPTS;
        Ok(Self {
            resolver: builder.build()?,
            home,
            listeners,
            last_good: Mutex::default(),
        })
    }

    /// The addresses of `host` that may be dialled at `port`.
    pub(super) async fn resolve(&self, host: &str, port: u16) -> Result<Route, UpstreamErrorKind> {
        let now = Instant::now();
        let mut route = match literal(host) {
            Some(addresses) => Route {
                addresses,
                valid_until: now + TTL_MAX,
            },
            None => self.look_up(host, now).await?,
        };
        route
            .addresses
            .retain(|address| !self.is_forbidden(*address, port));
        if route.addresses.is_empty() {
            return Err(UpstreamErrorKind::Forbidden);
        }
        Ok(route)
    }

    async fn look_up(&self, host: &str, now: Instant) -> Result<Route, UpstreamErrorKind> {
        let (resolver, name) = (self.resolver.clone(), host.to_owned());
        let lookup = self
            .home
            .spawn(async move { resolver.lookup_ip(name).await })
            .await;
        let error = match lookup {
            Ok(Ok(found)) => {
                let addresses: Vec<IpAddr> = found.iter().collect();
                if !addresses.is_empty() {
                    self.remember(host, &addresses);
                    let valid_until = found.valid_until().clamp(now + TTL_MIN, now + TTL_MAX);
                    return Ok(Route {
                        addresses,
                        valid_until,
                    });
                }
                return Err(UpstreamErrorKind::Resolve);
            }
            // DNS answered that there is nothing: believed.
            Ok(Err(error)) if error.is_nx_domain() || error.is_no_records_found() => {
                tracing::warn!(name = host, %error, "an origin's name does not resolve");
                return Err(UpstreamErrorKind::Resolve);
            }
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        let known = self.last_good.lock().get(host).cloned();
        tracing::warn!(
            name = host,
            error,
            known = known.is_some(),
            "dns does not answer for an origin"
        );
        let addresses = known.ok_or(UpstreamErrorKind::Resolve)?;
        Ok(Route {
            addresses,
            valid_until: now + TTL_AFTER_FAILURE,
        })
    }

    fn remember(&self, host: &str, addresses: &[IpAddr]) {
        let mut last_good = self.last_good.lock();
        if let Some(known) = last_good.get_mut(host) {
            known.clear();
            known.extend_from_slice(addresses);
        } else if last_good.len() < REMEMBERED_MAX {
            last_good.insert(host.into(), addresses.to_vec());
        }
    }

    /// Link-local and the like, and our own listeners: an origin there would be a loop.
    fn is_forbidden(&self, address: IpAddr, port: u16) -> bool {
        let address = address.to_canonical();
        forbidden_origin_address(address)
            || self.listeners.iter().any(|listener| {
                let own = listener.ip().to_canonical();
                listener.port() == port
                    && (own == address
                        || (own.is_unspecified()
                            && own.is_ipv4() == address.is_ipv4()
                            && is_ours(address)))
            })
    }
}

/// Addresses that need no DNS: literal ones, and `localhost` (RFC 6761 §6.3).
fn literal(host: &str) -> Option<Vec<IpAddr>> {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Some(vec![address]);
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let local = name.eq_ignore_ascii_case("localhost")
        || name
            .len()
            .checked_sub(".localhost".len())
            .and_then(|at| name.get(at..))
            .is_some_and(|end| end.eq_ignore_ascii_case(".localhost"));
    local.then(|| vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
}

/// Is this an address of this machine? The system lets a socket be bound to those only.
fn is_ours(address: IpAddr) -> bool {
    address.is_loopback() || UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(listeners: &[&str]) -> Names {
        let nobody = ResolverConfig::from_parts(None, Vec::new(), Vec::new());
        let builder = TokioResolver::builder_with_config(nobody, TokioRuntimeProvider::default());
        let listeners = listeners.iter().map(|text| text.parse().unwrap()).collect();
        Names::with(builder, Handle::current(), listeners).unwrap()
    }

    #[tokio::test]
    async fn addresses_and_localhost_need_no_dns() {
        let names = names(&[]);
        let resolve = async |host: &str| names.resolve(host, 80).await.map(|route| route.addresses);
        let localhost: Vec<IpAddr> = vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
        assert_eq!(resolve("localhost").await.unwrap(), localhost);
        assert_eq!(resolve("app.LocalHost.").await.unwrap(), localhost);
        assert_eq!(resolve("[::1]").await.unwrap(), localhost[1..]);
        assert!(matches!(
            resolve("nowhere.test").await,
            Err(UpstreamErrorKind::Resolve)
        ));
    }

    #[tokio::test]
    async fn no_origin_is_link_local_or_ourselves() {
        let names = names(&["127.0.0.2:8080", "0.0.0.0:80", "[::]:443"]);
        let forbidden = async |host: &str, port| {
            matches!(
                names.resolve(host, port).await,
                Err(UpstreamErrorKind::Forbidden)
            )
        };
        assert!(forbidden("169.254.169.254", 80).await);
        assert!(forbidden("::ffff:169.254.169.254", 80).await);
        assert!(forbidden("fe80::1", 80).await);
        assert!(forbidden("127.0.0.2", 8080).await);
        assert!(!forbidden("127.0.0.3", 8080).await);
        assert!(forbidden("127.0.0.3", 80).await);
        assert!(!forbidden("192.0.2.1", 80).await);
        assert!(forbidden("::1", 443).await);
        assert!(!forbidden("127.0.0.1", 443).await);
        // Where a name has several addresses, the good ones stay.
        let route = names.resolve("localhost", 443).await.unwrap();
        assert_eq!(route.addresses, ["127.0.0.1".parse::<IpAddr>().unwrap()]);
    }
}
