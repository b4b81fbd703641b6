//! The tracker's settings, raw and checked.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::check::{name, need, topic};
use super::targets::{DeliverTarget, NotifySettings, addresses, notify_targets};
use super::values::{Int, Jitter, Listen, Name, Rate, Size, Span, Switch, TopicName, shown, shown_size};
use super::{AuditKey, ConfigError, Files, KafkaRaw, KafkaSettings, Layer as _, SecretEnv};

/// What keeps its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ordering {
    /// Outcomes follow the offsets of a partition
    Partition,
    /// Outcomes follow the offsets of a key
    Key,
}

/// What of the payload an audit line carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuditPayload {
    /// The payload as text, and the order as JSON
    #[default]
    Full,
    /// The payload as text
    Raw,
    /// The payload's hash and size
    Hash,
}

/// What becomes of sealed segments of the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventsCompress {
    /// They stay as they are
    #[default]
    None,
    /// They are packed in the background
    Zstd,
}

/// What to do where retention has deleted unread records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnGap {
    /// Stop with exit code 6
    Stop,
    /// Write the gap into the audit log and go on
    Continue,
}

section! {
    /// `[tracker]`.
    #[command(next_help_heading = "Tracker")]
    pub struct TrackerRaw {
        /// The topic to read
        #[arg(long, value_name = "TOPIC", env = "PUBSUB_KAFKA_TOPIC", hide_env_values = true)]
        pub topic: TopicName,
        /// The consumer group; a new one starts at the earliest offset
        #[arg(long, value_name = "GROUP", env = "PUBSUB_KAFKA_GROUP", hide_env_values = true)]
        pub group: Name,
        /// Where dead letters go
        #[arg(long, value_name = "TOPIC", env = "PUBSUB_KAFKA_DLQ_TOPIC", hide_env_values = true)]
        pub dlq_topic: TopicName,
        /// The health log (JSON Lines)
        #[arg(long, value_name = "FILE", env = "PUBSUB_KAFKA_LOG_FILE", hide_env_values = true)]
        pub log_file: PathBuf,
        /// The audit log (JSON Lines): one line for each outcome
        #[arg(long, value_name = "FILE", env = "PUBSUB_KAFKA_EVENTS_FILE", hide_env_values = true)]
        pub events_file: PathBuf,
        /// How often a record is tried again after its first attempt
        #[arg(long, value_name = "N", env = "PUBSUB_KAFKA_MAX_RETRIES", hide_env_values = true)]
        pub max_retries: Int<0, 1000>,
        /// The wait before the first retry; each further one doubles it
        #[arg(long, value_name = "DURATION", env = "PUBSUB_KAFKA_RETRY_INITIAL", hide_env_values = true)]
        pub retry_initial: Span<1, 86_400_000>,
        /// The longest wait between two attempts
        #[arg(long, value_name = "DURATION", env = "PUBSUB_KAFKA_RETRY_MAX", hide_env_values = true)]
        pub retry_max: Span<1, 86_400_000>,
        /// Random spread of the waits: off, on (0.5), or the share that may vary, 0 to 1
        #[arg(long, value_name = "RATIO", env = "PUBSUB_KAFKA_RETRY_JITTER", hide_env_values = true)]
        pub retry_jitter: Jitter,
        /// How long one attempt may take
        #[arg(long, value_name = "DURATION", env = "PUBSUB_KAFKA_ATTEMPT_TIMEOUT", hide_env_values = true)]
        pub attempt_timeout: Span<1, 3_600_000>,
        /// Post each valid order here; without it, processing is validation alone
        #[arg(long, value_name = "URL", env = "PUBSUB_KAFKA_DELIVER_TO", hide_env_values = true)]
        pub deliver_to: String,
        /// What keeps its order
        #[arg(long, value_name = "WHAT", env = "PUBSUB_KAFKA_ORDERING", hide_env_values = true)]
        pub ordering: Ordering,
        /// How many records are processed at once
        #[arg(long, value_name = "N", env = "PUBSUB_KAFKA_CONCURRENCY", hide_env_values = true)]
        pub concurrency: Int<1, 100_000>,
        /// How many records of one partition are processed at once; by default as many as of all together
        #[arg(long, value_name = "N", env = "PUBSUB_KAFKA_PARTITION_CONCURRENCY", hide_env_values = true)]
        pub partition_concurrency: Int<1, 100_000>,
        /// Wait, instead of dead-lettering everything, while the target is down: on or off
        #[arg(long, value_name = "SWITCH", env = "PUBSUB_KAFKA_OUTAGE_GUARD", hide_env_values = true)]
        pub outage_guard: Switch,
        /// So many records of different keys that fail in a row with the same cause of the target open the guard
        #[arg(long, value_name = "N", env = "PUBSUB_KAFKA_OUTAGE_GUARD_FAILURES", hide_env_values = true)]
        pub outage_guard_failures: Int<1, 10_000>,
        /// How long records wait before one of them probes the target
        #[arg(long, value_name = "DURATION", env = "PUBSUB_KAFKA_OUTAGE_GUARD_WAIT", hide_env_values = true)]
        pub outage_guard_wait: Span<1, 86_400_000>,
        /// So many probes that succeed in a row close the guard
        #[arg(long, value_name = "N", env = "PUBSUB_KAFKA_OUTAGE_GUARD_PROBES", hide_env_values = true)]
        pub outage_guard_probes: Int<1, 10_000>,
        /// Serve /metrics, /healthz and /readyz here; "off" for nowhere
        #[arg(long, value_name = "ADDR", env = "PUBSUB_KAFKA_METRICS_ADDR", hide_env_values = true)]
        pub metrics_addr: Listen,
        /// Stop when every partition's end, as seen at the start, is done and committed
        #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        pub exit_at_end: Switch,
        /// How long a stop may wait for records in flight; fitted below --max-poll-interval and --session-timeout
        #[arg(long, value_name = "DURATION", env = "PUBSUB_KAFKA_SHUTDOWN_TIMEOUT", hide_env_values = true)]
        pub shutdown_timeout: Span<100, 3_600_000>,
        /// The largest payload that is read as an order; a larger one is a dead letter
        #[arg(long, value_name = "SIZE", env = "PUBSUB_KAFKA_MAX_MESSAGE_BYTES", hide_env_values = true)]
        pub max_message_bytes: Size<1024, { 1 << 30 }>,
        /// How much may be held between Kafka and the audit log, all partitions together
        #[arg(long, value_name = "SIZE", env = "PUBSUB_KAFKA_MAX_IN_FLIGHT_BYTES", hide_env_values = true)]
        pub max_in_flight_bytes: Size<65_536, { 64 << 30 }>,
        /// How many records of one partition may be held between Kafka and the audit log
        #[arg(long, value_name = "N", env = "PUBSUB_KAFKA_MAX_IN_FLIGHT_RECORDS", hide_env_values = true)]
        pub max_in_flight_records: Int<1, 10_000_000>,
        /// How often the offsets of finished records are committed
        #[arg(long, value_name = "DURATION", env = "PUBSUB_KAFKA_COMMIT_INTERVAL", hide_env_values = true)]
        pub commit_interval: Span<10, 3_600_000>,
        /// After how long without a heartbeat the group gives the partitions away; at most --max-poll-interval
        #[arg(long, value_name = "DURATION", env = "PUBSUB_KAFKA_SESSION_TIMEOUT", hide_env_values = true)]
        pub session_timeout: Span<1000, 3_600_000>,
        /// How long the tracker may go without polling before it has to leave the group
        #[arg(long, value_name = "DURATION", env = "PUBSUB_KAFKA_MAX_POLL_INTERVAL", hide_env_values = true)]
        pub max_poll_interval: Span<1000, 86_400_000>,
        /// How often a line with counts and rates goes to the health log
        #[arg(long, value_name = "DURATION", env = "PUBSUB_KAFKA_METRICS_INTERVAL", hide_env_values = true)]
        pub metrics_interval: Span<100, 86_400_000>,
        /// Begin a new segment of the audit log when the live one has this size
        #[arg(long, value_name = "SIZE", env = "PUBSUB_KAFKA_EVENTS_MAX_BYTES", hide_env_values = true)]
        pub events_max_bytes: Size<65_536, { 1 << 40 }>,
        /// Pack sealed segments of the audit log, in the background
        #[arg(long, value_name = "HOW", env = "PUBSUB_KAFKA_EVENTS_COMPRESS", hide_env_values = true)]
        pub events_compress: EventsCompress,
        /// A file with the key of the audit log's hash chain: 32 bytes, or 64 hexadecimal digits
        #[arg(long, value_name = "FILE", env = "PUBSUB_KAFKA_AUDIT_KEY_FILE", hide_env_values = true)]
        pub audit_key_file: PathBuf,
        /// What of the payload an audit line carries
        #[arg(long, value_name = "WHAT", env = "PUBSUB_KAFKA_AUDIT_PAYLOAD", hide_env_values = true)]
        pub audit_payload: AuditPayload,
        /// What to do where retention has deleted unread records
        #[arg(long, value_name = "WHAT", env = "PUBSUB_KAFKA_ON_GAP", hide_env_values = true)]
        pub on_gap: OnGap,
        /// Post each outcome here as well once it is on disk, without waiting for it; may be repeated, or several
        /// separated by commas
        #[arg(long, value_name = "URL", env = "PUBSUB_KAFKA_NOTIFY", hide_env_values = true, value_delimiter = ',')]
        #[serde(deserialize_with = "addresses")]
        pub notify: Vec<String>,
        /// How many outcomes may wait for each --notify target; more are dropped
        #[arg(long, value_name = "N", env = "PUBSUB_KAFKA_NOTIFY_QUEUE", hide_env_values = true)]
        pub notify_queue: Int<1, 1_000_000>,
        /// How many bytes of records may wait for each --notify target; more are dropped
        #[arg(long, value_name = "SIZE", env = "PUBSUB_KAFKA_NOTIFY_QUEUE_BYTES", hide_env_values = true)]
        pub notify_queue_bytes: Size<1024, { 1 << 30 }>,
        /// How many posts to each --notify target may run at once
        #[arg(long, value_name = "N", env = "PUBSUB_KAFKA_NOTIFY_CONCURRENCY", hide_env_values = true)]
        pub notify_concurrency: Int<1, 10_000>,
        /// The most attempts to deliver per second, retries included; or "max"
        #[arg(long, value_name = "N|max", env = "PUBSUB_KAFKA_DELIVER_RATE", hide_env_values = true)]
        pub deliver_rate: Rate,
    }
}

