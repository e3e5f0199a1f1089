//! How many connections there are, in total and per client.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

/// Enough that two cores rarely meet in one.
const SHARDS: usize = 64;

/// Counts of all listeners of this node. Asked once per connection, never per request.
#[derive(Debug)]
pub(super) struct Census {
    total: AtomicUsize,
    total_max: usize,
    per_client_max: usize,
    /// As many entries as there are open connections, at most.
    clients: Box<[Mutex<HashMap<IpAddr, usize>>]>,
}

/// Which bound was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    Total,
    Client,
}

/// A counted connection; uncounted when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    census: Arc<Census>,
    client: Option<IpAddr>,
}

impl Census {
    pub(super) fn new(total_max: usize, per_client_max: usize) -> Self {
        Self {
            total: AtomicUsize::new(0),
            total_max,
            per_client_max,
            clients: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }

    /// Takes a seat for a connection from `client`; none: a proxy that stands for many clients.
    pub(super) fn enter(self: &Arc<Self>, client: Option<IpAddr>) -> Result<Seat, Full> {
        if self.total.fetch_add(1, Ordering::Relaxed) >= self.total_max {
            self.total.fetch_sub(1, Ordering::Relaxed);
            return Err(Full::Total);
        }
        // From here on the seat's drop gives back what was taken.
        let mut seat = Seat {
            census: Arc::clone(self),
            client: None,
        };
        if let Some(client) = client {
            seat.of(client)?;
        }
        Ok(seat)
    }

    fn shard(&self, client: IpAddr) -> &Mutex<HashMap<IpAddr, usize>> {
        // The last two bytes of a network differ most between clients; an attacker who picks them only meets himself.
        let low = match client {
            IpAddr::V4(v4) => u32::from(v4) as usize,
            IpAddr::V6(v6) => (v6.to_bits() >> 64) as usize,
        };
        &self.clients[low % SHARDS]
    }
}

impl Seat {
    /// Counts a seat that was taken for nobody as this client's.
    pub(super) fn of(&mut self, client: IpAddr) -> Result<(), Full> {
        let client = one_client(client);
        let mut clients = self.census.shard(client).lock();
        let count = clients.entry(client).or_default();
        if *count >= self.census.per_client_max {
            if *count == 0 {
                clients.remove(&client);
            }
            return Err(Full::Client);
        }
        *count += 1;
        drop(clients);
        self.client = Some(client);
        Ok(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.census.total.fetch_sub(1, Ordering::Relaxed);
        if let Some(client) = self.client {
            let mut clients = self.census.shard(client).lock();
            if let Some(count) = clients.get_mut(&client) {
                *count -= 1;
                if *count == 0 {
                    clients.remove(&client);
                }
            }
        }
    }
}

/// An IPv6 client is its /64: whoever has one address there has them all.
pub(super) fn one_client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_bounded_and_given_back() {
        let census = Arc::new(Census::new(3, 2));
        let client = |text: &str| Some(text.parse().unwrap());
        let first = census.enter(client("2001:db8::1")).unwrap();
        let _second = census.enter(client("2001:db8::2")).unwrap();
        assert_eq!(
            census.enter(client("2001:db8::3")).unwrap_err(),
            Full::Client
        );
        let third = census.enter(None).unwrap();
        assert_eq!(census.enter(client("192.0.2.1")).unwrap_err(), Full::Total);
        drop(first);
        let _fourth = census.enter(client("2001:db8::3")).unwrap();
        drop(third);
        let mut behind_a_proxy = census.enter(None).unwrap();
        let one = "2001:db8::4".parse().unwrap();
        assert_eq!(behind_a_proxy.of(one).unwrap_err(), Full::Client);
        behind_a_proxy.of("192.0.2.1".parse().unwrap()).unwrap();
        assert_eq!(census.total.load(Ordering::Relaxed), 3);
    }
}
