//! The way of an attempt to its target, once the outage guard has let its record in: a place among those of its partition,
//! a token of the rate, a place among all. These are layers of tower around the work; waiting for them is no part of the
//! attempt.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use leaky_bucket::{AcquireOwned, RateLimiter};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::limit::ConcurrencyLimit;
use tower::{Service, ServiceExt as _};

use super::work::Work;
use crate::dlq::Attempted;
use crate::failure::{Category, Failure};
use crate::record::Record;

/// How many tokens the bucket holds at most, as a time at its rate: what was not used for a moment is not lost.
const BURST: Duration = Duration::from_millis(100);
/// How often it is filled: a timer is not finer than a millisecond.
const FILL: Duration = Duration::from_millis(10);

/// The gate of one target. Shared by every partition.
#[derive(Debug)]
pub(super) struct Gate {
    stack: Paced<ConcurrencyLimit<Work>>,
    concurrency: usize,
    partition_concurrency: usize,
    places: Arc<Semaphore>,
    counts: Counts,
}

/// One partition's way to the gate: it takes so many of the places, and leaves the others to the other partitions.
#[derive(Debug)]
pub(super) struct Lane {
    gate: Arc<Gate>,
    stack: Stack,
}

type Stack = ConcurrencyLimit<Paced<ConcurrencyLimit<Work>>>;

/// How much passes a gate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Attempts at once.
    pub(super) concurrency: usize,
    /// Of one partition at once.
    pub(super) partition_concurrency: Option<usize>,
    /// Attempts a second.
    pub(super) per_second: Option<f64>,
}

/// What passes a gate, counted.
#[derive(Debug, Default)]
struct Counts {
    done: AtomicU64,
    failed: [AtomicU64; Category::ALL.len()],
    waiting: AtomicU64,
}

/// An attempt may begin: it holds its place until its future ends or is dropped.
#[derive(Debug)]
pub(super) struct Place(Stack);

impl Gate {
    /// A gate before this work.
    pub(super) fn new(work: Work, limits: Limits) -> Self {
        let Limits { concurrency, partition_concurrency, per_second } = limits;
        let places = Arc::new(Semaphore::new(concurrency));
        let limited = ConcurrencyLimit::with_semaphore(work, Arc::clone(&places));
        let bucket = per_second.map(|rate| Arc::new(bucket(rate)));
        Self {
            stack: Paced::new(limited, bucket),
            concurrency,
            partition_concurrency: partition_concurrency.unwrap_or(concurrency),
            places,
            counts: Counts::default(),
        }
    }

    /// A way to it for one partition.
    pub(super) fn lane(self: &Arc<Self>) -> Lane {
        let stack = ConcurrencyLimit::new(self.stack.clone(), self.partition_concurrency);
        Lane { gate: Arc::clone(self), stack }
    }

    /// Attempts that succeeded.
    pub(super) fn done(&self) -> u64 {
        self.counts.done.load(Ordering::Relaxed)
    }

    /// Attempts that failed, by [`Category::ALL`].
    pub(super) fn failed(&self) -> [u64; Category::ALL.len()] {
        std::array::from_fn(|at| self.counts.failed[at].load(Ordering::Relaxed))
    }

    /// Attempts that run.
    pub(super) fn running(&self) -> usize {
        self.concurrency.saturating_sub(self.places.available_permits())
    }

    /// Attempts that wait for a token or a place.
    pub(super) fn waiting(&self) -> u64 {
        self.counts.waiting.load(Ordering::Relaxed)
    }

    /// Attempts that had to wait for a token so far.
    pub(super) fn held_by_rate(&self) -> u64 {
        self.stack.held.load(Ordering::Relaxed)
    }
}

impl Lane {
    /// Waits for places and a token; `None` when `stop` comes first.
    pub(super) async fn enter(&self, stop: &CancellationToken) -> Option<Place> {
        if stop.is_cancelled() {
            return None;
        }
        let mut stack = self.stack.clone();
        let _waiting = Waiting::begin(&self.gate.counts.waiting);
        tokio::select! {
            biased;
            () = stop.cancelled() => None,
            // None of them is ever closed.
            ready = stack.ready() => ready.is_ok().then_some(()),
        }?;
        Some(Place(stack))
    }

    /// Counts how an attempt ended.
    pub(super) fn count<T>(&self, attempted: &Attempted<T>) {
        let counts = &self.gate.counts;
        let counter = match attempted {
            Attempted::Done { .. } => &counts.done,
            Attempted::Failed(gone) => &counts.failed[gone.failure.category() as usize],
            Attempted::Interrupted => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl Place {
    /// One attempt.
    pub(super) fn run(&mut self, record: Record) -> impl Future<Output = Result<(), Failure>> + use<> {
        self.0.call(record)
    }
}

/// Counts one that waits, for as long as it does.
struct Waiting<'c>(&'c AtomicU64);

impl<'c> Waiting<'c> {
    fn begin(count: &'c AtomicU64) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "1 to 1,000,000 by the setting's bounds"
)]
fn bucket(per_second: f64) -> RateLimiter {
    let tokens = |time: Duration| (per_second * time.as_secs_f64()).ceil().max(1.0) as usize;
    let (refill, most) = (tokens(FILL), tokens(BURST));
    let interval = Duration::from_secs_f64(refill as f64 / per_second);
    RateLimiter::builder().refill(refill).interval(interval).max(most).initial(most).fair(true).build()
}

/// A token bucket as a layer: ready when it has a token and what is within is ready. First come, first served.
#[derive(Debug)]
struct Paced<S> {
    inner: S,
    bucket: Option<Arc<RateLimiter>>,
    token: Token,
    held: Arc<AtomicU64>,
}

enum Token {
    Wanted,
    Awaited { wait: Pin<Box<AcquireOwned>>, is_late: bool },
    Held,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Wanted => "Wanted",
            Self::Awaited { .. } => "Awaited",
            Self::Held => "Held",
        })
    }
}

