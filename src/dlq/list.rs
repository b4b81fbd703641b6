//! The dead letters of a topic, one after the other, narrowed by filters: what the `dlq` tool lists.

use std::borrow::Cow;
use std::io::{self, Write};

use serde::Serialize;
use uuid::Uuid;

use super::filter::Filter;
use super::letter::{Dialect, Letter};
use super::status::{State, Statuses};
use crate::config::KafkaSettings;
use crate::failure::Category;
use crate::kafka::{KafkaError, Reader};
use crate::models::{format_timestamp, safe_short, to_safe_vec};

/// How much of an error or a key stands in a table row, in characters.
const CELL_CHARS: usize = 60;

/// Why the dead letters could not be read or shown.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Kafka.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The results could not be written.
    #[error("write the result")]
    Output(#[from] io::Error),
}

/// One dead letter, as `list --json` shows it.
#[derive(Serialize)]
struct Row<'a> {
    id: Uuid,
    reason: Category,
    status: State,
    dialect: Dialect,
    timestamp: String,
    original_topic: Option<&'a str>,
    original_partition: Option<i32>,
    original_offset: Option<i64>,
    key: Option<Cow<'a, str>>,
    error: &'a str,
    retry_count: u32,
    replay_count: u32,
    consumer_group: Option<&'a str>,
    dlq_partition: i32,
    dlq_offset: i64,
}

/// Writes the dead letters of the topic that pass the filter, oldest first in each partition; says how many.
///
/// # Errors
/// [`ReadError`] when the topic cannot be read, or the results not be written.
pub fn list(
    settings: &KafkaSettings,
    topic: &str,
    filter: &Filter,
    json: bool,
    out: &mut dyn Write,
) -> Result<u64, ReadError> {
    let mut reader = Reader::open(settings, topic)?;
    let statuses = Statuses::read(settings, topic)?;
    let mut listed = 0;
    if !json {
        writeln!(
            out,
            "{:36}  {:21}  {:24}  {:30}  {:20}  ERROR",
            "ID", "REASON", "FAILED AT", "ORIGIN", "KEY"
        )?;
    }
    while filter.limit.is_none_or(|limit| listed < limit)
        && let Some(record) = reader.read()?
    {
        let letter = Letter::read(&record);
        let state = statuses.state(letter.id);
        if filter.matches(&letter, state) {
            write_row(json, &letter, state, out)?;
            listed += 1;
        }
    }
    out.flush()?;
    Ok(listed)
}

fn write_row(json: bool, letter: &Letter, status: State, out: &mut dyn Write) -> io::Result<()> {
    let key = letter.key.as_deref().map(String::from_utf8_lossy);
    let origin = letter.origin.as_ref();
    if json {
        let row = Row {
            id: letter.id,
            reason: letter.reason,
            status,
            dialect: letter.dialect,
            timestamp: format_timestamp(letter.failed_at),
            original_topic: origin.map(|origin| &*origin.topic),
            original_partition: origin.map(|origin| origin.partition),
            original_offset: origin.map(|origin| origin.offset),
            key,
            error: &letter.error,
            retry_count: letter.retry_count,
            replay_count: letter.replay_count,
            consumer_group: letter.group.as_deref(),
            dlq_partition: letter.dlq_partition,
            dlq_offset: letter.dlq_offset,
        };
        let mut line = to_safe_vec(&row).map_err(io::Error::other)?;
        line.push(b'\n');
        return out.write_all(&line);
    }
    let origin = origin.map_or_else(
        || "-".to_owned(),
        |origin| format!("{}/{}@{}", origin.topic, origin.partition, origin.offset),
    );
    writeln!(
        out,
        "{}  {:21}  {:24}  {:30}  {:20}  {}",
        letter.id,
        letter.reason.as_str(),
        format_timestamp(letter.failed_at),
        safe_short(&origin, CELL_CHARS),
        key.map_or_else(|| "-".to_owned(), |key| safe_short(&key, CELL_CHARS)),
        safe_short(&letter.error, CELL_CHARS),
    )
}
