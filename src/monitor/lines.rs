//! One line of the audit log, read as cheaply as it can be: only what figures need; the payload is passed over. And
//! the same line again, read in full, for the few that are shown.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::failure::Category;
use crate::models::{AuditEntry, BytesField, Outcome, format_timestamp, shorten};

/// Where the timestamp of a line of either file begins: it is the first field.
const TIME_FIELD: &[u8] = b"\"timestamp\":\"";

/// How far into a line its timestamp is looked for.
const TIME_WITHIN: usize = 64;

/// The longest text of a line that is kept without its payload.
const SHORT_CHARS: usize = 1_000;

/// One outcome, as the figures count it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EventLine<'a> {
    /// When the line was made.
    pub time_ms: i64,
    /// The record's topic.
    pub topic: Cow<'a, str>,
    /// The record's partition.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
    /// From the record's own timestamp to the line's; none where the record has no timestamp.
    pub latency_ms: Option<i64>,
    /// The attempts, the first one included.
    pub attempts: u32,
    /// Why it was dead-lettered, if it was.
    pub failure: Option<(Category, Cow<'a, str>)>,
}

impl EventLine<'_> {
    /// A line that says the same without the payload, for one that is too long to keep.
    pub(super) fn without_payload(&self, line: &[u8]) -> Vec<u8> {
        let time = Timestamp::from_millisecond(self.time_ms).unwrap_or_default();
        let full = FullLine::parse(line);
        let mut short = serde_json::json!({
            "timestamp": format_timestamp(time),
            "event_type": AuditEntry::MESSAGE_RECEIVED,
            "kafka_topic": self.topic,
            "kafka_partition": self.partition,
            "kafka_offset": self.offset,
            "kafka_timestamp": self.latency_ms.map(|latency| self.time_ms.saturating_sub(latency)),
            "kafka_key": full.as_ref().and_then(FullLine::key).map(|key| shorten(&key, SHORT_CHARS).into_owned()),
            "message_size": full.map_or(0, |full| full.message_size),
            "outcome": Outcome::Processed,
            "attempts": self.attempts,
        });
        if let Some((category, error)) = &self.failure {
            short["outcome"] = Outcome::DeadLettered.as_str().into();
            short["failure_reason"] = category.as_str().into();
            short["error"] = shorten(error, SHORT_CHARS).into();
        }
        short.to_string().into_bytes()
    }
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    #[serde(borrow)]
    event_type: Cow<'a, str>,
    #[serde(borrow, default)]
    kafka_topic: Cow<'a, str>,
    #[serde(default)]
    kafka_partition: i32,
    #[serde(default)]
    kafka_offset: i64,
    #[serde(default)]
    kafka_timestamp: Option<i64>,
    #[serde(borrow, default)]
    error: Cow<'a, str>,
    outcome: Option<Outcome>,
    #[serde(borrow, default)]
    failure_reason: Cow<'a, str>,
    #[serde(default)]
    attempts: u32,
}

/// What a line of the audit log is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed<'a> {
    /// An outcome.
    Event(EventLine<'a>),
    /// A line in which the journal speaks of itself, with its time.
    Other(i64),
    /// No line of an audit log.
    Unreadable,
}

/// Reads a line of the audit log, without its break.
pub(super) fn parse(line: &[u8]) -> Parsed<'_> {
    let Ok(wire) = serde_json::from_slice::<Wire<'_>>(line) else { return Parsed::Unreadable };
    let Ok(time) = wire.timestamp.parse::<Timestamp>() else { return Parsed::Unreadable };
    let time_ms = time.as_millisecond();
    let failure = match (wire.event_type == AuditEntry::MESSAGE_RECEIVED, wire.outcome) {
        (false, _) => return Parsed::Other(time_ms),
        (true, None) => return Parsed::Unreadable,
        (true, Some(Outcome::Processed)) => None,
        (true, Some(Outcome::DeadLettered)) => Some((category(&wire.failure_reason), wire.error)),
    };
    Parsed::Event(EventLine {
        time_ms,
        topic: wire.kafka_topic,
        partition: wire.kafka_partition,
        offset: wire.kafka_offset,
        // Two clocks: what lies before its own beginning took no time.
        latency_ms: wire.kafka_timestamp.map(|made| time_ms.saturating_sub(made).max(0)),
        attempts: wire.attempts,
        failure,
    })
}

/// A reason that a later version writes is not known here.
fn category(reason: &str) -> Category {
    Category::ALL.into_iter().find(|category| category.as_str() == reason).unwrap_or(Category::Unknown)
}

/// The time of a line of either file, from its first bytes.
pub(super) fn time_of(line: &[u8]) -> Option<i64> {
    let head = line.get(..TIME_WITHIN.min(line.len()))?;
    let at = memchr::memmem::find(head, TIME_FIELD)? + TIME_FIELD.len();
    let text = head.get(at..)?;
    let text = text.get(..memchr::memchr(b'"', text)?)?;
    let time: Timestamp = std::str::from_utf8(text).ok()?.parse().ok()?;
    Some(time.as_millisecond())
}

