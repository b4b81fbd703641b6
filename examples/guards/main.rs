//! What a failure of one target costs the others, measured: each failure is injected while orders come at an even pace,
//! and the time from Kafka's acknowledgement to the audit line is taken of what the failure does not concern. Nothing is
//! counted before sender, trackers and targets are warm. Prints the tables of `docs/guards.md`. Needs Kafka, and a quiet
//! machine for good figures.
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

#[path = "../bench/acknowledged.rs"]
mod acknowledged;
mod delivery;
mod figures;
mod load;
mod notify;
#[path = "../../tests/it/support/orders.rs"]
#[allow(dead_code, reason = "the flows use more of it")]
mod orders;
#[path = "../torture/programs.rs"]
#[allow(dead_code, reason = "the fault test uses more of it")]
mod programs;
#[allow(dead_code, reason = "the other measurement uses more of it")]
mod target;
mod watch;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use pubsub_kafka::config::KafkaSettings;
use pubsub_kafka::kafka::{Admin, TopicSpec};
use tokio::runtime::{Builder, Runtime};

use crate::load::Load;
use crate::programs::{Program, role};
use crate::target::Mood;
use crate::watch::Watch;

const PARTITIONS: i32 = 3;
const WELL: Mood = Mood::Well(Duration::ZERO);
/// What has no line so long after the last order was sent counts as an error.
const LATE: Duration = Duration::from_secs(1);
/// How long orders are sent before anything is counted.
const WARM_UP: Duration = Duration::from_millis(1500);

/// Injects failures of targets, and prints what they cost the others.
#[derive(Parser)]
struct Flags {
    /// Where Kafka is
    #[arg(long, env = "KAFKA_BOOTSTRAP_SERVERS", default_value = "localhost:9092")]
    bootstrap_servers: String,
    /// How long orders are sent in each case of a round [default: 3 for delivery, 1 for notify]
    #[arg(long)]
    seconds: Option<u64>,
    /// How often each case is run: all of them one after the other, then again [default: 3 for delivery, 48 for notify]
    #[arg(long)]
    rounds: Option<usize>,
    /// Orders per second, all partitions together [default: 300 for delivery, 1000 for notify]
    #[arg(long)]
    rate: Option<u32>,
    /// Only the tables with this in their names: delivery, notify
    #[arg(long, default_value = "")]
    only: String,
    /// Where the audit logs go
    #[arg(long)]
    folder: PathBuf,
}

struct Ground {
    /// Runs the targets of the critical path.
    targets: Runtime,
    /// Runs the secondary targets, at the lowest priority: what a target does itself would be another machine's work.
    others: Runtime,
    kafka: KafkaSettings,
    load: Load,
    flags: Flags,
    /// The orders' topics so far.
    topics: Vec<String>,
}

/// A tracker at work.
struct Tracker {
    program: Program,
    events: PathBuf,
    log: PathBuf,
}

impl Ground {
    /// A topic of its own, for one case.
    fn topic(&mut self) -> String {
        let topic = format!("guards-{}-{}", std::process::id(), self.topics.len() + 1);
        let admin = Admin::new(&self.kafka).expect("an admin client");
        let spec =
            TopicSpec { name: topic.clone(), partitions: PARTITIONS, replication: 1, config: Vec::new() };
        self.targets.block_on(admin.create(&spec)).expect("a topic");
        self.topics.push(topic.clone());
        topic
    }

    fn tracker(&self, topic: &str, name: &str, flags: &[&str]) -> Tracker {
        let folder: &Path = &self.flags.folder;
        let file = |ending: &str| folder.join(format!("{topic}-{name}.{ending}"));
        let (events, log) = (file("events"), file("log"));
        let mut command = role("tracker", folder);
        let (group, dlq) = (format!("{topic}-{name}"), format!("{topic}-{name}-dlq"));
        let fixed =
            ["-b", &self.kafka.bootstrap_servers, "--topic", topic, "--group", &group, "--dlq-topic", &dlq];
        command.args(fixed).arg("--log-file").arg(&log).arg("--events-file").arg(&events);
        command.args(["--outage-guard-wait", "2s"]).args(flags);
        Tracker { program: Program::start(command, folder, &format!("{topic}-{name}")), events, log }
    }

    /// Sends orders for a while, and waits until all of these trackers have seen all of them.
    fn warm_up(&self, topic: &str, rate: u32, trackers: &[&Tracker]) {
        let watches: Vec<_> = trackers.iter().map(|tracker| Watch::start(tracker.events.clone())).collect();
        let sent = self.load.send(topic, PARTITIONS, rate, WARM_UP);
        for watch in watches {
            let seen = watch.wait_for(sent.keys(), Duration::from_secs(60));
            assert!(sent.keys().all(|at| seen.contains_key(at)), "{topic}: no outcomes after a minute");
        }
    }
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
    // One thread for each kind of target, and none of them in the way of the sender or of the reader of the audit logs.
    let runtime = |thread: fn()| {
        let mut runtime = Builder::new_multi_thread();
        runtime.worker_threads(1).on_thread_start(thread).enable_all().build().expect("a runtime")
    };
    let load = Load::new(&flags.bootstrap_servers);
    let mut ground =
        Ground { targets: runtime(|| {}), others: runtime(give_way), kafka, load, flags, topics: Vec::new() };
    if "delivery".contains(&ground.flags.only) {
        delivery::run(&mut ground);
        println!();
    }
    if "notify".contains(&ground.flags.only) {
        notify::run(&mut ground);
    }
    let all =
        |topic: &String| ["", "-main-dlq", "-hit-dlq", "-other-dlq"].map(|ending| format!("{topic}{ending}"));
    let topics: Vec<String> = ground.topics.iter().flat_map(all).collect();
    load::delete(&ground.targets, &ground.flags.bootstrap_servers, &topics);
    ExitCode::SUCCESS
}

/// Gives this thread the lowest priority, where a thread has one.
fn give_way() {
    #[cfg(target_os = "linux")]
    rustix::process::nice(19).expect("a lower priority");
}
