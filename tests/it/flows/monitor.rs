//! The monitor's figures against those counted from the files of the same run, by other code.

use std::collections::BTreeMap;
use std::time::Duration;

use pubsub_kafka::models::{AuditEntry, Outcome};
use serde_json::Value;

use crate::monitor::figures;
use crate::monitor::web::{Served, lasting};
use crate::support::{Answer, Audit, Target, World, http, wait_until};

/// The figures of a world's tracker.
fn of(world: &World, flags: &[&str]) -> Value {
    let files = ["--log-file", "tracker.log", "--events-file", "tracker.events"];
    let folder = world.path("tracker.events");
    figures(folder.parent().expect("a folder"), &[&files[..], flags].concat())
}

fn milliseconds(json: &Value) -> i64 {
    let time: jiff::Timestamp = json.as_str().expect("a time").parse().expect("RFC 3339");
    time.as_millisecond()
}

#[test]
fn its_figures_are_those_of_the_files() {
    let Some(world) = World::any("monitor", 3) else { return };
    let count = if world.is_real { 10_000 } else { 3_000 };
    let count_flag = count.to_string();
    let seven_percent = ["--invalid-ratio", "0.05", "--malformed-ratio", "0.02"];
    let flags = [&["--seed", "6", "--count", &count_flag, "--rate", "max"][..], &seven_percent].concat();
    let mut producer = world.producer("producer", &flags);
    assert_eq!(producer.ended_within(Duration::from_secs(60)), 0, "{}", producer.stderr());
    let audit = world.track_to_end("tracker", &["--metrics-interval", "1s"]);
    assert_eq!(audit.entries.len(), count);

    let figures = of(&world, &["--window", "1h"]);
    assert_eq!(figures["exact"], true, "{}", figures["notes"]);
    assert_eq!(figures["tracker"]["state"], "stopped");
    assert_eq!(figures["tracker"]["group"], world.group);
    counts_agree(&figures, &audit);
    latencies_agree(&figures, &audit);
    newest_agree(&figures, &audit);
    positions_agree(&figures, &audit);
    the_trackers_own_counts_agree(&world, &figures);

    the_page_agrees(&world, &figures);

    // A part of it, by time: what is counted is what the window says.
    let times: Vec<i64> = audit.entries.iter().map(|entry| entry.timestamp.as_millisecond()).collect();
    let at = audit.entries[times.len() / 2].timestamp.to_string();
    let part = of(&world, &["--window", "1m", "--at", &at]);
    let (from, at) = (milliseconds(&part["window"]["from"]), milliseconds(&part["at"]));
    let expected = times.iter().filter(|time| (from..=at).contains(*time)).count();
    assert_eq!(part["outcomes"]["total"], expected, "up to {at}");
}

/// What a browser is sent.
fn the_page_agrees(world: &World, figures: &Value) {
    let page = Served::local(&world.path(""), &["--window", "1h"]);
    // The rate is that of the window up to now.
    let without_rate = |figures: &Value| {
        let mut figures = lasting(figures.clone());
        figures["outcomes"]["per_second"] = Value::Null;
        figures
    };
    assert_eq!(without_rate(&page.get("/api/figures").json()), without_rate(figures));
}

fn counts_agree(figures: &Value, audit: &Audit) {
    let dead = audit.count(Outcome::DeadLettered);
    let all = audit.entries.len();
    let outcomes = &figures["outcomes"];
    for (name, expected) in
        [("total", all), ("processed", all - dead), ("dead_lettered", dead), ("retried", 0)]
    {
        assert_eq!(outcomes[name], expected, "{name}");
    }
    let share = dead as f64 / all as f64;
    assert!((0.05..0.09).contains(&share), "{share}");
    let success = outcomes["success_percent"].as_f64().expect("a share");
    assert!((success - 100.0 * (1.0 - share)).abs() < 0.001, "{success}");
    let late = |entry: &&AuditEntry| latency(entry) > 5_000;
    let on_time = 1.0 - audit.entries.iter().filter(late).count() as f64 / all as f64;
    let quality = outcomes["quality"].as_f64().expect("a score");
    let expected = 100.0 * (1.0 - share) * (0.7 + 0.15 + 0.15 * on_time);
    assert!((quality - expected).abs() < 0.001, "{quality} for {expected}");

    let mut categories: BTreeMap<String, u64> = BTreeMap::new();
    for reason in audit.entries.iter().filter_map(|entry| entry.failure_reason) {
        *categories.entry(reason.to_string()).or_default() += 1;
    }
    for (category, count) in figures["categories"].as_object().expect("by name") {
        assert_eq!(count.as_u64(), Some(categories.remove(category).unwrap_or(0)), "{category}");
    }
    assert!(categories.is_empty(), "{categories:?}");
    let sum = |list: &str, field: &str| -> u64 {
        let items = figures[list].as_array().expect("a list").iter();
        items.map(|item| item[field].as_u64().expect("a count")).sum()
    };
    assert_eq!(sum("causes", "count"), dead as u64);
    assert_eq!((sum("series", "outcomes"), sum("series", "dead_lettered")), (all as u64, dead as u64));
}

