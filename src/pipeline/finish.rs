//! The second half of a partition's way: results in, dead letters published and acknowledged, then one line for each
//! record to the audit writer, in the order in which the results came.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedReceiver;

use super::judge::Ended;
use super::stats::Stats;
use super::traces;
use crate::audit::{AuditWriter, Judged, Lines, Scope, Verdict};
use crate::dlq::{Buried, Exhausted, Handler, KafkaSink};
use crate::failpoint;
use crate::failure::chain_of;
use crate::record::Record;
use crate::trace::Span;

/// How many results are taken together.
const GROUP: usize = 64;
/// Of how many bytes of records dead letters set out together; the next ones wait until all of them are acknowledged. The
/// letter of a small record is two to three times as long, so that [`KafkaSink::AT_ONCE`] are about one request.
const LETTERS_BYTES: usize = 384 << 10;
/// How long to wait before a dead letter that could not be stored is tried again.
const SINK_PAUSE: Duration = Duration::from_secs(1);
/// How often a dead letter topic that stays unwritable is reported.
const SINK_NOTICE: Duration = Duration::from_secs(10);

/// Finishes one partition's results, for one assignment.
pub(super) struct Finisher {
    pub(super) handler: Arc<Handler<KafkaSink>>,
    pub(super) writer: AuditWriter,
    pub(super) scope: Scope,
    pub(super) group: Arc<str>,
    pub(super) stats: Arc<Stats>,
    /// Whether records are wanted back once their lines are on disk.
    pub(super) keeps: bool,
}

/// A result in its place: what comes after it waits for it.
enum Place {
    Ready(Judged),
    /// The next dead letter that is acknowledged, of a record of this size.
    Letter(usize),
}

impl Finisher {
    /// Works until the results end, then says so to the writer.
    pub(super) async fn run(self, mut results: UnboundedReceiver<Vec<Ended>>) {
        let mut waiting = Vec::with_capacity(GROUP);
        while results.recv_many(&mut waiting, GROUP).await > 0 {
            let count = waiting.iter().map(Vec::len).sum();
            self.finish(count, waiting.drain(..).flatten()).await;
        }
        self.writer.end(&self.scope);
    }

    async fn finish(&self, mut count: usize, mut results: impl Iterator<Item = Ended>) {
        let mut places = VecDeque::new();
        let mut letters = FuturesOrdered::new();
        let mut letter_bytes = 0;
        loop {
            // What is ready and has nothing before it goes straight into its line.
            let mut page = Page::new(self, count);
            let mut is_open = letters.is_empty();
            while is_open {
                let Some(Ended { record, deserialized, result, letter }) = results.next() else { break };
                count -= 1;
                match result {
                    Ok(attempts) => {
                        let verdict = Verdict::Processed { attempts };
                        let judged = Judged { record, deserialized, verdict };
                        if letters.is_empty() {
                            page.write(judged);
                        } else {
                            places.push_back(Place::Ready(judged));
                        }
                    }
                    Err(exhausted) => {
                        let bytes = record.size_bytes();
                        letter_bytes += bytes;
                        places.push_back(Place::Letter(bytes));
                        letters.push_back(self.settle(record, deserialized, exhausted, letter));
                        is_open = letters.len() < KafkaSink::AT_ONCE && letter_bytes < LETTERS_BYTES;
                    }
                }
            }
            page.hand_over();
            // A dead letter that waits for its topic holds back what comes after it, never what came before.
            let mut acknowledged = letters.next().await;
            if acknowledged.is_none() {
                return;
            }
            let mut page = Page::new(self, places.len());
            while let Some(place) = places.pop_front() {
                match place {
                    Place::Ready(judged) => page.write(judged),
                    Place::Letter(bytes) => {
                        let next = acknowledged.take().or_else(|| letters.next().now_or_never().flatten());
                        let Some(judged) = next else {
                            places.push_front(place);
                            break;
                        };
                        letter_bytes -= bytes;
                        page.write(judged);
                    }
                }
            }
            page.hand_over();
        }
    }

    /// Waits for the dead letter of a failed record, however long that takes: without it there is no outcome.
    async fn settle(
        &self,
        record: Record,
        deserialized: bool,
        exhausted: Exhausted,
        letter: Option<Box<Span>>,
    ) -> Judged {
        let buried = self.bury(&record, &exhausted).await;
        traces::buried(letter, &buried);
        Judged { record, deserialized, verdict: Verdict::DeadLettered(buried) }
    }

    async fn bury(&self, record: &Record, exhausted: &Exhausted) -> Buried {
        let mut noticed: Option<Instant> = None;
        loop {
            match self.handler.bury(record, exhausted).await {
                Ok(buried) => {
                    failpoint::reached("after-publish");
                    return buried;
                }
                Err(error) => {
                    if noticed.is_none_or(|at| at.elapsed() >= SINK_NOTICE) {
                        noticed = Some(Instant::now());
                        tracing::error!(
                            error = chain_of(&error),
                            partition = record.partition,
                            offset = record.offset,
                            "a dead letter cannot be stored: its partition waits until it can",
                        );
                    }
                    tokio::time::sleep(SINK_PAUSE).await;
                }
            }
        }
    }
}

/// Lines that are being written, handed over whenever their buffer is full.
struct Page<'f> {
    finisher: &'f Finisher,
    now: Timestamp,
    /// How many lines are still to be expected.
    count: usize,
    lines: Lines,
}

impl<'f> Page<'f> {
    fn new(finisher: &'f Finisher, count: usize) -> Self {
        Self { finisher, now: Timestamp::now(), count, lines: finisher.writer.lines() }
    }

    fn write(&mut self, judged: Judged) {
        let finisher = self.finisher;
        if !self.lines.has_room_for(&judged.record) {
            self.hand_over();
            let bytes = finisher.writer.line_bytes(&judged.record);
            self.lines = finisher.writer.buffer(bytes, bytes.saturating_mul(self.count.max(1)));
        }
        self.count = self.count.saturating_sub(1);
        self.lines.push(&finisher.group, self.now, &judged);
        finisher.stats.count(&judged);
        if finisher.keeps {
            self.lines.keep(Judged { record: judged.record.apart(), ..judged });
        }
    }

    fn hand_over(&mut self) {
        let lines = std::mem::replace(&mut self.lines, self.finisher.writer.lines());
        if !lines.is_empty() {
            self.finisher.stats.outcomes_at(self.now);
            self.finisher.writer.append(&self.finisher.scope, lines);
        }
    }
}
