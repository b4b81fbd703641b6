//! Beginning with a few: after each step the outcomes of what was sent are waited for, and too many failures end it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::arrivals::Arrival;
use super::make::ends;
use super::outcomes::{Asked, ReplayState, Watch};
use super::{ApplySettings, AuditLines, Ended, Plan, ReplayError};

/// The pause between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(500);
const NAP: Duration = Duration::from_millis(50);

/// How to begin.
#[derive(Debug, Clone, PartialEq)]
pub struct Canary {
    /// How many are sent in each step; after the last the rest goes.
    pub steps: Vec<u64>,
    /// The share of failures, 0 to 1, above which it ends.
    pub abort_above: f64,
    /// How long the outcomes of a step may take.
    pub timeout: Duration,
}

impl Canary {
    /// These steps, ended by more than 5 % of failures; the outcomes of each may take five minutes.
    pub fn of(steps: Vec<u64>) -> Self {
        Self { steps, abort_above: 0.05, timeout: Duration::from_secs(300) }
    }
}

/// The steps that are still to be taken.
pub(super) struct Steps<'a> {
    canary: &'a Canary,
    plan: &'a Plan,
    watch: Watch<'a>,
    left: VecDeque<u64>,
    /// How many of the present step were sent.
    in_step: u64,
    /// Outcomes of all steps.
    processed: u64,
    failed: u64,
}

impl<'a> Steps<'a> {
    /// The steps, if there are any. New dead letters are looked for from here on.
    pub(super) fn new(
        settings: &'a ApplySettings<'a>,
        plan: &'a Plan,
        audit: Option<&'a dyn AuditLines>,
    ) -> Result<Option<Self>, ReplayError> {
        let Some(canary) = settings.canary.as_ref().filter(|canary| !canary.steps.is_empty()) else {
            return Ok(None);
        };
        let watch = Watch {
            kafka: settings.kafka,
            dlq_topic: &plan.dlq_topic,
            dlq_from: ends(settings.kafka, &plan.dlq_topic)?,
            audit,
            group: settings.group,
            fallback_group: settings.fallback_group,
        };
        let left = canary.steps.iter().copied().collect();
        Ok(Some(Self { canary, plan, watch, left, in_step: 0, processed: 0, failed: 0 }))
    }

    /// Counts one that was sent; true when the step is complete with it.
    pub(super) fn is_full_with_one_more(&mut self) -> bool {
        self.in_step += 1;
        self.left.front().is_some_and(|step| self.in_step >= *step)
    }

    /// Whether the rest may go.
    pub(super) fn are_over(&self) -> bool {
        self.left.is_empty()
    }

    /// What became of all that were sent up to now: processed, and failed again.
    pub(super) fn outcomes(&self) -> (u64, u64) {
        (self.processed, self.failed)
    }

    /// Waits for the outcomes of the step. [`Ended::Complete`] says that the next one may begin.
    pub(super) fn look(
        &mut self,
        arrived: &mut HashMap<usize, Arrival>,
        stop: &dyn Fn() -> bool,
    ) -> Result<Ended, ReplayError> {
        self.left.pop_front();
        self.in_step = 0;
        let sent = std::mem::take(arrived);
        let asked: Vec<Asked<'_>> = sent
            .iter()
            .map(|(at, arrival)| {
                let entry = &self.plan.entries[*at];
                Asked { replay_id: entry.replay_id, group: entry.group.as_deref(), arrival: Some(arrival) }
            })
            .collect();
        let begun = Instant::now();
        loop {
            let mut counts: BTreeMap<ReplayState, u64> = BTreeMap::new();
            for outcome in self.watch.outcomes(&asked)? {
                *counts.entry(outcome.state).or_default() += 1;
            }
            let count = |state| counts.get(&state).copied().unwrap_or(0);
            let (processed, failed) = (
                self.processed + count(ReplayState::Processed),
                self.failed + count(ReplayState::FailedAgain),
            );
            if let Some(why) = self.too_many(processed, failed) {
                (self.processed, self.failed) = (processed, failed);
                return Ok(Ended::Aborted(why));
            }
            let pending = count(ReplayState::Pending);
            if pending == 0 {
                (self.processed, self.failed) = (processed, failed);
                tracing::info!(processed, failed, "the canary's step is through");
                return Ok(Ended::Complete);
            }
            if begun.elapsed() >= self.canary.timeout {
                return Ok(Ended::Aborted(format!(
                    "{pending} of {} replays have no outcome after {} s: does their consumer run?",
                    asked.len(),
                    begun.elapsed().as_secs()
                )));
            }
            let looked = Instant::now();
            while looked.elapsed() < LOOK_PAUSE {
                if stop() {
                    return Ok(Ended::Stopped);
                }
                std::thread::sleep(NAP);
            }
        }
    }

    /// Why it has to end, of those that have an outcome.
    fn too_many(&self, processed: u64, failed: u64) -> Option<String> {
        #[expect(clippy::cast_precision_loss, reason = "a share of at most some millions")]
        let share = failed as f64 / (processed + failed).max(1) as f64;
        (share > self.canary.abort_above).then(|| {
            format!(
                "{failed} of {} replays failed again, more than {}%",
                processed + failed,
                self.canary.abort_above * 100.0
            )
        })
    }
}
