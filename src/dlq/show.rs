//! Everything about one dead letter: what it says, what its record was, what the validator says of it now, and what has
//! happened: the chain of dead letters that the same record left, and what was done about each.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::ControlFlow;

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::find::{Wanted, find};
use super::json::{HeaderField, Row};
use super::letter::{Letter, Payload};
use super::list::ReadError;
use super::scan::scan;
use super::status::{State, Status, Statuses, status_topic};
use super::verdict::{Verdict, verdict};
use crate::config::KafkaSettings;
use crate::failure::Category;
use crate::kafka::{KafkaError, Reader};
use crate::models::{BytesField, DecodeLimits, format_timestamp};
use crate::record::{Header, Record};

/// One dead letter with its history.
#[derive(Debug)]
pub struct Shown {
    /// The record of the dead letter topic.
    pub record: Record,
    /// What it says.
    pub letter: Letter,
    /// How it stands.
    pub status: State,
    /// What the validator says of its payload now.
    pub verdict: Verdict,
    /// Every dead letter that the record left, the first one first.
    pub chain: Vec<Letter>,
    /// What was done about any of them, as far as the status topic still has it, in the order of time.
    pub statuses: Vec<Status>,
}

/// Finds a dead letter and all that belongs to it. The validator takes what is within `limits`.
///
/// # Errors
/// As [`find`].
pub fn show(
    settings: &KafkaSettings,
    topic: &str,
    wanted: &Wanted,
    limits: &DecodeLimits,
    mut progress: impl FnMut(u64, u64),
) -> Result<Shown, ReadError> {
    let (record, letter) = find(settings, topic, wanted, &mut progress)?;
    let chain = chain(settings, topic, letter.root_id, &mut progress)?;
    let ids: HashSet<Uuid> = chain.iter().map(|letter| letter.id).chain([letter.id]).collect();
    let statuses = statuses(settings, topic, &ids)?;
    let mut last = Statuses::default();
    statuses.iter().cloned().for_each(|status| last.note(status));
    Ok(Shown {
        status: last.state(letter.id),
        verdict: verdict(&letter.payload, limits),
        record,
        letter,
        chain,
        statuses,
    })
}

/// The dead letters of one record, without repeats.
fn chain(
    settings: &KafkaSettings,
    topic: &str,
    root: Uuid,
    progress: &mut impl FnMut(u64, u64),
) -> Result<Vec<Letter>, ReadError> {
    let reader = Reader::open(settings, topic)?;
    let offsets = reader.offsets();
    let (mut chain, mut read): (Vec<Letter>, u64) = (Vec::new(), 0);
    let make = |record: Record| Some(Letter::read(&record)).filter(|letter| letter.root_id == root);
    scan(reader, make, |letter| {
        read += 1;
        progress(offsets, read);
        if let Some(letter) = letter.filter(|letter| chain.iter().all(|known| known.id != letter.id)) {
            chain.push(letter);
        }
        ControlFlow::Continue(())
    })?;
    chain.sort_by_key(|letter| (letter.replay_count, letter.failed_at));
    Ok(chain)
}

/// The status records of these dead letters. The topic is compacted, so older ones may be gone.
fn statuses(settings: &KafkaSettings, topic: &str, ids: &HashSet<Uuid>) -> Result<Vec<Status>, ReadError> {
    let mut reader = match Reader::open(settings, &status_topic(topic)) {
        Err(KafkaError::UnknownTopic { .. }) => return Ok(Vec::new()),
        opened => opened?,
    };
    let mut found = Vec::new();
    while let Some(record) = reader.read()? {
        let status = serde_json::from_slice::<Status>(record.payload());
        found.extend(status.ok().filter(|status| ids.contains(&status.id)));
    }
    Ok(found)
}

impl Shown {
    /// As JSON.
    pub fn to_json(&self) -> impl Serialize + '_ {
        let Self { record, letter, status, verdict, chain, statuses } = self;
        let origin = letter.origin.as_ref();
        let time = |millis: i64| Timestamp::from_millisecond(millis).ok().map(format_timestamp);
        Json {
            row: Row::of(letter, *status),
            original_timestamp: origin.and_then(|origin| time(origin.timestamp?.millis)),
            key_omitted: letter.key_omitted,
            error_stack: letter.error_stack.as_deref(),
            processing_host: letter.host.as_deref(),
            first_failure: letter.first_failure.map(format_timestamp),
            replay_id: letter.replay_id.as_deref(),
            dlq_topic: &record.topic,
            dlq_timestamp: record.timestamp.and_then(|timestamp| time(timestamp.millis)),
            payload: PayloadJson::of(&letter.payload),
            headers: letter.headers.iter().map(HeaderField::from).collect(),
            headers_omitted: letter.headers_omitted,
            dlq_headers: self.added_headers().map(HeaderField::from).collect(),
            validation: verdict,
            chain: chain.iter().map(Link::of).collect(),
            statuses,
        }
    }

    /// The headers that whoever wrote the dead letter added.
    pub fn added_headers(&self) -> impl Iterator<Item = &Header> {
        self.record.headers.iter().filter(|header| super::is_added_header(&header.name))
    }
}

#[derive(Serialize)]
struct Json<'a> {
    #[serde(flatten)]
    row: Row<'a>,
    original_timestamp: Option<String>,
    key_omitted: bool,
    error_stack: Option<&'a str>,
    processing_host: Option<&'a str>,
    first_failure: Option<String>,
    replay_id: Option<&'a str>,
    dlq_topic: &'a str,
    dlq_timestamp: Option<String>,
    #[serde(flatten)]
    payload: PayloadJson<'a>,
    headers: Vec<HeaderField<'a>>,
    headers_omitted: bool,
    dlq_headers: Vec<HeaderField<'a>>,
    validation: &'a Verdict,
    chain: Vec<Link<'a>>,
    statuses: &'a [Status],
}

/// A payload: text, Base64, or what is known of one that is elsewhere.
#[derive(Serialize)]
struct PayloadJson<'a> {
    payload: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<Cow<'a, str>>,
    payload_omitted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_hash: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_size: Option<u64>,
}

impl<'a> PayloadJson<'a> {
    fn of(payload: &'a Payload) -> Self {
        let BytesField { text, base64 } = BytesField::encode(payload.bytes().map(|bytes| &**bytes));
        let (payload_hash, payload_size) = match payload {
            Payload::Omitted { hash, size } => (Some(hash.as_str()), Some(*size)),
            Payload::Null | Payload::Inline(_) | Payload::Missing => (None, None),
        };
        let payload_omitted = matches!(payload, Payload::Omitted { .. } | Payload::Missing);
        Self { payload: text, payload_base64: base64, payload_omitted, payload_hash, payload_size }
    }
}

/// One dead letter of a chain.
#[derive(Serialize)]
struct Link<'a> {
    id: Uuid,
    timestamp: String,
    reason: Category,
    error: &'a str,
    replay_count: u32,
    replay_id: Option<&'a str>,
    dlq_partition: i32,
    dlq_offset: i64,
}

impl<'a> Link<'a> {
    fn of(letter: &'a Letter) -> Self {
        Self {
            id: letter.id,
            timestamp: format_timestamp(letter.failed_at),
            reason: letter.reason,
            error: &letter.error,
            replay_count: letter.replay_count,
            replay_id: letter.replay_id.as_deref(),
            dlq_partition: letter.dlq_partition,
            dlq_offset: letter.dlq_offset,
        }
    }
}
