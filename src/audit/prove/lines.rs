//! What the files say: one small entry for each line about the topic, and the places of the dead letters.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use uuid::Uuid;

use super::ProveError;
use super::compare::{Content, DEAD, Expected, Line, UNCHECKED, Written, content, content_of};
use super::heads::Heads;
use super::proof::JournalSeen;
use crate::audit::chain::read_hex;
use crate::audit::control::{CHECKPOINT, GAP, SEALED};
use crate::audit::{Chain, Checkpoint, Gap, Hashing, VerifyError, scan, segments};
use crate::config::AuditSettings;
use crate::models::{AuditEntry, BorrowedText, Outcome};

/// Everything that the files say of the topic.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) written: Written,
    pub(super) journals: Vec<JournalSeen>,
    /// The topic's ids, as the checkpoints name them.
    pub(super) topic_ids: BTreeSet<String>,
    pub(super) other_topics: u64,
}

/// Reads files that are in the order of their journals and segments, each once. The chain is checked again: a file
/// may have grown since it was verified.
pub(super) fn read(
    files: &[PathBuf],
    settings: &AuditSettings,
    heads: &mut Heads,
    mut progress: impl FnMut(u64),
) -> Result<Ledger, ProveError> {
    let mut ledger = Ledger::default();
    let mut done = 0;
    for path in files {
        done += read_file(path, settings, heads, &mut ledger, |bytes| progress(done + bytes))?;
    }
    Ok(ledger)
}

fn read_file(
    path: &Path,
    settings: &AuditSettings,
    heads: &mut Heads,
    ledger: &mut Ledger,
    mut progress: impl FnMut(u64),
) -> Result<u64, ProveError> {
    let read = |source| VerifyError::reading(path, source);
    let file = segments::open(path).map_err(read)?;
    let hashing = Hashing::new(settings.key);
    let mut chain = Chain::new(hashing);
    let mut journal = None;
    let ended = scan(
        file,
        Some(hashing),
        |line| said(line, &settings.topic),
        |line| {
            progress(line.start + line.len);
            let broken =
                || VerifyError::Broken { path: path.to_owned(), line: line.number, start: line.start };
            let unreadable = || ProveError::Unreadable { path: path.to_owned(), line: line.number };
            if line.number == 1 {
                let Said::Checkpoint(first) = &line.value else { return ControlFlow::Break(broken().into()) };
                let Some(head) = read_hex(first.head.as_bytes()) else {
                    return ControlFlow::Break(broken().into());
                };
                chain = Chain::at(head, hashing);
                if first.consumer_group != settings.group {
                    return ControlFlow::Break(ProveError::OtherGroup {
                        path: path.to_owned(),
                        found: first.consumer_group.clone(),
                        group: settings.group.clone(),
                    });
                }
                journal = Some((ledger.journal(first, path), first.lines));
            }
            let Some((number, before)) = journal else { return ControlFlow::Break(broken().into()) };
            let Some(link) = line.link.filter(|link| chain.push(&link.digest) == link.claimed) else {
                return ControlFlow::Break(broken().into());
            };
            let seen = &mut ledger.journals[number];
            seen.lines = before + line.number;
            heads.see(seen.file_id, seen.lines, &link.claimed);
            match line.value {
                Said::Outcome(outcome) => ledger.take(&outcome, number),
                Said::Checkpoint(checkpoint) => {
                    let states = checkpoint.partitions.into_iter().filter(|at| at.topic == settings.topic);
                    ledger.topic_ids.extend(states.filter_map(|at| at.topic_id));
                }
                Said::Gap(gap) if gap.topic == settings.topic => {
                    let unread = ledger.written.unread.entry(gap.partition).or_default();
                    unread.insert_range(gap.from, gap.to - 1);
                }
                Said::Gap(_) => {}
                Said::OtherTopic => ledger.other_topics += 1,
                Said::Other => {}
                Said::Unreadable => return ControlFlow::Break(unreadable()),
            }
            ControlFlow::Continue(())
        },
    );
    match ended.map_err(read)? {
        ControlFlow::Continue(scanned) => Ok(scanned.bytes),
        ControlFlow::Break(error) => Err(error),
    }
}

impl Ledger {
    fn journal(&mut self, first: &Checkpoint, path: &Path) -> usize {
        let known = self.journals.iter().position(|journal| journal.file_id == first.file_id);
        let number = known.unwrap_or_else(|| {
            let file_id = first.file_id;
            self.journals.push(JournalSeen { file_id, files: Vec::new(), lines: 0, not_given: 0 });
            self.journals.len() - 1
        });
        let journal = &mut self.journals[number];
        journal.files.push(path.to_owned());
        // Its files come in the order of their segments.
        journal.not_given += first.lines.saturating_sub(journal.lines);
        number
    }

    fn take(&mut self, outcome: &Found, journal: usize) {
        let Found { partition, offset, content, letter } = *outcome;
        let mut flags = 0;
        if letter.is_some() {
            flags |= DEAD;
        }
        if content.is_none() {
            flags |= UNCHECKED;
        }
        // There are not that many files.
        let journal = u32::try_from(journal).unwrap_or(u32::MAX);
        let line = Line { offset, content: content.unwrap_or_default(), journal, flags };
        self.written.lines.entry(partition).or_default().push(line);
        if let Some((at, id)) = letter {
            self.written.letters.push(Expected { at, origin: (partition, offset), id, found: false });
        }
    }
}

