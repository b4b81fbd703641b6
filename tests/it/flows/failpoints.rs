//! The tracker dies, or its disk fails, at each named place: afterwards every record has one outcome, a dead letter that
//! was published is not processed as well, and nothing is dead-lettered twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use pubsub_kafka::dlq::{Envelope, Exhausted};
use pubsub_kafka::failure::{Category, Failure};
use pubsub_kafka::kafka::Outgoing;
use pubsub_kafka::models::Outcome;
use pubsub_kafka::record::{Header, Record};

use crate::support::{Answer, Running, Target, World, program};

const ORDERS: usize = 12;
const FLAGS: [&str; 6] = ["--session-timeout", "6s", "--outage-guard", "off", "--commit-interval", "100ms"];

/// Lets a tracker run until it dies at the failpoint while its target answers so, heals the target, and lets another run
/// to the end.
fn die_and_go_on(flow: &str, failpoint: &str, expected: i32, answers: u16) {
    let Some(world) = World::real(flow, 1) else { return };
    world.create(&world.dlq, 1, &[]);
    world.send_orders(ORDERS);
    let status = Arc::new(AtomicU16::new(answers));
    let answering = Arc::clone(&status);
    let target = Target::start(move |_| Answer::Status(answering.load(Ordering::Relaxed)));
    let url = target.url();
    let flags = [&FLAGS[..], &["--deliver-to", &url]].concat();

    let mut command = program(env!("CARGO_BIN_EXE_tracker"));
    command.args(world.tracker_flags("tracker")).args(&flags).env("PUBSUB_KAFKA_FAILPOINT", failpoint);
    let mut dying = Running::spawn(command, &world.path(""), "tracker");
    assert_eq!(dying.ended_within(Duration::from_secs(60)), expected, "{failpoint}: {}", dying.stderr());
    let letters_before = world.read(&world.dlq).len();
    let left = std::fs::read(world.path("tracker.events")).expect("the journal");

    status.store(200, Ordering::Relaxed);
    let audit = world.track_to_end("tracker", &flags);
    let outcomes = audit.by_offset();
    assert_eq!(outcomes.len(), ORDERS, "{failpoint}: records without an outcome");
    assert_eq!(world.committed(), world.ends(), "{failpoint}");
    let letters = world.read(&world.dlq);
    assert_eq!(letters.len(), letters_before, "{failpoint}: a record was dead-lettered again");
    assert_eq!(letters.len(), audit.count(Outcome::DeadLettered), "{failpoint}");
    if failpoint.starts_with("fsync-error") {
        // The page cache still showed lines, and nobody believed them.
        let cut = std::fs::read(side_file(&world)).expect("what was cut");
        assert!(
            !cut.is_empty() && left.ends_with(&cut),
            "{failpoint}: {} of {} bytes",
            cut.len(),
            left.len()
        );
        assert!(!world.path(".tracker.events.unsynced").exists(), "{failpoint}");
    }
    if answers != 200 {
        assert!(!letters.is_empty(), "{failpoint}: it died too early to show anything");
    }

    // Whoever has a dead letter was refused, and is not handed on again now that the target is well.
    let mut posts: BTreeMap<String, usize> = BTreeMap::new();
    for request in target.requests() {
        *posts.entry(request.key().to_owned()).or_default() += 1;
    }
    for entry in outcomes.values().filter(|entry| entry.outcome == Outcome::DeadLettered) {
        let key = format!("{}/0/{}", world.topic, entry.kafka_offset);
        assert_eq!(posts.get(&key), Some(&1), "{failpoint}: {key} was dead-lettered and processed");
    }
}

/// The one side file beside the journal.
fn side_file(world: &World) -> std::path::PathBuf {
    let files =
        std::fs::read_dir(world.path("")).expect("a folder").map(|entry| entry.expect("an entry").path());
    let is_side = |path: &std::path::PathBuf| path.to_string_lossy().contains("tracker.events.torn-");
    let sides: Vec<_> = files.filter(is_side).collect();
    let [side] = &sides[..] else { panic!("one side file, not {sides:?}") };
    side.clone()
}

/// Each has to wait until the group gives the dead member up, so they wait together.
fn all_of(flow: &str, cases: &[(&str, i32)], answers: u16) {
    std::thread::scope(|scope| {
        for (failpoint, expected) in cases {
            scope.spawn(move || die_and_go_on(flow, failpoint, *expected, answers));
        }
    });
}

#[test]
fn good_records_have_one_outcome_wherever_the_tracker_dies() {
    let cases =
        [("after-append:4", -9), ("after-fdatasync:4", -9), ("before-commit:1", -9), ("power-cut:4", -9)];
    all_of("dies-good", &cases, 200);
}

