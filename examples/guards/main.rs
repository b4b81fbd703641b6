//! What a failure of one target costs the others, measured: each failure is injected while orders come at an even pace,
//! and the time from Kafka's acknowledgement to the audit line is taken of what the failure does not concern. All cases
//! are run one after the other, those without a failure among them, several times over: medians count, so that what else
//! the machine does at one moment does not pass for the cost of a failure.
//! Prints the tables of `docs/guards.md`. Needs Kafka, and a quiet machine for good figures.
//!
//! ```text
//! scripts/guards.sh
//! ```

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a measurement fails by panicking, and prints its figures"
)]

mod load;
#[path = "../../tests/it/support/orders.rs"]
#[allow(dead_code, reason = "the flows use more of it")]
mod orders;
#[path = "../torture/programs.rs"]
#[allow(dead_code, reason = "the fault test uses more of it")]
mod programs;
#[allow(dead_code, reason = "the other measurement uses more of it")]
mod target;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use pubsub_kafka::config::KafkaSettings;
use pubsub_kafka::kafka::{Admin, TopicSpec};
use tokio::runtime::Runtime;

use crate::load::{Watch, judge, send};
use crate::programs::{Program, role};
use crate::target::{Hit, Mood, Target};

const PARTITIONS: i32 = 3;

/// Injects failures of targets, and prints what they cost the others.
#[derive(Parser)]
struct Flags {
    /// Where Kafka is
    #[arg(long, env = "KAFKA_BOOTSTRAP_SERVERS", default_value = "localhost:9092")]
    bootstrap_servers: String,
    /// How long orders are sent in each case
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// How often each case is run: all of them one after the other, then again
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Orders per second, all partitions together
    #[arg(long, default_value_t = 300)]
    rate: u32,
    /// Only the tables with this in their names: delivery, notify
    #[arg(long, default_value = "")]
    only: String,
    /// Where the audit logs go
    #[arg(long)]
    folder: PathBuf,
}

struct Ground {
    runtime: Runtime,
    kafka: KafkaSettings,
    flags: Flags,
    case: u32,
}

/// A tracker at work, and its audit log as it is seen.
struct Tracker {
    program: Program,
    watch: Watch,
    log: PathBuf,
}

impl Ground {
    /// A topic of its own, for one case.
    fn topic(&mut self) -> String {
        self.case += 1;
        let topic = format!("guards-{}-{}", std::process::id(), self.case);
        let admin = Admin::new(&self.kafka).expect("an admin client");
        let spec =
            TopicSpec { name: topic.clone(), partitions: PARTITIONS, replication: 1, config: Vec::new() };
        self.runtime.block_on(admin.create(&spec)).expect("a topic");
        topic
    }

    fn tracker(&self, topic: &str, name: &str, flags: &[&str]) -> Tracker {
        let folder: &Path = &self.flags.folder;
        let file = |ending: &str| folder.join(format!("{topic}-{name}.{ending}"));
        let mut command = role("tracker", folder);
        let (group, dlq) = (format!("{topic}-{name}"), format!("{topic}-{name}-dlq"));
        let fixed =
            ["-b", &self.kafka.bootstrap_servers, "--topic", topic, "--group", &group, "--dlq-topic", &dlq];
        command.args(fixed).arg("--log-file").arg(file("log")).arg("--events-file").arg(file("events"));
        command.args(["--outage-guard-wait", "2s"]).args(flags);
        let program = Program::start(command, folder, &format!("{topic}-{name}"));
        Tracker { program, watch: Watch::start(file("events")), log: file("log") }
    }

    fn send(&self, topic: &str, rate: u32, time: Duration) -> std::collections::HashMap<load::At, Instant> {
        send(self.runtime.handle(), &self.kafka, topic, PARTITIONS, rate, time)
    }

