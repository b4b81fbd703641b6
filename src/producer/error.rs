//! Why the producer ended early.

use std::io;

use super::summary::Summary;
use crate::kafka::KafkaError;
use crate::metrics::ListenError;
use crate::trace::TraceError;

/// Why the producer could not do its work. Records that failed are not errors: they are counted.
#[derive(Debug, thiserror::Error)]
pub enum ProducerError {
    /// Kafka could not be used at all: not reachable, no such topic, a refused setting.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The address for metrics cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Traces cannot be exported as the environment says.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The input cannot be opened, or cannot be read to its end.
    #[error("read the input {name} (so far: {summary})")]
    Input {
        /// The file's path, or what stands for the standard input.
        name: String,
        /// What had been sent when it failed.
        summary: Summary,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// No runtime or thread could be had.
    #[error("start the producer")]
    Start(#[source] io::Error),
}
