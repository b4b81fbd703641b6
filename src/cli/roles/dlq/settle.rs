//! `dlq discard`, `dlq reopen` and `dlq purge`.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use clap::Args;
use serde::Serialize;
use uuid::Uuid;

use super::{Context, Filters, summary};
use crate::cli::{Exit, RunError, confirm, output};
use crate::config::ConfigError;
use crate::dlq::replay::{Choose, Purgeable, purge, purgeable};
use crate::dlq::{Filter, State, Wanted, who};

/// Note that dead letters will not be replayed.
#[derive(Args)]
pub struct Discard {
    /// One dead letter, by its id, the beginning of it, or PARTITION:OFFSET in the dead letter topic; without it those
    /// that the filters choose
    id: Option<Wanted>,
    #[command(flatten)]
    filters: Filters,
    /// Why
    #[arg(long, value_name = "TEXT", required = true)]
    why: String,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

impl Discard {
    pub(super) fn run(self, context: &Context) -> Result<Exit, RunError> {
        let why = Some(self.why.as_str());
        settle(context, self.id.as_ref(), &self.filters.check(), State::Discarded, why, self.yes)
    }
}

/// Take back that dead letters were discarded or replayed: they are open again.
#[derive(Args)]
pub struct Reopen {
    /// One dead letter, by its id, the beginning of it, or PARTITION:OFFSET in the dead letter topic; without it those
    /// that the filters choose
    id: Option<Wanted>,
    #[command(flatten)]
    filters: Filters,
    /// Why
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

impl Reopen {
    pub(super) fn run(self, context: &Context) -> Result<Exit, RunError> {
        settle(context, self.id.as_ref(), &self.filters.check(), State::Open, self.why.as_deref(), self.yes)
    }
}

#[derive(Serialize)]
struct Settled {
    status: State,
    changed: usize,
    unchanged: usize,
}

/// What is discarded must be open, and what is opened must not be.
fn settle(
    context: &Context,
    wanted: Option<&Wanted>,
    filter: &Filter,
    to: State,
    why: Option<&str>,
    yes: bool,
) -> Result<Exit, RunError> {
    if wanted.is_none() && filter.is_empty() && filter.limit.is_none() {
        let message = "name a dead letter, or choose some by a filter, such as --reason or --status";
        return Err(ConfigError::Contradiction(message.to_owned()).into());
    }
    context.reach(&|| false)?;
    let id = wanted.map(|wanted| context.id_of(wanted)).transpose()?;
    let choose = Choose { kafka: &context.kafka, dlq_topic: &context.topic, id, filter };
    let chosen = choose.find()?.ids;
    let is_due = |state: State| (to == State::Open) != (state == State::Open);
    let ids: Vec<Uuid> = chosen.iter().filter(|(_, state)| is_due(*state)).map(|(id, _)| *id).collect();
    // One that was named can be taken back by its name; of many nobody may remember which they were.
    if id.is_none() && !ids.is_empty() {
        let what = if to == State::Open { "Open" } else { "Discard" };
        confirm(&format!("{what} {} dead letters of {}?", ids.len(), context.topic), yes)?;
    }
    choose.note(&ids, to, why, &who(), &context.creation)?;
    let settled = Settled { status: to, changed: ids.len(), unchanged: chosen.len() - ids.len() };
    let mut out = io::stdout().lock();
    let written = if context.json {
        summary::write_json(&settled, &mut out)
    } else {
        writeln!(out, "{} now {}, {} stay as they are", settled.changed, to.as_str(), settled.unchanged)
    };
    written.map_err(RunError::io("write the result"))?;
    Ok(Exit::Done)
}

/// Delete the dead letters that are settled.
#[derive(Args)]
pub struct Purge {
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    /// Delete everything, open or not; the topic's name must be typed, or given with --confirm
    #[arg(long)]
    force: bool,
    /// The topic's name, instead of typing it
    #[arg(long, value_name = "TOPIC", requires = "force")]
    confirm: Option<String>,
}

#[derive(Serialize)]
struct Purged<'a> {
    topic: &'a str,
    deleted: u64,
    open_deleted: u64,
    partitions: &'a [Purgeable],
}

impl Purge {
    pub(super) fn run(self, context: &Context) -> Result<Exit, RunError> {
        context.reach(&|| false)?;
        let found = purgeable(&context.kafka, &context.topic, self.force)?;
        let records: u64 = found.iter().map(|at| at.records).sum();
        let open: u64 = found.iter().map(|at| at.open).sum();
        let behind: u64 = found.iter().map(|at| at.settled_after).sum();
        if records > 0 {
            if self.force {
                self.confirm_all(&context.topic, records, open)?;
            } else {
                let question = format!("Delete {records} settled dead letters of {}?", context.topic);
                confirm(&question, self.yes)?;
            }
            purge(&context.kafka, &context.topic, &found)?;
        }
        let mut out = io::stdout().lock();
        let written = if context.json {
            let purged =
                Purged { topic: &context.topic, deleted: records, open_deleted: open, partitions: &found };
            summary::write_json(&purged, &mut out)
        } else {
            let stay = match behind {
                0 => String::new(),
                n => format!("; {n} settled ones stay, because open ones are before them"),
            };
            writeln!(out, "{records} dead letters deleted, {open} of them open{stay}")
        };
        written.map_err(RunError::io("write the result"))?;
        Ok(Exit::Done)
    }

    /// What is open is lost by this: the name of the topic says that it is meant.
    fn confirm_all(&self, topic: &str, records: u64, open: u64) -> Result<(), RunError> {
        let what = format!("delete all {records} dead letters of {topic}, {open} of them open");
        let given = match &self.confirm {
            Some(name) => name.clone(),
            None if io::stdin().is_terminal() => {
                output::complain(&format!("To {what}, type the name of the topic:"));
                let mut line = String::new();
                io::stdin().lock().read_line(&mut line).map_err(RunError::io("read the answer"))?;
                line.trim().to_owned()
            }
            None => {
                let what =
                    format!("{what}: there is no terminal to type the topic's name: --confirm {topic}");
                return Err(RunError::Unconfirmed { what });
            }
        };
        if given == topic {
            return Ok(());
        }
        Err(RunError::Unconfirmed { what: format!("{what}: that is not the name of the topic") })
    }
}
