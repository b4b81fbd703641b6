//! What `audit prove` found: counts by partition, and the violations, the first of each kind by name.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;
use uuid::Uuid;

use crate::config::AuditSettings;

/// How many violations of a kind are named; all are counted.
const NAMED: u64 = 10;

/// The result: proven if there is no violation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// Whether nothing is wrong.
    pub proven: bool,
    /// The source topic.
    pub topic: String,
    /// The consumer group.
    pub group: String,
    /// The dead letter topic.
    pub dlq_topic: String,
    /// The journals that were given.
    pub journals: Vec<JournalSeen>,
    /// Heads of this group that are published in Kafka.
    pub heads: u64,
    /// Lines about other topics, which were left aside.
    pub other_topics: u64,
    /// The source topic's partitions.
    pub partitions: Vec<PartitionProof>,
    /// Over all of them.
    pub total: Counts,
    /// What is wrong.
    pub violations: Violations,
}

/// A journal, as far as its files were given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JournalSeen {
    /// Its id.
    pub file_id: Uuid,
    /// The files, by segment.
    pub files: Vec<PathBuf>,
    /// Its lines up to there that are in segments which were not given.
    pub not_given: u64,
    /// Its lines up to the end of the last of them.
    pub lines: u64,
}

/// One partition of the source topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartitionProof {
    /// Its number.
    pub partition: i32,
    /// Its first offset.
    pub log_start: i64,
    /// What the group has committed.
    pub committed: Option<i64>,
    /// Its end.
    pub end: i64,
    /// What was found there.
    #[serde(flatten)]
    pub counts: Counts,
}

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What was found. Counts are of offsets, unless they say otherwise.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl std::ops::AddAssign<&Self> for Counts {
            fn add_assign(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

counts! {
    /// Records that the topic holds between its log start and what is committed.
    records,
    /// Those of them that were processed.
    processed,
    /// Those of them that were dead-lettered.
    dead_lettered,
    /// Those of them without a line. A violation.
    missing,
    /// Lines of a record that has one already in the same journal. A violation.
    duplicates,
    /// Lines whose key or payload is not the record's. A violation.
    differing,
    /// Lines about offsets that hold no record. A violation.
    orphans,
    /// Lines of a record that has one in another journal: a takeover after a crash.
    repeats,
    /// Lines about records that are not committed yet.
    pending,
    /// Lines without payload and hash, which cannot be compared.
    unchecked,
    /// Offsets between log start and what is committed that hold no record: transactions' markers, aborted records,
    /// compaction.
    gaps,
    /// Offsets that retention deleted before they were read, as the journals say.
    deleted_unread,
    /// Lines about records that retention has deleted since.
    expired,
    /// Lines about records that compaction has removed since.
    compacted,
    /// Records that were dead-lettered and whose dead letter is there.
    letters,
    /// Lines whose dead letter is below the log start of the dead letter topic.
    letters_purged,
    /// Lines whose dead letter is not where they say. A violation.
    letters_lost,
    /// Dead letters of committed records without a line. A violation.
    letters_unlisted,
    /// Dead letters whose key or payload is not their line's. A violation.
    letters_differing,
    /// Further dead letters of one record.
    letters_repeated,
    /// Dead letters of records that are not committed yet, without a line.
    letters_pending,
    /// Dead letters without a line whose record retention has deleted since.
    letters_expired,
}

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ViolationKind {
    /// The topic was deleted and created again.
    TopicReplaced,
    /// The group has committed more than the topic holds.
    BeyondEnd,
    /// The journal of a published head was not given.
    JournalNotGiven,
    /// A journal ends before its published head.
    JournalCut,
    /// A journal says something else than its published head.
    JournalRewritten,
    /// A committed record without a line.
    Missing,
    /// A second line of a record in one journal.
    Duplicate,
    /// Key or payload are not the record's.
    Differing,
    /// A line about an offset without a record.
    Orphan,
    /// A dead letter that is not where its line says.
    LetterLost,
    /// A dead letter without a line.
    LetterUnlisted,
    /// Key or payload are not the line's.
    LetterDiffering,
}

/// One violation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Its kind.
    pub kind: ViolationKind,
    /// Where: `topic/partition@offset`, a topic, or a journal's id.
    pub at: String,
    /// What is wrong there.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.what)
    }
}

/// All violations.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Violations {
    /// How many there are.
    pub total: u64,
    /// How many of each kind.
    pub counts: BTreeMap<ViolationKind, u64>,
    /// The first of each kind.
    pub first: Vec<Violation>,
}

impl Violations {
    /// Adds one; its text is only made for those that are named.
    pub(super) fn add(&mut self, kind: ViolationKind, text: impl FnOnce() -> (String, String)) {
        self.total += 1;
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        if *count <= NAMED {
            let (at, what) = text();
            self.first.push(Violation { kind, at, what });
        }
    }
}

impl Proof {
    pub(super) fn new(
        settings: &AuditSettings,
        journals: Vec<JournalSeen>,
        heads: u64,
        other_topics: u64,
        partitions: Vec<PartitionProof>,
        mut violations: Violations,
    ) -> Self {
        let mut total = Counts::default();
        for partition in &partitions {
            total += &partition.counts;
        }
        // In the order of their kinds, and within one as they were found.
        violations.first.sort_by_key(|violation| violation.kind);
        Self {
            proven: violations.total == 0,
            topic: settings.topic.clone(),
            group: settings.group.clone(),
            dlq_topic: settings.dlq_topic.clone(),
            journals,
            heads,
            other_topics,
            partitions,
            total,
            violations,
        }
    }
}
