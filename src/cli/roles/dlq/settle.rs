//! `dlq discard` and `dlq purge`.

use clap::Args;

use super::{Context, Filters, not_built};
use crate::cli::{Exit, RunError};

/// Note that dead letters will not be replayed.
#[derive(Args)]
pub struct Discard {
    /// One dead letter; without it those that the filters choose
    id: Option<String>,
    #[command(flatten)]
    filters: Filters,
    /// Why
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

impl Discard {
    pub(super) fn run(self, _context: &Context) -> Result<Exit, RunError> {
        let Self { id: _, filters: _, why: _, yes: _ } = self;
        Err(not_built("discard"))
    }
}

/// Delete the dead letters that are settled.
#[derive(Args)]
pub struct Purge {
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

impl Purge {
    pub(super) fn run(self, _context: &Context) -> Result<Exit, RunError> {
        let Self { yes: _ } = self;
        Err(not_built("purge"))
    }
}
