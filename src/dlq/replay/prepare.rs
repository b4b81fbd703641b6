//! From an entry of the plan to the record that is sent: the dead letter is read again, and must still be what the plan
//! says. Runs ahead of the sending, on a thread of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use jiff::Timestamp;

use super::apply::target_of;
use super::feed::{Fed, Understood, feed};
use super::payload::Payloads;
use super::record::{Address, replay_record};
use super::send::Item;
use super::targets::{Found, Target};
use super::{ApplySettings, AuditLines, Plan, PlanEntry, ProblemKind, ReplayError, payload_hash};

/// How much is prepared before it is handed on.
const BATCH: usize = 512;
const BATCH_BYTES: usize = 1 << 20;
/// What a record takes in a batch of its own besides its fields, in bytes.
const RECORD_OVERHEAD: usize = 100;

/// What became of an entry.
pub(super) enum Prepared {
    /// It can be sent.
    Item(Box<Item>),
    /// It cannot: its number in the plan, and why.
    Problem(usize, ProblemKind, String),
}

/// Prepares the entries of a plan.
pub(super) struct Workshop<'a> {
    settings: &'a ApplySettings<'a>,
    plan: &'a Plan,
    audit: Option<&'a dyn AuditLines>,
    targets: &'a BTreeMap<String, Found>,
    names: BTreeMap<&'a str, Arc<str>>,
    now: Timestamp,
}

impl<'a> Workshop<'a> {
    pub(super) fn new(
        settings: &'a ApplySettings<'a>,
        plan: &'a Plan,
        targets: &'a BTreeMap<String, Found>,
        audit: Option<&'a dyn AuditLines>,
    ) -> Self {
        let names = targets.keys().map(|name| (name.as_str(), Arc::from(name.as_str()))).collect();
        Self { settings, plan, audit, targets, names, now: Timestamp::now() }
    }

    /// Prepares these entries, in order, until there are no more or nobody takes them.
    pub(super) fn run(&self, chosen: &[usize], give: &SyncSender<Result<Vec<Prepared>, ReplayError>>) {
        if let Err(error) = self.work(chosen, give) {
            // Nobody takes it when the other side has ended by itself.
            drop(give.send(Err(error)));
        }
    }

    fn work(
        &self,
        chosen: &[usize],
        give: &SyncSender<Result<Vec<Prepared>, ReplayError>>,
    ) -> Result<(), ReplayError> {
        let entries: Vec<_> = chosen.iter().map(|at| (*at, &self.plan.entries[*at])).collect();
        let left_out = entries.iter().filter(|(_, entry)| entry.payload_elsewhere).map(|(_, entry)| entry.id);
        let mut payloads = Payloads::new(self.settings.kafka, &left_out.collect(), self.audit)?;
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let mut take = |fed: Fed| {
            let at = fed.at;
            let prepared = match self.prepare(fed, &mut payloads) {
                Ok(item) => {
                    bytes += item.record.value.as_ref().map_or(0, bytes::Bytes::len);
                    Prepared::Item(Box::new(item))
                }
                Err((kind, why)) => Prepared::Problem(at, kind, why),
            };
            batch.push(prepared);
            if batch.len() < BATCH && bytes < BATCH_BYTES {
                return true;
            }
            bytes = 0;
            give.send(Ok(std::mem::take(&mut batch))).is_ok()
        };
        feed(self.settings.kafka, &self.plan.dlq_topic, &entries, &mut take)?;
        drop(give.send(Ok(batch)));
        Ok(())
    }

    fn prepare(&self, fed: Fed, payloads: &mut Payloads<'_>) -> Result<Item, (ProblemKind, String)> {
        let entry = &self.plan.entries[fed.at];
        let gone = || {
            let Plan { dlq_topic, .. } = self.plan;
            let PlanEntry { dlq_partition, dlq_offset, .. } = entry;
            let place = format!("{dlq_topic}/{dlq_partition}@{dlq_offset}");
            (ProblemKind::Gone, format!("it is not at {place} any more: expired, or purged"))
        };
        let Understood { mut letter, hash } = *fed.letter.ok_or_else(gone)?;
        if letter.id != entry.id {
            return Err((ProblemKind::Changed, "at its place is another dead letter".to_owned()));
        }
        let whole = payloads.take_whole(&mut letter).map_err(|why| (ProblemKind::PayloadGone, why))?;
        // What is not within the dead letter is judged only now that it was fetched.
        let hash = hash.or_else(|| whole.value.as_deref().map(blake3::hash));
        if hash.map(|hash| hash.to_hex()).as_deref() != entry.payload_hash.as_deref() {
            let why = "its payload has another hash than when it was planned";
            return Err((ProblemKind::Changed, why.to_owned()));
        }
        let edited = edited(entry)?;
        let (topic, target) = self.target(entry)?;
        let millis = letter.origin.as_ref().and_then(|origin| origin.timestamp).map(|at| at.millis);
        if self.settings.keep_timestamp && millis.is_some_and(|millis| target.has_passed(millis, self.now)) {
            let why = "the target's retention has passed its timestamp: it would be deleted at once; leave out \
                       --keep-timestamp";
            return Err((ProblemKind::TimestampExpired, why.to_owned()));
        }
        let address = Address {
            topic: Arc::clone(topic),
            partitions: target.partitions,
            is_origin: entry.origin.as_ref().is_some_and(|origin| *origin.topic == **topic),
            keep_timestamp: self.settings.keep_timestamp,
        };
        let item = Item { at: fed.at, record: replay_record(entry, &letter, whole, edited, &address) };
        let (bytes, takes) = (item.bytes() + RECORD_OVERHEAD, target.max_message_bytes);
        if bytes > takes {
            let why = format!("it has about {bytes} bytes, and the target takes {takes} (max.message.bytes)");
            return Err((ProblemKind::RecordRefused, why));
        }
        Ok(item)
    }

    fn target(&self, entry: &PlanEntry) -> Result<(&Arc<str>, &Target), (ProblemKind, String)> {
        let unknown = || (ProblemKind::NoTarget, "it has no target".to_owned());
        let name = target_of(entry, self.settings.to).ok_or_else(unknown)?;
        let topic = self.names.get(name).ok_or_else(unknown)?;
        let found = self.targets.get(name).ok_or_else(unknown)?;
        Ok((topic, found.as_ref().map_err(Clone::clone)?))
    }
}

/// The payload that is sent instead, if it is what was planned.
fn edited(entry: &PlanEntry) -> Result<Option<Vec<u8>>, (ProblemKind, String)> {
    let Some(edit) = &entry.edited else { return Ok(None) };
    match edit.bytes() {
        Ok(bytes) if payload_hash(&bytes) == edit.edited_hash => Ok(Some(bytes)),
        _ => {
            Err((ProblemKind::Changed, "the edited payload of the plan is not what its hash says".to_owned()))
        }
    }
}
