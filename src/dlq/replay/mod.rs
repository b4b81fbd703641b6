//! Replay: a frozen set of dead letters (the plan), sent again exactly once (apply), and what became of it (outcomes).
//!
//! Apply trusts nothing but Kafka: who may write is settled by the transactional id, what was sent before a crash is read
//! back from the targets, and a dead letter is sent only if it still is what the plan says.

mod apply;
mod arrivals;
mod canary;
mod choose;
mod error;
mod feed;
mod journal;
mod make;
mod newer;
mod outcomes;
mod patch;
mod payload;
mod plan;
mod plan_file;
mod pointer;
mod predict;
mod prepare;
mod problems;
mod record;
mod report;
mod run;
mod send;
mod settle;
mod standing;
mod targets;

pub use apply::{Applied, ApplySettings, Ended, apply};
pub use canary::Canary;
pub use choose::{LeftOut, Limits};
pub use error::ReplayError;
pub use make::{Edits, PlanRequest, Planned, make_plan};
pub use outcomes::{Outcomes, ReplayOutcome, ReplayState, Watch, follow_up};
pub use patch::{EditError, Patch};
pub use payload::original;
pub use plan::{Plan, PlanEdit, PlanEntry, PlanOrigin, Prediction};
pub use plan_file::{read_plan, write_plan};
pub use pointer::Assignment;
pub use predict::{Verdict, predict};
pub use problems::{Problem, ProblemKind, Problems};
pub use record::payload_hash;
pub use run::Progress;
pub use standing::{Choose, Chosen, Purgeable, purge, purgeable};

/// The lines of an audit log, however it is stored: whoever runs the tool knows where.
pub trait AuditLines: Sync {
    /// Gives every complete line, without its break.
    ///
    /// # Errors
    /// What reading says.
    fn each(&self, take: &mut dyn FnMut(&[u8])) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;
}
