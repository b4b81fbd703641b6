//! The outage guard: a circuit breaker around the delivery target. An outage of the target must not move the whole topic
//! into the dead letter topic, and one poisoned key must not stop everything else.
//!
//! Closed, it counts records of different keys that end in a row with the same cause that speaks of the target rather
//! than of the record. When it opens, records wait; after a while one of them probes; enough successes close it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::config::GuardSettings;
use crate::failure::{Category, Failure};

/// The guard of one target. Shared by every partition.
#[derive(Debug)]
pub(super) struct Guard {
    settings: GuardSettings,
    words: &'static Words,
    state: Mutex<State>,
    changed: Notify,
    /// How often it opened.
    opened: AtomicU64,
}

#[derive(Debug)]
enum State {
    Closed(Streak),
    Open { until: Instant },
    HalfOpen { probing: bool, successes: u32 },
}

/// What a guard does, as the metrics number it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Records are delivered.
    Closed = 0,
    /// Records wait while single ones probe.
    HalfOpen = 1,
    /// Records wait.
    Open = 2,
}

/// What it says of its target.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) out: &'static str,
    pub(super) still_out: &'static str,
    pub(super) back: &'static str,
}

/// Of the delivery target.
pub(super) const DELIVERY: Words = Words {
    out: "the delivery target is out: records wait instead of being dead-lettered",
    still_out: "the delivery target still fails: waiting on",
    back: "the delivery target works again: delivering",
};

/// Records of different keys that ended in a row with the same cause.
#[derive(Debug, Default)]
struct Streak {
    cause: Option<Cause>,
    keys: Vec<Option<Bytes>>,
}

/// A cause that speaks of the target, not of the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Category(Category),
    Status(u16),
}

impl Cause {
    fn of(failure: &Failure) -> Option<Self> {
        match (failure.status(), failure.category()) {
            // Wrong credentials, or a wrong address: no record can help it.
            (Some(status @ (401 | 403 | 404 | 405 | 410)), _) => Some(Self::Status(status)),
            (_, category) if category.is_retryable() => Some(Self::Category(category)),
            _ => None,
        }
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Category(category) => category.fmt(f),
            Self::Status(status) => write!(f, "status {status}"),
        }
    }
}

/// Leave to try the target with one record. Dropped without a verdict, it concludes nothing.
#[derive(Debug)]
pub(super) struct Pass<'g> {
    guard: &'g Guard,
    probe: bool,
}

/// What a record's end means for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It has ended.
    Final,
    /// The target is out: the record waits and is tried again.
    Wait,
}

impl Guard {
    pub(super) fn new(settings: GuardSettings, words: &'static Words) -> Self {
        Self {
            settings,
            words,
            state: Mutex::new(State::Closed(Streak::default())),
            changed: Notify::new(),
            opened: AtomicU64::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a record may try the target; `None` when `stop` comes first.
    pub(super) async fn admit(&self, stop: &CancellationToken) -> Option<Pass<'_>> {
        loop {
            // Registered before the state is looked at, so that no change is missed in between.
            let changed = self.changed.notified();
            let wake_at = match &mut *self.state() {
                State::Closed(_) => return Some(Pass { guard: self, probe: false }),
                State::HalfOpen { probing, .. } if !*probing => {
                    *probing = true;
                    return Some(Pass { guard: self, probe: true });
                }
                State::HalfOpen { .. } => None,
                State::Open { until } => Some(*until),
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                () = changed => {}
                () = sleep_until(wake_at.unwrap_or_else(Instant::now)), if wake_at.is_some() => self.half_open(),
            }
        }
    }

    /// Lets a record try the target if that may be now; for those who do not wait.
    pub(super) fn try_admit(&self) -> Option<Pass<'_>> {
        self.half_open();
        match &mut *self.state() {
            State::Closed(_) => Some(Pass { guard: self, probe: false }),
            State::HalfOpen { probing, .. } if !*probing => {
                *probing = true;
                Some(Pass { guard: self, probe: true })
            }
            State::HalfOpen { .. } | State::Open { .. } => None,
        }
    }

    /// Whether [`Self::try_admit`] would let nobody in now. Changes nothing.
    pub(super) fn refuses(&self) -> bool {
        match &*self.state() {
            State::Closed(_) => false,
            State::HalfOpen { probing, .. } => *probing,
            State::Open { until } => *until > Instant::now(),
        }
    }

