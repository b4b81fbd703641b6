//! The dlq tool while it works: what it shows to Prometheus, and that a followed list misses no partition.

use std::time::Duration;

use pubsub_kafka::failure::Category;
use pubsub_kafka::kafka::Outgoing;
use serde_json::{Value, json};

use crate::support::{World, http, wait_for, wait_until};

/// How long a look at Kafka may take on a busy machine, in seconds.
const PATIENCE: u64 = 90;

#[test]
fn a_followed_list_reads_partitions_that_are_added_and_counts_what_it_shows() {
    let Some(world) = World::real("dlq-follow", 1) else { return };
    world.create(&world.dlq, 1, &[]);
    let letter = |partition, key: &str| Outgoing {
        topic: world.dlq.as_str().into(),
        ..world.record(partition, Some(key.as_bytes()), Some(b"{}"))
    };
    world.send(vec![letter(0, "secret-1"), letter(0, "secret-2"), letter(0, "another")]);
    let addr = http::free_addr();
    let flags = ["list", "--follow", "--json", "--key", "secret-1", "--metrics-addr", &addr.to_string()];
    let mut list = world.start_dlq("list", &flags);
    let lines = |list: &crate::support::Running| list.stdout().matches('\n').count();
    wait_until("the first row", PATIENCE, || lines(&list) == 1);
    world.grow_topic(&world.dlq, 3);
    world.send(vec![letter(2, "secret-1"), letter(1, "secret-1"), letter(0, "secret-1")]);
    wait_until("rows of the new partitions", PATIENCE, || lines(&list) == 4);
    let rows: Vec<Value> =
        list.stdout().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let mut partitions: Vec<_> = rows.iter().map(|row| row["dlq_partition"].as_i64()).collect();
    partitions.sort_unstable();
    assert_eq!(partitions, [Some(0), Some(0), Some(1), Some(2)]);

    for path in ["/healthz", "/readyz"] {
        assert_eq!(http::get(addr, path).map(|(status, _)| status), Some(200), "{path}");
    }
    let read = format!(
        "messaging_client_consumed_messages_total{{messaging_system=\"kafka\",messaging_destination_name=\"{}\"}}",
        world.dlq
    );
    let metrics = http::metrics(addr).expect("metrics");
    assert_eq!((metrics[&read], metrics["dlq_written_records_total"]), (6.0, 4.0), "{metrics:?}");
    let page = http::get(addr, "/metrics").expect("metrics").1;
    assert!(page.contains("command=\"list\"") && !page.contains("secret"), "{page}");
    list.signal("TERM");
    assert_eq!(list.ended_within(Duration::from_secs(PATIENCE)), 0, "{}", list.stderr());
    assert!(list.stderr().contains("4 dead letters"), "{}", list.stderr());
}

#[test]
fn an_apply_shows_how_far_it_is_and_what_became_of_its_canary() {
    let Some(world) = World::real("dlq-metrics", 1) else { return };
    world.send_orders(40);
    world.bury(0, Category::Validation);
    let ids = world.dead_letters();
    world.dlq(&["discard", &ids[39], "--why", "a test"]).ended(0);
    world.dlq(&["plan", "--status", "open", "-o", "plan.json"]).ended(0);
    let path = world.path("plan.json");
    let mut plan: Value = serde_json::from_str(&std::fs::read_to_string(&path).expect("read")).expect("JSON");
    let nowhere = json!(format!("{}-nowhere", world.topic));
    (plan["entries"][20]["target"], plan["entries"][21]["target"]) = (nowhere.clone(), nowhere);
    std::fs::write(&path, plan.to_string()).expect("written");
    // Discarded after it was planned.
    world.dlq(&["discard", &ids[38], "--why", "a test"]).ended(0);
    // Outcomes of the first step; those of the second are still to come.
    let outcomes = ["processed", "dead_lettered"].iter().enumerate().map(|(at, outcome)| {
        let replay_id = &plan["entries"][at]["replay_id"];
        format!("{}\n", json!({ "replay_id": replay_id, "outcome": outcome, "error": "bad" }))
    });
    std::fs::write(world.path("told.events"), outcomes.collect::<String>()).expect("written");

    let addr = http::free_addr().to_string();
    let canary = ["--canary", "2,5", "--abort-above", "100%", "--events-file", "told.events"];
    let flags = ["apply", "plan.json", "--yes", "--rate", "500", "--metrics-addr", &addr];
    let mut apply = world.start_dlq("apply", &[&flags[..], &canary].concat());
    let addr = addr.parse().expect("an address");
    let metrics = wait_for("the second step is sent", PATIENCE, || {
        assert!(apply.is_running(), "{}", apply.stderr());
        http::metrics(addr).filter(|metrics| metrics.get("dlq_replay_done_records") == Some(&7.0))
    });
    let sent = format!(
        "messaging_client_sent_messages_total{{messaging_system=\"kafka\",messaging_destination_name=\"{}\"}}",
        world.topic
    );
    for (name, value) in [
        (&*sent, 7.0),
        ("dlq_replay_planned_records", 36.0),
        ("dlq_replay_already_there_records", 0.0),
        ("dlq_replay_rate_limit", 500.0),
        ("dlq_replay_left_out_records_total{reason=\"discarded\"}", 1.0),
        ("dlq_replay_left_out_records_total{reason=\"superseded\"}", 0.0),
        ("dlq_replay_failed_records_total{error_type=\"target_missing\"}", 2.0),
        ("dlq_replay_failed_records_total{error_type=\"gone\"}", 0.0),
        ("dlq_replay_canary_outcomes_total{outcome=\"processed\"}", 1.0),
        ("dlq_replay_canary_outcomes_total{outcome=\"failed_again\"}", 1.0),
    ] {
        assert_eq!(metrics.get(name), Some(&value), "{name} in {metrics:?}");
    }
    assert!(metrics["dlq_replay_records_per_second"] > 0.0);
    assert_eq!(http::get(addr, "/readyz").map(|(status, _)| status), Some(200));
    apply.signal("TERM");
    // Two of the plan cannot be sent at all.
    assert_eq!(apply.ended_within(Duration::from_secs(PATIENCE)), 3, "{}", apply.stderr());
    assert_eq!(world.replays(&world.topic).len(), 7);
}

#[test]
fn an_address_that_is_taken_is_told() {
    let Some(world) = World::real("dlq-taken", 1) else { return };
    world.create(&world.dlq, 1, &[]);
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let addr = taken.local_addr().expect("an address").to_string();
    let ran = world.dlq(&["stats", "--metrics-addr", &addr]).ended(1);
    assert!(ran.stderr.contains(&format!("--metrics-addr {addr}")), "{}", ran.stderr);
}
