//! The value of a dead letter record: everything that is needed to understand, repair and replay what failed. In
//! memory the original's key, payload and headers are bytes; only the JSON tells text from Base64, and null from
//! empty. Owns the wire form; who publishes it, where and under which headers is the `dlq` room's.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use uuid::Uuid;

use super::bytes_field::{BytesField, BytesFieldError};
use super::time::{millis, optional_millis};
use crate::failure::Category;

/// One dead letter.
#[derive(Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// See [`dead_letter_id`].
    pub id: Uuid,
    /// When this dead letter was made.
    pub timestamp: Timestamp,
    /// The topic of the record that failed.
    pub original_topic: String,
    /// Its partition.
    pub original_partition: i32,
    /// Its offset.
    pub original_offset: i64,
    /// Its key; `None` is Kafka's null.
    pub original_key: Option<Vec<u8>>,
    /// Its payload.
    pub original_payload: OriginalPayload,
    /// Its timestamp, if it had one.
    pub original_timestamp: Option<Timestamp>,
    /// Why it failed.
    pub failure_reason: Category,
    /// What happened, in one line.
    pub error_message: String,
    /// The levels of the error, one a line, the outermost first.
    pub error_stack: Option<String>,
    /// The consumer group that could not handle it.
    pub consumer_group: String,
    /// The host that tried.
    pub processing_host: String,
    /// The attempts after the first.
    pub retry_count: u32,
    /// When the first attempt failed.
    pub first_failure: Timestamp,
    /// When the last attempt failed.
    pub last_failure: Timestamp,
    /// When it is due to be tried again; `None` when nothing is planned.
    pub next_retry_at: Option<Timestamp>,
    /// Whether what failed was itself a replay.
    pub is_reprocessed: bool,
    /// Further facts by name.
    pub metadata: BTreeMap<String, String>,
    /// The headers of the record that failed, in order, duplicates included.
    pub original_headers: Vec<DeadLetterHeader>,
    /// The first dead letter of a chain of failed replays; `None` when this is the first.
    pub root_id: Option<Uuid>,
}

/// What is known of the original's payload.
#[derive(Clone, PartialEq, Eq)]
pub enum OriginalPayload {
    /// It was Kafka's null.
    Null,
    /// These bytes.
    Inline(Vec<u8>),
    /// Left out, because the broker refuses so large a dead letter; to be taken from the source offset or the audit
    /// log. `original_payload_hash` and `original_payload_size` on the wire.
    Omitted {
        /// BLAKE3 of the payload, lower-case hex.
        hash: String,
        /// The payload's size in bytes.
        size: u64,
    },
}

impl OriginalPayload {
    /// The payload of a record, as Kafka gave it.
    pub fn from_record(value: Option<&[u8]>) -> Self {
        value.map_or(Self::Null, |bytes| Self::Inline(bytes.to_vec()))
    }

    /// The bytes, if they are here.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Inline(bytes) => Some(bytes),
            Self::Null | Self::Omitted { .. } => None,
        }
    }
}

/// Says what it is, not what it holds.
impl fmt::Debug for OriginalPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("Null"),
            Self::Inline(bytes) => write!(f, "Inline({} bytes)", bytes.len()),
            Self::Omitted { hash, size } => write!(f, "Omitted({size} bytes, hash {hash})"),
        }
    }
}

/// One header of the record that failed.
#[derive(Clone, PartialEq, Eq)]
pub struct DeadLetterHeader {
    /// Its name.
    pub name: String,
    /// Its value; `None` is Kafka's null.
    pub value: Option<Vec<u8>>,
}

/// Without the value: a log must not hold it.
impl fmt::Debug for DeadLetterHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.value.as_ref().map(Vec::len);
        f.debug_struct("DeadLetterHeader").field("name", &self.name).field("value_bytes", &size).finish()
    }
}

/// Without the original's content: a log must not hold it.
impl fmt::Debug for DeadLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetter")
            .field("id", &self.id)
            .field("original_topic", &self.original_topic)
            .field("original_partition", &self.original_partition)
            .field("original_offset", &self.original_offset)
            .field("original_payload", &self.original_payload)
            .field("failure_reason", &self.failure_reason)
            .field("consumer_group", &self.consumer_group)
            .field("retry_count", &self.retry_count)
            .field("is_reprocessed", &self.is_reprocessed)
            .field("root_id", &self.root_id)
            .finish_non_exhaustive()
    }
}

/// The namespace of dead letter ids.
const ID_NAMESPACE: Uuid = Uuid::from_u128(0x7498_21b2_fd6c_49e3_bb44_9bed_4977_9ccb);

/// The id of the dead letter that a consumer group makes of a record: the same after a crash and a repeat.
///
/// It is the UUIDv5, in the namespace `749821b2-fd6c-49e3-bb44-9bed49779ccb`, of the text
/// `<bytes of group>:<group>,<bytes of topic>:<topic>,<partition>,<offset>`, numbers in decimal: for group `g`, topic
/// `orders`, partition 0 and offset 42 of `1:g,6:orders,0,42`. The lengths keep names apart that hold the separators.
pub fn dead_letter_id(group: &str, topic: &str, partition: i32, offset: i64) -> Uuid {
    let name = format!("{}:{group},{}:{topic},{partition},{offset}", group.len(), topic.len());
    Uuid::new_v5(&ID_NAMESPACE, name.as_bytes())
}

