//! The raw sections, but the tracker's, which has a file of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::check::{name, need, topic};
use super::values::{Decimal, Int, Listen, Name, Rate, Size, Span, Switch, TopicName};
use super::{AuditKey, ConfigError, KafkaSettings, WebSettings};

section! {
    /// `[kafka]`: how Kafka is reached.
    #[command(next_help_heading = "Kafka")]
    pub struct KafkaRaw {
        /// Where to find Kafka: host:port, several separated by commas
        #[arg(short = 'b', long, value_name = "HOST:PORT", env = "KAFKA_BOOTSTRAP_SERVERS", hide_env_values = true, global = true)]
        pub bootstrap_servers: String,
        /// The name that brokers log for this client
        #[arg(long, value_name = "NAME", env = "PUBSUB_KAFKA_CLIENT_ID", hide_env_values = true, global = true)]
        pub client_id: Name,
        /// How long a start waits for Kafka's first answer
        #[arg(long, value_name = "DURATION", env = "PUBSUB_KAFKA_CONNECT_TIMEOUT", hide_env_values = true, global = true)]
        pub connect_timeout: Span<100, 3_600_000>,
        /// Create the topics that are missing: true or false
        #[arg(long, value_name = "BOOL", env = "PUBSUB_KAFKA_CREATE_TOPICS", hide_env_values = true, global = true)]
        pub create_topics: Switch,
        /// The partitions of a topic that is created
        #[arg(long, value_name = "N", env = "PUBSUB_KAFKA_TOPIC_PARTITIONS", hide_env_values = true, global = true)]
        pub topic_partitions: Int<1, 10_000>,
        /// The replicas of a topic that is created; -1 leaves it to the broker
        #[arg(long, value_name = "N", env = "PUBSUB_KAFKA_TOPIC_REPLICATION", hide_env_values = true, global = true, allow_hyphen_values = true)]
        pub topic_replication: Int<-1, 32_767>,
        /// A librdkafka property; may be repeated. What the guarantees rest on is refused, and so are secrets: those
        /// come from KAFKA_SASL_PASSWORD and KAFKA_SSL_KEY_PASSWORD, or from the file given with --config
        #[arg(short = 'X', value_name = "KEY=VALUE", global = true)]
        #[serde(skip)]
        pub flag_properties: Vec<String>,
        /// The file's own properties; secrets among them are allowed there.
        #[arg(skip)]
        pub properties: toml::Table,
        /// A file with the SASL password.
        #[arg(skip)]
        pub sasl_password_file: PathBuf,
        /// A file with the password of the client's private key.
        #[arg(skip)]
        pub ssl_key_password_file: PathBuf,
    }
}

