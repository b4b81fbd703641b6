//! How dead letters stand, for commands that go through all of them: the status topic reduced to what they need, so that a
//! million replayed dead letters cost tens of megabytes.

use std::collections::HashMap;
use std::ops::ControlFlow;

use serde::Deserialize;
use uuid::Uuid;

use super::scan::scan;
use super::status::{State, status_topic};
use crate::config::KafkaSettings;
use crate::kafka::{KafkaError, Reader};
use crate::record::Record;

/// The state of every dead letter that is not open.
#[derive(Debug, Default)]
pub(super) struct States(HashMap<Uuid, State>);

/// What of a status counts here.
#[derive(Deserialize)]
struct Stands {
    id: Uuid,
    status: State,
}

impl States {
    /// Reads the status topic; one that does not exist has none.
    ///
    /// # Errors
    /// [`KafkaError`] when it cannot be read.
    pub(super) fn read(settings: &KafkaSettings, dlq_topic: &str) -> Result<Self, KafkaError> {
        let reader = match Reader::open(settings, &status_topic(dlq_topic)) {
            Err(KafkaError::UnknownTopic { .. }) => return Ok(Self::default()),
            opened => opened?,
        };
        let mut states = Self::default();
        // What others wrote there is none of ours.
        let make = |record: Record| serde_json::from_slice::<Stands>(record.payload()).ok();
        scan(reader, make, |stands| {
            if let Some(Stands { id, status }) = stands {
                states.note(id, status);
            }
            ControlFlow::Continue(())
        })?;
        Ok(states)
    }

    /// The last one of an id counts.
    fn note(&mut self, id: Uuid, state: State) {
        match state {
            State::Open => drop(self.0.remove(&id)),
            State::Replayed | State::Discarded => drop(self.0.insert(id, state)),
        }
    }

    /// How a dead letter stands.
    pub(super) fn state(&self, id: Uuid) -> State {
        self.0.get(&id).copied().unwrap_or(State::Open)
    }
}
