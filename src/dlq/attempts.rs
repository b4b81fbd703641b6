//! One record's attempts: each with its time limit, waits between them, and an end. Decides nothing about dead letters.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::RetryPolicy;
use crate::failure::{Category, Failure};
use crate::record::Record;

/// A record that was given up.
#[derive(Debug)]
pub struct Exhausted {
    /// The last attempt's failure.
    pub failure: Failure,
    /// How many attempts there were, the first one included.
    pub attempts: u32,
    /// When the first attempt failed.
    pub first_failure: Timestamp,
    /// When the last attempt failed.
    pub last_failure: Timestamp,
}

impl Exhausted {
    /// A failure that no attempt can mend, found now.
    pub fn at_once(failure: Failure) -> Self {
        let now = Timestamp::now();
        Self { failure, attempts: 1, first_failure: now, last_failure: now }
    }

    /// The same end, for a record that was given up before and got more attempts.
    #[must_use]
    pub fn after(self, before: Option<Self>) -> Self {
        match before {
            None => self,
            Some(before) => Self {
                attempts: before.attempts.saturating_add(self.attempts),
                first_failure: before.first_failure,
                ..self
            },
        }
    }
}

/// How a record's attempts ended.
#[derive(Debug)]
pub enum Attempted<T> {
    /// One of them succeeded.
    Done {
        /// What the processing gave back.
        value: T,
        /// How many attempts it took, the first one included.
        attempts: u32,
    },
    /// None succeeded, or none could.
    Failed(Exhausted),
    /// The stop token ended them: this is no failure, and nothing may be concluded.
    Interrupted,
}

/// Tries until a success, a failure that is not retried, the last retry, or `stop`. A stop lets the attempt that runs
/// finish (its time limit bounds it) and ends a wait at once.
///
/// With a `gate`, an attempt waits for a place first; that wait counts as no part of the attempt, and no place is held
/// between attempts.
pub(super) async fn attempt<'r, T, F, Fut>(
    policy: &RetryPolicy,
    gate: Option<&Semaphore>,
    stop: &CancellationToken,
    record: &'r Record,
    mut process: F,
) -> Attempted<T>
where
    F: FnMut(&'r Record) -> Fut,
    Fut: Future<Output = Result<T, Failure>>,
{
    let mut delays = policy.delays();
    let mut attempts = 0;
    let mut first_failure = None;
    loop {
        let Some(place) = enter(gate, stop).await else { return Attempted::Interrupted };
        attempts += 1;
        let ended = one(policy, record, &mut process).await;
        drop(place);
        let failure = match ended {
            Ok(value) => return Attempted::Done { value, attempts },
            Err(failure) => failure,
        };
        let now = Timestamp::now();
        let first_failure = *first_failure.get_or_insert(now);
        let delay = if failure.category().is_retryable() { delays.next() } else { None };
        let Some(delay) = delay else {
            return Attempted::Failed(Exhausted { failure, attempts, first_failure, last_failure: now });
        };
        tracing::debug!(
            topic = &*record.topic,
            partition = record.partition,
            offset = record.offset,
            attempts,
            category = failure.category().as_str(),
            delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
            "attempt failed, trying again after the delay",
        );
        tokio::select! {
            biased;
            () = stop.cancelled() => return Attempted::Interrupted,
            () = sleep(delay) => {}
        }
    }
}

/// Waits for a place at the gate; `None` when the stop comes first.
async fn enter<'g>(
    gate: Option<&'g Semaphore>,
    stop: &CancellationToken,
) -> Option<Option<SemaphorePermit<'g>>> {
    if stop.is_cancelled() {
        return None;
    }
    let Some(gate) = gate else { return Some(None) };
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        // The gate is never closed.
        place = gate.acquire() => Some(place.ok()),
    }
}

