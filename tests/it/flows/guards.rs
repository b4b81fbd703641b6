//! What stands around the delivery target besides the outage guard: how many attempts run at once and how many a second,
//! and that what waits for its turn is no attempt when the target goes away meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pubsub_kafka::models::Outcome;

use crate::support::{Answer, Target, World, http, wait_until};

#[test]
fn so_many_deliveries_run_at_once_and_no_more() {
    const ORDERS: usize = 60;
    let Some(world) = World::any("places", 3) else { return };
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counters = (Arc::clone(&now), Arc::clone(&most));
    let target = Target::start(move |_| {
        let (now, most) = &counters;
        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(50));
        now.fetch_sub(1, Ordering::SeqCst);
        Answer::Status(200)
    });
    world.send_orders(ORDERS);
    let (url, addr) = (target.url(), http::free_addr());
    let served = addr.to_string();
    let flags = ["--ordering", "key", "--concurrency", "4", "--deliver-to", &url, "--metrics-addr", &served];
    let mut tracker = world.tracker("tracker", &flags);
    tracker.wait_lines(ORDERS);
    let metrics = http::metrics(addr).expect("metrics");
    let shown = url.split('?').next().expect("an address");
    let figure = |name: &str, more: &str| metrics[&format!("{name}{{target=\"{shown}\"{more}}}")];
    assert_eq!(figure("tracker_delivery_attempts_total", ",result=\"done\""), ORDERS as f64);
    assert_eq!(figure("tracker_delivery_attempts_total", ",result=\"TIMEOUT_ERROR\""), 0.0);
    assert_eq!((figure("tracker_delivery_running", ""), figure("tracker_delivery_waiting", "")), (0.0, 0.0));
    assert_eq!(figure("tracker_delivery_rate_limited_total", ""), 0.0);
    tracker.stop();
    assert_eq!(most.load(Ordering::SeqCst), 4);
    assert_eq!(world.audit("tracker").by_offset().len(), ORDERS);
}

#[test]
fn deliveries_keep_to_their_rate_and_retries_are_counted_in() {
    const ORDERS: usize = 40;
    let Some(world) = World::any("rate", 3) else { return };
    // Each order is refused once.
    let target = Target::start(|request| Answer::Status(if request.nth == 1 { 503 } else { 200 }));
    world.send_orders(ORDERS);
    let (url, addr) = (target.url(), http::free_addr());
    let served = addr.to_string();
    let retries = ["--retry-initial", "1ms", "--outage-guard", "off", "--metrics-addr", &served];
    let flags = ["--ordering", "key", "--deliver-rate", "40", "--deliver-to", &url];
    let mut tracker = world.tracker("tracker", &[&flags[..], &retries].concat());
    tracker.wait_lines(ORDERS);
    let metrics = http::metrics(addr).expect("metrics");
    let shown = url.split('?').next().expect("an address");
    let held = metrics[&format!("tracker_delivery_rate_limited_total{{target=\"{shown}\"}}")];
    assert!(held > ORDERS as f64, "{held} attempts had to wait");
    tracker.stop();
    let audit = world.audit("tracker");
    assert!(audit.entries.iter().all(|entry| (entry.outcome, entry.attempts) == (Outcome::Processed, 2)));
    let requests = target.requests();
    assert_eq!(requests.len(), 2 * ORDERS);
    let (first, last) = (requests[0].at, requests[requests.len() - 1].at);
    // A tenth of a second's tokens is there at the start.
    let least = (2 * ORDERS - 1 - 4) as f64 / 40.0;
    assert!((last - first).as_secs_f64() > least - 0.1, "{:?} for {} requests", last - first, requests.len());
}

#[test]
fn what_waits_for_its_turn_when_the_target_goes_away_is_not_sent() {
    const ORDERS: usize = 300;
    let Some(world) = World::any("not-sent", 3) else { return };
    let target = Target::start(|_| Answer::Status(503));
    world.send_orders(ORDERS);
    let url = target.url();
    let flags = ["--ordering", "key", "--concurrency", "8", "--max-retries", "0", "--deliver-to", &url];
    let mut tracker = world.tracker("tracker", &[&flags[..], &["--outage-guard-failures", "4"]].concat());
    tracker.wait_said("the delivery target is out", 1);
    // Whatever was let in before has come back to the guard once nothing runs any more.
    wait_until("the dead letters have their lines", 30, || tracker.lines() >= 4);
    tracker.stop();
    let (sent, audit) = (target.requests().len(), world.audit("tracker"));
    assert_eq!((audit.entries.len(), audit.count(Outcome::DeadLettered)), (4, 4));
    assert!((4..=12).contains(&sent), "{sent} of {ORDERS} were sent to a target that is out");
}
