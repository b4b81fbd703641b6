//! One record of a dead letter topic, understood: who wrote it, where the record that failed came from, what it was and
//! why it failed. `dialects` fills it in; list, statistics, plan and replay read it. Knows nothing of what was done about
//! it.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::failure::Category;
use crate::record::{Header, RecordTimestamp};

/// Who wrote a dead letter, told by its headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// This pipeline, or a program that uses its library.
    PubsubKafka,
    /// Spring Kafka's `DeadLetterPublishingRecoverer`.
    Spring,
    /// Kafka Connect.
    Connect,
    /// Kafka Streams.
    Streams,
    /// A share group.
    ShareGroup,
    /// None of them: a record without any origin that we can read.
    Unknown,
}

impl Dialect {
    /// The name on the wire and on the screen.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PubsubKafka => "pubsub-kafka",
            Self::Spring => "spring",
            Self::Connect => "connect",
            Self::Streams => "streams",
            Self::ShareGroup => "share-group",
            Self::Unknown => "unknown",
        }
    }
}

/// Where the record that failed was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its timestamp, where the dead letter tells it.
    pub timestamp: Option<RecordTimestamp>,
}

/// The payload of the record that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// Kafka's null.
    Null,
    /// These bytes.
    Inline(Bytes),
    /// Left out, because the broker refused so large a dead letter: the source offset or the audit log has it.
    Omitted {
        /// BLAKE3 of the payload, lower-case hex.
        hash: String,
        /// The payload's size in bytes.
        size: u64,
    },
    /// Not copied into the dead letter, which does not say what it was (a share group copies records only when told to):
    /// the source offset has it.
    Missing,
}

impl Payload {
    /// The bytes, if they are here.
    pub fn bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Inline(bytes) => Some(bytes),
            Self::Null | Self::Omitted { .. } | Self::Missing => None,
        }
    }
}

/// One dead letter, whatever wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Its own id; in the other dialects that of [`dead_letter_id`](crate::models::dead_letter_id) over group (empty
    /// where unknown) and origin, or over the place in the dead letter topic where even the origin is unknown.
    pub id: Uuid,
    /// Who wrote it.
    pub dialect: Dialect,
    /// The partition of the dead letter topic in which it is.
    pub dlq_partition: i32,
    /// Its offset there.
    pub dlq_offset: i64,
    /// Where the record came from.
    pub origin: Option<Origin>,
    /// The record's key.
    pub key: Option<Bytes>,
    /// Whether the key itself was left out (a bare letter, a share group that copies nothing): a replay must take it from
    /// the source.
    pub key_omitted: bool,
    /// The record's payload.
    pub payload: Payload,
    /// The record's own headers, in order, without any that a dialect or a replay added.
    pub headers: Vec<Header>,
    /// Whether the record may have had headers that the dead letter does not hold (a bare letter; Streams and share groups
    /// copy none): a replay must take them from the source, or goes without.
    pub headers_omitted: bool,
    /// The category; for the other dialects what their exception class tells, else `UNKNOWN_ERROR`.
    pub reason: Category,
    /// What happened, in one line. As it was written: not yet safe for a terminal.
    pub error: String,
    /// The levels of the error or the stack trace, where the dialect has one.
    pub error_stack: Option<String>,
    /// The class of the exception, where the dialect has one.
    pub exception: Option<String>,
    /// The consumer group (Connect: the connector), where known.
    pub group: Option<String>,
    /// The host that tried, where known.
    pub host: Option<String>,
    /// The attempts after the first one.
    pub retry_count: u32,
    /// When the first attempt failed, where known.
    pub first_failure: Option<Timestamp>,
    /// When it was given up: the last failure, or else the dead letter's own timestamp.
    pub failed_at: Timestamp,
    /// How often the record was replayed before it died this time.
    pub replay_count: u32,
    /// The replay that brought it back before it died this time.
    pub replay_id: Option<String>,
    /// The first dead letter of a chain of failed replays; its own id where it is the first.
    pub root_id: Uuid,
}
