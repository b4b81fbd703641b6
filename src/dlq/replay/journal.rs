//! What an apply notes of itself: in a file beside the plan, and, for whoever goes on with it elsewhere, in the topic of
//! the statuses under the plan's id. The first thing that both say is from which offsets on the targets hold replays of
//! this plan; without that nobody can tell later what was sent.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::ReplayError;
use super::plan::Offsets;
use crate::config::KafkaSettings;
use crate::dlq::status_topic;
use crate::kafka::{KafkaError, Reader};
use crate::models::to_safe_vec;

/// Where a plan was applied from; the value of the record in the topic of the statuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Start {
    /// The plan.
    pub plan_id: Uuid,
    /// When it was first applied.
    pub first_applied: Timestamp,
    /// Where the targets ended then.
    pub applied_from: Offsets,
}

impl Start {
    /// What both know; where they differ, the earlier offset.
    fn and(mut self, other: Self) -> Self {
        for (topic, partitions) in other.applied_from {
            let ours = self.applied_from.entry(topic).or_default();
            for (number, offset) in partitions {
                ours.entry(number).and_modify(|ours| *ours = offset.min(*ours)).or_insert(offset);
            }
        }
        self
    }
}

/// What was noted in Kafka about a plan.
pub(super) fn noted_start(
    kafka: &KafkaSettings,
    dlq_topic: &str,
    plan_id: Uuid,
) -> Result<Option<Start>, KafkaError> {
    let mut reader = match Reader::open(kafka, &status_topic(dlq_topic)) {
        Err(KafkaError::UnknownTopic { .. }) => return Ok(None),
        opened => opened?,
    };
    let key = plan_id.to_string();
    let mut found = None;
    while let Some(record) = reader.read()? {
        if record.key.as_deref() == Some(key.as_bytes()) {
            found = serde_json::from_slice(record.payload()).ok().or(found);
        }
    }
    Ok(found)
}

/// One line of the file: where a plan was applied from, or replays that are committed and have their status.
#[derive(Serialize, Deserialize)]
struct Line {
    plan_id: Uuid,
    at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    started: Option<Start>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sent: Vec<Uuid>,
}

/// The file.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    path: PathBuf,
    plan_id: Uuid,
    /// What it said when it was opened.
    pub start: Option<Start>,
    /// The replays that it said were sent.
    pub sent: HashSet<Uuid>,
}

impl Journal {
    /// The journal's name: the plan's, and `.journal`.
    pub(super) fn path_of(plan: &Path) -> PathBuf {
        let mut name = plan.as_os_str().to_owned();
        name.push(".journal");
        name.into()
    }

    /// Opens the journal of a plan; lines of other plans that had this file's name are left alone.
    pub(super) fn open(plan: &Path, plan_id: Uuid) -> Result<Self, ReplayError> {
        let path = Self::path_of(plan);
        let failed = || ReplayError::file("open the journal", &path);
        let mut file =
            File::options().create(true).read(true).append(true).mode(0o600).open(&path).map_err(failed())?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(failed())?;
        let (mut start, mut sent) = (None, HashSet::new());
        for line in text.split(|byte| *byte == b'\n') {
            // A line that was torn by a crash tells nothing that Kafka does not.
            let Ok(line) = serde_json::from_slice::<Line>(line) else { continue };
            if line.plan_id == plan_id {
                start = line.started.or(start);
                sent.extend(line.sent);
            }
        }
        if text.last().is_some_and(|last| *last != b'\n') {
            file.write_all(b"\n").map_err(failed())?;
        }
        Ok(Self { file, path, plan_id, start, sent })
    }

    /// The same for a look: a journal that is not there says nothing.
    pub(super) fn read_start(plan: &Path, plan_id: Uuid) -> Result<Option<Start>, ReplayError> {
        if Self::path_of(plan).exists() { Ok(Self::open(plan, plan_id)?.start) } else { Ok(None) }
    }

    fn add(&mut self, started: Option<Start>, sent: Vec<Uuid>) -> Result<(), ReplayError> {
        let must_last = started.is_some();
        let line = Line { plan_id: self.plan_id, at: Timestamp::now(), started, sent };
        let mut bytes = to_safe_vec(&line)?;
        bytes.push(b'\n');
        let written = self.file.write_all(&bytes);
        let synced = written.and_then(|()| if must_last { self.file.sync_all() } else { Ok(()) });
        synced.map_err(ReplayError::file("write the journal", &self.path))
    }

    /// Notes, on the disk, where the targets ended before the first send.
    pub(super) fn started(&mut self, start: &Start) -> Result<(), ReplayError> {
        if self.start.as_ref() != Some(start) {
            self.add(Some(start.clone()), Vec::new())?;
            self.start = Some(start.clone());
        }
        Ok(())
    }

    /// Notes replays that are committed and have their status.
    pub(super) fn noted(&mut self, replays: Vec<Uuid>) -> Result<(), ReplayError> {
        self.add(None, replays)
    }
}

/// What is known of a plan's start, from the file and from Kafka.
pub(super) fn known_start(file: Option<&Start>, kafka: Option<Start>) -> Option<Start> {
    match (file.cloned(), kafka) {
        (Some(file), Some(kafka)) => Some(file.and(kafka)),
        (file, kafka) => file.or(kafka),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(offset: i64) -> Start {
        Start {
            plan_id: Uuid::NAMESPACE_DNS,
            first_applied: Timestamp::UNIX_EPOCH,
            applied_from: [("orders".to_owned(), [(0, offset)].into())].into(),
        }
    }

    #[test]
    fn a_journal_says_again_what_was_noted_whatever_was_torn() {
        let folder = tempfile::tempdir().expect("a folder");
        let plan = folder.path().join("plan.json");
        let id = Uuid::NAMESPACE_DNS;
        assert_eq!(Journal::read_start(&plan, id).expect("none"), None);
        let mut journal = Journal::open(&plan, id).expect("opened");
        journal.started(&start(7)).expect("noted");
        journal.noted(vec![Uuid::from_u128(1)]).expect("noted");
        drop(journal);
        let path = Journal::path_of(&plan);
        File::options()
            .append(true)
            .open(&path)
            .expect("open")
            .write_all(b"{\"plan_id\":\"6b")
            .expect("torn");
        let mut journal = Journal::open(&plan, id).expect("opened");
        journal.noted(vec![Uuid::from_u128(2)]).expect("noted");
        let journal = Journal::open(&plan, id).expect("opened");
        assert_eq!(journal.start, Some(start(7)));
        assert_eq!(journal.sent, [1, 2].map(Uuid::from_u128).into());
        // Another plan of the same name is another story.
        assert_eq!(Journal::open(&plan, Uuid::nil()).expect("opened").start, None);
    }

    #[test]
    fn of_two_notes_the_earlier_offset_counts() {
        assert_eq!(known_start(Some(&start(7)), Some(start(5))), Some(start(5)));
        assert_eq!(known_start(Some(&start(4)), Some(start(5))), Some(start(4)));
        assert_eq!(known_start(None, Some(start(5))), Some(start(5)));
        assert_eq!(known_start(None, None), None);
    }
}
