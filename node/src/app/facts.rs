//! Numbers that nobody counts: they are looked up when somebody asks for metrics.

use std::time::UNIX_EPOCH;

use crate::admin::{Phase, Readiness};
use crate::listen::Certificates;
use crate::observe::Sample;
use crate::observe::access::AccessLog;

/// Linux's ticks per second in `/proc`, whatever the kernel's own clock does.
const TICKS_PER_SECOND: f64 = 100.0;
/// Bytes in a page, as `/proc/self/statm` counts.
const PAGE_BYTES: f64 = 4096.0;

/// When each certificate ends.
pub(super) fn of_certificates(certificates: &Certificates) -> Vec<Sample> {
    let expiry = |(name, ends): (String, std::time::SystemTime)| {
        let ends = ends.duration_since(UNIX_EPOCH).unwrap_or_default();
        Sample::gauge(
            "nearside_certificate_expiry_timestamp_seconds",
            "When a certificate of the node file ends",
            ends.as_secs_f64(),
        )
        .of("certificate", name)
    };
    certificates.expiries().into_iter().map(expiry).collect()
}

/// The access log's queue.
pub(super) fn of_access(log: &AccessLog) -> [Sample; 2] {
    [
        Sample::counter(
            "nearside_access_records_dropped",
            "Access records that were not written because the writer fell behind",
            log.dropped(),
        ),
        Sample::gauge(
            "nearside_access_records_queued",
            "Access records that wait for the writer",
            f64::from(log.queued()),
        ),
    ]
}

/// Whether this node may get traffic.
pub(super) fn of_readiness(readiness: &Readiness) -> Vec<Sample> {
    let serves = readiness.phase() == Phase::Serving;
    vec![Sample::gauge(
        "nearside_node_ready",
        "1 while this node may get traffic: neither starting nor draining",
        f64::from(u8::from(serves)),
    )]
}

/// The process, under the names that every Prometheus dashboard knows. Nothing where there is no `/proc`.
pub(super) fn of_process() -> Vec<Sample> {
    let mut samples = Vec::new();
    if let Some(seconds) = std::fs::read_to_string("/proc/self/stat")
        .ok()
        .and_then(|stat| cpu_ticks(&stat))
        .map(|ticks| ticks / TICKS_PER_SECOND)
    {
        // A gauge in type only: a counter of whole numbers would hide what an idle node needs.
        samples.push(Sample::gauge(
            "process_cpu_seconds",
            "Processor time used since the start",
            seconds,
        ));
    }
    if let Some(pages) = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|statm| statm.split(' ').nth(1)?.parse::<f64>().ok())
    {
        samples.push(Sample::gauge(
            "process_resident_memory_bytes",
            "Memory in use, shared pages with it",
            pages * PAGE_BYTES,
        ));
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        let open = u32::try_from(open.count()).unwrap_or(u32::MAX);
        samples.push(Sample::gauge(
            "process_open_fds",
            "Descriptors in use",
            f64::from(open),
        ));
    }
    samples
}

/// User's and system's ticks from `/proc/self/stat`: the 14th and 15th field, counted from behind the name, which may
/// hold spaces and parentheses itself.
fn cpu_ticks(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_any_name() {
        let stat = "1 (a) b) S 0 1 1 0 -1 4194560 1 2 3 4 250 17 0 0 20 0 1 0 9 8 7";
        assert_eq!(cpu_ticks(stat), Some(267.0));
        assert_eq!(cpu_ticks("1 (a) S 0"), None);
    }
}
