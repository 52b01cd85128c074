//! Latency percentiles.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Latencies in nanoseconds, to three significant digits.
#[derive(Debug)]
pub(super) struct Latencies(Histogram<u64>);

impl Latencies {
    const LEAST_NS: u64 = 1_000;
    /// Ten minutes; whatever takes longer is recorded as this.
    const MOST_NS: u64 = 600_000_000_000;

    pub fn new() -> Self {
        Self(Histogram::new_with_bounds(Self::LEAST_NS, Self::MOST_NS, 3).expect("the bounds are valid"))
    }

    #[inline]
    pub fn record(&mut self, latency_ns: u64) {
        self.0.saturating_record(latency_ns);
    }

    pub fn summary(&self) -> LatencyReport {
        let us = |ns: u64| ns as f64 / 1e3;
        let quantile = |quantile| us(self.0.value_at_quantile(quantile));
        LatencyReport {
            samples: self.0.len(),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p99_9: quantile(0.999),
            max: us(self.0.max()),
        }
    }
}

/// Latency percentiles in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct LatencyReport {
    pub samples: u64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub max: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_to_three_digits() {
        let mut latencies = Latencies::new();
        (1..=1_000).for_each(|milliseconds| latencies.record(milliseconds * 1_000_000));
        let summary = latencies.summary();
        for (found, wanted) in
            [(summary.p50, 5e5), (summary.p90, 9e5), (summary.p99, 9.9e5), (summary.p99_9, 9.99e5), (summary.max, 1e6)]
        {
            assert!((found / wanted - 1.0).abs() < 2e-3, "{found} for {wanted}");
        }
        assert_eq!(summary.samples, 1_000);
    }

    #[test]
    fn latencies_beyond_the_bounds_are_kept_at_them() {
        let mut latencies = Latencies::new();
        latencies.record(0);
        latencies.record(u64::MAX);
        let summary = latencies.summary();
        assert_eq!(summary.samples, 2);
        assert!((summary.max / 6e8 - 1.0).abs() < 2e-3, "{}", summary.max);
    }
}
