//! Applying a plan under everything that can happen meanwhile: kills, letters that are gone, targets that are not there.
//! Whatever happens, each record of the plan is in its target once at most, and the rest goes on.

use std::collections::HashMap;
use std::time::Duration;

use pubsub_kafka::failure::Category;
use serde_json::{Value, json};

use crate::support::{DLQ_PATIENCE, OwnKafka, World, bytes, not_run, order};

/// A plan that changes before it is applied.
fn change(world: &World, file: &str, change: impl FnOnce(&mut Value)) {
    let path = world.path(file);
    let mut plan: Value =
        serde_json::from_str(&std::fs::read_to_string(&path).expect("the plan")).expect("JSON");
    change(&mut plan);
    std::fs::write(path, plan.to_string()).expect("written");
}

/// How often each replay is in the topic, for a read_committed reader.
fn times(world: &World, topic: &str) -> HashMap<Vec<u8>, usize> {
    let mut times = HashMap::new();
    for raw in world.replays(topic) {
        *times.entry(raw.header("dlq.replay-id")[0].expect("an id").to_vec()).or_default() += 1;
    }
    times
}

/// A number below `below` that differs each time, from the clock.
fn any(below: u64) -> u64 {
    let now = jiff::Timestamp::now().as_nanosecond().unsigned_abs();
    u64::try_from((now / 1_000) % u128::from(below)).expect("small")
}

