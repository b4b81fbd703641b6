//! The group consumer: events in, explicit offsets out. It never stores or commits an offset by itself, never settles a
//! rebalance by itself, and never blocks past the deadline that it is given.

use std::sync::mpsc;
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::KafkaError;
use super::client::{LoggingContext, client_config, log_client_line};
use super::native::{CommitAnswer, EventQueue, NativeEvent, metadata_of};
use crate::config::KafkaSettings;
use crate::record::{Record, TopicPartition};

/// What fits our use better than the client's own defaults, unless it was set.
const OUR_DEFAULTS: &[(&str, &str)] = &[
    // One answer of one broker, on top of what is queued. It is one buffer, which its last record holds in memory.
    ("fetch.max.bytes", "4194304"),
    // A full queue is emptied within milliseconds; by default the next fetch would wait for a second.
    ("fetch.queue.backoff.ms", "10"),
];

/// What the consumer had to say.
#[derive(Debug)]
pub enum Event {
    /// One record.
    Record(Record),
    /// Everything below `offset` has been delivered (transaction markers and compacted offsets close with it).
    EndOfPartition {
        /// The partition.
        partition: TopicPartition,
        /// The next offset that could hold a record.
        offset: i64,
    },
    /// These partitions are ours once [`Consumer::assign`] says where to start.
    Assigned(Vec<TopicPartition>),
    /// These partitions are to be given back with [`Consumer::unassign`], at the latest within the poll interval.
    Revoked {
        /// The partitions.
        partitions: Vec<TopicPartition>,
        /// Another member may already own them: nothing of theirs may be committed any more.
        lost: bool,
    },
    /// What became of an asynchronous commit.
    Committed(CommitReport),
    /// The position of a partition is outside of what the topic holds.
    OutOfRange(TopicPartition),
    /// The client cannot go on.
    Fatal(KafkaError),
}

/// What became of a commit.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CommitReport {
    /// The partitions whose offsets are stored, with these.
    pub offsets: Vec<(TopicPartition, i64)>,
    /// Why it failed, or some of it, if it did.
    pub error: Option<String>,
}

impl CommitReport {
    /// A commit's error is that of the request, or the last one of its partitions. Without any of the latter nothing is
    /// known of any of them.
    fn of(error: Option<RDKafkaErrorCode>, answers: Vec<CommitAnswer>) -> Self {
        let is_partial = answers.iter().any(|answer| answer.error.is_some());
        let refused: Vec<String> = answers
            .iter()
            .filter_map(|answer| Some(format!("{}: {}", answer.partition, answer.error?)))
            .collect();
        let error = if is_partial { Some(refused.join(", ")) } else { error.map(|code| code.to_string()) };
        let offsets = answers
            .into_iter()
            .filter(|answer| answer.error.is_none() && (is_partial || error.is_none()))
            .map(|answer| (answer.partition, answer.offset))
            .collect();
        Self { offsets, error }
    }
}

/// What a group has committed in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupOffset {
    /// The partition.
    pub at: TopicPartition,
    /// The offset; `None` where the group never committed.
    pub offset: Option<i64>,
    /// What was committed beside it.
    pub metadata: String,
}

/// An offset to commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The partition.
    pub at: TopicPartition,
    /// The offset of the next record to read.
    pub offset: i64,
    /// A text to keep beside it.
    pub metadata: String,
}

/// Where to start reading a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// At its first record.
    Beginning,
    /// At this offset.
    At(i64),
}

/// What differs from consumer to consumer.
#[derive(Debug, Clone)]
pub struct ConsumerOptions {
    /// The consumer group.
    pub group: String,
    /// How long the group waits for a silent member.
    pub session_timeout: Duration,
    /// How long a member may go without polling.
    pub max_poll_interval: Duration,
    /// How much the client may fetch ahead, in bytes.
    pub fetch_ahead_bytes: usize,
}

/// A member of a consumer group.
pub struct Consumer {
    // Dropped before the client that it belongs to.
    queue: EventQueue,
    inner: BaseConsumer<LoggingContext>,
    bootstrap_servers: String,
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer").field("bootstrap_servers", &self.bootstrap_servers).finish_non_exhaustive()
    }
}

