//! One assigned partition: its ledger, the tasks that work on it, and how much of it is let in. The poll thread owns it.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::finish::Finisher;
use super::heads::Heads;
use super::judge::Judge;
use super::notify::Outlet;
use super::standing::Standing;
use super::stats::Stats;
use super::{Admission, Ledger, worker};
use crate::audit::{AuditWriter, Durable, OffsetSet, Scope};
use crate::config::Ordering;
use crate::record::{Record, TopicPartition};

/// Records are handed to the worker in batches of this many, or when the poll finds no more.
const BATCH: usize = 256;

/// What every partition's tasks share.
pub(super) struct Shared {
    pub(super) runtime: Handle,
    pub(super) judge: Arc<Judge>,
    pub(super) writer: AuditWriter,
    pub(super) stats: Arc<Stats>,
    pub(super) standing: Arc<Standing>,
    pub(super) group: Arc<str>,
    pub(super) ordering: Ordering,
    /// How many partitions the dead letter topic has.
    pub(super) dlq_partitions: i32,
    /// The topic's id, where the broker tells it.
    pub(super) topic_id: Option<String>,
    /// Where the journal's heads go, if that topic can be had.
    pub(super) heads: Option<Heads>,
    /// Where outcomes go as well, once their lines are on disk.
    pub(super) outlet: Option<Outlet>,
}

/// One partition, for one assignment of it.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) at: TopicPartition,
    pub(super) ledger: Ledger,
    pub(super) paused: bool,
    /// Where the assignment began.
    pub(super) start: i64,
    scope: Scope,
    stop: CancellationToken,
    records: Option<UnboundedSender<Vec<Record>>>,
    batch: Vec<Record>,
    tasks: [JoinHandle<()>; 2],
    drained: bool,
}

impl Part {
    /// Starts the partition's worker and finisher.
    pub(super) fn start(at: TopicPartition, epoch: u64, start: i64, ledger: Ledger, shared: &Shared) -> Self {
        let scope = Scope::new(at.partition, epoch);
        let stop = CancellationToken::new();
        let (records, to_worker) = unbounded_channel();
        let (results, to_finisher) = unbounded_channel();
        let judge = Arc::clone(&shared.judge);
        let finisher = Finisher {
            handler: Arc::clone(&judge.handler),
            writer: shared.writer.clone(),
            scope: scope.clone(),
            group: Arc::clone(&shared.group),
            stats: Arc::clone(&shared.stats),
            keeps: shared.outlet.is_some(),
        };
        let worker = worker::run(judge, shared.ordering, to_worker, results, stop.clone());
        let tasks = [shared.runtime.spawn(worker), shared.runtime.spawn(finisher.run(to_finisher))];
        Self {
            at,
            ledger,
            paused: false,
            start,
            scope,
            stop,
            records: Some(records),
            batch: Vec::with_capacity(BATCH),
            tasks,
            drained: false,
        }
    }

    /// Takes a record in, and says for how many bytes it counts. One that comes after the drain began is left for whoever
    /// reads the partition next.
    pub(super) fn take(&mut self, record: Record, writer: &AuditWriter, stats: &Stats) -> usize {
        if self.records.is_none() {
            return 0;
        }
        // It is held as it came, or as its line, whichever is larger.
        let bytes = record.size_bytes().max(writer.line_bytes(&record));
        if self.ledger.delivered(record.offset, bytes) != Admission::Process {
            return 0;
        }
        stats.received(record.payload().len());
        self.batch.push(record);
        if self.batch.len() >= BATCH {
            self.flush();
        }
        bytes
    }

    /// Notes the end of the partition. After the drain began, records may have been left out before it.
    pub(super) fn end_of_partition(&mut self, offset: i64) {
        if self.records.is_some() {
            self.ledger.end_of_partition(offset);
        }
    }

    /// Hands what was collected to the worker.
    pub(super) fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
        if let Some(records) = &self.records {
            // The worker ends before its queue only when it was stopped; then the records have no outcome.
            drop(records.send(batch));
        }
    }

    /// Notes durable outcomes, and says how many bytes are free now; `None` when they are of another assignment.
    pub(super) fn finished(&mut self, durable: &Durable) -> Option<usize> {
        if durable.scope().epoch != self.scope.epoch {
            return None;
        }
        let before = self.ledger.in_flight_bytes();
        self.ledger.finished(durable.offsets());
        if let Some(end) = durable.letters_end() {
            self.ledger.letters_reach(end);
        }
        Some(before - self.ledger.in_flight_bytes())
    }

    /// Starts nothing new, ends waits, lets what runs finish.
    pub(super) fn begin_drain(&mut self) {
        self.stop.cancel();
        self.records = None;
        self.batch.clear();
    }

    /// Whether the drain has begun.
    pub(super) fn is_draining(&self) -> bool {
        self.records.is_none()
    }

    /// Notes that everything that was under way is settled.
    pub(super) fn note_drained(&mut self, scope: &Scope) {
        self.drained |= scope.epoch == self.scope.epoch;
    }

    /// Whether everything that was under way is settled.
    pub(super) fn is_drained(&self) -> bool {
        self.drained
    }

    /// Whether a task has ended before its time: it panicked, and the partition would stand still for ever.
    pub(super) fn has_crashed(&self) -> bool {
        self.records.is_some() && self.tasks.iter().any(JoinHandle::is_finished)
    }

    /// Throws away what is still under way, and keeps the outcomes that are durable but not committed.
    pub(super) fn abandon(mut self) -> (TopicPartition, Scope, OffsetSet) {
        self.begin_drain();
        self.scope.close();
        for task in &self.tasks {
            task.abort();
        }
        (self.at, self.scope, self.ledger.into_settled())
    }
}
