//! One record → one result: decode, validate, deliver. Writes nothing and commits nothing.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::deliver::Target;
use super::guard::{Guard, Pass, Verdict};
use super::stats::Stats;
use crate::dlq::{Attempted, Exhausted, Handler, KafkaSink};
use crate::failure::{Category, Failure};
use crate::models::{DecodeLimits, decode, validate};
use crate::record::Record;

/// A record whose processing has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) record: Record,
    /// Whether the payload is an order.
    pub(super) deserialized: bool,
    /// The attempts that a success took, or why the record was given up.
    pub(super) result: Result<u32, Exhausted>,
}

/// What can be said of a record without waiting for anything.
#[derive(Debug)]
pub(super) enum Examined {
    Ended(Ended),
    /// A valid order that the delivery target has to accept first.
    ToDeliver(Record),
}

/// Judges records. Shared by every partition.
#[derive(Debug)]
pub(super) struct Judge {
    pub(super) limits: DecodeLimits,
    pub(super) target: Option<Target>,
    pub(super) guard: Option<Arc<Guard>>,
    pub(super) handler: Arc<Handler<KafkaSink>>,
    pub(super) stats: Arc<Stats>,
}

impl Judge {
    /// Decodes and validates; where there is no delivery target, that is the whole processing.
    pub(super) fn examine(&self, record: Record) -> Examined {
        let begun = Instant::now();
        // A panic here is a defect of ours; its record must not take the partition with it.
        let (deserialized, failure) = panic::catch_unwind(AssertUnwindSafe(|| self.read(&record)))
            .unwrap_or_else(|_| (false, Some(Failure::new(Category::Unknown, "reading the order panicked"))));
        let result = match (failure, &self.target) {
            (Some(failure), _) => Err(Exhausted::at_once(failure)),
            (None, Some(_)) => return Examined::ToDeliver(record),
            (None, None) => Ok(1),
        };
        self.stats.process.observe(begun.elapsed());
        Examined::Ended(Ended { record, deserialized, result })
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

    /// Delivers a valid order with retries; `None` when `stop` came first. While the guard holds the target to be out,
    /// the record waits: that is neither an attempt nor an outcome.
    pub(super) async fn deliver(&self, record: Record, stop: &CancellationToken) -> Option<Ended> {
        let Some(target) = &self.target else {
            return Some(Ended { record, deserialized: true, result: Ok(1) });
        };
        let begun = Instant::now();
        let mut before = None;
        let result = loop {
            let pass = match &self.guard {
                Some(guard) => Some(guard.admit(stop).await?),
                None => None,
            };
            let probe = pass.as_ref().is_some_and(Pass::is_probe);
            let attempted = if probe {
                self.handler.attempt_once(stop, &record, |record| target.post(record)).await
            } else {
                self.handler.attempt(stop, &record, |record| target.post(record)).await
            };
            match attempted {
                Attempted::Interrupted => return None,
                Attempted::Done { attempts, .. } => {
                    if let Some(pass) = pass {
                        pass.answered();
                    }
                    break Ok(attempts + attempts_of(before.as_ref()));
                }
                Attempted::Failed(exhausted) => {
                    let exhausted = exhausted.after(before.take());
                    let verdict = pass
                        .map_or(Verdict::Final, |pass| pass.failed(record.key.as_ref(), &exhausted.failure));
                    match verdict {
                        Verdict::Final => break Err(exhausted),
                        Verdict::Wait => before = Some(exhausted),
                    }
                }
            }
        };
        self.stats.process.observe(begun.elapsed());
        Some(Ended { record, deserialized: true, result })
    }
}

fn attempts_of(exhausted: Option<&Exhausted>) -> u32 {
    exhausted.map_or(0, |exhausted| exhausted.attempts)
}