impl Consumer {
    /// Builds the consumer; no broker is asked yet.
    ///
    /// # Errors
    /// [`KafkaError::Config`] when the client refuses a property.
    pub fn new(settings: &KafkaSettings, options: &ConsumerOptions) -> Result<Self, KafkaError> {
        let session = options.session_timeout.as_millis().to_string();
        let poll = options.max_poll_interval.as_millis().to_string();
        let ahead_kb = (options.fetch_ahead_bytes / 1024).max(1).to_string();
        let mut config = client_config(
            settings,
            &[
                ("group.id", &options.group),
                ("session.timeout.ms", &session),
                ("max.poll.interval.ms", &poll),
                ("queued.max.messages.kbytes", &ahead_kb),
                ("enable.auto.commit", "false"),
                ("enable.auto.offset.store", "false"),
                // A position that the topic no longer holds is an alarm, never a jump: a new group's start is chosen by us.
                ("auto.offset.reset", "error"),
                ("isolation.level", "read_committed"),
                ("enable.partition.eof", "true"),
                ("check.crcs", "true"),
                ("group.protocol", "classic"),
                ("partition.assignment.strategy", "cooperative-sticky"),
            ],
        );
        for (key, value) in OUR_DEFAULTS {
            if !settings.properties.contains_key(*key) {
                config.set(*key, *value);
            }
        }
        let inner: BaseConsumer<LoggingContext> =
            config.create_with_context(LoggingContext).map_err(KafkaError::config)?;
        let queue = EventQueue::of(inner.client().native_ptr()).ok_or_else(|| {
            KafkaError::Config(ClientError::ClientCreation("the client has no consumer queue".to_owned()))
        })?;
        Ok(Self { queue, inner, bootstrap_servers: settings.bootstrap_servers.clone() })
    }

    /// Joins the group for a topic.
    ///
    /// # Errors
    /// [`KafkaError::Request`] when the client refuses the topic's name.
    pub fn subscribe(&self, topic: &str) -> Result<(), KafkaError> {
        self.inner.subscribe(&[topic]).map_err(|e| KafkaError::request(format!("subscribe to {topic}"), e))
    }

    /// Waits for the next event; `None` when nothing came in time.
    pub fn poll(&mut self, timeout: Duration) -> Option<Event> {
        match self.queue.poll(timeout)? {
            NativeEvent::Record(record) => Some(Event::Record(record)),
            NativeEvent::EndOfPartition { partition, offset } => {
                Some(Event::EndOfPartition { partition, offset })
            }
            NativeEvent::Assign(partitions) => Some(Event::Assigned(partitions)),
            NativeEvent::Revoke(partitions) => {
                Some(Event::Revoked { partitions, lost: self.inner.assignment_lost() })
            }
            NativeEvent::Commit { error, offsets } => {
                // Commits of nothing are reported too, as an error of their own.
                (error != Some(RDKafkaErrorCode::NoOffset))
                    .then(|| Event::Committed(CommitReport::of(error, offsets)))
            }
            NativeEvent::Error {
                partition: Some(partition),
                code: RDKafkaErrorCode::AutoOffsetReset,
                ..
            } => Some(Event::OutOfRange(partition)),
            NativeEvent::Error { fatal: true, code, reason, .. } => {
                let reason = self.inner.client().fatal_error().map_or(reason, |(_, text)| text);
                Some(Event::Fatal(KafkaError::Fatal(format!("{code}: {reason}"))))
            }
            NativeEvent::Error { code, reason, partition, .. } => {
                report_error(code, &reason, partition.as_ref());
                None
            }
            NativeEvent::Log { level, facility, message } => {
                log_client_line(log_level(level), &facility, &message);
                None
            }
            NativeEvent::Other => None,
        }
    }

