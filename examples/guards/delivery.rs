//! What a failure of the delivery target costs the other partitions, and another tracker with a target of its own. All
//! cases are run one after the other, those without a failure among them, several times over: medians count, so that what
//! else the machine does at one moment does not pass for the cost of a failure.

use std::time::Duration;

use crate::acknowledged::At;
use crate::figures::{Times, judge, shown};
use crate::target::{Hit, Mood, Target};
use crate::watch::Watch;
use crate::{Ground, LATE, PARTITIONS, WELL};

struct Case {
    ordering: &'static str,
    flags: &'static [&'static str],
    name: &'static str,
    mood: Mood,
    hit: Hit,
}

/// What one run of a case has shown.
#[derive(Debug)]
struct Found {
    others: Option<Times>,
    target: Times,
    /// Processed, dead letters, waiting.
    concerned: [usize; 3],
}

const CASES: [Case; 13] = {
    const fn case(
        ordering: &'static str,
        flags: &'static [&'static str],
        name: &'static str,
        mood: Mood,
        hit: Hit,
    ) -> Case {
        Case { ordering, flags, name, mood, hit }
    }
    const KEY: &[&str] = &["--ordering", "key"];
    const BULKHEAD: &[&str] = &["--ordering", "key", "--partition-concurrency", "20"];
    const NO_GUARD: &[&str] = &["--ordering", "key", "--outage-guard", "off"];
    let one = Hit::PartitionZero;
    [
        case("partition", &[], "works", WELL, one),
        case("partition", &[], "fails (503)", Mood::Fails, one),
        case("partition", &[], "slow (30 s)", Mood::Hangs, one),
        case("partition", &[], "flaps", Mood::Flaps, one),
        case("key", KEY, "works", WELL, one),
        case("key", KEY, "fails (503)", Mood::Fails, one),
        case("key, outage-guard off", NO_GUARD, "fails (503)", Mood::Fails, one),
        case("key", KEY, "slow (30 s)", Mood::Hangs, one),
        case("key, partition-concurrency 20", BULKHEAD, "slow (30 s)", Mood::Hangs, one),
        case("key", KEY, "flaps", Mood::Flaps, one),
        case("partition", &[], "gone", Mood::Gone, Hit::All),
        case("partition", &[], "slow (30 s)", Mood::Hangs, Hit::All),
        case("partition", &[], "flaps", Mood::Flaps, Hit::All),
    ]
};

/// Runs all cases, and prints the table.
pub fn run(ground: &mut Ground) {
    let mut found: Vec<Vec<Found>> = CASES.iter().map(|_| Vec::new()).collect();
    for round in 1..=ground.flags.rounds.unwrap_or(3) {
        for (case, found) in CASES.iter().zip(&mut found) {
            let one = run_one(ground, case);
            eprintln!("round {round}: {}, {}: {one:?}", case.ordering, case.name);
            found.push(one);
        }
    }
    println!(
        "| order kept by | the target | for | other partitions: p50; p99 (ms) | errors | other target: p50; p99 (ms) | errors | orders concerned: processed, dead letters, waiting |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (case, found) in CASES.iter().zip(&found) {
        let others: Vec<_> = found.iter().filter_map(|one| one.others).collect();
        let targets: Vec<_> = found.iter().map(|one| one.target).collect();
        let [processed, dead, waiting] =
            std::array::from_fn(|at| found.iter().map(|one| one.concerned[at]).sum::<usize>());
        println!(
            "| {} | {} | {} | {} | {} | {processed}, {dead}, {waiting} |",
            case.ordering,
            case.name,
            if case.hit == Hit::All { "all" } else { "partition 0" },
            shown(&others),
            shown(&targets),
        );
    }
}

fn run_one(ground: &mut Ground, case: &Case) -> Found {
    let topic = ground.topic();
    let hit_target = Target::start(ground.targets.handle(), case.mood, case.hit);
    let other_target = Target::start(ground.targets.handle(), WELL, Hit::All);
    hit_target.behave(true);
    let hit_flags = [case.flags, &["--deliver-to", &hit_target.url]].concat();
    let one = ground.tracker(&topic, "hit", &hit_flags);
    let two = ground.tracker(&topic, "other", &["--deliver-to", &other_target.url]);
    let rate = ground.flags.rate.unwrap_or(300);
    ground.warm_up(&topic, rate, &[&one, &two]);

    let is_concerned = |at: &At| case.hit == Hit::All || at.0 == 0;
    let watches = [&one, &two].map(|tracker| Watch::start(tracker.events.clone()));
    hit_target.behave(false);
    let time = Duration::from_secs(ground.flags.seconds.unwrap_or(3));
    let sent = ground.load.send(&topic, PARTITIONS, rate, time);
    std::thread::sleep(LATE);
    let [first, second] = watches.map(|watch| watch.seen());
    let others = judge(&sent, &first, |at| !is_concerned(at));
    let concerned: Vec<_> = sent.keys().filter(|at| is_concerned(at)).map(|at| first.get(at)).collect();
    let ended = |how| concerned.iter().flatten().filter(|(_, is_processed)| *is_processed == how).count();
    Found {
        others: (others.orders > 0).then_some(others),
        target: judge(&sent, &second, |_| true),
        concerned: [ended(true), ended(false), concerned.iter().filter(|found| found.is_none()).count()],
    }
}
