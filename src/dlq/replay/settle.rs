//! What is noted of replays that arrived: a status for each, in the transaction that sent it, and then a line in the
//! journal, on a thread of its own, while the next transaction is on its way.

use std::sync::mpsc::Receiver;

use jiff::Timestamp;
use uuid::Uuid;

use super::arrivals::Arrival;
use super::journal::Journal;
use super::{Plan, PlanEntry, ReplayError};
use crate::dlq::{Edited, ReplayedTo, State, Status};

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
    batch.iter().map(move |(at, arrival)| status(plan, &plan.entries[*at], arrival.clone(), timestamp, by))
}

fn status(plan: &Plan, entry: &PlanEntry, arrival: Arrival, timestamp: Timestamp, by: &str) -> Status {
    Status {
        id: entry.id,
        status: State::Replayed,
        timestamp,
        by: by.to_owned(),
        why: None,
        replayed_to: Some(ReplayedTo {
            replay_id: entry.replay_id,
            plan_id: plan.plan_id,
            topic: arrival.topic,
            partition: arrival.at.partition,
            offset: arrival.at.offset,
        }),
        edited: entry.edited.as_ref().map(|edit| Edited {
            original_hash: entry.payload_hash.clone().unwrap_or_default(),
            edited_hash: edit.edited_hash.clone(),
        }),
    }
}