section! {
    /// `[producer]`.
    #[command(next_help_heading = "Orders")]
    pub struct ProducerRaw {
        /// The topic to send to
        #[arg(long, value_name = "TOPIC", env = "PUBSUB_KAFKA_TOPIC", hide_env_values = true)]
        pub topic: TopicName,
        /// The time from one order to the next; not together with --rate
        #[arg(long, value_name = "DURATION", env = "PUBSUB_KAFKA_INTERVAL", hide_env_values = true)]
        pub interval: Span<1, 86_400_000>,
        /// Orders per second, or "max" for as fast as Kafka takes them; instead of --interval
        #[arg(long, value_name = "N|max", env = "PUBSUB_KAFKA_RATE", hide_env_values = true)]
        pub rate: Rate,
        /// How many orders to send; without it: until stopped
        #[arg(long, value_name = "N", env = "PUBSUB_KAFKA_COUNT", hide_env_values = true)]
        pub count: Int<0, { i64::MAX }>,
        /// The seed of the generator: the same seed gives the same orders
        #[arg(long, value_name = "N", env = "PUBSUB_KAFKA_SEED", hide_env_values = true)]
        pub seed: Int<0, { i64::MAX }>,
        /// Send the lines of this file as they are instead of generated orders; - is the standard input
        #[arg(long, value_name = "FILE|-", env = "PUBSUB_KAFKA_INPUT", hide_env_values = true)]
        pub input: PathBuf,
        /// The share of orders that break a business rule, 0 to 1
        #[arg(long, value_name = "RATIO", env = "PUBSUB_KAFKA_INVALID_RATIO", hide_env_values = true)]
        pub invalid_ratio: Decimal<0, 1>,
        /// The share of payloads that are no order at all, 0 to 1
        #[arg(long, value_name = "RATIO", env = "PUBSUB_KAFKA_MALFORMED_RATIO", hide_env_values = true)]
        pub malformed_ratio: Decimal<0, 1>,
        /// Write the counts as JSON to the standard output at the end
        #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        pub json: Switch,
        /// Serve /metrics, /healthz and /readyz here; "off" for nowhere
        #[arg(long, value_name = "ADDR", env = "PUBSUB_KAFKA_PRODUCER_METRICS_ADDR", hide_env_values = true)]
        pub metrics_addr: Listen,
        /// The tax of generated orders, an amount
        #[arg(long, value_name = "AMOUNT", env = "PUBSUB_KAFKA_TAX", hide_env_values = true)]
        pub tax: Decimal<0, 1_000_000>,
        /// The shipping fee of generated orders
        #[arg(long, value_name = "AMOUNT", env = "PUBSUB_KAFKA_SHIPPING_FEE", hide_env_values = true)]
        pub shipping_fee: Decimal<0, 1_000_000>,
        /// The currency of generated orders
        #[arg(long, value_name = "CODE", env = "PUBSUB_KAFKA_CURRENCY", hide_env_values = true)]
        pub currency: Name,
        /// The payment method of generated orders
        #[arg(long, value_name = "NAME", env = "PUBSUB_KAFKA_PAYMENT_METHOD", hide_env_values = true)]
        pub payment_method: Name,
        /// The warehouse of generated orders
        #[arg(long, value_name = "NAME", env = "PUBSUB_KAFKA_WAREHOUSE", hide_env_values = true)]
        pub warehouse: Name,
        /// The largest record that is sent, key and value; the broker has its own limit
        #[arg(long, value_name = "SIZE", env = "PUBSUB_KAFKA_PRODUCER_MAX_MESSAGE_BYTES", hide_env_values = true)]
        pub max_message_bytes: Size<1024, { 1 << 30 }>,
    }
}

section! {
    /// `[monitor]`.
    #[command(next_help_heading = "Monitor")]
    pub struct MonitorRaw {
        /// The health log to read
        #[arg(long, value_name = "FILE", env = "PUBSUB_KAFKA_LOG_FILE", hide_env_values = true)]
        pub log_file: PathBuf,
        /// The audit log to read
        #[arg(long, value_name = "FILE", env = "PUBSUB_KAFKA_EVENTS_FILE", hide_env_values = true)]
        pub events_file: PathBuf,
        /// Where the tracker serves its metrics, such as http://127.0.0.1:9464/metrics
        #[arg(long, value_name = "URL", env = "PUBSUB_KAFKA_METRICS_URL", hide_env_values = true)]
        pub metrics_url: String,
        /// How much time is counted
        #[arg(long, value_name = "DURATION", env = "PUBSUB_KAFKA_WINDOW", hide_env_values = true)]
        pub window: Span<60_000, 3_600_000>,
        /// The most of the audit log that is read to fill the window; of a larger one a sample
        #[arg(long, value_name = "SIZE", env = "PUBSUB_KAFKA_READ_BYTES", hide_env_values = true)]
        pub read_bytes: Size<{ 1 << 20 }, { 1 << 40 }>,
        /// Print the figures once and end
        #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        pub once: Switch,
        /// Write JSON; together with --once
        #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        pub json: Switch,
        /// Serve the web page here; "off" for nowhere
        #[arg(long, value_name = "ADDR", env = "PUBSUB_KAFKA_WEB", hide_env_values = true)]
        pub web: Listen,
        /// A file with the token that a browser has to show (?token=…); without it one is made, but on loopback
        #[arg(long, value_name = "FILE", env = "PUBSUB_KAFKA_WEB_TOKEN_FILE", hide_env_values = true)]
        pub web_token_file: PathBuf,
        /// Let the web page replay dead letters
        #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        pub allow_replay: Switch,
    }
}

