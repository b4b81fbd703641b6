//! Follows a topic from its first record on and has no end: partitions that are added meanwhile are read, too.

use std::time::{Duration, Instant};

use super::{KafkaError, Reader};
use crate::config::KafkaSettings;
use crate::record::Record;

/// How often it looks for new partitions.
const LOOK: Duration = Duration::from_secs(5);
/// How long a look may take: nothing is read meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);

/// A topic that is being followed.
#[derive(Debug)]
pub struct Follower {
    reader: Reader,
    partitions: i32,
    looked: Instant,
}

impl Follower {
    /// Starts at the topic's first record.
    ///
    /// # Errors
    /// [`KafkaError::UnknownTopic`] when it does not exist, [`KafkaError::Request`] when a broker does not answer.
    pub fn open(settings: &KafkaSettings, topic: &str) -> Result<Self, KafkaError> {
        let (reader, partitions) = Reader::follow(settings, topic)?;
        Ok(Self { reader, partitions, looked: Instant::now() })
    }

    /// The next record, if one comes in time.
    ///
    /// # Errors
    /// [`KafkaError::Fatal`] from the client; whatever else goes wrong it goes on trying.
    pub fn next(&mut self, wait: Duration) -> Result<Option<Record>, KafkaError> {
        if self.looked.elapsed() >= LOOK {
            if let Err(error) = self.look() {
                tracing::debug!(error = crate::failure::chain_of(&error), "no look at the partitions");
            }
            self.looked = Instant::now();
        }
        self.reader.next_within(wait)
    }

    fn look(&mut self) -> Result<(), KafkaError> {
        let partitions = self.reader.partitions(PATIENCE)?;
        if partitions > self.partitions {
            self.reader.add(self.partitions..partitions)?;
            tracing::info!(partitions, "the topic has more partitions now");
            self.partitions = partitions;
        }
        Ok(())
    }
}
