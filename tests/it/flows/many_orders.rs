//! Many orders, all kinds of bad ones among them: every outcome is what the record itself says, and everything that was
//! in a record is still there afterwards.

use std::collections::BTreeMap;
use std::time::Duration;

use pubsub_kafka::failure::Category;
use pubsub_kafka::models::{DeadLetter, DecodeLimits, HealthEntry, Outcome, decode, validate};

use crate::support::{Audit, Raw, World};

/// What must become of a record.
fn expected(record: &Raw) -> (bool, Option<Category>) {
    match decode(record.value.as_deref(), &DecodeLimits::default()) {
        Err(error) => (false, Some(error.category())),
        Ok(order) => (true, validate(&order).err().map(|error| error.category())),
    }
}

fn produce(world: &World, count: usize) -> Vec<Raw> {
    let count_flag = count.to_string();
    let flags = ["--seed", "20260", "--count", &count_flag, "--rate", "max", "--invalid-ratio", "0.15"];
    let mut producer = world.producer("producer", &[&flags[..], &["--malformed-ratio", "0.1"]].concat());
    assert_eq!(producer.ended_within(Duration::from_secs(60)), 0, "{}", producer.stderr());
    let said = producer.stdout();
    let last = said.trim_end().lines().last().unwrap_or_default().to_owned();
    assert!(last.ends_with(&format!("sent {count}, acknowledged {count}, failed 0")), "{last}");
    let records = world.read(&world.topic);
    assert_eq!(records.len(), count);
    records
}

#[test]
fn ten_thousand_orders_have_each_the_outcome_that_they_deserve() {
    let Some(world) = World::any("many", 4) else { return };
    // The embedded broker keeps 5 MiB for each partition.
    let count = if world.is_real { 10_000 } else { 4_000 };
    let source = produce(&world, count);
    let audit = world.track_to_end("tracker", &["--metrics-interval", "100ms"]);

    every_record_has_its_outcome(&audit, &source);
    every_dead_letter_holds_its_record(&world, &audit, &source);
    audit.follows_offsets();
    assert_eq!(world.committed(), world.ends());
    the_health_log_counts_the_same(&world, &audit);

    let again = world.track_to_end("tracker", &[]);
    assert!(again.counts() == audit.counts(), "a second run found something to do");
}

fn every_record_has_its_outcome(audit: &Audit, source: &[Raw]) {
    let outcomes = audit.by_offset();
    assert_eq!(outcomes.len(), source.len());
    let mut seen: BTreeMap<Option<Category>, usize> = BTreeMap::new();
    for record in source {
        let entry = outcomes[&(record.partition, record.offset)];
        let (deserialized, reason) = expected(record);
        assert_eq!((entry.deserialized, entry.failure_reason), (deserialized, reason), "{entry:?}");
        let outcome = if reason.is_none() { Outcome::Processed } else { Outcome::DeadLettered };
        assert_eq!((entry.outcome, entry.attempts), (outcome, 1), "{entry:?}");
        assert_eq!(entry.error.is_some(), reason.is_some(), "{entry:?}");
        assert_eq!(entry.raw_message, record.value, "{entry:?}");
        assert_eq!(entry.kafka_key, record.key, "{entry:?}");
        assert_eq!(entry.message_size, record.value.as_ref().map_or(0, Vec::len) as u64);
        let order = entry.order_full.as_ref().map(|order| order.get().as_bytes().to_vec());
        // What the producer makes has no line breaks: byte for byte.
        assert_eq!(order, record.value.clone().filter(|_| deserialized), "{entry:?}");
        *seen.entry(reason).or_default() += 1;
    }
    let share = |reason| seen.get(&reason).copied().unwrap_or(0) as f64 / source.len() as f64;
    assert!((0.12..0.18).contains(&share(Some(Category::Validation))), "{seen:?}");
    assert!((0.08..0.12).contains(&share(Some(Category::Deserialization))), "{seen:?}");
    assert_eq!(seen.len(), 3, "{seen:?}");
}

fn every_dead_letter_holds_its_record(world: &World, audit: &Audit, source: &[Raw]) {
    let letters: BTreeMap<_, _> = world
        .read(&world.dlq)
        .into_iter()
        .map(|letter| ((letter.partition, letter.offset), letter))
        .collect();
    assert_eq!(letters.len(), audit.count(Outcome::DeadLettered));
    let outcomes = audit.by_offset();
    for record in source {
        let entry = outcomes[&(record.partition, record.offset)];
        if entry.outcome == Outcome::Processed {
            assert_eq!((entry.dlq_id, entry.dlq_partition, entry.dlq_offset), (None, None, None));
            continue;
        }
        let at = (entry.dlq_partition.expect("a partition"), entry.dlq_offset.expect("an offset"));
        assert_eq!(at.0, record.partition, "the origin's partition number");
        let raw = &letters[&at];
        let letter: DeadLetter =
            serde_json::from_slice(raw.value.as_deref().expect("a value")).expect("a letter");
        assert_eq!(Some(letter.id), entry.dlq_id);
        let origin = (letter.original_partition, letter.original_offset);
        assert_eq!(
            (letter.original_topic.as_str(), origin),
            (&*world.topic, (record.partition, record.offset))
        );
        assert_eq!((&letter.original_key, &raw.key), (&record.key, &record.key));
        assert_eq!(letter.original_payload.bytes(), record.value.as_deref());
        assert_eq!((Some(letter.failure_reason), letter.retry_count), (entry.failure_reason, 0));
        assert_eq!(Some(&letter.error_message), entry.error.as_ref());
        assert_eq!(letter.consumer_group, world.group);
    }
}

fn the_health_log_counts_the_same(world: &World, audit: &Audit) {
    let text = std::fs::read_to_string(world.path("tracker.log")).expect("a health log");
    let lines: Vec<HealthEntry> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let last = lines.iter().rfind(|line| line.message == HealthEntry::METRICS).expect("metrics");
    let metadata = last.metadata.as_ref().expect("counts");
    let dead = |category| audit.entries.iter().filter(|entry| entry.failure_reason == Some(category)).count();
    for (name, count) in [
        ("received", audit.entries.len()),
        ("processed", audit.count(Outcome::Processed)),
        ("dead_lettered", audit.count(Outcome::DeadLettered)),
        ("deserialization_errors", dead(Category::Deserialization)),
        ("validation_errors", dead(Category::Validation)),
        ("processing_errors", 0),
        ("timeout_errors", 0),
        ("unknown_errors", 0),
        ("retries", 0),
        ("in_flight", 0),
        // All were assigned until the end.
        ("partitions", usize::try_from(world.partitions).expect("a count")),
    ] {
        assert_eq!(metadata[name], count, "{name}");
    }
}

#[test]
fn the_same_seed_gives_the_same_payloads_in_the_same_sequence() {
    let payloads = |flow| {
        let world = World::any(flow, 2)?;
        let records = produce(&world, 1_000);
        Some(records.into_iter().map(|r| (r.partition, r.offset, r.key, r.value)).collect::<Vec<_>>())
    };
    let (Some(one), Some(two)) = (payloads("seed-one"), payloads("seed-two")) else { return };
    assert!(one == two, "the same seed gave other records");
}
