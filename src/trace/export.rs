//! The way of ended spans to the collector: a bounded queue, and a task that sends what is in it in batches. Nobody waits
//! for it: a span that finds no room is dropped and counted, and so is a batch that the collector does not take.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{Receiver, Sender};
use tokio_util::sync::CancellationToken;

use super::collector::Collector;
use super::otlp::SpanData;
use crate::models::safe_short;

/// How many ended spans may wait: about 4 MiB.
pub(super) const QUEUE: usize = 4096;
/// How many are sent at once.
const BATCH: usize = 512;
/// How long a span waits for others to come.
const LINGER: Duration = Duration::from_millis(500);
/// How often a collector that takes nothing is reported.
const NOTICE: Duration = Duration::from_secs(60);

/// What became of ended spans.
#[derive(Debug, Default)]
pub struct SpanCounts {
    exported: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

impl SpanCounts {
    /// How many the collector took, how many found no room in the queue, how many it did not take.
    pub fn read(&self) -> [(&'static str, u64); 3] {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [("exported", read(&self.exported)), ("dropped", read(&self.dropped)), ("failed", read(&self.failed))]
    }
}

/// Where ended spans are put.
#[derive(Debug)]
pub(super) struct Outbox {
    pub(super) queue: Sender<SpanData>,
    pub(super) counts: Arc<SpanCounts>,
}

impl Outbox {
    pub(super) fn put(&self, span: SpanData) {
        if self.queue.try_send(span).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Sends until `stop`, and then what is left.
pub(super) async fn work(
    mut collector: impl Collector,
    mut spans: Receiver<SpanData>,
    counts: Arc<SpanCounts>,
    stop: CancellationToken,
) {
    let mut noticed: Option<Instant> = None;
    loop {
        let mut batch = Vec::with_capacity(BATCH);
        let first = tokio::select! {
            biased;
            first = spans.recv() => first,
            () = stop.cancelled() => {
                spans.close();
                spans.recv().await
            }
        };
        let Some(first) = first else { return };
        batch.push(first);
        let fill = async {
            while batch.len() < BATCH {
                let Some(span) = spans.recv().await else { return };
                batch.push(span);
            }
        };
        tokio::select! {
            biased;
            () = fill => {}
            () = stop.cancelled() => {}
            () = tokio::time::sleep(LINGER) => {}
        }
        let count = batch.len() as u64;
        let Err(why) = collector.take(batch).await else {
            counts.exported.fetch_add(count, Ordering::Relaxed);
            continue;
        };
        counts.failed.fetch_add(count, Ordering::Relaxed);
        if noticed.is_none_or(|at| at.elapsed() >= NOTICE) {
            noticed = Some(Instant::now());
            tracing::warn!(error = safe_short(&why, 300), spans = count, "the collector takes no spans");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Takes what it is given, or refuses it.
    #[derive(Debug, Clone, Default)]
    struct Basket {
        batches: Arc<Mutex<Vec<usize>>>,
        refuses: bool,
    }

    impl Collector for Basket {
        async fn take(&mut self, batch: Vec<SpanData>) -> Result<(), String> {
            self.batches.lock().expect("no panic").push(batch.len());
            if self.refuses { Err("503".to_owned()) } else { Ok(()) }
        }
    }

    fn outbox(room: usize) -> (Outbox, Receiver<SpanData>) {
        let (queue, spans) = tokio::sync::mpsc::channel(room);
        (Outbox { queue, counts: Arc::default() }, spans)
    }

    async fn run(room: usize, put: usize, collector: Basket) -> [(&'static str, u64); 3] {
        let (outbox, spans) = outbox(room);
        for _ in 0..put {
            outbox.put(SpanData::default());
        }
        let stop = CancellationToken::new();
        stop.cancel();
        work(collector, spans, Arc::clone(&outbox.counts), stop).await;
        outbox.counts.read()
    }

    #[tokio::test(start_paused = true)]
    async fn what_finds_no_room_is_dropped_and_counted() {
        let collector = Basket::default();
        let counts = run(10, 25, collector.clone()).await;
        assert_eq!(counts, [("exported", 10), ("dropped", 15), ("failed", 0)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_sends_what_is_left_in_batches() {
        let collector = Basket::default();
        let counts = run(QUEUE, 1200, collector.clone()).await;
        assert_eq!(counts[0], ("exported", 1200));
        let batches = collector.batches.lock().expect("no panic").clone();
        assert!(batches.iter().all(|batch| *batch <= BATCH) && batches.iter().sum::<usize>() == 1200);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_collector_refuses_is_counted_and_given_up() {
        let collector = Basket { refuses: true, ..Basket::default() };
        assert_eq!(run(QUEUE, 7, collector).await, [("exported", 0), ("dropped", 0), ("failed", 7)]);
    }

    #[tokio::test(start_paused = true)]
    async fn spans_wait_a_moment_for_each_other() {
        let (outbox, spans) = outbox(QUEUE);
        let (collector, stop) = (Basket::default(), CancellationToken::new());
        let sending = tokio::spawn(work(collector.clone(), spans, Arc::clone(&outbox.counts), stop.clone()));
        for _ in 0..5 {
            outbox.put(SpanData::default());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(LINGER).await;
        assert_eq!(*collector.batches.lock().expect("no panic"), [5]);
        stop.cancel();
        sending.await.expect("it ends");
    }
}
