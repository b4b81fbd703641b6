//! Making a plan: one pass over the dead letter topic, what the validator says of each dead letter that was chosen, and
//! whether a newer state of its order was processed since. Changes nothing in Kafka.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use super::newer::{Dead, Newer, since};
use super::payload::Payloads;
use super::plan::{Offsets, in_sending_order, replay_id};
use super::predict::Named;
use super::{
    Assignment, AuditLines, Choose, EditError, Patch, Plan, PlanEdit, PlanEntry, PlanOrigin, Prediction,
    ReplayError, payload_hash, predict,
};
use crate::config::KafkaSettings;
use crate::dlq::{Letter, Payload, State, Status, Statuses};
use crate::failure::chain_of;
use crate::kafka::{Admin, KafkaError, Reader};
use crate::models::{DecodeLimits, format_timestamp, safe_short};

/// How much of an error stands in a plan, in characters.
const ERROR_CHARS: usize = 200;

/// What is changed in each payload before it is sent again.
#[derive(Debug, Default)]
pub struct Edits {
    /// The whole new payload.
    pub replacement: Option<Vec<u8>>,
    /// Values at places, one after the other.
    pub set: Vec<Assignment>,
    /// A jq program, run after them.
    pub patch: Option<Patch>,
}

impl Edits {
    /// The changed payload; `None` where nothing is to be changed.
    ///
    /// # Errors
    /// [`EditError`] when this payload cannot be changed so.
    pub fn apply(&self, payload: Option<&[u8]>) -> Result<Option<Vec<u8>>, EditError> {
        if self.replacement.is_some() || (self.set.is_empty() && self.patch.is_none()) {
            return Ok(self.replacement.clone());
        }
        let payload = payload.ok_or(EditError::NoText("null"))?;
        let mut text =
            std::str::from_utf8(payload).map_err(|_| EditError::NoText("no text (not UTF-8)"))?.to_owned();
        for assignment in &self.set {
            text = assignment.apply(&text)?;
        }
        if let Some(patch) = &self.patch {
            text = patch.apply(&text)?;
        }
        Ok(Some(text.into_bytes()))
    }
}

/// Which dead letters, and how they are looked at.
#[derive(Debug)]
pub struct PlanRequest<'a> {
    /// Which.
    pub choose: Choose<'a>,
    /// The filter in the words of the command line.
    pub filters: Vec<String>,
    /// Another target than where each record came from.
    pub to: Option<&'a str>,
    /// What is changed.
    pub edits: &'a Edits,
    /// What the validator takes.
    pub limits: DecodeLimits,
    /// Whether what has a newer state is to be sent all the same.
    pub include_superseded: bool,
    /// Who makes it.
    pub by: String,
}

/// A plan, and what was left aside while making it.
#[derive(Debug)]
pub struct Planned {
    /// The plan.
    pub plan: Plan,
    /// Repeats of dead letters that are in the plan.
    pub repeats: u64,
    /// Dead letters that were discarded.
    pub discarded: u64,
    /// Dead letters that cannot be in the plan, and why.
    pub refused: Vec<(Uuid, String)>,
}

