//! What follows a committed transaction, in this order: a status for each of its replays, then the line in the journal.
//! Done on a thread of its own, while the next transaction is on its way.

use std::sync::mpsc::Receiver;

use jiff::Timestamp;

use super::arrivals::Arrival;
use super::journal::Journal;
use super::{Plan, PlanEntry, ReplayError};
use crate::dlq::status_writer::StatusWriter;
use crate::dlq::{Edited, ReplayedTo, State, Status};

/// Replays that arrived, by their entry's number in the plan.
pub(super) type Batch = Vec<(usize, Arrival)>;

/// Notes batches until there are no more. A batch counts as noted when both are written.
pub(super) fn settle(
    plan: &Plan,
    by: &str,
    writer: &StatusWriter,
    journal: &mut Journal,
    batches: &Receiver<Batch>,
) -> Result<(), ReplayError> {
    while let Ok(batch) = batches.recv() {
        let timestamp = Timestamp::now();
        let replays = batch.iter().map(|(at, _)| plan.entries[*at].replay_id).collect();
        writer.write(
            batch.into_iter().map(|(at, arrival)| status(plan, &plan.entries[at], arrival, timestamp, by)),
        )?;
        journal.noted(replays)?;
    }
    Ok(())
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
