//! The outage guard: an outage of the delivery target does not move the topic into the dead letter topic, one poisoned
//! key is not an outage, and without the guard each record is on its own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pubsub_kafka::models::Outcome;

use crate::support::{Answer, Audit, Target, World, bytes, http, order, wait_until};

const OPENED: &str = "the delivery target is out";
const STILL_OUT: &str = "the delivery target still fails";
const CLOSED: &str = "the delivery target works again";

const FLAGS: [&str; 8] = [
    "--max-retries",
    "0",
    "--outage-guard-failures",
    "4",
    "--outage-guard-wait",
    "200ms",
    "--outage-guard-probes",
    "2",
];

/// The orders of the source topic by what became of them.
fn dead(audit: &Audit) -> usize {
    audit.count(Outcome::DeadLettered)
}

#[test]
fn an_outage_of_the_target_makes_records_wait_and_costs_few_dead_letters() {
    const ORDERS: usize = 240;
    let Some(world) = World::real("outage", 3) else { return };
    let is_up = Arc::new(AtomicBool::new(true));
    let up = Arc::clone(&is_up);
    let target = Target::start(move |_| Answer::Status(if up.load(Ordering::Acquire) { 200 } else { 503 }));
    let (url, addr) = (target.url(), http::free_addr());
    let served = addr.to_string();
    let flags = [&FLAGS[..], &["--deliver-to", &url, "--metrics-addr", &served]].concat();
    let mut tracker = world.tracker("tracker", &flags);
    let shown = url.split('?').next().expect("an address");
    let state = format!("tracker_circuit_breaker_state{{target=\"{shown}\"}}");
    let of_state = || http::metrics(addr).map(|metrics| metrics[&state]);

    world.send_orders(40);
    tracker.wait_lines(40);
    assert_eq!(of_state(), Some(0.0));

    is_up.store(false, Ordering::Release);
    let record = |number: usize| {
        let id = format!("later-{number}");
        let partition = i32::try_from(number).expect("a small number") % world.partitions;
        world.record(partition, Some(id.as_bytes()), Some(&bytes(&order(&id))))
    };
    world.send((40..ORDERS).map(record).collect());
    tracker.wait_said(OPENED, 1);
    // Probes go on failing: that opens it again each time, and ends nothing.
    tracker.wait_said(STILL_OUT, 3);
    wait_until("the metrics show that it is open", 20, || of_state() == Some(2.0));
    assert_eq!(tracker.lines(), 44, "records that wait have no outcome");

    is_up.store(true, Ordering::Release);
    tracker.wait_said(CLOSED, 1);
    tracker.wait_lines(ORDERS);
    let metrics = http::metrics(addr).expect("metrics");
    assert_eq!(metrics[&state], 0.0);
    assert_eq!(metrics[&format!("tracker_circuit_breaker_opened_total{{target=\"{shown}\"}}")], 1.0);
    tracker.stop();

    let audit = world.audit("tracker");
    assert_eq!(audit.by_offset().len(), ORDERS, "each order has one outcome");
    audit.follows_offsets();
    assert_eq!((dead(&audit), world.read(&world.dlq).len()), (4, 4));
    assert_eq!(world.committed(), world.ends());
    // Each one that was processed was taken by the target.
    let taken: BTreeSet<_> = target.requests().iter().map(|request| request.key().to_owned()).collect();
    assert_eq!(taken.len(), ORDERS);
}

#[test]
fn one_poisoned_key_is_dead_lettered_and_holds_back_nobody() {
    let Some(world) = World::real("poison", 2) else { return };
    let target = Target::start(|request| {
        let poisoned = request.body.windows(6).any(|part| part == b"poison");
        Answer::Status(if poisoned { 503 } else { 200 })
    });
    // More in a row than open the guard, and more among good ones.
    let record = |number: usize| {
        let poisoned = number < 10 || number.is_multiple_of(5);
        let id = if poisoned { "poison".to_owned() } else { format!("good-{number}") };
        world.record(0, Some(id.as_bytes()), Some(&bytes(&order(&id))))
    };
    world.send((0..60).map(record).collect());
    let url = target.url();
    let audit = world.track_to_end("tracker", &[&FLAGS[..], &["--deliver-to", &url]].concat());
    assert_eq!((audit.by_offset().len(), dead(&audit)), (60, 20));
    let poisoned = |key: &Option<Vec<u8>>| key.as_deref() == Some(b"poison");
    assert!(
        audit
            .entries
            .iter()
            .all(|entry| poisoned(&entry.kafka_key) == (entry.outcome == Outcome::DeadLettered))
    );
    let log = std::fs::read_to_string(world.path("tracker.log")).expect("a log");
    assert!(!log.contains(OPENED), "one key opened the guard");
}

#[test]
fn without_the_guard_each_failing_record_is_dead_lettered() {
    let Some(world) = World::real("no-guard", 2) else { return };
    let target = Target::start(|_| Answer::Status(503));
    world.send_orders(60);
    let url = target.url();
    let flags = [&FLAGS[..], &["--deliver-to", &url, "--outage-guard", "off"]].concat();
    let audit = world.track_to_end("tracker", &flags);
    assert_eq!((audit.by_offset().len(), dead(&audit), world.read(&world.dlq).len()), (60, 60, 60));
}
