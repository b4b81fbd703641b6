//! What the tracker is measured against, and with what: `scripts/bench.sh` runs it. Each command prints one line of JSON.
//!
//! ```text
//! cargo run --release --example bench --features tracker -- fill --topic orders --records 1000000
//! ```

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a measurement that cannot be made ends here, and says why"
)]

mod acknowledged;
mod consume;
mod fill;
mod latency;
mod orders;
mod plain;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use rdkafka::ClientConfig;

use crate::orders::Orders;

/// Fills topics, consumes them in the plainest ways, and measures delays.
#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    kafka: Kafka,
    #[command(subcommand)]
    command: Command,
}

/// Which topic, and where.
#[derive(Args)]
struct Kafka {
    /// Where Kafka is
    #[arg(long, env = "KAFKA_BOOTSTRAP_SERVERS", default_value = "localhost:9092")]
    brokers: String,
    /// The topic, which is there already
    #[arg(long, default_value = "orders")]
    topic: String,
}

impl Kafka {
    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config
    }

    /// What every consumer here has in common with the tracker: nothing is committed by itself, every record is checked.
    fn consumer_config(&self, group: &str) -> ClientConfig {
        let mut config = self.config();
        for (key, value) in [
            ("group.id", group),
            ("enable.auto.commit", "false"),
            ("auto.offset.reset", "earliest"),
            ("isolation.level", "read_committed"),
            ("enable.partition.eof", "true"),
            ("check.crcs", "true"),
            // Without it a full queue makes the client wait for a second: the plain loop would stand still half of its time.
            ("fetch.queue.backoff.ms", "10"),
        ] {
            config.set(key, value);
        }
        config
    }
}

#[derive(Subcommand)]
enum Command {
    /// Produces orders of one size, as fast as Kafka takes them
    Fill {
        /// How many
        #[arg(long, default_value_t = 1_000_000)]
        records: u64,
        /// The size of each payload, in bytes
        #[arg(long, default_value_t = 1250)]
        size: usize,
        /// Each with a blank status, which breaks a rule
        #[arg(long)]
        broken: bool,
    },
    /// The client alone: polls and counts, to the end of every partition
    Consume,
    /// One thread that decodes, validates, writes the tracker's own audit line, syncs, and then commits
    Loop {
        /// The consumer group
        #[arg(long, default_value = "plain-loop")]
        group: String,
        /// The file to write
        #[arg(long)]
        events: PathBuf,
    },
    /// Produces at a rate, and follows the audit log of a tracker that runs: from acknowledgement to line
    Latency {
        /// Orders per second
        #[arg(long, default_value_t = 1000)]
        rate: u64,
        /// How long
        #[arg(long, default_value_t = 20)]
        seconds: u64,
        /// The size of each payload, in bytes
        #[arg(long, default_value_t = 1250)]
        size: usize,
        /// The tracker's audit log
        #[arg(long)]
        events: PathBuf,
    },
}

fn main() {
    let Flags { kafka, command } = Flags::parse();
    let result = match command {
        Command::Fill { records, size, broken } => {
            let orders = Orders::of_size(size);
            fill::run(&kafka, records, &if broken { orders.broken() } else { orders })
        }
        Command::Consume => consume::run(&kafka),
        Command::Loop { group, events } => plain::run(&kafka, &group, &events),
        Command::Latency { rate, seconds, size, events } => {
            latency::run(&kafka, &latency::Load { rate, seconds, size }, &events)
        }
    };
    println!("{result}");
}