section! {
    /// `[dlq]`.
    #[command(next_help_heading = "Dead letters")]
    pub struct DlqRaw {
        /// The dead letter topic
        #[arg(long, value_name = "TOPIC", env = "PUBSUB_KAFKA_DLQ_TOPIC", hide_env_values = true, global = true)]
        pub topic: TopicName,
        /// The only topics that dead letters may be replayed to, separated by commas; without it any that a plan names
        #[arg(long, value_name = "TOPIC", env = "PUBSUB_KAFKA_REPLAY_TARGETS", hide_env_values = true, value_delimiter = ',', global = true)]
        pub replay_targets: Vec<TopicName>,
        /// Serve /metrics, /healthz and /readyz here while it works; "off" for nowhere
        #[arg(long, value_name = "ADDR", env = "PUBSUB_KAFKA_DLQ_METRICS_ADDR", hide_env_values = true, global = true)]
        pub metrics_addr: Listen,
    }
}

section! {
    /// `[audit]`.
    #[command(next_help_heading = "Audit")]
    pub struct AuditRaw {
        /// The audit log of the tracker that runs here
        #[arg(long, value_name = "FILE", env = "PUBSUB_KAFKA_EVENTS_FILE", hide_env_values = true, global = true)]
        pub events_file: PathBuf,
        /// The topic whose records are to be in it
        #[arg(long, value_name = "TOPIC", env = "PUBSUB_KAFKA_TOPIC", hide_env_values = true, global = true)]
        pub topic: TopicName,
        /// The consumer group that wrote it
        #[arg(long, value_name = "GROUP", env = "PUBSUB_KAFKA_GROUP", hide_env_values = true, global = true)]
        pub group: Name,
        /// Where its dead letters went
        #[arg(long, value_name = "TOPIC", env = "PUBSUB_KAFKA_DLQ_TOPIC", hide_env_values = true, global = true)]
        pub dlq_topic: TopicName,
        /// A file with the key of its hash chain, if it was written with one: 32 bytes, or 64 hexadecimal digits
        #[arg(long, value_name = "FILE", env = "PUBSUB_KAFKA_AUDIT_KEY_FILE", hide_env_values = true, global = true)]
        pub audit_key_file: PathBuf,
    }
}

section! {
    /// `[broker]`.
    #[command(next_help_heading = "Broker")]
    pub struct BrokerRaw {
        /// Where clients reach it
        #[arg(long, value_name = "ADDR", env = "PUBSUB_KAFKA_LISTEN", hide_env_values = true)]
        pub listen: Listen,
        /// A topic to create; may be repeated, the first one replaces the default's
        #[arg(long = "topic", value_name = "NAME:PARTITIONS")]
        pub topics: Vec<String>,
    }
}

impl DlqRaw {
    /// The dead letter topic.
    ///
    /// # Errors
    /// [`ConfigError`] when there is none.
    pub fn checked_topic(self) -> Result<String, ConfigError> {
        topic(self.topic, "topic")
    }
}

impl MonitorRaw {
    /// Which files, how much of them, and in which form they are shown.
    ///
    /// # Errors
    /// [`ConfigError`] for JSON without `--once`, for an address of metrics that is none, for a web page that cannot be.
    pub fn check(self) -> Result<MonitorSettings, ConfigError> {
        let (once, json) = (need(self.once, "once")?.0, need(self.json, "json")?.0);
        let web = self.check_web(once)?;
        if json && !once {
            return Err(ConfigError::Contradiction(
                "--json is for --once: a terminal is not shown JSON".to_owned(),
            ));
        }
        if let Some(url) = &self.metrics_url
            && !url.strip_prefix("http://").is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
        {
            return Err(ConfigError::value(
                "--metrics-url",
                "an address such as http://127.0.0.1:9464/metrics is needed, without TLS",
            ));
        }
        Ok(MonitorSettings {
            log_file: need(self.log_file, "log-file")?,
            events_file: need(self.events_file, "events-file")?,
            metrics_url: self.metrics_url,
            window: need(self.window, "window")?.0,
            read_bytes: need(self.read_bytes, "read-bytes")?.0,
            once,
            json,
            web,
        })
    }