    /// Where it stands.
    pub(super) fn phase(&self) -> Phase {
        match &*self.state() {
            State::Closed(_) => Phase::Closed,
            State::HalfOpen { .. } => Phase::HalfOpen,
            State::Open { .. } => Phase::Open,
        }
    }

    /// How often it opened, probes that failed not counted.
    pub(super) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    fn half_open(&self) {
        let mut state = self.state();
        if matches!(&*state, State::Open { until } if *until <= Instant::now()) {
            *state = State::HalfOpen { probing: false, successes: 0 };
        }
    }

    fn open(&self) -> State {
        State::Open { until: Instant::now() + self.settings.wait }
    }
}

impl Pass<'_> {
    /// Whether this record is a probe: one attempt says enough.
    pub(super) fn is_probe(&self) -> bool {
        self.probe
    }

    /// Whether the guard has opened since this was given: what has not begun yet is to wait.
    pub(super) fn is_stale(&self) -> bool {
        !self.probe && self.guard.phase() != Phase::Closed
    }

    /// Notes that the target took the record, or refused it for the record's own sake: it is there.
    pub(super) fn answered(self) {
        let guard = self.guard;
        let mut state = guard.state();
        match &mut *state {
            State::Closed(streak) => *streak = Streak::default(),
            State::HalfOpen { successes, .. } if self.probe => {
                *successes += 1;
                if *successes >= guard.settings.probes {
                    tracing::info!("{}", guard.words.back);
                    *state = State::Closed(Streak::default());
                }
            }
            State::HalfOpen { .. } | State::Open { .. } => {}
        }
    }

    /// Notes how a record was given up, and says whether that is its end.
    pub(super) fn failed(self, key: Option<&Bytes>, failure: &Failure) -> Verdict {
        let Some(cause) = Cause::of(failure) else {
            self.answered();
            return Verdict::Final;
        };
        let guard = self.guard;
        let mut state = guard.state();
        let streak = match &mut *state {
            State::Closed(streak) => streak,
            State::HalfOpen { .. } if self.probe => {
                tracing::warn!(%cause, "{}", guard.words.still_out);
                *state = guard.open();
                return Verdict::Wait;
            }
            State::HalfOpen { .. } | State::Open { .. } => return Verdict::Wait,
        };
        if streak.cause != Some(cause) {
            *streak = Streak { cause: Some(cause), keys: Vec::new() };
        }
        // A key that fails again and again is its own trouble, not the target's.
        if key.is_none() || !streak.keys.iter().any(|seen| seen.as_ref() == key) {
            streak.keys.push(key.cloned());
        }
        if streak.keys.len() >= guard.settings.failures {
            tracing::error!(
                %cause,
                records = guard.settings.failures as u64,
                probe_after_ms = u64::try_from(guard.settings.wait.as_millis()).unwrap_or(u64::MAX),
                "{}",
                guard.words.out,
            );
            guard.opened.fetch_add(1, Ordering::Relaxed);
            *state = guard.open();
        }
        Verdict::Final
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        // Nobody waits while it is closed, and only a probe's end changes anything for those who wait otherwise: very
        // many may be there, and each call wakes them all.
        if self.probe {
            if let State::HalfOpen { probing, .. } = &mut *self.guard.state() {
                *probing = false;
            }
            self.guard.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::*;

    fn guard() -> Guard {
        Guard::new(GuardSettings { failures: 5, wait: Duration::from_secs(60), probes: 3 }, &DELIVERY)
    }

    fn down() -> Failure {
        Failure::new(Category::Processing, "503").with_status(503)
    }

    fn key(n: usize) -> Bytes {
        Bytes::from(n.to_string())
    }

    async fn pass(guard: &Guard) -> Pass<'_> {
        guard.admit(&CancellationToken::new()).await.expect("no stop")
    }

    /// Fails records until the guard opens; gives how many were ended.
    async fn fail(guard: &Guard, records: usize, failure: impl Fn(usize) -> Failure) {
        for n in 0..records {
            assert_eq!(pass(guard).await.failed(Some(&key(n)), &failure(n)), Verdict::Final, "record {n}");
        }
    }

    fn is_closed(guard: &Guard) -> bool {
        matches!(&*guard.state(), State::Closed(_))
    }

    #[tokio::test(start_paused = true)]
    async fn five_keys_in_a_row_open_it_and_three_probes_close_it() {
        let guard = guard();
        fail(&guard, 5, |_| down()).await;
        let begun = Instant::now();
        for probe in 0..3 {
            let pass = pass(&guard).await;
            assert!(pass.is_probe(), "probe {probe}");
            assert_eq!(begun.elapsed().as_secs(), 60);
            pass.answered();
        }
        assert!(is_closed(&guard));
        assert!(!pass(&guard).await.is_probe());
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_probe_opens_it_again_and_its_record_waits() {
        let guard = guard();
        fail(&guard, 5, |_| down()).await;
        let begun = Instant::now();
        assert_eq!(pass(&guard).await.failed(Some(&key(9)), &down()), Verdict::Wait);
        assert!(pass(&guard).await.is_probe());
        assert_eq!(begun.elapsed().as_secs(), 120);
    }

    #[tokio::test(start_paused = true)]
    async fn one_poisoned_key_never_opens_it() {
        let guard = guard();
        for _ in 0..20 {
            assert_eq!(pass(&guard).await.failed(Some(&key(1)), &down()), Verdict::Final);
        }
        assert!(is_closed(&guard));
    }

    #[tokio::test(start_paused = true)]
    async fn records_without_a_key_are_each_their_own() {
        let guard = guard();
        for _ in 0..5 {
            assert_eq!(pass(&guard).await.failed(None, &down()), Verdict::Final);
        }
        assert!(!is_closed(&guard));
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_or_another_cause_starts_the_count_again() {
        let guard = guard();
        fail(&guard, 4, |_| down()).await;
        pass(&guard).await.answered();
        fail(&guard, 4, |_| down()).await;
        fail(&guard, 4, |_| Failure::new(Category::Timeout, "late")).await;
        fail(&guard, 4, |_| Failure::new(Category::Validation, "no").with_status(403)).await;
        assert!(is_closed(&guard));
        fail(&guard, 5, |_| Failure::new(Category::Validation, "no").with_status(404)).await;
        assert!(!is_closed(&guard));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_wrong_with_a_record_says_nothing_of_the_target() {
        let guard = guard();
        fail(&guard, 20, |_| Failure::new(Category::Validation, "422").with_status(422)).await;
        assert!(is_closed(&guard));
    }

    #[tokio::test(start_paused = true)]
    async fn only_one_record_probes_at_a_time_and_an_interrupted_probe_makes_way() {
        let guard = guard();
        fail(&guard, 5, |_| down()).await;
        let probe = pass(&guard).await;
        let no_stop = CancellationToken::new();
        let next = guard.admit(&no_stop);
        tokio::pin!(next);
        assert!(next.as_mut().now_or_never().is_none());
        drop(probe);
        assert!(next.await.is_some_and(|pass| pass.is_probe()));
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_do_not_wait_are_refused_while_it_is_open_and_probe_after_it() {
        let guard = guard();
        let begun = pass(&guard).await;
        assert!(!begun.is_stale());
        fail(&guard, 5, |_| down()).await;
        assert!(begun.is_stale() && guard.refuses() && guard.try_admit().is_none());
        tokio::time::advance(Duration::from_secs(60)).await;
        for _ in 0..3 {
            assert!(!guard.refuses());
            let probe = guard.try_admit().expect("time for a probe");
            assert!(probe.is_probe() && !probe.is_stale() && guard.refuses() && guard.try_admit().is_none());
            probe.answered();
        }
        assert!(!guard.refuses() && guard.try_admit().is_some_and(|pass| !pass.is_probe()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_the_wait() {
        let guard = guard();
        fail(&guard, 5, |_| down()).await;
        let stop = CancellationToken::new();
        stop.cancel();
        assert!(guard.admit(&stop).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn records_under_way_when_it_opens_wait() {
        let guard = guard();
        let late = pass(&guard).await;
        fail(&guard, 5, |_| down()).await;
        assert_eq!(late.failed(Some(&key(77)), &down()), Verdict::Wait);
    }
}
