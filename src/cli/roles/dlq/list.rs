//! `dlq list`.

use std::io::BufWriter;

use clap::Args;

use super::{Context, Filters};
use crate::cli::{Exit, RunError, output};
use crate::dlq;
use crate::kafka::wait_until_reachable;

/// List dead letters.
#[derive(Args)]
pub struct List {
    #[command(flatten)]
    filters: Filters,
}

impl List {
    pub(super) fn run(self, context: &Context) -> Result<Exit, RunError> {
        // Nothing is changed and nothing has to be drained: a signal may end it where it is.
        wait_until_reachable(&context.kafka, &|| false)?;
        let mut out = BufWriter::new(std::io::stdout().lock());
        let listed =
            dlq::list(&context.kafka, &context.topic, &self.filters.check(), context.json, &mut out)?;
        output::complain(&format!("{listed} dead letters"));
        Ok(Exit::Done)
    }
}
