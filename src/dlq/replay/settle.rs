//! What is noted of replays that arrived: a status for each, in the transaction that sent it, and then a line in the
//! journal, on a thread of its own, while the next transaction is on its way.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::arrivals::Arrival;
use super::journal::Journal;
use super::{Plan, PlanEntry, ReplayError};
use crate::dlq::{Edited, ReplayedTo, State, Status};
use crate::models::{to_safe_string, write_safe};

/// Replays that arrived, by their entry's number in the plan.
pub(super) type Batch = Vec<(usize, Arrival)>;

/// Notes batches in the journal until there are no more.
pub(super) fn settle(
    plan: &Plan,
    journal: &mut Journal,
    batches: &Receiver<Batch>,
) -> Result<(), ReplayError> {
    while let Ok(batch) = batches.recv() {
        journal.noted(replay_ids(plan, &batch))?;
    }
    Ok(())
}

/// The replays that arrived, as the journal names them.
pub(super) fn replay_ids(plan: &Plan, batch: &Batch) -> Vec<Uuid> {
    batch.iter().map(|(at, _)| plan.entries[*at].replay_id).collect()
}

/// The statuses of what arrived.
pub(super) fn statuses<'a>(
    plan: &'a Plan,
    by: &'a str,
    batch: &'a Batch,
) -> impl Iterator<Item = Status> + 'a {
    let timestamp = Timestamp::now();
    batch.iter().map(move |(at, arrival)| {
        let entry = &plan.entries[*at];
        Status {
            id: entry.id,
            status: State::Replayed,
            timestamp,
            by: by.to_owned(),
            why: None,
            replayed_to: Some(ReplayedTo {
                replay_id: entry.replay_id,
                plan_id: plan.plan_id,
                topic: arrival.topic.to_string(),
                partition: arrival.at.partition,
                offset: arrival.at.offset,
            }),
            edited: entry.edited.as_ref().map(|edit| Edited {
                original_hash: entry.payload_hash.clone().unwrap_or_default(),
                edited_hash: edit.edited_hash.clone(),
            }),
        }
    })
}

/// The same as JSON, one after the other: what is alike in all of them is made once.
pub(super) struct StatusText<'a> {
    plan: &'a Plan,
    plan_id: Box<RawValue>,
    timestamp: Box<RawValue>,
    by: Box<RawValue>,
    topics: HashMap<Arc<str>, Box<RawValue>>,
}

/// [`Status`] of a replay, field by field.
#[derive(Serialize)]
struct Replayed<'a> {
    id: Uuid,
    status: State,
    timestamp: &'a RawValue,
    by: &'a RawValue,
    replayed_to: To<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    edited: Option<Hashes<'a>>,
}

#[derive(Serialize)]
struct To<'a> {
    replay_id: Uuid,
    plan_id: &'a RawValue,
    topic: &'a RawValue,
    partition: i32,
    offset: i64,
}

#[derive(Serialize)]
struct Hashes<'a> {
    original_hash: &'a str,
    edited_hash: &'a str,
}

impl<'a> StatusText<'a> {
    pub(super) fn new(plan: &'a Plan, by: &str) -> Result<Self, serde_json::Error> {
        Ok(Self {
            plan,
            plan_id: raw(&plan.plan_id)?,
            timestamp: raw(&Timestamp::now())?,
            by: raw(by)?,
            topics: HashMap::new(),
        })
    }

    /// Appends the status of an entry.
    pub(super) fn write(
        &mut self,
        out: &mut Vec<u8>,
        at: usize,
        arrival: &Arrival,
    ) -> Result<(), serde_json::Error> {
        if !self.topics.contains_key(&arrival.topic) {
            self.topics.insert(Arc::clone(&arrival.topic), raw(&*arrival.topic)?);
        }
        let entry: &PlanEntry = &self.plan.entries[at];
        let status = Replayed {
            id: entry.id,
            status: State::Replayed,
            timestamp: &self.timestamp,
            by: &self.by,
            replayed_to: To {
                replay_id: entry.replay_id,
                plan_id: &self.plan_id,
                topic: &self.topics[&arrival.topic],
                partition: arrival.at.partition,
                offset: arrival.at.offset,
            },
            edited: entry.edited.as_ref().map(|edit| Hashes {
                original_hash: entry.payload_hash.as_deref().unwrap_or_default(),
                edited_hash: &edit.edited_hash,
            }),
        };
        write_safe(out, &status)
    }
}

fn raw<T: Serialize + ?Sized>(value: &T) -> Result<Box<RawValue>, serde_json::Error> {
    RawValue::from_string(to_safe_string(value)?)
}

#[cfg(test)]
mod tests {
    use super::super::PlanEdit;
    use super::super::plan::tests::entry;
    use super::*;
    use crate::kafka::Delivered;

    #[test]
    fn a_status_that_is_written_at_once_reads_as_any_other() {
        let edited = PlanEntry {
            payload_hash: Some("aa".to_owned()),
            edited: Some(PlanEdit::to(b"[]")),
            ..entry(0, 2, 3)
        };
        let plan = Plan::of(vec![entry(0, 1, 1), edited]);
        let by = "\u{202e}me\"@host\u{1b}";
        let at =
            |topic: &str, offset| Arrival { topic: topic.into(), at: Delivered { partition: 2, offset } };
        let batch: Batch = vec![(1, at("orders", 5)), (0, at("other", 6))];
        let mut text = StatusText::new(&plan, by).expect("JSON");
        for ((entry, arrival), mut expected) in batch.iter().zip(statuses(&plan, by, &batch)) {
            let mut out = Vec::new();
            text.write(&mut out, *entry, arrival).expect("JSON");
            let written: Status = serde_json::from_slice(&out).expect("a status");
            expected.timestamp = written.timestamp;
            assert_eq!(String::from_utf8(out).expect("text"), to_safe_string(&expected).expect("JSON"));
        }
    }
}
