//! What a secondary target costs the critical path. A tracker for each kind of target, and two without any, are up and
//! warm all the time; orders go to one of them after the other, in short rounds and in another order each time. So each
//! kind is compared with none under the same conditions, and the second one without any shows how far two that do the same
//! are apart. That is a tenth and more for as long as they run, whatever they do: so all of them are started anew several
//! times, and what is found counts by these sets.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use crate::figures::{Times, judge, quotient, shown};
use crate::target::{Hit, Mood, Target};
use crate::watch::Watch;
use crate::{Ground, LATE, PARTITIONS, Tracker, WELL};

const MOODS: [(&str, Option<Mood>); 6] = [
    ("none", None),
    ("none, again", None),
    ("works", Some(WELL)),
    ("gone", Some(Mood::Gone)),
    ("slow (30 s)", Some(Mood::Hangs)),
    ("floods", Some(Mood::Floods)),
];

/// So many rounds each set of trackers has.
const ROUNDS: usize = 6;

/// What trackers said of their secondary targets when they ended, all of a kind together: posted, failed, dropped because
/// the queue was full, because the target was held to be out, because the tracker ended.
type Told = [u64; 5];

/// Runs all of them, and prints the table.
pub fn run(ground: &mut Ground) {
    let mut found: [Vec<Times>; MOODS.len()] = MOODS.map(|_| Vec::new());
    let mut told = MOODS.map(|_| Told::default());
    let rounds = ground.flags.rounds.unwrap_or(48);
    for first in (0..rounds).step_by(ROUNDS) {
        run_set(ground, first..rounds.min(first + ROUNDS), &mut found, &mut told);
    }
    println!(
        "| the secondary target | orders | p50; p99 (ms) | errors | p99 ÷ that without (nine of ten draws) | posted, failed, dropped: full, out, ended |"
    );
    println!("|---|---|---|---|---|---|");
    for (((name, mood), rounds), told) in MOODS.iter().zip(&found).zip(told) {
        let orders: usize = rounds.iter().map(|one| one.orders).sum();
        // Those without, together: what one of them happens to have differs as much as the others do.
        let [times, low, high] = quotient(rounds, [&found[0], &found[1]], ROUNDS);
        let [posted, failed, full, out, ended] = told;
        let words = match mood {
            Some(_) => format!("{posted}, {failed}, dropped {full}, {out}, {ended}"),
            None => "–".to_owned(),
        };
        println!("| {name} | {orders} | {} | {times:.2} ({low:.2}–{high:.2}) | {words} |", shown(rounds));
    }
}

/// Starts all of them, runs these rounds, and stops them.
fn run_set(
    ground: &mut Ground,
    rounds: Range<usize>,
    found: &mut [Vec<Times>; MOODS.len()],
    told: &mut [Told; MOODS.len()],
) {
    let mut trackers: Vec<(usize, String, Tracker)> = Vec::new();
    for at in turn(rounds.start) {
        let topic = ground.topic();
        let main = Target::start(ground.targets.handle(), WELL, Hit::All);
        let second = MOODS[at].1.map(|mood| Target::start(ground.others.handle(), mood, Hit::All));
        let mut flags = vec!["--deliver-to", &main.url];
        flags.extend(second.iter().flat_map(|second| ["--notify", &second.url]));
        let tracker = ground.tracker(&topic, "main", &flags);
        trackers.push((at, topic, tracker));
    }
    trackers.sort_unstable_by_key(|(at, ..)| *at);
    let rate = ground.flags.rate.unwrap_or(1000);
    let time = Duration::from_secs(ground.flags.seconds.unwrap_or(1));
    for (_, topic, tracker) in &trackers {
        ground.warm_up(topic, rate, &[tracker]);
    }
    for round in rounds {
        for at in turn(round) {
            let (_, topic, tracker) = &trackers[at];
            let watch = Watch::start(tracker.events.clone());
            let sent = ground.load.send(topic, PARTITIONS, rate, time);
            let times = judge(&sent, &watch.wait_for(sent.keys(), LATE), |_| true);
            eprintln!("round {}: secondary target {}: {times:?}", round + 1, MOODS[at].0);
            found[at].push(times);
        }
    }
    for (at, _, mut tracker) in trackers {
        tracker.program.signal("TERM");
        assert_eq!(tracker.program.ended_within(Duration::from_secs(30)), Some(0));
        if MOODS[at].1.is_some() {
            for (sum, more) in told[at].iter_mut().zip(last_words(&tracker.log)) {
                *sum += more;
            }
        }
        // It is in memory, and there are many sets.
        std::fs::remove_file(&tracker.events).expect("an audit log");
    }
}

/// What a tracker said of its secondary target when it ended.
fn last_words(log: &Path) -> Told {
    let text = std::fs::read_to_string(log).expect("a health log");
    let line = text.lines().find(|line| line.contains("posted outcomes to a secondary target"));
    let line: serde_json::Value = serde_json::from_str(line.expect("its last words")).expect("JSON");
    let counts = ["delivered", "failed", "dropped_full", "dropped_out", "dropped_ended"];
    counts.map(|name| line["metadata"][name].as_u64().expect("a count"))
}

/// The order of a round: each begins with another one, and every other round goes backwards, so that none always follows
/// the same.
fn turn(round: usize) -> Vec<usize> {
    let mut turn: Vec<usize> = (0..MOODS.len()).map(|at| (at + round / 2) % MOODS.len()).collect();
    if round % 2 == 1 {
        turn.reverse();
    }
    turn
}
