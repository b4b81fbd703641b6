//! Records as the client holds them: for whoever takes little of each and is done with it soon. Nothing is copied, so each
//! keeps the whole answer of the broker in memory that it came with. Their headers are not to be had: the client's own
//! way to them ends the program where a name is not UTF-8, and the way around that copies them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;

use super::KafkaError;
use super::client::LoggingContext;
use super::reader::PATIENCE;

/// One record in the client's memory.
pub struct Lent<'a>(BorrowedMessage<'a>);

impl std::fmt::Debug for Lent<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lent").field("partition", &self.partition()).field("offset", &self.offset()).finish()
    }
}

impl Lent<'_> {
    /// The partition it was read from.
    pub fn partition(&self) -> i32 {
        self.0.partition()
    }

    /// Its offset there.
    pub fn offset(&self) -> i64 {
        self.0.offset()
    }

    /// The payload's bytes; empty for a null payload.
    pub fn payload(&self) -> &[u8] {
        self.0.payload().unwrap_or_default()
    }
}

/// Reads on where a [`Reader`](super::Reader) is, and lends what it reads.
pub struct Lender<'a> {
    pub(super) client: &'a BaseConsumer<LoggingContext>,
    pub(super) topic: &'a str,
    pub(super) open: &'a mut BTreeMap<i32, i64>,
}

impl std::fmt::Debug for Lender<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lender").field("topic", &self.topic).field("open", &self.open).finish_non_exhaustive()
    }
}

impl<'a> Lender<'a> {
    /// The next record; `None` when every partition is read to its end.
    ///
    /// # Errors
    /// [`KafkaError::Request`] when there was no progress for half a minute, [`KafkaError::Fatal`] from the client.
    pub fn read(&mut self) -> Result<Option<Lent<'a>>, KafkaError> {
        let begun = Instant::now();
        while !self.open.is_empty() {
            match self.client.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    let (partition, offset) = (message.partition(), message.offset());
                    let Some(end) = self.open.get(&partition).copied() else { continue };
                    if offset + 1 >= end {
                        self.open.remove(&partition);
                    }
                    if offset < end {
                        return Ok(Some(Lent(message)));
                    }
                }
                Some(Err(ClientError::PartitionEOF(partition))) => self.ended(partition)?,
                Some(Err(ClientError::MessageConsumptionFatal(code))) => {
                    return Err(KafkaError::Fatal(code.to_string()));
                }
                _ if begun.elapsed() > PATIENCE => {
                    let timed_out = ClientError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut);
                    return Err(KafkaError::request(format!("read {}", self.topic), timed_out));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// A partition has no more for now. Where that is the client does not say, and a leader that is new may lag behind.
    fn ended(&mut self, partition: i32) -> Result<(), KafkaError> {
        let Some(end) = self.open.get(&partition).copied() else { return Ok(()) };
        let bounds = self.client.fetch_watermarks(self.topic, partition, PATIENCE);
        let (_, now) = bounds.map_err(|e| KafkaError::request(format!("read {}", self.topic), e))?;
        if now >= end {
            self.open.remove(&partition);
        }
        Ok(())
    }
}
