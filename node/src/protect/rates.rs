//! How fast a client may ask: the generic cell rate algorithm, in a table that does not grow.
//!
//! Per client and site one number is kept: the time at which the client's bucket is full again ("theoretical arrival
//! time"). A client whose time has passed is like one that was never seen, so forgetting it changes nothing; that is
//! what makes room. When all clients in a shard are in debt, one of them is forgiven to make room: the table fails
//! open, bounded, and never refuses a client for the sake of others.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::config::site::Rate;

const SHARDS: usize = 64;
/// 65,536 clients in debt at once; some 5 MiB.
const PER_SHARD_MAX: usize = 1024;
/// A full shard is looked through at most this often.
const SWEEP_EVERY: Duration = Duration::from_millis(100);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    site: Box<str>,
    client: IpAddr,
}

#[derive(Debug, Default)]
struct Shard {
    /// Nanoseconds since `born` when the client's bucket is full again.
    full_at: HashMap<Key, u64>,
    swept_at: Option<Instant>,
}

/// The table of all sites' clients.
#[derive(Debug)]
pub(super) struct Rates {
    born: Instant,
    shards: Box<[Mutex<Shard>]>,
}

impl Rates {
    pub(super) fn new(born: Instant) -> Self {
        Self {
            born,
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }

    /// Counts one request.
    ///
    /// # Errors
    ///
    /// Too fast: how long until the next request would be let through. A refused request is not counted.
    pub(super) fn admit(
        &self,
        site: &str,
        client: IpAddr,
        rate: Rate,
        now: Instant,
    ) -> Result<(), Duration> {
        let client = one_client(client);
        let at = nanos(now.saturating_duration_since(self.born));
        let gap = (1e9 / rate.per_second.max(1e-6)).min(1e15) as u64;
        let depth = gap.saturating_mul(u64::from(rate.burst.max(1)));
        let mut shard = self.shards[shard_of(client)].lock();
        let key = Key {
            site: site.into(),
            client,
        };
        let known = shard.full_at.get_mut(&key);
        let full_at = known.as_deref().copied().unwrap_or(0).max(at) + gap;
        let over = full_at.saturating_sub(at + depth);
        if over > 0 {
            return Err(Duration::from_nanos(over));
        }
        match known {
            Some(known) => *known = full_at,
            None => {
                shard.make_room(at, now);
                shard.full_at.insert(key, full_at);
            }
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let shards = self.shards.iter();
        shards.map(|shard| shard.lock().full_at.len()).sum()
    }
}

impl Shard {
    fn make_room(&mut self, at: u64, now: Instant) {
        if self.full_at.len() < PER_SHARD_MAX {
            return;
        }
        let due = self
            .swept_at
            .is_none_or(|swept| now.saturating_duration_since(swept) >= SWEEP_EVERY);
        if due {
            self.full_at.retain(|_, full_at| *full_at > at);
            self.swept_at = Some(now);
        }
        if self.full_at.len() >= PER_SHARD_MAX
            && let Some(forgiven) = self.full_at.keys().next().cloned()
        {
            self.full_at.remove(&forgiven);
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 4)
}

/// An IPv6 client is its /64.
fn one_client(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        IpAddr::V4(_) => address,
    }
}

fn shard_of(client: IpAddr) -> usize {
    let low = match client {
        IpAddr::V4(v4) => u32::from(v4) as usize,
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as usize,
    };
    // Spreads neighbours, which often ask together.
    low.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        per_second: 10.0,
        burst: 3,
    };

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let born = Instant::now();
        let rates = Rates::new(born);
        let client: IpAddr = "192.0.2.1".parse().unwrap();
        let ask = |ms| rates.admit("shop", client, RATE, born + Duration::from_millis(ms));
        for _ in 0..3 {
            assert_eq!(ask(0), Ok(()));
        }
        assert_eq!(ask(0), Err(Duration::from_millis(100)));
        assert_eq!(ask(40), Err(Duration::from_millis(60)));
        assert_eq!(ask(100), Ok(()));
        assert!(ask(100).is_err());
        for _ in 0..3 {
            assert_eq!(ask(1000), Ok(()));
        }
        assert!(ask(1000).is_err());
        let other = "192.0.2.2".parse().unwrap();
        assert_eq!(rates.admit("shop", other, RATE, born), Ok(()));
        assert_eq!(rates.admit("blog", client, RATE, born), Ok(()));
    }

    #[test]
    fn an_ipv6_client_is_its_64() {
        let born = Instant::now();
        let rates = Rates::new(born);
        let ask = |text: &str| rates.admit("shop", text.parse().unwrap(), RATE, born);
        for n in 1..=3 {
            assert_eq!(ask(&format!("2001:db8::{n}")), Ok(()));
        }
        assert!(ask("2001:db8::4").is_err());
        assert_eq!(ask("2001:db8:0:1::4"), Ok(()));
    }

    #[test]
    fn the_table_does_not_grow_without_bound() {
        let born = Instant::now();
        let rates = Rates::new(born);
        let slow = Rate {
            per_second: 0.001,
            burst: 1,
        };
        for n in 0..200_000u32 {
            let client = IpAddr::V4(n.wrapping_mul(0x0101_0107).into());
            assert_eq!(rates.admit("shop", client, slow, born), Ok(()));
        }
        assert!(rates.len() <= SHARDS * PER_SHARD_MAX);
        assert!(rates.len() > SHARDS * PER_SHARD_MAX / 2);
    }
}
