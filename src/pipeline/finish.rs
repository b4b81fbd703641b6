//! The second half of a partition's way: results in, dead letters published and acknowledged, then one line for each
//! record to the audit writer, in the order in which the results came.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedReceiver;

use super::judge::Ended;
use super::stats::Stats;
use crate::audit::{AuditWriter, Judged, Scope, Verdict};
use crate::dlq::{Buried, Exhausted, Handler, KafkaSink};
use crate::failure::chain_of;
use crate::record::Record;

/// How many results are finished together.
const GROUP: usize = 64;
/// How many dead letters are under way at once.
const DEAD_LETTERS_AT_ONCE: usize = 512;
/// How many outcomes are handed over together, at most.
const WRITTEN_AT_ONCE: usize = 1024;
/// Lines are handed over when they hold this much.
const LINES_BYTES: usize = 512 << 10;
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
}

impl Finisher {
    /// Works until the results end, then says so to the writer.
    pub(super) async fn run(self, mut results: UnboundedReceiver<Vec<Ended>>) {
        let mut waiting = Vec::with_capacity(GROUP);
        while results.recv_many(&mut waiting, GROUP).await > 0 {
            let judged = stream::iter(waiting.drain(..).flatten())
                .map(|ended| self.settle(ended))
                .buffered(DEAD_LETTERS_AT_ONCE)
                .ready_chunks(WRITTEN_AT_ONCE);
            let mut judged = std::pin::pin!(judged);
            // A dead letter that waits for its topic holds back what comes after it, never what came before.
            while let Some(ready) = judged.next().await {
                self.write(&ready);
            }
        }
        self.writer.end(&self.scope);
    }

    /// Waits for the dead letter of a failed record, however long that takes: without it there is no outcome.
    async fn settle(&self, ended: Ended) -> Judged {
        let Ended { record, deserialized, result } = ended;
        let verdict = match result {
            Ok(attempts) => Verdict::Processed { attempts },
            Err(exhausted) => Verdict::DeadLettered(self.bury(&record, &exhausted).await),
        };
        Judged { record, deserialized, verdict }
    }

    async fn bury(&self, record: &Record, exhausted: &Exhausted) -> Buried {
        let mut noticed: Option<Instant> = None;
        loop {
            match self.handler.bury(record, exhausted).await {
                Ok(buried) => return buried,
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

    fn write(&self, judged: &[Judged]) {
        let mut lines = self.writer.lines();
        let now = Timestamp::now();
        for one in judged {
            lines.push(&self.group, now, one);
            self.stats.count(one);
            if lines.size_bytes() >= LINES_BYTES {
                self.writer.append(&self.scope, std::mem::replace(&mut lines, self.writer.lines()));
            }
        }
        if !lines.is_empty() {
            self.writer.append(&self.scope, lines);
        }
    }
}
