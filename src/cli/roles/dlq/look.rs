//! `dlq show` and `dlq stats`.

use clap::Args;

use super::{Context, Filters, not_built};
use crate::cli::{Exit, RunError};

/// Show everything about one dead letter.
#[derive(Args)]
pub struct Show {
    /// The dead letter
    id: String,
}

impl Show {
    pub(super) fn run(self, _context: &Context) -> Result<Exit, RunError> {
        let Self { id: _ } = self;
        Err(not_built("show"))
    }
}

/// Count dead letters by cause.
#[derive(Args)]
pub struct Stats {
    #[command(flatten)]
    filters: Filters,
}

impl Stats {
    pub(super) fn run(self, _context: &Context) -> Result<Exit, RunError> {
        let Self { filters: _ } = self;
        Err(not_built("stats"))
    }
}
