//! One consumed record, owned: what the client's buffer held, copied out once. Knows nothing of what the bytes mean.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

/// A topic and a partition number of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// Names a partition.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl std::fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// What a record's timestamp means, as Kafka's `message.timestamp.type` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampKind {
    /// Set by the producer.
    CreateTime,
    /// Set by the broker when it appended the record.
    LogAppendTime,
}

impl TimestampKind {
    /// Kafka's own name of the kind.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CreateTime => "CreateTime",
            Self::LogAppendTime => "LogAppendTime",
        }
    }
}

/// A record's timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordTimestamp {
    /// Milliseconds since the Unix epoch.
    pub millis: i64,
    /// Who set it.
    pub kind: TimestampKind,
}

/// One header. Kafka keeps order, duplicates and null values; so does everything here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The header's name.
    pub name: Cow<'static, str>,
    /// The value; Kafka tells null from empty.
    pub value: Option<Bytes>,
}

impl Header {
    /// A header with a value.
    pub fn new(name: impl Into<Cow<'static, str>>, value: impl Into<Bytes>) -> Self {
        Self { name: name.into(), value: Some(value.into()) }
    }
}

/// One record as it was consumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The topic it was read from.
    pub topic: Arc<str>,
    /// The partition it was read from.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Its timestamp, if the topic carries any.
    pub timestamp: Option<RecordTimestamp>,
    /// The key; `None` is Kafka's null.
    pub key: Option<Bytes>,
    /// The payload; `None` is Kafka's null (a tombstone).
    pub value: Option<Bytes>,
    /// The headers, in order.
    pub headers: Vec<Header>,
}

impl Record {
    /// A record without key, value, headers and timestamp, to be filled in.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32, offset: i64) -> Self {
        Self {
            topic: topic.into(),
            partition,
            offset,
            timestamp: None,
            key: None,
            value: None,
            headers: Vec::new(),
        }
    }

    /// With this key.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// With this payload.
    #[must_use]
    pub fn with_value(mut self, value: impl Into<Bytes>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// The partition that it was read from.
    pub fn topic_partition(&self) -> TopicPartition {
        TopicPartition { topic: Arc::clone(&self.topic), partition: self.partition }
    }

    /// The payload's bytes; empty for a null payload.
    pub fn payload(&self) -> &[u8] {
        self.value.as_deref().unwrap_or_default()
    }

    /// The value of the last header with this name (Kafka's own rule for duplicates: the last one counts).
    pub fn last_header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().rev().find(|h| h.name == name)?.value.as_deref()
    }

    /// The same record in memory of its own. Records that are read one after the other share memory, all of which one that
    /// waits longer than the others would keep.
    #[must_use]
    pub fn apart(mut self) -> Self {
        let values = self.headers.iter_mut().map(|header| &mut header.value);
        for bytes in values.chain([&mut self.key, &mut self.value]) {
            *bytes = bytes.as_deref().map(Bytes::copy_from_slice);
        }
        self
    }

    /// About how much memory the record holds, in bytes.
    pub fn size_bytes(&self) -> usize {
        // A record may have a hundred thousand headers without a byte in any of them.
        let header = |h: &Header| size_of::<Header>() + h.name.len() + h.value.as_ref().map_or(0, Bytes::len);
        let headers: usize = self.headers.iter().map(header).sum();
        self.key.as_ref().map_or(0, Bytes::len) + self.payload().len() + headers + std::mem::size_of::<Self>()
    }
}
