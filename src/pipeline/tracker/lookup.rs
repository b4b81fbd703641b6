//! What has to be asked before partitions are taken over: where they and their dead letter partitions begin and end, and
//! which dead letters have no line. Every answer may take as long as Kafka is silent, and a long tail as long as it is
//! read: a thread of its own asks, and the poll goes on meanwhile.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

use tokio_util::sync::CancellationToken;

use crate::audit::{Judged, OffsetSet};
use crate::config::KafkaSettings;
use crate::failure::chain_of;
use crate::kafka::{Admin, GroupOffset};
use crate::models::DecodeLimits;
use crate::pipeline::{PipelineError, letters};
use crate::record::TopicPartition;

/// What is to be found out.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) kafka: KafkaSettings,
    /// The partitions, with what the group has committed in them.
    pub(super) partitions: Vec<GroupOffset>,
    /// The outcomes that the journal has, by partition.
    pub(super) known: BTreeMap<i32, OffsetSet>,
    pub(super) group: String,
    pub(super) topic: String,
    /// The topic's id, where the broker has told it at the start.
    pub(super) topic_id: Option<String>,
    pub(super) dlq_topic: String,
    pub(super) dlq_partitions: i32,
    pub(super) limits: DecodeLimits,
    pub(super) stop: CancellationToken,
}

/// What was found out of one partition.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) at: TopicPartition,
    /// What the group has committed.
    pub(super) committed: Option<i64>,
    pub(super) log_start: i64,
    pub(super) end: i64,
    /// The end of its dead letter partition, where that can be seen.
    pub(super) letters_end: Option<i64>,
    /// Records that have a dead letter there, and no line.
    pub(super) missing: Vec<Judged>,
}

/// A question under way.
#[derive(Debug)]
pub(super) struct Lookup {
    answer: Receiver<Result<Vec<Found>, PipelineError>>,
}

impl Lookup {
    /// Asks. Whoever drops it is not interested any more; the thread ends when Kafka lets it.
    ///
    /// # Errors
    /// [`PipelineError::Thread`] when the system gives no thread.
    pub(super) fn start(question: Question) -> Result<Self, PipelineError> {
        let (done, answer) = sync_channel(1);
        let ask = move || {
            let admin = match Admin::new(&question.kafka) {
                Ok(admin) => admin,
                Err(error) => return drop(done.send(Err(error.into()))),
            };
            // The client takes a moment to go: nobody waits for that.
            drop(done.send(question.answer(&admin)));
        };
        std::thread::Builder::new().name("takeover".to_owned()).spawn(ask).map_err(PipelineError::Thread)?;
        Ok(Self { answer })
    }

    /// The answer, once it is there.
    pub(super) fn answer(&self) -> Option<Result<Vec<Found>, PipelineError>> {
        match self.answer.try_recv() {
            Ok(answer) => Some(answer),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(PipelineError::StartPanicked)),
        }
    }
}

impl Question {
    fn answer(&self, admin: &Admin) -> Result<Vec<Found>, PipelineError> {
        // A topic that was deleted and created again holds other records, also where the old offsets fit.
        if let (Some(ours), Some(theirs)) = (&self.topic_id, admin.topic_id(&self.topic))
            && *ours != theirs
        {
            return Err(PipelineError::TopicReplaced { topic: self.topic.clone() });
        }
        let mut found = Vec::with_capacity(self.partitions.len());
        for partition in &self.partitions {
            if self.stop.is_cancelled() {
                break;
            }
            found.push(self.look_at(partition, admin)?);
        }
        Ok(found)
    }

    fn look_at(&self, partition: &GroupOffset, admin: &Admin) -> Result<Found, PipelineError> {
        let GroupOffset { at, offset: committed, metadata } = partition;
        let (log_start, end) = admin.watermarks(&at.topic, at.partition)?;
        let dlq_partition = at.partition.rem_euclid(self.dlq_partitions);
        let letters_from = letters::from_metadata(metadata);
        let letters_end = match admin.watermarks(&self.dlq_topic, dlq_partition) {
            Ok((_, end)) => Some(end),
            // Whether a record was dead-lettered already is not known, so it must not be processed yet.
            Err(error) if letters_from.is_some() => return Err(error.into()),
            // Good records do not wait for a topic that only bad ones need.
            Err(error) => {
                tracing::warn!(error = chain_of(&error), "cannot see where dead letters go");
                None
            }
        };
        let mut missing = Vec::new();
        if let Some(from) = letters_from.filter(|from| Some(*from) < letters_end) {
            let none = OffsetSet::default();
            let tail = letters::Tail {
                at,
                group: &self.group,
                start: committed.unwrap_or(log_start),
                end,
                log_start,
                known: self.known.get(&at.partition).unwrap_or(&none),
                dlq_topic: &self.dlq_topic,
                dlq_partition,
                from,
            };
            missing = tail.without_outcome(&self.kafka, &self.limits, &self.stop)?;
        }
        Ok(Found { at: at.clone(), committed: *committed, log_start, end, letters_end, missing })
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_kafka_that_is_silent_holds_up_nobody_who_asks() {
        // It takes connections, and never says a word.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = silent.local_addr().expect("an address");
        let stop = CancellationToken::new();
        let at = TopicPartition::new("orders", 0);
        let begun = Instant::now();
        let lookup = Lookup::start(Question {
            kafka: KafkaSettings { bootstrap_servers: addr.to_string(), ..KafkaSettings::default() },
            partitions: vec![GroupOffset { at, offset: Some(1), metadata: "dlq-from=0".to_owned() }],
            known: BTreeMap::new(),
            group: "group".to_owned(),
            topic: "orders".to_owned(),
            topic_id: None,
            dlq_topic: "orders-dlq".to_owned(),
            dlq_partitions: 1,
            limits: DecodeLimits::default(),
            stop: stop.clone(),
        })
        .expect("a thread");
        let (stream, _) = silent.accept().expect("the client comes");
        // It waits for its answer now, and whoever asked does not.
        assert!(lookup.answer().is_none());
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        stop.cancel();
        drop((stream, silent, lookup));
    }
}