    /// Sends one order for each partition, again and again, until every tracker that can has seen all of them.
    fn warm_up(&self, topic: &str, trackers: &[&Tracker], counts: impl Fn(&load::At) -> bool + Copy) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let sent = self.send(topic, 30, Duration::from_millis(500));
        for tracker in trackers {
            while judge(&sent, &tracker.watch.seen(), counts).1 > 0 {
                assert!(Instant::now() < deadline, "{topic}: no outcomes after a minute");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// What one failure of a delivery target costs the others, once.
    fn delivered(&mut self, case: &Case) -> Found {
        let topic = self.topic();
        let handle = self.runtime.handle();
        let hit_target = Target::start(handle, case.mood, case.hit);
        let other_target = Target::start(handle, WELL, Hit::All);
        let hit_flags = [case.flags, &["--deliver-to", &hit_target.url]].concat();
        let one = self.tracker(&topic, "hit", &hit_flags);
        let two = self.tracker(&topic, "other", &["--deliver-to", &other_target.url]);
        let is_concerned = |at: &load::At| case.hit == Hit::All || at.0 == 0;
        self.warm_up(&topic, &[&two], |_| true);
        if case.hit != Hit::All {
            self.warm_up(&topic, &[&one], |at| !is_concerned(at));
        }
        let sent = self.send(&topic, self.flags.rate, Duration::from_secs(self.flags.seconds));
        std::thread::sleep(LATE);
        let (first, second) = (one.watch.seen(), two.watch.seen());
        let (others, other_errors, count) = judge(&sent, &first, |at| !is_concerned(at));
        let (target, target_errors, _) = judge(&sent, &second, |_| true);
        let concerned: Vec<_> = sent.keys().filter(|at| is_concerned(at)).map(|at| first.get(at)).collect();
        let ended = |how| concerned.iter().flatten().filter(|(_, is_processed)| *is_processed == how).count();
        Found {
            others: (count > 0).then_some((others, other_errors)),
            target: (target, target_errors),
            concerned: [ended(true), ended(false), concerned.iter().filter(|found| found.is_none()).count()],
        }
    }

    fn delivery(&mut self) {
        let mut found: Vec<Vec<Found>> = CASES.iter().map(|_| Vec::new()).collect();
        for round in 1..=self.flags.rounds {
            for (case, found) in CASES.iter().zip(&mut found) {
                let one = self.delivered(case);
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

    /// What a secondary target costs the critical path, once.
    fn notified(&mut self, mood: Option<Mood>) -> (([f64; 3], usize), String) {
        let topic = self.topic();
        let handle = self.runtime.handle();
        let main = Target::start(handle, WELL, Hit::All);
        let second = mood.map(|mood| Target::start(handle, mood, Hit::All));
        let mut flags = vec!["--deliver-to", &main.url];
        flags.extend(second.iter().flat_map(|second| ["--notify", &second.url]));
        let mut tracker = self.tracker(&topic, "main", &flags);
        self.warm_up(&topic, &[&tracker], |_| true);
        let sent = self.send(&topic, self.flags.rate, Duration::from_secs(self.flags.seconds));
        std::thread::sleep(LATE);
        let (times, errors, _) = judge(&sent, &tracker.watch.seen(), |_| true);
        tracker.program.signal("TERM");
        assert_eq!(tracker.program.ended_within(Duration::from_secs(30)), Some(0));
        ((times, errors), last_words(&tracker.log))
    }

    fn notify(&mut self) {
        const MOODS: [(&str, Option<Mood>); 5] = [
            ("none", None),
            ("works", Some(WELL)),
            ("gone", Some(Mood::Gone)),
            ("slow (30 s)", Some(Mood::Hangs)),
            ("floods", Some(Mood::Floods)),
        ];
        let mut found = MOODS.map(|_| Vec::new());
        let mut words = MOODS.map(|_| String::new());
        for round in 0..self.flags.rounds {
            // Each round begins with another one, so that none always follows the same.
            for at in (0..MOODS.len()).map(|at| (at + round) % MOODS.len()) {
                let (name, mood) = MOODS[at];
                let (one, said) = self.notified(mood);
                eprintln!("round {}: secondary target {name}: {one:?}", round + 1);
                found[at].push(one);
                words[at] = said;
            }
        }
        println!(
            "| the secondary target | p50; p99 (ms) | errors | p99 ÷ that without | the last round: posted, failed, dropped: full, out, ended |"
        );
        println!("|---|---|---|---|---|");
        let usual = p99(&found[0])[1];
        for (((name, _), found), words) in MOODS.iter().zip(&found).zip(&words) {
            println!("| {name} | {} | {:.2} | {words} |", shown(found), p99(found)[1] / usual);
        }
    }
}

/// A failure of a delivery target, and how its tracker is set.
struct Case {
    ordering: &'static str,
    flags: &'static [&'static str],
    name: &'static str,
    mood: Mood,
    hit: Hit,
}

/// What one run of a case has shown: times and errors.
#[derive(Debug)]
struct Found {
    others: Option<([f64; 3], usize)>,
    target: ([f64; 3], usize),
    /// Processed, dead letters, waiting.
    concerned: [usize; 3],
}

const WELL: Mood = Mood::Well(Duration::ZERO);
/// What has no line so long after the last order was sent counts as an error.
const LATE: Duration = Duration::from_secs(1);

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

/// The p99 of the rounds: the least, the median, the most.
fn p99(rounds: &[([f64; 3], usize)]) -> [f64; 3] {
    let mut each: Vec<f64> = rounds.iter().map(|([_, p99, _], _)| *p99).collect();
    each.sort_unstable_by(f64::total_cmp);
    [each[0], middle(&each), each[each.len() - 1]]
}

/// The median of what is in order.
fn middle(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) { f64::midpoint(sorted[half - 1], sorted[half]) } else { sorted[half] }
}

/// Two cells: medians over the rounds, and the errors of all of them.
fn shown(rounds: &[([f64; 3], usize)]) -> String {
    if rounds.is_empty() {
        return "– | –".to_owned();
    }
    let mut halves: Vec<f64> = rounds.iter().map(|([half, ..], _)| *half).collect();
    halves.sort_unstable_by(f64::total_cmp);
    let [least, median, most] = p99(rounds);
    let errors: usize = rounds.iter().map(|(_, errors)| errors).sum();
    format!("{:.1}; {median:.1} ({least:.1}–{most:.1}) | {errors}", middle(&halves))
}

/// What the tracker said of its secondary target when it ended.
fn last_words(log: &Path) -> String {
    let text = std::fs::read_to_string(log).expect("a health log");
    let line = text.lines().find(|line| line.contains("posted outcomes to a secondary target"));
    let Some(line) = line else { return "–".to_owned() };
    let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
    let counts = ["delivered", "failed", "dropped_full", "dropped_out", "dropped_ended"];
    let counts = counts.map(|name| line["metadata"][name].to_string());
    format!("{}, {}, dropped {}, {}, {}", counts[0], counts[1], counts[2], counts[3], counts[4])
}

fn main() -> ExitCode {
    // The trackers are this program again.
    if std::env::args().nth(1).is_some_and(|first| first == "tracker") {
        return pubsub_kafka::cli::dispatch();
    }
    let flags = Flags::parse();
    std::fs::create_dir_all(&flags.folder).expect("a folder");
    let kafka =
        KafkaSettings { bootstrap_servers: flags.bootstrap_servers.clone(), ..KafkaSettings::default() };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let mut ground = Ground { runtime, kafka, flags, case: 0 };
    if "delivery".contains(&ground.flags.only) {
        ground.delivery();
        println!();
    }
    if "notify".contains(&ground.flags.only) {
        ground.notify();
    }
    ExitCode::SUCCESS
}
