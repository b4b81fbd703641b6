//! Shutdown in every state: idle, loading, in retry, with the brokers gone; and a second signal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pubsub_kafka::models::Outcome;

use crate::support::{Answer, OwnKafka, Running, Target, World, not_run, program, wait_until};

#[test]
fn an_idle_tracker_stops_at_once() {
    let Some(world) = World::any("idle", 3) else { return };
    let mut tracker = world.tracker("tracker", &[]);
    tracker.wait_said("took over", 3);
    tracker.signal("TERM");
    assert_eq!(tracker.ended_within(Duration::from_secs(10)), 0, "{}", tracker.stderr());
    assert_eq!(tracker.said("stopped"), 1);
    assert!(world.audit("tracker").entries.is_empty());
}

#[test]
fn a_tracker_that_is_stopped_under_load_goes_on_where_it_was() {
    let Some(world) = World::any("load", 3) else { return };
    world.send_orders(1_500);
    let target = Target::start(|_| Answer::After(Duration::from_millis(3)));
    let flags = ["--deliver-to", &target.url(), "--outage-guard", "off"];
    for _ in 0..2 {
        let mut tracker = world.tracker("tracker", &flags);
        tracker.wait_lines(tracker.lines() + 200);
        tracker.stop();
        assert!(tracker.lines() < 1_500, "there was nothing left to stop");
    }
    let audit = world.track_to_end("tracker", &flags);
    audit.follows_offsets();
    assert_eq!(audit.by_offset().len(), 1_500);
    assert_eq!(world.committed(), world.ends());
    assert_eq!(target.requests().len(), 1_500, "a stop made an order be posted again");
}

#[test]
fn a_record_in_retry_is_left_for_the_next_start() {
    let Some(world) = World::any("in-retry", 1) else { return };
    world.send_orders(3);
    let healed = Arc::new(AtomicBool::new(false));
    let works = Arc::clone(&healed);
    let target = Target::start(move |request| {
        Answer::Status(if request.key().ends_with("/0") || works.load(Ordering::Acquire) { 200 } else { 503 })
    });
    let url = target.url();
    let flags =
        ["--deliver-to", &url, "--outage-guard", "off", "--retry-initial", "5m", "--retry-max", "10m"];
    let mut tracker = world.tracker("tracker", &flags);
    wait_until("the second order was refused", 60, || target.requests().len() >= 2);
    tracker.wait_lines(1);
    tracker.signal("INT");
    assert_eq!(tracker.ended_within(Duration::from_secs(10)), 0, "{}", tracker.stderr());
    assert_eq!(world.audit("tracker").entries.len(), 1, "an interrupted record has no outcome");
    assert!(world.read(&world.dlq).is_empty(), "an interrupted record was dead-lettered");
    assert_eq!(world.committed(), [1]);

    healed.store(true, Ordering::Release);
    let audit = world.track_to_end("tracker", &flags);
    let outcomes: Vec<_> = audit.entries.iter().map(|entry| (entry.kafka_offset, entry.outcome)).collect();
    assert_eq!(outcomes, [0, 1, 2].map(|offset| (offset, Outcome::Processed)));
    assert!(world.read(&world.dlq).is_empty());
}

#[test]
fn an_attempt_that_runs_may_finish() {
    let Some(world) = World::any("finishes", 1) else { return };
    world.send_orders(2);
    let target = Target::start(|_| Answer::After(Duration::from_secs(2)));
    let mut tracker = world.tracker("tracker", &["--deliver-to", &target.url()]);
    wait_until("the first order is posted", 60, || target.requests().len() == 1);
    tracker.stop();
    let audit = world.audit("tracker");
    assert_eq!((audit.entries.len(), audit.entries[0].outcome), (1, Outcome::Processed));
    assert_eq!((world.committed(), target.requests().len()), (vec![1], 1));
}

#[test]
fn an_attempt_that_does_not_finish_is_given_up_at_the_shutdown_timeout() {
    let Some(world) = World::any("given-up", 1) else { return };
    world.send_orders(1);
    let target = Target::start(|_| Answer::Hang);
    let flags = ["--deliver-to", &target.url(), "--attempt-timeout", "10m", "--shutdown-timeout", "1s"];
    let mut tracker = world.tracker("tracker", &flags);
    wait_until("the order is posted", 60, || target.requests().len() == 1);
    tracker.signal("TERM");
    assert_eq!(tracker.ended_within(Duration::from_secs(10)), 0, "{}", tracker.stderr());
    assert!(world.audit("tracker").entries.is_empty());
    assert_eq!(world.committed(), [0]);
}

#[test]
fn a_second_signal_ends_at_once() {
    let Some(mut world) = World::any("second-signal", 1) else { return };
    world.send_orders(1);
    let target = Target::start(|_| Answer::Hang);
    let flags = ["--deliver-to", &target.url(), "--attempt-timeout", "10m", "--max-poll-interval", "1h"];
    let patience = ["--session-timeout", "5m", "--shutdown-timeout", "4m"];
    for (number, (signal, code)) in [("INT", 130), ("TERM", 143)].into_iter().enumerate() {
        // Whoever is killed keeps its place in the group until its session ends: each round is a group of its own.
        world.group = format!("{}-{number}", world.group);
        let mut tracker = world.tracker(signal, &[&flags[..], &patience].concat());
        wait_until("the order is posted", 60, || target.requests().len() == number + 1);
        tracker.signal(signal);
        tracker.wait_said("stopping: ", 1);
        assert!(tracker.is_running());
        tracker.signal(signal);
        assert_eq!(tracker.ended_within(Duration::from_secs(5)), code, "{}", tracker.stderr());
    }
}

