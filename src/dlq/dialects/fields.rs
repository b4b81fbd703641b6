//! Header values as the dialects encode them. A value that is not what it should be is as good as absent.

use std::str::{self, FromStr};
use std::sync::Arc;

use crate::dlq::letter::Origin;
use crate::record::{Header, Record, RecordTimestamp};

/// The longest name that Kafka gives a topic.
const TOPIC_CHARS: usize = 249;

/// The headers of a record.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(&'a [Header]);

impl<'a> Fields<'a> {
    pub(super) fn of(record: &'a Record) -> Self {
        Self(&record.headers)
    }

    /// The first value: where headers repeat, that of the first failure.
    pub(super) fn first(self, name: &str) -> Option<&'a [u8]> {
        self.0.iter().find(|h| h.name == name)?.value.as_deref()
    }

    /// The last value: where headers repeat, that of the failure which made this dead letter.
    pub(super) fn last(self, name: &str) -> Option<&'a [u8]> {
        self.0.iter().rev().find(|h| h.name == name)?.value.as_deref()
    }

    pub(super) fn first_text(self, name: &str) -> Option<&'a str> {
        str::from_utf8(self.first(name)?).ok()
    }

    pub(super) fn last_text(self, name: &str) -> Option<&'a str> {
        str::from_utf8(self.last(name)?).ok()
    }

    /// Text for people: what is not UTF-8 in it is replaced.
    pub(super) fn last_lossy(self, name: &str) -> Option<String> {
        self.last(name).map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// A number in decimal text.
    pub(super) fn first_number<T: FromStr>(self, name: &str) -> Option<T> {
        self.first_text(name)?.parse().ok()
    }

    /// A number in decimal text.
    pub(super) fn last_number<T: FromStr>(self, name: &str) -> Option<T> {
        self.last_text(name)?.parse().ok()
    }

    /// The origin, where all of it is given in text: topic, partition, offset.
    pub(super) fn origin_in_text(self, prefix: &str, timestamp: Option<RecordTimestamp>) -> Option<Origin> {
        let name = |field: &str| format!("{prefix}{field}");
        origin(
            self.first_text(&name("topic"))?,
            self.first_number(&name("partition"))?,
            self.first_number(&name("offset"))?,
            timestamp,
        )
    }
}

/// An origin that Kafka can have: a legal topic name, and numbers that are not negative.
pub(super) fn origin(
    topic: &str,
    partition: i32,
    offset: i64,
    timestamp: Option<RecordTimestamp>,
) -> Option<Origin> {
    let legal = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    let is_name = !matches!(topic, "" | "." | "..") && topic.len() <= TOPIC_CHARS && topic.bytes().all(legal);
    (is_name && partition >= 0 && offset >= 0).then(|| Origin {
        topic: Arc::from(topic),
        partition,
        offset,
        timestamp,
    })
}
