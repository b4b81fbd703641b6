//! The whole record behind a dead letter: mostly within it; where the letter was too large, from the offset at which it
//! was read, or from the audit log. What has another hash than the letter says is not taken.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::{AuditLines, EditError, ReplayError, payload_hash};
use crate::config::KafkaSettings;
use crate::dlq::{Letter, Payload, is_added_header};
use crate::kafka::{KafkaError, Reader};
use crate::models::AuditEntry;
use crate::record::{Header, Record};

/// Key, value and headers of a record that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Whole {
    /// Its key.
    pub key: Option<Bytes>,
    /// Its payload.
    pub value: Option<Bytes>,
    /// Its own headers.
    pub headers: Vec<Header>,
}

/// The key and the payload of a record, by the id of its dead letter.
type Logged = HashMap<Uuid, (Option<Vec<u8>>, Option<Vec<u8>>)>;

/// A partition in which records behind dead letters are looked for, read forward.
struct Source {
    reader: Reader,
    /// The offset behind the last record that was read.
    next: i64,
}

/// How far a source is read on to a record, rather than opened anew.
const READ_ON: i64 = 2_000;

/// Where what was left out of dead letters is looked for.
pub(super) struct Payloads<'a> {
    kafka: &'a KafkaSettings,
    logged: Logged,
    sources: HashMap<(Arc<str>, i32), Source>,
}

impl<'a> Payloads<'a> {
    /// Takes from the audit log, if there is one, what it says of these dead letters.
    pub(super) fn new(
        kafka: &'a KafkaSettings,
        left_out: &HashSet<Uuid>,
        audit: Option<&dyn AuditLines>,
    ) -> Result<Self, ReplayError> {
        let mut logged = Logged::new();
        if let Some(audit) = audit.filter(|_| !left_out.is_empty()) {
            let mut take = |line: &[u8]| {
                if memchr::memmem::find(line, b"\"dlq_id\"").is_none() {
                    return;
                }
                let Ok(entry) = serde_json::from_slice::<AuditEntry>(line) else { return };
                if let Some(id) = entry.dlq_id.filter(|id| left_out.contains(id)) {
                    logged.insert(id, (entry.kafka_key, entry.raw_message));
                }
            };
            audit.each(&mut take).map_err(ReplayError::AuditLog)?;
        }
        Ok(Self { kafka, logged, sources: HashMap::new() })
    }

    /// Whether the audit log may be needed for a letter.
    pub(super) fn is_left_out(letter: &Letter) -> bool {
        matches!(letter.payload, Payload::Omitted { .. })
    }

    /// The same of a letter that is not needed any more: what is within it is taken out.
    pub(super) fn take_whole(&mut self, letter: &mut Letter) -> Result<Whole, String> {
        let is_elsewhere = matches!(letter.payload, Payload::Omitted { .. } | Payload::Missing);
        if is_elsewhere || letter.key_omitted || letter.headers_omitted {
            return self.whole(letter);
        }
        let value = match std::mem::replace(&mut letter.payload, Payload::Null) {
            Payload::Inline(bytes) => Some(bytes),
            Payload::Null | Payload::Omitted { .. } | Payload::Missing => None,
        };
        Ok(Whole { key: letter.key.take(), value, headers: std::mem::take(&mut letter.headers) })
    }

    /// The record behind a letter; `Err` says why it cannot be had.
    pub(super) fn whole(&mut self, letter: &Letter) -> Result<Whole, String> {
        let here = |value| Whole { key: letter.key.clone(), value, headers: letter.headers.clone() };
        let inline = match &letter.payload {
            Payload::Null => Some(None),
            Payload::Inline(bytes) => Some(Some(bytes.clone())),
            Payload::Omitted { .. } | Payload::Missing => None,
        };
        if let Some(value) = &inline
            && !letter.key_omitted
            && !letter.headers_omitted
        {
            return Ok(here(value.clone()));
        }
        let is_it = |record: &Record| match &letter.payload {
            Payload::Omitted { hash, .. } => payload_hash(record.payload()) == *hash,
            Payload::Missing => true,
            Payload::Null | Payload::Inline(_) => inline.as_ref() == Some(&record.value),
        };
        if let Some(record) = self.source(letter).filter(is_it) {
            let mut whole = here(inline.unwrap_or(record.value));
            if letter.key_omitted {
                whole.key = record.key;
            }
            if letter.headers_omitted {
                whole.headers = record.headers;
                whole.headers.retain(|header| !is_added_header(&header.name));
            }
            return Ok(whole);
        }
        match (inline, &letter.payload, self.logged.get(&letter.id)) {
            // Without headers that nobody has any more.
            (Some(value), ..) if !letter.key_omitted => Ok(here(value)),
            (_, Payload::Omitted { hash, .. }, Some((key, Some(payload)))) if payload_hash(payload) == *hash => {
                let mut whole = here(Some(Bytes::copy_from_slice(payload)));
                if letter.key_omitted {
                    whole.key = key.as_ref().map(|key| Bytes::copy_from_slice(key));
                }
                Ok(whole)
            }
            _ => Err("what was left out of it is no longer at its source; the audit log may have it (--events-file)"
                .to_owned()),
        }
    }

    /// The record where it was first read, if it is there still.
    fn source(&mut self, letter: &Letter) -> Option<Record> {
        let origin = letter.origin.as_ref()?;
        let at = (Arc::clone(&origin.topic), origin.partition);
        let reads_on = |source: &mut Source| (0..READ_ON).contains(&(origin.offset - source.next));
        let read = |source: &mut Source| {
            while let Some(record) = source.reader.read()? {
                source.next = record.offset + 1;
                if record.offset >= origin.offset {
                    return Ok(Some(record));
                }
            }
            Ok::<_, KafkaError>(None)
        };
        let mut search = || {
            if !self.sources.get_mut(&at).is_some_and(reads_on) {
                let reader = Reader::open_partition(self.kafka, &at.0, at.1, origin.offset)?;
                self.sources.insert(at.clone(), Source { reader, next: origin.offset });
            }
            self.sources.get_mut(&at).map_or(Ok(None), read)
        };
        match search() {
            Ok(record) => record.filter(|record| record.offset == origin.offset),
            Err(error) => {
                tracing::debug!(error = crate::failure::chain_of(&error), "the source cannot be read");
                None
            }
        }
    }
}

/// One dead letter, and the payload of its record, wherever that is.
///
/// # Errors
/// [`ReplayError::NoSuchLetter`], [`ReplayError::Edit`] when the payload cannot be had, and what reading says.
pub fn original(
    kafka: &KafkaSettings,
    dlq_topic: &str,
    id: Uuid,
    audit: Option<&dyn AuditLines>,
) -> Result<(Letter, Option<Bytes>), ReplayError> {
    let mut reader = Reader::open(kafka, dlq_topic)?;
    while let Some(record) = reader.read()? {
        let letter = Letter::read(&record);
        if letter.id == id {
            let left_out = HashSet::from_iter(Payloads::is_left_out(&letter).then_some(id));
            let whole = Payloads::new(kafka, &left_out, audit)?.whole(&letter);
            return Ok((letter, whole.map_err(EditError::NotHere)?.value));
        }
    }
    Err(ReplayError::NoSuchLetter { id, topic: dlq_topic.to_owned() })
}
