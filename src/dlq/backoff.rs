//! How long to wait between attempts. The only module that names the `backoff` crate: it is no longer maintained
//! (RUSTSEC-2025-0012), so it can be replaced here alone.

use std::time::Duration;

use backoff::ExponentialBackoffBuilder;
use backoff::backoff::Backoff as _;

/// How often and how soon a failed record is tried again.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// Attempts after the first one.
    pub max_retries: u32,
    /// The wait before the first retry; each further one is twice as long.
    pub initial: Duration,
    /// No wait is longer than this.
    pub max: Duration,
    /// How far a wait may differ at random, as a part of itself (0.0 to 1.0).
    pub jitter: f64,
    /// How long one attempt may take.
    pub attempt_timeout: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_retries: 3,
            initial: Duration::from_secs(1),
            max: Duration::from_secs(30),
            jitter: 0.0,
            attempt_timeout: Duration::from_secs(5),
        }
    }
}

impl RetryPolicy {
    /// The waits before the retries, in order: `max_retries` of them. Each call starts afresh; asking for a wait uses
    /// it up, so one record uses one iterator.
    pub fn delays(&self) -> impl Iterator<Item = Duration> + Send + use<> {
        let max = self.max;
        let mut waits = ExponentialBackoffBuilder::new()
            .with_initial_interval(self.initial.min(max))
            .with_randomization_factor(self.jitter.clamp(0.0, 1.0))
            .with_multiplier(2.0)
            .with_max_interval(max)
            .with_max_elapsed_time(None)
            .build();
        (0..self.max_retries).map_while(move |_| waits.next_backoff().map(|wait| wait.min(max)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(policy: &RetryPolicy) -> Vec<f64> {
        policy.delays().map(|d| d.as_secs_f64()).collect()
    }

    #[test]
    fn the_defaults_wait_one_two_and_four_seconds() {
        assert_eq!(seconds(&RetryPolicy::default()), [1.0, 2.0, 4.0]);
    }

    #[test]
    fn waits_double_up_to_the_maximum() {
        let policy = RetryPolicy { max_retries: 8, ..RetryPolicy::default() };
        assert_eq!(seconds(&policy), [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]);
    }

    #[test]
    fn no_retries_means_no_waits() {
        let policy = RetryPolicy { max_retries: 0, ..RetryPolicy::default() };
        assert_eq!(policy.delays().count(), 0);
    }

    #[test]
    fn an_initial_wait_above_the_maximum_is_cut() {
        let policy =
            RetryPolicy { initial: Duration::from_secs(60), max_retries: 2, ..RetryPolicy::default() };
        assert_eq!(seconds(&policy), [30.0, 30.0]);
    }

    proptest::proptest! {
        #[test]
        fn jitter_stays_within_its_part_and_below_the_maximum(
            initial_ms in 1u64..10_000, max_ms in 1u64..60_000, jitter in 0.0f64..=1.0, retries in 0u32..12,
        ) {
            let policy = RetryPolicy {
                max_retries: retries,
                initial: Duration::from_millis(initial_ms),
                max: Duration::from_millis(max_ms),
                jitter,
                ..RetryPolicy::default()
            };
            let exact = RetryPolicy { jitter: 0.0, ..policy.clone() };
            let (waits, bases): (Vec<_>, Vec<_>) = (policy.delays().collect(), exact.delays().collect());
            proptest::prop_assert_eq!(waits.len(), retries as usize);
            for (wait, base) in waits.iter().zip(bases) {
                let base = base.as_secs_f64();
                proptest::prop_assert!(*wait <= policy.max);
                proptest::prop_assert!(wait.as_secs_f64() >= base * (1.0 - jitter) - 1e-6);
                proptest::prop_assert!(wait.as_secs_f64() <= base * (1.0 + jitter) + 1e-6);
            }
        }
    }
}
