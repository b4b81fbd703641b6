//! The delivery target: what it is sent, and what becomes of a record when it refuses, fails, hangs or is not there.

use std::collections::BTreeSet;
use std::time::Duration;

use pubsub_kafka::failure::Category;
use pubsub_kafka::models::{AuditEntry, DeadLetter, Outcome};

use crate::support::{Answer, Audit, Target, World, bytes, order, wait_until};

/// The flags of a tracker that delivers, and retries quickly.
fn flags(url: &str) -> Vec<String> {
    let fixed =
        ["--outage-guard", "off", "--max-retries", "3", "--retry-initial", "50ms", "--deliver-to", url];
    fixed.iter().map(|flag| (*flag).to_owned()).collect()
}

fn deliver(world: &World, url: &str, more: &[&str]) -> Audit {
    let flags = flags(url);
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
    world.track_to_end("tracker", &flags)
}

/// One order, and what became of it.
fn deliver_one(flow: &str, target: &str, more: &[&str]) -> Option<(World, AuditEntry)> {
    let world = World::any(flow, 1)?;
    world.send_orders(1);
    let mut audit = deliver(&world, target, more);
    assert_eq!(audit.entries.len(), 1);
    let entry = audit.entries.remove(0);
    assert!(entry.deserialized);
    Some((world, entry))
}

fn dead_lettered(entry: &AuditEntry, reason: Category, attempts: u32) {
    assert_eq!(
        (entry.outcome, entry.failure_reason, entry.attempts),
        (Outcome::DeadLettered, Some(reason), attempts),
        "{:?}",
        entry.error,
    );
}

#[test]
fn each_order_is_one_post_of_its_bytes_over_connections_that_are_kept() {
    let Some(world) = World::any("posts", 3) else { return };
    let target = Target::start(|_| Answer::Status(200));
    world.send_orders(300);
    let audit = deliver(&world, &target.url(), &[]);
    assert_eq!(audit.count(Outcome::Processed), 300);
    audit.follows_offsets();
    let requests = target.requests();
    assert_eq!(requests.len(), 300);
    let outcomes = audit.by_offset();
    let mut keys = BTreeSet::new();
    for request in &requests {
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/orders?from=test"));
        assert_eq!(request.headers["content-type"], "application/json");
        let parts: Vec<_> = request.key().split('/').collect();
        let [topic, partition, offset] = parts[..] else { panic!("{}", request.key()) };
        let at = (partition.parse().expect("a number"), offset.parse().expect("a number"));
        assert_eq!(topic, world.topic);
        assert_eq!(Some(&request.body), outcomes[&at].raw_message.as_ref());
        assert!(keys.insert(at), "{at:?} was posted twice");
    }
    // Each partition delivers one record after the other.
    assert!(target.connections() <= 6, "{} connections for 300 requests", target.connections());
}

#[test]
fn a_target_that_fails_twice_is_asked_three_times() {
    let target = Target::start(|request| Answer::Status(if request.nth <= 2 { 500 } else { 201 }));
    let Some((world, entry)) = deliver_one("fails-twice", &target.url(), &[]) else { return };
    assert_eq!((entry.outcome, entry.attempts), (Outcome::Processed, 3));
    assert_eq!(target.requests().len(), 3);
    assert!(world.read(&world.dlq).is_empty());
}

#[test]
fn a_target_that_always_fails_costs_every_retry_with_its_delay() {
    let target = Target::start(|_| Answer::Text(503, "no room"));
    let Some((world, entry)) = deliver_one("always-503", &target.url(), &["--retry-max", "80ms"]) else {
        return;
    };
    dead_lettered(&entry, Category::Processing, 4);
    let error = entry.error.expect("an error");
    assert!(error.contains("503") && error.contains("no room"), "{error}");
    let key = format!("{}/0/0", world.topic);
    let pauses = target.pauses(&key);
    let least = [50, 80, 80].map(Duration::from_millis);
    assert!(
        pauses.len() == 3 && pauses.iter().zip(least).all(|(pause, least)| *pause >= least),
        "{pauses:?}"
    );
    let letter = only_letter(&world);
    assert_eq!((letter.retry_count, letter.failure_reason), (3, Category::Processing));
    let waited = letter.last_failure.duration_since(letter.first_failure);
    assert!(waited.as_millis() >= 50 + 80 + 80 - 2, "{waited}");
}

#[test]
fn a_target_that_hangs_runs_into_the_time_limit_of_each_attempt() {
    let target = Target::start(|_| Answer::Hang);
    let Some((world, entry)) = deliver_one("hangs", &target.url(), &["--attempt-timeout", "300ms"]) else {
        return;
    };
    dead_lettered(&entry, Category::Timeout, 4);
    assert_eq!(target.requests().len(), 4);
    let letter = only_letter(&world);
    let waited = letter.last_failure.duration_since(letter.first_failure);
    assert!(waited.as_millis() >= 3 * 300 + 50 + 100 + 200 - 2, "{waited}");
}

fn only_letter(world: &World) -> DeadLetter {
    let letters = world.read(&world.dlq);
    assert_eq!(letters.len(), 1);
    serde_json::from_slice(letters[0].value.as_deref().expect("a value")).expect("a letter")
}

