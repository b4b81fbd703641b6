//! `dlq export`.

use std::path::PathBuf;

use clap::Args;

use super::{Context, Filters, not_built};
use crate::cli::{Exit, RunError};

/// Write dead letters to a file.
#[derive(Args)]
pub struct Export {
    #[command(flatten)]
    filters: Filters,
    /// The file
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

impl Export {
    pub(super) fn run(self, _context: &Context) -> Result<Exit, RunError> {
        let Self { filters: _, output: _ } = self;
        Err(not_built("export"))
    }
}
