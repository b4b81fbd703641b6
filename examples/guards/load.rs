//! Orders at an even pace, and when Kafka has acknowledged each of them; and the end of the topics that they were in.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use tokio::runtime::Runtime;

use crate::acknowledged::{Acknowledged, At};
use crate::orders;

/// How large an order is, in bytes.
const ORDER_BYTES: usize = 1250;
/// How long the last acknowledgements may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends orders. One sender is there for the whole measurement: a new one first connects, and then sends at once what was
/// due meanwhile, half a second of orders, whose times would be the p99 of a short round.
pub struct Load(ThreadedProducer<Acknowledged>);

impl Load {
    pub fn new(bootstrap_servers: &str) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap_servers).set("acks", "all").set("linger.ms", "0");
        Self(config.create_with_context(Acknowledged::default()).expect("a producer"))
    }

    /// Sends so many orders a second, the partitions in turn, each with a key of its own, for so long. Gives the time of
    /// each one's acknowledgement.
    pub fn send(&self, topic: &str, partitions: i32, rate: u32, time: Duration) -> HashMap<At, Instant> {
        let begun = Instant::now();
        let count = (f64::from(rate) * time.as_secs_f64()) as u32;
        for (number, partition) in (0..count).zip((0..partitions).cycle()) {
            let id = format!("order-{number}");
            let payload = orders::sized(&id, ORDER_BYTES);
            let due = begun + Duration::from_secs_f64(f64::from(number) / f64::from(rate));
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let record = BaseRecord::to(topic).partition(partition).key(&id).payload(&payload);
            if let Err((error, _)) = self.0.send(record) {
                panic!("an order was refused: {error}");
            }
        }
        self.0.flush(PATIENCE).expect("every order is acknowledged");
        self.0.context().take().into_iter().collect()
    }
}

/// Deletes topics; those that are not there do not matter.
pub fn delete(runtime: &Runtime, bootstrap_servers: &str, topics: &[String]) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap_servers);
    let admin: AdminClient<DefaultClientContext> = config.create().expect("an admin client");
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    runtime.block_on(admin.delete_topics(&names, &AdminOptions::new())).expect("topics deleted");
}