    /// Takes over partitions at the positions given, and un-pauses them: the client keeps a pause across assignments.
    ///
    /// # Errors
    /// [`KafkaError::Request`] when the client refuses.
    pub fn assign(&self, positions: &[(TopicPartition, Position)]) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for (at, position) in positions {
            let offset = match position {
                Position::Beginning => Offset::Beginning,
                Position::At(offset) => Offset::Offset(*offset),
            };
            list.add_partition_offset(&at.topic, at.partition, offset)
                .map_err(|e| KafkaError::request(format!("start {at} at {position:?}"), e))?;
        }
        self.inner.incremental_assign(&list).map_err(|e| KafkaError::request("take over partitions", e))?;
        self.inner.resume(&list).map_err(|e| KafkaError::request("resume partitions", e))
    }

    /// Reads a partition of ours from another position: after [`Event::OutOfRange`] the client does not go on by itself.
    /// Not to be called while a rebalance is to be settled, because the client would take it for the answer.
    ///
    /// # Errors
    /// [`KafkaError::Request`] when the client refuses.
    pub fn start_again(&self, partition: &TopicPartition, position: Position) -> Result<(), KafkaError> {
        // What is lost is about to be revoked, and an assignment would hide that.
        if self.inner.assignment_lost() {
            return Ok(());
        }
        self.unassign(std::slice::from_ref(partition))?;
        self.assign(&[(partition.clone(), position)])
    }

    /// Gives partitions back.
    ///
    /// # Errors
    /// [`KafkaError::Request`] when the client refuses.
    pub fn unassign(&self, partitions: &[TopicPartition]) -> Result<(), KafkaError> {
        self.inner
            .incremental_unassign(&list_of(partitions))
            .map_err(|e| KafkaError::request("give partitions back", e))
    }

    /// Stops fetching a partition until [`Consumer::resume`].
    ///
    /// # Errors
    /// [`KafkaError::Request`] when the partition is not ours.
    pub fn pause(&self, partition: &TopicPartition) -> Result<(), KafkaError> {
        let list = list_of(std::slice::from_ref(partition));
        self.inner.pause(&list).map_err(|e| KafkaError::request(format!("pause {partition}"), e))
    }

    /// Fetches a paused partition again, from where it was.
    ///
    /// # Errors
    /// [`KafkaError::Request`] when the partition is not ours.
    pub fn resume(&self, partition: &TopicPartition) -> Result<(), KafkaError> {
        let list = list_of(std::slice::from_ref(partition));
        self.inner.resume(&list).map_err(|e| KafkaError::request(format!("resume {partition}"), e))
    }

    /// The group's committed offsets; `None` where it never committed.
    ///
    /// # Errors
    /// [`KafkaError::Request`] when the coordinator does not answer in time.
    pub fn committed(
        &self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> Result<Vec<GroupOffset>, KafkaError> {
        let answer = self
            .inner
            .committed_offsets(list_of(partitions), timeout)
            .map_err(|e| KafkaError::request("read the group's committed offsets", e))?;
        answer
            .elements()
            .iter()
            .zip(metadata_of(&answer))
            .map(|(e, metadata)| {
                e.error().map_err(|e| KafkaError::request("read the group's committed offsets", e))?;
                let offset = match e.offset() {
                    Offset::Offset(offset) => Some(offset),
                    _ => None,
                };
                Ok(GroupOffset { at: TopicPartition::new(e.topic(), e.partition()), offset, metadata })
            })
            .collect()
    }

    /// The first offset and the last stable offset of a partition.
    ///
    /// # Errors
    /// [`KafkaError::Request`] when the leader does not answer in time.
    pub fn watermarks(
        &self,
        partition: &TopicPartition,
        timeout: Duration,
    ) -> Result<(i64, i64), KafkaError> {
        self.inner.client().fetch_watermarks(&partition.topic, partition.partition, timeout).map_err(|e| {
            if e.rdkafka_error_code().is_some_and(is_remembered) {
                // The next try is to find something newer. An error of this one says nothing more.
                drop(self.inner.fetch_metadata(Some(&partition.topic), timeout));
            }
            KafkaError::request(format!("read the offsets of {partition}"), e)
        })
    }

    /// Asks for a commit; an [`Event::Committed`] tells what became of it.
    ///
    /// # Errors
    /// [`KafkaError::Request`] when the client does not even take the request.
    pub fn commit_async(&self, offsets: &[Commit]) -> Result<(), KafkaError> {
        match self.queue.commit(self.inner.client().native_ptr(), &offsets_list(offsets)?) {
            RDKafkaErrorCode::NoError => Ok(()),
            code => Err(KafkaError::request("commit offsets", ClientError::ConsumerCommit(code))),
        }
    }

    /// Commits and waits for the answer, at most so long.
    ///
    /// # Errors
    /// [`KafkaError::Request`] when there was no answer in time.
    pub fn commit_sync(&self, offsets: &[Commit], timeout: Duration) -> Result<CommitReport, KafkaError> {
        let list = offsets_list(offsets)?;
        match EventQueue::commit_and_wait(self.inner.client().native_ptr(), &list, timeout) {
            Some(NativeEvent::Commit { error, offsets }) => Ok(CommitReport::of(error, offsets)),
            _ => {
                let late = ClientError::ConsumerCommit(RDKafkaErrorCode::OperationTimedOut);
                Err(KafkaError::request("commit offsets", late))
            }
        }
    }

    /// Leaves the group. Gives up after the deadline: the process is about to end, and with the brokers down the
    /// client would wait for a session timeout.
    pub fn close(self, timeout: Duration) -> bool {
        let Self { queue, inner, .. } = self;
        on_own_thread(timeout, move || {
            drop(queue);
            drop(inner);
        })
        .is_some()
    }
}

/// Whether an error comes from what the client remembers of a topic: of one that it does not read, nobody else renews that
/// for a quarter of an hour, and it may be of the moment in which a leader was gone.
fn is_remembered(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::LeaderNotAvailable
            | RDKafkaErrorCode::NotLeaderForPartition
    )
}

