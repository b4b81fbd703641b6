//! `audit prove`: conservation. Every record of the topic between its log start and what the group has committed is held
//! against the audit lines, every dead letter against its line and every line against its dead letter, and every
//! published head against the files. Reads only; joins no group.
//!
//! The order of the steps makes a proof beside a running tracker sound: what the group has committed and which heads are
//! published is asked before the files are read (the lines were on disk before either), the ends of the topics after it.

mod compare;
mod heads;
mod lines;
mod proof;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use uuid::Uuid;

use self::compare::{Comparison, Letter, Range, content_of, content_of_letter};
use self::heads::Heads;
pub use self::proof::{Counts, JournalSeen, PartitionProof, Proof, Violation, ViolationKind, Violations};
use super::{Hashing, Verified, VerifyError, packed, size_of, verify};
use crate::config::AuditSettings;
use crate::dlq::headers;
use crate::kafka::{Admin, KafkaError, Reader, committed_offsets, wait_until_reachable};
use crate::models::DeadLetter;
use crate::record::Record;

/// How often progress is told, in records.
const PROGRESS_STEP: u64 = 4096;

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The files' chains are checked, in bytes.
    Verify,
    /// The files' lines are taken in, in bytes.
    Lines,
    /// The topic is read, in offsets.
    Records,
    /// The dead letter topic is read, in offsets.
    Letters,
}

/// How far it is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// How much of it is done.
    pub done: u64,
    /// How much there is.
    pub total: u64,
}

/// Why there is neither a proof nor a refutation.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// A file is not what was written, or cannot be read.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// Kafka.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The file is another group's.
    #[error("{path} is the audit log of the group {found}, not of {group}; name its group with --group", path = path.display())]
    OtherGroup {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it was to be.
        group: String,
    },
    /// Two files are the same part of one journal.
    #[error(
        "{one} and {other} are both segment {segment} of the journal {file_id}: one is a copy of the other; give one \
         of them",
        one = one.display(), other = other.display()
    )]
    Twice {
        /// One of them.
        one: PathBuf,
        /// The other one.
        other: PathBuf,
        /// The segment.
        segment: u64,
        /// The journal.
        file_id: Uuid,
    },
    /// A line of a sound file says nothing that can be compared.
    #[error("{path}: line {line} is sound, but is no audit line that can be read", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
    },
    /// The program's own machinery.
    #[error("start the runtime")]
    Runtime(#[source] io::Error),
}

/// Proves the files against Kafka, or says what is wrong: a refutation is a [`Proof`] too, with violations.
///
/// # Errors
/// [`ProveError`] when a file is broken, is not the group's, or Kafka does not answer.
pub fn prove(
    settings: &AuditSettings,
    files: &[PathBuf],
    mut progress: impl FnMut(Progress),
) -> Result<Proof, ProveError> {
    let sizes = size_of(files);
    let hashing = Hashing::new(settings.key);
    let mut verified =
        verify(files, hashing, |done| progress(Progress { stage: Stage::Verify, done, total: sizes }))?;
    drop_packed_twins(&mut verified);
    refuse_copies(&verified)?;

    wait_until_reachable(&settings.kafka, &|| false)?;
    let kafka = Kafka::new(settings)?;
    let source = kafka.source()?;
    let mut heads = Heads::read(settings)?;

    let files: Vec<PathBuf> = verified.into_iter().map(|file| file.file).collect();
    let ledger = lines::read(&files, settings, &mut heads, |done| {
        progress(Progress { stage: Stage::Lines, done, total: sizes });
    })?;

    let mut ranges = BTreeMap::new();
    for partition in 0..source.partitions {
        let (log_start, end) = kafka.admin.watermarks(&settings.topic, partition)?;
        let committed = source.committed.get(&partition).copied();
        ranges.insert(partition, Range { log_start, committed, end });
    }
    let topic_ids = ledger.topic_ids.clone();
    let journals = ledger.journals.clone();
    let other_topics = ledger.other_topics;
    let mut comparison =
        Comparison::new(&settings.topic, &settings.dlq_topic, source.compacted, ranges, ledger.written);
    if let Some(id) = &source.id {
        comparison.topic_is(id, &topic_ids);
    }
    read_records(settings, &mut comparison, &mut progress)?;
    comparison.finish_records(&kafka.log_starts(&settings.topic, source.partitions)?);
    let letters = kafka.read_letters(settings, &mut comparison, &mut progress)?;
    comparison.finish_letters(letters.as_ref());

    let (partitions, mut violations) = comparison.finish();
    heads.judge(&journals, &mut violations);
    Ok(Proof::new(settings, journals, heads.count(), other_topics, partitions, violations))
}

/// While a segment is packed it is there twice for a moment; both were verified.
fn drop_packed_twins(files: &mut Vec<Verified>) {
    let plain: Vec<_> = files.iter().map(|file| (packed::path_of(&file.file), file.head.clone())).collect();
    files.retain(|file| !plain.iter().any(|(twin, head)| *twin == file.file && *head == file.head));
}

