//! `audit trace`: what happened to one order, in the order of time, from the lines of audit logs. Checks no chain and
//! asks nobody else: an audit line says where its dead letter is, and which replay brought its record.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{VerifyError, scan, segments};
use crate::failure::Category;
use crate::models::{AuditEntry, Outcome, escape_into, format_timestamp};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A record was sent.
    Sent,
    /// A record was sent by a replay of a dead letter.
    Replayed,
    /// The record was processed.
    Processed,
    /// The record could not be handled and became a dead letter.
    DeadLettered,
}

/// One event of an order's story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TraceEvent {
    /// When, RFC 3339.
    pub at: String,
    /// What.
    pub event: EventKind,
    /// The record's topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its key, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The order's `order_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_id: Option<String>,
    /// The order's `sequence`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<i64>,
    /// The order's `status`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The replay that sent it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay_id: Option<String>,
    /// What only an outcome has.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub end: Option<TraceEnd>,
    /// The audit log that says so.
    pub file: PathBuf,
    /// The line there, from 1.
    pub line: u64,
}

/// How a record ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TraceEnd {
    /// The attempts, the first one included.
    pub attempts: u32,
    /// Whether the record had an outcome before: another tracker had it, and crashed.
    pub repeated: bool,
    /// The group that handled it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer_group: Option<String>,
    /// Why it was dead-lettered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<Category>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The dead letter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dlq_id: Option<Uuid>,
    /// Its partition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dlq_partition: Option<i32>,
    /// Its offset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dlq_offset: Option<i64>,
}

/// What of an order its story needs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
struct Named {
    order_id: Option<String>,
    sequence: Option<i64>,
    status: Option<String>,
}

/// A line that is about the order.
struct Found {
    entry: AuditEntry,
    named: Named,
    file: PathBuf,
    line: u64,
}

/// The story of one order: of every record whose key is `wanted`, or whose order has it as its `order_id`.
/// `progress` learns how many bytes are done, over all files.
///
/// # Errors
/// [`VerifyError::Read`] with the file that cannot be read.
pub fn trace(
    wanted: &str,
    files: &[PathBuf],
    mut progress: impl FnMut(u64),
) -> Result<Vec<TraceEvent>, VerifyError> {
    let sought = Sought::new(wanted);
    let mut found = Vec::new();
    let mut done = 0;
    for path in files {
        let read = |source| VerifyError::reading(path, source);
        let ended = scan(
            segments::open(path).map_err(read)?,
            None,
            |line| sought.matches(line).map(Box::new),
            |line| {
                progress(done + line.start + line.len);
                if let Some(hit) = line.value {
                    let (entry, named) = *hit;
                    found.push(Found { entry, named, file: path.clone(), line: line.number });
                }
                ControlFlow::<()>::Continue(())
            },
        );
        if let ControlFlow::Continue(scanned) = ended.map_err(read)? {
            done += scanned.bytes;
        }
    }
    Ok(story(found))
}

/// What is looked for.
struct Sought<'a> {
    wanted: &'a str,
    /// How it stands in a line, unless somebody has escaped what need not be; `None` where only reading tells.
    plain: Option<Vec<u8>>,
}

impl<'a> Sought<'a> {
    fn new(wanted: &'a str) -> Self {
        let mut quoted = Vec::new();
        escape_into(&mut quoted, wanted);
        // JSON may write a slash in two ways, and a character that needs an escape in several.
        let is_plain = !wanted.contains('/') && quoted.len() == wanted.len() + 2;
        Self { wanted, plain: is_plain.then(|| wanted.as_bytes().to_vec()) }
    }

    fn matches(&self, line: &[u8]) -> Option<(AuditEntry, Named)> {
        let may_match = |plain: &Vec<u8>| {
            memchr::memmem::find(line, plain).is_some() || memchr::memmem::find(line, b"\\u").is_some()
        };
        if !self.plain.as_ref().is_none_or(may_match) {
            return None;
        }
        let entry: AuditEntry = serde_json::from_slice(line).ok()?;
        if entry.event_type != AuditEntry::MESSAGE_RECEIVED {
            return None;
        }
        // The order's own JSON, or the payload that it is; in a line with a hash alone the order cannot be seen.
        let payload = entry.raw_message.as_deref().filter(|_| entry.deserialized);
        let order = entry.order_full.as_deref().map(|order| order.get().as_bytes()).or(payload);
        let named = order.and_then(|order| serde_json::from_slice::<Named>(order).ok()).unwrap_or_default();
        let by_key = entry.kafka_key.as_deref() == Some(self.wanted.as_bytes());
        (by_key || named.order_id.as_deref() == Some(self.wanted)).then_some((entry, named))
    }
}