#[test]
fn statuses_decide_what_is_retried() {
    for (status, reason, attempts) in [
        (422, Category::Validation, 1),
        (404, Category::Validation, 1),
        (408, Category::Timeout, 4),
        (429, Category::Processing, 4),
    ] {
        let target = Target::start(move |_| Answer::Status(status));
        let Some((_world, entry)) = deliver_one("statuses", &target.url(), &[]) else { return };
        dead_lettered(&entry, reason, attempts);
        assert_eq!(target.requests().len(), attempts as usize, "{status}");
        assert!(entry.error.is_some_and(|error| error.contains(&status.to_string())));
    }
}

#[test]
fn a_target_that_is_not_there_is_a_processing_error() {
    // The port was free a moment ago, and nobody else is told of it.
    let gone =
        std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port").local_addr().expect("an address");
    let Some((_world, entry)) = deliver_one("refused", &format!("http://user:hunter2@{gone}/"), &[]) else {
        return;
    };
    dead_lettered(&entry, Category::Processing, 4);
    let error = entry.error.expect("an error");
    assert!(error.contains("refused") && !error.contains("hunter2"), "{error}");
}

#[test]
fn a_bad_record_is_not_delivered() {
    let Some(world) = World::any("not-delivered", 1) else { return };
    let target = Target::start(|_| Answer::Status(200));
    world.send(vec![world.record(0, None, Some(b"{}")), world.record(0, None, Some(b"{"))]);
    world.send_orders(1);
    let audit = deliver(&world, &target.url(), &[]);
    assert_eq!((audit.entries.len(), target.requests().len()), (3, 1));
    assert_eq!(target.requests()[0].key(), format!("{}/0/2", world.topic));
}

#[test]
fn in_key_order_outcomes_follow_the_offsets_of_each_key() {
    let Some(world) = World::any("by-key", 1) else { return };
    // The first order of each key takes longer than its later ones, and than those of other keys.
    let target = Target::start(|request| {
        if request.key().ends_with("/0") {
            Answer::After(Duration::from_millis(300))
        } else {
            Answer::Status(200)
        }
    });
    let key_of = |number: usize| format!("k-{}", number % 7);
    let record = |number: usize| {
        let order = bytes(&order(&format!("o-{number}")));
        world.record(0, Some(key_of(number).as_bytes()), Some(&order))
    };
    world.send((0..140).map(record).collect());
    let audit = deliver(&world, &target.url(), &["--ordering", "key"]);
    assert_eq!(audit.by_offset().len(), 140);
    for key in 0..7 {
        let name = key_of(key);
        let offsets: Vec<_> = audit
            .entries
            .iter()
            .filter(|entry| entry.kafka_key.as_deref() == Some(name.as_bytes()))
            .map(|entry| entry.kafka_offset)
            .collect();
        assert!(offsets.len() == 20 && offsets.is_sorted(), "{name}: {offsets:?}");
    }
    assert!(audit.entries[0].kafka_offset != 0, "the slow order held back the other keys");
    assert_eq!(world.committed(), [140]);
}

#[test]
fn a_partition_in_retry_for_longer_than_the_poll_interval_stays_and_holds_back_no_other() {
    let Some(world) = World::real("long-retry", 2) else { return };
    let target = Target::start(|request| {
        let stuck = request.body.windows(9).any(|part| part == b"\"stuck-0\"");
        Answer::Status(if stuck { 503 } else { 200 })
    });
    let stuck = bytes(&order("stuck-0"));
    world.send(vec![world.record(0, Some(b"stuck-0"), Some(&stuck))]);
    world.send(vec![world.record(0, Some(b"behind"), Some(&bytes(&order("behind"))))]);
    let url = target.url();
    let limits = ["--max-poll-interval", "6s", "--session-timeout", "6s"];
    let retries =
        ["--max-retries", "2", "--retry-initial", "4500ms", "--outage-guard", "off", "--deliver-to", &url];
    let mut tracker = world.tracker("tracker", &[&limits[..], &retries].concat());
    // While partition 0 waits, partition 1 goes on: a new order whenever the one before has its outcome.
    let mut sent = 0;
    wait_until("partition 0 has an outcome", 60, || {
        let lines = tracker.lines();
        if lines == sent {
            let order = bytes(&order(&format!("free-{sent}")));
            world.send(vec![world.record(1, None, Some(&order))]);
            sent += 1;
        }
        lines > sent
    });
    tracker.wait_lines(sent + 2);
    tracker.stop();
    let audit = world.audit("tracker");
    let outcomes = audit.by_offset();
    dead_lettered(outcomes[&(0, 0)], Category::Processing, 3);
    assert_eq!(outcomes[&(0, 1)].outcome, Outcome::Processed);
    assert!(sent > 5, "partition 1 had {sent} orders only");
    let pauses = target.pauses(&format!("{}/0/0", world.topic));
    assert!(pauses.iter().sum::<Duration>() > Duration::from_secs(9), "{pauses:?}");
    assert_eq!((tracker.said("took over"), tracker.said("gave back"), tracker.said("lost")), (2, 0, 0));
}
