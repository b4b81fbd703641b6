//! Dead letters in a file and back: JSON Lines, one record each, nothing lost: key, value, headers with nulls and
//! duplicates, timestamp, and the place that the record had.

use std::borrow::Cow;
use std::io::{self, BufRead, Write};
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::filter::Filter;
use super::json::HeaderField;
use super::letter::Letter;
use super::list::{ReadError, Reading};
use super::scan::scan;
use super::states::States;
use crate::config::KafkaSettings;
use crate::kafka::{Outgoing, Reader};
use crate::models::{BytesField, BytesFieldError, to_safe_vec};
use crate::record::{Header, Record, RecordTimestamp, TimestampKind};

/// One record as a line. What it does not know is refused: it would be lost.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    partition: i32,
    offset: i64,
    timestamp_ms: Option<i64>,
    timestamp_type: Option<TimestampType>,
    #[serde(borrow)]
    key: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    key_base64: Option<Cow<'a, str>>,
    #[serde(borrow)]
    value: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    value_base64: Option<Cow<'a, str>>,
    #[serde(borrow)]
    headers: Vec<HeaderField<'a>>,
}

/// Kafka's own names.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum TimestampType {
    CreateTime,
    LogAppendTime,
}

impl<'a> From<&'a Record> for Line<'a> {
    fn from(record: &'a Record) -> Self {
        let key = BytesField::encode(record.key.as_deref());
        let value = BytesField::encode(record.value.as_deref());
        Self {
            partition: record.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp.map(|timestamp| timestamp.millis),
            timestamp_type: record.timestamp.map(|timestamp| match timestamp.kind {
                TimestampKind::CreateTime => TimestampType::CreateTime,
                TimestampKind::LogAppendTime => TimestampType::LogAppendTime,
            }),
            key: key.text,
            key_base64: key.base64,
            value: value.text,
            value_base64: value.base64,
            headers: record.headers.iter().map(HeaderField::from).collect(),
        }
    }
}

impl Line<'_> {
    /// The record as it was in this topic.
    fn into_record(self, topic: &str) -> Result<Record, BytesFieldError> {
        let mut record = Record::new(topic, self.partition, self.offset);
        record.timestamp = self.timestamp_ms.map(|millis| RecordTimestamp {
            millis,
            kind: match self.timestamp_type {
                Some(TimestampType::LogAppendTime) => TimestampKind::LogAppendTime,
                Some(TimestampType::CreateTime) | None => TimestampKind::CreateTime,
            },
        });
        let key = BytesField { text: self.key, base64: self.key_base64 };
        let value = BytesField { text: self.value, base64: self.value_base64 };
        record.key = key.decode()?.map(Into::into);
        record.value = value.decode()?.map(Into::into);
        record.headers = self.headers.into_iter().map(Header::try_from).collect::<Result<_, _>>()?;
        Ok(record)
    }
}

