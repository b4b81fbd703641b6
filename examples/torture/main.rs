//! The long fault test: real brokers, trackers in a group, a producer, a delivery target; one fault after the other while
//! they work; and at the end of each round every invariant checked, by the `audit` tool and independently of it.
//!
//! ```text
//! cargo run --release --example torture --features producer,tracker,audit,failpoints -- --seed 7 --minutes 5
//! ```
//!
//! The seed gives the faults, their order, times and victims, and the orders. Folders of rounds with a finding are kept.
//! SIGTERM ends it early: the round that runs is drained and checked.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says on the terminal how far it is"
)]

mod check;
#[path = "../../tests/it/support/cluster.rs"]
mod cluster;
mod faults;
mod plan;
mod programs;
#[path = "../../tests/it/support/proxy.rs"]
mod proxy;
mod report;
mod round;
mod target;
#[path = "../../tests/it/support/topics.rs"]
#[allow(dead_code, reason = "the flows use more of it")]
mod topics;
#[path = "../../tests/it/support/wait.rs"]
mod wait;
mod watch;
#[path = "../../tests/it/support/watchdog.rs"]
mod watchdog;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use clap::Parser;

use crate::cluster::Cluster;
use crate::plan::{Kind, Plan};
use crate::report::Report;
use crate::round::{Ground, PROGRESS, Round};
use crate::target::Target;

/// Torments the tracker with faults, and checks that nothing is lost.
#[derive(Parser)]
struct Flags {
    /// The seed of faults and orders; without it one is chosen and printed
    #[arg(long)]
    seed: Option<u64>,
    /// How long faults are injected
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// How long until everything is drained and checked, and a new round begins
    #[arg(long, default_value_t = 5.0)]
    round_minutes: f64,
    /// The first round's number: with the seed it gives that round again
    #[arg(long, default_value_t = 1)]
    round: u64,
    /// One broker or three
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=3))]
    brokers: u16,
    /// Orders per second
    #[arg(long, default_value_t = 300)]
    rate: u32,
    /// Only these kinds of faults
    #[arg(long, value_delimiter = ',', value_parser = kind)]
    only: Vec<Kind>,
    /// Where everything is kept while it runs
    #[arg(long)]
    folder: Option<PathBuf>,
}

fn kind(name: &str) -> Result<Kind, String> {
    let names = || Kind::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
    Kind::ALL.iter().copied().find(|kind| kind.name() == name).ok_or_else(|| format!("one of: {}", names()))
}

fn main() -> ExitCode {
    // The programs under test are this program again.
    if std::env::args().nth(1).is_some_and(|first| ["producer", "tracker", "audit"].contains(&first.as_str()))
    {
        return pubsub_kafka::cli::dispatch();
    }
    let flags = Flags::parse();
    let report = run(&flags);
    if report.trouble.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(6) }
}

fn run(flags: &Flags) -> Report {
    let seed = flags.seed.unwrap_or_else(|| u64::from(std::process::id()));
    let folder = flags
        .folder
        .clone()
        .unwrap_or_else(|| std::env::temp_dir().join(format!("torture-{}", std::process::id())));
    std::fs::create_dir_all(&folder).expect("a folder");
    let folder = folder.canonicalize().expect("the folder's path");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let clock = clock(&folder);
    let chosen = if flags.only.is_empty() { Kind::ALL } else { &flags.only };
    let kinds: Vec<Kind> = chosen
        .iter()
        .copied()
        .filter(|kind| kind.brokers() <= flags.brokers && (clock.is_some() || *kind != Kind::ClockStep))
        .collect();
    println!("seed {seed}, {} brokers, {} orders/s, in {}", flags.brokers, flags.rate, folder.display());
    let cluster = Cluster::start(runtime.handle(), &folder.join("kafka"), flags.brokers);
    let target = Target::start(runtime.handle());
    let ground = Ground {
        cluster: &cluster,
        runtime: runtime.handle().clone(),
        target: &target,
        clock,
        rate: flags.rate,
        stop: Arc::new(AtomicBool::new(false)),
    };

    signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::clone(&ground.stop)).expect("a handler");
    let mut report = Report::default();
    let end = Instant::now() + Duration::from_secs_f64(flags.minutes * 60.0);
    let mut number = flags.round;
    while Instant::now() < end && report.trouble.is_empty() && !ground.is_stopped() {
        let round_end = end.min(Instant::now() + Duration::from_secs_f64(flags.round_minutes * 60.0));
        torment(&ground, &folder, seed, number, &kinds, round_end, &mut report);
        number += 1;
    }
    report.print(seed, flags.brokers);
    if report.trouble.is_empty() {
        drop(cluster);
        drop(std::fs::remove_dir_all(&folder));
    }
    report
}

/// One round.
fn torment(
    ground: &Ground<'_>,
    folder: &Path,
    seed: u64,
    number: u64,
    kinds: &[Kind],
    end: Instant,
    report: &mut Report,
) {
    let by_key = number.is_multiple_of(2);
    let name = format!("{seed}-{number}-{}", std::process::id());
    println!("round {number}, ordering by {}; its plan:", if by_key { "key" } else { "partition" });
    for step in Plan::new(seed, number, kinds.to_vec()).take(kinds.len()) {
        println!("  {step}");
    }
    let mut round = Round::start(ground, folder.join(&name), seed.wrapping_add(number), by_key);
    let begun = Instant::now();
    for step in Plan::new(seed, number, kinds.to_vec()) {
        std::thread::sleep(step.calm);
        if Instant::now() >= end || !round.trouble.is_empty() || ground.is_stopped() {
            break;
        }
        round.supervise();
        let at = begun.elapsed();
        let took_place = round.inject(&step);
        let healed = round.reached();
        let progress = round.progress(&healed, PROGRESS);
        println!(
            "  {:>6.1}s {step}{}: progress after {:.1}s, {} outcomes",
            at.as_secs_f32(),
            if took_place { "" } else { " (not reached)" },
            progress.as_secs_f32(),
            round.watch.lines,
        );
        report.fault(step.kind, took_place, progress);
        round.supervise();
    }
    let ended = round.finish();
    let clean = ended.trouble.is_empty();
    report.round(number, ended);
    if clean {
        drop(std::fs::remove_dir_all(folder.join(&name)));
    }
}

/// The clock's shim, if there is a compiler for it, and its step.
fn clock(folder: &Path) -> Option<(PathBuf, PathBuf)> {
    let (shim, step) = (folder.join("clock.so"), folder.join("clock.step"));
    faults::set_clock(&step, 0);
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/torture/clock.c");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O2", "-o"])
        .arg(&shim)
        .arg(source)
        .arg("-ldl")
        .status();
    if built.is_ok_and(|status| status.success()) {
        return Some((shim, step));
    }
    println!("no C compiler: the clock is not stepped");
    None
}
