//! `--exit-at-end`, where the end is not the last record: empty topics, transactions' markers, aborted records.

use std::time::Duration;

use pubsub_kafka::models::Outcome;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use crate::support::{Audit, World, bytes, order};

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn an_empty_topic_is_done_at_once() {
    let Some(world) = World::any("empty", 3) else { return };
    assert!(world.track_to_end("tracker", &[]).entries.is_empty());
}

/// Sends orders to a partition of the source topic in one transaction.
fn transaction(world: &World, producer: &BaseProducer, partition: i32, ids: &[&str], commit: bool) {
    producer.begin_transaction().expect("begun");
    for id in ids {
        let value = bytes(&order(id));
        let record = BaseRecord::to(&world.topic).partition(partition).key(*id).payload(&value);
        producer.send(record).map_err(|(error, _)| error).expect("sent");
    }
    // An abort throws away what has not left the client yet.
    producer.flush(PATIENCE).expect("acknowledged");
    let ended =
        if commit { producer.commit_transaction(PATIENCE) } else { producer.abort_transaction(PATIENCE) };
    ended.expect("ended");
}

fn offsets(audit: &Audit) -> Vec<(i32, i64)> {
    let outcomes = audit.by_offset();
    assert!(outcomes.values().all(|entry| entry.outcome == Outcome::Processed));
    outcomes.into_keys().collect()
}

#[test]
fn only_committed_records_have_outcomes_and_markers_hold_back_no_end() {
    let Some(world) = World::real("transactions", 4) else { return };
    let producer = world.transactional_producer();
    transaction(&world, &producer, 0, &["a", "b"], true);
    transaction(&world, &producer, 1, &["gone"], false);
    transaction(&world, &producer, 2, &["c"], true);
    transaction(&world, &producer, 2, &["gone", "gone too"], false);
    // Two records and a marker; one and a marker; one, a marker, two and a marker; nothing.
    assert_eq!(world.ends(), [3, 2, 5, 0]);
    let audit = world.track_to_end("tracker", &[]);
    assert_eq!(offsets(&audit), [(0, 0), (0, 1), (2, 0)]);
    assert_eq!(world.committed(), [3, 2, 5, 0]);

    // What comes later is found behind the markers, once.
    transaction(&world, &producer, 1, &["gone"], false);
    transaction(&world, &producer, 1, &["d"], true);
    let audit = world.track_to_end("tracker", &[]);
    assert_eq!(offsets(&audit), [(0, 0), (0, 1), (1, 4), (2, 0)]);
    assert_eq!(world.committed(), [3, 6, 5, 0]);
}

#[test]
fn an_open_transaction_is_not_waited_for() {
    let Some(world) = World::real("open-transaction", 1) else { return };
    world.send_orders(2);
    let producer = world.transactional_producer();
    producer.begin_transaction().expect("begun");
    let value = bytes(&order("open"));
    producer
        .send(BaseRecord::<str, [u8]>::to(&world.topic).payload(&value))
        .map_err(|(e, _)| e)
        .expect("sent");
    producer.flush(PATIENCE).expect("acknowledged");
    let audit = world.track_to_end("tracker", &[]);
    assert_eq!(offsets(&audit), [(0, 0), (0, 1)]);
    producer.commit_transaction(PATIENCE).expect("committed");
    let audit = world.track_to_end("tracker", &[]);
    assert_eq!(offsets(&audit), [(0, 0), (0, 1), (0, 2)]);
}
