//! `dlq apply`, `dlq replay` and `dlq edit`.

use std::path::PathBuf;

use clap::Args;

use super::{Context, Filters, not_built};
use crate::cli::{Exit, RunError};
use crate::config::values::Rate;

/// How a replay is sent.
#[derive(Args)]
struct Sending {
    /// The most records per second, or "max"
    #[arg(long, value_name = "N|max")]
    rate: Option<Rate>,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    /// Keep the original timestamp
    #[arg(long)]
    keep_timestamp: bool,
    /// Send those too whose order has a newer state
    #[arg(long)]
    include_superseded: bool,
}

/// Replay a plan.
#[derive(Args)]
pub struct Apply {
    /// The plan's file
    plan: PathBuf,
    #[command(flatten)]
    sending: Sending,
}

impl Apply {
    pub(super) fn run(self, _context: &Context) -> Result<Exit, RunError> {
        let Sending { rate: _, yes: _, keep_timestamp: _, include_superseded: _ } = self.sending;
        let _ = self.plan;
        Err(not_built("apply"))
    }
}

/// Plan and apply in one.
#[derive(Args)]
pub struct Replay {
    /// One dead letter; without it those that the filters choose
    id: Option<String>,
    #[command(flatten)]
    filters: Filters,
    /// Change the payload at a JSON Pointer; may be repeated
    #[arg(long, value_name = "POINTER=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    sending: Sending,
}

impl Replay {
    pub(super) fn run(self, _context: &Context) -> Result<Exit, RunError> {
        let Self { id: _, filters: _, set: _, sending: _ } = self;
        Err(not_built("replay"))
    }
}

/// Edit one dead letter's payload and replay it.
#[derive(Args)]
pub struct Edit {
    /// The dead letter
    id: String,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

impl Edit {
    pub(super) fn run(self, _context: &Context) -> Result<Exit, RunError> {
        let Self { id: _, yes: _ } = self;
        Err(not_built("edit"))
    }
}
