//! Puts exported records into a dead letter topic, in their order, each acknowledged by all in-sync replicas.

use std::collections::VecDeque;
use std::io::{self, BufRead};

use jiff::Timestamp;

use super::transfer::{LineError, Lines, outgoing};
use crate::config::KafkaSettings;
use crate::kafka::{Admin, Delivery, KafkaError, Producer, ProducerOptions, SendError};

/// How many records may be on their way.
const IN_FLIGHT: usize = 10_000;
/// The largest record that is tried; the topic has its own limit.
const MAX_RECORD_BYTES: usize = 64 << 20;

/// Why records were not imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file.
    #[error(transparent)]
    Line(#[from] LineError),
    /// Kafka.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// Kafka would delete them at once.
    #[error(
        "the topic {topic} keeps records for {retention_ms} ms, and the file has older ones: raise its retention.ms, or \
         import with --new-timestamps"
    )]
    Expired {
        /// The topic.
        topic: String,
        /// Its `retention.ms`.
        retention_ms: i64,
    },
    /// A record was refused. Those before it are in the topic.
    #[error("record {number} of the file was not taken, {imported} were")]
    Send {
        /// Which one, from 1.
        number: u64,
        /// How many are in the topic.
        imported: u64,
        /// Why.
        #[source]
        source: SendError,
    },
    /// The runtime.
    #[error("start the runtime")]
    Runtime(#[source] io::Error),
}

/// What a file holds, found without changing anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Survey {
    /// How many records.
    pub records: u64,
    /// The oldest timestamp, in milliseconds since the epoch.
    pub oldest_ms: Option<i64>,
}

/// Reads a whole exported file. `progress` learns how many bytes were read.
///
/// # Errors
/// [`LineError`] names the first line that is no record.
pub fn survey(input: impl BufRead, mut progress: impl FnMut(u64)) -> Result<Survey, LineError> {
    let mut lines = Lines::new(input);
    let mut survey = Survey::default();
    while let Some(record) = lines.read("")? {
        progress(lines.bytes);
        survey.records += 1;
        if let Some(timestamp) = record.timestamp {
            survey.oldest_ms =
                Some(survey.oldest_ms.map_or(timestamp.millis, |oldest| oldest.min(timestamp.millis)));
        }
    }
    Ok(survey)
}

/// Where an import goes.
#[derive(Debug)]
pub struct Import<'a> {
    /// How Kafka is reached.
    pub settings: &'a KafkaSettings,
    /// The dead letter topic.
    pub topic: &'a str,
    /// Whether the records get the time of now instead of their own.
    pub new_timestamps: bool,
}

impl Import<'_> {
    /// Sends the records of an exported file; says how many are in the topic. Fewer than the file has when `stop` said
    /// true.
    ///
    /// # Errors
    /// [`ImportError`]; nothing was sent unless it is [`ImportError::Send`] or a line of the file has changed meanwhile.
    pub fn run(
        &self,
        input: impl BufRead,
        survey: Survey,
        stop: &dyn Fn() -> bool,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<u64, ImportError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ImportError::Runtime)?;
        let admin = Admin::new(self.settings)?;
        let Some(info) = admin.topic(self.topic)? else {
            return Err(ImportError::Kafka(KafkaError::UnknownTopic {
                topic: self.topic.to_owned(),
                bootstrap_servers: self.settings.bootstrap_servers.clone(),
            }));
        };
        self.check_retention(&runtime.block_on(admin.topic_config(self.topic))?, survey)?;
        let options = ProducerOptions { max_message_bytes: MAX_RECORD_BYTES, ..ProducerOptions::default() };
        let producer = Producer::new(self.settings, &options)?;
        let mut lines = Lines::new(input);
        let mut on_their_way: VecDeque<Delivery> = VecDeque::new();
        let mut imported = 0;
        let mut settle = |waiting: &mut VecDeque<Delivery>, most: usize| {
            while waiting.len() > most
                && let Some(delivery) = waiting.pop_front()
            {
                runtime.block_on(delivery).map_err(|source| ImportError::Send {
                    number: imported + 1,
                    imported,
                    source,
                })?;
                imported += 1;
                progress(survey.records, imported);
            }
            Ok::<u64, ImportError>(imported)
        };
        while !stop()
            && let Some(record) = lines.read(self.topic)?
        {
            let mut record = outgoing(record, info.partitions);
            if self.new_timestamps {
                record.timestamp_ms = None;
            }
            loop {
                match producer.send(&record) {
                    Ok(delivery) => break on_their_way.push_back(delivery),
                    Err(SendError::QueueFull) if !on_their_way.is_empty() => {
                        let fewer = on_their_way.len() - 1;
                        settle(&mut on_their_way, fewer)?;
                    }
                    Err(source) => {
                        let imported = settle(&mut on_their_way, 0)?;
                        return Err(ImportError::Send { number: imported + 1, imported, source });
                    }
                }
            }
            settle(&mut on_their_way, IN_FLIGHT)?;
        }
        settle(&mut on_their_way, 0)
    }

    /// Kafka deletes whole segments by their newest record, so old records in a new segment go within minutes.
    fn check_retention(
        &self,
        config: &std::collections::HashMap<String, String>,
        survey: Survey,
    ) -> Result<(), ImportError> {
        let retention_ms: i64 = config.get("retention.ms").and_then(|ms| ms.parse().ok()).unwrap_or(-1);
        let age_ms = survey.oldest_ms.map(|oldest| Timestamp::now().as_millisecond() - oldest);
        if !self.new_timestamps && retention_ms >= 0 && age_ms.is_some_and(|age| age >= retention_ms) {
            return Err(ImportError::Expired { topic: self.topic.to_owned(), retention_ms });
        }
        Ok(())
    }
}