fn latency(entry: &AuditEntry) -> i64 {
    (entry.timestamp.as_millisecond() - entry.kafka_timestamp.expect("a timestamp")).max(0)
}

fn latencies_agree(figures: &Value, audit: &Audit) {
    let mut all: Vec<i64> = audit.entries.iter().map(latency).collect();
    all.sort_unstable();
    for (name, share) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0)] {
        let expected = all[(all.len() as f64 * share).ceil() as usize - 1] as f64;
        let found = figures["latency_ms"][name].as_f64().expect("a latency");
        assert!((found - expected).abs() <= (expected * 0.01).max(1.0), "{name}: {found} for {expected}");
    }
}

fn newest_agree(figures: &Value, audit: &Audit) {
    let newest = figures["newest_outcomes"].as_array().expect("a list");
    assert_eq!(newest.len(), 20);
    for (shown, entry) in newest.iter().zip(audit.entries.iter().rev()) {
        assert_eq!(shown["offset"], entry.kafka_offset);
        assert_eq!(shown["partition"], entry.kafka_partition);
        assert_eq!(shown["outcome"], entry.outcome.as_str());
        assert_eq!(shown["error"].as_str(), entry.error.as_deref());
        let key = entry.kafka_key.as_ref().map(|key| String::from_utf8_lossy(key));
        assert_eq!(shown["key"].as_str(), key.as_deref());
    }
}

fn positions_agree(figures: &Value, audit: &Audit) {
    let mut last: BTreeMap<i64, i64> = BTreeMap::new();
    for entry in &audit.entries {
        let place = last.entry(entry.kafka_partition.into()).or_default();
        *place = entry.kafka_offset.max(*place);
    }
    let shown = figures["partitions"].as_array().expect("a list").iter();
    let shown =
        shown.map(|one| (one["partition"].as_i64().expect("one"), one["last_offset"].as_i64().expect("one")));
    assert_eq!(shown.collect::<BTreeMap<_, _>>(), last);
}

/// What the tracker itself counted, in its last line of metrics.
fn the_trackers_own_counts_agree(world: &World, figures: &Value) {
    let text = std::fs::read_to_string(world.path("tracker.log")).expect("a health log");
    let line = text.lines().rfind(|line| line.contains("\"message\":\"metrics\"")).expect("metrics");
    let metrics: Value = serde_json::from_str(line).expect("JSON");
    for name in ["processed", "dead_lettered"] {
        assert_eq!(metrics["metadata"][name], figures["outcomes"][name], "{name}");
    }
    assert_eq!(figures["newest_health"][0]["message"], "stopped");
}

#[test]
fn it_tells_a_running_tracker_and_a_target_that_is_out() {
    let Some(world) = World::any("monitor-outage", 1) else { return };
    let target = Target::start(|_| Answer::Status(503));
    let (url, addr) = (target.url(), http::free_addr().to_string());
    let metrics_url = format!("http://{addr}/metrics");
    let flags =
        ["--max-retries", "0", "--deliver-to", &url, "--metrics-interval", "100ms", "--metrics-addr", &addr];
    let mut tracker = world.tracker("tracker", &flags);
    tracker.wait_said("took over", 1);
    let figures = of(&world, &[]);
    assert_eq!(
        (&figures["tracker"]["state"], &figures["tracker"]["breaker"]),
        (&"up".into(), &"closed".into())
    );

    world.send_orders(20);
    tracker.wait_said("the delivery target is out", 1);
    tracker.wait_lines(5);
    let figures = of(&world, &[]);
    assert_eq!(figures["tracker"]["breaker"], "open");
    assert_eq!(figures["categories"]["PROCESSING_ERROR"], 5);
    assert_eq!(figures["outcomes"]["success_level"], "critical");
    wait_until("the metrics tell the partition", 20, || of(&world, &[])["tracker"]["assigned"] == 1);
    wait_until("the metrics tell the rest", 60, || {
        let figures = of(&world, &["--metrics-url", &metrics_url]);
        let tracker = &figures["tracker"];
        // Five dead letters are committed, the others wait.
        tracker["breaker"] == "open" && tracker["lag"] == 15 && tracker["dlq_depth"] == 5.0
    });
    let figures = of(&world, &["--metrics-url", &metrics_url]);
    assert_eq!(figures["partitions"][0]["lag"], 15);
    assert!(figures["tracker"]["processing_ms"]["p95"].as_f64().is_some_and(|ms| ms > 0.0), "{figures}");
    tracker.stop();
    assert_eq!(of(&world, &[])["tracker"]["state"], "stopped");
}
