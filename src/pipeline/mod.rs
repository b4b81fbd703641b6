//! The tracker: each record gets one outcome, the outcome is made durable, and only then is its offset committed.
//!
//! ```text
//! poll thread ── records ──▶ worker (one per partition) ── results, in order ──▶ finisher (one per partition)
//!      ▲                      decode, validate, deliver                           dead letters, lines
//!      └── durable outcomes ◀── audit writer (write, fdatasync) ◀── lines ─────────────┘
//! ```
//!
//! The poll thread alone owns the consumer and alone commits; everything that it learns comes in as an event.

mod attend;
mod deliver;
mod figures;
mod finish;
mod gate;
mod guard;
mod heads;
mod intake;
mod judge;
mod ledger;
mod letters;
mod notify;
mod probe;
mod standing;
mod start;
mod stats;
mod traces;
mod tracker;
mod work;
mod worker;

pub use ledger::{Admission, Ledger};
pub use start::{PipelineError, run, run_with};
pub use stats::{Stats, StatsSnapshot};
pub use work::Work;