/// The JSON form, in the order of its fields. Unknown fields are ignored on reading.
#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    id: Uuid,
    #[serde(with = "millis")]
    timestamp: Timestamp,
    original_topic: Cow<'a, str>,
    original_partition: i32,
    original_offset: i64,
    original_key: Option<Cow<'a, str>>,
    original_payload: Option<Cow<'a, str>>,
    #[serde(default, with = "optional_millis")]
    original_timestamp: Option<Timestamp>,
    failure_reason: Category,
    error_message: Cow<'a, str>,
    error_stack: Option<Cow<'a, str>>,
    consumer_group: Cow<'a, str>,
    processing_host: Cow<'a, str>,
    retry_count: u32,
    #[serde(with = "millis")]
    first_failure: Timestamp,
    #[serde(with = "millis")]
    last_failure: Timestamp,
    #[serde(default, with = "optional_millis")]
    next_retry_at: Option<Timestamp>,
    #[serde(default)]
    is_reprocessed: bool,
    #[serde(default)]
    metadata: Cow<'a, BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    original_key_base64: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    original_payload_base64: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    original_payload_hash: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    original_payload_size: Option<u64>,
    #[serde(default)]
    original_headers: Vec<WireHeader<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    root_id: Option<Uuid>,
}

/// `{"name", "value"}`, the value null for Kafka's null, or `{"name", "value_base64"}`.
#[derive(Deserialize)]
struct WireHeader<'a> {
    name: Cow<'a, str>,
    value: Option<Cow<'a, str>>,
    value_base64: Option<Cow<'a, str>>,
}

impl Serialize for WireHeader<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use ser::SerializeStruct as _;

        let mut fields = serializer.serialize_struct("Header", 2)?;
        fields.serialize_field("name", &self.name)?;
        match &self.value_base64 {
            Some(base64) => fields.serialize_field("value_base64", base64)?,
            None => fields.serialize_field("value", &self.value)?,
        }
        fields.end()
    }
}

impl<'a> From<&'a DeadLetterHeader> for WireHeader<'a> {
    fn from(header: &'a DeadLetterHeader) -> Self {
        let BytesField { text, base64 } = BytesField::encode(header.value.as_deref());
        Self { name: Cow::Borrowed(&header.name), value: text, value_base64: base64 }
    }
}

impl TryFrom<WireHeader<'_>> for DeadLetterHeader {
    type Error = BytesFieldError;

    fn try_from(wire: WireHeader<'_>) -> Result<Self, BytesFieldError> {
        let value = BytesField { text: wire.value, base64: wire.value_base64 }.decode()?;
        Ok(Self { name: wire.name.into_owned(), value })
    }
}

impl Serialize for DeadLetter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let key = BytesField::encode(self.original_key.as_deref());
        let payload = BytesField::encode(self.original_payload.bytes());
        let (hash, size) = match &self.original_payload {
            OriginalPayload::Null | OriginalPayload::Inline(_) => (None, None),
            OriginalPayload::Omitted { hash, size } => (Some(Cow::Borrowed(&**hash)), Some(*size)),
        };
        Wire {
            id: self.id,
            timestamp: self.timestamp,
            original_topic: Cow::Borrowed(&self.original_topic),
            original_partition: self.original_partition,
            original_offset: self.original_offset,
            original_key: key.text,
            original_payload: payload.text,
            original_timestamp: self.original_timestamp,
            failure_reason: self.failure_reason,
            error_message: Cow::Borrowed(&self.error_message),
            error_stack: self.error_stack.as_deref().map(Cow::Borrowed),
            consumer_group: Cow::Borrowed(&self.consumer_group),
            processing_host: Cow::Borrowed(&self.processing_host),
            retry_count: self.retry_count,
            first_failure: self.first_failure,
            last_failure: self.last_failure,
            next_retry_at: self.next_retry_at,
            is_reprocessed: self.is_reprocessed,
            metadata: Cow::Borrowed(&self.metadata),
            original_key_base64: key.base64,
            original_payload_base64: payload.base64,
            original_payload_hash: hash,
            original_payload_size: size,
            original_headers: self.original_headers.iter().map(WireHeader::from).collect(),
            root_id: self.root_id,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for DeadLetter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Wire::deserialize(deserializer)?.try_into().map_err(de::Error::custom)
    }
}

impl TryFrom<Wire<'_>> for DeadLetter {
    type Error = BytesFieldError;

    fn try_from(wire: Wire<'_>) -> Result<Self, BytesFieldError> {
        let key = BytesField { text: wire.original_key, base64: wire.original_key_base64 };
        let payload = BytesField { text: wire.original_payload, base64: wire.original_payload_base64 };
        let original_payload =
            match (payload.decode()?, wire.original_payload_hash, wire.original_payload_size) {
                (Some(bytes), ..) => OriginalPayload::Inline(bytes),
                (None, Some(hash), Some(size)) => OriginalPayload::Omitted { hash: hash.into_owned(), size },
                (None, ..) => OriginalPayload::Null,
            };
        let headers = wire.original_headers.into_iter().map(DeadLetterHeader::try_from);
        Ok(Self {
            id: wire.id,
            timestamp: wire.timestamp,
            original_topic: wire.original_topic.into_owned(),
            original_partition: wire.original_partition,
            original_offset: wire.original_offset,
            original_key: key.decode()?,
            original_payload,
            original_timestamp: wire.original_timestamp,
            failure_reason: wire.failure_reason,
            error_message: wire.error_message.into_owned(),
            error_stack: wire.error_stack.map(Cow::into_owned),
            consumer_group: wire.consumer_group.into_owned(),
            processing_host: wire.processing_host.into_owned(),
            retry_count: wire.retry_count,
            first_failure: wire.first_failure,
            last_failure: wire.last_failure,
            next_retry_at: wire.next_retry_at,
            is_reprocessed: wire.is_reprocessed,
            metadata: wire.metadata.into_owned(),
            original_headers: headers.collect::<Result<_, _>>()?,
            root_id: wire.root_id,
        })
    }
}

#[cfg(test)]
#[path = "dead_letter_tests.rs"]
mod tests;
