//! Reading a segment of the journal: every line has to follow from the one before it, and what the lines say is
//! collected. Opening a journal and `audit verify` read it in the same way.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::sync::Arc;

use serde::Deserialize;

use super::chain::{Chain, START, read_hex};
use super::control::{CHECKPOINT, Checkpoint, Identity, Place, SEALED};
use super::line::LINE_START;
use super::scan::{Line, Scanned, scan};
use super::{Hashing, Known};
use crate::models::AuditEntry;
use crate::record::TopicPartition;

/// What a line says to somebody who opens the journal.
enum Said {
    Outcome(i32, i64, TopicName),
    Checkpoint(Box<Checkpoint>),
    Other,
    Unreadable,
}

/// The topic's name; shared, since nearly every line names the same one.
type TopicName = Arc<str>;

#[derive(Deserialize)]
struct Head<'a> {
    event_type: &'a str,
    kafka_topic: Option<Cow<'a, str>>,
    kafka_partition: Option<i32>,
    kafka_offset: Option<i64>,
}

/// What an outcome's line says, where it begins as the journal writes it. Its rest need not be read: the chain holds it.
fn glance(line: &[u8]) -> Option<Said> {
    let rest = line.strip_prefix(LINE_START)?;
    let rest = rest[memchr::memchr(b'"', rest)?..].strip_prefix(OUTCOME_START)?;
    let (topic, rest) = rest.split_at(memchr::memchr(b'"', rest)?);
    let (partition, rest) = number(rest.strip_prefix(b"\",\"kafka_partition\":")?)?;
    let (offset, rest) = number(rest.strip_prefix(b",\"kafka_offset\":")?)?;
    if topic.contains(&b'\\') || !rest.starts_with(b",") {
        return None;
    }
    let topic = Arc::from(std::str::from_utf8(topic).ok()?);
    Some(Said::Outcome(i32::try_from(partition).ok()?, offset, topic))
}

/// What stands between an outcome's time and its topic.
const OUTCOME_START: &[u8] = b"\",\"event_type\":\"message.received\",\"kafka_topic\":\"";

/// A number that begins here, and what follows it.
fn number(text: &[u8]) -> Option<(i64, &[u8])> {
    let digits = text.iter().take_while(|c| c.is_ascii_digit()).count();
    // JSON has no leading zeros, and what is longer than this is no offset.
    if digits > 18 || (digits > 1 && text[0] == b'0') {
        return None;
    }
    let (digits, rest) = text.split_at(digits);
    Some((std::str::from_utf8(digits).ok()?.parse().ok()?, rest))
}

fn said(line: &[u8]) -> Said {
    if let Some(said) = glance(line) {
        return said;
    }
    let Ok(head) = serde_json::from_slice::<Head<'_>>(line) else { return Said::Unreadable };
    match (head.event_type, head.kafka_topic, head.kafka_partition, head.kafka_offset) {
        (AuditEntry::MESSAGE_RECEIVED, Some(topic), Some(partition), Some(offset)) => {
            Said::Outcome(partition, offset, Arc::from(&*topic))
        }
        (AuditEntry::MESSAGE_RECEIVED, ..) => Said::Unreadable,
        (CHECKPOINT | SEALED, ..) => serde_json::from_slice(line)
            .map_or(Said::Unreadable, |checkpoint| Said::Checkpoint(Box::new(checkpoint))),
        _ => Said::Other,
    }
}

/// What was read of a journal.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// How its lines are to be hashed.
    pub(super) hashing: Hashing,
    pub(super) identity: Option<Identity>,
    pub(super) place: Place,
    pub(super) sealed: bool,
    pub(super) known: BTreeMap<TopicPartition, Known>,
    /// What came before the segment.
    pub(super) before: Place,
    last: Option<TopicPartition>,
}

/// Why a segment cannot be read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The first line that does not follow, and where it begins.
    Broken { line: u64, start: u64 },
    /// The lines are hashed with the key of this id, or without one: nothing can be said of them.
    OtherKey(Option<String>),
}

impl Reading {
    pub(super) fn new(hashing: Hashing) -> Self {
        Self { hashing, ..Self::default() }
    }

