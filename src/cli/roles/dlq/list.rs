//! `dlq list`.

use std::io::{self, BufWriter, IsTerminal as _};

use clap::Args;

use super::{Context, Filters};
use crate::cli::progress::Counting;
use crate::cli::roles::until_stopped;
use crate::cli::{Exit, RunError, output};
use crate::dlq::{self, Listed, Reading};

/// List dead letters.
#[derive(Args)]
pub struct List {
    /// Go on with those that come, until it is stopped
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    filters: Filters,
}

impl List {
    pub(super) fn run(self, context: &Context) -> Result<Exit, RunError> {
        let listed = if self.follow { self.follow(context)? } else { self.list(context)? };
        let repeats = match listed.repeats {
            0 => String::new(),
            n => format!("; {n} records repeat one of them"),
        };
        output::complain(&format!("{} dead letters{repeats}", listed.listed));
        Ok(Exit::Done)
    }

    fn list(self, context: &Context) -> Result<Listed, RunError> {
        // Nothing is changed and nothing has to be drained: a signal may end it where it is.
        context.reach(&|| false)?;
        let stdout = io::stdout();
        // Rows and a bar on one terminal would be in each other's way.
        let mut bar = (!stdout.is_terminal()).then(|| Counting::new("dead letters"));
        let progress = |at: Reading| {
            context.note(at);
            bar.iter_mut().for_each(|bar| bar.at(at.offsets, at.read));
        };
        let mut out = BufWriter::new(stdout.lock());
        let filter = self.filters.check();
        Ok(dlq::list(&context.kafka, &context.topic, &filter, context.json, &mut out, progress)?)
    }

    fn follow(self, context: &Context) -> Result<Listed, RunError> {
        until_stopped(|stop| {
            if !context.reach(stop)? {
                return Ok(Listed::default());
            }
            let mut out = BufWriter::new(io::stdout().lock());
            let filter = self.filters.check();
            let note = |at| context.note(at);
            Ok(dlq::follow(&context.kafka, &context.topic, &filter, context.json, &mut out, stop, note)?)
        })?
    }
}
