//! An audit log as somebody else would read it: lines, JSON, and the hash chain after the documented formula.

use std::collections::BTreeMap;
use std::path::Path;

use pubsub_kafka::models::{AuditEntry, Outcome};

/// A whole audit log.
pub struct Audit {
    /// Its lines, without their breaks.
    pub lines: Vec<String>,
    /// Its outcomes, in order.
    pub entries: Vec<AuditEntry>,
}

impl Audit {
    /// Reads a log that nobody writes any more; every line must parse, and the chain must hold.
    pub fn read(path: &Path) -> Self {
        let text = String::from_utf8(std::fs::read(path).expect("an audit log")).expect("UTF-8");
        assert!(text.is_empty() || text.ends_with('\n'), "the last line is torn");
        let lines: Vec<String> = text.split_terminator('\n').map(str::to_owned).collect();
        check_chain(&lines);
        let mut entries = Vec::new();
        for line in &lines {
            let any: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
            if any["event_type"] == AuditEntry::MESSAGE_RECEIVED {
                entries.push(serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}")));
            }
        }
        Self { lines, entries }
    }

    /// How many lines each record has.
    pub fn counts(&self) -> BTreeMap<(i32, i64), usize> {
        counts(&self.entries)
    }

    /// The outcomes by partition and offset; each record must have exactly one.
    pub fn by_offset(&self) -> BTreeMap<(i32, i64), &AuditEntry> {
        let mut found = BTreeMap::new();
        for entry in &self.entries {
            let at = (entry.kafka_partition, entry.kafka_offset);
            assert!(found.insert(at, entry).is_none(), "two outcomes of {at:?}");
        }
        found
    }

    /// How many outcomes there are of a kind.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.entries.iter().filter(|entry| entry.outcome == outcome).count()
    }

    /// Outcomes must follow the offsets of each partition.
    pub fn follows_offsets(&self) {
        let mut last = BTreeMap::new();
        for entry in &self.entries {
            let before = last.insert(entry.kafka_partition, entry.kafka_offset);
            assert!(
                before.is_none_or(|before| before < entry.kafka_offset),
                "{entry:?} comes after {before:?}"
            );
        }
    }
}

/// How many of these outcomes each record has.
pub fn counts<'a>(entries: impl IntoIterator<Item = &'a AuditEntry>) -> BTreeMap<(i32, i64), usize> {
    let mut counts = BTreeMap::new();
    for entry in entries {
        *counts.entry((entry.kafka_partition, entry.kafka_offset)).or_default() += 1;
    }
    counts
}

/// `hash` = BLAKE3(previous hash ‖ BLAKE3(the line up to its last `,"hash":"…"}`)), from 32 zero bytes.
fn check_chain(lines: &[String]) {
    let mut head = [0; 32];
    for (number, line) in lines.iter().enumerate() {
        let body_len = line.len().checked_sub(",\"hash\":\"".len() + 64 + "\"}".len());
        let (body, tail) =
            line.split_at(body_len.unwrap_or_else(|| panic!("line {} is too short", number + 1)));
        let inner = blake3::hash(body.as_bytes());
        head = *blake3::hash(&[&head[..], inner.as_bytes()].concat()).as_bytes();
        let hex: String = head.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(tail, format!(",\"hash\":\"{hex}\"}}"), "the chain breaks at line {}", number + 1);
    }
}

/// Writes an audit log as somebody would who knows the chain and has no key: lines left out or changed, and sound again,
/// checkpoints included.
pub fn rechain(from: &Path, to: &Path, edit: impl Fn(usize, &str) -> Option<String>) {
    let text = std::fs::read_to_string(from).expect("an audit log");
    let mut head = [0; 32];
    let mut out = String::new();
    let hex = |hash: &[u8; 32]| blake3::Hash::from_bytes(*hash).to_hex().to_string();
    let kept = text.lines().enumerate().filter_map(|(number, line)| edit(number, line));
    for (number, line) in kept.enumerate() {
        let mut own = line[..line.len() - ",\"hash\":\"\"}".len() - 64].to_owned();
        let any: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        if any["event_type"].as_str().is_some_and(|kind| ["audit.checkpoint", "audit.sealed"].contains(&kind))
        {
            let old = format!("\"lines\":{},\"head\":{}", any["lines"], any["head"]);
            assert!(own.contains(&old), "{own}");
            own = own.replace(&old, &format!("\"lines\":{number},\"head\":\"{}\"", hex(&head)));
        }
        let inner = blake3::hash(own.as_bytes());
        head = *blake3::hash(&[&head[..], inner.as_bytes()].concat()).as_bytes();
        out.push_str(&format!("{own},\"hash\":\"{}\"}}\n", hex(&head)));
    }
    std::fs::write(to, out).expect("written");
}
