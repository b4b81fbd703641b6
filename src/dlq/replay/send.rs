//! Sends replays in transactions: each record is committed once, together with its status, or told as a problem. So
//! whoever sees no status may send. A transaction that fails is given up whole and its records go again, in smaller ones
//! where a single record may be the reason.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::arrivals::Arrival;
use super::settle::{Batch, StatusText};
use super::{Plan, ProblemKind, Problems, ReplayError};
use crate::dlq::status_topic;
use crate::failure::chain_of;
use crate::kafka::{Fault, Outgoing, Report, SendError, TransactionError, TransactionalProducer};

/// How many records a transaction holds at most; fewer where they are large, or slow.
const RECORDS: usize = 50_000;
/// How many bytes: nothing is sent while one is committed, so larger ones cost less; but each has to be through before
/// the broker gives it up, so one that was slow is followed by a smaller one.
const BYTES: std::ops::RangeInclusive<usize> = 4 << 20..=32 << 20;
const LASTS: Duration = Duration::from_secs(1);
/// How long the end of a transaction may take before the next one is made smaller.
const SLOW: Duration = Duration::from_secs(5);
/// How often a transaction is tried again that nobody is to blame for, and the pause before.
const TRIES: u32 = 5;
const TRY_PAUSE: Duration = Duration::from_secs(1);
/// The pause while the producer's queue is full.
const QUEUE_PAUSE: Duration = Duration::from_millis(1);

/// One replay on its way.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// Its entry's number in the plan.
    pub at: usize,
    /// The record.
    pub record: Outgoing,
}

impl Item {
    /// About how many bytes it takes in a batch.
    pub(super) fn bytes(&self) -> usize {
        let Outgoing { key, value, headers, .. } = &self.record;
        let len = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, bytes::Bytes::len);
        let headers: usize = headers.iter().map(|h| h.name.len() + len(&h.value) + 4).sum();
        len(key) + len(value) + headers
    }
}

/// How a transaction ended.
enum Ended {
    Committed(Batch),
    /// Given up; what the client had reported by then.
    Aborted(Vec<Report>),
}

/// Sends replays.
pub(super) struct Sender<'a> {
    plan: &'a Plan,
    /// Who does it.
    by: &'a str,
    status_topic: Arc<str>,
    id: String,
    producer: TransactionalProducer,
    /// Who notes what is committed.
    pub settled: SyncSender<Batch>,
    /// The open transaction's.
    items: Vec<Item>,
    bytes: usize,
    /// How many bytes one may have now.
    room: usize,
    opened: Instant,
    /// Targets that take nothing from us.
    closed: HashSet<Arc<str>>,
    /// Targets that have taken something, and how many records.
    pub taking: BTreeMap<Arc<str>, u64>,
    /// Replays that are committed.
    pub sent: u64,
    /// Where the last ones are; emptied by whoever watches them.
    pub arrived: HashMap<usize, Arrival>,
    /// Whether anybody watches them.
    pub watched: bool,
    /// What could not be sent.
    pub problems: Problems,
}

impl<'a> Sender<'a> {
    pub(super) fn new(
        plan: &'a Plan,
        by: &'a str,
        id: String,
        producer: TransactionalProducer,
        settled: SyncSender<Batch>,
    ) -> Self {
        Self {
            plan,
            by,
            status_topic: status_topic(&plan.dlq_topic).into(),
            id,
            producer,
            settled,
            items: Vec::new(),
            bytes: 0,
            room: 2 * BYTES.start(),
            opened: Instant::now(),
            closed: HashSet::new(),
            taking: BTreeMap::new(),
            sent: 0,
            arrived: HashMap::new(),
            watched: false,
            problems: Problems::default(),
        }
    }

    fn failed(&self, source: TransactionError) -> ReplayError {
        ReplayError::Transaction { id: self.id.clone(), source }
    }

    fn problem(&mut self, at: usize, kind: ProblemKind, message: impl Into<String>) {
        self.problems.add(self.plan.entries[at].id, kind, message);
    }

    /// Puts a replay into the open transaction, or into a new one; ends it when it is full or old enough.
    pub(super) fn push(&mut self, item: Item) -> Result<(), ReplayError> {
        if self.closed.contains(&item.record.topic) {
            self.refuse_topic(&item);
            return Ok(());
        }
        if self.items.is_empty() {
            self.producer.begin().map_err(|e| self.failed(e))?;
            (self.bytes, self.opened) = (0, Instant::now());
        }
        let sent = offer(&mut self.producer, self.items.len(), &item.record);
        // Of any other error the transaction's end says why.
        if let Err(SendError::TooLarge) = sent {
            self.problem(item.at, ProblemKind::RecordRefused, "it is larger than the target takes");
            if self.items.is_empty() {
                // Nothing else is in it.
                self.producer.abort().map_err(|e| self.failed(e))?;
            }
            return Ok(());
        }
        self.bytes += item.bytes();
        self.items.push(item);
        if self.items.len() >= RECORDS || self.bytes >= self.room || self.opened.elapsed() >= LASTS {
            return self.finish();
        }
        Ok(())
    }

