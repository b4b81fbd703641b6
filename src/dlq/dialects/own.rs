//! Our own dead letters: an envelope in JSON as the value, `dlq.` headers beside it. The value is what counts; the headers
//! say that it is one.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;
use uuid::Uuid;

use super::fields::{Fields, origin};
use super::is_added_header;
use crate::dlq::envelope::metadata;
use crate::dlq::headers;
use crate::dlq::letter::{Dialect, Letter, Payload};
use crate::failure::Category;
use crate::models::{BorrowedText, BytesField, DeadLetter, OriginalPayload, utf8};
use crate::record::{Header, Record, RecordTimestamp, TimestampKind};

/// Whether the record says that it is one of ours. A record's own headers of these names are never kept by us, and
/// nobody else writes both.
pub(super) fn claims(fields: Fields<'_>) -> bool {
    fields.last(headers::ID).is_some() && fields.last(headers::REASON).is_some()
}

/// `None` when the value is no envelope.
pub(super) fn read(record: &Record) -> Option<Letter> {
    let letter: DeadLetter = serde_json::from_slice(record.payload()).ok()?;
    let fields = Fields::of(record);
    let kind = match fields.last_text("kafka_dlt-original-timestamp-type") {
        Some("LogAppendTime") => TimestampKind::LogAppendTime,
        _ => TimestampKind::CreateTime,
    };
    let timestamp = letter.original_timestamp.map(|t| RecordTimestamp { millis: t.as_millisecond(), kind });
    Some(Letter {
        id: letter.id,
        dialect: Dialect::PubsubKafka,
        dlq_partition: record.partition,
        dlq_offset: record.offset,
        origin: origin(&letter.original_topic, letter.original_partition, letter.original_offset, timestamp),
        key_omitted: letter.metadata.contains_key(metadata::KEY_HASH),
        headers_omitted: letter.metadata.contains_key(metadata::HEADERS_LEFT_OUT),
        key: letter.original_key.map(Bytes::from),
        payload: match letter.original_payload {
            OriginalPayload::Null => Payload::Null,
            OriginalPayload::Inline(bytes) => Payload::Inline(bytes.into()),
            OriginalPayload::Omitted { hash, size } => Payload::Omitted { hash, size },
        },
        headers: letter
            .original_headers
            .into_iter()
            .filter(|h| !is_added_header(&h.name))
            .map(|h| Header { name: h.name.into(), value: h.value.map(Bytes::from) })
            .collect(),
        reason: letter.failure_reason,
        error: letter.error_message,
        error_stack: letter.error_stack,
        exception: None,
        group: Some(letter.consumer_group),
        host: Some(letter.processing_host),
        retry_count: letter.retry_count,
        first_failure: Some(letter.first_failure),
        failed_at: letter.last_failure,
        replay_count: fields.last_number(headers::REPLAY_COUNT).unwrap_or(0),
        replay_id: fields.last_lossy(headers::REPLAY_ID),
        root_id: letter.root_id.unwrap_or(letter.id),
    })
}

/// What counting needs of an envelope. Text that nobody counts is passed over and not copied.
#[derive(Deserialize)]
struct Counted<'a> {
    id: Uuid,
    #[serde(borrow)]
    original_topic: Cow<'a, str>,
    original_partition: i32,
    original_offset: i64,
    failure_reason: Category,
    error_message: String,
    consumer_group: String,
    processing_host: String,
    retry_count: u32,
    last_failure: Timestamp,
    root_id: Option<Uuid>,
}

/// The same without payload, headers and stack. `None` when the value is no envelope.
pub(super) fn read_to_count(record: &Record) -> Option<Letter> {
    let letter: Counted<'_> = serde_json::from_slice(record.payload()).ok()?;
    let mut counted = Letter::plain(record, Dialect::PubsubKafka);
    counted.id = letter.id;
    counted.root_id = letter.root_id.unwrap_or(letter.id);
    counted.origin = origin(&letter.original_topic, letter.original_partition, letter.original_offset, None);
    counted.payload = Payload::Missing;
    counted.reason = letter.failure_reason;
    counted.error = letter.error_message;
    counted.group = Some(letter.consumer_group);
    counted.host = Some(letter.processing_host);
    counted.retry_count = letter.retry_count;
    counted.failed_at = letter.last_failure;
    Some(counted)
}

