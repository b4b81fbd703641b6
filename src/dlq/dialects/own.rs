//! Our own dead letters: an envelope in JSON as the value, `dlq.` headers beside it. The value is what counts; the headers
//! say that it is one.

use std::borrow::Cow;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

use super::fields::{Fields, origin};
use super::is_added_header;
use crate::dlq::envelope::metadata;
use crate::dlq::headers;
use crate::dlq::letter::{Dialect, Letter, Payload};
use crate::failure::Category;
use crate::models::{DeadLetter, OriginalPayload};
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
            .map(|h| Header { name: h.name, value: h.value.map(Bytes::from) })
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