    /// Whether the open transaction has lasted long enough.
    pub(super) fn is_due(&self) -> bool {
        !self.items.is_empty() && self.opened.elapsed() >= LASTS
    }

    /// Ends the open transaction, if there is one.
    pub(super) fn finish(&mut self) -> Result<(), ReplayError> {
        if self.items.is_empty() {
            return Ok(());
        }
        let items = std::mem::take(&mut self.items);
        let begun = Instant::now();
        match self.end(&items)? {
            Ended::Committed(batch) => {
                self.room = room_after(self.room, begun.elapsed());
                self.committed(batch)
            }
            Ended::Aborted(reports) => self.again(items, &reports, 1),
        }
    }

    /// Commits the open transaction when every record of it is answered well, and every status too; otherwise gives it up.
    fn end(&mut self, items: &[Item]) -> Result<Ended, ReplayError> {
        let reports = self.producer.settle();
        if reports.len() == items.len() && reports.iter().all(|report| report.result.is_ok()) {
            let arrival = |report: &Report| {
                let item = items.get(report.tag)?;
                let at = *report.result.as_ref().ok()?;
                Some((item.at, Arrival { topic: Arc::clone(&item.record.topic), at }))
            };
            let batch: Batch = reports.iter().filter_map(arrival).collect();
            if self.note(&batch)? {
                match self.producer.commit() {
                    Ok(()) => return Ok(Ended::Committed(batch)),
                    Err(TransactionError::Abort(error)) => {
                        tracing::debug!(%error, "the transaction cannot be committed");
                    }
                    Err(error) => return Err(self.failed(error)),
                }
            }
        }
        self.producer.abort().map_err(|e| self.failed(e))?;
        Ok(Ended::Aborted(reports))
    }

    /// Puts the statuses of what arrived into the open transaction; false when it has to be given up.
    fn note(&mut self, batch: &Batch) -> Result<bool, ReplayError> {
        let mut text = StatusText::new(self.plan, self.by)?;
        let (mut key, mut value) = (Uuid::encode_buffer(), Vec::with_capacity(512));
        for (tag, (at, arrival)) in batch.iter().enumerate() {
            let key = self.plan.entries[*at].id.hyphenated().encode_lower(&mut key).as_bytes();
            value.clear();
            text.write(&mut value, *at, arrival)?;
            if patiently(|| self.producer.send_pair(tag, &self.status_topic, key, &value)).is_err() {
                return Ok(false);
            }
        }
        let mut arrived = 0;
        for report in self.producer.settle() {
            match (report.fault(), report.result) {
                (None, Ok(_)) => arrived += 1,
                (Some(Fault::Topic | Fault::Record), Err(source)) => {
                    // Nothing can be sent without: what is open is given up.
                    if let Err(error) = self.producer.abort() {
                        tracing::debug!(%error, "the transaction cannot be given up");
                    }
                    return Err(ReplayError::Status { topic: self.status_topic.to_string(), source });
                }
                _ => {}
            }
        }
        Ok(arrived == batch.len())
    }

    fn committed(&mut self, batch: Batch) -> Result<(), ReplayError> {
        self.sent += batch.len() as u64;
        for (at, arrival) in &batch {
            match self.taking.get_mut(&*arrival.topic) {
                Some(count) => *count += 1,
                None => drop(self.taking.insert(Arc::clone(&arrival.topic), 1)),
            }
            if self.watched {
                self.arrived.insert(*at, arrival.clone());
            }
        }
        self.settled.send(batch).map_err(|_| ReplayError::Thread)
    }

    /// Sends the records of a transaction that was given up.
    fn again(&mut self, items: Vec<Item>, reports: &[Report], tries: u32) -> Result<(), ReplayError> {
        let mut rest = Vec::with_capacity(items.len());
        let faults: HashMap<usize, (Fault, String)> =
            reports.iter().filter_map(|report| Some((report.tag, (report.fault()?, told(report))))).collect();
        let single = items.len() == 1;
        let mut is_known = false;
        for (tag, item) in items.into_iter().enumerate() {
            match faults.get(&tag) {
                Some((Fault::Topic, why)) => {
                    tracing::warn!(why, "nothing more is sent to {}", item.record.topic);
                    self.closed.insert(Arc::clone(&item.record.topic));
                    is_known = true;
                    rest.push(item);
                }
                // Brokers judge whole batches: only alone is a record known to be the reason.
                Some((Fault::Record, why)) if single => {
                    self.problem(
                        item.at,
                        ProblemKind::RecordRefused,
                        format!("the target refuses it: {why}"),
                    );
                    return Ok(());
                }
                _ => rest.push(item),
            }
        }
        let is_records = faults.values().any(|(fault, _)| *fault == Fault::Record);
        rest.retain(|item| {
            let is_closed = self.closed.contains(&item.record.topic);
            if is_closed {
                let id = self.plan.entries[item.at].id;
                self.problems.add(id, ProblemKind::TargetForbidden, closed_message(&item.record.topic));
            }
            !is_closed
        });
        if rest.is_empty() {
            return Ok(());
        }
        if is_records {
            // Halves, until the one to blame is alone.
            let half = rest.split_off(rest.len().div_ceil(2));
            self.transact(rest, 1)?;
            return if half.is_empty() { Ok(()) } else { self.transact(half, 1) };
        }
        if is_known {
            return self.transact(rest, 1);
        }
        if tries >= TRIES {
            return self.probe(rest);
        }
        std::thread::sleep(TRY_PAUSE);
        self.transact(rest, tries + 1)
    }