impl<S> Paced<S> {
    fn new(inner: S, bucket: Option<Arc<RateLimiter>>) -> Self {
        Self { inner, bucket, token: Token::Wanted, held: Arc::default() }
    }
}

impl<S: Clone> Clone for Paced<S> {
    /// Another one at the same bucket; a token is nobody else's.
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            bucket: self.bucket.clone(),
            token: Token::Wanted,
            held: Arc::clone(&self.held),
        }
    }
}

impl<R, S: Service<R>> Service<R> for Paced<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        if let Some(bucket) = &self.bucket {
            loop {
                match &mut self.token {
                    Token::Held => break,
                    Token::Wanted => {
                        let wait = Box::pin(Arc::clone(bucket).acquire_owned(1));
                        self.token = Token::Awaited { wait, is_late: false };
                    }
                    Token::Awaited { wait, is_late } => {
                        let polled = wait.as_mut().poll(cx);
                        if polled.is_pending() && !*is_late {
                            *is_late = true;
                            self.held.fetch_add(1, Ordering::Relaxed);
                        }
                        ready!(polled);
                        self.token = Token::Held;
                    }
                }
            }
        }
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> S::Future {
        self.token = Token::Wanted;
        self.inner.call(request)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use tokio::time::{Instant, sleep};

    use super::*;

    fn gate(concurrency: usize, per_second: Option<f64>, takes: Duration) -> Arc<Gate> {
        let work = Work::on_any(move |_| async move {
            sleep(takes).await;
            Ok(())
        });
        Arc::new(Gate::new(work, Limits { concurrency, partition_concurrency: None, per_second }))
    }

    async fn attempts(gate: &Arc<Gate>, count: usize) -> Duration {
        let begun = Instant::now();
        let stop = CancellationToken::new();
        let lane = gate.lane();
        let one = async || {
            let mut place = lane.enter(&stop).await.expect("no stop");
            place.run(Record::new("orders", 0, 1)).await.expect("done");
        };
        join_all((0..count).map(|_| one())).await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_run_at_once_and_the_others_wait() {
        let gate = gate(4, None, Duration::from_secs(1));
        let watch = async {
            sleep(Duration::from_millis(1500)).await;
            assert_eq!((gate.running(), gate.waiting()), (4, 2));
        };
        let (took, ()) = tokio::join!(attempts(&gate, 10), watch);
        assert_eq!(took.as_secs(), 3);
        assert_eq!((gate.running(), gate.waiting(), gate.held_by_rate()), (0, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_holds_over_time_with_a_small_burst_at_the_start() {
        for (rate, count, least, most) in [
            (0.5, 4, 6.0, 6.1),
            (50.0, 105, 1.98, 2.1),
            (1000.0, 2100, 1.98, 2.1),
            (20_000.0, 4_000, 0.09, 0.15),
        ] {
            let gate = gate(count, Some(rate), Duration::ZERO);
            let took = attempts(&gate, count).await.as_secs_f64();
            assert!((least..=most).contains(&took), "{count} at {rate}/s took {took} s");
            assert!(gate.held_by_rate() >= count as u64 / 2, "{rate}: {}", gate.held_by_rate());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_gives_up_waiting_costs_neither_token_nor_place() {
        let gate = gate(1, Some(1.0), Duration::ZERO);
        assert_eq!(attempts(&gate, 1).await, Duration::ZERO);
        let (stop, lane) = (CancellationToken::new(), gate.lane());
        let (entered, ()) = tokio::join!(lane.enter(&stop), async {
            sleep(Duration::from_millis(100)).await;
            stop.cancel();
        });
        assert!(entered.is_none() && gate.waiting() == 0);
        // The next one is due when it would have been without that.
        assert_eq!(attempts(&gate, 1).await, Duration::from_millis(900));
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_is_given_up_frees_its_place() {
        let gate = gate(1, None, Duration::from_secs(30));
        let lane = gate.lane();
        let mut place = lane.enter(&CancellationToken::new()).await.expect("no stop");
        let late = tokio::time::timeout(Duration::from_secs(1), place.run(Record::new("orders", 0, 1)));
        assert!(late.await.is_err());
        drop(place);
        assert_eq!(gate.running(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_partition_that_hangs_leaves_the_others_their_places() {
        let work = Work::on_any(|record: Record| async move {
            sleep(Duration::from_secs(if record.partition == 0 { 3600 } else { 1 })).await;
            Ok(())
        });
        let limits = Limits { concurrency: 8, partition_concurrency: Some(5), per_second: None };
        let gate = Arc::new(Gate::new(work, limits));
        let (stop, lanes) = (CancellationToken::new(), [gate.lane(), gate.lane()]);
        let one = async |partition: i32| {
            let mut place = lanes[partition as usize].enter(&stop).await.expect("no stop");
            place.run(Record::new("orders", partition, 1)).await.expect("done");
        };
        let hanging = join_all((0..20).map(|_| one(0)));
        let watched = async {
            let begun = Instant::now();
            join_all((0..6).map(|_| one(1))).await;
            begun.elapsed()
        };
        tokio::select! {
            _ = hanging => panic!("it hangs"),
            took = watched => assert_eq!(took, Duration::from_secs(2)),
        }
    }
}