/// What a replay needs of an envelope. Everything else is passed over.
#[derive(Deserialize)]
struct Replayed<'a> {
    id: Uuid,
    #[serde(borrow)]
    original_topic: Cow<'a, str>,
    original_partition: i32,
    original_offset: i64,
    #[serde(borrow)]
    original_key: Option<BorrowedText<'a>>,
    #[serde(borrow)]
    original_payload: Option<BorrowedText<'a>>,
    #[serde(borrow)]
    original_timestamp: Option<BorrowedText<'a>>,
    #[serde(default, borrow)]
    metadata: BTreeMap<BorrowedText<'a>, IgnoredAny>,
    #[serde(borrow)]
    original_key_base64: Option<BorrowedText<'a>>,
    #[serde(borrow)]
    original_payload_base64: Option<BorrowedText<'a>>,
    original_payload_hash: Option<String>,
    original_payload_size: Option<u64>,
    #[serde(default, borrow)]
    original_headers: Vec<ReplayedHeader<'a>>,
    root_id: Option<Uuid>,
}

#[derive(Deserialize)]
struct ReplayedHeader<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    value: Option<BorrowedText<'a>>,
    #[serde(borrow)]
    value_base64: Option<BorrowedText<'a>>,
}

/// `None` when nobody can tell the bytes.
fn bytes_of(text: Option<BorrowedText<'_>>, base64: Option<BorrowedText<'_>>) -> Option<Option<Bytes>> {
    let field = BytesField { text: text.map(|text| text.0), base64: base64.map(|text| text.0) };
    Some(field.decode().ok()?.map(Bytes::from))
}

/// The same for a replay, from the value alone: without reason, error and stack, group and host, times of failure and
/// replays. What is passed over may be anything. `None` when the value is no envelope.
pub(super) fn read_to_replay(record: &Record) -> Option<Letter> {
    // All of it at once is quicker than each string by itself.
    let letter: Replayed<'_> = serde_json::from_str(utf8(record.payload()).ok()?).ok()?;
    let timestamp = match letter.original_timestamp {
        None => None,
        Some(text) => {
            let millis = text.0.parse::<Timestamp>().ok()?.as_millisecond();
            Some(RecordTimestamp { millis, kind: TimestampKind::CreateTime })
        }
    };
    let has = |name: &'static str| letter.metadata.contains_key(&BorrowedText(Cow::Borrowed(name)));
    let header = |header: ReplayedHeader<'_>| {
        let value = bytes_of(header.value, header.value_base64)?;
        Some(Header { name: header.name.into_owned().into(), value })
    };
    let headers = letter.original_headers.into_iter().filter(|h| !is_added_header(&h.name)).map(header);
    let inline = bytes_of(letter.original_payload, letter.original_payload_base64)?;
    let payload = match (inline, letter.original_payload_hash, letter.original_payload_size) {
        (Some(bytes), ..) => Payload::Inline(bytes),
        (None, Some(hash), Some(size)) => Payload::Omitted { hash, size },
        (None, ..) => Payload::Null,
    };
    Some(Letter {
        id: letter.id,
        origin: origin(&letter.original_topic, letter.original_partition, letter.original_offset, timestamp),
        key: bytes_of(letter.original_key, letter.original_key_base64)?,
        key_omitted: has(metadata::KEY_HASH),
        payload,
        headers: headers.collect::<Option<_>>()?,
        headers_omitted: has(metadata::HEADERS_LEFT_OUT),
        root_id: letter.root_id.unwrap_or(letter.id),
        ..Letter::blank(Dialect::PubsubKafka, record.partition, record.offset)
    })
}

/// One of ours whose value nobody can read any more: shown with what its headers say, and without an origin, so that a
/// broken envelope is never sent to the topic of the record.
pub(super) fn damaged(record: &Record) -> Letter {
    let fields = Fields::of(record);
    let reason = fields.last_text(headers::REASON).and_then(Category::from_name);
    let mut letter = Letter::plain(record, Dialect::Unknown).identified(record);
    letter.reason = reason.unwrap_or(Category::Unknown);
    letter.error = fields.last_lossy(headers::ERROR).unwrap_or_default();
    letter
}
