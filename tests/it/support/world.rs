//! What one test has for itself: topic, dead letter topic, group, folder.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use pubsub_kafka::config::KafkaSettings;
use pubsub_kafka::kafka::{Admin, Delivered, Outgoing, Producer, ProducerOptions, SendError, TopicSpec};
use pubsub_kafka::record::Header;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, Producer as _};

use super::process::start;
use super::{Audit, Raw, Reader, Running, broker, not_run, wait_for};

/// One test's surroundings. Topics are made when it is, and left to Kafka's end.
pub struct World {
    pub servers: String,
    pub topic: String,
    pub dlq: String,
    pub group: String,
    pub partitions: i32,
    /// Whether Kafka is the real one.
    pub is_real: bool,
    folder: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    #[cfg(feature = "embedded")]
    _embedded: Option<pubsub_kafka::kafka::embedded::EmbeddedBroker>,
}

impl World {
    /// On the real Kafka; `None` (said on stderr, or a failure where it is required) without one.
    pub fn real(flow: &str, partitions: i32) -> Option<Self> {
        match broker::real() {
            Ok(servers) => Some(Self::on(servers, flow, partitions)),
            Err(why) => {
                not_run(flow, why);
                None
            }
        }
    }

    /// On the real Kafka, or without one on an embedded broker.
    pub fn any(flow: &str, partitions: i32) -> Option<Self> {
        if broker::real().is_ok() || broker::required() {
            return Self::real(flow, partitions);
        }
        #[cfg(feature = "embedded")]
        return Some(Self::embedded(flow, partitions));
        #[cfg(not(feature = "embedded"))]
        Self::real(flow, partitions)
    }

    /// On this Kafka.
    pub fn on(servers: &str, flow: &str, partitions: i32) -> Self {
        let world = Self::named(servers, flow, partitions);
        world.create(&world.topic, partitions, &[]);
        world
    }

    #[cfg(feature = "embedded")]
    fn embedded(flow: &str, partitions: i32) -> Self {
        use pubsub_kafka::kafka::embedded::EmbeddedBroker;
        let mut world = Self::named("", flow, partitions);
        let heads = ("orders-audit-heads".to_owned(), 1);
        let topics = [(world.topic.clone(), partitions), (world.dlq.clone(), partitions), heads];
        let listen = "127.0.0.1:0".parse().expect("an address");
        let embedded = EmbeddedBroker::start(listen, &topics).expect("an embedded broker");
        world.servers = embedded.addr().to_string();
        world.is_real = false;
        world._embedded = Some(embedded);
        world
    }

    /// On this Kafka, without any topic yet.
    pub fn unmade(servers: &str, flow: &str, partitions: i32) -> Self {
        Self::named(servers, flow, partitions)
    }

