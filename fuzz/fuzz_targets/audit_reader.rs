//! Any file as an audit log: no reader of one panics, and none takes a changed line for a sound one. The hash chain is
//! made here after the documented formula, not by the journal's own code.

#![no_main]

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use pubsub_kafka::audit::cat::{LineFilter, cat};
use pubsub_kafka::audit::trace::trace;
use pubsub_kafka::audit::{Hashing, verify};
use pubsub_kafka::config::AuditKey;
use pubsub_kafka::models::{AuditEntry, Outcome, is_unsafe, to_safe_string};

/// Where the log lies: the readers take files.
fn log() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        folder.join(format!("fuzz-audit-{}", std::process::id()))
    })
}

fn is_sound(bytes: &[u8], hashing: Hashing) -> bool {
    std::fs::write(log(), bytes).expect("the log is written");
    match verify(&[log().to_owned()], hashing, |_| ()) {
        Ok(files) => files.len() == 1,
        Err(error) => {
            assert!(!error.to_string().contains(is_unsafe), "{error}");
            false
        }
    }
}

/// What reads lines without asking for their chain.
fn read_lines(bytes: &[u8]) {
    let files = [log().to_owned()];
    let filter = LineFilter { outcome: Some(Outcome::Processed), ..LineFilter::default() };
    for filter in [LineFilter::default(), filter] {
        cat(&files, &filter, |_| Ok(())).expect("the log can be read");
    }
    for wanted in ["o-1", "a\"b", ""] {
        for event in trace(wanted, &files, |_| ()).expect("the log can be read") {
            assert!(!to_safe_string(&event).expect("an event has a form in JSON").contains(is_unsafe));
        }
    }
    for line in bytes.split(|byte| *byte == b'\n') {
        let Ok(entry) = serde_json::from_slice::<AuditEntry>(line) else { continue };
        let written = to_safe_string(&entry).expect("an entry has a form in JSON");
        let again: AuditEntry = serde_json::from_str(&written).expect("what was written can be read");
        assert_eq!(again.raw_message, entry.raw_message);
        assert_eq!(again.kafka_key, entry.kafka_key);
    }
}

/// The documented formula.
struct Chain {
    head: [u8; 32],
    key: Option<[u8; 32]>,
}

impl Chain {
    fn hash(&self, bytes: &[u8]) -> [u8; 32] {
        match &self.key {
            None => *blake3::hash(bytes).as_bytes(),
            Some(key) => *blake3::keyed_hash(key, bytes).as_bytes(),
        }
    }

    fn head(&self) -> String {
        self.head.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn push(&mut self, log: &mut Vec<u8>, body: &[u8]) {
        let link = [self.head, self.hash(body)].concat();
        self.head = self.hash(&link);
        log.extend_from_slice(body);
        log.extend_from_slice(format!(",\"hash\":\"{}\"}}\n", self.head()).as_bytes());
    }

    fn hashing(&self) -> Hashing {
        Hashing::new(self.key.map(AuditKey::new))
    }

    fn checkpoint(&self, lines: u64) -> String {
        let key = self.hashing().key_id();
        let key = key.map(|id| format!("\"keyed\":true,\"key_id\":\"{id}\",")).unwrap_or_default();
        format!(
            "{{\"timestamp\":\"2026-03-01T12:00:00.000Z\",\"event_type\":\"audit.checkpoint\",\"reason\":\"start\",\
             \"file_id\":\"67e55044-10b1-426f-9247-bb680e5fe0c8\",\"segment\":1,\"consumer_group\":\"g\",{key}\
             \"lines\":{lines},\"head\":\"{}\",\"partitions\":[]",
            self.head()
        )
    }
}

/// A log whose chain holds, with the input's lines in it as payloads.
fn chained(input: &[u8], key: Option<[u8; 32]>) -> Vec<u8> {
    let (mut log, mut chain) = (Vec::new(), Chain { head: [0; 32], key });
    let first = chain.checkpoint(0);
    chain.push(&mut log, first.as_bytes());
    let mut lines = 1;
    for (number, text) in input.split(|byte| *byte == b'\n').take(16).enumerate() {
        let text =
            serde_json::to_string(&String::from_utf8_lossy(text)).expect("a string has a form in JSON");
        let body = format!(
            "{{\"timestamp\":\"2026-03-01T12:00:00.000Z\",\"event_type\":\"message.received\",\
             \"kafka_topic\":\"orders\",\"kafka_partition\":0,\"kafka_offset\":{number},\"raw_message\":{text}"
        );
        chain.push(&mut log, body.as_bytes());
        lines += 1;
    }
    let last = chain.checkpoint(lines);
    chain.push(&mut log, last.as_bytes());
    log
}

fuzz_target!(|bytes: &[u8]| {
    is_sound(bytes, Hashing::PLAIN);
    read_lines(bytes);

    // The first bytes say what is done to a sound log, the rest is in it.
    let [a, b, how, flip, content @ ..] = bytes else { return };
    let key = (how & 0x80 != 0).then_some([*flip; 32]);
    let hashing = Hashing::new(key.map(AuditKey::new));
    let sound = chained(content, key);
    assert!(is_sound(&sound, hashing), "a chain that holds is refused");
    let other = if key.is_some() { Hashing::PLAIN } else { Hashing::new(Some(AuditKey::new([1; 32]))) };
    assert!(!is_sound(&sound, other), "another key will do");
    let at = usize::from(u16::from_le_bytes([*a, *b])) % (sound.len() - 1);
    let mut changed = sound.clone();
    match how % 4 {
        0 => changed[at] ^= flip.max(&1),
        1 => drop(changed.remove(at)),
        2 => changed.insert(at, *flip),
        _ => {
            let line_of = |at: usize| sound[..at].iter().filter(|byte| **byte == b'\n').count();
            let mut lines: Vec<&[u8]> = sound.split_inclusive(|byte| *byte == b'\n').collect();
            let line = line_of(at);
            if *flip % 2 == 0 && line + 1 < lines.len() {
                lines.remove(line);
            } else {
                let other = lines[usize::from(*flip) % lines.len()];
                lines.insert(line, other);
            }
            changed = lines.concat();
        }
    }
    if changed != sound {
        assert!(!is_sound(&changed, hashing), "a changed log passes for sound");
    }
});
