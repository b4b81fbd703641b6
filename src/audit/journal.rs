//! Opening a journal: what it holds, where it stands, and which outcomes it has. A torn last line is moved aside, a
//! rotation that was interrupted is finished, and any other damage ends the start.

use std::collections::BTreeMap;
use std::io::{Seek as _, SeekFrom};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::chain::{ChainHash, split_line};
use super::control::{Checkpoint, Identity, PartitionState, Place, SEALED};
use super::line::LINE_START;
use super::reading::{Fault, Reading};
use super::scan::scan;
use super::{AuditError, AuditFile, Hashing, OffsetSet, packed, segments};
use crate::record::TopicPartition;

/// What a journal knows of one partition.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The id of the topic that it is about.
    pub topic_id: Option<String>,
    /// What the group had committed, as the last checkpoint said.
    pub next_offset: Option<i64>,
    /// Every outcome of the live segment, and those above `next_offset` of the segments before.
    pub outcomes: OffsetSet,
}

/// An open journal, ready to be written.
#[derive(Debug)]
pub struct Journal {
    /// Its file, locked.
    pub file: AuditFile,
    /// What stays the same over its life.
    pub identity: Identity,
    /// How its lines are hashed.
    pub hashing: Hashing,
    /// Where it stands.
    pub place: Place,
    /// What it knows, by partition.
    pub known: BTreeMap<TopicPartition, Known>,
    /// What was moved aside, a torn last line or what a failed sync had left: how long it was, and where it is.
    pub torn: Option<(u64, PathBuf)>,
    /// Whether there was nothing before.
    pub is_new: bool,
}

impl Journal {
    /// Opens or creates the journal of a group, and reads the whole live segment: every line has to follow from the
    /// one before it.
    ///
    /// # Errors
    /// [`AuditError::Locked`] when another process has it, [`AuditError::Damaged`] with the first line that does not
    /// follow, [`AuditError::Key`] when it is hashed in another way, [`AuditError::OtherGroup`] when it is another group's,
    /// [`AuditError::Io`] otherwise.
    pub fn open(path: &Path, group: &str, hashing: Hashing) -> Result<Self, AuditError> {
        Self::open_for(path, Some(group), hashing)
    }

    /// The same for the journal of whatever group.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn open_any(path: &Path, hashing: Hashing) -> Result<Self, AuditError> {
        Self::open_for(path, None, hashing)
    }

    fn open_for(path: &Path, group: Option<&str>, hashing: Hashing) -> Result<Self, AuditError> {
        let mut file = AuditFile::open(path)?;
        let mut found = Reading::new(hashing);
        let unsynced = file.cut_unsynced()?;
        let torn = read_live(&mut found, &mut file)?.or(unsynced);
        if found.sealed {
            // The process ended between sealing the segment and renaming it.
            file.rotate(found.place.segment)?;
            found.place.segment += 1;
        }
        if found.identity.is_none() {
            take_last_segment(&mut found, path)?;
        }
        let is_new = found.identity.is_none();
        let identity = found.identity.unwrap_or_else(|| Identity {
            file_id: Uuid::new_v4(),
            consumer_group: group.unwrap_or_default().to_owned(),
            key_id: hashing.key_id(),
        });
        if group.is_some_and(|group| identity.consumer_group != group) {
            return Err(AuditError::OtherGroup { path: path.to_owned(), group: identity.consumer_group });
        }
        Ok(Self { file, identity, hashing, place: found.place, known: found.known, torn, is_new })
    }

    /// The hash of the journal's line with this number (counted over all segments); `None` when it is in an older one.
    ///
    /// # Errors
    /// [`AuditError::Io`] when the file cannot be read again.
    pub fn head_at(&self, number: u64) -> Result<Option<ChainHash>, AuditError> {
        let io =
            |source| AuditError::Io { what: "read the audit log", path: self.file.path().to_owned(), source };
        let mut handle = self.file.handle();
        handle.seek(SeekFrom::Start(0)).map_err(io)?;
        let mut before = None;
        let ended = scan(
            handle,
            Some(self.hashing),
            |line| serde_json::from_slice::<Checkpoint>(line).ok().map(|c| c.lines),
            |line| {
                let before = *before.get_or_insert(line.value.unwrap_or(0));
                match (before + line.number).cmp(&number) {
                    std::cmp::Ordering::Less => ControlFlow::Continue(()),
                    std::cmp::Ordering::Equal => ControlFlow::Break(line.link.map(|link| link.claimed)),
                    std::cmp::Ordering::Greater => ControlFlow::Break(None),
                }
            },
        );
        Ok(match ended.map_err(io)? {
            ControlFlow::Break(found) => found,
            ControlFlow::Continue(_) => None,
        })
    }

    /// What it knows, for a checkpoint.
    pub fn standing(&self) -> Vec<PartitionState> {
        self.known.iter().filter_map(|(at, known)| known.state(at)).collect()
    }
}