    fn check_web(&self, once: bool) -> Result<Option<WebSettings>, ConfigError> {
        let contradiction = |text: &str| Err(ConfigError::Contradiction(text.to_owned()));
        let allow_replay = need(self.allow_replay, "allow-replay")?.0;
        let Some(addr) = need(self.web, "web")?.0 else {
            return if allow_replay {
                contradiction("--allow-replay is for the web page: --web ADDR")
            } else {
                Ok(None)
            };
        };
        if once {
            return contradiction("--once prints and ends, --web serves: only one of them is possible");
        }
        if allow_replay && cfg!(not(feature = "dlq")) {
            return Err(ConfigError::NotCompiled { what: "--allow-replay".to_owned(), feature: "dlq" });
        }
        let token = self.web_token_file.as_deref().map(WebSettings::read_token).transpose()?;
        Ok(Some(WebSettings { addr, token, allow_replay }))
    }
}

impl AuditRaw {
    /// The key of the audit log's hash chain, if it has one.
    ///
    /// # Errors
    /// [`ConfigError`] as [`AuditKey::read`].
    pub fn key(&self) -> Result<Option<AuditKey>, ConfigError> {
        self.audit_key_file.as_deref().map(AuditKey::read).transpose()
    }

    /// Which audit log, and what it is held against.
    ///
    /// # Errors
    /// [`ConfigError`] when the two topics are one, or the key cannot be read.
    pub fn check(self, kafka: KafkaSettings) -> Result<AuditSettings, ConfigError> {
        let key = self.key()?;
        let settings = AuditSettings {
            kafka,
            events_file: need(self.events_file, "events-file")?,
            topic: topic(self.topic, "topic")?,
            group: name(self.group, "group")?,
            dlq_topic: topic(self.dlq_topic, "dlq-topic")?,
            key,
        };
        if settings.topic == settings.dlq_topic {
            return Err(ConfigError::value(
                "--dlq-topic",
                "is the topic whose records are to be in the audit log",
            ));
        }
        Ok(settings)
    }
}

impl BrokerRaw {
    /// Where clients reach the broker, and its topics with their numbers of partitions.
    ///
    /// # Errors
    /// [`ConfigError`] when no address is given, or a topic is not NAME:PARTITIONS.
    pub fn check(self) -> Result<(SocketAddr, Vec<(String, i32)>), ConfigError> {
        let listen = need(need(self.listen, "listen")?.0, "listen")?;
        let parse = |text: &String| {
            let (name, partitions) = text.rsplit_once(':')?;
            let name: TopicName = name.parse().ok()?;
            let partitions: Int<1, 10_000> = partitions.parse().ok()?;
            Some((name.0, partitions.to()))
        };
        let topics = self.topics.unwrap_or_default();
        let wrong = |text: &str| {
            ConfigError::value(
                "--topic",
                format!("'{text}' is not NAME:PARTITIONS, such as orders:3, with 1 to 10000 partitions"),
            )
        };
        let topics =
            topics.iter().map(|text| parse(text).ok_or_else(|| wrong(text))).collect::<Result<_, _>>()?;
        Ok((listen, topics))
    }
}

/// What the monitor shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MonitorSettings {
    /// The health log.
    pub log_file: PathBuf,
    /// The audit log.
    pub events_file: PathBuf,
    /// Where the tracker serves its metrics.
    pub metrics_url: Option<String>,
    /// How much time is counted.
    pub window: Duration,
    /// The most bytes of the audit log that are read to fill the window.
    pub read_bytes: u64,
    /// Print the figures once instead of showing them on the terminal.
    pub once: bool,
    /// As JSON.
    pub json: bool,
    /// Serve the web page instead.
    pub web: Option<WebSettings>,
}

/// What an audit log is held against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditSettings {
    /// How Kafka is reached.
    pub kafka: KafkaSettings,
    /// The audit log of the tracker that runs here.
    pub events_file: PathBuf,
    /// The topic whose records are to be in it.
    pub topic: String,
    /// The consumer group that wrote it.
    pub group: String,
    /// Where its dead letters went.
    pub dlq_topic: String,
    /// The key of its hash chain, if it has one.
    pub key: Option<AuditKey>,
}
