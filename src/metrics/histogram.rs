//! A histogram that any thread may add to without waiting: one atomic counter for each bucket, and one for the sum.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds in seconds that OpenTelemetry's messaging convention gives for durations.
pub const DURATION_BUCKETS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Counts durations by [`DURATION_BUCKETS`].
#[derive(Debug, Default)]
pub struct Histogram {
    /// Not cumulative; the last one has no upper bound.
    buckets: [AtomicU64; DURATION_BUCKETS.len() + 1],
    nanos: AtomicU64,
}

impl Histogram {
    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = DURATION_BUCKETS.iter().position(|bound| seconds <= *bound);
        self.buckets[bucket.unwrap_or(DURATION_BUCKETS.len())].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// The sum in seconds, how many there are, and how many in each bucket, by its upper bound.
    pub(super) fn read(&self) -> (f64, u64, Vec<(f64, u64)>) {
        let bounds = DURATION_BUCKETS.into_iter().chain([f64::INFINITY]);
        let buckets: Vec<_> =
            bounds.zip(&self.buckets).map(|(bound, count)| (bound, count.load(Ordering::Relaxed))).collect();
        // Counted from the same reading, so that the page agrees with itself.
        let count = buckets.iter().map(|(_, count)| count).sum();
        (self.nanos.load(Ordering::Relaxed) as f64 / 1e9, count, buckets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_in_the_first_bucket_that_holds_it() {
        let histogram = Histogram::default();
        for millis in [0, 5, 6, 10_000, 10_001] {
            histogram.observe(Duration::from_millis(millis));
        }
        let (sum, count, buckets) = histogram.read();
        assert_eq!(count, 5);
        assert!((sum - 20.012).abs() < 1e-9, "{sum}");
        let filled: Vec<_> = buckets.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(0.005, 2), (0.01, 1), (10.0, 1), (f64::INFINITY, 1)]);
    }
}
