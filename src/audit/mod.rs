//! The audit journal: one line for each outcome, append-only, hash-chained, on disk before anything is committed. Decides
//! no outcome; only `prove` asks Kafka anything.

mod buffers;
#[cfg(any(feature = "audit", feature = "dlq"))]
pub mod cat;
mod chain;
mod control;
mod digest;
mod error;
mod file;
mod heads;
mod journal;
mod line;
mod lock;
mod packed;
mod packer;
#[cfg(feature = "audit")]
pub mod prove;
mod ranges;
mod reading;
mod rotate;
mod scan;
mod segments;
#[cfg(feature = "audit")]
pub mod trace;
mod unsynced;
mod verify;
mod writer;

pub use chain::{Chain, ChainHash, Hashing, KeyError, hex};
pub use control::{Checkpoint, Gap, Identity, PartitionState, Place, Reason, Recovered};
pub use error::AuditError;
pub use file::AuditFile;
pub use heads::{HEADS_TOPIC, Head};
pub use journal::{Journal, Known};
pub use line::{Judged, Lines, Verdict};
pub use lock::Holder;
pub use ranges::OffsetSet;
pub use rotate::{RotateError, Rotated, rotate, take_rotate_request};
pub use scan::{Line, Link, Scanned, scan};
pub use segments::{is_set_aside, size_of};
pub use verify::{Verified, VerifyError, verify};
pub use writer::{AuditWriter, Completion, Durable, Scope, WriterOptions};