/// Runs a call that has no deadline of its own on a thread; `None` when it took too long.
fn on_own_thread<T: Send + 'static>(
    timeout: Duration,
    call: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (done, waiting) = mpsc::sync_channel(1);
    std::thread::Builder::new().name("kafka-wait".to_owned()).spawn(move || drop(done.send(call()))).ok()?;
    waiting.recv_timeout(timeout).ok()
}

fn list_of(partitions: &[TopicPartition]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for at in partitions {
        list.add_partition(&at.topic, at.partition);
    }
    list
}

fn offsets_list(offsets: &[Commit]) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for Commit { at, offset, metadata } in offsets {
        let mut element = list.add_partition(&at.topic, at.partition);
        element
            .set_offset(Offset::Offset(*offset))
            .map_err(|e| KafkaError::request(format!("commit {at} at {offset}"), e))?;
        element.set_metadata(metadata);
    }
    Ok(list)
}

/// Errors that pass by themselves are warnings; the client keeps trying.
fn report_error(code: RDKafkaErrorCode, reason: &str, partition: Option<&TopicPartition>) {
    match code {
        RDKafkaErrorCode::AllBrokersDown => tracing::warn!("no Kafka broker can be reached, still trying"),
        RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::Resolve => {
            tracing::debug!(%code, "kafka client: {reason}");
        }
        _ => tracing::warn!(%code, partition = partition.map(ToString::to_string), "kafka client: {reason}"),
    }
}

fn log_level(level: i32) -> RDKafkaLogLevel {
    match level {
        ..=3 => RDKafkaLogLevel::Error,
        4 => RDKafkaLogLevel::Warning,
        _ => RDKafkaLogLevel::Info,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(partition: i32, error: Option<RDKafkaErrorCode>) -> CommitAnswer {
        CommitAnswer { partition: TopicPartition::new("orders", partition), offset: 7, error }
    }

    #[test]
    fn only_what_the_broker_has_stored_is_committed() {
        let refused = RDKafkaErrorCode::UnknownTopicOrPartition;
        let late = RDKafkaErrorCode::OperationTimedOut;
        for (error, answers, stored) in [
            (None, vec![None, None], vec![0, 1]),
            (Some(refused), vec![None, Some(refused)], vec![0]),
            (None, vec![Some(refused), None], vec![1]),
            (Some(refused), vec![Some(refused), Some(refused)], vec![]),
            // Nothing was answered: nothing is known.
            (Some(late), vec![None, None], vec![]),
        ] {
            let answers: Vec<_> = (0..).zip(answers).map(|(number, error)| answer(number, error)).collect();
            let failed = error.is_some() || answers.iter().any(|answer| answer.error.is_some());
            let report = CommitReport::of(error, answers);
            let found: Vec<i32> = report.offsets.iter().map(|(at, _)| at.partition).collect();
            assert_eq!((found, report.error.is_some()), (stored, failed), "{report:?}");
        }
    }

    fn consumer_of(bootstrap_servers: String) -> Consumer {
        let settings = KafkaSettings { bootstrap_servers, ..KafkaSettings::default() };
        let options = ConsumerOptions {
            group: "g".to_owned(),
            session_timeout: Duration::from_secs(10),
            max_poll_interval: Duration::from_secs(60),
            fetch_ahead_bytes: 1 << 20,
        };
        Consumer::new(&settings, &options).expect("a consumer")
    }

    #[test]
    fn a_partition_that_had_no_leader_for_a_moment_is_found_again() {
        let mock = rdkafka::mocking::MockCluster::new(1).expect("a mock cluster");
        mock.create_topic("letters", 1, 1).expect("created");
        mock.partition_leader("letters", 0, None).expect("without a leader");
        let consumer = consumer_of(mock.bootstrap_servers());
        let letters = TopicPartition::new("letters", 0);
        consumer.watermarks(&letters, Duration::from_secs(5)).expect_err("there is no leader");
        mock.partition_leader("letters", 0, Some(1)).expect("a leader");
        let found = (0..20).find_map(|_| consumer.watermarks(&letters, Duration::from_secs(5)).ok());
        assert_eq!(found, Some((0, 0)));
    }

    #[test]
    fn a_commit_without_a_broker_ends_in_time() {
        let consumer = consumer_of("127.0.0.1:1".to_owned());
        let offsets = [Commit { at: TopicPartition::new("orders", 0), offset: 1, metadata: String::new() }];
        let begun = std::time::Instant::now();
        let error = consumer.commit_sync(&offsets, Duration::from_millis(50)).expect_err("nobody answers");
        assert!(error.to_string().contains("commit offsets"), "{error}");
        // And so does leaving, which is not done then, and says so.
        assert!(!consumer.close(Duration::from_millis(50)));
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}
