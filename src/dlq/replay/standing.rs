//! Saying of dead letters that nothing more is to be done about them, or taking that back; and deleting what is settled.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use uuid::Uuid;

use super::ReplayError;
use crate::config::{KafkaSettings, TopicCreation};
use crate::dlq::{Filter, Letter, State, Status, StatusWriter, Statuses};
use crate::kafka::{Admin, KafkaError, Reader};

/// One dead letter, or those that a filter chooses.
#[derive(Debug, Clone, Copy)]
pub struct Choose<'a> {
    /// How Kafka is reached.
    pub kafka: &'a KafkaSettings,
    /// The dead letter topic.
    pub dlq_topic: &'a str,
    /// The one.
    pub id: Option<Uuid>,
    /// Which, without it.
    pub filter: &'a Filter,
}

/// Dead letters that were chosen, each with how it stands.
#[derive(Debug, Default)]
pub struct Chosen {
    /// Their ids, in the order of their topic.
    pub ids: Vec<(Uuid, State)>,
}

impl Choose<'_> {
    /// Whether a dead letter that stands so is one of those.
    pub(super) fn wants(&self, letter: &Letter, state: State) -> bool {
        match self.id {
            Some(id) => letter.id == id,
            None => self.filter.matches(letter, state),
        }
    }

    /// The one that was asked for by its id must be there.
    pub(super) fn check_found(&self, any: bool) -> Result<(), ReplayError> {
        match self.id {
            Some(id) if !any => Err(ReplayError::NoSuchLetter { id, topic: self.dlq_topic.to_owned() }),
            _ => Ok(()),
        }
    }

    /// The dead letters that were chosen; repeats count once.
    ///
    /// # Errors
    /// [`ReplayError::NoSuchLetter`] when there is none with the id, and [`ReplayError::Kafka`].
    pub fn find(&self) -> Result<Chosen, ReplayError> {
        let statuses = Statuses::read(self.kafka, self.dlq_topic)?;
        let mut reader = Reader::open(self.kafka, self.dlq_topic)?;
        let (mut ids, mut known) = (Vec::new(), HashSet::new());
        while self.filter.limit.is_none_or(|limit| (ids.len() as u64) < limit)
            && let Some(record) = reader.read()?
        {
            let letter = Letter::read(&record);
            let state = statuses.state(letter.id);
            if self.wants(&letter, state) && known.insert(letter.id) {
                ids.push((letter.id, state));
            }
            if self.id.is_some() && !ids.is_empty() {
                break;
            }
        }
        self.check_found(!ids.is_empty())?;
        Ok(Chosen { ids })
    }

    /// Notes that dead letters stand so from now on.
    ///
    /// # Errors
    /// [`ReplayError`] when the topic of the statuses cannot be written.
    pub fn note(
        &self,
        ids: &[Uuid],
        state: State,
        why: Option<&str>,
        by: &str,
        creation: &TopicCreation,
    ) -> Result<(), ReplayError> {
        if ids.is_empty() {
            return Ok(());
        }
        let timestamp = Timestamp::now();
        let status = |id: &Uuid| Status {
            id: *id,
            status: state,
            timestamp,
            by: by.to_owned(),
            why: why.map(str::to_owned),
            replayed_to: None,
            edited: None,
        };
        StatusWriter::open(self.kafka, self.dlq_topic, creation)?.write(ids.iter().map(status))
    }
}

/// What of a partition could be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Purgeable {
    /// The partition.
    pub partition: i32,
    /// Where it begins.
    pub log_start: i64,
    /// Where it ends.
    pub end: i64,
    /// The first offset that must stay.
    pub keep_from: i64,
    /// The records below that.
    pub records: u64,
    /// Those of them that are open; none unless all was asked for.
    pub open: u64,
    /// The settled ones that stay, because an open one is before them.
    pub settled_after: u64,
}

/// Looks how much of each partition is settled, from its beginning on. With `all` everything goes, open or not.
///
/// # Errors
/// [`ReplayError::Kafka`] when the topic cannot be read.
pub fn purgeable(kafka: &KafkaSettings, dlq_topic: &str, all: bool) -> Result<Vec<Purgeable>, ReplayError> {
    let statuses = Statuses::read(kafka, dlq_topic)?;
    let admin = Admin::new(kafka)?;
    let info = admin.topic(dlq_topic)?.ok_or_else(|| KafkaError::UnknownTopic {
        topic: dlq_topic.to_owned(),
        bootstrap_servers: kafka.bootstrap_servers.clone(),
    })?;
    let mut found = Vec::new();
    for partition in 0..info.partitions {
        let (log_start, end) = admin.watermarks(dlq_topic, partition)?;
        let mut at =
            Purgeable { partition, log_start, end, keep_from: end, records: 0, open: 0, settled_after: 0 };
        if log_start < end {
            let mut reader = Reader::over(kafka, dlq_topic, &[(partition, log_start, end)])?;
            while let Some(record) = reader.read()? {
                let is_open = statuses.state(Letter::read(&record).id) == State::Open;
                at.take(record.offset, is_open, all);
            }
        }
        found.push(at);
    }
    Ok(found)
}

impl Purgeable {
    fn take(&mut self, offset: i64, is_open: bool, all: bool) {
        if self.keep_from != self.end {
            self.settled_after += u64::from(!is_open);
        } else if is_open && !all {
            self.keep_from = offset;
        } else {
            self.records += 1;
            self.open += u64::from(is_open);
        }
    }
}

/// Deletes what was found; gives where the partitions begin then.
///
/// # Errors
/// [`ReplayError::Kafka`] with the broker's refusal.
pub fn purge(
    kafka: &KafkaSettings,
    dlq_topic: &str,
    found: &[Purgeable],
) -> Result<BTreeMap<i32, i64>, ReplayError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ReplayError::file("start a runtime for", "the purge"))?;
    let deletes = found.iter().filter(|at| at.keep_from > at.log_start);
    let before: BTreeMap<i32, i64> = deletes.map(|at| (at.partition, at.keep_from)).collect();
    if before.is_empty() {
        return Ok(before);
    }
    Ok(runtime.block_on(Admin::new(kafka)?.delete_records(dlq_topic, &before))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(letters: &[bool], all: bool) -> (i64, u64, u64, u64) {
        let end = 10 + i64::try_from(letters.len()).expect("few");
        let mut at = Purgeable {
            partition: 0,
            log_start: 10,
            end,
            keep_from: end,
            records: 0,
            open: 0,
            settled_after: 0,
        };
        for (offset, is_open) in (10..).zip(letters) {
            at.take(offset, *is_open, all);
        }
        (at.keep_from, at.records, at.open, at.settled_after)
    }

    #[test]
    fn nothing_goes_from_the_first_open_one_on_unless_all_was_asked_for() {
        assert_eq!(after(&[], false), (10, 0, 0, 0));
        assert_eq!(after(&[false, false], false), (12, 2, 0, 0));
        assert_eq!(after(&[false, true, false, true], false), (11, 1, 0, 1));
        assert_eq!(after(&[true], false), (10, 0, 0, 0));
        assert_eq!(after(&[false, true, false, true], true), (14, 4, 2, 0));
    }
}