#[test]
fn a_tracker_whose_brokers_are_gone_stops_all_the_same() {
    if World::real("brokers-down-probe", 1).is_none() {
        return;
    }
    let kafka = match OwnKafka::start() {
        Ok(kafka) => kafka,
        Err(why) => return not_run("brokers-down", &why),
    };
    let world = World::on(&kafka.servers, "brokers-down", 2);
    world.send_orders(20);
    world.send(vec![world.record(0, None, Some(b"not an order"))]);
    let target = Target::start(|request| {
        if request.key().ends_with("/0/7") { Answer::Status(503) } else { Answer::Status(200) }
    });
    let retry = ["--retry-initial", "10m", "--retry-max", "10m", "--outage-guard", "off"];
    let flags = ["--deliver-to", &target.url(), "--shutdown-timeout", "3s", "--commit-interval", "1h"];
    let mut tracker = world.tracker("tracker", &[&flags[..], &retry].concat());
    // Partition 1 is done but not committed, partition 0 is in retry.
    tracker.wait_lines(17);
    kafka.kill();
    tracker.wait_said("no Kafka broker can be reached", 1);
    let begun = Instant::now();
    tracker.signal("TERM");
    let code = tracker.ended_within(Duration::from_secs(30));
    let took = begun.elapsed();
    assert_eq!(code, 0, "{}", tracker.stderr());
    // --shutdown-timeout, five seconds for all the rest, and one for a slow machine.
    assert!(took < Duration::from_secs(3 + 5 + 1), "{took:?}:\n{}", tracker.stderr());
    assert_eq!(tracker.said("the last offsets were not committed"), 1, "{}", tracker.stderr());
    let audit = world.audit("tracker");
    assert_eq!(audit.by_offset().len(), 17);
}

#[test]
fn a_missing_topic_that_may_not_be_created_is_named() {
    let Some(mut world) = World::real("missing", 1) else { return };
    let mut missing = world.dlq.clone();
    for name in ["no-dlq", "no-source"] {
        let mut tracker = world.tracker(name, &["--create-topics=false"]);
        assert_eq!(tracker.ended_within(Duration::from_secs(30)), 1, "{}", tracker.stderr());
        let said = tracker.stderr();
        let last = said.lines().last().unwrap_or_default();
        let expected = format!("error: the topic {missing} does not exist on {}", world.servers);
        assert!(last.starts_with(&expected) && last.contains("--create-topics"), "{said}");
        world.topic.push_str("-missing");
        missing = world.topic.clone();
    }
}

#[test]
fn missing_topics_are_created_with_the_sources_shape() {
    let Some(mut world) = World::real("created", 1) else { return };
    world.topic.push_str("-new");
    let flags = ["--topic-partitions", "5", "--exit-at-end"];
    let mut tracker = world.tracker("tracker", &flags);
    assert_eq!(tracker.ended_within(Duration::from_secs(60)), 0, "{}", tracker.stderr());
    let admin = pubsub_kafka::kafka::Admin::new(&world.settings()).expect("an admin client");
    for name in [&world.topic, &world.dlq] {
        let found = admin.topic(name).expect("metadata").expect("a topic");
        assert_eq!((found.partitions, found.replication), (5, 1), "{name}");
    }
    let (config, source) = (world.topic_config(&world.dlq), world.topic_config(&world.topic));
    assert_eq!((config["retention.ms"].as_str(), config["retention.bytes"].as_str()), ("-1", "-1"));
    assert_eq!(config["min.insync.replicas"], source["min.insync.replicas"]);
    let room = |config: &std::collections::HashMap<String, String>| {
        config["max.message.bytes"].parse::<u64>().expect("a number")
    };
    assert!(room(&config) >= 2 * room(&source), "no room for the envelope");
}

#[test]
fn a_hangup_stops_a_tracker_unless_it_was_started_to_ignore_it() {
    let Some(world) = World::any("hangup", 1) else { return };
    let mut tracker = world.tracker("tracker", &[]);
    tracker.wait_said("took over", 1);
    tracker.signal("HUP");
    assert_eq!(tracker.ended_within(Duration::from_secs(30)), 0, "{}", tracker.stderr());

    let mut command = program("nohup");
    command.arg(env!("CARGO_BIN_EXE_tracker")).args(world.tracker_flags("nohup"));
    let folder = world.path("");
    let mut tracker = Running::spawn(command, &folder, "nohup");
    tracker.wait_said("took over", 1);
    tracker.signal("HUP");
    world.send_orders(1);
    wait_until("the order is committed", 30, || world.committed() == [1]);
    assert_eq!(tracker.said("stopping"), 0);
    tracker.stop();
}
