//! The sending of one apply, record by record: at its pace, through the steps of the canary, with word of how far it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::canary::Steps;
use super::prepare::Prepared;
use super::send::Sender;
use super::{ApplySettings, AuditLines, Ended, LeftOut, Plan, ReplayError};

/// The longest sleep while a record is not due: a stop is noticed so soon.
const NAP: Duration = Duration::from_millis(50);
/// How long an open transaction waits for more that is to be sent.
const LATE: Duration = Duration::from_secs(1);
/// Being this late is caught up with; what was missed in a longer stall is not sent in a burst.
const CATCH_UP: Duration = Duration::from_secs(1);

/// How far an apply is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Entries that are dealt with.
    pub done: u64,
    /// All that are to be dealt with.
    pub total: u64,
    /// Replays that are committed, by their target.
    pub sent: BTreeMap<Arc<str>, u64>,
    /// Replays that an earlier run had sent.
    pub found: u64,
    /// Entries that were left out, by why.
    pub left_out: BTreeMap<LeftOut, u64>,
    /// Entries that could not be sent, by the kind of trouble.
    pub problems: BTreeMap<&'static str, u64>,
    /// The canary's replays that were processed.
    pub canary_processed: u64,
    /// The canary's replays that failed again.
    pub canary_failed: u64,
    /// Since the first record was sent.
    pub took: Duration,
}

/// The sending of one apply.
pub(super) struct Run<'a, 'b> {
    settings: &'a ApplySettings<'a>,
    plan: &'a Plan,
    audit: Option<&'a dyn AuditLines>,
    stop: &'a dyn Fn() -> bool,
    tell: &'b mut dyn FnMut(&Progress),
    progress: Progress,
    /// Entries that could not be sent, before the sender saw any.
    problems: BTreeMap<&'static str, u64>,
    begun: Option<Instant>,
    /// Since when the rate is kept, and how many records were due since.
    pace: Option<(Instant, u64)>,
    sender: Sender<'a>,
}

/// How the sending went.
pub(super) struct Went<'a> {
    pub ended: Ended,
    pub sender: Sender<'a>,
    /// Entries that are dealt with.
    pub done: u64,
    /// When the first record was sent.
    pub begun: Option<Instant>,
}

type Batches = Receiver<Result<Vec<Prepared>, ReplayError>>;

impl<'a, 'b> Run<'a, 'b> {
    /// `before` is what is known before anything is sent.
    pub(super) fn new(
        settings: &'a ApplySettings<'a>,
        plan: &'a Plan,
        audit: Option<&'a dyn AuditLines>,
        stop: &'a dyn Fn() -> bool,
        tell: &'b mut dyn FnMut(&Progress),
        before: Progress,
        sender: Sender<'a>,
    ) -> Self {
        let problems = before.problems.clone();
        Self {
            settings,
            plan,
            audit,
            stop,
            tell,
            progress: before,
            problems,
            begun: None,
            pace: None,
            sender,
        }
    }

    pub(super) fn go(mut self, prepared: &Batches) -> Result<Went<'a>, ReplayError> {
        let mut steps = Steps::new(self.settings, self.plan, self.audit)?;
        self.sender.watched = steps.is_some();
        let mut ended = Ended::Complete;
        self.tell();
        'all: loop {
            let batch = match prepared.recv_timeout(LATE) {
                Ok(batch) => batch?,
                Err(RecvTimeoutError::Disconnected) => break,
                // Whoever reads the target would wait as well, and in the end the broker would give it up.
                Err(RecvTimeoutError::Timeout) => {
                    self.sender.finish()?;
                    self.tell();
                    continue;
                }
            };
            for prepared in batch {
                let item = match prepared {
                    Prepared::Item(item) => item,
                    Prepared::Problem(at, kind, why) => {
                        self.sender.problems.add(self.plan.entries[at].id, kind, why);
                        self.progress.done += 1;
                        continue;
                    }
                };
                if !self.wait_until_due()? {
                    ended = Ended::Stopped;
                    break 'all;
                }
                self.begun.get_or_insert_with(Instant::now);
                self.sender.push(*item)?;
                self.progress.done += 1;
                if let Some(of) = steps.as_mut()
                    && of.is_full_with_one_more()
                {
                    self.sender.finish()?;
                    self.tell();
                    let looked = of.look(&mut self.sender.arrived, self.stop)?;
                    (self.progress.canary_processed, self.progress.canary_failed) = of.outcomes();
                    self.tell();
                    if looked != Ended::Complete {
                        ended = looked;
                        break 'all;
                    }
                    if of.are_over() {
                        steps = None;
                        self.sender.watched = false;
                    }
                }
            }
            self.tell();
        }
        // At a boundary, whatever it was that ended it.
        self.sender.finish()?;
        self.tell();
        Ok(Went { ended, sender: self.sender, done: self.progress.done, begun: self.begun })
    }

    fn tell(&mut self) {
        self.progress.sent.clone_from(&self.sender.taking);
        self.progress.problems.clone_from(&self.problems);
        for (kind, count) in &self.sender.problems.counts {
            *self.progress.problems.entry(*kind).or_default() += count;
        }
        self.progress.took = self.begun.map_or(Duration::ZERO, |begun| begun.elapsed());
        (self.tell)(&self.progress);
    }

    /// Waits for the next record's time, ending transactions that would stay open; false when it is told to stop.
    fn wait_until_due(&mut self) -> Result<bool, ReplayError> {
        loop {
            if (self.stop)() {
                return Ok(false);
            }
            let Some(rate) = self.settings.rate else { return Ok(true) };
            // From the first record on, so that what came before is no reason for a burst; nor is a long stall.
            let (begun, number) = self.pace.unwrap_or((Instant::now(), 0));
            #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 records")]
            let due = Duration::try_from_secs_f64(number as f64 / rate).unwrap_or(Duration::MAX);
            let left = due.saturating_sub(begun.elapsed());
            if left.is_zero() {
                let is_late = begun.elapsed().saturating_sub(due) > CATCH_UP;
                self.pace = Some(if is_late { (Instant::now(), 1) } else { (begun, number + 1) });
                return Ok(true);
            }
            if self.sender.is_due() {
                self.sender.finish()?;
                self.tell();
            } else {
                std::thread::sleep(left.min(NAP));
            }
        }
    }
}