    /// Reads a segment from its first line on; `progress` learns of every line's end, in bytes.
    ///
    /// # Errors
    /// What reading says; the first line that does not follow is a value.
    pub(super) fn read(
        &mut self,
        input: impl Read + Send,
        mut progress: impl FnMut(u64),
    ) -> io::Result<Result<Scanned, Fault>> {
        let (hashing, key_id) = (self.hashing, self.hashing.key_id());
        let mut chain = Chain::new(hashing);
        let ended = scan(input, Some(hashing), said, |line| {
            progress(line.start + line.len);
            if line.number == 1
                && let Said::Checkpoint(first) = &line.value
                && first.key_id != key_id
            {
                return ControlFlow::Break(Fault::OtherKey(first.key_id.clone()));
            }
            if self.fold(&mut chain, &line) {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(Fault::Broken { line: line.number, start: line.start })
            }
        })?;
        self.place.head = chain.head();
        Ok(match ended {
            ControlFlow::Continue(scanned) => Ok(scanned),
            ControlFlow::Break(fault) => Err(fault),
        })
    }

    /// Takes a line in; false when it does not follow from the one before.
    fn fold(&mut self, chain: &mut Chain, line: &Line<Said>) -> bool {
        if line.number == 1 {
            // A segment begins with a checkpoint, which says what came before it.
            let Said::Checkpoint(first) = &line.value else { return false };
            let Some(head) = read_hex(first.head.as_bytes()) else { return false };
            if first.segment <= 1 && head != START {
                return false;
            }
            *chain = Chain::at(head, self.hashing);
            self.place = Place { segment: first.segment, lines: first.lines, head };
            self.before = self.place;
        }
        let before = chain.head();
        let Some(link) = line.link else { return false };
        if chain.push(&link.digest) != link.claimed {
            return false;
        }
        self.place.lines += 1;
        match &line.value {
            Said::Unreadable => false,
            Said::Other => true,
            Said::Outcome(partition, offset, topic) => {
                self.partition(topic, *partition).outcomes.insert(*offset);
                true
            }
            Said::Checkpoint(checkpoint) => {
                self.take(checkpoint);
                read_hex(checkpoint.head.as_bytes()) == Some(before)
                    && checkpoint.lines + 1 == self.place.lines
            }
        }
    }

    fn partition(&mut self, topic: &Arc<str>, partition: i32) -> &mut Known {
        let same = self.last.as_ref().is_some_and(|at| at.partition == partition && at.topic == *topic);
        if !same {
            self.last = Some(TopicPartition { topic: Arc::clone(topic), partition });
        }
        let at = self.last.clone().unwrap_or_else(|| TopicPartition { topic: Arc::clone(topic), partition });
        self.known.entry(at).or_default()
    }

    pub(super) fn take(&mut self, checkpoint: &Checkpoint) {
        self.sealed = checkpoint.event_type == SEALED;
        self.identity = Some(Identity {
            file_id: checkpoint.file_id,
            consumer_group: checkpoint.consumer_group.clone(),
            key_id: checkpoint.key_id.clone(),
        });
        for state in &checkpoint.partitions {
            let at = TopicPartition::new(state.topic.as_str(), state.partition);
            self.known.entry(at).or_default().take(state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(said: &Said) -> Option<(i32, i64, &str)> {
        match said {
            Said::Outcome(partition, offset, topic) => Some((*partition, *offset, topic)),
            _ => None,
        }
    }

    #[test]
    fn a_glance_says_what_reading_the_whole_line_says_or_nothing() {
        let line = |topic: &str, partition: &str, offset: &str| {
            format!(
                "{{\"timestamp\":\"2026-03-01T12:00:00.000Z\",\"event_type\":\"message.received\",\
                 \"kafka_topic\":\"{topic}\",\"kafka_partition\":{partition},\"kafka_offset\":{offset},\"x\":1}}"
            )
        };
        let long = "9".repeat(19);
        for (topic, partition, offset, glanced) in [
            ("orders", "0", "0", true),
            ("orders", "31", "1234567890123", true),
            ("a\\u0062c", "1", "2", false),
            ("orders", "1", "02", false),
            ("orders", "1", "-1", false),
            ("orders", "1", "2.5", false),
            ("orders", "2147483648", "2", false),
            ("orders", "1", long.as_str(), false),
        ] {
            let line = line(topic, partition, offset);
            let found = glance(line.as_bytes());
            assert_eq!(found.is_some(), glanced, "{line}");
            let whole = serde_json::from_str::<Head<'_>>(&line).ok();
            if let Some((found, whole)) = found.zip(whole) {
                let expected = (
                    whole.kafka_partition.unwrap(),
                    whole.kafka_offset.unwrap(),
                    &*whole.kafka_topic.unwrap(),
                );
                assert_eq!(outcome(&found), Some(expected));
            }
        }
        assert!(glance(b"").is_none() && glance(br#"{"timestamp":"x"#).is_none());
    }
}
