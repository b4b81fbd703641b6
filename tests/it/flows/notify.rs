//! Secondary targets: they are told of every outcome that is on disk, and whatever they do, the pipeline does not notice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pubsub_kafka::failure::Category;
use pubsub_kafka::models::Outcome;

use crate::support::{Answer, Running, Target, World, bytes, http, order, wait_until};

/// What a tracker said at its end of each secondary target, by address.
fn last_words(tracker: &Running) -> BTreeMap<String, BTreeMap<String, u64>> {
    let lines = tracker.log().into_iter().filter(|line| line.message.starts_with("posted outcomes"));
    let counts = |line: pubsub_kafka::models::HealthEntry| {
        let metadata = line.metadata.expect("counts");
        let target = metadata["target_url"].as_str().expect("an address").to_owned();
        let counts = metadata.iter().filter_map(|(name, value)| Some((name.clone(), value.as_u64()?)));
        (target, counts.collect())
    };
    lines.map(counts).collect()
}

fn shown(target: &Target) -> String {
    target.url().split('?').next().expect("an address").to_owned()
}

#[test]
fn every_outcome_is_posted_once_after_its_line_is_on_disk() {
    let Some(world) = World::any("told", 3) else { return };
    let (events, early) = (world.path("tracker.events"), Arc::new(Mutex::new(Vec::new())));
    let too_early = Arc::clone(&early);
    let first = Target::start(move |request| {
        let parts: Vec<_> = request.key().split('/').collect();
        let line = format!("\"kafka_partition\":{},\"kafka_offset\":{},", parts[1], parts[2]);
        if !std::fs::read_to_string(&events).expect("an audit log").contains(&line) {
            too_early.lock().expect("no panic").push(request.key().to_owned());
        }
        Answer::Status(204)
    });
    let second = Target::start(|_| Answer::Status(200));
    world.send_orders(30);
    world.send(vec![world.record(1, Some(b"bad"), Some(b"\xff{")), world.record(2, None, None)]);
    let (one, two) = (first.url(), second.url());
    let mut tracker = world.tracker("tracker", &["--notify", &one, "--notify", &two]);
    for target in [&first, &second] {
        wait_until("every outcome was posted", 60, || target.requests().len() >= 32);
    }
    tracker.stop();
    assert_eq!(*early.lock().expect("no panic"), Vec::<String>::new());
    let audit = world.audit("tracker");
    let outcomes = audit.by_offset();
    for target in [&first, &second] {
        let requests = target.requests();
        assert_eq!(requests.len(), 32);
        for request in &requests {
            let parts: Vec<_> = request.key().split('/').collect();
            let at = (parts[1].parse().expect("a number"), parts[2].parse().expect("a number"));
            let entry = outcomes[&at];
            assert_eq!(request.headers["tracker-outcome"], entry.outcome.as_str());
            assert_eq!(request.headers["tracker-attempts"], entry.attempts.to_string());
            let reason = entry.failure_reason.map(Category::as_str);
            assert_eq!(request.headers.get("tracker-failure-reason").map(String::as_str), reason);
            let is_dead = entry.outcome == Outcome::DeadLettered;
            assert_eq!(request.headers.contains_key("tracker-dead-letter-id"), is_dead);
            let kind = if is_dead { "application/octet-stream" } else { "application/json" };
            assert_eq!(request.headers["content-type"], kind);
            if let Some(raw) = &entry.raw_message {
                assert_eq!(&request.body, raw);
            }
        }
    }
    let words = last_words(&tracker);
    assert_eq!(words.len(), 2);
    assert!(words.values().all(|counts| (counts["delivered"], counts["failed"]) == (32, 0)), "{words:?}");
}

#[test]
fn secondary_targets_that_are_gone_or_hang_cost_the_pipeline_nothing_and_are_counted() {
    const ORDERS: u64 = 300;
    let Some(world) = World::any("untold", 3) else { return };
    let (main, good) = (Target::start(|_| Answer::Status(200)), Target::start(|_| Answer::Status(200)));
    let (full, hangs) = (Target::start(|_| Answer::Hang), Target::start(|_| Answer::Status(500)));
    let gone = format!("http://{}/", http::free_addr());
    let (url, addr) = (main.url(), http::free_addr());
    let served = addr.to_string();
    let targets = [good.url(), full.url(), hangs.url(), gone.clone()];
    let mut flags = vec!["--deliver-to", &url, "--metrics-addr", &served, "--ordering", "key"];
    // One that hangs holds its two places longer than this test takes: its queue fills up before its guard can open.
    flags.extend(["--attempt-timeout", "2m", "--notify-concurrency", "2", "--notify-queue", "250"]);
    flags.extend(["--outage-guard-failures", "4"]);
    flags.extend(targets.iter().flat_map(|target| ["--notify", target]));
    let mut tracker = world.tracker("tracker", &flags);
    let record = |number: u64| {
        let id = format!("o-{number}");
        let partition = i32::try_from(number).expect("a small number") % world.partitions;
        world.record(partition, Some(id.as_bytes()), Some(&bytes(&order(&id))))
    };
    // In parts, so that a target that works always has room.
    for part in 0..3 {
        let range = part * ORDERS / 3..(part + 1) * ORDERS / 3;
        let until = usize::try_from(range.end).expect("a small number");
        world.send(range.map(record).collect());
        wait_until("the good one was told", 60, || good.requests().len() >= until);
    }
    tracker.wait_lines(usize::try_from(ORDERS).expect("a small number"));
    let figures = || http::metrics(addr).expect("metrics");
    let figure =
        |name: &str, target: &str, more: &str| figures()[&format!("{name}{{target=\"{target}\"{more}}}")];
    let [good, full, hangs] = [&good, &full, &hangs].map(shown);
    for target in [&hangs, &gone] {
        wait_until("all of it was tried or dropped", 30, || figure("tracker_notify_held", target, "") == 0.0);
        assert_eq!(figure("tracker_notify_circuit_breaker_state", target, ""), 2.0);
        assert!(figure("tracker_notify_posts_total", target, ",result=\"failed\"") >= 4.0);
        assert!(figure("tracker_notify_dropped_total", target, ",reason=\"out\"") >= 280.0);
    }
    assert_eq!(figure("tracker_notify_posts_total", &good, ",result=\"done\""), ORDERS as f64);
    // Two are being posted, 250 wait.
    assert_eq!(figure("tracker_notify_dropped_total", &full, ",reason=\"full\""), 48.0);
    assert_eq!(figure("tracker_notify_circuit_breaker_state", &full, ""), 0.0);

    let begun = Instant::now();
    tracker.stop();
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    let words = last_words(&tracker);
    assert_eq!(words.len(), 4);
    for (target, counts) in &words {
        let ends = ["delivered", "failed", "dropped_full", "dropped_out", "dropped_ended"];
        assert_eq!(ends.map(|end| counts[end]).iter().sum::<u64>(), ORDERS, "{target}: {counts:?}");
    }
    assert!(words[&full]["dropped_ended"] >= 250, "{words:?}");

    let audit = world.audit("tracker");
    assert_eq!(audit.by_offset().len() as u64, ORDERS);
    assert!(audit.entries.iter().all(|entry| (entry.outcome, entry.attempts) == (Outcome::Processed, 1)));
    assert_eq!(main.requests().len() as u64, ORDERS);
    assert_eq!(world.committed(), world.ends());
}
