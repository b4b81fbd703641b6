//! `kill -9` under load: nothing is lost, and the audit log is whole afterwards.

use std::io::Write as _;

use pubsub_kafka::dlq::{self, Handler, HandlerConfig, KafkaSink, KafkaSinkConfig};
use pubsub_kafka::failure::{Category, Failure};
use pubsub_kafka::models::{HealthEntry, Outcome};
use pubsub_kafka::record::Record;

use crate::support::{Answer, Target, World};

const ORDERS: usize = 1_500;

/// How long a group waits for a member that was killed: the least that Kafka allows.
const SESSION: [&str; 4] = ["--session-timeout", "6s", "--outage-guard", "off"];

#[test]
fn a_killed_tracker_loses_nothing_and_its_log_goes_on() {
    let Some(world) = World::any("killed", 3) else { return };
    world.send_orders(ORDERS);
    world.send(vec![world.record(0, None, Some(b"not an order"))]);
    let target = Target::start(|_| Answer::After(std::time::Duration::from_millis(3)));
    let url = target.url();
    let flags = [&SESSION[..], &["--deliver-to", &url]].concat();
    for _ in 0..2 {
        let mut tracker = world.tracker("tracker", &flags);
        tracker.wait_lines(tracker.lines() + 150);
        tracker.signal("KILL");
        assert_eq!(tracker.ended_within(std::time::Duration::from_secs(10)), -9);
        assert!(tracker.lines() < ORDERS, "there was nothing left to lose");
    }
    let audit = world.track_to_end("tracker", &flags);
    let counts = audit.counts();
    assert_eq!(counts.len(), ORDERS + 1, "records without an outcome");
    assert_eq!(audit.count(Outcome::DeadLettered), 1);
    let repeated: usize = counts.values().map(|count| count - 1).sum();
    if world.is_real {
        assert_eq!(repeated, 0, "outcomes that the log had already are repeated");
    } else {
        // The embedded broker does not tell a topic's id, without which the log's outcomes cannot be relied on.
        assert!(repeated < ORDERS, "{repeated} outcomes are repeated");
    }
    assert_eq!(world.committed(), world.ends());
}

#[test]
fn a_torn_last_line_is_moved_aside_and_the_chain_goes_on() {
    let Some(world) = World::any("torn", 1) else { return };
    world.send_orders(20);
    let before = world.track_to_end("tracker", &[]);
    let torn = &before.lines[7].as_bytes()[..100];
    let mut file = std::fs::File::options().append(true).open(world.path("tracker.events")).expect("the log");
    file.write_all(torn).expect("written");
    drop(file);

    world.send_orders(5);
    let after = world.track_to_end("tracker", &[]);
    assert_eq!(after.by_offset().len(), 25);
    assert_eq!(after.lines[..before.lines.len()], before.lines);
    let side_file = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("tracker.events.");
    let folder = std::fs::read_dir(world.path("")).expect("the folder");
    let side: Vec<_> =
        folder.map(|file| file.expect("a file")).filter(|file| side_file(&file.file_name())).collect();
    assert_eq!(side.len(), 1, "{side:?}");
    assert_eq!(std::fs::read(side[0].path()).expect("the side file"), torn);
    let log = std::fs::read_to_string(world.path("tracker.log")).expect("the health log");
    let mut lines = log.lines().map(|line| serde_json::from_str::<HealthEntry>(line).expect("JSON"));
    assert!(lines.any(|line| line.message.contains("torn")), "{log}");
}

#[test]
fn a_damaged_last_line_stops_the_start() {
    let Some(world) = World::any("damaged", 1) else { return };
    world.send_orders(3);
    world.track_to_end("tracker", &[]);
    let path = world.path("tracker.events");
    let mut log = std::fs::read(&path).expect("the log");
    let end = log.len() - 5;
    log[end..].copy_from_slice(b"zz\"}\n");
    std::fs::write(&path, &log).expect("written");
    let mut tracker = world.tracker("tracker", &["--exit-at-end"]);
    assert_eq!(tracker.ended_within(std::time::Duration::from_secs(60)), 6, "{}", tracker.stderr());
    assert!(tracker.stderr().contains("tracker.events"), "{}", tracker.stderr());
    assert_eq!(std::fs::read(&path).expect("the log"), log, "the evidence was touched");
}

#[test]
fn two_trackers_do_not_share_an_audit_log() {
    let Some(world) = World::any("shared-log", 1) else { return };
    let mut first = world.tracker("tracker", &[]);
    first.wait_said("took over", 1);
    let mut second = world.tracker("tracker", &[]);
    assert_eq!(second.ended_within(std::time::Duration::from_secs(60)), 2, "{}", second.stderr());
    let said = format!("is in use by another tracker (pid {} on ", first.pid());
    assert!(second.stderr().contains(&said), "{}", second.stderr());
    first.stop();
}

#[test]
fn a_dead_letter_published_just_before_a_crash_gets_its_line_and_is_not_processed() {
    let Some(world) = World::real("published", 1) else { return };
    world.create(&world.dlq, 1, &[]);
    world.send_orders(3);
    // As a tracker leaves it that dies between the acknowledgement of a dead letter and its line: nothing is committed
    // beyond the start, and the letter of offset 1 is there. The target that failed works again.
    let source = world.read(&world.topic);
    let payload = source[1].value.clone().expect("an order");
    world.run(async {
        let config =
            KafkaSinkConfig { topic: world.dlq.clone(), partitions: 1, max_message_bytes: 1_000_000 };
        let sink = KafkaSink::new(&world.settings(), config).expect("a sink");
        let handler = Handler::new(HandlerConfig::new(world.group.as_str()), sink);
        let key = source[1].key.clone().expect("a key");
        let record = Record::new(world.topic.as_str(), 0, 1).with_key(key).with_value(payload);
        let refuse = |_| async { Err::<(), _>(Failure::new(Category::Validation, "422")) };
        let outcome = handler.process_with_retry(&record, refuse).await.expect("acknowledged");
        assert!(matches!(outcome, dlq::Outcome::DeadLettered(_)));
    });
    world.commit(0, 0, "dlq-from=0");

    let audit = world.track_to_end("tracker", &[]);
    let outcomes = audit.by_offset();
    assert_eq!(outcomes.len(), 3);
    let letter = outcomes[&(0, 1)];
    assert_eq!((letter.outcome, letter.dlq_offset), (Outcome::DeadLettered, Some(0)));
    assert_eq!(letter.failure_reason, Some(Category::Validation));
    assert_eq!(audit.count(Outcome::Processed), 2);
    assert_eq!(world.read(&world.dlq).len(), 1, "it was dead-lettered again");
    assert_eq!(world.committed(), world.ends());
}