#[test]
fn a_published_dead_letter_is_not_processed_as_well_wherever_the_tracker_dies() {
    let cases =
        [("after-publish:3", -9), ("after-append:4", -9), ("after-fdatasync:4", -9), ("before-commit:1", -9)];
    all_of("dies-bad", &cases, 422);
}

#[test]
fn a_dead_letter_without_its_payload_is_known_again_as_well() {
    let Some(world) = World::real("dies-large", 1) else { return };
    world.create(&world.dlq, 1, &[("max.message.bytes", "3000")]);
    // One goes without its payload, one without anything, one has none.
    let header = Header::new("h", vec![b'x'; 4000]);
    let value = "x".repeat(6000);
    let mut records: Vec<_> = (0..3).map(|_| world.record(0, Some(b"k"), Some(value.as_bytes()))).collect();
    records[1].headers = vec![header.clone()];
    records[2] = Outgoing { headers: vec![header], ..world.record(0, Some(b"k"), None) };
    world.send(records);
    let mut command = program(env!("CARGO_BIN_EXE_tracker"));
    command.args(world.tracker_flags("tracker")).args(FLAGS).env("PUBSUB_KAFKA_FAILPOINT", "after-publish:3");
    let mut dying = Running::spawn(command, &world.path(""), "tracker");
    assert_eq!(dying.ended_within(Duration::from_secs(60)), -9, "{}", dying.stderr());
    assert_eq!(world.read(&world.dlq).len(), 3);
    let audit = world.track_to_end("tracker", &FLAGS);
    assert_eq!((audit.by_offset().len(), audit.count(Outcome::DeadLettered)), (3, 3));
    assert_eq!(world.read(&world.dlq).len(), 3, "a record was dead-lettered again");
    #[cfg(feature = "audit")]
    {
        let mut prove = program(env!("CARGO_BIN_EXE_audit"));
        prove.args(["prove", "-b", &world.servers, "--topic", &world.topic, "--group", &world.group]);
        let output = prove.args(["--dlq-topic", &world.dlq]).arg(world.path("tracker.events")).output();
        let output = output.expect("audit runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_letter_that_is_not_of_its_record_keeps_nothing_from_being_processed() {
    let Some(world) = World::real("foreign-letters", 1) else { return };
    world.create(&world.dlq, 1, &[]);
    world.send_orders(2);
    world.run_to_end("tracker", &FLAGS);
    // As from another cluster, or before the topic was made again: right in all but what it holds.
    let exhausted = Exhausted::at_once(Failure::new(Category::Processing, "503"));
    let letter = |offset, value: &'static str| {
        let record = Record::new(world.topic.as_str(), 0, offset).with_key("k").with_value(value);
        let envelope = Envelope::seal(&record, &exhausted, &world.group, "host");
        Outgoing {
            topic: world.dlq.as_str().into(),
            headers: envelope.headers().cloned().collect(),
            ..world.record(0, Some(b"k"), Some(&envelope.value()))
        }
    };
    world.send(vec![letter(2, "another"), letter(9, "another"), letter(i64::MAX, "another")]);
    world.send_orders(10);
    let audit = world.track_to_end("tracker", &FLAGS);
    assert_eq!((audit.by_offset().len(), audit.count(Outcome::Processed)), (12, 12));
}

#[test]
fn a_failed_sync_ends_the_tracker_and_what_was_lost_is_done_again() {
    all_of("sync-fails-good", &[("fsync-error:4", 1)], 200);
    all_of("sync-fails-bad", &[("fsync-error:4", 1)], 422);
}

#[test]
fn a_crash_between_two_segments_loses_neither() {
    let Some(world) = World::real("segments", 1) else { return };
    for point in ["after-seal", "after-rename"] {
        world.send_orders(200);
        let mut command = program(env!("CARGO_BIN_EXE_tracker"));
        command.args(world.tracker_flags("tracker")).args(FLAGS).args(["--events-max-bytes", "64KiB"]);
        command.env("PUBSUB_KAFKA_FAILPOINT", point);
        let mut dying = Running::spawn(command, &world.path(""), "tracker");
        assert_eq!(dying.ended_within(Duration::from_secs(60)), -9, "{point}: {}", dying.stderr());
    }
    world.run_to_end("tracker", &[&FLAGS[..], &["--events-max-bytes", "64KiB"]].concat());
    let text = (1..)
        .map(|segment| world.path(&format!("tracker.events.{segment:06}")))
        .take_while(|path| path.exists())
        .chain([world.path("tracker.events")])
        .map(|path| std::fs::read_to_string(path).expect("a segment"))
        .collect::<String>();
    std::fs::write(world.path("whole.events"), text).expect("written");
    assert_eq!(world.audit("whole").by_offset().len(), 400);
    assert_eq!(world.committed(), world.ends());
}