    fn named(servers: &str, flow: &str, partitions: i32) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let now = jiff::Timestamp::now().as_microsecond();
        let name =
            format!("{flow}-{:x}-{now:x}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self {
            servers: servers.to_owned(),
            dlq: format!("{name}-dlq"),
            group: format!("{name}-group"),
            topic: name,
            partitions,
            is_real: true,
            folder: tempfile::tempdir().expect("a folder"),
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"),
            #[cfg(feature = "embedded")]
            _embedded: None,
        }
    }

    pub fn settings(&self) -> KafkaSettings {
        KafkaSettings { bootstrap_servers: self.servers.clone(), ..KafkaSettings::default() }
    }

    // Topics

    pub fn create(&self, topic: &str, partitions: i32, config: &[(&str, &str)]) {
        self.create_with(topic, partitions, 1, config);
    }

    /// The same with a number of replicas.
    pub fn create_with(&self, topic: &str, partitions: i32, replication: i32, config: &[(&str, &str)]) {
        let admin = Admin::new(&self.settings()).expect("an admin client");
        let config = config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let spec = TopicSpec { name: topic.to_owned(), partitions, replication, config };
        self.runtime.block_on(admin.create(&spec)).expect("the topic is created");
    }

    pub fn delete(&self, topic: &str) {
        let admin = self.admin();
        let answers = self.runtime.block_on(admin.delete_topics(&[topic], &AdminOptions::new()));
        for answer in answers.expect("an answer") {
            answer.expect("the topic is deleted");
        }
        let admin = Admin::new(&self.settings()).expect("an admin client");
        wait_for("the topic is gone", 20, || admin.topic(topic).ok().filter(Option::is_none));
    }

    /// Gives the source topic so many partitions.
    pub fn grow(&self, partitions: usize) {
        self.grow_topic(&self.topic, partitions);
    }

    /// The same for another topic.
    pub fn grow_topic(&self, topic: &str, partitions: usize) {
        let more = rdkafka::admin::NewPartitions::new(topic, partitions);
        let answers = self.runtime.block_on(self.admin().create_partitions([&more], &AdminOptions::new()));
        for answer in answers.expect("an answer") {
            answer.expect("the partitions are created");
        }
        wait_for("the new partitions", 20, || {
            (Reader::new(&self.servers).ends(topic).len() == partitions).then_some(())
        });
    }

    pub fn alter(&self, topic: &str, key: &str, value: &str) {
        let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(key, value);
        let answers = self.runtime.block_on(self.admin().alter_configs([&change], &AdminOptions::new()));
        for answer in answers.expect("an answer") {
            answer.expect("the setting is changed");
        }
    }

    /// Deletes what is below `before` in a partition of the source topic, as retention does.
    pub fn delete_records(&self, partition: i32, before: i64) {
        self.delete_records_of(&self.topic, partition, before);
    }

    /// The same for any topic.
    pub fn delete_records_of(&self, topic: &str, partition: i32, before: i64) {
        let mut list = rdkafka::TopicPartitionList::new();
        list.add_partition_offset(topic, partition, rdkafka::Offset::Offset(before)).expect("an offset");
        let answer = self.runtime.block_on(self.admin().delete_records(&list, &AdminOptions::new()));
        answer.expect("deleted").elements()[0].error().expect("deleted");
    }

    /// A topic's settings, by Kafka's names.
    pub fn topic_config(&self, topic: &str) -> std::collections::HashMap<String, String> {
        let admin = Admin::new(&self.settings()).expect("an admin client");
        self.runtime.block_on(admin.topic_config(topic)).expect("its settings")
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        rdkafka::ClientConfig::new()
            .set("bootstrap.servers", &self.servers)
            .create()
            .expect("an admin client")
    }

    // Records

    /// Sends records to the source topic, each to the partition that it names, and waits for their acknowledgement.
    pub fn send(&self, records: Vec<Outgoing>) -> Vec<Delivered> {
        let options = ProducerOptions { max_message_bytes: 8 << 20, ..ProducerOptions::default() };
        let producer = Producer::new(&self.settings(), &options).expect("a producer");
        let send = |record: Outgoing| {
            wait_for("room in the producer's queue", 30, || match producer.send(&record) {
                Ok(delivery) => Some(delivery),
                Err(SendError::QueueFull) => None,
                Err(error) => panic!("not sent: {error}"),
            })
        };
        let deliveries: Vec<_> = records.into_iter().map(send).collect();
        deliveries.into_iter().map(|one| self.runtime.block_on(one).expect("acknowledged")).collect()
    }

    /// The plain client in transactions: what its records' readers see is up to the test.
    pub fn transactional_producer(&self) -> BaseProducer {
        let producer: BaseProducer = rdkafka::ClientConfig::new()
            .set("bootstrap.servers", &self.servers)
            .set("transactional.id", &self.topic)
            .create()
            .expect("a producer");
        producer.init_transactions(Duration::from_secs(20)).expect("transactions");
        producer
    }

    /// A record for one partition of the source topic.
    pub fn record(&self, partition: i32, key: Option<&[u8]>, value: Option<&[u8]>) -> Outgoing {
        Outgoing {
            topic: self.topic.as_str().into(),
            partition: Some(partition),
            key: key.map(|bytes| bytes.to_vec().into()),
            value: value.map(|bytes| bytes.to_vec().into()),
            headers: Vec::new(),
            timestamp_ms: None,
        }
    }

    /// The same with headers.
    pub fn with_headers(record: Outgoing, headers: &[(&str, Option<&[u8]>)]) -> Outgoing {
        let header = |(name, value): &(&str, Option<&[u8]>)| Header {
            name: (*name).to_owned().into(),
            value: value.map(|bytes| bytes.to_vec().into()),
        };
        Outgoing { headers: headers.iter().map(header).collect(), ..record }
    }

    /// `count` valid orders, spread over the partitions in turn, sent; their ids are `o-0`, `o-1` …
    pub fn send_orders(&self, count: usize) {
        let record = |number: usize| {
            let id = format!("o-{number}");
            let partition = i32::try_from(number).expect("a small number") % self.partitions;
            self.record(partition, Some(id.as_bytes()), Some(&super::bytes(&super::order(&id))))
        };
        self.send((0..count).map(record).collect());
    }

    /// All records of a topic, by partition and offset.
    pub fn read(&self, topic: &str) -> Vec<Raw> {
        Reader::new(&self.servers).read(topic)
    }

    /// The end of each of the source topic's partitions.
    pub fn ends(&self) -> Vec<i64> {
        Reader::new(&self.servers).ends(&self.topic)
    }

    /// What the group has committed in each partition; 0 where it has nothing.
    pub fn committed(&self) -> Vec<i64> {
        Reader::with_group(&self.servers, &self.group)
            .committed(&self.topic)
            .into_iter()
            .map(|offset| offset.unwrap_or(0))
            .collect()
    }

    // Programs

    /// Runs a future to its end.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Commits an offset for the group, as a member that is gone would have.
    pub fn commit(&self, partition: i32, offset: i64, metadata: &str) {
        use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
        let consumer: BaseConsumer = rdkafka::ClientConfig::new()
            .set("bootstrap.servers", &self.servers)
            .set("group.id", &self.group)
            .create()
            .expect("a consumer");
        let mut list = rdkafka::TopicPartitionList::new();
        let mut at = list.add_partition(&self.topic, partition);
        at.set_offset(rdkafka::Offset::Offset(offset)).expect("an offset");
        at.set_metadata(metadata);
        consumer.commit(&list, CommitMode::Sync).expect("committed");
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// The flags that every tracker here has; its files are `NAME.log` and `NAME.events`.
    pub fn tracker_flags(&self, name: &str) -> Vec<String> {
        let flags = [
            ("-b", self.servers.as_str()),
            ("--topic", &self.topic),
            ("--group", &self.group),
            ("--dlq-topic", &self.dlq),
            ("--log-file", &format!("{name}.log")),
            ("--events-file", &format!("{name}.events")),
        ];
        flags.iter().flat_map(|(flag, value)| [(*flag).to_owned(), (*value).to_owned()]).collect()
    }

    /// Starts a tracker.
    pub fn tracker(&self, name: &str, flags: &[&str]) -> Running {
        self.tracker_in(&[], name, flags)
    }

    /// The same with variables in its environment.
    pub fn tracker_in(&self, variables: &[(&str, &str)], name: &str, flags: &[&str]) -> Running {
        let mut all = self.tracker_flags(name);
        all.extend(flags.iter().map(|flag| (*flag).to_owned()));
        start(env!("CARGO_BIN_EXE_tracker"), &all, variables, self.folder.path(), name)
    }

    /// Runs a tracker until the end of the topic; it must end well.
    pub fn track_to_end(&self, name: &str, flags: &[&str]) -> Audit {
        self.run_to_end(name, flags);
        self.audit(name)
    }

    /// The same, for an audit log of several segments.
    pub fn run_to_end(&self, name: &str, flags: &[&str]) {
        let flags = [&["--exit-at-end"], flags].concat();
        let mut tracker = self.tracker(name, &flags);
        let code = tracker.ended_within(Duration::from_secs(90));
        assert_eq!(code, 0, "{}", tracker.stderr());
    }

    /// Starts a producer to the source topic.
    pub fn producer(&self, name: &str, flags: &[&str]) -> Running {
        self.producer_in(&[], name, flags)
    }

    /// The same with variables in its environment.
    pub fn producer_in(&self, variables: &[(&str, &str)], name: &str, flags: &[&str]) -> Running {
        let mut all = vec!["-b".to_owned(), self.servers.clone(), "--topic".to_owned(), self.topic.clone()];
        all.extend(flags.iter().map(|flag| (*flag).to_owned()));
        start(env!("CARGO_BIN_EXE_producer"), &all, variables, self.folder.path(), name)
    }

    /// The audit log of a tracker, its hash chain checked.
    pub fn audit(&self, name: &str) -> Audit {
        Audit::read(&self.path(&format!("{name}.events")))
    }
}