/// How often a record is tried, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct RetrySettings {
    /// How often after the first attempt.
    pub max_retries: u32,
    /// The wait before the first retry.
    pub initial: Duration,
    /// The longest wait.
    pub max: Duration,
    /// The share of a wait that may vary, 0 to 1; 0 is no jitter.
    pub jitter: f64,
    /// How long one attempt may take.
    pub attempt_timeout: Duration,
}

/// When the outage guard opens and closes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardSettings {
    /// Records of different keys in a row that open it.
    pub failures: usize,
    /// How long it stays open before a record probes.
    pub wait: Duration,
    /// Successful probes in a row that close it.
    pub probes: u32,
}

/// What the tracker works with.
#[derive(Debug, Clone, PartialEq)]
pub struct TrackerSettings {
    /// How Kafka is reached.
    pub kafka: KafkaSettings,
    /// Whether missing topics are created.
    pub create_topics: bool,
    /// How many partitions a created topic gets.
    pub topic_partitions: i32,
    /// How many replicas a created topic gets; -1 leaves it to the broker.
    pub topic_replication: i32,
    /// The topic to read.
    pub topic: String,
    /// The consumer group.
    pub group: String,
    /// Where dead letters go.
    pub dlq_topic: String,
    /// The health log.
    pub log_file: PathBuf,
    /// The audit log.
    pub events_file: PathBuf,
    /// Attempts and their waits.
    pub retry: RetrySettings,
    /// A segment of the audit log ends at this size, in bytes.
    pub events_max_bytes: u64,
    /// What becomes of sealed segments of the audit log.
    pub events_compress: EventsCompress,
    /// What of the payload an audit line carries.
    pub audit_payload: AuditPayload,
    /// What to do where retention has deleted unread records.
    pub on_gap: OnGap,
    /// The key of the audit log's hash chain, if it has one.
    pub audit_key: Option<AuditKey>,
    /// Where valid orders are posted to.
    pub deliver_to: Option<DeliverTarget>,
    /// The most attempts to deliver per second; without it there is no limit.
    pub deliver_rate: Option<f64>,
    /// Where outcomes are posted to as well.
    pub notify: NotifySettings,
    /// What keeps its order.
    pub ordering: Ordering,
    /// How many records are processed at once.
    pub concurrency: usize,
    /// How many of one partition, if not as many.
    pub partition_concurrency: Option<usize>,
    /// Whether, and when, an outage of the target makes records wait instead of dead-lettering them.
    pub outage_guard: Option<GuardSettings>,
    /// Where `/metrics`, `/healthz` and `/readyz` are served.
    pub metrics_addr: Option<SocketAddr>,
    /// Stop at the end that was seen at the start.
    pub exit_at_end: bool,
    /// How long a stop, or a partition's revocation, may wait for records in flight.
    pub shutdown_timeout: Duration,
    /// The largest payload that is read as an order, in bytes.
    pub max_message_bytes: usize,
    /// The most bytes held between poll and durable outcome, all partitions together.
    pub max_in_flight_bytes: usize,
    /// The most records of one partition held between poll and durable outcome.
    pub max_in_flight_records: usize,
    /// How often finished offsets are committed.
    pub commit_interval: Duration,
    /// The group's session timeout.
    pub session_timeout: Duration,
    /// The group's limit between two polls.
    pub max_poll_interval: Duration,
    /// How often the health log gets a line of metrics.
    pub metrics_interval: Duration,
}

