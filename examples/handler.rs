//! The dead letter handler in any Kafka consumer: attempts with a time limit, retries with backoff, and a dead letter
//! that is safe before an offset may be committed. It needs no Kafka:
//!
//! ```text
//! cargo run --example handler --features handler
//! ```

use std::error::Error;
use std::io::{self, Write as _};
use std::time::Duration;

use pubsub_kafka::dlq::{Handler, HandlerConfig, MemorySink, Outcome, RetryPolicy};
use pubsub_kafka::failure::{Category, Failure};
use pubsub_kafka::record::Record;

/// Your processing: any payload, any work. The category of its failure decides whether it is tried again.
async fn charge(record: &Record) -> Result<u64, Failure> {
    match std::str::from_utf8(record.payload()).unwrap_or_default().parse() {
        Ok(0) => Err(Failure::new(Category::Processing, "the bank did not answer")),
        Ok(cents) => Ok(cents),
        Err(error) => Err(Failure::caused_by(Category::Validation, "the payload is no amount", error)),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // In memory, so that the example runs alone. Letters in a Kafka topic, acknowledged by all in-sync replicas:
    //   let topic = KafkaSinkConfig { topic: "payments-dlq".into(), partitions: 3, max_message_bytes: 4 << 20 };
    //   let sink = KafkaSink::new(&KafkaSettings::default(), topic)?; // KafkaSettings: localhost:9092
    let sink = MemorySink::default();
    let retry = RetryPolicy { initial: Duration::from_millis(50), ..RetryPolicy::default() };
    let handler = Handler::new(HandlerConfig::new("billing").with_retry(retry), sink);

    let mut out = io::stdout().lock();
    for (offset, payload) in (40..).zip(["1250", "twelve", "0"]) {
        // From what your consumer polled; headers and timestamp are fields of it too.
        let record = Record::new("payments", 0, offset).with_key("customer-7").with_value(payload);
        let next = offset + 1;
        // An error here means that the dead letter is not safe: do not commit, read the record again.
        match handler.process_with_retry(&record, charge).await? {
            Outcome::Processed { value, attempts } => {
                writeln!(out, "{offset}: charged {value} (attempts: {attempts}), commit {next}")?;
            }
            Outcome::DeadLettered(letter) => {
                let (category, attempts) = (letter.category, letter.attempts);
                writeln!(out, "{offset}: {category} (attempts: {attempts}), commit {next}")?;
            }
            Outcome::Interrupted => writeln!(out, "{offset}: stopped, do not commit")?,
        }
    }
    for letter in handler.sink().letters() {
        let letter = letter.letter();
        writeln!(out, "dead letter {}: {}", letter.id, letter.error_message)?;
    }
    Ok(())
}
