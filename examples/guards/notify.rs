//! What a secondary target costs the critical path. A tracker for each kind of target, and two without any, are up and
//! warm all the time; orders go to one of them after the other, in short rounds and in another order each time. So each
//! kind is compared with none under the same conditions, and the second one without any shows how far two that do the same
//! are apart.

use std::time::Duration;

use crate::figures::{Times, judge, quotient, shown};
use crate::target::{Hit, Mood, Target};
use crate::watch::Watch;
use crate::{Ground, LATE, PARTITIONS, Tracker, WELL, last_words};

const MOODS: [(&str, Option<Mood>); 6] = [
    ("none", None),
    ("none, again", None),
    ("works", Some(WELL)),
    ("gone", Some(Mood::Gone)),
    ("slow (30 s)", Some(Mood::Hangs)),
    ("floods", Some(Mood::Floods)),
];

/// Runs all of them, and prints the table.
pub fn run(ground: &mut Ground) {
    let topics = MOODS.map(|_| ground.topic());
    let mut trackers: Vec<(String, Tracker)> = Vec::new();
    for (topic, (_, mood)) in topics.into_iter().zip(MOODS) {
        let main = Target::start(ground.targets.handle(), WELL, Hit::All);
        let second = mood.map(|mood| Target::start(ground.others.handle(), mood, Hit::All));
        let mut flags = vec!["--deliver-to", &main.url];
        flags.extend(second.iter().flat_map(|second| ["--notify", &second.url]));
        let tracker = ground.tracker(&topic, "main", &flags);
        trackers.push((topic, tracker));
    }
    let rate = ground.flags.rate.unwrap_or(1000);
    let time = Duration::from_secs(ground.flags.seconds.unwrap_or(1));
    for (topic, tracker) in &trackers {
        ground.warm_up(topic, rate, &[tracker]);
    }
    let mut found: [Vec<Times>; MOODS.len()] = MOODS.map(|_| Vec::new());
    for round in 0..ground.flags.rounds.unwrap_or(36) {
        for at in turn(round) {
            let (topic, tracker) = &trackers[at];
            let watch = Watch::start(tracker.events.clone());
            let sent = ground.load.send(topic, PARTITIONS, rate, time);
            let times = judge(&sent, &watch.wait_for(sent.keys(), LATE), |_| true);
            eprintln!("round {}: secondary target {}: {times:?}", round + 1, MOODS[at].0);
            found[at].push(times);
        }
    }
    println!(
        "| the secondary target | orders | p50; p99 (ms) | errors | p99 ÷ that without (nine of ten draws) | posted, failed, dropped: full, out, ended |"
    );
    println!("|---|---|---|---|---|---|");
    for (((name, _), rounds), (_, mut tracker)) in MOODS.iter().zip(&found).zip(trackers) {
        tracker.program.signal("TERM");
        assert_eq!(tracker.program.ended_within(Duration::from_secs(30)), Some(0));
        let orders: usize = rounds.iter().map(|one| one.orders).sum();
        // Those without, together: what one of them happens to have differs as much as the others do.
        let [times, low, high] = quotient(rounds, [&found[0], &found[1]]);
        let words = last_words(&tracker.log);
        println!("| {name} | {orders} | {} | {times:.2} ({low:.2}–{high:.2}) | {words} |", shown(rounds));
    }
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