impl TrackerSettings {
    /// Lays flags and environment over the files, and checks the result.
    ///
    /// # Errors
    /// [`ConfigError`] that names the setting and what is allowed.
    pub fn resolve(
        kafka: KafkaRaw,
        given: TrackerRaw,
        files: Files,
        env: &SecretEnv,
    ) -> Result<Self, ConfigError> {
        let kafka = kafka.over(files.given.kafka).over(files.defaults.kafka);
        let mut given = given.over(files.given.tracker);
        let mut kafka_settings = kafka.check(env)?;
        take_group_properties(&mut kafka_settings, &mut given)?;
        let (fitted, raw) = (given.clone(), given.over(files.defaults.tracker));

        let max_poll_interval = need(raw.max_poll_interval, "max-poll-interval")?.0;
        // A default gives way to what was said explicitly; only two explicit settings can contradict each other.
        let mut session_timeout = need(raw.session_timeout, "session-timeout")?.0;
        if fitted.session_timeout.is_none() {
            session_timeout = session_timeout.min(max_poll_interval);
        }
        let mut shutdown_timeout = need(raw.shutdown_timeout, "shutdown-timeout")?.0;
        if fitted.shutdown_timeout.is_none() {
            shutdown_timeout = shutdown_timeout.min(max_poll_interval.min(session_timeout) / 2);
        }

        let guard = GuardSettings {
            failures: need(raw.outage_guard_failures, "outage-guard-failures")?.to(),
            wait: need(raw.outage_guard_wait, "outage-guard-wait")?.0,
            probes: need(raw.outage_guard_probes, "outage-guard-probes")?.to(),
        };
        let topics = kafka.topic_creation()?;
        let settings = Self {
            kafka: kafka_settings,
            create_topics: topics.allowed,
            topic_partitions: topics.partitions,
            topic_replication: topics.replication,
            topic: topic(raw.topic, "topic")?,
            group: name(raw.group, "group")?,
            dlq_topic: topic(raw.dlq_topic, "dlq-topic")?,
            log_file: need(raw.log_file, "log-file")?,
            events_file: need(raw.events_file, "events-file")?,
            retry: RetrySettings {
                max_retries: need(raw.max_retries, "max-retries")?.to(),
                initial: need(raw.retry_initial, "retry-initial")?.0,
                max: need(raw.retry_max, "retry-max")?.0,
                jitter: need(raw.retry_jitter, "retry-jitter")?.0,
                attempt_timeout: need(raw.attempt_timeout, "attempt-timeout")?.0,
            },
            deliver_to: raw
                .deliver_to
                .as_deref()
                .map(|url| DeliverTarget::parse("--deliver-to", url))
                .transpose()?,
            deliver_rate: match raw.deliver_rate {
                Some(Rate::PerSecond(rate)) => Some(rate),
                Some(Rate::Max) | None => None,
            },
            notify: NotifySettings {
                targets: notify_targets(raw.notify.as_deref().unwrap_or_default())?,
                queue: need(raw.notify_queue, "notify-queue")?.to(),
                queue_bytes: need(raw.notify_queue_bytes, "notify-queue-bytes")?.bytes(),
                concurrency: need(raw.notify_concurrency, "notify-concurrency")?.to(),
            },
            ordering: need(raw.ordering, "ordering")?,
            concurrency: need(raw.concurrency, "concurrency")?.to(),
            partition_concurrency: raw.partition_concurrency.map(Int::to),
            outage_guard: need(raw.outage_guard, "outage-guard")?.0.then_some(guard),
            metrics_addr: need(raw.metrics_addr, "metrics-addr")?.0,
            exit_at_end: need(raw.exit_at_end, "exit-at-end")?.0,
            shutdown_timeout,
            max_message_bytes: need(raw.max_message_bytes, "max-message-bytes")?.bytes(),
            events_max_bytes: need(raw.events_max_bytes, "events-max-bytes")?.bytes() as u64,
            events_compress: need(raw.events_compress, "events-compress")?,
            audit_payload: need(raw.audit_payload, "audit-payload")?,
            on_gap: need(raw.on_gap, "on-gap")?,
            audit_key: raw.audit_key_file.as_deref().map(AuditKey::read).transpose()?,
            max_in_flight_bytes: need(raw.max_in_flight_bytes, "max-in-flight-bytes")?.bytes(),
            max_in_flight_records: need(raw.max_in_flight_records, "max-in-flight-records")?.to(),
            commit_interval: need(raw.commit_interval, "commit-interval")?.0,
            session_timeout,
            max_poll_interval,
            metrics_interval: need(raw.metrics_interval, "metrics-interval")?.0,
        };
        settings.check_bounds()?;
        Ok(settings)
    }

