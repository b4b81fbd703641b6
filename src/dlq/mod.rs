//! Dead letters as a library: attempts with a time limit and exponential backoff, failure categories, and a dead letter
//! that is acknowledged before anybody may commit. Any payload, not only orders.
//!
//! ```
//! use pubsub_kafka::dlq::{Handler, HandlerConfig, MemorySink, Outcome};
//! use pubsub_kafka::failure::{Category, Failure};
//! use pubsub_kafka::record::Record;
//!
//! async fn charge(record: &Record) -> Result<(), Failure> {
//!     match record.payload() {
//!         b"" => Err(Failure::new(Category::Validation, "the payload is empty")),
//!         _ => Ok(()),
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let handler = Handler::new(HandlerConfig::new("billing"), MemorySink::default());
//! let record = Record::new("payments", 0, 42).with_value("");
//! match handler.process_with_retry(&record, |record| async { charge(record).await }).await? {
//!     Outcome::Processed { .. } => println!("commit offset 43"),
//!     Outcome::DeadLettered(letter) => println!("{}: commit offset 43", letter.category),
//!     Outcome::Interrupted => println!("shutting down: do not commit"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The error of `process_with_retry` says that the dead letter itself could not be stored: then nothing may be committed,
//! and the record is to be read again.

mod attempts;
mod backoff;
#[cfg(feature = "dlq")]
mod dialects;
mod envelope;
#[cfg(feature = "dlq")]
mod figures;
#[cfg(feature = "dlq")]
mod filter;
#[cfg(feature = "dlq")]
mod find;
mod handler;
#[cfg(feature = "dlq")]
mod import;
#[cfg(feature = "dlq")]
mod json;
mod kafka_sink;
#[cfg(feature = "dlq")]
mod letter;
#[cfg(feature = "dlq")]
mod list;
#[cfg(feature = "dlq")]
mod pretty;
#[cfg(feature = "dlq")]
pub mod replay;
#[cfg(feature = "dlq")]
mod scan;
#[cfg(feature = "dlq")]
mod shape;
#[cfg(feature = "dlq")]
mod show;
mod sink;
#[cfg(feature = "dlq")]
mod states;
#[cfg(feature = "dlq")]
mod stats;
#[cfg(feature = "dlq")]
mod status;
#[cfg(feature = "dlq")]
mod status_writer;
#[cfg(feature = "dlq")]
mod transfer;
#[cfg(feature = "dlq")]
mod verdict;

pub use attempts::{Attempted, Exhausted};
pub use backoff::RetryPolicy;
#[cfg(feature = "dlq")]
pub use dialects::is_added_header;
pub use envelope::{Envelope, headers};
#[cfg(feature = "dlq")]
pub use figures::ToolFigures;
#[cfg(feature = "dlq")]
pub use filter::Filter;
#[cfg(feature = "dlq")]
pub use find::{Wanted, find};
pub use handler::{Buried, Handler, HandlerConfig, HandlerError, Outcome};
#[cfg(feature = "dlq")]
pub use import::{Import, ImportError, Survey, survey};
pub use kafka_sink::{KafkaSink, KafkaSinkConfig};
#[cfg(feature = "dlq")]
pub use letter::{Dialect, Letter, Origin, Payload};
#[cfg(feature = "dlq")]
pub use list::{Listed, ReadError, Reading, follow, list};
#[cfg(feature = "dlq")]
pub use pretty::pretty;
#[cfg(feature = "dlq")]
pub use show::{Shown, show};
pub use sink::{MemorySink, Receipt, Sink, SinkError};
#[cfg(feature = "dlq")]
pub use stats::{Count, ErrorCount, HourCount, OriginCount, Replays, Stats, stats};
#[cfg(feature = "dlq")]
pub use status::{Edited, ReplayedTo, State, Status, Statuses, status_topic};
#[cfg(feature = "dlq")]
pub use status_writer::{StatusWriter, who};
#[cfg(feature = "dlq")]
pub use transfer::{LineError, Malformed, export};
#[cfg(feature = "dlq")]
pub use verdict::{Verdict, verdict};
