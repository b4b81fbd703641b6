//! Positions that the topic does not hold: an event, and the way back.

use std::time::Duration;

use pubsub_kafka::kafka::{Commit, Consumer, ConsumerOptions, Event, Position};

use crate::support::{World, wait_for, wait_until};

fn consumer(world: &World) -> Consumer {
    let options = ConsumerOptions {
        group: world.group.clone(),
        session_timeout: Duration::from_secs(10),
        max_poll_interval: Duration::from_secs(60),
        fetch_ahead_bytes: 1 << 20,
    };
    Consumer::new(&world.settings(), &options).expect("a consumer")
}

#[test]
fn a_refused_position_is_told_and_reading_goes_on_from_another() {
    let Some(world) = World::real("strays", 1) else { return };
    world.send_orders(8);
    world.delete_records(0, 5);
    let mut consumer = consumer(&world);
    consumer.subscribe(&world.topic).expect("subscribed");
    let next = |what: &str, wanted: &dyn Fn(Event) -> Option<i64>, consumer: &mut Consumer| {
        wait_for(what, 30, || consumer.poll(Duration::from_millis(50)).and_then(wanted))
    };
    let assigned = |event| match event {
        Event::Assigned(partitions) => Some(i64::from(partitions[0].partition)),
        _ => None,
    };
    next("the partition", &assigned, &mut consumer);
    let at = pubsub_kafka::record::TopicPartition::new(world.topic.as_str(), 0);
    consumer.assign(&[(at.clone(), Position::At(0))]).expect("assigned");
    let refused = |event| match event {
        Event::OutOfRange(at) => Some(i64::from(at.partition)),
        Event::Record(record) => panic!("offset {} was read", record.offset),
        _ => None,
    };
    let read = |event| match event {
        Event::Record(record) => Some(record.offset),
        _ => None,
    };
    next("the refusal", &refused, &mut consumer);
    consumer.start_again(&at, Position::Beginning).expect("assigned");
    for offset in 5..8 {
        assert_eq!(next("a record", &read, &mut consumer), offset);
    }
    // While it is being read, too.
    consumer.start_again(&at, Position::At(6)).expect("assigned");
    assert_eq!(next("a record", &read, &mut consumer), 6);
    assert!(consumer.close(Duration::from_secs(10)));
}

#[test]
fn a_commit_tells_of_each_partition_whether_it_is_stored() {
    let Some(world) = World::real("commit-report", 1) else { return };
    world.send_orders(3);
    let consumer = consumer(&world);
    let at = |partition| pubsub_kafka::record::TopicPartition::new(world.topic.as_str(), partition);
    let timeout = Duration::from_secs(20);
    let missing = pubsub_kafka::record::TopicPartition::new(format!("{}-missing", world.topic), 0);
    let report =
        consumer.commit_sync(&[commit(at(0), 2), commit(missing.clone(), 1)], timeout).expect("an answer");
    // The client calls the whole commit failed where one of it is; never the other way round.
    assert!(report.offsets.iter().all(|(at, _)| *at != missing), "{report:?}");
    let error = report.error.expect("there is no such topic");
    assert!(error.contains(&missing.to_string()), "{error}");
    assert_eq!(world.committed(), [2]);
    let report = consumer.commit_sync(&[commit(at(0), 3)], timeout).expect("an answer");
    assert_eq!((report.offsets, report.error), (vec![(at(0), 3)], None));
    assert!(consumer.close(timeout));
}

/// How often the client looks at the topic; by default every five minutes.
const ATTENTIVE: [&str; 2] = ["-X", "topic.metadata.refresh.interval.ms=300"];

#[test]
fn partitions_that_are_added_while_the_tracker_runs_are_read_from_their_start() {
    let Some(mut world) = World::real("grown", 1) else { return };
    world.send_orders(5);
    let mut tracker = world.tracker("tracker", &ATTENTIVE);
    tracker.wait_lines(5);
    world.grow(3);
    // Before the tracker knows of them.
    world.partitions = 3;
    world.send_orders(9);
    tracker.wait_lines(14);
    wait_until("everything is committed", 45, || world.committed() == [8, 3, 3]);
    tracker.stop();
    let audit = world.audit("tracker");
    let outcomes: Vec<_> = audit.by_offset().into_keys().collect();
    let expected: Vec<(i32, i64)> =
        (0..8).map(|at| (0, at)).chain((0..3).map(|at| (1, at))).chain((0..3).map(|at| (2, at))).collect();
    assert_eq!(outcomes, expected);
}

#[test]
fn a_topic_that_was_created_again_is_refused_where_the_offsets_fit() {
    let Some(world) = World::real("recreated", 1) else { return };
    world.send_orders(5);
    world.track_to_end("tracker", &[]);
    let log = std::fs::read(world.path("tracker.events")).expect("the log");
    world.delete(&world.topic);
    world.create(&world.topic, 1, &[]);
    world.send_orders(9);
    // Kafka forgets a group's offsets with the topic; a restored backup does not.
    world.commit(0, 5, "");
    let mut tracker = world.tracker("tracker", &["--exit-at-end"]);
    assert_eq!(tracker.ended_within(Duration::from_secs(60)), 6, "{}", tracker.stderr());
    assert!(tracker.stderr().contains("was deleted and created again"), "{}", tracker.stderr());
    assert_eq!(std::fs::read(world.path("tracker.events")).expect("the log"), log, "it wrote something");
    assert_eq!(world.committed(), [5]);
}

#[test]
fn a_topic_that_is_created_again_while_the_tracker_runs_is_refused() {
    let Some(world) = World::real("recreated-running", 1) else { return };
    world.send_orders(5);
    let mut tracker = world.tracker("tracker", &ATTENTIVE);
    tracker.wait_lines(5);
    world.delete(&world.topic);
    wait_until("it has noticed", 60, || tracker.said("gave back") + tracker.said("lost partitions") > 0);
    world.create(&world.topic, 1, &[]);
    world.send_orders(9);
    assert_eq!(tracker.ended_within(Duration::from_secs(60)), 6, "{}", tracker.stderr());
    assert!(tracker.stderr().contains("was deleted and created again"), "{}", tracker.stderr());
    assert_eq!(world.audit("tracker").by_offset().len(), 5);
}

fn commit(at: pubsub_kafka::record::TopicPartition, offset: i64) -> Commit {
    Commit { at, offset, metadata: String::new() }
}