    /// The bounds that involve two settings. An attempt may take longer than the poll interval: polling goes on.
    fn check_bounds(&self) -> Result<(), ConfigError> {
        let contradiction = |text: String| Err(ConfigError::Contradiction(text));
        if self.topic == self.dlq_topic {
            return contradiction(format!(
                "--dlq-topic must not be --topic ({}): a dead letter would be read again",
                self.topic
            ));
        }
        if same_file(&self.log_file, &self.events_file) {
            let path = self.events_file.display();
            return contradiction(format!(
                "--log-file and --events-file must be different files (both are {path})"
            ));
        }
        if self.retry.initial > self.retry.max {
            return contradiction(longer("retry-initial", self.retry.initial, "retry-max", self.retry.max));
        }
        // The client itself demands this.
        if self.session_timeout > self.max_poll_interval {
            let interval = self.max_poll_interval;
            return contradiction(longer(
                "session-timeout",
                self.session_timeout,
                "max-poll-interval",
                interval,
            ));
        }
        // A revocation drains within the poll; past either limit the partition belongs to another tracker, and the
        // commit at the end of the drain would come too late.
        for (name, limit) in
            [("max-poll-interval", self.max_poll_interval), ("session-timeout", self.session_timeout)]
        {
            if self.shutdown_timeout >= limit {
                return contradiction(format!(
                    "--shutdown-timeout ({}) must be shorter than --{name} ({})",
                    shown(self.shutdown_timeout),
                    shown(limit),
                ));
            }
        }
        // The largest record must fit, or its partition would wait for ever.
        if self.max_message_bytes > self.max_in_flight_bytes {
            return contradiction(format!(
                "--max-message-bytes ({}) must not be above --max-in-flight-bytes ({})",
                shown_size(self.max_message_bytes as u64),
                shown_size(self.max_in_flight_bytes as u64),
            ));
        }
        Ok(())
    }
}

