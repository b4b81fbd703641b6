//! Faults of Kafka and of the process's time, on their own: a commit that is refused, a tracker that is frozen past its
//! session, and, on three brokers, answers that are lost and too few replicas.

use std::time::{Duration, Instant};

use pubsub_kafka::models::Outcome;
use rdkafka::mocking::MockCluster;
use rdkafka::types::RDKafkaApiKey;
use rdkafka_sys::rd_kafka_resp_err_t as Code;

#[cfg(feature = "audit")]
use crate::support::program;
use crate::support::{Answer, Cluster, Mode, Target, World, counts, has_java, not_run, wait_until};

const ORDERS: usize = 600;

#[test]
fn refused_commits_are_made_again() {
    let mock = MockCluster::new(1).expect("a mock cluster");
    let world = World::unmade(&mock.bootstrap_servers(), "commit-errors", 1);
    for topic in [&world.topic, &world.dlq, "orders-audit-heads"] {
        mock.create_topic(topic, 1, 1).expect("the topic is created");
    }
    world.send_orders(50);
    let refusals = [
        Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
        Code::RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE,
        Code::RD_KAFKA_RESP_ERR_INVALID_COMMIT_OFFSET_SIZE,
    ];
    mock.request_errors(RDKafkaApiKey::OffsetCommit, &refusals);
    let audit = world.track_to_end("tracker", &["--commit-interval", "50ms"]);
    assert_eq!(audit.by_offset().len(), 50);
    assert_eq!(world.committed(), [50]);
    let log = std::fs::read_to_string(world.path("tracker.log")).expect("the health log");
    assert!(log.contains("offsets not committed, trying again"), "no commit was refused: {log}");
}

#[cfg(feature = "audit")]
#[test]
fn outcomes_of_a_sealed_segment_that_were_not_committed_are_not_repeated() {
    let Some(world) = World::real("sealed", 1) else { return };
    world.send_orders(50);
    // Everything is done and nothing of it is committed when the segment is sealed and the tracker dies.
    let flags = ["--commit-interval", "1h", "--session-timeout", "6s"];
    let mut tracker = world.tracker("tracker", &flags);
    tracker.wait_lines(50);
    let mut rotate = program(env!("CARGO_BIN_EXE_audit"));
    rotate.args(["rotate", "--events-file", "tracker.events"]).current_dir(world.path(""));
    assert!(rotate.status().expect("audit runs").success());
    wait_until("the new segment begins", 20, || {
        std::fs::read_to_string(world.path("tracker.events")).is_ok_and(|text| text.ends_with('\n'))
    });
    tracker.signal("KILL");
    assert_eq!(tracker.ended_within(Duration::from_secs(10)), -9);
    assert_eq!(world.committed(), [0], "it was committed");

    world.send_orders(5);
    world.run_to_end("tracker", &flags);
    let all = ["tracker.events.000001", "tracker.events"].map(|file| world.path(file));
    let text = all.map(|path| std::fs::read_to_string(path).expect("a segment")).concat();
    std::fs::write(world.path("whole.events"), text).expect("written");
    assert_eq!(world.audit("whole").by_offset().len(), 55);
    assert_eq!(world.committed(), world.ends());
}

#[test]
fn a_tracker_that_was_frozen_past_its_session_repeats_nothing_of_its_own() {
    let Some(world) = World::real("frozen", 4) else { return };
    world.send_orders(ORDERS);
    let target = Target::start(|_| Answer::After(Duration::from_millis(2)));
    let url = target.url();
    let flags = [
        "--deliver-to",
        &url,
        "--outage-guard",
        "off",
        "--session-timeout",
        "6s",
        "--shutdown-timeout",
        "4s",
    ];
    let mut first = world.tracker("first", &flags);
    first.wait_lines(100);
    first.signal("STOP");
    let mut second = world.tracker("second", &flags);
    second.wait_said("took over", 4);
    second.wait_lines(100);
    first.signal("CONT");
    first.wait_said("lost partitions", 1);
    // Both are members again.
    wait_until("every record is committed", 90, || world.committed() == world.ends());
    first.stop();
    second.stop();

    let (one, two) = (world.audit("first"), world.audit("second"));
    assert_eq!(one.counts().values().max(), Some(&1), "the first repeats its own");
    assert_eq!(two.counts().values().max(), Some(&1), "the second repeats its own");
    assert_eq!(counts(one.entries.iter().chain(&two.entries)).len(), ORDERS, "records without an outcome");
}

#[test]
fn three_brokers_that_lose_answers_and_replicas_lose_and_repeat_nothing() {
    const COUNT: usize = 2_000;
    if let Err(why) = has_java() {
        return not_run("three-brokers", &why);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let cluster = Cluster::start(runtime.handle(), &folder.path().join("kafka"), 3);
    let mut world = World::unmade(&cluster.direct(), "three-brokers", 3);
    world.create_with(&world.topic, 3, 3, &[("min.insync.replicas", "2")]);
    world.servers = cluster.servers();
    let count = COUNT.to_string();
    let flags = ["--seed", "9", "--count", &count, "--rate", "100", "--invalid-ratio", "0.3"];
    let mut producer = world.producer("producer", &flags);
    let mut tracker = world.tracker("tracker", &["--commit-interval", "200ms"]);
    tracker.wait_lines(60);

    // The broker carries the requests out; the producer and the tracker's dead letters hear nothing of it.
    let before = tracker.lines();
    cluster.network(Mode::LoseProduceAnswers);
    let lost = || cluster.proxies.iter().map(crate::support::Proxy::lost).sum::<u64>();
    wait_until("answers to both are lost", 60, || lost() > 10);
    cluster.network(Mode::Delay(Duration::from_millis(100)));
    tracker.wait_lines(before + 100);
    cluster.network(Mode::Pass);

    // Three replicas are asked for, and one broker is down: no dead letter is acknowledged, so its partition waits.
    world.servers = cluster.direct();
    world.alter(&world.dlq, "min.insync.replicas", "3");
    cluster.signal(2, "KILL");
    let mut last = (tracker.lines(), Instant::now());
    wait_until("a dead letter of each partition waits", 60, || {
        if tracker.lines() != last.0 {
            last = (tracker.lines(), Instant::now());
        }
        last.1.elapsed() > Duration::from_secs(3)
    });
    assert!(tracker.is_running() && tracker.lines() < COUNT, "nothing was held back");
    cluster.heal();
    world.alter(&world.dlq, "min.insync.replicas", "2");

    assert_eq!(producer.ended_within(Duration::from_secs(120)), 0, "{}", producer.stderr());
    wait_until("every record has an outcome", 90, || tracker.lines() >= COUNT);
    tracker.stop();
    let audit = world.audit("tracker");
    let outcomes = audit.by_offset();
    let records = world.read(&world.topic);
    assert_eq!((outcomes.len(), records.len()), (COUNT, COUNT), "an order was lost, or is there twice");
    let letters = world.read(&world.dlq);
    assert_eq!(
        letters.len(),
        audit.count(Outcome::DeadLettered),
        "a dead letter was lost, or is there twice"
    );
    audit.follows_offsets();
    assert_eq!(world.committed(), world.ends());
}
