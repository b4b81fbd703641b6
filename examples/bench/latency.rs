//! How long an order takes from its acknowledgement by Kafka to its line in the audit log, seen from outside: orders are
//! produced at a fixed rate, whatever becomes of them, and the file is followed by somebody who syncs it before
//! looking at the clock.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use serde_json::{Value, json};

use crate::acknowledged::{Acknowledged, At};
use crate::orders::Orders;
use crate::{Kafka, fill};

/// How much is read, and synced, at once.
const AT_ONCE: u64 = 8 << 20;
/// How often the file is looked at; what is measured is longer by half of it.
const GLANCE: Duration = Duration::from_micros(500);
/// How long the last lines may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Orders of so much time at the beginning are not counted: connections are made, files grow.
const WARM_UP: Duration = Duration::from_secs(3);
/// Orders that are due are sent together at most so often.
const TICK: Duration = Duration::from_millis(1);

/// What is produced.
pub struct Load {
    /// Orders per second.
    pub rate: u64,
    /// For how long, the warm-up not counted.
    pub seconds: u64,
    /// The payload's bytes.
    pub size: usize,
}

/// Produces this load, and says how long the tracker's lines took.
pub fn run(kafka: &Kafka, load: &Load, events: &Path) -> Value {
    let begun = Instant::now();
    let counted_from = begun + WARM_UP;
    let count = load.rate * (load.seconds + WARM_UP.as_secs());
    let producer = producer(kafka);
    let (seen, late) = std::thread::scope(|scope| {
        let follower = scope.spawn(|| follow(events, kafka, count));
        let late = produce(kafka, load, count, &producer, begun);
        producer.flush(PATIENCE).expect("every record is acknowledged");
        (follower.join().expect("the audit log was followed"), late)
    });
    let acknowledged = producer.context().take();
    let mut delays: Vec<Duration> = acknowledged
        .iter()
        .filter(|(_, at)| *at >= counted_from)
        // A line may come before its record's acknowledgement.
        .map(|(place, at)| seen[place].saturating_duration_since(*at))
        .collect();
    delays.sort_unstable();
    let millis = |share: f64| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
        let at = ((delays.len() as f64 * share) as usize).min(delays.len().saturating_sub(1));
        delays.get(at).map(|delay| delay.as_secs_f64() * 1e3)
    };
    json!({
        "rate": load.rate,
        "records": delays.len(),
        "sent_late_ms": late.as_secs_f64() * 1e3,
        "p50_ms": millis(0.5),
        "p99_ms": millis(0.99),
        "p999_ms": millis(0.999),
        "max_ms": millis(1.0),
    })
}

fn producer(kafka: &Kafka) -> ThreadedProducer<Acknowledged> {
    let mut config = kafka.config();
    for (key, value) in [
        ("acks", "all"),
        ("linger.ms", "1"),
        ("batch.size", "900000"),
        ("queue.buffering.max.messages", "1000000"),
    ] {
        config.set(key, value);
    }
    config.create_with_context(Acknowledged::default()).expect("a producer")
}

/// Sends each order when it is due; says how late the latest was.
fn produce(
    kafka: &Kafka,
    load: &Load,
    count: u64,
    producer: &ThreadedProducer<Acknowledged>,
    begun: Instant,
) -> Duration {
    let orders = Orders::of_size(load.size);
    let partitions = fill::partitions(kafka);
    let mut late = Duration::ZERO;
    for (number, partition) in (0..count).zip((0..partitions).cycle()) {
        let due = begun
            + Duration::from_secs(1) * u32::try_from(number / load.rate).expect("short")
            + Duration::from_nanos(1_000_000_000 / load.rate * (number % load.rate));
        let now = Instant::now();
        if due > now + TICK {
            std::thread::sleep(due - now);
        }
        late = late.max(now.saturating_duration_since(due));
        let (id, payload) = orders.order(number);
        let record = BaseRecord::to(&kafka.topic).partition(partition).key(&id).payload(&payload);
        if let Err((error, _)) = producer.send(record) {
            panic!("a record was refused: {error}");
        }
    }
    late
}

/// Reads what the file gains until it has told of so many records, and notes when each was seen.
fn follow(events: &Path, kafka: &Kafka, count: u64) -> HashMap<At, Instant> {
    let mut file = File::open(events).expect("the tracker has begun its audit log");
    // The number that this segment gets when it is sealed.
    let mut segment = 1;
    let mut seen = HashMap::with_capacity(usize::try_from(count).expect("fits"));
    let mut text = Vec::new();
    let mut idle_since = Instant::now();
    let marker = format!("\"kafka_topic\":\"{}\",\"kafka_partition\":", kafka.topic);
    while (seen.len() as u64) < count {
        let before = text.len();
        // What the segment gets before it is sealed is there when the next one is.
        let live = id(&std::fs::metadata(events));
        let is_sealed = live.is_some() && live != id(&file.metadata());
        (&file).take(AT_ONCE).read_to_end(&mut text).expect("read");
        if text.len() == before && is_sealed {
            segment += 1;
            file = open(events, segment);
            continue;
        }
        if text.len() == before {
            assert!(idle_since.elapsed() < PATIENCE, "{} of {count} records have a line", seen.len());
            std::thread::sleep(GLANCE);
            continue;
        }
        // What can be read may not be on disk yet.
        file.sync_data().expect("synced");
        let now = Instant::now();
        idle_since = now;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for line in text[..whole].split(|byte| *byte == b'\n') {
            if let Some(place) = place(line, marker.as_bytes()) {
                seen.insert(place, now);
            }
        }
        text.drain(..whole);
    }
    seen
}

/// The segment with this number: the live one, unless it is sealed by now, and another one lives.
fn open(events: &Path, segment: u32) -> File {
    let live = File::open(events);
    let mut sealed = events.as_os_str().to_owned();
    sealed.push(format!(".{segment:06}"));
    // In this order: what is sealed in between has its name.
    File::open(sealed).or(live).expect("the next segment")
}

/// Which file it is; none while there is no such file.
fn id(metadata: &std::io::Result<Metadata>) -> Option<u64> {
    metadata.as_ref().ok().map(Metadata::ino)
}

/// Whose outcome a line is; the marker stands near its beginning.
fn place(line: &[u8], marker: &[u8]) -> Option<At> {
    let head = &line[..line.len().min(512)];
    let at = head.windows(marker.len()).position(|window| window == marker)? + marker.len();
    let mut numbers = head[at..].splitn(3, |byte| *byte == b',');
    let partition = std::str::from_utf8(numbers.next()?).ok()?;
    let offset = std::str::from_utf8(numbers.next()?.strip_prefix(b"\"kafka_offset\":")?).ok()?;
    Some((partition.parse().ok()?, offset.parse().ok()?))
}
