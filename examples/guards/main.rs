//! What a failure of one target costs the others, measured: each failure is injected while orders come at an even pace,
//! and the time from Kafka's acknowledgement to the audit line is taken of what the failure does not concern.
//! Prints the tables of `docs/guards.md`. Needs Kafka, and a quiet machine for good figures.
//!
//! ```text
//! scripts/guards.sh --seconds 15
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
    #[arg(long, default_value_t = 15)]
    seconds: u64,
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

    fn delivery(&mut self) {
        let gone = Mood::Gone;
        let key = ["--ordering", "key"];
        let bulkhead = ["--ordering", "key", "--partition-concurrency", "20"];
        println!(
            "| order kept by | the target | for | other partitions: p50, p99, most (ms) | errors | other target: p50, p99, most (ms) | errors | orders concerned: processed, dead letters, waiting |"
        );
        println!("|---|---|---|---|---|---|---|---|");
        for (ordering, flags, name, mood, hit) in [
            ("partition", &[][..], "works", Mood::Well(Duration::ZERO), Hit::PartitionZero),
            ("partition", &[], "fails (503)", Mood::Fails, Hit::PartitionZero),
            ("partition", &[], "slow (30 s)", Mood::Hangs, Hit::PartitionZero),
            ("partition", &[], "flaps", Mood::Flaps, Hit::PartitionZero),
            ("key", &key, "works", Mood::Well(Duration::ZERO), Hit::PartitionZero),
            ("key", &key, "fails (503)", Mood::Fails, Hit::PartitionZero),
            ("key", &key, "slow (30 s)", Mood::Hangs, Hit::PartitionZero),
            ("key, partition-concurrency 20", &bulkhead, "slow (30 s)", Mood::Hangs, Hit::PartitionZero),
            ("key", &key, "flaps", Mood::Flaps, Hit::PartitionZero),
            ("partition", &[], "gone", gone, Hit::All),
            ("partition", &[], "slow (30 s)", Mood::Hangs, Hit::All),
            ("partition", &[], "flaps", Mood::Flaps, Hit::All),
        ] {
            let topic = self.topic();
            let handle = self.runtime.handle();
            let hit_target = Target::start(handle, mood, hit);
            let other_target = Target::start(handle, Mood::Well(Duration::ZERO), Hit::All);
            let hit_flags = [flags, &["--deliver-to", &hit_target.url]].concat();
            let one = self.tracker(&topic, "hit", &hit_flags);
            let two = self.tracker(&topic, "other", &["--deliver-to", &other_target.url]);
            let is_concerned = |at: &load::At| hit == Hit::All || at.0 == 0;
            self.warm_up(&topic, &[&two], |_| true);
            if hit != Hit::All {
                self.warm_up(&topic, &[&one], |at| !is_concerned(at));
            }
            let sent = self.send(&topic, self.flags.rate, Duration::from_secs(self.flags.seconds));
            std::thread::sleep(Duration::from_secs(1));
            let (first, second) = (one.watch.seen(), two.watch.seen());
            let (others, other_errors, count) = judge(&sent, &first, |at| !is_concerned(at));
            let (target, target_errors, _) = judge(&sent, &second, |_| true);
            let concerned: Vec<_> =
                sent.keys().filter(|at| is_concerned(at)).map(|at| first.get(at)).collect();
            let ended =
                |how| concerned.iter().flatten().filter(|(_, is_processed)| *is_processed == how).count();
            let partitions = if count == 0 { "–".to_owned() } else { shown(others) };
            println!(
                "| {ordering} | {name} | {} | {partitions} | {} | {} | {target_errors} | {}, {}, {} |",
                if hit == Hit::All { "all" } else { "partition 0" },
                if count == 0 { "–".to_owned() } else { other_errors.to_string() },
                shown(target),
                ended(true),
                ended(false),
                concerned.iter().filter(|found| found.is_none()).count(),
            );
        }
    }

    fn notify(&mut self) {
        println!(
            "| the secondary target | p50, p99, most (ms) | errors | posted, failed, dropped: full, out, ended |"
        );
        println!("|---|---|---|---|");
        let well = Mood::Well(Duration::ZERO);
        let none = ("none", None);
        for (name, mood) in [
            none,
            ("works", Some(well)),
            none,
            ("gone", Some(Mood::Gone)),
            none,
            ("slow (30 s)", Some(Mood::Hangs)),
            none,
            ("floods", Some(Mood::Floods)),
            none,
        ] {
            let topic = self.topic();
            let handle = self.runtime.handle();
            let main = Target::start(handle, well, Hit::All);
            let second = mood.map(|mood| Target::start(handle, mood, Hit::All));
            let mut flags = vec!["--deliver-to", &main.url];
            flags.extend(second.iter().flat_map(|second| ["--notify", &second.url]));
            let mut tracker = self.tracker(&topic, "main", &flags);
            self.warm_up(&topic, &[&tracker], |_| true);
            let sent = self.send(&topic, self.flags.rate, Duration::from_secs(self.flags.seconds));
            std::thread::sleep(Duration::from_secs(1));
            let (times, errors, _) = judge(&sent, &tracker.watch.seen(), |_| true);
            tracker.program.signal("TERM");
            assert_eq!(tracker.program.ended_within(Duration::from_secs(30)), Some(0));
            println!("| {name} | {} | {errors} | {} |", shown(times), last_words(&tracker.log));
        }
    }
}

fn shown(milliseconds: [f64; 3]) -> String {
    let [half, p99, most] = milliseconds;
    format!("{half:.1}, {p99:.1}, {most:.1}")
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
