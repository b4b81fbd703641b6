//! Two trackers in one group: partitions change hands under load, and every record has one outcome all the same.

use std::collections::BTreeSet;
use std::time::Duration;

use pubsub_kafka::models::HealthEntry;

use crate::support::{Answer, Running, Target, World, wait_until};

const ORDERS: usize = 3_000;

#[test]
fn a_tracker_joins_and_leaves_under_load_and_every_record_has_one_outcome() {
    let Some(world) = World::real("group", 4) else { return };
    let target = Target::start(|_| Answer::Status(200));
    let count = ORDERS.to_string();
    let flags = ["--seed", "6", "--count", &count, "--rate", "300"];
    let mut producer = world.producer("producer", &[&flags[..], &["--invalid-ratio", "0.05"]].concat());
    let url = target.url();
    let track = |name| world.tracker(name, &["--deliver-to", &url, "--outage-guard", "off"]);

    let mut first = track("first");
    first.wait_lines(200);
    let mut second = track("second");
    second.wait_lines(200);
    assert!(producer.is_running(), "the load ended before the second tracker left");
    second.stop();
    let before = first.lines();
    first.wait_lines(before + 200);

    assert_eq!(producer.ended_within(Duration::from_secs(60)), 0, "{}", producer.stderr());
    wait_until("every record has an outcome", 60, || first.lines() + second.lines() >= ORDERS);
    first.stop();

    let (one, two) = (world.audit("first"), world.audit("second"));
    one.follows_offsets();
    two.follows_offsets();
    let counts = crate::support::counts(one.entries.iter().chain(&two.entries));
    assert_eq!(counts.len(), ORDERS, "records without an outcome");
    let repeated: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
    assert!(repeated.is_empty(), "repeated outcomes: {repeated:?}");
    assert_eq!(world.committed(), world.ends());

    // Whoever leaves in order leaves nothing half done: each valid order was posted once.
    let posted: BTreeSet<_> = target.requests().iter().map(|request| request.key().to_owned()).collect();
    assert_eq!(posted.len(), target.requests().len(), "an order was posted twice");

    // The hand-over is cooperative: what the first one keeps it never gives back.
    assert_eq!((partitions(&first, "took over").len(), partitions(&second, "took over").len()), (6, 2));
    let given = partitions(&first, "gave back");
    assert_eq!(given.len(), 2, "{given:?}");
    assert_eq!(BTreeSet::from_iter(&given), BTreeSet::from_iter(&partitions(&second, "took over")));
}

/// The partitions of the log's lines that begin so.
fn partitions(tracker: &Running, beginning: &str) -> Vec<i64> {
    let number = |line: &HealthEntry| line.metadata.as_ref().and_then(|facts| facts["partition"].as_i64());
    let lines = tracker.log();
    lines.iter().filter(|line| line.message.starts_with(beginning)).filter_map(number).collect()
}