/// The parts of an outcome's line that only its detail shows.
#[derive(Deserialize)]
pub(super) struct FullLine<'a> {
    #[serde(borrow, default)]
    kafka_key: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    kafka_key_base64: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    raw_message: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    raw_message_base64: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub order_full: Option<&'a RawValue>,
    #[serde(default)]
    pub message_size: u64,
    #[serde(default)]
    pub dlq_id: Option<String>,
    #[serde(default)]
    pub dlq_partition: Option<i32>,
    #[serde(default)]
    pub dlq_offset: Option<i64>,
    #[serde(default)]
    pub replay_id: Option<String>,
}

impl<'a> FullLine<'a> {
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    /// The key; bytes that are no text are replaced.
    pub(super) fn key(&self) -> Option<String> {
        lossy(self.kafka_key.as_deref(), self.kafka_key_base64.as_deref())
    }

    /// The payload; bytes that are no text are replaced.
    pub(super) fn payload(&self) -> Option<String> {
        lossy(self.raw_message.as_deref(), self.raw_message_base64.as_deref())
    }
}

fn lossy(text: Option<&str>, base64: Option<&str>) -> Option<String> {
    let field = BytesField { text: text.map(Cow::Borrowed), base64: base64.map(Cow::Borrowed) };
    field.decode().ok()?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEAD: &str = r#"{"timestamp":"2026-11-21T11:50:26.550Z","event_type":"message.received","kafka_topic":"orders","kafka_partition":2,"kafka_offset":7,"kafka_timestamp":1795261826500,"consumer_group":"g","kafka_key_base64":"/w==","raw_message":"{\"outcome\":\"processed\",\"attempts\":9}","message_size":36,"deserialized":true,"error":"bad \"x\"","order_full":{"outcome":"processed","attempts":9},"outcome":"dead_lettered","failure_reason":"TIMEOUT_ERROR","attempts":4,"dlq_id":"d","dlq_partition":1,"dlq_offset":3,"later":[{}],"hash":"00"}"#;

    #[test]
    fn an_outcome_is_read_past_what_its_payload_says() {
        let Parsed::Event(line) = parse(DEAD.as_bytes()) else { panic!("an outcome") };
        assert_eq!((&*line.topic, line.partition, line.offset), ("orders", 2, 7));
        assert_eq!((line.time_ms, line.latency_ms, line.attempts), (1_795_261_826_550, Some(50), 4));
        assert_eq!(line.failure, Some((Category::Timeout, "bad \"x\"".into())));
        let full = FullLine::parse(DEAD.as_bytes()).expect("the same line");
        assert_eq!(full.key().as_deref(), Some("\u{fffd}"));
        assert_eq!(full.payload().as_deref(), Some(r#"{"outcome":"processed","attempts":9}"#));
        assert_eq!(
            (full.dlq_id.as_deref(), full.dlq_partition, full.dlq_offset),
            (Some("d"), Some(1), Some(3))
        );
    }

    #[test]
    fn a_line_without_its_payload_says_the_same() {
        for line in [DEAD.to_owned(), DEAD.replace("dead_lettered", "processed")] {
            let Parsed::Event(event) = parse(line.as_bytes()) else { panic!("an outcome") };
            let short = event.without_payload(line.as_bytes());
            assert_eq!(parse(&short), Parsed::Event(event));
            let full = FullLine::parse(&short).expect("the short line");
            assert_eq!(
                (full.key().as_deref(), full.message_size, full.payload()),
                (Some("\u{fffd}"), 36, None)
            );
        }
    }

    #[test]
    fn other_lines_are_told_apart() {
        let checkpoint =
            r#"{"timestamp":"2026-11-21T11:50:26.550Z","event_type":"audit.checkpoint","hash":"0"}"#;
        assert_eq!(parse(checkpoint.as_bytes()), Parsed::Other(1_795_261_826_550));
        for bad in [
            "",
            "{}",
            "[]",
            "\u{1b}[2J",
            &DEAD[..200],
            &DEAD.replace("dead_lettered", "lost"),
            &DEAD.replace("2026-11-21T", "never"),
            &DEAD.replace("\"outcome\":\"dead_lettered\",", ""),
        ] {
            assert_eq!(parse(bad.as_bytes()), Parsed::Unreadable, "{bad}");
        }
        let newer = DEAD.replace("TIMEOUT_ERROR", "NEW_ERROR");
        let Parsed::Event(line) = parse(newer.as_bytes()) else { panic!("an outcome") };
        assert_eq!(line.failure.map(|(category, _)| category), Some(Category::Unknown));
    }

    #[test]
    fn a_record_from_the_future_took_no_time() {
        let line = DEAD.replace("1795261826500", "1795261999999");
        let Parsed::Event(line) = parse(line.as_bytes()) else { panic!("an outcome") };
        assert_eq!(line.latency_ms, Some(0));
    }

    #[test]
    fn the_time_is_in_the_first_bytes() {
        assert_eq!(time_of(DEAD.as_bytes()), Some(1_795_261_826_550));
        assert_eq!(time_of(&DEAD.as_bytes()[..39]), Some(1_795_261_826_550));
        for bad in ["", "{\"timestamp\":\"2026", "{\"a\":1}", "{\"timestamp\":\"x\""] {
            assert_eq!(time_of(bad.as_bytes()), None, "{bad}");
        }
    }
}
