//! When the next record is due. Knows no clock: the caller says what time it is.

use std::time::{Duration, Instant};

use super::settings::Pace;

/// Being this late is caught up with; being later is a stall, and what was missed in it is not sent in a burst.
const CATCH_UP: Duration = Duration::from_secs(1);

/// Spreads records over time: the n-th is due at a multiple of the period from the start, so that no rounding and no
/// late wake-up adds up.
#[derive(Debug)]
pub(crate) struct Pacer {
    /// `None`: always due.
    period_s: Option<f64>,
    base: Instant,
    since_base: u64,
}

impl Pacer {
    /// The first record is due `now`.
    pub(crate) fn new(pace: Pace, now: Instant) -> Self {
        let period_s = match pace {
            Pace::Interval(period) => Some(period.as_secs_f64()),
            Pace::Rate(per_second) => Some(1.0 / per_second),
            Pace::Unlimited => None,
        };
        Self { period_s: period_s.filter(|p| *p > 0.0), base: now, since_base: 0 }
    }

    /// How long until the next record is due; zero when it is.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        match self.due() {
            Some(due) => due.saturating_duration_since(now),
            None => Duration::MAX,
        }
    }

    /// Notes that a record was sent.
    pub(crate) fn sent(&mut self, now: Instant) {
        if self.due().is_some_and(|due| now.saturating_duration_since(due) > CATCH_UP) {
            self.base = now;
            self.since_base = 0;
        }
        self.since_base += 1;
    }

    /// `None` when that is beyond what the clock can say.
    fn due(&self) -> Option<Instant> {
        let Some(period_s) = self.period_s else { return Some(self.base) };
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 records")]
        let after_s = self.since_base as f64 * period_s;
        self.base.checked_add(Duration::try_from_secs_f64(after_s).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Sends whenever due on a clock that moves by `step` at least; returns the times, in milliseconds.
    fn times(pace: Pace, count: usize, lateness: Duration) -> Vec<u128> {
        let start = Instant::now();
        let mut now = start;
        let mut pacer = Pacer::new(pace, start);
        let mut sent = Vec::new();
        while sent.len() < count {
            let wait = pacer.wait(now);
            if !wait.is_zero() {
                now += wait + lateness;
            }
            pacer.sent(now);
            sent.push((now - start).as_millis());
        }
        sent
    }

    #[test]
    fn the_first_is_due_at_once_and_the_next_an_interval_later() {
        assert_eq!(times(Pace::Interval(2000 * MS), 4, Duration::ZERO), [0, 2000, 4000, 6000]);
    }

    #[test]
    fn late_wake_ups_do_not_add_up() {
        let last = times(Pace::Rate(300.0), 3001, 2 * MS)[3000];
        assert!((10_000..10_003).contains(&last), "{last} ms for 3000 records at 300 a second");
    }

    #[test]
    fn a_long_stall_is_not_followed_by_a_burst() {
        let start = Instant::now();
        let mut pacer = Pacer::new(Pace::Rate(100.0), start);
        pacer.sent(start);
        let after_stall = start + 60_000 * MS;
        assert!(pacer.wait(after_stall).is_zero());
        pacer.sent(after_stall);
        assert_eq!(pacer.wait(after_stall), 10 * MS);
    }

    #[test]
    fn a_short_delay_is_caught_up_with() {
        let start = Instant::now();
        let mut pacer = Pacer::new(Pace::Rate(10.0), start);
        pacer.sent(start);
        let late = start + 500 * MS;
        for _ in 0..5 {
            assert!(pacer.wait(late).is_zero());
            pacer.sent(late);
        }
        assert_eq!(pacer.wait(late), 100 * MS);
    }

    #[test]
    fn unlimited_and_a_zero_interval_are_always_due() {
        for pace in [Pace::Unlimited, Pace::Interval(Duration::ZERO)] {
            assert_eq!(times(pace, 1000, MS)[999], 0);
        }
    }

    #[test]
    fn a_period_beyond_the_clock_is_never_due_again() {
        let start = Instant::now();
        let mut pacer = Pacer::new(Pace::Rate(1e-300), start);
        assert!(pacer.wait(start).is_zero());
        pacer.sent(start);
        assert!(pacer.wait(start + Duration::from_secs(3600)) > Duration::from_secs(3600));
    }
}
