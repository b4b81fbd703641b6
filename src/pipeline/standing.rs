//! Where the partitions stand, for those who ask from outside: the poll thread tells what it holds and has committed,
//! and a thread of its own asks Kafka now and then where the topics end, because an answer can take a while.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::PipelineError;
use crate::config::KafkaSettings;
use crate::failure::chain_of;
use crate::kafka::{Admin, KafkaError, Reader};

/// How often Kafka is asked.
const ASK_INTERVAL: Duration = Duration::from_secs(15);
/// How often it is looked whether partitions came that nothing is known of.
const GLANCE: Duration = Duration::from_secs(1);
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the poll thread tells about once a second.
#[derive(Debug, Default, Clone)]
pub(super) struct Held {
    /// What the group has committed in each partition of ours.
    pub(super) committed: BTreeMap<i32, i64>,
    /// Records between Kafka and the disk.
    pub(super) records: u64,
    /// Their bytes, as they count against the limit.
    pub(super) bytes: u64,
    /// How many partitions are paused.
    pub(super) paused: u64,
}

/// What Kafka said.
#[derive(Debug, Default, Clone)]
pub(super) struct Seen {
    /// Where each partition ends.
    pub(super) ends: BTreeMap<i32, i64>,
    /// How many dead letters the dead letter topic holds; `None` before the first answer.
    pub(super) dlq_depth: Option<u64>,
    /// The timestamp of the oldest, in milliseconds since the epoch.
    pub(super) dlq_oldest_ms: Option<i64>,
}

/// Both, for whoever asks.
#[derive(Debug, Default)]
pub(super) struct Standing {
    held: Mutex<Held>,
    seen: Mutex<Seen>,
    stalled: AtomicBool,
    /// How often the audit log had to wait for room.
    stalls: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Standing {
    pub(super) fn tell(&self, held: Held) {
        *lock(&self.held) = held;
    }

    pub(super) fn held(&self) -> Held {
        lock(&self.held).clone()
    }

    pub(super) fn seen(&self) -> Seen {
        lock(&self.seen).clone()
    }

    /// Notes whether the audit log waits for room.
    pub(super) fn stall(&self, stalled: bool) {
        if stalled && !self.stalled.swap(stalled, Ordering::Relaxed) {
            self.stalls.fetch_add(1, Ordering::Relaxed);
        }
        self.stalled.store(stalled, Ordering::Relaxed);
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    pub(super) fn stalls(&self) -> u64 {
        self.stalls.load(Ordering::Relaxed)
    }

    /// How far the group is behind in each partition of ours whose end is known.
    pub(super) fn lag(&self) -> Vec<(i32, u64)> {
        let seen = self.seen();
        let behind = |(number, committed): (i32, i64)| {
            Some((number, u64::try_from(seen.ends.get(&number)? - committed).unwrap_or(0)))
        };
        self.held().committed.into_iter().filter_map(behind).collect()
    }
}

/// Asks until it is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    _until: Sender<()>,
}

impl Watch {
    /// Starts the thread that asks.
    ///
    /// # Errors
    /// [`PipelineError::Thread`] when the system gives none.
    pub(super) fn start(
        kafka: &KafkaSettings,
        topic: &str,
        dlq_topic: &str,
        standing: &Arc<Standing>,
    ) -> Result<Self, PipelineError> {
        let (until, ended) = channel();
        let mut asker = Asker {
            kafka: kafka.clone(),
            topic: topic.to_owned(),
            dlq_topic: dlq_topic.to_owned(),
            standing: Arc::clone(standing),
            firsts: BTreeMap::new(),
        };
        let thread = std::thread::Builder::new().name("watch".to_owned());
        thread.spawn(move || asker.work(&ended)).map_err(PipelineError::Thread)?;
        Ok(Self { _until: until })
    }
}

struct Asker {
    kafka: KafkaSettings,
    topic: String,
    dlq_topic: String,
    standing: Arc<Standing>,
    /// The first record of each partition of the dead letter topic: its offset and its timestamp.
    firsts: BTreeMap<i32, (i64, Option<i64>)>,
}

impl Asker {
    fn work(&mut self, ended: &Receiver<()>) {
        let admin = match Admin::new(&self.kafka) {
            Ok(admin) => admin.with_timeout(PATIENCE),
            Err(error) => {
                tracing::warn!(error = chain_of(&error), "lag and dead letters are not measured");
                return;
            }
        };
        let mut since = ASK_INTERVAL;
        while ended.recv_timeout(GLANCE) == Err(RecvTimeoutError::Timeout) {
            since += GLANCE;
            let seen = self.standing.seen();
            let is_news = self.standing.held().committed.keys().any(|number| !seen.ends.contains_key(number));
            if !is_news && since < ASK_INTERVAL {
                continue;
            }
            since = Duration::ZERO;
            // The tracker itself says what there is to say about a Kafka that is away.
            match self.ask(&admin) {
                Ok(seen) => *lock(&self.standing.seen) = seen,
                Err(error) => tracing::debug!(error = chain_of(&error), "where the topics end is not known"),
            }
        }
    }

    fn ask(&mut self, admin: &Admin) -> Result<Seen, KafkaError> {
        let mut ends = BTreeMap::new();
        for number in self.standing.held().committed.into_keys() {
            ends.insert(number, admin.watermarks(&self.topic, number)?.1);
        }
        let mut depth = 0;
        let mut firsts = BTreeMap::new();
        let partitions = admin.topic(&self.dlq_topic)?.map_or(0, |topic| topic.partitions);
        for number in 0..partitions {
            let (start, end) = admin.watermarks(&self.dlq_topic, number)?;
            if start >= end {
                continue;
            }
            depth += u64::try_from(end - start).unwrap_or(0);
            // Read once for each start: a dead letter topic seldom loses its first record.
            let known = self.firsts.get(&number).filter(|(first, _)| *first == start);
            let first = match known {
                Some(known) => *known,
                None => (start, self.timestamp_of(number, start)?),
            };
            firsts.insert(number, first);
        }
        self.firsts = firsts;
        let oldest = self.firsts.values().filter_map(|(_, millis)| *millis).min();
        Ok(Seen { ends, dlq_depth: Some(depth), dlq_oldest_ms: oldest })
    }

    fn timestamp_of(&self, partition: i32, offset: i64) -> Result<Option<i64>, KafkaError> {
        let ranges = [(partition, offset, offset + 1)];
        let first = Reader::over(&self.kafka, &self.dlq_topic, &ranges)?.read()?;
        Ok(first.and_then(|record| record.timestamp).map(|timestamp| timestamp.millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_known_where_the_end_is_and_never_below_zero() {
        let standing = Standing::default();
        standing.tell(Held { committed: BTreeMap::from([(0, 5), (1, 5), (2, 5)]), ..Held::default() });
        *lock(&standing.seen) = Seen { ends: BTreeMap::from([(0, 12), (1, 4), (9, 1)]), ..Seen::default() };
        assert_eq!(standing.lag(), [(0, 7), (1, 0)]);
    }

    #[test]
    fn each_stall_counts_once() {
        let standing = Standing::default();
        for stalled in [true, true, false, true] {
            standing.stall(stalled);
        }
        assert_eq!((standing.is_stalled(), standing.stalls()), (true, 2));
    }
}