/// Writes the records of the dead letters that pass the filter, repeats too; says how many.
///
/// # Errors
/// [`ReadError`] when the topic cannot be read, or the lines not be written.
pub fn export(
    settings: &KafkaSettings,
    topic: &str,
    filter: &Filter,
    out: &mut dyn Write,
    mut progress: impl FnMut(Reading),
) -> Result<u64, ReadError> {
    let reader = Reader::open(settings, topic)?;
    let offsets = reader.offsets();
    // Without a filter nothing has to be understood.
    let statuses = if filter.is_empty() { States::default() } else { States::read(settings, topic)? };
    let make = |record: Record| {
        let chosen = filter.is_empty() || {
            let letter = Letter::read(&record);
            filter.matches(&letter, statuses.state(letter.id))
        };
        chosen.then(|| {
            let mut line = to_safe_vec(&Line::from(&record))?;
            line.push(b'\n');
            Ok(line)
        })
    };
    let (mut written, mut read) = (0, 0);
    let mut failed: io::Result<()> = Ok(());
    if filter.limit != Some(0) {
        scan(reader, make, |line: Option<Result<Vec<u8>, serde_json::Error>>| {
            read += 1;
            progress(Reading { offsets, read, written });
            let Some(line) = line else { return ControlFlow::Continue(()) };
            if let Err(error) = line.map_err(io::Error::other).and_then(|line| out.write_all(&line)) {
                failed = Err(error);
                return ControlFlow::Break(());
            }
            written += 1;
            progress(Reading { offsets, read, written });
            if filter.limit.is_some_and(|limit| written >= limit) {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
    }
    failed?;
    out.flush()?;
    Ok(written)
}

/// Why an exported file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The file.
    #[error("read the file")]
    Io(#[from] io::Error),
    /// A line that is no exported record.
    #[error("line {line} is no exported record")]
    Malformed {
        /// Which one, from 1.
        line: u64,
        /// What is wrong with it.
        #[source]
        source: Malformed,
    },
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// Its JSON.
    #[error("{} error at column {}", kind(.0), .0.column())]
    Json(serde_json::Error),
    /// Its bytes.
    #[error(transparent)]
    Bytes(#[from] BytesFieldError),
    /// A place that Kafka does not have.
    #[error("a negative partition, offset or timestamp")]
    Negative,
}

/// The parser's own message may hold text of the file.
fn kind(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        serde_json::error::Category::Io => "reading",
        serde_json::error::Category::Syntax => "syntax",
        serde_json::error::Category::Data => "field",
        serde_json::error::Category::Eof => "unexpected end",
    }
}

/// Reads exported records one after the other.
#[derive(Debug)]
pub struct Lines<R> {
    input: R,
    number: u64,
    line: Vec<u8>,
    /// How many bytes were read.
    pub bytes: u64,
}

impl<R: BufRead> Lines<R> {
    /// Reads from the beginning of an exported file.
    pub fn new(input: R) -> Self {
        Self { input, number: 0, line: Vec::new(), bytes: 0 }
    }

    /// The next record, as it was in this topic; `None` at the end.
    ///
    /// # Errors
    /// [`LineError`] names the line.
    pub fn read(&mut self, topic: &str) -> Result<Option<Record>, LineError> {
        self.line.clear();
        let read = self.input.read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        self.bytes += read as u64;
        let malformed = |source| LineError::Malformed { line: self.number, source };
        let line: Line<'_> =
            serde_json::from_slice(&self.line).map_err(|error| malformed(Malformed::Json(error)))?;
        if line.partition < 0 || line.offset < 0 || line.timestamp_ms.is_some_and(|millis| millis < 0) {
            return Err(malformed(Malformed::Negative));
        }
        line.into_record(topic).map(Some).map_err(|error| malformed(error.into()))
    }
}

/// A record on its way into a dead letter topic of so many partitions, with the timestamp that it had.
pub fn outgoing(record: Record, partitions: i32) -> Outgoing {
    Outgoing {
        topic: record.topic,
        partition: Some(record.partition % partitions.max(1)),
        key: record.key,
        value: record.value,
        headers: record.headers,
        timestamp_ms: record.timestamp.map(|timestamp| timestamp.millis),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::models::is_unsafe;

    fn there_and_back(record: &Record) -> Record {
        let line = to_safe_vec(&Line::from(record)).unwrap();
        assert!(!String::from_utf8(line.clone()).unwrap().contains(is_unsafe));
        Lines::new(&line[..]).read(&record.topic).unwrap().unwrap()
    }

    proptest! {
        #[test]
        fn a_record_comes_back_as_it_was(
            key in prop::option::of(prop::collection::vec(any::<u8>(), 0..8)),
            value in prop::option::of(any::<String>()),
            headers in prop::collection::vec((any::<String>(), prop::option::of(prop::collection::vec(any::<u8>(), 0..4))), 0..4),
            timestamp in prop::option::of((0..i64::MAX, any::<bool>())),
            place in (0..i32::MAX, 0..i64::MAX),
        ) {
            let mut record = Record::new("dlq", place.0, place.1);
            record.key = key.map(Bytes::from);
            record.value = value.map(Bytes::from);
            let header = |(name, value): (String, Option<Vec<u8>>)| Header { name: name.into(), value: value.map(Bytes::from) };
            record.headers = headers.into_iter().map(header).collect();
            record.timestamp = timestamp.map(|(millis, created)| {
                let kind = if created { TimestampKind::CreateTime } else { TimestampKind::LogAppendTime };
                RecordTimestamp { millis, kind }
            });
            prop_assert_eq!(there_and_back(&record), record);
        }
    }

    #[test]
    fn null_empty_and_bytes_stay_apart_in_headers() {
        let mut record = Record::new("dlq", 0, 0).with_value("");
        for value in
            [None, Some(Bytes::new()), Some(Bytes::from_static(b"\xff")), Some(Bytes::from_static(b"null"))]
        {
            record.headers.push(Header { name: "h".into(), value });
        }
        assert_eq!(there_and_back(&record), record);
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        let good = r#"{"partition":0,"offset":1,"timestamp_ms":5,"timestamp_type":"CreateTime","key":null,"value":"x","headers":[]}"#;
        for bad in [
            "",
            "{}",
            "null",
            r#"{"partition":-1,"offset":1,"timestamp_ms":5,"timestamp_type":null,"key":null,"value":null,"headers":[]}"#,
            r#"{"partition":0,"offset":1,"timestamp_ms":5,"timestamp_type":null,"key":"a","key_base64":"YQ==","value":null,"headers":[]}"#,
            r#"{"partition":0,"offset":1,"timestamp_ms":5,"timestamp_type":null,"key":null,"value":null,"headers":[],"more":1}"#,
            r#"{"partition":0,"offset":1,"timestamp_ms":5,"timestamp_type":null,"key":null,"value":null,"headers":[{"name":"a","value":"b","value_base64":"YQ=="}]}"#,
            r#"{"partition":0,"offset":1,"timestamp_ms":5,"timestamp_type":null,"key":null,"value":null,"headers":[{"name":"a","value_base64":"?"}]}"#,
        ] {
            let text = format!("{good}\n{bad}\n{good}\n");
            let mut lines = Lines::new(text.as_bytes());
            assert!(lines.read("t").unwrap().is_some());
            let error = lines.read("t").unwrap_err();
            assert!(matches!(error, LineError::Malformed { line: 2, .. }), "{bad}: {error:?}");
        }
    }
}
