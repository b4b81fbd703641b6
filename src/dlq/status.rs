//! What was done about a dead letter: records in a compacted topic beside the dead letter topic, keyed by the dead
//! letter's id, so that everyone who works on the queue sees the same. The last record of an id counts.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::config::KafkaSettings;
use crate::kafka::{KafkaError, Reader};

/// The compacted topic of a dead letter topic's statuses: `orders-dlq` has `orders-dlq-status`.
pub fn status_topic(dlq_topic: &str) -> String {
    format!("{dlq_topic}-status")
}

/// How a dead letter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing was done, or what was done was taken back.
    Open,
    /// It was sent again.
    Replayed,
    /// It will not be sent again.
    Discarded,
}

impl State {
    /// The name on the wire and on the screen.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Replayed => "replayed",
            Self::Discarded => "discarded",
        }
    }
}

/// Where a replay arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayedTo {
    /// The replay, as header `dlq.replay-id` of the record and `replay_id` of its audit line.
    pub replay_id: Uuid,
    /// The plan that it belongs to.
    pub plan_id: Uuid,
    /// The topic that it was sent to.
    pub topic: String,
    /// The partition there.
    pub partition: i32,
    /// The offset there.
    pub offset: i64,
}

/// What an edit changed: hashes of the payload, BLAKE3 in lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edited {
    /// Of the payload that failed.
    pub original_hash: String,
    /// Of the payload that was sent instead.
    pub edited_hash: String,
}

/// The status of one dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The dead letter.
    pub id: Uuid,
    /// How it stands.
    pub status: State,
    /// When that was done.
    pub timestamp: Timestamp,
    /// Who did it: user and host.
    pub by: String,
    /// Why, in the words of who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Where its replay arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replayed_to: Option<ReplayedTo>,
    /// What was changed before the replay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited: Option<Edited>,
}

impl Status {
    /// Whether it was written for this replay.
    pub(super) fn tells_of(&self, replay_id: Uuid) -> bool {
        self.replayed_to.as_ref().is_some_and(|to| to.replay_id == replay_id)
    }
}

/// Every status of a dead letter topic.
#[derive(Debug, Default)]
pub struct Statuses(HashMap<Uuid, Status>);

impl Statuses {
    /// Reads the status topic; one that does not exist has none.
    ///
    /// # Errors
    /// [`KafkaError`] when it cannot be read.
    pub fn read(settings: &KafkaSettings, dlq_topic: &str) -> Result<Self, KafkaError> {
        let mut reader = match Reader::open(settings, &status_topic(dlq_topic)) {
            Err(KafkaError::UnknownTopic { .. }) => return Ok(Self::default()),
            opened => opened?,
        };
        let mut statuses = Self::default();
        while let Some(record) = reader.read()? {
            // What others wrote there is none of ours.
            if let Ok(status) = serde_json::from_slice::<Status>(record.payload()) {
                statuses.note(status);
            }
        }
        Ok(statuses)
    }

    /// Takes a status in; the last one of an id counts.
    pub fn note(&mut self, status: Status) {
        self.0.insert(status.id, status);
    }

    /// The status of a dead letter, if anything was ever done about it.
    pub fn get(&self, id: Uuid) -> Option<&Status> {
        self.0.get(&id)
    }

    /// How a dead letter stands.
    pub fn state(&self, id: Uuid) -> State {
        self.get(id).map_or(State::Open, |status| status.status)
    }
}
