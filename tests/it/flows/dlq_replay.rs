//! The dlq tool from the plan to the outcome: what is sent, how often, and what becomes of it.

use pubsub_kafka::models::{DeadLetter, Outcome};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Answer, Target, World, bytes, order};

/// The replays that a plan's file names, by the ids of their dead letters.
fn planned(world: &World, file: &str) -> Vec<(Uuid, Uuid)> {
    let text = std::fs::read_to_string(world.path(file)).expect("the plan");
    let plan: Value = serde_json::from_str(&text).expect("JSON");
    let plan_id: Uuid = plan["plan_id"].as_str().expect("text").parse().expect("an id");
    let uuid = |value: &Value| value.as_str().expect("text").parse::<Uuid>().expect("an id");
    let entries = plan["entries"].as_array().expect("entries");
    let pairs: Vec<_> = entries.iter().map(|entry| (uuid(&entry["id"]), uuid(&entry["replay_id"]))).collect();
    for (id, replay_id) in &pairs {
        assert_eq!(*replay_id, Uuid::new_v5(&plan_id, id.to_string().as_bytes()));
    }
    pairs
}

#[test]
fn a_plan_is_applied_once_and_followed_to_its_end() {
    let Some(world) = World::real("replay", 2) else { return };
    let header = [("trace", Some(&b"1"[..])), ("trace", None), ("kafka_dlt-exception-message", Some(b"old"))];
    let id = |number: usize| format!("o-{number}");
    let send = |number: usize| {
        let key = id(number);
        let partition = i32::try_from(number % 2).expect("small");
        let record = world.record(partition, Some(key.as_bytes()), Some(&bytes(&order(&key))));
        World::with_headers(record, &header)
    };
    let mut records: Vec<_> = (0..6).map(send).collect();
    records.push(world.record(0, Some(b"x"), Some(b"not an order")));
    world.send(records);
    let target = Target::start(|_| Answer::Status(422));
    let audit = world.track_to_end("first", &["--deliver-to", &target.url(), "--outage-guard", "off"]);
    assert_eq!(audit.count(Outcome::DeadLettered), 7);
    let ends = world.ends();

    let made = world.dlq(&["plan", "-o", "plan.json", "--json"]).ended(0);
    let counts = ["passes", "fails_again", "superseded", "already_replayed", "unknown"];
    assert_eq!(counts.map(|name| made.count(name)), [6, 1, 0, 0, 0], "{}", made.stdout);
    assert_eq!(world.ends(), ends, "something was sent");
    let pairs = planned(&world, "plan.json");
    assert_eq!(pairs.len(), 7);

    // Nobody to ask: refused, and nothing is written.
    world.dlq(&["apply", "plan.json"]).ended(4);
    let dry = world.dlq(&["apply", "plan.json", "--dry-run", "--json"]).ended(0);
    assert_eq!(dry.json()["sent"], 7);
    assert_eq!((world.ends(), world.replays(&world.topic).len()), (ends, 0));
    assert_eq!(world.dlq(&["status", "plan.json", "--json"]).ended(3).count("pending"), 7);

    let applied = world.dlq(&["apply", "plan.json", "--yes", "--json"]).ended(0).json();
    assert_eq!((&applied["sent"], &applied["already_there"]), (&json!(7), &json!(0)));
    let replays = world.replays(&world.topic);
    let originals = world.read(&world.topic);
    assert_eq!(replays.len(), 7);
    for replay in &replays {
        let text = |name| String::from_utf8_lossy(replay.header(name)[0].expect("a value")).into_owned();
        let (letter, _) = pairs
            .iter()
            .find(|(_, id)| *id == text("dlq.replay-id").parse::<Uuid>().expect("an id"))
            .expect("planned");
        assert_eq!((text("dlq.replay-count"), text("dlq.root-id")), ("1".to_owned(), letter.to_string()));
        assert!(text("dlq.original-timestamp").ends_with('Z'));
        let original = originals
            .iter()
            .find(|raw| raw.key == replay.key && raw.header("dlq.replay-id").is_empty())
            .expect("the original");
        assert_eq!((original.partition, &original.value), (replay.partition, &replay.value));
        let own: Vec<_> = replay.headers.iter().filter(|(name, _)| !name.starts_with("dlq.")).collect();
        let before: Vec<_> =
            original.headers.iter().filter(|(name, _)| !name.starts_with("kafka_dlt-")).collect();
        assert_eq!(own, before);
    }

    // Again: everything is there.
    let again = world.dlq(&["apply", "plan.json", "--yes", "--json"]).ended(0).json();
    assert_eq!((&again["sent"], &again["already_there"]), (&json!(0), &json!(7)));
    assert_eq!(world.replays(&world.topic).len(), 7);
    assert_eq!(world.dlq(&["status", "plan.json", "--json"]).ended(3).count("pending"), 7);

    // The target works again.
    let audit = world.track_to_end("second", &[]);
    let with_replay = audit.entries.iter().filter(|entry| entry.replay_id.is_some());
    assert_eq!(with_replay.count(), 7);
    for flags in [&["--json"][..], &["--json", "--events-file", "second.events"]] {
        let status = world.dlq(&[&["status", "plan.json"], flags].concat()).ended(3);
        let counts = ["pending", "processed", "failed_again"].map(|name| status.count(name));
        assert_eq!(counts, [0, 6, 1], "{}", status.stdout);
        let json = status.json();
        let replays = json["replays"].as_array().expect("a list");
        let failed = replays.iter().find(|replay| replay["state"] == "failed_again").expect("one");
        assert!(failed["why"].as_str().expect("text").contains("not JSON"), "{failed}");
    }

    // What died again is a new dead letter of the first one's, and another plan knows it.
    let letters = world.read(&world.dlq);
    let last = letters.iter().find(|raw| raw.header("dlq.replay-count") == [Some(&b"1"[..])]).expect("one");
    let letter: DeadLetter =
        serde_json::from_slice(last.value.as_deref().expect("a value")).expect("a letter");
    assert!(letter.root_id.is_some_and(|root| root != letter.id && pairs.iter().any(|(id, _)| *id == root)));
    let next = world.dlq(&["plan", "-o", "next.json", "--json"]).ended(0);
    assert_eq!(counts.map(|name| next.count(name)), [0, 1, 0, 7, 0], "{}", next.stdout);
    let stays = world.dlq(&["apply", "next.json", "--yes", "--json"]).ended(0).json();
    assert_eq!((&stays["sent"], &stays["left_out"]["already_replayed"]), (&json!(1), &json!(7)));
}
