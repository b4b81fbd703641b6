//! The audit journal: one line for each outcome, append-only, hash-chained, on disk before anything is committed. Knows
//! nothing of Kafka's client and decides no outcome.

mod chain;
mod file;
mod line;
mod writer;

pub use chain::{Chain, ChainHash};
pub use file::{AuditFile, Opened};
pub use line::{Judged, Lines, Verdict};
pub use writer::{AuditError, AuditWriter, Completion, Durable, Scope};