/// Two files that are the same segment of one journal would count every line twice.
fn refuse_copies(files: &[Verified]) -> Result<(), ProveError> {
    // `verify` sorts by journal and segment.
    for pair in files.windows(2) {
        if let [one, other] = pair
            && let Some(file_id) = one.file_id
            && (one.file_id, one.segment) == (other.file_id, other.segment)
        {
            let (one, other, segment) = (one.file.clone(), other.file.clone(), other.segment);
            return Err(ProveError::Twice { one, other, segment, file_id });
        }
    }
    Ok(())
}

/// What Kafka is asked.
struct Kafka<'a> {
    settings: &'a AuditSettings,
    admin: Admin,
    runtime: tokio::runtime::Runtime,
}

/// The topic, before the files are read.
struct Source {
    partitions: i32,
    id: Option<String>,
    compacted: bool,
    committed: BTreeMap<i32, i64>,
}

impl<'a> Kafka<'a> {
    fn new(settings: &'a AuditSettings) -> Result<Self, ProveError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ProveError::Runtime)?;
        Ok(Self { settings, admin: Admin::new(&settings.kafka)?, runtime })
    }

    fn source(&self) -> Result<Source, KafkaError> {
        let AuditSettings { kafka, topic, group, .. } = self.settings;
        let Some(info) = self.admin.topic(topic)? else {
            return Err(KafkaError::UnknownTopic {
                topic: topic.clone(),
                bootstrap_servers: kafka.bootstrap_servers.clone(),
            });
        };
        Ok(Source {
            partitions: info.partitions,
            id: self.admin.topic_id(topic),
            compacted: self.is_compacted(topic),
            committed: committed_offsets(kafka, group, topic, info.partitions)?,
        })
    }

    /// Whether the topic's older records may be gone one by one. Where the broker does not tell, they may not.
    fn is_compacted(&self, topic: &str) -> bool {
        match self.runtime.block_on(self.admin.topic_config(topic)) {
            Ok(config) => config.get("cleanup.policy").is_some_and(|policy| policy.contains("compact")),
            Err(error) => {
                let error = crate::failure::chain_of(&error);
                tracing::warn!(error, topic, "the topic is taken for one that is not compacted");
                false
            }
        }
    }

    fn log_starts(&self, topic: &str, partitions: i32) -> Result<BTreeMap<i32, i64>, KafkaError> {
        (0..partitions).map(|number| Ok((number, self.admin.watermarks(topic, number)?.0))).collect()
    }

    /// Reads the dead letters; gives the topic's log starts afterwards, `None` where it does not exist.
    fn read_letters(
        &self,
        settings: &AuditSettings,
        comparison: &mut Comparison,
        progress: &mut impl FnMut(Progress),
    ) -> Result<Option<BTreeMap<i32, i64>>, KafkaError> {
        let topic = &settings.dlq_topic;
        let Some(info) = self.admin.topic(topic)? else { return Ok(None) };
        let mut ranges = Vec::new();
        for partition in 0..info.partitions {
            let (log_start, end) = self.admin.watermarks(topic, partition)?;
            if log_start < end {
                ranges.push((partition, log_start, end));
            }
        }
        read_all(settings, topic, &ranges, Stage::Letters, progress, |record| {
            if let Some(letter) = letter_of(settings, record) {
                comparison.letter((record.partition, record.offset), &letter);
            }
        })?;
        let mut starts = self.log_starts(topic, info.partitions)?;
        if self.is_compacted(topic) {
            // Anything that the topic held may be gone.
            starts.extend(ranges.iter().map(|(partition, _, end)| (*partition, *end)));
        }
        Ok(Some(starts))
    }
}

fn read_records(
    settings: &AuditSettings,
    comparison: &mut Comparison,
    progress: &mut impl FnMut(Progress),
) -> Result<(), KafkaError> {
    let ranges = comparison.ranges_to_read();
    read_all(settings, &settings.topic, &ranges, Stage::Records, progress, |record| {
        let content = content_of(record.key.as_deref(), record.value.as_deref());
        comparison.record(record.partition, record.offset, content);
    })
}

fn read_all(
    settings: &AuditSettings,
    topic: &str,
    ranges: &[(i32, i64, i64)],
    stage: Stage,
    progress: &mut impl FnMut(Progress),
    mut take: impl FnMut(&Record),
) -> Result<(), KafkaError> {
    let total = ranges.iter().map(|(_, from, to)| u64::try_from(to - from).unwrap_or(0)).sum();
    let mut reader = Reader::over(&settings.kafka, topic, ranges)?;
    let mut done = 0;
    while let Some(record) = reader.read()? {
        take(&record);
        done += 1;
        if done % PROGRESS_STEP == 0 {
            progress(Progress { stage, done, total });
        }
    }
    Ok(())
}

/// The dead letter that a record is, if it is one of this group and topic.
fn letter_of(settings: &AuditSettings, record: &Record) -> Option<Letter> {
    record.last_header(headers::ID)?;
    let letter: DeadLetter = serde_json::from_slice(record.payload()).ok()?;
    let ours = letter.consumer_group == settings.group && letter.original_topic == settings.topic;
    ours.then(|| Letter {
        id: letter.id,
        origin: (letter.original_partition, letter.original_offset),
        content: content_of_letter(&letter),
    })
}
