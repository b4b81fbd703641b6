//! A producer with the thread that reads its delivery reports: what rdkafka's own `ThreadedProducer` does, without its
//! spinning.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, ProducerContext};

use super::KafkaError;

/// How long one wait for reports is. The client rounds what is left of a wait down to whole milliseconds, and asks again
/// and again without a pause through the rest: a wait that is a little longer than whole ones has no such rest when it
/// ends without a report. With 100 ms to the microsecond the thread would take one percent of a processor, always.
const WAIT: Duration = Duration::from_micros(100_050);

/// A producer whose delivery reports are read.
pub(super) struct Reporting<C: ProducerContext + 'static> {
    producer: Arc<BaseProducer<C>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl<C: ProducerContext + 'static> Reporting<C> {
    pub(super) fn new(config: &ClientConfig, context: C) -> Result<Self, KafkaError> {
        let producer: BaseProducer<C> = config.create_with_context(context).map_err(KafkaError::config)?;
        let (producer, ends) = (Arc::new(producer), Arc::new(AtomicBool::new(false)));
        let (reader, reader_ends) = (Arc::clone(&producer), Arc::clone(&ends));
        let thread = std::thread::Builder::new()
            .name("kafka-reports".to_owned())
            .spawn(move || {
                while !reader_ends.load(Ordering::Relaxed) {
                    reader.poll(WAIT);
                }
            })
            .map_err(KafkaError::Thread)?;
        Ok(Self { producer, ends, thread: Some(thread) })
    }
}

impl<C: ProducerContext + 'static> Deref for Reporting<C> {
    type Target = BaseProducer<C>;

    fn deref(&self) -> &BaseProducer<C> {
        &self.producer
    }
}

impl<C: ProducerContext + 'static> Drop for Reporting<C> {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        // A panic of it was printed by its own thread.
        self.thread.take().map(JoinHandle::join);
    }
}