/// One attempt: in time, late, or a panic.
async fn one<'r, T, F, Fut>(policy: &RetryPolicy, record: &'r Record, process: &mut F) -> Result<T, Failure>
where
    F: FnMut(&'r Record) -> Fut,
    Fut: Future<Output = Result<T, Failure>>,
{
    // The call itself may panic as well as the future that it returns. After a panic nothing of either is used again.
    let run = AssertUnwindSafe(async { process(record).await }).catch_unwind();
    match timeout(policy.attempt_timeout, run).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(panic)) => {
            Err(Failure::new(Category::Unknown, format!("the processing panicked: {}", text_of(&*panic))))
        }
        Err(_) => Err(Failure::new(
            Category::Timeout,
            format!("the attempt ran past its time limit of {} ms", policy.attempt_timeout.as_millis()),
        )),
    }
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    fn policy() -> RetryPolicy {
        RetryPolicy::default()
    }

    fn record() -> Record {
        Record::new("orders", 0, 7)
    }

    fn refused() -> Failure {
        Failure::new(Category::Processing, "refused")
    }

    /// Runs `process` with the number of the attempt, and gives the result with the (virtual) time it took.
    async fn run<Fut: Future<Output = Result<(), Failure>>>(
        process: impl Fn(u32) -> Fut,
    ) -> (Attempted<()>, Vec<f64>) {
        let begun = Instant::now();
        let calls = AtomicU32::new(0);
        let starts = std::sync::Mutex::new(Vec::new());
        let ended = attempt(&policy(), None, &CancellationToken::new(), &record(), |_| {
            starts.lock().expect("no panic while locked").push(begun.elapsed().as_secs_f64());
            process(calls.fetch_add(1, Ordering::Relaxed) + 1)
        })
        .await;
        (ended, starts.into_inner().expect("no panic while locked"))
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_after_two_failures_takes_three_attempts_and_two_delays() {
        let (ended, starts) = run(|n| async move { if n < 3 { Err(refused()) } else { Ok(()) } }).await;
        assert!(matches!(ended, Attempted::Done { attempts: 3, .. }), "{ended:?}");
        assert_eq!(starts, [0.0, 1.0, 3.0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_target_that_always_fails_is_tried_four_times() {
        let (ended, starts) = run(|_| async { Err(refused()) }).await;
        let Attempted::Failed(gone) = ended else { panic!("{ended:?}") };
        assert_eq!((gone.attempts, gone.failure.category()), (4, Category::Processing));
        assert_eq!(starts, [0.0, 1.0, 3.0, 7.0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_target_that_hangs_is_a_timeout_and_is_retried() {
        let (ended, starts) = run(|_| std::future::pending()).await;
        let Attempted::Failed(gone) = ended else { panic!("{ended:?}") };
        assert_eq!((gone.attempts, gone.failure.category()), (4, Category::Timeout));
        assert_eq!(starts, [0.0, 6.0, 13.0, 22.0]);
    }

    #[tokio::test(start_paused = true)]
    async fn categories_that_cannot_heal_are_tried_once() {
        for category in [Category::Deserialization, Category::Validation, Category::Unknown] {
            let (ended, starts) = run(|_| async move { Err(Failure::new(category, "no")) }).await;
            assert!(
                matches!(ended, Attempted::Failed(Exhausted { attempts: 1, .. })),
                "{category}: {ended:?}"
            );
            assert_eq!(starts, [0.0]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_an_unknown_error_and_is_not_retried() {
        let (ended, _) = run(|_| async { panic!("boom") }).await;
        let Attempted::Failed(gone) = ended else { panic!("{ended:?}") };
        assert_eq!((gone.attempts, gone.failure.category()), (1, Category::Unknown));
        assert!(gone.failure.to_string().contains("boom"));
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_a_place_is_no_part_of_an_attempt_and_a_delay_holds_none() {
        let gate = Semaphore::new(1);
        let (policy, stop, at) = (policy(), CancellationToken::new(), record());
        let failing = attempt(&policy, Some(&gate), &stop, &at, |_| async {
            sleep(Duration::from_secs(4)).await;
            Err::<(), _>(refused())
        });
        let begun = Instant::now();
        let waiting = async {
            let ended = attempt(&policy, Some(&gate), &stop, &at, |_| async {
                sleep(Duration::from_secs(3)).await;
                Ok(begun.elapsed())
            });
            ended.await
        };
        // The second one gets its place when the first attempt of the first one has failed, after 4 s of waiting.
        let (_, ended) = tokio::join!(failing, waiting);
        let Attempted::Done { value, attempts: 1 } = ended else { panic!("{ended:?}") };
        assert_eq!(value, Duration::from_secs(7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_the_wait_at_once_and_is_no_failure() {
        let stop = CancellationToken::new();
        let begun = Instant::now();
        let at = record();
        let policy = policy();
        let (ended, ()) =
            tokio::join!(attempt(&policy, None, &stop, &at, |_| async { Err::<(), _>(refused()) }), async {
                sleep(Duration::from_millis(1500)).await;
                stop.cancel();
            },);
        assert!(matches!(ended, Attempted::Interrupted), "{ended:?}");
        assert_eq!(begun.elapsed(), Duration::from_millis(1500));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_lets_the_running_attempt_finish() {
        let stop = CancellationToken::new();
        let at = record();
        let policy = policy();
        let (ended, ()) = tokio::join!(
            attempt(&policy, None, &stop, &at, |_| async {
                sleep(Duration::from_secs(2)).await;
                Ok(())
            }),
            async {
                sleep(Duration::from_secs(1)).await;
                stop.cancel();
            },
        );
        assert!(matches!(ended, Attempted::Done { attempts: 1, .. }), "{ended:?}");
    }
}