impl Known {
    /// What a checkpoint says of the partition; nothing while its position is unknown.
    pub(super) fn state(&self, at: &TopicPartition) -> Option<PartitionState> {
        let next_offset =
            self.next_offset.or_else(|| self.outcomes.ranges().next().map(|(first, _)| first))?;
        Some(PartitionState {
            topic: at.topic.to_string(),
            topic_id: self.topic_id.clone(),
            partition: at.partition,
            next_offset,
            done: self.outcomes.ranges().filter(|(_, last)| *last >= next_offset).collect(),
        })
    }

    /// Takes over where a partition stands. What is below needs no memory any more.
    pub(super) fn stand_at(&mut self, state: &PartitionState) {
        self.topic_id.clone_from(&state.topic_id);
        self.next_offset = Some(state.next_offset);
        self.outcomes.drop_below(state.next_offset);
    }

    pub(super) fn take(&mut self, state: &PartitionState) {
        self.topic_id.clone_from(&state.topic_id);
        self.next_offset = Some(state.next_offset);
        state.add_to(&mut self.outcomes);
    }
}

/// Reads the live segment; gives what was torn off its end.
fn read_live(reading: &mut Reading, file: &mut AuditFile) -> Result<Option<(u64, PathBuf)>, AuditError> {
    let path = file.path().to_owned();
    let io = |what| {
        let path = path.clone();
        move |source| AuditError::Io { what, path, source }
    };
    if file.begins_with(LINE_START).map_err(io("read the audit log"))? {
        file.confirm().map_err(io("bring to disk what is in the audit log"))?;
    }
    file.handle().seek(SeekFrom::Start(0)).map_err(io("read the audit log"))?;
    let scanned = match reading.read(file.handle(), |_| ()).map_err(io("read the audit log"))? {
        Ok(scanned) => scanned,
        Err(Fault::Broken { line, start }) => return Err(AuditError::Damaged { path, line, start }),
        Err(Fault::OtherKey(found)) => {
            reading.hashing.check(&path, found.as_deref())?;
            return Err(AuditError::Damaged { path, line: 1, start: 0 });
        }
    };
    if scanned.torn == 0 {
        return Ok(None);
    }
    if scanned.lines == 0 && !file.begins_with(LINE_START).map_err(io("read the audit log"))? {
        // Not one line of ours: somebody else's file, which is left as it is.
        return Err(AuditError::Damaged { path, line: 1, start: 0 });
    }
    let side = file.set_aside(scanned.bytes).map_err(io("move the torn last line of the audit log"))?;
    Ok(Some((scanned.torn, side)))
}

/// Where there is no live segment: goes on from the last sealed one.
fn take_last_segment(reading: &mut Reading, path: &Path) -> Result<(), AuditError> {
    let io = |source| AuditError::Io { what: "read the last segment of", path: path.to_owned(), source };
    let Some((_, segment)) = segments::all(path).map_err(io)?.pop_last() else {
        reading.place = Place { segment: 1, ..Place::default() };
        return Ok(());
    };
    let damaged = || AuditError::Damaged { path: segment.clone(), line: 0, start: 0 };
    let line = segments::last_line(&segment)
        .map_err(|error| if packed::is_fault(&error) { damaged() } else { io(error) })?;
    let (_, hash) = split_line(&line).ok_or_else(damaged)?;
    let sealed: Checkpoint = serde_json::from_slice(&line).map_err(|_| damaged())?;
    if sealed.event_type != SEALED {
        return Err(damaged());
    }
    reading.hashing.check(&segment, sealed.key_id.as_deref())?;
    reading.take(&sealed);
    reading.place = Place { segment: sealed.segment + 1, lines: sealed.lines + 1, head: hash };
    Ok(())
}

#[cfg(test)]
mod tests;