#[test]
fn an_apply_that_is_killed_again_and_again_sends_each_record_once() {
    let Some(world) = World::real("killed-apply", 3) else { return };
    let kills: u64 = std::env::var("DLQ_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(5);
    // As many as last for all the kills at this rate.
    let count = usize::try_from(kills * 600 + 1_500).expect("few");
    world.send_orders(count);
    world.bury(0, Category::Validation);
    world.dlq(&["plan", "-o", "plan.json"]).ended(0);
    let mut in_time = 0;
    for kill in 0..kills {
        let mut apply = world.start_dlq("apply", &["apply", "plan.json", "--yes", "--rate", "1500"]);
        // From before the producer is there to within the transactions.
        std::thread::sleep(Duration::from_millis(any(1_500)));
        if apply.is_running() {
            in_time += 1;
            apply.signal("KILL");
        }
        apply.ended_within(DLQ_PATIENCE);
        if kill % 3 == 2 {
            // Another machine goes on, which has the plan alone.
            drop(std::fs::remove_file(world.path("plan.json.journal")));
        }
        assert!(times(&world, &world.topic).values().all(|times| *times == 1));
    }
    assert!(in_time > 0, "nothing was killed");
    let last = world.dlq(&["apply", "plan.json", "--yes", "--json"]).ended(0).json();
    assert_eq!(last["sent"].as_u64().expect("n") + last["already_there"].as_u64().expect("n"), count as u64);
    let times = times(&world, &world.topic);
    assert_eq!(times.len(), count, "replays are missing");
    assert!(times.values().all(|times| *times == 1), "replays are there twice");
    let replayed = world.dlq(&["list", "--status", "replayed", "--json"]).ended(0);
    assert_eq!(replayed.stdout.lines().count(), count, "replays without a status");
    // In the order of each key: here, each partition's own.
    for partition in 0..3 {
        let of = |raw: &crate::support::Raw| raw.partition == partition;
        let keys: Vec<_> = world.replays(&world.topic).into_iter().filter(of).map(|raw| raw.key).collect();
        let originals: Vec<_> =
            world.read(&world.topic).into_iter().filter(of).take(keys.len()).map(|raw| raw.key).collect();
        assert!(keys == originals, "partition {partition} is out of order");
    }
}

#[test]
fn plans_of_the_same_dead_letters_send_each_once_however_the_one_before_ended() {
    let Some(world) = World::real("overlapping-plans", 1) else { return };
    // More than the rounds below send at this rate.
    let count = 4_000;
    world.send_orders(count);
    world.bury(0, Category::Validation);
    for round in 0..4 {
        let plan = format!("plan-{round}.json");
        world.dlq(&["plan", "-o", &plan]).ended(0);
        let mut apply = world.start_dlq("apply", &["apply", &plan, "--yes", "--rate", "500"]);
        std::thread::sleep(Duration::from_millis(500 + any(1_500)));
        assert!(apply.is_running(), "nothing was killed: {}", apply.stderr());
        apply.signal("KILL");
        apply.ended_within(DLQ_PATIENCE);
    }
    world.dlq(&["plan", "-o", "last.json"]).ended(0);
    world.dlq(&["apply", "last.json", "--yes"]).ended(0);
    let mut times: HashMap<_, usize> = HashMap::new();
    for raw in world.replays(&world.topic) {
        *times.entry(raw.key).or_default() += 1;
    }
    assert_eq!(times.len(), count, "replays are missing");
    assert!(times.values().all(|times| *times == 1), "replays are there twice");
}

#[test]
fn what_cannot_be_sent_is_told_and_the_rest_goes_on() {
    let Some(world) = World::real("apply-trouble", 2) else { return };
    world.send_orders(12);
    world.bury(0, Category::Validation);
    world.dlq(&["plan", "-o", "plan.json"]).ended(0);
    change(&world, "plan.json", |plan| {
        let entries = plan["entries"].as_array_mut().expect("entries");
        entries[3]["payload_hash"] = json!("00");
        entries[4]["target"] = json!(format!("{}-nowhere", world.topic));
        entries[5]["target"] = json!("__consumer_offsets");
        let elsewhere = entries[7]["dlq_offset"].clone();
        entries[8]["dlq_offset"] = elsewhere;
    });
    world.delete_records_of(&world.dlq, 0, 2);
    let applied = world.dlq(&["apply", "plan.json", "--yes", "--json"]).ended(3).json();
    let expected = json!({"gone": 2, "changed": 2, "target_missing": 1, "target_refused": 1});
    assert_eq!((&applied["problems"], &applied["sent"]), (&expected, &json!(6)), "{applied}");
    assert_eq!(times(&world, &world.topic).len(), 6);
    let told: Vec<_> = applied["first_problems"].as_array().expect("a list").iter().collect();
    assert!(told.iter().any(|p| p["message"].as_str().is_some_and(|m| m.contains("expired, or purged"))));

    // The whole topic gone: nothing left to send, and nothing sent twice.
    world.delete(&world.dlq);
    let applied = world.dlq(&["apply", "plan.json", "--yes", "--json"]).ended(3).json();
    assert_eq!((&applied["sent"], &applied["already_there"]), (&json!(0), &json!(6)), "{applied}");
    assert_eq!(times(&world, &world.topic).len(), 6);
}

#[test]
fn topics_that_must_not_be_replayed_to_are_refused() {
    let Some(world) = World::real("apply-targets", 1) else { return };
    world.send_orders(3);
    world.bury(0, Category::Validation);
    world.dlq(&["plan", "-o", "plan.json"]).ended(0);
    for to in ["__consumer_offsets", &world.dlq, &format!("{}-status", world.dlq)] {
        world.dlq(&["apply", "plan.json", "--yes", "--to", to]).ended(2);
    }
    let allowed = [("PUBSUB_KAFKA_REPLAY_TARGETS", "repaired,other")];
    let applied = world.dlq_with(&["apply", "plan.json", "--yes", "--json"], &allowed).ended(3).json();
    assert_eq!((&applied["sent"], &applied["problems"]["target_refused"]), (&json!(0), &json!(3)));

    // Redirected: by key, with the same names, and once only.
    let repaired = format!("{}-repaired", world.topic);
    world.create(&repaired, 2, &[]);
    let applied = world.dlq(&["apply", "plan.json", "--yes", "--json", "--to", &repaired]).ended(0).json();
    assert_eq!(applied["sent"], json!(3));
    assert_eq!((times(&world, &repaired).len(), world.replays(&world.topic).len()), (3, 0));
    let again = world.dlq(&["apply", "plan.json", "--yes", "--json"]).ended(0).json();
    assert_eq!((&again["sent"], &again["already_there"]), (&json!(0), &json!(3)));
    assert_eq!(world.replays(&world.topic).len(), 0);
}

#[test]
fn a_rate_is_kept_and_a_stop_ends_at_a_boundary() {
    let Some(world) = World::real("apply-rate", 1) else { return };
    world.send_orders(1_200);
    world.bury(0, Category::Validation);
    world.dlq(&["plan", "-o", "plan.json"]).ended(0);
    let mut apply = world.start_dlq("apply", &["apply", "plan.json", "--yes", "--rate", "300"]);
    crate::support::wait_until("some replays", 60, || !world.replays(&world.topic).is_empty());
    apply.stop();
    assert!(apply.stderr().contains("dlq apply plan.json goes on"), "{}", apply.stderr());
    let first = times(&world, &world.topic).len();
    assert!((1..1_200).contains(&first), "{first}");

    // The records' own times say how fast they came.
    world.dlq(&["apply", "plan.json", "--yes", "--rate", "300"]).ended(0);
    let mut millis: Vec<i64> = world.timestamps(&world.topic).into_iter().skip(1_200 + first).collect();
    millis.sort_unstable();
    assert_eq!(millis.len(), 1_200 - first);
    let (took, count) = (millis[millis.len() - 1] - millis[0], i64::try_from(millis.len() - 1).expect("few"));
    let expected = count * 1_000 / 300;
    // A busy machine may be slower, but never faster.
    assert!((expected - 100..expected * 4).contains(&took), "{took} ms instead of {expected}");
    assert!(times(&world, &world.topic).values().all(|times| *times == 1));
}

#[test]
fn an_old_state_never_overwrites_a_newer_one() {
    let Some(world) = World::real("superseded", 2) else { return };
    let state = |partition, id: &str, sequence: i64| {
        let mut order = order(id);
        order["sequence"] = sequence.into();
        world.record(partition, Some(id.as_bytes()), Some(&bytes(&order)))
    };
    // a: sequence 1 dies, 2 is processed. b: 1 and 2 die. c: 1 dies, and 2 comes after the plan.
    world.send(vec![state(0, "a", 1), state(0, "b", 1), state(0, "b", 2), state(1, "c", 1)]);
    world.bury(0, Category::Validation);
    world.send(vec![state(0, "a", 2)]);
    let plan = world.dlq(&["plan", "-o", "plan.json", "--json"]).ended(0);
    assert_eq!([plan.count("superseded"), plan.count("passes")], [1, 3], "{}", plan.stdout);
    world.send(vec![state(1, "c", 2)]);
    let applied = world.dlq(&["apply", "plan.json", "--yes", "--json"]).ended(0).json();
    assert_eq!((&applied["sent"], &applied["left_out"]["superseded"]), (&json!(2), &json!(2)), "{applied}");
    let states = |key: &str| -> Vec<i64> {
        let all = world.read(&world.topic);
        let of = all.iter().filter(|raw| raw.key.as_deref() == Some(key.as_bytes()));
        of.map(|raw| {
            let order: Value = serde_json::from_slice(raw.value.as_deref().expect("a value")).expect("JSON");
            order["sequence"].as_i64().expect("a number")
        })
        .collect()
    };
    assert_eq!((states("a"), states("b"), states("c")), (vec![1, 2], vec![1, 2, 1, 2], vec![1, 2]));

    // The audit log knows it too, and a flag overrides it.
    world.track_to_end("tracker", &[]);
    let flags = ["--order-id", "a", "--events-file", "tracker.events", "--json"];
    let plan = world.dlq(&[&["plan", "-o", "known.json"], &flags[..]].concat()).ended(0);
    assert_eq!(plan.count("superseded"), 1, "{}", plan.stdout);
    world.dlq(&["apply", "known.json", "--yes"]).ended(3);
    world.dlq(&["apply", "known.json", "--yes", "--include-superseded"]).ended(0);
    assert_eq!(states("a"), [1, 2, 1]);
}

#[test]
fn a_canary_looks_before_it_goes_on() {
    let Some(world) = World::real("canary", 1) else { return };
    world.send_orders(30);
    world.bury(0, Category::Validation);
    world.commit(0, 30, "");
    let mut bad = order("bad");
    bad["items"][0]["quantity"] = 0.into();
    world.dlq(&["plan", "-o", "good.json"]).ended(0);
    let mut tracker = world.tracker("tracker", &["--commit-interval", "100ms"]);
    let canary = ["--yes", "--json", "--canary", "1,5", "--canary-timeout", "60s"];
    let applied = world.dlq(&[&["apply", "good.json"], &canary[..]].concat()).ended(0).json();
    assert_eq!((&applied["sent"], &applied["ended"]), (&json!(30), &json!("complete")), "{applied}");

    // Everything fails: the first one ends it.
    world.send((0..20).map(|_| world.record(0, Some(b"bad"), Some(&bytes(&bad)))).collect());
    tracker.wait_lines(50);
    let plan = world.dlq(&["plan", "-o", "bad.json", "--reason", "VALIDATION_ERROR", "--json"]).ended(0);
    assert_eq!(plan.count("fails_again"), 20);
    let applied = world.dlq(&[&["apply", "bad.json"], &canary[..]].concat()).ended(3).json();
    assert_eq!((&applied["sent"], &applied["ended"]), (&json!(1), &json!("aborted")), "{applied}");
    tracker.stop();

    // Nobody handles them: it does not wait for ever.
    let flags = ["--yes", "--json", "--canary", "1", "--canary-timeout", "1s", "--abort-above", "100%"];
    let applied = world.dlq(&[&["apply", "bad.json"], &flags[..]].concat()).ended(3).json();
    assert!(applied["why"].as_str().is_some_and(|why| why.contains("no outcome")), "{applied}");
}

#[test]
fn a_payload_that_was_left_out_is_taken_from_its_source_or_from_the_audit_log() {
    let Some(world) = World::real("left-out", 1) else { return };
    world.create(&world.dlq, 1, &[("max.message.bytes", "4000")]);
    let (key, large) = (vec![b'k'; 5_000], vec![b'y'; 20_000]);
    let header = [("trace", Some(&b"1"[..]))];
    for key in [&b"a"[..], &key] {
        world.send(vec![World::with_headers(world.record(0, Some(key), Some(&large)), &header)]);
    }
    world.track_to_end("tracker", &[]);
    world.dlq(&["plan", "-o", "plan.json"]).ended(0);
    world.dlq(&["plan", "-o", "logged.json"]).ended(0);
    let repaired = format!("{}-repaired", world.topic);
    world.create(&repaired, 1, &[]);
    world.dlq(&["apply", "plan.json", "--yes", "--to", &repaired]).ended(0);
    let sent = world.replays(&repaired);
    assert_eq!(sent.iter().map(|raw| raw.key.as_deref()).collect::<Vec<_>>(), [Some(&b"a"[..]), Some(&key)]);
    assert!(sent.iter().all(|raw| raw.value.as_ref() == Some(&large)));
    assert!(sent.iter().all(|raw| raw.header("trace") == [Some(&b"1"[..])]));

    // The source is gone: only the audit log has it.
    world.delete_records(0, 2);
    let flags = ["--yes", "--json", "--include-replayed", "--to", &repaired];
    let applied = world.dlq(&[&["apply", "logged.json"], &flags[..]].concat()).ended(3).json();
    assert_eq!(applied["problems"]["payload_gone"], json!(2), "{applied}");
    let with_log = [&["apply", "logged.json", "--events-file", "tracker.events"], &flags[..]].concat();
    assert_eq!(world.dlq(&with_log).ended(0).json()["sent"], json!(2));
    let sent = world.replays(&repaired);
    assert!(sent.len() == 4 && sent.iter().all(|raw| raw.value.as_ref() == Some(&large)));
}

#[test]
fn an_old_timestamp_is_kept_only_where_it_lasts() {
    let Some(world) = World::real("keep-timestamp", 1) else { return };
    let hour_ago = jiff::Timestamp::now().as_millisecond() - 3_600_000;
    let mut record = world.record(0, Some(b"o"), Some(&bytes(&order("o"))));
    record.timestamp_ms = Some(hour_ago);
    world.send(vec![record]);
    world.bury(0, Category::Validation);
    world.dlq(&["plan", "-o", "plan.json"]).ended(0);
    let brief = format!("{}-brief", world.topic);
    world.create(&brief, 1, &[("retention.ms", "60000")]);
    let flags = ["--yes", "--json", "--keep-timestamp"];
    let applied = world.dlq(&[&["apply", "plan.json", "--to", &brief], &flags[..]].concat()).ended(3).json();
    assert_eq!(applied["problems"], json!({"timestamp_expired": 1}));
    world.dlq(&[&["apply", "plan.json"], &flags[..]].concat()).ended(0);
    let stamps = world.timestamps(&world.topic);
    assert_eq!(stamps, [hour_ago, hour_ago]);
}

#[test]
fn a_target_that_we_may_not_write_to_does_not_keep_the_others_from_theirs() {
    let folder = tempfile::tempdir().expect("a folder");
    let extra = folder.path().join("rights.properties");
    let authorizer = "org.apache.kafka.metadata.authorizer.StandardAuthorizer";
    let text = format!("authorizer.class.name={authorizer}\nallow.everyone.if.no.acl.found=true\n");
    std::fs::write(&extra, text).expect("written");
    let own = match OwnKafka::start_with(|_, _| Some(extra.clone())) {
        Ok(own) => own,
        Err(why) => return not_run("rights", &why),
    };
    let world = World::on(&own.servers, "rights", 1);
    let forbidden = format!("{}-forbidden", world.topic);
    world.create(&forbidden, 1, &[]);
    // What has a rule has no other rights than that.
    let rule = ["--allow-principal", "User:ANONYMOUS", "--operation", "Describe", "--operation", "Read"];
    let acl = ["org.apache.kafka.tools.AclCommand", "--bootstrap-server", &own.servers, "--add"];
    own.run(&[&acl[..], &rule, &["--topic", &forbidden]].concat());

    world.send_orders(6);
    world.bury(0, Category::Validation);
    world.dlq(&["plan", "-o", "plan.json"]).ended(0);
    change(&world, "plan.json", |plan| {
        for at in [1, 4] {
            plan["entries"][at]["target"] = json!(forbidden);
        }
    });
    let applied = world.dlq(&["apply", "plan.json", "--yes", "--json"]).ended(3).json();
    assert_eq!((&applied["sent"], &applied["problems"]), (&json!(4), &json!({"target_forbidden": 2})));
    assert_eq!(times(&world, &world.topic).len(), 4);
    assert!(world.replays(&forbidden).is_empty());
}
