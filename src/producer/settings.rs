//! What the producer works with: checked values only. Raw settings become these where the command line is read.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::KafkaSettings;

/// The checked settings of the producer.
#[derive(Debug, Clone, PartialEq)]
pub struct ProducerSettings {
    /// How Kafka is reached.
    pub kafka: KafkaSettings,
    /// Where the records go.
    pub topic: String,
    /// How fast.
    pub pace: Pace,
    /// How many records at most; `None` until the input ends or the producer is stopped.
    pub count: Option<u64>,
    /// Makes the generated orders repeatable, byte for byte; `None` takes a random one and wall-clock times.
    pub seed: Option<u64>,
    /// Lines to send as they are; `None` generates orders. The ratios and the order's details below are the
    /// generator's: they have no effect on an input.
    pub input: Option<Input>,
    /// The share of records that are an order with one broken business rule; 0.0 to 1.0, and at most 1.0 together
    /// with `malformed_ratio`.
    pub invalid_ratio: f64,
    /// The share of records that no decoder can read; 0.0 to 1.0.
    pub malformed_ratio: f64,
    /// Added to each order's total, an amount in its currency, not a rate; rounded to cents.
    pub tax: f64,
    /// Added to each order's total, an amount in its currency; rounded to cents.
    pub shipping_fee: f64,
    /// The orders' currency.
    pub currency: String,
    /// The orders' payment method.
    pub payment_method: String,
    /// The warehouse of the orders' inventory.
    pub warehouse: String,
    /// Whether a missing topic is created.
    pub create_topics: bool,
    /// How many partitions a created topic gets.
    pub partitions: i32,
    /// How many replicas a created topic gets; -1 leaves it to the broker.
    pub replication: i32,
    /// Whether the results are printed as JSON.
    pub json: bool,
    /// Where `/metrics`, `/healthz` and `/readyz` are served.
    pub metrics_addr: Option<SocketAddr>,
    /// The largest record that is sent, key and value, in bytes. The broker has its own limit.
    pub max_message_bytes: usize,
}

/// How fast records are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// One record each such span; zero is [`Pace::Unlimited`].
    Interval(Duration),
    /// Records per second; above 0.
    Rate(f64),
    /// As fast as Kafka takes them.
    Unlimited,
}

/// Where given lines come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A file, or a named pipe.
    File(PathBuf),
    /// The standard input.
    Stdin,
}

impl std::fmt::Display for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Stdin => f.write_str("the standard input"),
        }
    }
}

impl Default for ProducerSettings {
    fn default() -> Self {
        Self {
            kafka: KafkaSettings::default(),
            topic: "orders".to_owned(),
            pace: Pace::Interval(Duration::from_secs(2)),
            count: None,
            seed: None,
            input: None,
            invalid_ratio: 0.0,
            malformed_ratio: 0.0,
            tax: 0.20,
            shipping_fee: 2.50,
            currency: "EUR".to_owned(),
            payment_method: "credit_card".to_owned(),
            warehouse: "PARIS-01".to_owned(),
            create_topics: true,
            partitions: 3,
            replication: -1,
            json: false,
            metrics_addr: None,
            max_message_bytes: 1_000_000,
        }
    }
}
