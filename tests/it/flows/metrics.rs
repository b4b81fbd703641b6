//! `/metrics`: what is counted there is what is in the files and topics of the same run.

use std::fs::File;
use std::io::Write as _;
use std::process::Command;
use std::time::Duration;

use pubsub_kafka::failure::Category;
use pubsub_kafka::models::Outcome;

use crate::support::{World, bytes, http, order, wait_for, wait_until};

#[test]
fn the_figures_are_those_that_the_files_and_topics_give() {
    const ORDERS: u32 = 3_000;
    let Some(world) = World::real("metrics", 3) else { return };
    let addr = http::free_addr();
    let mut tracker = world.tracker("tracker", &["--metrics-addr", &addr.to_string()]);
    wait_until("it is ready", 60, || http::get(addr, "/readyz").is_some_and(|(status, _)| status == 200));
    assert_eq!(http::get(addr, "/healthz").map(|(status, _)| status), Some(200));
    let (topic, group, dlq) = (&world.topic, &world.group, &world.dlq);
    let consumed = format!(
        "messaging_client_consumed_messages_total{{messaging_system=\"kafka\",\
         messaging_destination_name=\"{topic}\",messaging_consumer_group_name=\"{group}\"}}"
    );
    let sent = format!(
        "messaging_client_sent_messages_total{{messaging_system=\"kafka\",messaging_destination_name=\"{dlq}\"}}"
    );
    let processing = format!(
        "messaging_process_duration_seconds_count{{messaging_system=\"kafka\",\
         messaging_destination_name=\"{topic}\",messaging_consumer_group_name=\"{group}\"}}"
    );
    let outcome = |outcome| format!("tracker_records_total{{outcome=\"{outcome}\"}}");
    let reason = |reason: Category| format!("tracker_dlq_records_total{{reason=\"{reason}\"}}");
    let lag = |partition| {
        format!(
            "kafka_consumergroup_lag{{consumergroup=\"{group}\",topic=\"{topic}\",partition=\"{partition}\"}}"
        )
    };

    // What is known from the start begins at 0.
    let fresh = http::metrics(addr).expect("metrics");
    for name in [&consumed, &sent, &processing, &outcome("processed"), &outcome("dead_lettered")] {
        assert_eq!(fresh.get(name), Some(&0.0), "{name}");
    }
    for name in Category::ALL.map(reason) {
        assert_eq!(fresh.get(&name), Some(&0.0), "{name}");
    }
    for name in [
        "tracker_dlq_depth",
        "tracker_dlq_oldest_record_timestamp_seconds",
        "tracker_retries_total",
        "tracker_last_record_processed_timestamp_seconds",
        "tracker_audit_stalled",
        "tracker_audit_durable_seconds_count",
    ] {
        assert_eq!(fresh.get(name), Some(&0.0), "{name}");
    }
    assert!(fresh.keys().any(|name| name.starts_with("tracker_build_info{version=")), "{fresh:?}");

    let count = ORDERS.to_string();
    let flags = ["--seed", "5", "--rate", "max", "--invalid-ratio", "0.05", "--malformed-ratio", "0.02"];
    let mut producer = world.producer("producer", &[&flags[..], &["--count", &count]].concat());
    assert_eq!(producer.ended_within(Duration::from_secs(60)), 0, "{}", producer.stderr());
    tracker.wait_lines(ORDERS as usize);
    // What is asked of Kafka comes with some delay.
    let metrics = wait_for("lag and dead letters are known", 90, || {
        http::metrics(addr).filter(|metrics| {
            let dead: f64 = Category::ALL.map(|category| metrics[&reason(category)]).iter().sum();
            (0..3).all(|partition| metrics.get(&lag(partition)) == Some(&0.0))
                && metrics["tracker_dlq_depth"] == dead
                && metrics["tracker_in_flight_records"] == 0.0
        })
    });
    let page = http::get(addr, "/metrics").expect("metrics").1;
    tracker.stop();

    let audit = world.audit("tracker");
    let letters = world.read(&world.dlq);
    let of = |number: usize| f64::from(u32::try_from(number).expect("a small number"));
    assert_eq!(metrics[&consumed], f64::from(ORDERS));
    assert_eq!(metrics[&processing], f64::from(ORDERS));
    assert_eq!(metrics[&outcome("processed")], of(audit.count(Outcome::Processed)));
    assert_eq!(metrics[&outcome("dead_lettered")], of(audit.count(Outcome::DeadLettered)));
    for category in Category::ALL {
        let found = audit.entries.iter().filter(|entry| entry.failure_reason == Some(category)).count();
        assert_eq!(metrics[&reason(category)], of(found), "{category}");
    }
    assert_eq!((metrics[&sent], metrics["tracker_dlq_depth"]), (of(letters.len()), of(letters.len())));
    assert!(metrics["tracker_audit_durable_seconds_count"] >= 1.0);
    assert_eq!(metrics["tracker_partitions"], 3.0);
    let now = jiff::Timestamp::now().as_second() as f64;
    for name in
        ["tracker_dlq_oldest_record_timestamp_seconds", "tracker_last_record_processed_timestamp_seconds"]
    {
        assert!((now - 300.0..=now + 1.0).contains(&metrics[name]), "{name} {}", metrics[name]);
    }
    for entry in audit.entries.iter().take(50) {
        let id = String::from_utf8_lossy(entry.kafka_key.as_deref().expect("a key")).into_owned();
        assert!(!page.contains(&id), "an order's id is a label");
    }
}

#[test]
fn the_producer_shows_what_it_has_sent() {
    const ORDERS: usize = 40;
    let Some(world) = World::real("producer-metrics", 2) else { return };
    let (addr, pipe) = (http::free_addr(), world.path("orders"));
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
    let input = pipe.display().to_string();
    let flags = ["--rate", "max", "--input", &input, "--metrics-addr", &addr.to_string()];
    let mut producer = world.producer("producer", &flags);
    let mut lines = File::options().write(true).open(&pipe).expect("the producer reads");
    for number in 0..ORDERS {
        let order = bytes(&order(&format!("o-{number}")));
        lines.write_all(&[&order[..], b"\n"].concat()).expect("written");
    }
    let sent = format!(
        "messaging_client_sent_messages_total{{messaging_system=\"kafka\",messaging_destination_name=\"{}\"",
        world.topic
    );
    let (good, bad) = (format!("{sent}}}"), format!("{sent},error_type=\"_OTHER\"}}"));
    let metrics = wait_for("all are acknowledged", 60, || {
        http::metrics(addr).filter(|metrics| metrics[&good] == ORDERS as f64)
    });
    assert_eq!((metrics[&bad], metrics["producer_in_flight_records"]), (0.0, 0.0));
    assert_eq!(http::get(addr, "/readyz").map(|(status, _)| status), Some(200));
    drop(lines);
    assert_eq!(producer.ended_within(Duration::from_secs(30)), 0, "{}", producer.stderr());
    assert_eq!(world.read(&world.topic).len(), ORDERS);
}