/// Every record is sent once, however many lines it has; every line is an end of it.
fn story(mut found: Vec<Found>) -> Vec<TraceEvent> {
    // Stable: lines of one moment stay as the files have them.
    found.sort_by_key(|found| found.entry.timestamp);
    let mut records = BTreeSet::new();
    let mut events: Vec<(Timestamp, TraceEvent)> = Vec::new();
    for Found { entry, named, file, line } in found {
        let is_first = records.insert((entry.kafka_topic.clone(), entry.kafka_partition, entry.kafka_offset));
        let mut event = TraceEvent {
            at: String::new(),
            event: if entry.replay_id.is_some() { EventKind::Replayed } else { EventKind::Sent },
            topic: entry.kafka_topic,
            partition: entry.kafka_partition,
            offset: entry.kafka_offset,
            key: entry.kafka_key.as_deref().map(|key| String::from_utf8_lossy(key).into_owned()),
            order_id: named.order_id,
            sequence: named.sequence,
            status: named.status,
            replay_id: entry.replay_id,
            end: None,
            file,
            line,
        };
        let sent = entry.kafka_timestamp.and_then(|millis| Timestamp::from_millisecond(millis).ok());
        if let Some(sent) = sent.filter(|_| is_first) {
            events.push((sent, TraceEvent { at: format_timestamp(sent), ..event.clone() }));
        }
        event.at = format_timestamp(entry.timestamp);
        event.event = match entry.outcome {
            Outcome::Processed => EventKind::Processed,
            Outcome::DeadLettered => EventKind::DeadLettered,
        };
        event.end = Some(TraceEnd {
            attempts: entry.attempts,
            repeated: !is_first,
            consumer_group: entry.consumer_group,
            failure_reason: entry.failure_reason,
            error: entry.error,
            dlq_id: entry.dlq_id,
            dlq_partition: entry.dlq_partition,
            dlq_offset: entry.dlq_offset,
        });
        events.push((entry.timestamp, event));
    }
    events.sort_by_key(|(at, _)| *at);
    events.into_iter().map(|(_, event)| event).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECKPOINT: &str =
        r#"{"timestamp":"2026-03-01T12:00:00.000Z","event_type":"audit.checkpoint","o-1":1,"hash":"00"}"#;

    /// A line whose order's JSON is `order`.
    fn line(second: u32, offset: i64, key: &str, order: Option<&str>, more: &str) -> String {
        let order = order.map(|order| format!("\"order_full\":{order},")).unwrap_or_default();
        format!(
            "{{\"timestamp\":\"2026-03-01T12:00:{second:02}.000Z\",\"event_type\":\"message.received\",\
             \"kafka_topic\":\"orders\",\"kafka_partition\":0,\"kafka_offset\":{offset},\
             \"kafka_timestamp\":{},\"kafka_key\":{key},\"raw_message\":\"\",\"message_size\":0,\
             \"deserialized\":true,{order}{more},\"attempts\":1,\"hash\":\"00\"}}",
            1_772_366_400_000_i64 + offset
        )
    }

    const DEAD: &str = r#""outcome":"dead_lettered","failure_reason":"TIMEOUT_ERROR","dlq_id":"67e55044-10b1-426f-9247-bb680e5fe0c8","dlq_partition":0,"dlq_offset":5"#;
    const DONE: &str = r#""outcome":"processed""#;

    fn traced(wanted: &str, files: &[&[String]]) -> Vec<(EventKind, i64, u64)> {
        let folder = tempfile::tempdir().expect("a folder");
        let paths: Vec<PathBuf> = files
            .iter()
            .enumerate()
            .map(|(number, lines)| {
                let path = folder.path().join(number.to_string());
                std::fs::write(&path, format!("{CHECKPOINT}\n{}\ntorn", lines.join("\n"))).expect("written");
                path
            })
            .collect();
        let events = trace(wanted, &paths, |_| ()).expect("read");
        assert!(events.windows(2).all(|pair| pair[0].at <= pair[1].at));
        events.iter().map(|event| (event.event, event.offset, event.line)).collect()
    }

    #[test]
    fn the_story_goes_by_time_over_all_files_and_a_repeat_is_sent_once() {
        use EventKind::{DeadLettered, Processed, Replayed, Sent};
        let replay = format!("{DONE},\"replay_id\":\"r\"");
        let order = Some(r#"{"order_id":"o-1","sequence":2}"#);
        let one = [line(20, 7, "\"o-1\"", order, &replay), line(21, 8, "\"o-2\"", None, DONE)];
        let two = [line(10, 3, "\"o-1\"", order, DEAD), line(12, 3, "\"o-1\"", order, DEAD)];
        assert_eq!(
            traced("o-1", &[&one, &two]),
            [(Sent, 3, 2), (Replayed, 7, 2), (DeadLettered, 3, 2), (DeadLettered, 3, 3), (Processed, 7, 2),]
        );
    }

    #[test]
    fn without_its_json_an_order_is_known_by_its_payload_or_else_by_its_key() {
        let raw = |payload: &str| line(1, 0, "\"k\"", None, DONE).replace("\"raw_message\":\"\"", payload);
        let payload = r#""raw_message":"{\"order_id\":\"o-1\",\"sequence\":1}""#;
        assert_eq!(traced("o-1", &[&[raw(payload)]]).len(), 2);
        assert_eq!(traced("k", &[&[raw(payload)]]).len(), 2);
        let hash = r#""raw_message_hash":"00ff""#;
        assert_eq!((traced("o-1", &[&[raw(hash)]]).len(), traced("k", &[&[raw(hash)]]).len()), (0, 2));
    }

    #[test]
    fn key_or_order_id_match_however_they_are_escaped_and_nothing_else() {
        let table = [
            ("o-1", "null", Some(r#"{"order_id":"o-1"}"#), true),
            ("o-1", "null", Some(r#"{"order_id":"o-\u0031"}"#), true),
            ("o-1", "\"o-1\"", None, true),
            ("o-1", "\"o-11\"", Some(r#"{"order_id":"o-12","note":"o-1"}"#), false),
            ("a/b", "null", Some(r#"{"order_id":"a\/b"}"#), true),
            ("a/b", "\"a/b\"", None, true),
            ("a\"b", r#""a\"b""#, None, true),
            ("注文", "\"注文\"", None, true),
            ("\u{1b}", r#""\u001b""#, None, true),
            ("7", "null", Some(r#"{"order_id":7}"#), false),
        ];
        for (wanted, key, order, expected) in table {
            let hits = traced(wanted, &[&[line(1, 0, key, order, DONE)]]);
            assert_eq!(!hits.is_empty(), expected, "{wanted} {key} {order:?}");
        }
    }
}
