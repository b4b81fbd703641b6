//! Slow processing, measured, and an example of the tracker as a library: with `Work` of the caller's own, everything
//! around it stays (order by key, concurrency, retries, dead letters, the audit log, commits).
//!
//! ```text
//! cargo run --release --example slow --features tracker -- --folder /dev/shm/slow
//! ```
//!
//! Orders of 1,000 keys on 3 partitions; the work only sleeps 10 ms, or posts to a target that answers after 10 ms. Prints
//! the rate from the first start to the last end of the work, the work's own time as it really was, and how much of
//! concurrency ÷ time that rate is.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a measurement fails by panicking, and prints its figures"
)]

#[path = "../../tests/it/support/orders.rs"]
#[allow(dead_code, reason = "the flows use more of it")]
mod orders;
#[path = "../guards/target.rs"]
#[allow(dead_code, reason = "the other measurement uses more of it")]
mod target;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use pubsub_kafka::config::{
    DeliverTarget, Files, KafkaRaw, KafkaSettings, Ordering as Order, SecretEnv, TrackerRaw, TrackerSettings,
};
use pubsub_kafka::failure::Failure;
use pubsub_kafka::kafka::{Admin, Outgoing, Producer, ProducerOptions, SendError, TopicSpec};
use pubsub_kafka::pipeline::{Work, run, run_with};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::target::{Hit, Mood, Target};

const PARTITIONS: i32 = 3;
const KEYS: usize = 1000;
const ORDER_BYTES: usize = 1250;
const SLEEP: Duration = Duration::from_millis(10);

/// Measures the tracker with slow work, order kept by key.
#[derive(Parser)]
struct Flags {
    /// Where Kafka is
    #[arg(long, env = "KAFKA_BOOTSTRAP_SERVERS", default_value = "localhost:9092")]
    bootstrap_servers: String,
    /// How many orders each case has
    #[arg(long, default_value_t = 200_000)]
    orders: usize,
    /// How often each case is measured
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How many run at once, of the work that sleeps
    #[arg(long, value_delimiter = ',', default_values_t = [64, 128, 500])]
    concurrency: Vec<usize>,
    /// Without the work that posts
    #[arg(long)]
    no_http: bool,
    /// Where the audit logs go
    #[arg(long)]
    folder: PathBuf,
}

/// What the work saw of itself.
#[derive(Debug)]
struct Clock {
    base: Instant,
    first_ns: AtomicU64,
    last_ns: AtomicU64,
    busy_ns: AtomicU64,
    count: AtomicU64,
}

impl Clock {
    fn new() -> Self {
        Self {
            base: Instant::now(),
            first_ns: AtomicU64::new(u64::MAX),
            last_ns: AtomicU64::new(0),
            busy_ns: AtomicU64::new(0),
            count: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.base.elapsed().as_nanos()).expect("not that long")
    }

