//! Orders at an even pace, when Kafka has acknowledged each of them, and when its line was seen in an audit log.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pubsub_kafka::config::KafkaSettings;
use pubsub_kafka::kafka::{Outgoing, Producer, ProducerOptions};
use tokio::runtime::Handle;

use crate::orders;

/// Partition and offset.
pub type At = (i32, i64);

/// How large an order is, in bytes.
const ORDER_BYTES: usize = 1250;

/// Sends so many orders a second, the partitions in turn, each with a key of its own, for so long. Gives the time of each
/// one's acknowledgement.
pub fn send(
    runtime: &Handle,
    kafka: &KafkaSettings,
    topic: &str,
    partitions: i32,
    rate: u32,
    time: Duration,
) -> HashMap<At, Instant> {
    let producer = Producer::new(kafka, &ProducerOptions::default()).expect("a producer");
    let acknowledged = Arc::new(Mutex::new(HashMap::new()));
    let begun = Instant::now();
    let count = (f64::from(rate) * time.as_secs_f64()) as u32;
    let mut waiting = Vec::new();
    for number in 0..count {
        let due = begun + Duration::from_secs_f64(f64::from(number) / f64::from(rate));
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let id = format!("order-{number}");
        let sent = producer.send(&Outgoing {
            topic: topic.into(),
            partition: Some(i32::try_from(number).expect("a small number") % partitions),
            value: Some(orders::sized(&id, ORDER_BYTES).into()),
            key: Some(id.into_bytes().into()),
            ..Outgoing::default()
        });
        let (sent, acknowledged) = (sent.expect("room in the queue"), Arc::clone(&acknowledged));
        waiting.push(runtime.spawn(async move {
            let at = sent.await.expect("acknowledged");
            acknowledged.lock().expect("no panic").insert((at.partition, at.offset), Instant::now());
        }));
    }
    for one in waiting {
        runtime.block_on(one).expect("acknowledged");
    }
    Arc::into_inner(acknowledged).expect("no other owner").into_inner().expect("no panic")
}

/// Reads an audit log as it grows.
pub struct Watch {
    seen: Arc<Mutex<HashMap<At, (Instant, bool)>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub fn start(path: PathBuf) -> Self {
        let (seen, stop) = (Arc::new(Mutex::new(HashMap::new())), Arc::new(AtomicBool::new(false)));
        let (lines, ends) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut file: Option<File> = None;
            let (mut rest, mut chunk) = (Vec::new(), vec![0; 1 << 20]);
            while !ends.load(Ordering::Relaxed) {
                file = file.or_else(|| File::open(&path).ok());
                let length = file.as_mut().map_or(0, |file| file.read(&mut chunk).expect("the audit log"));
                if length == 0 {
                    std::thread::sleep(Duration::from_micros(500));
                    continue;
                }
                let now = Instant::now();
                rest.extend_from_slice(&chunk[..length]);
                while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    let line = String::from_utf8(rest.drain(..=end).collect()).expect("UTF-8");
                    if let Some((at, is_processed)) = outcome(&line) {
                        lines.lock().expect("no panic").insert(at, (now, is_processed));
                    }
                }
            }
        });
        Self { seen, stop, thread: Some(thread) }
    }

    /// The outcomes so far: when each was seen, and whether the order was processed.
    pub fn seen(&self) -> HashMap<At, (Instant, bool)> {
        self.seen.lock().expect("no panic").clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn outcome(line: &str) -> Option<(At, bool)> {
    let number = |name: &str| {
        let (_, rest) = line.split_once(name)?;
        rest[..rest.find([',', '}'])?].parse::<i64>().ok()
    };
    let partition = i32::try_from(number("\"kafka_partition\":")?).ok()?;
    let at = (partition, number("\"kafka_offset\":")?);
    line.contains("\"outcome\":\"").then(|| (at, line.contains("\"outcome\":\"processed\"")))
}

/// Milliseconds from the acknowledgement to the line, at these quantiles, and how many have no good line.
pub fn judge(
    sent: &HashMap<At, Instant>,
    seen: &HashMap<At, (Instant, bool)>,
    counts: impl Fn(&At) -> bool,
) -> ([f64; 3], usize, usize) {
    let mut times = Vec::new();
    let mut errors = 0;
    for (at, acknowledged) in sent.iter().filter(|(at, _)| counts(at)) {
        match seen.get(at) {
            Some((line, true)) => times.push(line.saturating_duration_since(*acknowledged)),
            Some((_, false)) | None => errors += 1,
        }
    }
    times.sort_unstable();
    let at = |share: f64| {
        let index = ((times.len() as f64 * share).ceil() as usize).clamp(1, times.len().max(1)) - 1;
        times.get(index).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    };
    ([at(0.5), at(0.99), at(1.0)], errors, times.len() + errors)
}