/// Makes a plan.
///
/// # Errors
/// [`ReplayError`] when a topic or the audit log cannot be read, or there is no dead letter with the id.
pub fn make_plan(request: &PlanRequest<'_>, audit: Option<&dyn AuditLines>) -> Result<Planned, ReplayError> {
    let choose = request.choose;
    let Choose { kafka, dlq_topic, .. } = choose;
    let mut seen = Offsets::new();
    seen.insert(dlq_topic.to_owned(), ends(kafka, dlq_topic)?);
    let statuses = Statuses::read(kafka, dlq_topic)?;
    let mut reader = Reader::open(kafka, dlq_topic)?;

    let mut chosen = Chosen { request, plan_id: Uuid::new_v4(), keyed: Vec::new(), hollow: Vec::new() };
    let (mut dead, mut ids) = (Dead::new(), HashSet::new());
    let (mut repeats, mut discarded, mut refused) = (0, 0, Vec::new());
    while let Some(record) = reader.read()? {
        let letter = Letter::read(&record);
        let status = statuses.get(letter.id);
        let state = statuses.state(letter.id);
        // Whatever became of the letter: a replay of it is another record, and counts by itself.
        if let Some(origin) = letter.origin.as_ref() {
            dead.insert((Arc::clone(&origin.topic), origin.partition, origin.offset));
        }
        let was_named = choose.id.is_some();
        if (chosen.is_full() && !was_named) || !choose.wants(&letter, state) {
        } else if state == State::Discarded && !was_named && choose.filter.status.is_none() {
            discarded += 1;
        } else if !ids.insert(letter.id) {
            repeats += 1;
        } else {
            let id = letter.id;
            refused.extend(chosen.take(letter, status).err().map(|error| (id, chain_of(&error))));
        }
    }
    choose.check_found(!ids.is_empty())?;
    refused.extend(chosen.fill(&statuses, audit)?);
    chosen.find_superseded(audit, &dead, &mut seen)?;
    let plan = Plan {
        plan_id: chosen.plan_id,
        created: Timestamp::now(),
        by: request.by.clone(),
        dlq_topic: dlq_topic.to_owned(),
        filters: request.filters.clone(),
        include_superseded: request.include_superseded,
        seen,
        entries: in_sending_order(chosen.keyed),
    };
    Ok(Planned { plan, repeats, discarded, refused })
}

/// The entries that were chosen up to now.
struct Chosen<'a> {
    request: &'a PlanRequest<'a>,
    plan_id: Uuid,
    /// Each with a hash of its key.
    keyed: Vec<(u64, PlanEntry)>,
    /// Those whose payload is elsewhere.
    hollow: Vec<(u64, PlanEntry, Letter)>,
}

