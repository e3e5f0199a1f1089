//! One site's counters: a stripe per worker, added up when they are read.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::super::outcome::{LABELS, Outcome};

/// Upper bounds, in nanoseconds; from a hit in memory to an origin far away. Beyond the last is one bucket more.
const BUCKETS_NS: [u64; 12] = [
    100_000,
    500_000,
    1_000_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    1_000_000_000,
    5_000_000_000,
    30_000_000_000,
];

/// More threads than this share stripes, and still take no lock.
const STRIPES: usize = 8;

/// A worker's share, on cache lines that it does not share (128 bytes: they are fetched in pairs).
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe {
    requests: [AtomicU64; LABELS.len()],
    bytes: [AtomicU64; LABELS.len()],
    first_byte_ns: AtomicU64,
    buckets: [AtomicU64; BUCKETS_NS.len() + 1],
}

/// Counters of one site.
#[derive(Debug, Default)]
pub(in crate::proxy) struct SiteMetrics {
    stripes: [Stripe; STRIPES],
}

/// What was counted so far.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) requests: [u64; LABELS.len()],
    pub(super) bytes: [u64; LABELS.len()],
    first_byte_ns: u64,
    buckets: [u64; BUCKETS_NS.len() + 1],
}

/// The calling thread's stripe: threads take turns when they first count.
fn own_stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES;
    }
    OWN.with(|own| *own)
}

impl SiteMetrics {
    /// A response head is on its way.
    pub(in crate::proxy) fn answered(&self, outcome: Outcome, first_byte: Duration) {
        let stripe = &self.stripes[own_stripe()];
        stripe.requests[outcome.index()].fetch_add(1, Ordering::Relaxed);
        let ns = u64::try_from(first_byte.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_NS
            .iter()
            .position(|bound| ns <= *bound)
            .unwrap_or(BUCKETS_NS.len());
        stripe.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        stripe.first_byte_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// A body has gone, or as much of it as the client took.
    pub(in crate::proxy) fn sent(&self, outcome: Outcome, bytes: u64) {
        let stripe = &self.stripes[own_stripe()];
        stripe.bytes[outcome.index()].fetch_add(bytes, Ordering::Relaxed);
    }

    /// The sum of all stripes.
    pub(super) fn read(&self) -> Counts {
        let mut counts = Counts::default();
        for stripe in &self.stripes {
            add(&mut counts.requests, &stripe.requests);
            add(&mut counts.bytes, &stripe.bytes);
            add(&mut counts.buckets, &stripe.buckets);
            counts.first_byte_ns += stripe.first_byte_ns.load(Ordering::Relaxed);
        }
        counts
    }
}

fn add<const N: usize>(sums: &mut [u64; N], shares: &[AtomicU64; N]) {
    for (sum, share) in sums.iter_mut().zip(shares) {
        *sum += share.load(Ordering::Relaxed);
    }
}

impl Counts {
    /// The histogram of the time to the first byte: sum in seconds, count, and per bucket its upper bound in seconds
    /// and what fell between it and the one before.
    pub(super) fn first_byte(&self) -> (f64, u64, [(f64, u64); BUCKETS_NS.len() + 1]) {
        let seconds = |ns: u64| Duration::from_nanos(ns).as_secs_f64();
        let mut buckets = [(f64::INFINITY, 0); BUCKETS_NS.len() + 1];
        for ((at, bucket), count) in buckets.iter_mut().enumerate().zip(&self.buckets) {
            let bound = BUCKETS_NS.get(at).map_or(f64::INFINITY, |ns| seconds(*ns));
            *bucket = (bound, *count);
        }
        let count = self.buckets.iter().sum();
        (seconds(self.first_byte_ns), count, buckets)
    }
}
