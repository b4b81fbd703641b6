//! The published heads of the group's journals, and whether the files given reach them. A head whose value is null has
//! been retired by hand: its journal need not be given any more.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::proof::{JournalSeen, ViolationKind, Violations};
use crate::audit::{ChainHash, HEADS_TOPIC, Head, hex};
use crate::config::AuditSettings;
use crate::kafka::{KafkaError, Reader};

#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    lines: u64,
    head: String,
    /// Whether the line with this number has this hash; `None` while it was not seen.
    holds: Option<bool>,
}

/// The last published head of each journal of the group.
#[derive(Debug, Default)]
pub(super) struct Heads {
    wanted: BTreeMap<Uuid, Wanted>,
}

impl Heads {
    /// Reads them; where the topic does not exist there are none.
    pub(super) fn read(settings: &AuditSettings) -> Result<Self, KafkaError> {
        let mut heads = Self::default();
        let mut reader = match Reader::open(&settings.kafka, HEADS_TOPIC) {
            Ok(reader) => reader,
            Err(KafkaError::UnknownTopic { .. }) => return Ok(heads),
            Err(error) => return Err(error),
        };
        while let Some(record) = reader.read()? {
            heads.take(&settings.group, record.key.as_deref(), record.value.as_deref());
        }
        Ok(heads)
    }

    fn take(&mut self, group: &str, key: Option<&[u8]>, value: Option<&[u8]>) {
        let Some(value) = value else {
            if let Some(file_id) = key.and_then(|key| Head::file_of_key(group, key)) {
                self.wanted.remove(&file_id);
            }
            return;
        };
        let Ok(found) = serde_json::from_slice::<Head>(value) else { return };
        if found.consumer_group != group {
            return;
        }
        // The furthest one says the most: every line before it is under its hash.
        let before = self.wanted.get(&found.file_id).map_or(0, |wanted| wanted.lines);
        if found.lines >= before {
            let wanted = Wanted { lines: found.lines, head: found.head, holds: None };
            self.wanted.insert(found.file_id, wanted);
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.wanted.len() as u64
    }

    /// Learns the hash of a journal's line.
    pub(super) fn see(&mut self, file_id: Uuid, line: u64, hash: &ChainHash) {
        if let Some(wanted) = self.wanted.get_mut(&file_id)
            && wanted.lines == line
        {
            wanted.holds = Some(wanted.head == hex(hash));
        }
    }

    /// Says which heads the files do not reach.
    pub(super) fn judge(&self, journals: &[JournalSeen], violations: &mut Violations) {
        for (file_id, wanted) in &self.wanted {
            let lines = wanted.lines;
            let journal = journals.iter().find(|journal| journal.file_id == *file_id);
            let (kind, what) = match (journal, wanted.holds) {
                (_, Some(true)) => continue,
                (_, Some(false)) => (
                    ViolationKind::JournalRewritten,
                    format!("line {lines} of the journal is not the one whose hash was published"),
                ),
                (None, None) => (
                    ViolationKind::JournalNotGiven,
                    format!(
                        "its head (line {lines}) was published, but none of its files was given: give all of them"
                    ),
                ),
                (Some(journal), None) if journal.lines < lines => (
                    ViolationKind::JournalCut,
                    format!(
                        "the journal ends at line {}, but its head was published at line {lines}: its tail was cut off \
                         or it was rolled back, or its last files were not given",
                        journal.lines
                    ),
                ),
                (Some(_), None) => (
                    ViolationKind::JournalNotGiven,
                    format!("its head was published at line {lines}, in a segment that was not given"),
                ),
            };
            violations.add(kind, || (format!("journal {file_id}"), what));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(file_id: Uuid, group: &str, lines: u64, head: u8) -> Vec<u8> {
        let head = hex(&[head; 32]);
        serde_json::to_vec(&serde_json::json!({
            "file_id": file_id, "consumer_group": group, "segment": 1, "lines": lines, "head": head,
        }))
        .expect("JSON")
    }

    fn journal(file_id: Uuid, not_given: u64, lines: u64) -> JournalSeen {
        JournalSeen { file_id, files: Vec::new(), lines, not_given }
    }

    fn kinds(heads: &Heads, journals: &[JournalSeen]) -> Vec<ViolationKind> {
        let mut violations = Violations::default();
        heads.judge(journals, &mut violations);
        violations.first.iter().map(|violation| violation.kind).collect()
    }

    #[test]
    fn a_head_has_to_be_reached_with_its_hash_in_a_given_file() {
        let id = Uuid::from_u128(7);
        let mut heads = Heads::default();
        heads.take("g", None, Some(&published(id, "g", 5, 5)));
        heads.take("g", None, Some(&published(id, "g", 9, 9)));
        heads.take("g", None, Some(&published(id, "g", 3, 3)));
        heads.take("g", None, Some(&published(Uuid::nil(), "other", 9, 9)));
        heads.take("g", None, Some(b"{}"));
        assert_eq!(heads.count(), 1);
        assert_eq!(kinds(&heads, &[]), [ViolationKind::JournalNotGiven]);
        assert_eq!(kinds(&heads, &[journal(id, 0, 8)]), [ViolationKind::JournalCut]);
        assert_eq!(kinds(&heads, &[journal(id, 10, 12)]), [ViolationKind::JournalNotGiven]);
        heads.see(id, 8, &[8; 32]);
        heads.see(Uuid::nil(), 9, &[9; 32]);
        assert_eq!(kinds(&heads, &[journal(id, 0, 8)]), [ViolationKind::JournalCut]);
        heads.see(id, 9, &[1; 32]);
        assert_eq!(kinds(&heads, &[journal(id, 0, 9)]), [ViolationKind::JournalRewritten]);
        heads.see(id, 9, &[9; 32]);
        assert!(kinds(&heads, &[journal(id, 0, 9)]).is_empty());
    }

    #[test]
    fn a_head_without_a_value_is_retired() {
        let id = Uuid::from_u128(7);
        let mut heads = Heads::default();
        heads.take("a", None, Some(&published(id, "a", 5, 5)));
        for key in ["a/b", "b/00000000-0000-0000-0000-000000000007", "a"] {
            heads.take("a", Some(key.as_bytes()), None);
            assert_eq!(heads.count(), 1, "{key}");
        }
        heads.take("a", Some(format!("a/{id}").as_bytes()), None);
        assert_eq!(heads.count(), 0);
    }
}
