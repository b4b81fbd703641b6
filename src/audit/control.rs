//! The lines in which the journal speaks of itself: where it stands (checkpoint), that a segment ends (sealed), that a torn
//! line was moved aside (recovered), and which records it cannot have (gap). Chained like every other line.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::chain::{ChainHash, hex};
use super::{Hashing, Lines, OffsetSet};
use crate::models::{format_timestamp, write_safe};
use crate::record::TopicPartition;

/// The `event_type` of a checkpoint.
pub const CHECKPOINT: &str = "audit.checkpoint";
/// The `event_type` of the line that ends a segment.
pub const SEALED: &str = "audit.sealed";
/// The `event_type` of the line that tells of a torn one.
pub const RECOVERED: &str = "audit.recovered";

/// The `event_type` of the line that tells of records which were deleted before they were read.
pub const GAP: &str = "audit.gap";

/// Why a checkpoint was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A tracker has opened the journal.
    Start,
    /// Partitions were taken over.
    Assigned,
    /// Time or lines have passed.
    Interval,
    /// The segment has reached its size.
    Rotation,
    /// A tracker has ended cleanly.
    End,
}

/// Where the journal stands in one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionState {
    /// The topic's name.
    pub topic: String,
    /// The topic's id: another topic of the same name has another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
    /// The partition's number.
    pub partition: i32,
    /// The offset that the group had committed, as far as was known: everything below has its outcome, and is not read
    /// again.
    pub next_offset: i64,
    /// Outcomes from there on, as ranges of offsets, each with its first and last one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub done: Vec<(i64, i64)>,
}

impl PartitionState {
    /// Adds what the state knows to a set of outcomes.
    pub fn add_to(&self, outcomes: &mut OffsetSet) {
        for (first, last) in &self.done {
            outcomes.insert_range(*first, *last);
        }
    }
}

/// A checkpoint or a sealing line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// When it was written.
    pub timestamp: String,
    /// `audit.checkpoint` or `audit.sealed`.
    pub event_type: String,
    /// Why it was written.
    pub reason: Reason,
    /// The journal's id, the same in all of its segments.
    pub file_id: Uuid,
    /// The segment's number, from 1.
    pub segment: u64,
    /// Whose journal it is.
    pub consumer_group: String,
    /// Whether the chain is keyed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keyed: bool,
    /// The id of its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// How many lines the journal had before this one, in all of its segments.
    pub lines: u64,
    /// The hash of the line before this one, in hexadecimal digits; zeros before the first.
    pub head: String,
    /// Where it stands, by partition.
    pub partitions: Vec<PartitionState>,
}

/// Tells of a torn line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovered {
    /// When it was found.
    pub timestamp: String,
    /// `audit.recovered`.
    pub event_type: String,
    /// How long the torn line was, in bytes.
    pub torn_bytes: u64,
    /// The file that it was moved to, beside the journal.
    pub side_file: String,
}

/// Tells of offsets that retention has deleted before the group read them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// When it was found.
    pub timestamp: String,
    /// `audit.gap`.
    pub event_type: String,
    /// Whose records they were.
    pub consumer_group: String,
    /// The topic's name.
    pub topic: String,
    /// The topic's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
    /// The partition's number.
    pub partition: i32,
    /// The first offset that is gone.
    pub from: i64,
    /// The first one after it that is not part of the gap.
    pub to: i64,
}

impl Gap {
    /// A gap that was found now.
    pub fn new(
        now: Timestamp,
        group: &str,
        at: &TopicPartition,
        topic_id: Option<&str>,
        offsets: std::ops::Range<i64>,
    ) -> Self {
        Self {
            timestamp: format_timestamp(now),
            event_type: GAP.to_owned(),
            consumer_group: group.to_owned(),
            topic: at.topic.to_string(),
            topic_id: topic_id.map(str::to_owned),
            partition: at.partition,
            from: offsets.start,
            to: offsets.end,
        }
    }
}

/// What stays the same over a journal's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The journal's id.
    pub file_id: Uuid,
    /// Whose journal it is.
    pub consumer_group: String,
    /// The id of the key of its chain, if it has one.
    pub key_id: Option<String>,
}

/// Where a journal stands in itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// The segment's number, from 1.
    pub segment: u64,
    /// Lines so far, in all segments.
    pub lines: u64,
    /// The hash of the last one.
    pub head: ChainHash,
}

impl Lines {
    /// A checkpoint, or the line that ends a segment.
    pub(super) fn checkpoint(
        hashing: Hashing,
        identity: &Identity,
        place: Place,
        reason: Reason,
        partitions: Vec<PartitionState>,
    ) -> Self {
        let event_type = if reason == Reason::Rotation { SEALED } else { CHECKPOINT };
        Self::control(
            hashing,
            &Checkpoint {
                timestamp: format_timestamp(Timestamp::now()),
                event_type: event_type.to_owned(),
                reason,
                file_id: identity.file_id,
                segment: place.segment,
                consumer_group: identity.consumer_group.clone(),
                keyed: identity.key_id.is_some(),
                key_id: identity.key_id.clone(),
                lines: place.lines,
                head: hex(&place.head),
                partitions,
            },
        )
    }

    /// The line that tells of a torn one.
    pub(super) fn recovered(hashing: Hashing, torn_bytes: u64, side_file: String) -> Self {
        Self::control(
            hashing,
            &Recovered {
                timestamp: format_timestamp(Timestamp::now()),
                event_type: RECOVERED.to_owned(),
                torn_bytes,
                side_file,
            },
        )
    }

    /// Adds the line that tells of a gap.
    pub fn push_gap(&mut self, gap: &Gap) {
        self.push_control(gap);
    }

    fn control(hashing: Hashing, line: &impl Serialize) -> Self {
        let mut lines = Self::new(hashing);
        lines.push_control(line);
        lines
    }

    fn push_control(&mut self, line: &impl Serialize) {
        self.push_with(|out| {
            // Strings and numbers: serializing cannot fail. The closing brace comes with the hash.
            drop(write_safe(out, line));
            out.pop();
        });
    }
}