/// What a line says.
enum Said {
    Outcome(Found),
    OtherTopic,
    Checkpoint(Box<Checkpoint>),
    Gap(Box<Gap>),
    Other,
    Unreadable,
}

/// An outcome of the topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Found {
    partition: i32,
    offset: i64,
    /// `None` where the payload was left out, without a hash.
    content: Option<Content>,
    /// Where its dead letter is, and its id, if it was dead-lettered.
    letter: Option<((i32, i64), Uuid)>,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    kafka_topic: Option<BorrowedText<'a>>,
    kafka_partition: Option<i32>,
    kafka_offset: Option<i64>,
    #[serde(borrow)]
    kafka_key: Option<BorrowedText<'a>>,
    #[serde(borrow)]
    kafka_key_base64: Option<BorrowedText<'a>>,
    #[serde(borrow)]
    raw_message: Option<BorrowedText<'a>>,
    #[serde(borrow)]
    raw_message_base64: Option<BorrowedText<'a>>,
    #[serde(borrow)]
    raw_message_hash: Option<BorrowedText<'a>>,
    message_size: Option<u64>,
    outcome: Option<Outcome>,
    dlq_id: Option<Uuid>,
    dlq_partition: Option<i32>,
    dlq_offset: Option<i64>,
}

fn said(line: &[u8], topic: &str) -> Said {
    let Ok(wire) = serde_json::from_slice::<Wire<'_>>(line) else { return Said::Unreadable };
    match &*wire.event_type {
        AuditEntry::MESSAGE_RECEIVED => match &wire.kafka_topic {
            Some(BorrowedText(found)) if found == topic => {
                found_in(&wire).map_or(Said::Unreadable, Said::Outcome)
            }
            Some(_) => Said::OtherTopic,
            None => Said::Unreadable,
        },
        CHECKPOINT | SEALED => serde_json::from_slice(line)
            .map_or(Said::Unreadable, |checkpoint| Said::Checkpoint(Box::new(checkpoint))),
        GAP => serde_json::from_slice(line).map_or(Said::Unreadable, |gap| Said::Gap(Box::new(gap))),
        _ => Said::Other,
    }
}

fn found_in(wire: &Wire<'_>) -> Option<Found> {
    let key = bytes(wire.kafka_key.as_ref(), wire.kafka_key_base64.as_ref())?;
    let payload = bytes(wire.raw_message.as_ref(), wire.raw_message_base64.as_ref())?;
    let content = match &wire.raw_message_hash {
        Some(_) if payload.is_some() => return None,
        Some(BorrowedText(hash)) => {
            let key = key.map(|key| *blake3::hash(&key).as_bytes());
            Some(content(key, Some(read_hex(hash.as_bytes())?)))
        }
        None if payload.is_none() && wire.message_size? > 0 => None,
        None => Some(content_of(key.as_deref(), payload.as_deref())),
    };
    let letter = match wire.outcome? {
        Outcome::Processed => None,
        // A line that names no dead letter names none that can be found.
        Outcome::DeadLettered => {
            let at = (wire.dlq_partition.unwrap_or(-1), wire.dlq_offset.unwrap_or(-1));
            Some((at, wire.dlq_id.unwrap_or_default()))
        }
    };
    Some(Found { partition: wire.kafka_partition?, offset: wire.kafka_offset?, content, letter })
}

/// The bytes that two fields stand for: `Some(None)` for null, `None` for what is neither.
#[expect(clippy::option_option, reason = "null and unreadable are two things")]
fn bytes<'a>(
    text: Option<&'a BorrowedText<'_>>,
    base64: Option<&'a BorrowedText<'_>>,
) -> Option<Option<Cow<'a, [u8]>>> {
    match (text, base64) {
        (Some(_), Some(_)) => None,
        (Some(BorrowedText(text)), None) => Some(Some(Cow::Borrowed(text.as_bytes()))),
        (None, Some(BorrowedText(base64))) => Some(Some(Cow::Owned(BASE64.decode(base64.as_bytes()).ok()?))),
        (None, None) => Some(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content_in(payload: &str) -> Option<Option<Content>> {
        let line = format!(
            "{{\"event_type\":\"message.received\",\"kafka_topic\":\"t\",\"kafka_partition\":0,\"kafka_offset\":1,\
             \"kafka_key\":\"k\",{payload},\"outcome\":\"processed\"}}"
        );
        match said(line.as_bytes(), "t") {
            Said::Outcome(found) => Some(found.content),
            _ => None,
        }
    }

    #[test]
    fn a_payload_and_its_hash_say_the_same() {
        let whole = Some(Some(content_of(Some(b"k"), Some(b"value"))));
        let hash = blake3::hash(b"value").to_hex();
        assert_eq!(content_in("\"raw_message\":\"value\",\"message_size\":5"), whole);
        assert_eq!(content_in(&format!("\"raw_message_hash\":\"{hash}\",\"message_size\":5")), whole);
        let null = Some(Some(content_of(Some(b"k"), None)));
        assert_eq!(content_in("\"raw_message\":null,\"message_size\":0"), null);
        // Without either nothing can be compared; what is no hash, or both, cannot be read.
        assert_eq!(content_in("\"message_size\":5"), Some(None));
        assert_eq!(content_in("\"raw_message_hash\":\"xyz\",\"message_size\":5"), None);
        let both = format!("\"raw_message\":\"value\",\"raw_message_hash\":\"{hash}\",\"message_size\":5");
        assert_eq!(content_in(&both), None);
    }
}
