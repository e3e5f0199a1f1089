//! Percentiles, and a line that says whether a bar was held.

use std::time::Duration;

/// The value below which `share` (0 to 1) of the samples lie.
pub(crate) fn percentile(samples: &[Duration], share: f64) -> Duration {
    let mut sorted = samples.to_vec();
    sorted.sort();
    let last = sorted.len().saturating_sub(1);
    // Sample counts are small: the product is exact enough, and never negative.
    let index = (last as f64 * share).round() as usize;
    sorted.get(index).copied().unwrap_or_default()
}

/// Prints p50, p95 and the greatest, against the bars; true when both are held.
pub(crate) fn line(what: &str, samples: &[Duration], bars: (Duration, Duration)) -> bool {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let (p50, p95) = (percentile(samples, 0.5), percentile(samples, 0.95));
    let held = p50 <= bars.0 && p95 <= bars.1;
    println!(
        "{what}: {} tries, p50 {:.1} ms (bar {:.1}), p95 {:.1} ms (bar {:.1}), max {:.1} ms: {}",
        samples.len(),
        ms(p50),
        ms(bars.0),
        ms(p95),
        ms(bars.1),
        ms(percentile(samples, 1.0)),
        if held { "held" } else { "NOT held" }
    );
    held
}
