//! `dlq plan` and `dlq status`.

use std::path::PathBuf;

use clap::Args;

use super::{Context, Filters, not_built};
use crate::cli::{Exit, RunError};

/// Freeze a set of dead letters.
#[derive(Args)]
pub struct Plan {
    #[command(flatten)]
    filters: Filters,
    /// The plan's file
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Plan those too whose order has a newer state
    #[arg(long)]
    include_superseded: bool,
}

impl Plan {
    pub(super) fn run(self, _context: &Context) -> Result<Exit, RunError> {
        let Self { filters: _, output: _, include_superseded: _ } = self;
        Err(not_built("plan"))
    }
}

/// Tell what became of a plan's replays.
#[derive(Args)]
pub struct Status {
    /// The plan's file
    plan: PathBuf,
    /// The tracker's audit log
    #[arg(long, value_name = "FILE")]
    events_file: Option<PathBuf>,
}

impl Status {
    pub(super) fn run(self, _context: &Context) -> Result<Exit, RunError> {
        let Self { plan: _, events_file: _ } = self;
        Err(not_built("status"))
    }
}