    /// One whole transaction, and what follows when it fails.
    fn transact(&mut self, items: Vec<Item>, tries: u32) -> Result<(), ReplayError> {
        self.producer.begin().map_err(|e| self.failed(e))?;
        for (tag, item) in items.iter().enumerate() {
            if offer(&mut self.producer, tag, &item.record).is_err() {
                break;
            }
        }
        match self.end(&items)? {
            Ended::Committed(batch) => self.committed(batch),
            Ended::Aborted(reports) => self.again(items, &reports, tries),
        }
    }

    /// Nobody says who is to blame: each target is tried with one record alone. One that never took anything and does not
    /// take this is closed; if all of them take theirs, the whole is at an end, and can be gone on with later.
    fn probe(&mut self, items: Vec<Item>) -> Result<(), ReplayError> {
        let mut rest: Vec<Item> = Vec::new();
        let mut tried: HashSet<Arc<str>> = HashSet::new();
        let mut has_closed = false;
        for item in items {
            let topic = Arc::clone(&item.record.topic);
            if self.closed.contains(&topic) {
                self.refuse_topic(&item);
                continue;
            }
            if self.taking.contains_key(&topic) || !tried.insert(Arc::clone(&topic)) {
                rest.push(item);
                continue;
            }
            self.producer.begin().map_err(|e| self.failed(e))?;
            let offered = offer(&mut self.producer, 0, &item.record);
            match (offered, self.end(std::slice::from_ref(&item))?) {
                (Ok(()), Ended::Committed(batch)) => self.committed(batch)?,
                _ => {
                    self.closed.insert(topic);
                    has_closed = true;
                    self.refuse_topic(&item);
                }
            }
        }
        let mut open: Vec<Item> = Vec::new();
        for item in rest {
            if self.closed.contains(&item.record.topic) { self.refuse_topic(&item) } else { open.push(item) }
        }
        match (open.is_empty(), has_closed) {
            (true, _) => Ok(()),
            (false, true) => self.transact(open, 1),
            (false, false) => Err(ReplayError::Stuck),
        }
    }

    fn refuse_topic(&mut self, item: &Item) {
        self.problem(item.at, ProblemKind::TargetForbidden, closed_message(&item.record.topic));
    }
}

/// How many bytes the next transaction may have, after one whose end took so long.
fn room_after(room: usize, took: Duration) -> usize {
    let next = match took {
        slow if slow > SLOW => room / 2,
        quick if quick < LASTS => room * 2,
        _ => room,
    };
    next.clamp(*BYTES.start(), *BYTES.end())
}

fn closed_message(topic: &str) -> String {
    format!("the target {topic} takes nothing from us: missing rights, or it is gone")
}

fn told(report: &Report) -> String {
    report.result.as_ref().err().map(|error| chain_of(error)).unwrap_or_default()
}

/// Puts a record into the open transaction, waiting for room.
fn offer(producer: &mut TransactionalProducer, tag: usize, record: &Outgoing) -> Result<(), SendError> {
    patiently(|| producer.send(tag, record))
}

/// Sends, waiting for room.
fn patiently(mut send: impl FnMut() -> Result<(), SendError>) -> Result<(), SendError> {
    let begun = Instant::now();
    loop {
        match send() {
            Err(SendError::QueueFull) if begun.elapsed() < Duration::from_secs(60) => {
                std::thread::sleep(QUEUE_PAUSE);
            }
            ended => return ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_grow_where_they_are_quick_and_shrink_where_they_are_slow() {
        let mut room = 2 * BYTES.start();
        for (millis, expected) in
            [(100, 16 << 20), (100, 32 << 20), (0, 32 << 20), (2_000, 32 << 20), (6_000, 16 << 20)]
        {
            room = room_after(room, Duration::from_millis(millis));
            assert_eq!(room, expected, "after {millis} ms");
        }
        for _ in 0..9 {
            room = room_after(room, Duration::from_secs(20));
        }
        assert_eq!(room, *BYTES.start());
    }
}
