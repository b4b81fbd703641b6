//! One record → one result: decode, validate, deliver. Writes nothing and commits nothing.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::gate::{Gate, Lane};
use super::guard::{Guard, Pass, Verdict};
use super::stats::Stats;
use super::traces::{self, Traced, Traces};
use crate::dlq::{Attempted, Exhausted, Handler, KafkaSink};
use crate::failure::{Category, Failure};
use crate::models::{DecodeLimits, decode, validate};
use crate::record::Record;
use crate::trace::Span;

/// A record whose processing has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) record: Record,
    /// Whether the payload is an order.
    pub(super) deserialized: bool,
    /// The attempts that a success took, or why the record was given up.
    pub(super) result: Result<u32, Exhausted>,
    /// The sending of its dead letter, where it is traced.
    pub(super) letter: Option<Box<Span>>,
}

/// What can be said of a record without waiting for anything.
#[derive(Debug)]
pub(super) enum Examined {
    Ended(Ended),
    /// A valid order that the delivery target has to accept first.
    ToDeliver(Record, Traced),
}

/// Judges records. Shared by every partition.
#[derive(Debug)]
pub(super) struct Judge {
    pub(super) limits: DecodeLimits,
    /// What is done with each order; without it, validation is the whole processing.
    pub(super) gate: Option<Arc<Gate>>,
    /// Whether payloads need not be orders.
    pub(super) takes_any: bool,
    pub(super) guard: Option<Arc<Guard>>,
    pub(super) handler: Arc<Handler<KafkaSink>>,
    pub(super) stats: Arc<Stats>,
    /// Where traces are exported.
    pub(super) traces: Option<Traces>,
}

impl Judge {
    /// Decodes and validates; where there is no delivery target, that is the whole processing.
    pub(super) fn examine(&self, record: Record) -> Examined {
        let traced = Traced::begin(self.traces.as_ref(), &record);
        if self.takes_any && self.gate.is_some() {
            return Examined::ToDeliver(record, traced);
        }
        let begun = Instant::now();
        // A panic here is a defect of ours; its record must not take the partition with it.
        let (deserialized, failure) = panic::catch_unwind(AssertUnwindSafe(|| self.read(&record)))
            .unwrap_or_else(|_| (false, Some(Failure::new(Category::Unknown, "reading the order panicked"))));
        let result = match (failure, &self.gate) {
            (Some(failure), _) => Err(Exhausted::at_once(failure)),
            (None, Some(_)) => return Examined::ToDeliver(record, traced),
            (None, None) => Ok(1),
        };
        self.stats.process.observe(begun.elapsed());
        let letter = traced.end(&result, self.traces.as_ref());
        Examined::Ended(Ended { record, deserialized, result, letter })
    }

    /// Whether the payload is an order, and what is wrong with it.
    fn read(&self, record: &Record) -> (bool, Option<Failure>) {
        match decode(record.value.as_deref(), &self.limits) {
            Err(error) => {
                (false, Some(Failure::caused_by(error.category(), "the payload is not an order", error)))
            }
            Ok(order) => match validate(&order) {
                Err(error) => {
                    (true, Some(Failure::caused_by(error.category(), "the order is not valid", error)))
                }
                Ok(()) => (true, None),
            },
        }
    }

    /// A partition's own way to the target, if there is one.
    pub(super) fn lane(&self) -> Option<Lane> {
        self.gate.as_ref().map(Gate::lane)
    }

    /// Hands a record to its target, with retries; `None` when `stop` came first. The guards stand in this order: the
    /// outage guard, the partition's places, the rate, the places of all, then the attempt with its time limit, then the wait for the next one, which
    /// takes the same way again. While the outage guard holds the target to be out, the record waits: that is neither an
    /// attempt nor an outcome.
    pub(super) async fn deliver(
        &self,
        lane: Option<&Lane>,
        record: Record,
        traced: Traced,
        stop: &CancellationToken,
    ) -> Option<Ended> {
        let deserialized = !self.takes_any;
        let traces = self.traces.as_ref();
        let Some(lane) = lane else {
            return Some(Ended { record, deserialized, result: Ok(1), letter: None });
        };
        let begun = Instant::now();
        let mut delays = None;
        let mut before = None;
        let result = loop {
            let pass = match &self.guard {
                Some(guard) => Some(guard.admit(stop).await?),
                None => None,
            };
            let mut place = lane.enter(stop).await?;
            // Very many may have been let in, and wait for a place, when the guard opens.
            if pass.as_ref().is_some_and(Pass::is_stale) {
                continue;
            }
            let attempt = |record: &Record| {
                let (span, record) = traced.attempt(traces, record);
                let work = place.run(record);
                async move {
                    let result = work.await;
                    traces::attempted(span, &result);
                    result
                }
            };
            let attempted = self.handler.attempt_once(stop, &record, attempt).await;
            drop(place);
            lane.count(&attempted);
            let exhausted = match attempted {
                Attempted::Interrupted => return None,
                Attempted::Done { attempts, .. } => {
                    if let Some(pass) = pass {
                        pass.answered();
                    }
                    break Ok(attempts + attempts_of(before.as_ref()));
                }
                Attempted::Failed(exhausted) => exhausted.after(before.take()),
            };
            let is_probe = pass.as_ref().is_some_and(Pass::is_probe);
            if exhausted.failure.category().is_retryable()
                && !is_probe
                && let Some(delay) = delays.get_or_insert_with(|| self.handler.retry().delays()).next()
            {
                // An attempt that is not the last one says nothing of the target yet.
                drop(pass);
                wait_to_retry(&record, &exhausted, delay, stop).await?;
                before = Some(exhausted);
                continue;
            }
            let verdict =
                pass.map_or(Verdict::Final, |pass| pass.failed(record.key.as_ref(), &exhausted.failure));
            match verdict {
                Verdict::Final => break Err(exhausted),
                Verdict::Wait => {
                    before = Some(exhausted);
                    delays = None;
                }
            }
        };
        self.stats.process.observe(begun.elapsed());
        let letter = traced.end(&result, traces);
        Some(Ended { record, deserialized, result, letter })
    }
}

/// Waits; `None` when `stop` comes first.
async fn wait_to_retry(
    record: &Record,
    exhausted: &Exhausted,
    delay: Duration,
    stop: &CancellationToken,
) -> Option<()> {
    tracing::debug!(
        topic = &*record.topic,
        partition = record.partition,
        offset = record.offset,
        attempts = exhausted.attempts,
        category = exhausted.failure.category().as_str(),
        delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
        "attempt failed, trying again after the delay",
    );
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        () = tokio::time::sleep(delay) => Some(()),
    }
}

fn attempts_of(exhausted: Option<&Exhausted>) -> u32 {
    exhausted.map_or(0, |exhausted| exhausted.attempts)
}