fn longer(name: &str, value: Duration, limit_name: &str, limit: Duration) -> String {
    format!("--{name} ({}) must not be longer than --{limit_name} ({})", shown(value), shown(limit))
}

fn same_file(a: &Path, b: &Path) -> bool {
    let full = |path: &Path| {
        path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
    };
    full(a) == full(b)
}

/// `-X session.timeout.ms` and `-X max.poll.interval.ms` are the settings of that name in the client's spelling.
fn take_group_properties(kafka: &mut KafkaSettings, given: &mut TrackerRaw) -> Result<(), ConfigError> {
    fn take<const MIN: u64, const MAX: u64>(
        properties: &mut std::collections::BTreeMap<String, String>,
        key: &str,
        into: &mut Option<Span<MIN, MAX>>,
    ) -> Result<(), ConfigError> {
        if let Some(millis) = properties.remove(key) {
            let span = format!("{millis}ms").parse().map_err(|bad| {
                ConfigError::value(
                    format!("-X {key}={millis}"),
                    format!("a number of milliseconds is needed; {bad}"),
                )
            })?;
            *into = into.or(Some(span));
        }
        Ok(())
    }
    take(&mut kafka.properties, "session.timeout.ms", &mut given.session_timeout)?;
    take(&mut kafka.properties, "max.poll.interval.ms", &mut given.max_poll_interval)
}

#[cfg(test)]
mod tests;