    async fn measure(&self, work: impl Future<Output = ()>) {
        let begun = self.now();
        self.first_ns.fetch_min(begun, Ordering::Relaxed);
        work.await;
        let ended = self.now();
        self.last_ns.fetch_max(ended, Ordering::Relaxed);
        self.busy_ns.fetch_add(ended - begun, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}

fn fill(runtime: &Runtime, kafka: &KafkaSettings, topic: &str, count: usize) {
    let admin = Admin::new(kafka).expect("an admin client");
    let spec =
        TopicSpec { name: topic.to_owned(), partitions: PARTITIONS, replication: 1, config: Vec::new() };
    runtime.block_on(admin.create(&spec)).expect("a topic");
    let producer = Producer::new(kafka, &ProducerOptions::default()).expect("a producer");
    let mut waiting = Vec::with_capacity(count);
    for number in 0..count {
        let record = Outgoing {
            topic: topic.into(),
            value: Some(orders::sized(&format!("order-{number}"), ORDER_BYTES).into()),
            key: Some(format!("key-{}", number % KEYS).into_bytes().into()),
            ..Outgoing::default()
        };
        loop {
            match producer.send(&record) {
                Ok(sent) => break waiting.push(sent),
                Err(SendError::QueueFull) => std::thread::sleep(Duration::from_millis(1)),
                Err(error) => panic!("not sent: {error}"),
            }
        }
    }
    for sent in waiting {
        runtime.block_on(sent).expect("acknowledged");
    }
}

fn settings(flags: &Flags, topic: &str, name: &str, concurrency: usize) -> TrackerSettings {
    let files = Files::load(None).expect("the defaults");
    let kafka = KafkaRaw { bootstrap_servers: Some(flags.bootstrap_servers.clone()), ..KafkaRaw::default() };
    let mut settings = TrackerSettings::resolve(kafka, TrackerRaw::default(), files, &SecretEnv::default())
        .expect("the defaults hold");
    settings.topic = topic.to_owned();
    settings.dlq_topic = format!("{topic}-dlq");
    settings.group = format!("{topic}-{name}");
    settings.events_file = flags.folder.join(format!("{topic}-{name}.events"));
    settings.log_file = flags.folder.join(format!("{topic}-{name}.log"));
    settings.ordering = Order::Key;
    settings.concurrency = concurrency;
    settings.exit_at_end = true;
    settings
}

fn main() {
    let flags = Flags::parse();
    std::fs::create_dir_all(&flags.folder).expect("a folder");
    let kafka =
        KafkaSettings { bootstrap_servers: flags.bootstrap_servers.clone(), ..KafkaSettings::default() };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let topic = format!("slow-{}", std::process::id());
    fill(&runtime, &kafka, &topic, flags.orders);
    println!(
        "| work | concurrency | orders/s | its time (ms) | of concurrency ÷ time | user, system µs each |"
    );
    println!("|---|---|---|---|---|---|");
    for round in 0..flags.rounds {
        for &concurrency in &flags.concurrency {
            let name = format!("sleep-{concurrency}-{round}");
            let settings = settings(&flags, &topic, &name, concurrency);
            let clock = Arc::new(Clock::new());
            let own = Arc::clone(&clock);
            let work = Work::on_orders(move |_| {
                let clock = Arc::clone(&own);
                async move {
                    clock.measure(tokio::time::sleep(SLEEP)).await;
                    Ok::<(), Failure>(())
                }
            });
            let before = cpu();
            run_with(&settings, work, runtime.handle(), &CancellationToken::new()).expect("to the end");
            assert_eq!(clock.count.load(Ordering::Relaxed) as usize, flags.orders);
            report(&format!("sleeps {SLEEP:?}"), concurrency, &clock, &cpu_each(before, flags.orders));
            std::fs::remove_file(&settings.events_file).expect("an audit log");
        }
        if !flags.no_http {
            http(&flags, &runtime, &topic, round);
        }
    }
}

/// The target is in this process too: its own cost is part of the figure.
fn http(flags: &Flags, runtime: &Runtime, topic: &str, round: usize) {
    const CONCURRENCY: usize = 500;
    let target = Target::start(runtime.handle(), Mood::Well(SLEEP), Hit::All);
    let mut settings = settings(flags, topic, &format!("http-{round}"), CONCURRENCY);
    settings.deliver_to = Some(DeliverTarget { url: target.url.clone(), credentials: None });
    let before = cpu();
    let ended = std::thread::scope(|scope| {
        let seen = scope.spawn(|| {
            let mut first = None;
            loop {
                let taken = target.taken.load(Ordering::Relaxed) as usize;
                if taken > 0 {
                    first = first.or(Some(Instant::now()));
                }
                if taken >= flags.orders {
                    return first.expect("begun").elapsed();
                }
                std::thread::sleep(Duration::from_micros(500));
            }
        });
        run(&settings, runtime.handle(), &CancellationToken::new()).expect("to the end");
        seen.join().expect("no panic")
    });
    let rate = flags.orders as f64 / ended.as_secs_f64();
    let each = cpu_each(before, flags.orders);
    println!(
        "| posts, answered after {SLEEP:?} | {CONCURRENCY} | {rate:.0} | – | – | {each} with the target |"
    );
    std::fs::remove_file(&settings.events_file).expect("an audit log");
}

fn report(work: &str, concurrency: usize, clock: &Clock, cpu: &str) {
    let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
    let took = (get(&clock.last_ns) - get(&clock.first_ns)) / 1e9;
    let (count, busy) = (get(&clock.count), get(&clock.busy_ns) / 1e9);
    let (rate, latency) = (count / took, busy / count);
    println!(
        "| {work} | {concurrency} | {rate:.0} | {:.2} | {:.0} % | {cpu} |",
        latency * 1e3,
        rate / (concurrency as f64 / latency) * 100.0,
    );
}

/// The processor time of this process so far: user's, system's.
fn cpu() -> [Duration; 2] {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let (_, rest) = stat.rsplit_once(") ").unwrap_or_default();
    let mut ticks = rest.split(' ').skip(11).map(|field| field.parse::<u64>().unwrap_or(0));
    // A tick is a hundredth of a second on Linux.
    std::array::from_fn(|_| Duration::from_millis(ticks.next().unwrap_or(0) * 10))
}

/// What of it each order took since then, in microseconds.
fn cpu_each(before: [Duration; 2], orders: usize) -> String {
    let now = cpu();
    let [user, system] = [0, 1].map(|at| (now[at] - before[at]).as_secs_f64() * 1e6 / orders as f64);
    format!("{user:.1}, {system:.1}")
}
