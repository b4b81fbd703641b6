//! Journals that were written, torn, changed, rotated and opened again.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, channel};

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::audit::{
    AuditWriter, Completion, Judged, KeyError, Reason, Scope, Verdict, VerifyError, WriterOptions, verify,
};
use crate::config::{AuditPayload, EventsCompress};
use crate::record::Record;

struct Written {
    writer: Option<AuditWriter>,
    reports: Receiver<Completion>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Written {
    fn start(journal: Journal, segment_bytes: u64) -> Self {
        Self::packing(journal, segment_bytes, EventsCompress::None)
    }

    fn packing(journal: Journal, segment_bytes: u64, compress: EventsCompress) -> Self {
        let (report, reports) = channel();
        let options = WriterOptions {
            topic: Arc::from("orders"),
            segment_bytes,
            payload: AuditPayload::Full,
            compress,
        };
        let stop_waiting = Arc::new(AtomicBool::new(false));
        let (writer, thread) = AuditWriter::start(journal, options, stop_waiting, move |completion| {
            drop(report.send(completion));
        })
        .expect("start the writer");
        Self { writer: Some(writer), reports, thread: Some(thread) }
    }

    fn append(&self, partition: i32, offsets: std::ops::Range<i64>) {
        let writer = self.writer.as_ref().expect("open");
        let mut lines = writer.lines();
        for offset in offsets {
            let record = Record::new("orders", partition, offset).with_value("{}");
            let verdict = Verdict::Processed { attempts: 1 };
            lines.push("group", Timestamp::now(), &Judged { record, deserialized: true, verdict });
        }
        writer.append(&Scope::new(partition, 1), lines);
    }

    fn stand_at(&self, next_offset: i64) {
        let state = PartitionState {
            topic: "orders".to_owned(),
            topic_id: Some("id".to_owned()),
            partition: 0,
            next_offset,
            done: Vec::new(),
        };
        self.writer.as_ref().expect("open").checkpoint(Reason::Interval, vec![state]);
    }

    /// Waits until everything is on disk, and gives the writer's reports.
    fn end(mut self) -> Vec<Completion> {
        self.writer = None;
        self.thread.take().expect("running").join().expect("no panic");
        self.reports.iter().collect()
    }
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("tracker.events");
    (folder, path)
}

fn open(path: &Path) -> Journal {
    Journal::open(path, "group", Hashing::PLAIN).expect("a sound journal")
}

/// A journal with offsets 0 to 9 of partition 0 and 5 to 6 of partition 1.
fn write_journal(path: &Path) {
    let journal = Written::start(open(path), u64::MAX);
    journal.append(0, 0..4);
    journal.append(1, 5..7);
    journal.append(0, 4..10);
    journal.end();
}

fn outcomes(journal: &Journal, partition: i32) -> Vec<(i64, i64)> {
    let at = TopicPartition::new("orders", partition);
    journal.known.get(&at).map(|known| known.outcomes.ranges().collect()).unwrap_or_default()
}

#[test]
fn a_journal_that_is_opened_again_knows_its_outcomes_and_goes_on_with_its_chain() {
    let (_folder, path) = folder();
    write_journal(&path);
    let journal = open(&path);
    assert_eq!((outcomes(&journal, 0), outcomes(&journal, 1)), (vec![(0, 9)], vec![(5, 6)]));
    // Twelve outcomes and the checkpoint of the start.
    assert_eq!((journal.place.lines, journal.place.segment, journal.is_new), (13, 1, false));
    let again = Written::start(journal, u64::MAX);
    again.append(0, 10..12);
    again.end();
    assert_eq!(verify(std::slice::from_ref(&path), Hashing::PLAIN, |_| ()).expect("sound")[0].lines, 16);
    assert_eq!(outcomes(&open(&path), 0), [(0, 11)]);
}

#[test]
fn a_full_segment_is_sealed_and_the_next_one_knows_what_came_before() {
    let (folder, path) = folder();
    let journal = Written::start(open(&path), 3000);
    for start in 0..30 {
        journal.append(0, start * 10..start * 10 + 10);
        journal.stand_at(start * 10 + 5);
    }
    let reports = journal.end();
    assert!(reports.iter().all(|report| !matches!(report, Completion::Failed(_))), "{reports:?}");
    let files = || {
        let all = std::fs::read_dir(folder.path()).expect("list").map(|entry| entry.expect("entry").path());
        all.filter(|path| path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.')))
    };
    let segments = files().count() - 1;
    assert!(segments >= 3, "{segments}");
    let live = open(&path);
    assert_eq!(live.place.segment, segments as u64 + 1);
    assert_eq!(outcomes(&live, 0).last().map(|(_, last)| *last), Some(299));
    // Every segment follows from the one before it.
    let files: Vec<PathBuf> = files().collect();
    assert_eq!(verify(&files, Hashing::PLAIN, |_| ()).expect("sound").len(), segments + 1);
    let second = folder.path().join("tracker.events.000002");
    let without = std::fs::read(&second).expect("read");
    let cut = without.split_inclusive(|byte| *byte == b'\n').rev().skip(1).map(<[u8]>::len).sum::<usize>();
    std::fs::write(&second, &without[..cut]).expect("write");
    assert!(matches!(verify(&files, Hashing::PLAIN, |_| ()), Err(VerifyError::Apart { .. })));
    let rest: Vec<PathBuf> = files.iter().filter(|path| **path != second).cloned().collect();
    assert!(matches!(verify(&rest, Hashing::PLAIN, |_| ()), Err(VerifyError::Apart { .. })));
    // Without the live file it goes on from the last segment.
    drop(live);
    std::fs::remove_file(&path).expect("remove");
    let journal = open(&path);
    assert_eq!(journal.place.segment, segments as u64 + 1);
    assert!(!journal.is_new);
}

#[test]
fn a_crash_between_sealing_and_renaming_is_finished_by_the_next_start() {
    let (folder, path) = folder();
    let journal = Written::start(open(&path), 2000);
    journal.append(0, 0..10);
    journal.end();
    let sealed = folder.path().join("tracker.events.000001");
    std::fs::rename(&sealed, &path).expect("as before the rename");
    let journal = open(&path);
    assert_eq!((journal.place.segment, outcomes(&journal, 0)), (2, vec![(0, 9)]));
    assert!(sealed.exists());
}

#[test]
fn what_a_failed_sync_left_is_not_believed() {
    let (folder, path) = folder();
    write_journal(&path);
    let text = std::fs::read(&path).expect("read");
    let durable: usize = text.split_inclusive(|byte| *byte == b'\n').take(5).map(<[u8]>::len).sum();
    crate::audit::unsynced::mark(&path, durable as u64).expect("marked");
    let journal = open(&path);
    assert_eq!((journal.place.lines, outcomes(&journal, 0)), (5, vec![(0, 3)]));
    let (bytes, side) = journal.torn.clone().expect("moved aside");
    assert_eq!(bytes, (text.len() - durable) as u64);
    assert_eq!(std::fs::read(side).expect("read"), text[durable..]);
    Written::start(journal, u64::MAX).end();
    assert!(std::fs::read_to_string(&path).expect("read").contains("\"event_type\":\"audit.recovered\""));
    // Once is enough: what comes now is on disk.
    assert!(open(&path).torn.is_none());
    // Where nothing stands behind the mark, there is nothing to cut.
    let lines = open(&path).place.lines;
    crate::audit::unsynced::mark(&path, std::fs::metadata(&path).expect("there").len()).expect("marked");
    let journal = open(&path);
    assert_eq!((journal.place.lines, journal.torn), (lines, None));
    std::fs::write(folder.path().join(".tracker.events.unsynced"), "1").expect("written");
    drop(journal.file);
    let error = Journal::open(&path, "group", Hashing::PLAIN).expect_err("half a mark");
    assert!(matches!(error, AuditError::Io { .. }), "{error}");
}

#[test]
fn another_groups_journal_is_refused() {
    let (_folder, path) = folder();
    write_journal(&path);
    assert!(matches!(Journal::open(&path, "other", Hashing::PLAIN), Err(AuditError::OtherGroup { .. })));
}

#[test]
fn somebody_elses_file_is_refused_and_left_as_it_is() {
    for text in ["not ours", "{\"a\":1}\n", "{\"a\":1}", "\n"] {
        let (folder, path) = folder();
        std::fs::write(&path, text).expect("write");
        assert!(
            matches!(Journal::open(&path, "group", Hashing::PLAIN), Err(AuditError::Damaged { .. })),
            "{text}"
        );
        assert_eq!(std::fs::read_to_string(&path).expect("read"), text);
        // It and its lock.
        assert_eq!(std::fs::read_dir(folder.path()).expect("list").count(), 2);
    }
}

#[test]
fn sealed_segments_are_packed_meanwhile_and_read_as_before() {
    let (folder, path) = folder();
    // One was sealed before anybody packed.
    let journal = Written::start(open(&path), 1);
    journal.append(0, 0..5);
    journal.end();
    let journal = Written::packing(open(&path), 2000, EventsCompress::Zstd);
    for start in 1..20 {
        journal.append(0, start * 5..start * 5 + 5);
    }
    let reports = journal.end();
    assert!(reports.iter().all(|report| !matches!(report, Completion::Failed(_))), "{reports:?}");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !segments::plain(&path).expect("list").is_empty() {
        assert!(std::time::Instant::now() < deadline, "they stay as they are");
        std::thread::yield_now();
    }
    let all: Vec<PathBuf> = segments::all(&path).expect("list").into_values().chain([path.clone()]).collect();
    assert!(all.len() >= 3 && all[0].ends_with("tracker.events.000001.zst"), "{all:?}");
    let lines = |files: &[PathBuf]| {
        let verified = verify(files, Hashing::PLAIN, |_| ()).expect("sound");
        verified.iter().map(|file| file.lines).sum::<u64>()
    };
    assert_eq!(lines(&all), open(&path).place.lines);
    // It goes on from a packed segment.
    std::fs::remove_file(&path).expect("removed");
    let journal = open(&path);
    assert_eq!((journal.place.segment, outcomes(&journal, 0)), (all.len() as u64, vec![(0, 99)]));
    drop(journal);
    // Damage in one is damage: the line is named within what it unpacks to.
    let first = &all[0];
    let sound = std::fs::read(first).expect("read");
    std::fs::write(first, &sound[..sound.len() - 10]).expect("written");
    let cut = verify(std::slice::from_ref(first), Hashing::PLAIN, |_| ()).expect_err("cut");
    assert!(matches!(cut, VerifyError::Unpack { line: Some(_), .. }), "{cut}");
    let text = zstd_of(&sound).replacen("\"kafka_offset\":3", "\"kafka_offset\":9", 1);
    std::fs::remove_file(first).expect("removed");
    let plain = folder.path().join("tracker.events.000001");
    std::fs::write(&plain, &text).expect("written");
    crate::audit::packed::pack(&plain).expect("packed");
    let changed = verify(std::slice::from_ref(first), Hashing::PLAIN, |_| ()).expect_err("changed");
    let line = text.lines().position(|line| line.contains("\"kafka_offset\":9")).expect("there") as u64 + 1;
    assert!(matches!(changed, VerifyError::Broken { line: found, .. } if found == line), "{changed}");
}

fn zstd_of(packed: &[u8]) -> String {
    let mut text = String::new();
    let mut unpack = crate::audit::packed::Unpack::new(packed).expect("a context");
    std::io::Read::read_to_string(&mut unpack, &mut text).expect("sound");
    text
}

fn keyed(byte: u8) -> Hashing {
    Hashing::new(Some(crate::config::AuditKey::new([byte; 32])))
}

#[test]
fn a_keyed_journal_needs_its_key_and_says_so_before_it_calls_anything_damaged() {
    let (_folder, path) = folder();
    let open = |hashing| Journal::open(&path, "group", hashing);
    let journal = Written::start(open(keyed(1)).expect("new"), 6000);
    for start in 0..10 {
        journal.append(0, start * 3..start * 3 + 3);
    }
    journal.end();
    let sealed = path.with_file_name("tracker.events.000001");
    let files = [sealed.clone(), path.clone()];
    assert_eq!(verify(&files, keyed(1), |_| ()).expect("sound").len(), 2);
    assert!(std::fs::read_to_string(&path).expect("text").contains("\"keyed\":true,\"key_id\":\""));
    for file in &files {
        let judged = |hashing| verify(std::slice::from_ref(file), hashing, |_| ());
        assert!(matches!(judged(keyed(2)), Err(VerifyError::Key(KeyError::Wrong { .. }))));
        assert!(matches!(judged(Hashing::PLAIN), Err(VerifyError::Key(KeyError::Missing { .. }))));
    }
    assert!(matches!(open(keyed(2)), Err(AuditError::Key(KeyError::Wrong { .. }))));
    assert!(matches!(open(Hashing::PLAIN), Err(AuditError::Key(KeyError::Missing { .. }))));
    assert_eq!(open(keyed(1)).expect("its key").place.segment, 2);
    // With the key, damage is damage.
    let sound = std::fs::read(&path).expect("read");
    let mut changed = sound.clone();
    let at = changed.len() - 100;
    changed[at] ^= 1;
    std::fs::write(&path, &changed).expect("written");
    assert!(matches!(open(keyed(1)), Err(AuditError::Damaged { .. })));
    assert!(matches!(verify(&files, keyed(1), |_| ()), Err(VerifyError::Broken { .. })));
    // The next segment goes on from a sealed one with the same key only.
    std::fs::remove_file(&path).expect("removed");
    assert!(matches!(open(Hashing::PLAIN), Err(AuditError::Key(KeyError::Missing { .. }))));
    assert_eq!(open(keyed(1)).expect("its key").place.segment, 2);
}

#[test]
fn a_journal_without_a_key_is_no_keyed_one() {
    let (_folder, path) = folder();
    write_journal(&path);
    let before = std::fs::read(&path).expect("read");
    let error = Journal::open(&path, "group", keyed(1)).expect_err("it has no key");
    assert!(matches!(error, AuditError::Key(KeyError::NotKeyed { .. })), "{error}");
    assert_eq!(std::fs::read(&path).expect("read"), before);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_torn_tail_is_recovered_without_losing_a_whole_line(cut in 0usize..6000) {
        let (_folder, path) = folder();
        write_journal(&path);
        let bytes = std::fs::read(&path).expect("read");
        let cut = cut % bytes.len();
        std::fs::write(&path, &bytes[..cut]).expect("write");
        let whole = bytes[..cut].iter().filter(|byte| **byte == b'\n').count() as u64;
        let torn = !bytes[..cut].ends_with(b"\n") && cut > 0;
        let journal = open(&path);
        prop_assert_eq!(journal.place.lines, whole);
        prop_assert_eq!(journal.torn.is_some(), torn);
        Written::start(journal, u64::MAX).end();
        let again = verify(std::slice::from_ref(&path), Hashing::PLAIN, |_| ()).expect("sound");
        prop_assert_eq!(again[0].lines, whole + 1 + u64::from(torn));
    }

    #[test]
    fn any_changed_byte_is_found(at in 0usize..100_000, flip in 1u8..=255) {
        let (_folder, path) = folder();
        write_journal(&path);
        let mut bytes = std::fs::read(&path).expect("read");
        let at = at % bytes.len();
        let last_break = at + 1 == bytes.len();
        bytes[at] ^= flip;
        std::fs::write(&path, &bytes).expect("write");
        // Without its line break the last line is a torn one, as after a crash; every other change is damage.
        let torn_only = last_break && bytes[at] != b'\n';
        let opened = Journal::open(&path, "group", Hashing::PLAIN);
        match opened {
            Err(AuditError::Damaged { line, .. }) => {
                let breaks = bytes[..at].iter().filter(|byte| **byte == b'\n').count() as u64;
                prop_assert_eq!(line, breaks + 1);
            }
            Ok(journal) => prop_assert!(torn_only && journal.torn.is_some()),
            Err(other) => prop_assert!(false, "{other}"),
        }
    }

    #[test]
    fn any_line_that_is_removed_doubled_or_moved_is_found(line in 0usize..12, other in 0usize..12, what in 0u8..3) {
        let (_folder, path) = folder();
        write_journal(&path);
        let text = std::fs::read_to_string(&path).expect("read");
        let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
        match what {
            0 => drop(lines.remove(line)),
            1 => lines.insert(other, lines[line]),
            _ => lines.swap(line, other),
        }
        prop_assume!(lines.concat() != text);
        std::fs::write(&path, lines.concat()).expect("write");
        let found = matches!(Journal::open(&path, "group", Hashing::PLAIN), Err(AuditError::Damaged { .. }));
        prop_assert!(found);
    }
}
