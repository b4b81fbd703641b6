//! A dead letter topic that takes less than it is given, or nothing at all: nothing is skipped, nothing is committed
//! past, and it goes on when the topic can be written again.

use std::collections::BTreeMap;

use pubsub_kafka::models::{DeadLetter, OriginalPayload, Outcome};

use crate::support::{Running, World, bytes, order};

#[test]
fn a_dead_letter_that_is_too_large_goes_without_its_payload() {
    let Some(world) = World::real("too-large", 1) else { return };
    world.create(&world.dlq, 1, &[("max.message.bytes", "4000")]);
    let (small, large) = (vec![b'x'; 100], vec![b'y'; 20_000]);
    let (key, large_key) = (b"k".to_vec(), vec![b'k'; 5_000]);
    let records = [(&key, &small), (&key, &large), (&large_key, &large)];
    let header = [("trace", Some(&b"1"[..]))];
    let send = |(key, value): &(&Vec<u8>, &Vec<u8>)| {
        World::with_headers(world.record(0, Some(key), Some(value)), &header)
    };
    world.send(records.iter().map(send).collect());
    let audit = world.track_to_end("tracker", &[]);
    assert_eq!(audit.count(Outcome::DeadLettered), 3);

    let letters: BTreeMap<_, _> = world.read(&world.dlq).into_iter().map(|raw| (raw.offset, raw)).collect();
    assert_eq!(letters.len(), 3);
    let hash = blake3::hash(&large).to_hex().to_string();
    let omitted = OriginalPayload::Omitted { hash, size: 20_000 };
    for ((entry, (key, value)), (payload, has_key)) in audit.entries.iter().zip(&records).zip([
        (OriginalPayload::Inline(small.clone()), true),
        (omitted.clone(), true),
        (omitted, false),
    ]) {
        assert_eq!(entry.raw_message.as_ref(), Some(*value), "the audit log keeps the payload whole");
        let raw = &letters[&entry.dlq_offset.expect("an offset")];
        let letter: DeadLetter =
            serde_json::from_slice(raw.value.as_deref().expect("a value")).expect("a letter");
        assert_eq!((Some(letter.id), &letter.original_payload), (entry.dlq_id, &payload));
        let key = has_key.then_some(*key);
        assert_eq!((letter.original_key.as_ref(), raw.key.as_ref()), (key, key));
        assert_eq!(raw.header("trace").len(), usize::from(has_key));
        assert_eq!(raw.header("dlq.reason"), [Some(&b"DESERIALIZATION_ERROR"[..])]);
        assert_eq!(raw.header("kafka_dlt-original-offset"), [Some(&entry.kafka_offset.to_be_bytes()[..])]);
    }
}

/// Nothing fits in 100 bytes.
fn refuse(world: &World) {
    world.alter(&world.dlq, "max.message.bytes", "100");
}

/// Sends one order to partition 1 and waits for its outcome: the other partitions go on.
fn others_go_on(world: &World, tracker: &Running) {
    let before = tracker.lines();
    world.send(vec![world.record(1, None, Some(&bytes(&order("free"))))]);
    tracker.wait_lines(before + 1);
}

/// Partition 0: an order, something bad, an order.
fn send_with_a_bad_one(world: &World) {
    let good = bytes(&order("o"));
    let values = [&good[..], b"not an order", &good];
    world.send(values.map(|value| world.record(0, Some(b"k"), Some(value))).into());
}

#[test]
fn a_dead_letter_topic_that_refuses_writes_holds_back_its_partition_alone() {
    let Some(world) = World::real("refuses", 2) else { return };
    world.create(&world.dlq, 2, &[]);
    let mut tracker = world.tracker("tracker", &["--commit-interval", "100ms"]);
    tracker.wait_said("took over", 2);
    refuse(&world);
    send_with_a_bad_one(&world);
    tracker.wait_lines(1);
    for _ in 0..5 {
        others_go_on(&world, &tracker);
    }
    tracker.wait_said("a dead letter cannot be stored", 1);
    others_go_on(&world, &tracker);
    crate::support::wait_until("partition 1 is committed", 20, || world.committed()[1] == 6);
    assert_eq!((world.committed()[0], tracker.lines()), (1, 7), "something of partition 0 was skipped");

    world.alter(&world.dlq, "max.message.bytes", "1000000");
    tracker.wait_lines(9);
    tracker.stop();
    the_bad_one_is_safe(&world);
}

#[test]
fn a_dead_letter_topic_that_is_deleted_is_waited_for() {
    let Some(world) = World::real("deleted", 2) else { return };
    // The client gives up on an unknown topic after this time instead of 30 s.
    let flags =
        ["-X", "topic.metadata.propagation.max.ms=1000", "-X", "topic.metadata.refresh.interval.ms=1000"];
    let mut tracker = world.tracker("tracker", &[&flags[..], &["--commit-interval", "100ms"]].concat());
    tracker.wait_said("took over", 2);
    world.delete(&world.dlq);
    send_with_a_bad_one(&world);
    tracker.wait_said("a dead letter cannot be stored", 1);
    others_go_on(&world, &tracker);
    crate::support::wait_until("partition 1 is committed", 20, || world.committed()[1] == 1);
    assert_eq!((world.committed()[0], tracker.lines()), (1, 2), "something of partition 0 was skipped");

    world.create(&world.dlq, 2, &[]);
    tracker.wait_lines(4);
    tracker.stop();
    the_bad_one_is_safe(&world);
}

#[test]
fn a_stop_does_not_wait_for_a_dead_letter_topic_that_cannot_be_written() {
    let Some(world) = World::real("refuses-stop", 2) else { return };
    world.create(&world.dlq, 2, &[]);
    let mut tracker = world.tracker("tracker", &["--shutdown-timeout", "1s"]);
    tracker.wait_said("took over", 2);
    refuse(&world);
    send_with_a_bad_one(&world);
    tracker.wait_lines(1);
    tracker.stop();
    assert_eq!((world.committed(), world.audit("tracker").entries.len()), (vec![1, 0], 1));
    world.alter(&world.dlq, "max.message.bytes", "1000000");
    world.track_to_end("tracker", &[]);
    the_bad_one_is_safe(&world);
}

/// Every record of partition 0 has one outcome, in its order, and the dead letter is where its line says.
fn the_bad_one_is_safe(world: &World) {
    let audit = world.audit("tracker");
    audit.follows_offsets();
    let outcomes = audit.by_offset();
    assert_eq!(world.committed(), world.ends());
    let found = [0, 1, 2].map(|offset| outcomes[&(0, offset)].outcome);
    assert_eq!(found, [Outcome::Processed, Outcome::DeadLettered, Outcome::Processed]);
    let bad = outcomes[&(0, 1)];
    let letters = world.read(&world.dlq);
    let letter = letters
        .iter()
        .find(|raw| (Some(raw.partition), Some(raw.offset)) == (bad.dlq_partition, bad.dlq_offset));
    let value = letter.expect("the letter").value.as_deref().expect("a value");
    let letter: DeadLetter = serde_json::from_slice(value).expect("a letter");
    assert_eq!(Some(letter.id), bad.dlq_id);
    // The refusal may have ended between the letter with its payload and the smaller one.
    let hash = blake3::hash(b"not an order").to_hex().to_string();
    let whole = OriginalPayload::Inline(b"not an order".to_vec());
    let payload = letter.original_payload;
    assert!(payload == whole || payload == OriginalPayload::Omitted { hash, size: 12 }, "{payload:?}");
}
