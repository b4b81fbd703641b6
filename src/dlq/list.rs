//! The dead letters of a topic, one after the other, narrowed by filters: what the `dlq` tool lists.

use std::io::{self, Write};

use serde::Serialize;
use uuid::Uuid;

use super::headers;
use crate::config::DlqListSettings;
use crate::failure::Category;
use crate::kafka::{KafkaError, Reader};
use crate::models::{DeadLetter, format_timestamp, safe_short, to_safe_vec};
use crate::record::Record;

/// How much of an error or a key stands in a table row, in characters.
const CELL_CHARS: usize = 60;

/// Why the dead letters could not be listed.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// Kafka.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The results could not be written.
    #[error("write the list")]
    Output(#[from] io::Error),
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Listed {
    /// Dead letters that were written.
    pub listed: u64,
    /// Records of the topic that are no dead letters of our format.
    pub foreign: u64,
}

/// One dead letter, as `list --json` shows it.
#[derive(Serialize)]
struct Row<'a> {
    id: Uuid,
    reason: Category,
    status: &'static str,
    dialect: &'static str,
    timestamp: String,
    original_topic: &'a str,
    original_partition: i32,
    original_offset: i64,
    key: Option<std::borrow::Cow<'a, str>>,
    error: &'a str,
    retry_count: u32,
    replay_count: u32,
    consumer_group: &'a str,
    dlq_partition: i32,
    dlq_offset: i64,
}

/// Writes the dead letters of the topic that pass the filters, oldest first in each partition.
///
/// # Errors
/// [`ListError`] when the topic cannot be read, or the results not be written.
pub fn list(settings: &DlqListSettings, out: &mut dyn Write) -> Result<Listed, ListError> {
    let mut reader = Reader::open(&settings.kafka, &settings.topic)?;
    let mut found = Listed::default();
    if !settings.json {
        writeln!(
            out,
            "{:36}  {:21}  {:24}  {:30}  {:20}  ERROR",
            "ID", "REASON", "FAILED AT", "ORIGIN", "KEY"
        )?;
    }
    while settings.limit.is_none_or(|limit| found.listed < limit)
        && let Some(record) = reader.read()?
    {
        let Some(letter) = ours(&record) else {
            found.foreign += 1;
            continue;
        };
        if !passes(settings, &letter) {
            continue;
        }
        write_row(settings.json, &record, &letter, out)?;
        found.listed += 1;
    }
    out.flush()?;
    Ok(found)
}

fn ours(record: &Record) -> Option<DeadLetter> {
    record.last_header(headers::ID)?;
    serde_json::from_slice(record.payload()).ok()
}

fn passes(settings: &DlqListSettings, letter: &DeadLetter) -> bool {
    let key_is = |key: &String| letter.original_key.as_deref() == Some(key.as_bytes());
    settings.reason.is_none_or(|reason| letter.failure_reason == reason)
        && settings.key.as_ref().is_none_or(key_is)
        && settings.order_id.as_ref().is_none_or(|id| key_is(id) || order_id(letter).as_deref() == Some(id))
}

/// The order's id, where the payload is JSON that has one.
fn order_id(letter: &DeadLetter) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Named {
        order_id: String,
    }
    serde_json::from_slice::<Named>(letter.original_payload.bytes()?).ok().map(|named| named.order_id)
}

fn write_row(json: bool, record: &Record, letter: &DeadLetter, out: &mut dyn Write) -> io::Result<()> {
    let replay_count = record
        .last_header(headers::REPLAY_COUNT)
        .and_then(|count| std::str::from_utf8(count).ok()?.parse().ok())
        .unwrap_or(0);
    let key = letter.original_key.as_deref().map(String::from_utf8_lossy);
    if json {
        let row = Row {
            id: letter.id,
            reason: letter.failure_reason,
            status: "open",
            dialect: "pubsub-kafka",
            timestamp: format_timestamp(letter.timestamp),
            original_topic: &letter.original_topic,
            original_partition: letter.original_partition,
            original_offset: letter.original_offset,
            key,
            error: &letter.error_message,
            retry_count: letter.retry_count,
            replay_count,
            consumer_group: &letter.consumer_group,
            dlq_partition: record.partition,
            dlq_offset: record.offset,
        };
        let mut line = to_safe_vec(&row).map_err(io::Error::other)?;
        line.push(b'\n');
        return out.write_all(&line);
    }
    let origin =
        format!("{}/{}@{}", letter.original_topic, letter.original_partition, letter.original_offset);
    writeln!(
        out,
        "{}  {:21}  {:24}  {:30}  {:20}  {}",
        letter.id,
        letter.failure_reason.as_str(),
        format_timestamp(letter.last_failure),
        safe_short(&origin, CELL_CHARS),
        key.map_or_else(|| "-".to_owned(), |key| safe_short(&key, CELL_CHARS)),
        safe_short(&letter.error_message, CELL_CHARS),
    )
}