impl Chosen<'_> {
    fn is_full(&self) -> bool {
        let count = (self.keyed.len() + self.hollow.len()) as u64;
        self.request.choose.filter.limit.is_some_and(|limit| count >= limit)
    }

    fn take(&mut self, letter: Letter, status: Option<&Status>) -> Result<(), EditError> {
        let mut hasher = DefaultHasher::new();
        match &letter.key {
            Some(key) => key.hash(&mut hasher),
            // Without a key a record is nobody's sequel.
            None => (letter.dlq_partition, letter.dlq_offset).hash(&mut hasher),
        }
        let mut entry = self.entry(&letter);
        match &letter.payload {
            Payload::Inline(_) | Payload::Null => {
                let payload = letter.payload.bytes();
                self.judge(&mut entry, &letter, payload.map(|bytes| &**bytes), status)?;
                self.keyed.push((hasher.finish(), entry));
            }
            Payload::Omitted { .. } | Payload::Missing => {
                self.hollow.push((hasher.finish(), entry, letter));
            }
        }
        Ok(())
    }

    /// The entry of a letter, before anybody looked at its payload.
    fn entry(&self, letter: &Letter) -> PlanEntry {
        let origin = letter.origin.as_ref().map(|origin| PlanOrigin {
            topic: origin.topic.to_string(),
            partition: origin.partition,
            offset: origin.offset,
        });
        PlanEntry {
            id: letter.id,
            dlq_partition: letter.dlq_partition,
            dlq_offset: letter.dlq_offset,
            dialect: Some(letter.dialect),
            payload_hash: match &letter.payload {
                Payload::Inline(bytes) => Some(payload_hash(bytes)),
                Payload::Omitted { hash, .. } => Some(hash.clone()),
                Payload::Null | Payload::Missing => None,
            },
            payload_elsewhere: Payloads::is_left_out(letter),
            target: self.request.to.map(str::to_owned).or_else(|| Some(origin.as_ref()?.topic.clone())),
            origin,
            reason: letter.reason,
            error: safe_short(&letter.error, ERROR_CHARS),
            prediction: Prediction::Unknown,
            why: None,
            order_id: None,
            sequence: None,
            group: letter.group.clone(),
            replay_count: letter.replay_count,
            replay_id: replay_id(self.plan_id, letter.id),
            edited: None,
        }
    }

    /// Writes into an entry what is to be sent, and what is expected of it.
    fn judge(
        &self,
        entry: &mut PlanEntry,
        letter: &Letter,
        payload: Option<&[u8]>,
        status: Option<&Status>,
    ) -> Result<(), EditError> {
        let edited = self.request.edits.apply(payload)?.filter(|edited| Some(&**edited) != payload);
        let sent = edited.as_deref().or(payload);
        if let Some(Named { order_id, sequence }) = sent.and_then(Named::of) {
            entry.order_id = Some(order_id);
            entry.sequence = Some(sequence);
        }
        let verdict = predict(sent, letter.dialect, letter.reason, &self.request.limits);
        (entry.prediction, entry.why) = (verdict.prediction, verdict.why);
        entry.edited = edited.as_deref().map(PlanEdit::to);
        if let Some(status) = status.filter(|status| status.status == State::Replayed) {
            entry.prediction = Prediction::AlreadyReplayed;
            entry.why = Some(format!("replayed at {} by {}", format_timestamp(status.timestamp), status.by));
        }
        Ok(())
    }

    /// Fetches the payloads that are elsewhere. What cannot be had stays in the plan, for it may be had later.
    fn fill(
        &mut self,
        statuses: &Statuses,
        audit: Option<&dyn AuditLines>,
    ) -> Result<Vec<(Uuid, String)>, ReplayError> {
        let hollow = std::mem::take(&mut self.hollow);
        let left_out =
            hollow.iter().filter(|(.., letter)| Payloads::is_left_out(letter)).map(|(.., letter)| letter.id);
        let mut payloads = Payloads::new(self.request.choose.kafka, &left_out.collect(), audit)?;
        let mut refused = Vec::new();
        for (key, mut entry, letter) in hollow {
            match payloads.whole(&letter) {
                Ok(whole) => {
                    entry.payload_hash = whole.value.as_deref().map(payload_hash);
                    let status = statuses.get(letter.id);
                    if let Err(error) = self.judge(&mut entry, &letter, whole.value.as_deref(), status) {
                        refused.push((letter.id, chain_of(&error)));
                        continue;
                    }
                }
                Err(why) => entry.why = Some(why),
            }
            self.keyed.push((key, entry));
        }
        Ok(refused)
    }

    /// Looks for newer states of the orders, in the audit log or in their topics.
    fn find_superseded(
        &mut self,
        audit: Option<&dyn AuditLines>,
        dead: &Dead,
        seen: &mut Offsets,
    ) -> Result<(), ReplayError> {
        let kafka = self.request.choose.kafka;
        let orders = self.keyed.iter().filter_map(|(_, entry)| entry.order_id.as_deref());
        let mut newer = Newer::about(orders);
        let is_told = match audit.filter(|_| !newer.is_empty()) {
            Some(audit) => newer.read_log(audit)?,
            None => false,
        };
        for (topic, first) in first_offsets(self.keyed.iter().map(|(_, entry)| entry)) {
            let end = ends(kafka, &topic)?;
            if !is_told {
                newer.read_topic(kafka, &topic, &since(kafka, &topic, &first)?, dead)?;
            }
            seen.insert(topic, end);
        }
        for (_, entry) in &mut self.keyed {
            let (Some(order_id), Some(sequence)) = (&entry.order_id, entry.sequence) else { continue };
            if let Some(newer) = newer.than(order_id, sequence)
                && entry.prediction != Prediction::AlreadyReplayed
            {
                entry.prediction = Prediction::Superseded;
                entry.why = Some(format!("sequence {newer} of the order was processed, this is {sequence}"));
            }
        }
        Ok(())
    }
}

/// The first offset of each partition at which a record of an order was.
fn first_offsets<'a>(entries: impl Iterator<Item = &'a PlanEntry>) -> Offsets {
    let mut first = Offsets::new();
    for entry in entries.filter(|entry| entry.order_id.is_some()) {
        if let Some(origin) = &entry.origin {
            let at = first.entry(origin.topic.clone()).or_default().entry(origin.partition);
            at.and_modify(|first| *first = origin.offset.min(*first)).or_insert(origin.offset);
        }
    }
    first
}

/// Where a topic ends for its readers; nowhere when there is none.
pub(super) fn ends(kafka: &KafkaSettings, topic: &str) -> Result<BTreeMap<i32, i64>, KafkaError> {
    let admin = Admin::new(kafka)?;
    let partitions = admin.topic(topic)?.map_or(0, |info| info.partitions);
    (0..partitions).map(|number| Ok((number, admin.watermarks(topic, number)?.1))).collect()
}
