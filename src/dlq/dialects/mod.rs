//! Reads a record of a dead letter topic in the dialect of whoever wrote it. Told apart for each record, so mixed topics
//! work. Nothing in a record can make this fail: what cannot be read is left out, and the rest stands.

mod connect;
mod exception;
mod fields;
mod own;
mod share;
mod spring;
mod streams;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use uuid::Uuid;

use self::fields::Fields;
use super::headers;
use super::letter::{Dialect, Letter, Payload};
use crate::failure::Category;
use crate::models::dead_letter_id;
use crate::record::{Header, Record};

impl Letter {
    /// Reads a record of a dead letter topic. Every record is a dead letter: one that says nothing of itself is
    /// [`Dialect::Unknown`].
    pub fn read(record: &Record) -> Self {
        let fields = Fields::of(record);
        if own::claims(fields) {
            // A damaged one must not pass for the record that it was made of.
            return own::read(record).unwrap_or_else(|| own::damaged(record));
        }
        match last_dialect(&record.headers) {
            Dialect::Spring => spring::read(record),
            Dialect::Connect => connect::read(record),
            Dialect::Streams => streams::read(record),
            Dialect::ShareGroup => share::read(record),
            Dialect::PubsubKafka | Dialect::Unknown => {
                Self::plain(record, Dialect::Unknown).identified(record)
            }
        }
    }

    /// The same for who only counts: payload, headers and stack may be left out, as in a dead letter without them. What
    /// a filter on the order's id looks at is the payload, so it needs [`read`](Self::read).
    pub(super) fn read_to_count(record: &Record) -> Self {
        let counted = if own::claims(Fields::of(record)) { own::read_to_count(record) } else { None };
        counted.unwrap_or_else(|| Self::read(record))
    }

    /// The same for who sends it again and knows already that it is one of our own: from the value alone, without what a
    /// replay does not need, and without the number of earlier replays. One that nobody can read has no id.
    pub(super) fn read_to_replay(record: &Record) -> Self {
        own::read_to_replay(record)
            .unwrap_or_else(|| Self::blank(Dialect::Unknown, record.partition, record.offset))
    }

    /// A place, and nothing else.
    fn blank(dialect: Dialect, dlq_partition: i32, dlq_offset: i64) -> Self {
        Self {
            id: Uuid::nil(),
            dialect,
            dlq_partition,
            dlq_offset,
            origin: None,
            key: None,
            key_omitted: false,
            payload: Payload::Null,
            headers: Vec::new(),
            headers_omitted: false,
            reason: Category::Unknown,
            error: String::new(),
            error_stack: None,
            exception: None,
            group: None,
            host: None,
            retry_count: 0,
            first_failure: None,
            failed_at: Timestamp::UNIX_EPOCH,
            replay_count: 0,
            replay_id: None,
            root_id: Uuid::nil(),
        }
    }

    /// What every record has: its place, key, payload and own headers. Everything else is still to be filled in.
    fn plain(record: &Record, dialect: Dialect) -> Self {
        let fields = Fields::of(record);
        let replayed = fields.last_number::<u32>(headers::REPLAY_COUNT);
        Self {
            key: record.key.clone(),
            payload: record.value.clone().map_or(Payload::Null, Payload::Inline),
            headers: record.headers.iter().filter(|h| !is_added_header(&h.name)).cloned().collect(),
            failed_at: when(record),
            replay_count: replayed.unwrap_or(0),
            replay_id: fields.last(headers::REPLAY_ID).map(|id| String::from_utf8_lossy(id).into_owned()),
            ..Self::blank(dialect, record.partition, record.offset)
        }
    }

    /// Gives it its ids, when group and origin are known.
    fn identified(mut self, record: &Record) -> Self {
        let group = self.group.as_deref().unwrap_or_default();
        self.id = match &self.origin {
            Some(origin) => dead_letter_id(group, &origin.topic, origin.partition, origin.offset),
            None => dead_letter_id("", &record.topic, record.partition, record.offset),
        };
        let root = Fields::of(record).last_text(headers::ROOT_ID).and_then(|id| id.parse().ok());
        self.root_id = root.unwrap_or(self.id);
        self
    }
}

/// Whoever wrote the dead letter added its headers last: a connector that fails on another's dead letter keeps those that
/// were there.
fn last_dialect(headers: &[Header]) -> Dialect {
    let dialect = |header: &Header| {
        [
            (Dialect::Spring, spring::is_claim(&header.name)),
            (Dialect::Connect, header.name.starts_with(connect::PREFIX)),
            (Dialect::Streams, header.name.starts_with(streams::PREFIX)),
            (Dialect::ShareGroup, header.name.starts_with(share::PREFIX)),
        ]
        .into_iter()
        .find_map(|(dialect, claims)| claims.then_some(dialect))
    };
    headers.iter().rev().find_map(dialect).unwrap_or(Dialect::Unknown)
}

/// Whether a dialect or a replay added a header of this name: none of them belongs to the record that failed.
pub fn is_added_header(name: &str) -> bool {
    name.starts_with(headers::PREFIX)
        || spring::is_added(name)
        || [connect::PREFIX, streams::PREFIX, share::PREFIX].iter().any(|prefix| name.starts_with(prefix))
}

/// When the dead letter was written, as its own timestamp says.
fn when(record: &Record) -> Timestamp {
    let written = record.timestamp.and_then(|t| Timestamp::from_millisecond(t.millis).ok());
    written.unwrap_or(Timestamp::UNIX_EPOCH)
}
